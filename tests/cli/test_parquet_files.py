"""Parquet files made of lines of JSON: a column for each field, of a type that has all of its values."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tailrace.cli.parquet_files import spooled_parquet


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["1", "0.5"], "double", [1.0, 0.5]),
        (["1", str(2**60)], "int64", [1, 2**60]),
        ([str(2**60), "0.5"], "string", [str(2**60), "0.5"]),
        (["0.5", str(2**60)], "string", ["0.5", str(2**60)]),
        (["1", str(2**70)], "string", ["1", str(2**70)]),
        (["true", "1"], "string", ["true", "1"]),
        (['"a"', "[1]"], "string", ['"a"', "[1]"]),
    ],
)
def test_a_column_has_every_value_of_its_field(
    values: list[str], kind: str, found: list[object], tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"

    with path.open("wb") as file, spooled_parquet(file, tmp_path / "spool") as write:
        for value in values:
            write([f'{{"n":{value}}}\n'.encode()])

    column = pq.read_table(path)["n"]
    assert (str(column.type), column.to_pylist()) == (kind, found)
