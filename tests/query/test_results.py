"""Answers as JSON, NDJSON, CSV and Arrow."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from query.kit import Desk

from tailrace.query import Result, results, to_arrow, to_csv, to_json, to_ndjson, to_parquet


def value(desk: Desk, expression: str) -> Any:
    return desk.ask(f"SELECT {expression} AS v")[0]["v"]


def test_json_has_fields_rows_and_counts(desk: Desk) -> None:
    desk.put("d", {"a": 1, "b": "x", "c": [1]})

    answer = json.loads(to_json(desk.run("SELECT _time, a, b, c, a / 2 AS half, a > 0 AS yes FROM d")))

    assert answer["fields"] == [
        {"name": "_time", "type": "datetime"},
        {"name": "a", "type": "integer"},
        {"name": "b", "type": "string"},
        {"name": "c", "type": "dynamic"},
        {"name": "half", "type": "float"},
        {"name": "yes", "type": "boolean"},
    ]
    assert answer["rows"] == [{"_time": "2026-05-28T20:26:40Z", "a": 1, "b": "x", "c": [1], "half": 0.5, "yes": True}]
    assert answer["rowCount"] == 1
    assert answer["elapsedMs"] > 0


def test_an_answer_without_rows_has_its_fields(desk: Desk) -> None:
    answer = json.loads(to_json(desk.run("SELECT 1 AS a WHERE false")))

    assert (answer["fields"], answer["rows"]) == ([{"name": "a", "type": "integer"}], [])


def test_ndjson_is_one_object_a_line(desk: Desk) -> None:
    assert b"".join(to_ndjson(desk.run("SELECT i FROM range(2) t(i)"))) == b'{"i":0}\n{"i":1}\n'


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("TIMESTAMPTZ '2026-01-02 03:04:05+00'", "2026-01-02T03:04:05Z"),
        ("TIMESTAMPTZ '2026-01-02 03:04:05.120+02'", "2026-01-02T01:04:05.12Z"),
        ("TIMESTAMP '2026-01-02 00:00:00'", "2026-01-02T00:00:00Z"),
        ("TIMESTAMP_S '2026-01-02 03:04:50'", "2026-01-02T03:04:50Z"),
        ("TIMESTAMP_NS '2026-01-02 03:04:05.000000001'", "2026-01-02T03:04:05.000000001Z"),
        ("'infinity'::TIMESTAMP", None),
        ("[TIMESTAMP '2026-01-02 00:00:00', NULL]", ["2026-01-02T00:00:00Z", None]),
        ("{'t': TIMESTAMP '2026-01-02 00:00:00'}", {"t": "2026-01-02T00:00:00Z"}),
        ("MAP {TIMESTAMP '2026-01-02 00:00:00': 1.5}", {"2026-01-02T00:00:00Z": 1.5}),
        ("DATE '2026-01-02'", "2026-01-02"),
    ],
)
def test_times_are_rfc_3339_in_utc(desk: Desk, expression: str, text: Any) -> None:
    assert value(desk, expression) == text


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'nan'::DOUBLE", None),
        ("'-inf'::FLOAT", None),
        ("['nan'::DOUBLE, 1.5]", [None, 1.5]),
        ("{'a': ['inf'::DOUBLE]}", {"a": [None]}),
        ("['nan'::DOUBLE, 2]::DOUBLE[2]", [None, 2.0]),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551615::UBIGINT", 2**64 - 1),
        ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
        ("1e22", 1e22),
        ("5e-324", 5e-324),
        ("1.5::DECIMAL(5, 2)", 1.5),
        ("'a'::ENUM ('a', 'b')", "a"),
        ("'[1, {\"a\": null}]'::JSON", [1, {"a": None}]),
        ("['[1]'::JSON, NULL]", [[1], None]),
        ("{'a': '[1]'::JSON}", {"a": [1]}),
        ("NULL", None),
        ("'\"quoted\" \\ é \u2028'", '"quoted" \\ é \u2028'),
        ("[]", []),
        ("INTERVAL 90 SECOND", "00:01:30"),
    ],
)
def test_values_in_json(desk: Desk, expression: str, expected: Any) -> None:
    answer = value(desk, expression)

    assert answer == expected
    assert type(answer) is type(expected)


def test_doubled_column_names_are_made_distinct(desk: Desk) -> None:
    assert desk.ask("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS A") == [{"a": 1, "a_1": 2, "a_1_1": 3, "A": 4}]


def test_csv_has_a_header_times_and_json_text(desk: Desk) -> None:
    desk.put("d", {"a": 'say "hi"', "b": [1, "x"], "c": 1.5}, {"a": "two\nlines", "c": None})

    text = b"".join(to_csv(desk.run("SELECT _time, a, b, c, [_time] AS l FROM d ORDER BY _time"))).decode()

    assert list(csv.reader(io.StringIO(text))) == [
        ["_time", "a", "b", "c", "l"],
        ["2026-05-28T20:26:40Z", 'say "hi"', '[1,"x"]', "1.5", '["2026-05-28T20:26:40Z"]'],
        ["2026-05-28T20:26:40.001Z", "two\nlines", "", "", '["2026-05-28T20:26:40.001Z"]'],
    ]


def test_csv_of_no_rows_is_its_header(desk: Desk) -> None:
    assert b"".join(to_csv(desk.run("SELECT 1 AS a, [1] AS b WHERE false"))) == b'"a","b"\n'


def test_arrow_keeps_types_and_marks_json(desk: Desk) -> None:
    desk.put("d", {"a": 2**63 - 1, "b": [1]}, {"a": 1, "x": 1}, {"a": 2, "x": "s"})

    with pa.ipc.open_stream(b"".join(to_arrow(desk.run("SELECT _time, a, b, x FROM d ORDER BY a DESC")))) as reader:
        table = reader.read_all()

    assert table.schema.field("_time").type.unit == "us"
    assert table.schema.field("_time").type.tz in ("UTC", "Etc/UTC")
    assert table["a"].to_pylist() == [2**63 - 1, 2, 1]
    assert [json.loads(text) for text in table["b"].cast(pa.string()).drop_null().to_pylist()] == [[1]]
    assert table["x"].cast(pa.string()).to_pylist() == [None, '"s"', "1"]


def test_a_result_of_many_batches_is_whole(desk: Desk) -> None:
    lines = b"".join(
        to_ndjson(desk.run("SELECT i, [i] AS l, i / 0.5 AS f FROM range(10000) t(i) ORDER BY i"))
    ).splitlines()

    assert [json.loads(line)["i"] for line in lines] == list(range(10_000))
    assert json.loads(lines[-1]) == {"i": 9999, "l": [9999], "f": 19998.0}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("1::UTINYINT", 1),
        ("'x'", "x"),
        ("[1, NULL]", [1, None]),
        ("{'a': 'b'}", {"a": "b"}),
        ("12.50::DECIMAL(9, 2)", Decimal("12.50")),
        ("TIMESTAMPTZ '2026-01-02 03:04:05+00'", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("INTERVAL 2 MONTH", '"2 months"'),
        ("NULL", None),
    ],
)
def test_parquet_has_each_value_in_its_type(desk: Desk, expression: str, found: Any) -> None:
    file = b"".join(to_parquet(desk.run(f"SELECT {expression} AS v FROM range(2)")))
    assert pq.read_table(io.BytesIO(file)).to_pydict() == {"v": [found, found]}


def test_parquet_without_rows_has_its_columns(desk: Desk) -> None:
    assert pq.read_table(io.BytesIO(b"".join(to_parquet(desk.run("SELECT 1 AS a WHERE false"))))).column_names == ["a"]


def test_the_batches_of_arrow_have_bounded_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "ARROW_PART_BYTES", 4000)
    result = desk.run(
        "SELECT i, CASE WHEN i % 3 = 0 THEN lpad('', 900, 'x') END AS text, [i, i] AS l FROM range(100) t(i)"
    )

    parts = list(to_arrow(result))
    with pa.ipc.open_stream(b"".join(parts)) as reader:
        batches = list(reader)
    assert max(batch.nbytes for batch in batches) <= 4000
    assert sum(map(len, parts)) < 1.5 * result.table.nbytes + 1000 * len(batches)
    assert pa.Table.from_batches(batches).to_pylist() == result.table.to_pylist()


@pytest.mark.parametrize("to_form", [to_ndjson, to_csv, to_arrow, to_parquet])
def test_a_long_answer_is_made_in_parts_which_are_that_of_the_whole(
    desk: Desk, to_form: Callable[[Result], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = "CASE WHEN i % 7 = 0 THEN NULL ELSE [i, NULL, i + 1] END"
    columns = f"i, {lists} AS l, {{'a': i, 'b': [i]}} AS o, i::VARCHAR AS t"
    found = desk.run(f"SELECT {columns} FROM range(50) t(i) ORDER BY i")
    whole = b"".join(to_form(found))
    monkeypatch.setattr(results, "PART_ROWS", 8)
    monkeypatch.setattr(results, "PARQUET_PART_ROWS", 8)
    parts = list(to_form(found))

    assert len(parts) >= 7
    if to_form in (to_ndjson, to_csv):
        assert b"".join(parts) == whole
    elif to_form is to_arrow:
        read = pa.ipc.open_stream(b"".join(parts)).read_all()
        assert read.to_pylist() == found.table.to_pylist()
    else:
        assert pq.read_table(io.BytesIO(b"".join(parts))) == pq.read_table(io.BytesIO(whole))
        assert pq.ParquetFile(io.BytesIO(b"".join(parts))).num_row_groups == 7
