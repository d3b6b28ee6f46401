"""Answers in each format, from results made by hand."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from support import answers

from tailrace.query import to_arrow, to_csv, to_ndjson
from tailrace.query.answers import cells, to_legacy, to_result, to_tabular, to_tabular_rows
from tailrace.query.apl_request import FieldOrder
from tailrace.query.apl_result import (
    Aggregate,
    AplField,
    AplResult,
    AplStatus,
    AplTable,
    BinSize,
    QueryMessage,
    TimeRange,
)
from tailrace.query.arrow_json import JSON_FIELD

HOUR_NS = 3_600_000_000_000
UTC_US = pa.timestamp("us", "UTC")
T0 = 1_772_704_800_000_000  # 2026-03-05T10:00:00Z, microseconds


def status(**more: Any) -> AplStatus:
    return AplStatus(elapsed_us=5, rows_examined=7, rows_matched=3, **more)


EVENTS = AplTable(
    name="0",
    fields=(
        AplField("_sysTime", "datetime"),
        AplField("_time", "datetime"),
        AplField("n", "integer"),
        AplField("ratio", "float"),
        AplField("mixed", "integer|string"),
        AplField("took", "timespan"),
        AplField("ok", "boolean"),
        AplField("_cursor", "string"),
    ),
    rows=pa.table(
        [
            pa.array([T0 + 1, T0 + 1], UTC_US),
            pa.array([T0, T0 + 1_500_000], UTC_US),
            pa.array([1, None], pa.int64()),
            pa.array([float("nan"), 0.5], pa.float64()),
            pa.array(["1", '"a\u20ac"'], pa.string()),
            pa.array([HOUR_NS, None], pa.int64()),
            pa.array([True, None], pa.bool_()),
            pa.array(["c1", "c2"]),
        ],
        schema=pa.schema(
            [
                pa.field("_sysTime", UTC_US),
                pa.field("_time", UTC_US),
                pa.field("n", pa.int64()),
                pa.field("ratio", pa.float64()),
                pa.field("mixed", pa.string(), metadata=JSON_FIELD),
                pa.field("took", pa.int64()),
                pa.field("ok", pa.bool_()),
                pa.field("_cursor", pa.string()),
            ]
        ),
    ),
    sources=("logs",),
    order=(FieldOrder("_time", True),),
    range=TimeRange("_time", 0, HOUR_NS),
)
GROUPS = AplTable(
    name="0",
    fields=(
        AplField("_time", "datetime"),
        AplField("method", "string"),
        AplField("count_", "integer", Aggregate("count")),
        AplField("topk_ip", "array", Aggregate("topk", ("ip",), (1,))),
    ),
    rows=pa.table(
        [
            pa.array([T0, T0, T0 + 3_600_000_000], UTC_US),
            pa.array(["GET", None, "GET"]),
            pa.array([3, 1, 2], pa.int64()),
            pa.array(['[{"key":"a","count":3,"error":0}]', "[]", "[]"]),
        ],
        schema=pa.schema(
            [
                pa.field("_time", UTC_US),
                pa.field("method", pa.string()),
                pa.field("count_", pa.int64()),
                pa.field("topk_ip", pa.string(), metadata=JSON_FIELD),
            ]
        ),
    ),
    sources=("logs",),
    order=(FieldOrder("_time", False), FieldOrder("count_", True)),
    groups=("_time", "method"),
    range=TimeRange("_time", T0 * 1000, T0 * 1000 + 2 * HOUR_NS),
    buckets=BinSize("_time", HOUR_NS),
    aggregated=True,
)
TOTALS = AplTable(
    name="_totals",
    fields=GROUPS.fields[1:],
    rows=pa.table([["GET", None], [5, 1], ["[]", "[]"]], schema=pa.schema(list(GROUPS.rows.schema)[1:])),
    sources=("logs",),
    order=(FieldOrder("count_", True),),
    groups=("method",),
    aggregated=True,
)
RAW = AplResult((EVENTS,), status(min_cursor="a", max_cursor="b"), ("logs",))
SUMS = AplResult((GROUPS, TOTALS), status(num_groups=3), ("logs",))
SHOWN: list[dict[str, Any]] = [
    {
        "_sysTime": "2026-03-05T10:00:00.000001Z",
        "_time": "2026-03-05T10:00:00Z",
        "n": 1,
        "ratio": None,
        "mixed": 1,
        "took": "1h0m0s",
        "ok": True,
        "_cursor": "c1",
    },
    {
        "_sysTime": "2026-03-05T10:00:00.000001Z",
        "_time": "2026-03-05T10:00:01.5Z",
        "n": None,
        "ratio": 0.5,
        "mixed": "a\u20ac",
        "took": None,
        "ok": None,
        "_cursor": "c2",
    },
]


def empty(table: AplTable) -> AplResult:
    return AplResult(
        (AplTable("0", table.fields, table.rows.slice(0, 0), aggregated=table.aggregated),), status(), ("logs",)
    )


def test_tabular_has_a_column_of_values_for_each_field() -> None:
    answer = answers.tabular(to_tabular(RAW))

    [table] = answer.tables
    assert table.rows() == SHOWN
    assert [source.name for source in table.sources] == ["logs"]
    assert table.order == [answers.Order("_time", True)]
    assert table.groups == []
    assert table.range == answers.Range("_time", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z")
    assert answer.dataset_names == ["logs"]
    assert (answer.status.min_cursor, answer.status.max_cursor) == ("a", "b")
    assert (answer.status.rows_examined, answer.status.rows_matched) == (7, 3)


def test_tabular_says_how_aggregates_came_to_be() -> None:
    answer = answers.tabular(to_tabular(SUMS))

    table, totals = answer.tables
    raw = json.loads(to_tabular(SUMS))["tables"][0]["fields"]
    assert raw[2] == {"name": "count_", "type": "integer", "agg": {"name": "count"}}
    assert raw[3]["agg"] == {"name": "topk", "fields": ["ip"], "args": [1]}
    assert raw[1] == {"name": "method", "type": "string"}
    assert [group.name for group in table.groups] == ["_time", "method"]
    assert table.buckets == answers.Bucket("_time", HOUR_NS)
    assert table.rows()[0]["topk_ip"] == [{"key": "a", "count": 3, "error": 0}]
    assert (totals.name, totals.rows()) == (
        "_totals",
        [{"method": "GET", "count_": 5, "topk_ip": []}, {"method": None, "count_": 1, "topk_ip": []}],
    )


@pytest.mark.parametrize("encode", [to_tabular, to_tabular_rows, to_legacy])
def test_an_answer_is_the_same_however_many_rows_are_encoded_at_a_time(
    encode: Callable[[AplResult], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode(RAW)
    monkeypatch.setattr(cells, "MAX_VALUES", 1)
    monkeypatch.setattr(cells, "LEAST_ROWS", 1)

    assert encode(RAW) == whole


@pytest.mark.parametrize("encode", [to_tabular, to_tabular_rows, to_legacy])
def test_an_answer_takes_memory_in_proportion_to_its_bytes(
    encode: Callable[[AplResult], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "MAX_VALUES", 1)  # at least LEAST_ROWS are taken
    column = pa.array(range(1_000_000, 1_002_000))
    fields = tuple(AplField(f"{n:03}", "integer") for n in range(200))
    rows = pa.table({field.name: column for field in fields})
    result = AplResult((AplTable("0", fields, rows),), status(), ())
    tracemalloc.start()
    size = len(encode(result))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size > 2000 * 200 * len("1000000,")
    assert peak < 3.5 * size


def test_without_rows_there_is_an_empty_array_for_each_field() -> None:
    [table] = answers.tabular(to_tabular(empty(EVENTS))).tables

    assert table.columns == [[]] * len(EVENTS.fields)


def test_without_fields_there_are_no_columns() -> None:
    result = AplResult((AplTable("0", (), pa.table({})),), status(), ())

    assert "columns" not in json.loads(to_tabular(result))["tables"][0]


def test_tabular_rows_has_an_array_for_each_row() -> None:
    [table] = answers.tabular_rows(to_tabular_rows(RAW)).tables

    assert table.rows_ == [list(row.values()) for row in SHOWN]
    assert answers.tabular_rows(to_tabular_rows(empty(EVENTS))).tables[0].rows_ == []


def test_legacy_has_events_as_matches() -> None:
    answer = answers.legacy(to_legacy(RAW))

    assert [match.data for match in answer.matches] == [
        {name: value for name, value in row.items() if name not in ("_time", "_sysTime", "_cursor")} for row in SHOWN
    ]
    assert [(match.time, match.row_id) for match in answer.matches] == [
        ("2026-03-05T10:00:00Z", "c1"),
        ("2026-03-05T10:00:01.5Z", "c2"),
    ]
    assert answer.buckets == answers.Buckets([], [])


def test_legacy_has_groups_in_buckets_of_time_and_totals() -> None:
    answer = answers.legacy(to_legacy(SUMS))

    assert answer.matches == []
    assert [(each.start_time, each.end_time, len(each.groups)) for each in answer.buckets.series] == [
        ("2026-03-05T10:00:00Z", "2026-03-05T11:00:00Z", 2),
        ("2026-03-05T11:00:00Z", "2026-03-05T12:00:00Z", 1),
    ]
    first, second = answer.buckets.series[0].groups
    assert first.group == {"method": "GET"}
    assert first.aggregations[0] == answers.Aggregated("count_", 3)
    assert second.group == {"method": None}
    assert [(total.group, total.aggregations[0].value) for total in answer.buckets.totals] == [
        ({"method": "GET"}, 5),
        ({"method": None}, 1),
    ]
    assert answer.buckets.series[1].groups[0].id == first.id == answer.buckets.totals[0].id != second.id
    assert 0 <= first.id < 2**53


def test_legacy_without_a_bin_has_one_bucket() -> None:
    result = AplResult((TOTALS,), status(), ("logs",))

    buckets = answers.legacy(to_legacy(result)).buckets
    assert [len(each.groups) for each in buckets.series] == [2]
    assert buckets.totals == buckets.series[0].groups
    assert answers.legacy(to_legacy(empty(TOTALS))).buckets == answers.Buckets([], [])


def test_a_structured_query_names_its_aggregations() -> None:
    answer = answers.structured(to_legacy(SUMS, {"count_": "event_count", "topk_ip": "topk"}))

    assert [each.op for each in answer.buckets.totals[0].aggregations] == ["event_count", "topk"]


def test_status_has_true_figures_and_messages() -> None:
    told = status(min_time_ns=0, max_time_ns=HOUR_NS, messages=(QueryMessage("warn", "apl_x_1", "x"),))
    result = AplResult((EVENTS,), told, ())

    shown = answers.tabular(to_tabular(result)).status
    assert (shown.min_block_time, shown.max_block_time) == ("1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z")
    assert shown.messages == [answers.Message("warn", 1, "apl_x_1", "x")]
    assert json.loads(to_tabular(empty(EVENTS)))["status"]["messages"] == []
    assert "minCursor" not in json.loads(to_tabular(empty(EVENTS)))["status"]


def test_plain_formats_hold_the_first_table() -> None:
    result = to_result(RAW)

    assert [json.loads(line) for line in b"".join(to_ndjson(result)).splitlines()] == SHOWN
    assert b"".join(to_csv(result)).decode().splitlines()[1].endswith(',"1h0m0s",true,"c1"')
    with pa.ipc.open_stream(b"".join(to_arrow(result))) as reader:
        assert reader.read_all()["n"].to_pylist() == [1, None]


@pytest.mark.parametrize("encode", [to_tabular, to_tabular_rows, to_legacy])
def test_one_row_without_fields_is_an_answer(encode: Any) -> None:
    rows = pa.table({"x": [1]}).select([])

    assert encode(AplResult((AplTable("0", (), rows),), status(), ()))
