"""What an answer says beside its rows: names, types, groups, order, figures, messages; and what a request may say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from query.kit import Desk

from tailrace.events import DatasetNotFound, DatasetUnavailable, Forbidden, QueryFailed
from tailrace.lake import Lake
from tailrace.query import AplRequest, AplResult, QueryLimits, run_apl
from tailrace.query.answers import to_tabular
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.times import SECOND, datetime_ns
from tailrace.query.apl_request import FieldOrder
from tailrace.query.apl_result import Aggregate, AplTable, BinSize
from tailrace.query.run import rows_of

FIRST_NS = 1_780_000_000_000_000_000  # of the events that a desk puts, 1 ms apart
HOUR_NS = 3600 * SECOND


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(Path(tmp_path_factory.mktemp("run")), QueryLimits())
    made.put("logs", *[{"n": n, "method": ["GET", "PUT", "GET"][n % 3], "x": [1, "a", 2.5][n % 3]} for n in range(9)])
    made.put("other", {"n": 1, "A": "upper", "a": "lower"}, {"n": 2, "A": "U2", "a": 5})
    yield made
    made.close()


def run(desk: Desk, apl: str, **more: Any) -> AplResult:
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl, **more), check=lambda name: None)


def table(desk: Desk, apl: str, **more: Any) -> AplTable:
    return run(desk, apl, **more).tables[0]


def column(desk: Desk, apl: str, **more: Any) -> list[Any]:
    values: list[Any] = table(desk, apl, **more).rows[0].to_pylist()
    return values


def types(found: AplTable) -> dict[str, str]:
    return {field.name: field.type for field in found.fields}


def test_fields_have_their_types(desk: Desk) -> None:
    found = table(
        desk, "logs | extend b = true, s = 1h, l = dynamic([1]), m = dynamic({'k': 1}), r = 1.5, u = dynamic(null)"
    )

    assert types(found) == {
        "_sysTime": "datetime", "_time": "datetime", "method": "string", "n": "integer", "x": "float|integer|string",
        "b": "boolean", "s": "timespan", "l": "array", "m": "map", "r": "float", "u": "unknown",
    }  # fmt: skip


def test_a_dynamic_value_has_the_types_of_its_rows(desk: Desk) -> None:
    assert types(table(desk, "logs | project y = iff(n > 4, dynamic(1), dynamic('t'))")) == {"y": "integer|string"}


def test_raw_events_come_newest_first_a_thousand_of_them(desk: Desk) -> None:
    found = table(desk, "logs")

    assert found.order == (FieldOrder("_time", True),)
    assert found.rows["n"].to_pylist() == list(range(8, -1, -1))
    assert not found.aggregated


def test_the_request_may_limit_and_order_where_the_query_does_not(desk: Desk) -> None:
    assert column(desk, "logs | project n", default_limit=2) == [8, 7]
    assert column(desk, "logs | project n | take 3", default_limit=2) == [8, 7, 6]
    assert column(desk, "logs | project n", default_order=(FieldOrder("n", False),), default_limit=2) == [0, 1]
    assert column(
        desk, "logs | project n | sort by n desc", default_order=(FieldOrder("n", False),), default_limit=1
    ) == [8]


def test_the_range_of_the_request_is_half_open(desk: Desk) -> None:
    start, end = FIRST_NS + 2_000_000, FIRST_NS + 5_000_000

    result = run(desk, "logs | project n", start_ns=start, end_ns=end)

    assert result.tables[0].rows["n"].to_pylist() == [4, 3, 2]
    assert (result.status.rows_examined, result.status.rows_matched) == (3, 3)


def test_every_dataset_of_a_query_is_read_in_the_range(desk: Desk) -> None:
    assert column(desk, "logs | where n in (other | project n) | project n", end_ns=FIRST_NS + 1_500_000) == [1]
    assert column(desk, "union logs, other | count", end_ns=FIRST_NS + 1_000_000) == [2]


def test_rows_are_counted_before_limits(desk: Desk) -> None:
    status = run(desk, "logs | where method == 'GET' | take 2").status

    assert (status.rows_examined, status.rows_matched) == (9, 6)


def test_rows_are_counted_before_groups(desk: Desk) -> None:
    status = run(
        desk, "logs | where method == 'GET' | summarize count() by method | where count_ > 1 | project method"
    ).status

    assert (status.rows_examined, status.rows_matched, status.num_groups) == (9, 6, 1)


def test_aggregates_say_how_they_came_to_be(desk: Desk) -> None:
    found = table(
        desk, "logs | summarize count(), topk(method, 1), p = percentile(n, 95), s = sum(n) / count() by method"
    )

    assert [field.agg for field in found.fields] == [
        None,
        Aggregate("count"),
        Aggregate("topk", ("method",), (1,)),
        Aggregate("percentiles", ("n",), (95,)),
        Aggregate("computed"),
    ]
    assert found.groups == ("method",)
    assert found.aggregated


def test_topk_has_keys_counts_and_errors(desk: Desk) -> None:
    assert column(desk, "logs | summarize topk(method, 1)") == ['[{"key":"GET","count":6,"error":0}]']


def test_bins_of_time_have_buckets_a_range_and_totals(desk: Desk) -> None:
    start, end = FIRST_NS - HOUR_NS, FIRST_NS + HOUR_NS

    first, totals = run(desk, "logs | summarize count() by bin(_time, 1h), method", start_ns=start, end_ns=end).tables

    assert first.buckets == BinSize("_time", HOUR_NS)
    assert first.order == (FieldOrder("_time", False), FieldOrder("count_", True))
    assert first.range is not None
    assert (first.range.start_ns, first.range.end_ns) == (start // HOUR_NS * HOUR_NS, -(-end // HOUR_NS) * HOUR_NS)
    assert (totals.name, totals.groups, totals.order) == ("_totals", ("method",), (FieldOrder("count_", True),))
    assert totals.rows.to_pylist() == [{"method": "GET", "count_": 6}, {"method": "PUT", "count_": 3}]


def test_without_bins_there_is_one_table(desk: Desk) -> None:
    assert len(run(desk, "logs | summarize count() by method").tables) == 1
    assert len(run(desk, "logs | summarize count() by bin(_time, 1h)", totals=False).tables) == 1


def test_bin_auto_fits_the_range(desk: Desk) -> None:
    day = {"start_ns": FIRST_NS, "end_ns": FIRST_NS + 24 * HOUR_NS}

    found = table(desk, "logs | summarize count() by bin_auto(_time)", max_bin_auto_groups=30, **day)

    assert found.buckets == BinSize("_time", HOUR_NS)


def test_rate_is_over_the_range_or_the_bin(desk: Desk) -> None:
    more = {"start_ns": FIRST_NS, "end_ns": FIRST_NS + 18 * SECOND}

    assert column(desk, "logs | summarize rate(n)", **more) == [2.0]
    assert table(desk, "logs | summarize rate(n) by bin(_time, 12s)", **more).rows["rate_n"].to_pylist() == [3.0]


def test_messages_tell_what_was_assumed(desk: Desk) -> None:
    messages = run(desk, "logs | where nothing == 1 or methd == 'x'").status.messages

    assert [message.code for message in messages] == [
        "missing_column",
        "missing_column",
        "apl_implicitendtimeofnowapplied_1",
    ]
    assert messages[1].msg == "no event has a field 'methd' so far; did you mean 'method'?"


def test_where_true_has_one_message(desk: Desk) -> None:
    [message] = run(desk, "logs | where true", end_ns=FIRST_NS + SECOND).status.messages

    assert message.code == "apl_whereclausealwaysevaluatestoTRUEwhichwillincludealldata_1"


def test_a_condition_that_ends_the_range_implies_no_end(desk: Desk) -> None:
    assert run(desk, "logs | where _time < datetime(2030-01-01)").status.messages == ()


def test_variables_give_parameters_their_values(desk: Desk) -> None:
    query = "declare query_parameters (least: long = 3, from: datetime = datetime(null)); logs | where n >= least"

    assert column(desk, f"{query} | project n") == [8, 7, 6, 5, 4, 3]
    assert column(desk, f"{query} | project n", variables={"least": "7"}) == [8, 7]
    assert column(desk, f"{query} | project from | take 1", variables={"from": "2026-01-02T03:04:05Z"}) == [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ]
    with pytest.raises(AplError, match="'least' is a long, which 'many' is not"):
        column(desk, query, variables={"least": "many"})


def test_variables_are_like_lets(desk: Desk) -> None:
    variables = {"least": 7, "verb": "GET", "nothing": None, "yes": True, "half": 0.5}

    assert column(desk, "logs | where n >= least and method == verb and yes | project n", variables=variables) == [8]
    assert column(desk, "let least = 3; logs | where n >= least | project n", variables={"least": 8}) == [8]


def test_virtual_fields_come_last_and_may_be_used(desk: Desk) -> None:
    virtual = {"logs": [("double", "n * 2"), ("more", "double + 1"), ("broken", "nofunction(n)")]}

    result = run(desk, "logs | where more > 15", virtual_fields=virtual)

    assert [field.name for field in result.tables[0].fields][-3:] == ["double", "more", "broken"]
    assert result.tables[0].rows["double"].to_pylist() == [16]
    assert "virtual_field_finalize_error" in [message.code for message in result.status.messages]
    assert column(desk, "logs | summarize max(more)", virtual_fields=virtual) == [17]


@pytest.mark.parametrize(
    "expression", ["toscalar(logs | count)", "toscalar(print 1)", "1 in ((logs | project n))", "more in (logs)"]
)
def test_a_virtual_field_with_a_sub_query_is_left_out_with_a_remark(desk: Desk, expression: str) -> None:
    result = run(desk, "logs | project more", virtual_fields={"logs": [("more", expression)]})

    assert "looks at the event alone" in str(result.status.messages)
    assert set(column(desk, "logs | project more", virtual_fields={"logs": [("more", expression)]})) == {None}


def test_fields_that_differ_only_in_case_are_two_fields(desk: Desk) -> None:
    assert table(desk, "other | where n == 1 | project A, a").rows.to_pylist() == [{"A": "upper", "a": '"lower"'}]


def test_a_dataset_that_may_not_be_read_is_refused_and_patterns_pass_over_it(desk: Desk) -> None:
    def check(name: str) -> None:
        if name == "other":
            raise Forbidden("not yours")

    with pytest.raises(Forbidden):
        run_apl(desk.lake, desk.engine, AplRequest(apl="other"), check=check)
    found = run_apl(desk.lake, desk.engine, AplRequest(apl="union * | count"), check=check)
    assert found.tables[0].rows["count"].to_pylist() == [9]
    assert found.datasets == ("logs",)


@pytest.mark.parametrize(
    "apl", ["nowhere", "logs | join nowhere on n", "logs | where n in ((nowhere | project n))", "union logs, nowhere"]
)
def test_an_unknown_dataset_is_an_error_wherever_it_stands(desk: Desk, apl: str) -> None:
    with pytest.raises(DatasetNotFound):
        run(desk, apl)


def doubled(first: str, join: str, times: int) -> str:
    """Return `let`s of which each stands for the one before it twice."""
    names = ["a", *(f"a{n}" for n in range(times))]
    lets = [f"let a = {first};"]
    lets += [f"let {name} = {join.format(before)};" for before, name in pairwise(names)]
    return " ".join(lets)


@pytest.mark.parametrize(
    "apl",
    [
        "logs" + " | extend n = n + 1" * 200 + " | summarize max(n)",
        "logs | where " + " or ".join(f"n == {n}" for n in range(2_000)) + " | count",
        "print " + "abs(" * 50 + "1" + ")" * 50,
        "print " + "+".join(["1"] * 300),
        "logs | where n in (" + ", ".join(map(str, range(20_000))) + ") | count",
        "print " + "coalesce(todynamic(" * 25 + "'1'" + "), 1)" * 25,
        "print " + "iff(true, " * 50 + "1" + ", 2)" * 50,
        "let a = now(); " + "".join(f"let a{n} = a{n - 1 if n else ''} ; " for n in range(50)) + "print a49",
    ],
)
def test_large_queries_run(desk: Desk, apl: str) -> None:
    assert table(desk, apl).rows.num_rows == 1


@pytest.mark.parametrize(
    ("apl", "part"),
    [
        ("logs" + " | extend n = n + 1" * 300, "the limit is 250"),
        (doubled("rand()", "{0} + {0}", 40) + "print a39", "too long an expression"),
        (doubled("logs", "union {0}, {0}", 12) + "a11 | count", "more than 500 tables"),
        ("print " + "-(" * 40 + "1", "levels"),
    ],
)  # fmt: skip
def test_queries_that_are_too_large_name_the_limit(desk: Desk, apl: str, part: str) -> None:
    with pytest.raises(AplError, match=part):
        run(desk, apl)


def test_an_error_has_its_place(desk: Desk) -> None:
    with pytest.raises(AplError) as caught:
        run(desk, "logs\n| where tolowr(method) == 'x'")

    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.column) == (2, 9)
    assert caught.value.kind == "name"


def test_now_is_the_instant_of_the_request(desk: Desk) -> None:
    now_ns = datetime_ns("2026-05-01T12:00:00Z")

    found = table(desk, "print strcat(now(), ago(1h))", now_ns=now_ns)

    assert found.rows[0].to_pylist() == ["2026-05-01T12:00:00Z2026-05-01T11:00:00Z"]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Yield events with fields that have no columns: two names that differ in case, an object where a number was."""
    made = Desk(Path(tmp_path_factory.mktemp("sparse")), QueryLimits())
    made.put("logs", *[{"n": n, "o": n, **({"a key": f"secret{n}"} if n == 3 else {})} for n in range(8)])
    made.put("logs", {"N": 1, "n": 99, "o": {"Deep": "secret"}})
    yield made
    made.close()


EVERY_NAME = ["N", "_sysTime", "_time", "a key", "n", "o", "o.Deep"]


@pytest.mark.parametrize("operator", ["distinct *", "where true", "redact 'none'", "summarize arg_max(o, *) by n"])
def test_a_star_holds_fields_without_columns(sparse: Desk, operator: str) -> None:
    assert sorted(types(table(sparse, f"logs | where n in (3, 99) | {operator}"))) == EVERY_NAME


def test_redact_without_fields_cleans_those_without_columns(sparse: Desk) -> None:
    found = table(sparse, "logs | where n in (3, 99) | redact 'secret'")

    assert "secret" not in str([cells.to_pylist() for cells in found.rows.columns])


def test_each_side_of_a_join_keeps_its_fields_without_columns(sparse: Desk) -> None:
    found = table(sparse, "logs | where n == 3 | extend k = 99 | join (logs) on $left.k == $right.n")

    row = {field.name: cells.to_pylist()[0] for field, cells in zip(found.fields, found.rows.columns, strict=True)}
    assert [field.name for field in found.fields] == [
        *EVERY_NAME, "k", *(f"{name}1" for name in EVERY_NAME)
    ]  # fmt: skip
    assert (row["a key"], row["a key1"], row["N"], row["N1"]) == ("secret3", None, None, 1)


def test_a_series_has_a_bounded_number_of_points(desk: Desk) -> None:
    with pytest.raises(QueryFailed, match="more than 1048576 points, the limit"):
        run(desk, "logs | make-series count() on n step 0.0000001")


def test_datasets_that_a_pattern_fits_and_that_cannot_be_used_are_told_of(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QueryLimits())
    for n, name in enumerate(("web_a", "web_b", "web_c")):
        desk.put(name, {"n": n})
    desk.lake.close()
    (tmp_path / "lake" / "web_b" / "_tailrace" / "dataset.json").write_bytes(b"x")
    desk.lake = Lake.open(tmp_path / "lake")
    answer = run(desk, "union web_* | summarize make_list(n)")
    told = [message for message in answer.status.messages if "web_b" in message.msg]

    assert answer.tables[0].rows[0].to_pylist() == ["[0,2]"]
    assert answer.status.is_partial
    assert [message.priority for message in told] == ["warn"]
    assert told[0].msg.startswith("the answer is without 'web_b', which 'web_*' fits: dataset 'web_b' cannot be used: ")
    assert "web_b" in " ".join(message.msg for message in run(desk, "search 'x'").status.messages)
    assert not run(desk, "union web_a, web_c | count").status.is_partial
    for apl in ("union web_b* | count", "web_a | union web_b", "['WEB_B']"):
        with pytest.raises(DatasetUnavailable, match="web_b"):
            run(desk, apl)

    def check(name: str) -> None:
        if name == "web_b":
            raise Forbidden(name)

    hidden = run_apl(desk.lake, desk.engine, AplRequest(apl="union web_* | count"), check=check)
    assert not hidden.status.is_partial
    with pytest.raises(DatasetUnavailable, match="web_b"):
        rows_of(desk.lake, desk.engine, AplRequest(apl="union web_*"), check=lambda name: None)
    desk.close()


def test_without_its_registry_a_dataset_has_the_fields_of_its_table_and_of_its_rest(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QueryLimits())
    desk.put("logs", {"n": 1, "http": {"status": 200}, "mixed": 1, "list": [1]}, {"n": 2, "mixed": "x", "user.id": "u"})
    desk.lake.commit_now()
    desk.put("logs", *[{"n": n} for n in range(3, 300)], {"rare": {"deep": True}})
    desk.lake.commit_now()
    fields = "n, ['http.status'], mixed, list, ['user.id'], rare.deep"
    apl = f"logs | where n < 3 or rare.deep == true | order by n asc | project {fields}"

    def shown(apl: str) -> list[list[Any]]:
        columns: list[list[Any]] = json.loads(to_tabular(run(desk, apl)))["tables"][0]["columns"]
        return columns

    before = shown(apl)
    assert sorted(before[0], key=str) == [1, 2, None]
    desk.lake.close()
    registry = tmp_path / "lake" / "logs" / "_tailrace" / "fields.json"
    registry.unlink()

    desk.lake = Lake.open(tmp_path / "lake")
    assert shown(apl) == before
    # Another type of a field that has a column gets one of its own, as before.
    desk.put("logs", *[{"n": f"text {n}"} for n in range(300)])
    desk.lake.commit_now()
    assert registry.exists()
    assert shown(apl) == before
    assert column(desk, "logs | where n == 'text 7' | count") == [1]
    desk.close()
