"""Files of reference data: what is read of them, and that queries have it."""

from pathlib import Path
from typing import Any

import pytest
from query.functions.test_calls import PLACE, RECORD, database_file

from tailrace.lake import Lake, table_root
from tailrace.query import (
    AplRequest,
    DuckDB,
    QueryLimits,
    ReferenceData,
    ReferenceFiles,
    UnusableFile,
    read_reference_data,
    run_apl,
)

TOML = '"gpt-4o" = {input = 2.5, output = 10}\n[small]\ninput = 1\noutput = 2\n'
JSON = '{"gpt-4o": {"input": 2.5, "output": 10}, "small": {"input": 1, "output": 2}}'


def answer(root: Path, data: ReferenceData, apl: str) -> Any:
    lake = Lake.open(root / "lake")
    engine = DuckDB(table_root(root / "lake"), root / "temporary", QueryLimits(), data)
    try:
        table = run_apl(lake, engine, AplRequest(apl=apl), check=lambda name: None).tables[0]
        return table.rows[0].to_pylist()[0]
    finally:
        engine.close()
        lake.close()


@pytest.mark.parametrize(("name", "text"), [("prices.toml", TOML), ("prices.json", JSON)])
def test_a_query_knows_the_prices_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    data = read_reference_data(ReferenceFiles(model_prices=str(file)))

    assert answer(tmp_path, data, "print genai_cost('gpt-4o', 1000000, 100000)") == 3.5
    assert answer(tmp_path, data, "print genai_cost('unknown', 1000000, 100000)") is None


def test_a_query_knows_where_the_addresses_of_a_database_are(tmp_path: Path) -> None:
    file = tmp_path / "city.mmdb"
    file.write_bytes(database_file(RECORD))
    data = read_reference_data(ReferenceFiles(geo_database=str(file)))

    assert answer(tmp_path, data, "print tostring(geo_info_from_ip_address('10.1.2.3').city)") == PLACE["city"]


def test_without_files_both_are_null(tmp_path: Path) -> None:
    nothing = read_reference_data(ReferenceFiles())
    assert answer(tmp_path, nothing, "print genai_cost('gpt-4o', 1000, 1000)") is None
    assert answer(tmp_path, nothing, "print geo_info_from_ip_address('10.1.2.3')") is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.toml", "[", "has no prices"),
        ("p.toml", "\xff", "has no prices"),
        ("p.json", "[1]", "has no prices"),
        ("p.json", '{"m": {"input": 1}}', "output"),
        ("p.json", '{"m": {"input": -1, "output": 1}}', "input"),
        ("p.json", '{"m": {"input": 1, "output": 1, "ouput": 1}}', "ouput"),
    ],
)
def test_a_file_without_prices_is_told(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))

    with pytest.raises(UnusableFile, match=said):
        read_reference_data(ReferenceFiles(model_prices=str(tmp_path / name)))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="cannot be read"):
        read_reference_data(ReferenceFiles(model_prices=str(tmp_path / "none.toml")))
