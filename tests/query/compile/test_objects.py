"""Objects of events: put together again as they were sent, map fields in one column, and every field in a schema."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from query.kit import Desk

from tailrace.query import AplRequest, AplResult, run_apl
from tailrace.query.apl.errors import AplError
from tailrace.query.arrow_json import is_json

MANY = 300
ATTRS = {"a.b": 1, "c": {"d": "x", "e": {"f": True}}, "tags": [1, {"z": 2}]}


def run(desk: Desk, apl: str, *maps: str) -> AplResult:
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl, map_fields={"logs": maps}), check=lambda name: None)


def rows(desk: Desk, apl: str, *maps: str) -> list[dict[str, Any]]:
    """Return what is not null of each row, but for the system's fields."""
    table = run(desk, apl, *maps).tables[0]
    columns = []
    for kind in table.rows.schema:
        values = table.rows[kind.name].to_pylist()
        columns.append([json.loads(each) if is_json(kind) and each is not None else each for each in values])
    names = [field.name for field in table.fields]
    found = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return [
        {name: value for name, value in row.items() if value is not None and name not in ("_time", "_sysTime")}
        for row in found
    ]


def types(desk: Desk, apl: str, *maps: str) -> dict[str, str]:
    fields = run(desk, apl, *maps).tables[0].fields
    return {field.name: field.type for field in fields if field.name not in ("_time", "_sysTime")}


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


@pytest.fixture(params=["in columns", "in the rest", "in both"])
def kept(desk: Desk, request: pytest.FixtureRequest) -> Desk:
    """One event with ATTRS, whose fields have columns, have none, or some do."""
    if request.param == "in columns":
        desk.put("logs", {"n": 1, "attrs": ATTRS})
    elif request.param == "in the rest":
        desk.put("logs", *[{"n": 0} for _ in range(MANY)])
        desk.put("logs", {"n": 1, "attrs": ATTRS})
    else:
        desk.put("logs", *[{"n": 0, "attrs": {"c": {"d": "y"}}} for _ in range(MANY)])
        desk.put("logs", {"n": 1, "attrs": ATTRS})
    return desk


def test_an_object_is_as_it_was_sent(kept: Desk) -> None:
    assert rows(kept, "logs | where n == 1 | project attrs") == [{"attrs": ATTRS}]
    assert types(kept, "logs | where n == 1 | project attrs") == {"attrs": "map"}
    assert rows(kept, "logs | where n == 1 | project x = attrs.c.e, y = attrs['c']['d'], z = attrs['a.b']") == [
        {"x": {"f": True}, "y": "x", "z": 1}
    ]


def test_an_event_without_the_object_has_none(desk: Desk) -> None:
    desk.put("logs", {"n": 1, "attrs": ATTRS}, {"n": 2}, {"n": 3, "attrs": {"c": {"d": None}}})
    assert rows(desk, "logs | order by n asc | project n, attrs") == [{"n": 1, "attrs": ATTRS}, {"n": 2}, {"n": 3}]


def test_a_map_field_is_one_column(kept: Desk) -> None:
    assert rows(kept, "logs | where n == 1", "attrs") == [{"n": 1, "attrs": ATTRS}]
    assert types(kept, "logs | where n == 1", "attrs") == {"n": "integer", "attrs": "map"}
    assert rows(kept, "logs | where n == 1 | project-away attrs", "attrs") == [{"n": 1}]
    assert rows(kept, "logs | where attrs.c.e.f == true | project n", "attrs") == [{"n": 1}]
    schema = rows(kept, "logs | getschema | project ColumnName, ColumnType", "attrs")
    assert [each["ColumnName"] for each in schema] == ["_sysTime", "_time", "attrs", "n"]
    assert schema[2]["ColumnType"] == "dynamic"


def test_what_is_beside_a_map_field_is_not_in_it(desk: Desk) -> None:
    desk.put("logs", {"foo": {"bar": "v", "bar2": "v"}}, {"bar": {"buz": 1}, "foobar": 2})
    assert types(desk, "logs", "foo") == {"bar.buz": "integer", "foo": "map", "foobar": "integer"}
    assert {"foo": {"bar": "v", "bar2": "v"}} in rows(desk, "logs", "foo")


def test_a_map_field_may_have_other_values_too(desk: Desk) -> None:
    desk.put("logs", {"n": 1, "foo": {"bar": 1}}, {"n": 2, "foo": "text"}, {"n": 3, "foo": [1]}, {"n": 4})
    found = rows(desk, "logs | order by n asc", "foo")
    assert [each.get("foo") for each in found] == [{"bar": 1}, "text", [1], None]
    assert rows(desk, "logs", "never", "foo.bar") != []


def test_a_schema_has_every_field_of_its_input(desk: Desk) -> None:
    desk.put("logs", *[{"dense": n} for n in range(2_000)], {"rare": 1, "rare_s": "x", "o": {"t": 1.5}})
    whole = {"_sysTime": "datetime", "_time": "datetime", "dense": "long", "o.t": "real", "rare": "long"}

    def schema(apl: str) -> dict[str, str]:
        found = rows(desk, f"{apl} | getschema | order by ColumnOrdinal asc")
        assert [each["ColumnOrdinal"] for each in found] == list(range(len(found)))
        return {each["ColumnName"]: each["ColumnType"] for each in found}

    assert schema("logs") == {**whole, "rare_s": "string"}
    assert schema("logs | where rare == 1") == {**whole, "rare_s": "string"}
    assert schema("logs | project-away rare_s") == whole
    assert schema("logs | project rare, dense") == {"rare": "long", "dense": "long"}
    assert rows(desk, "logs | where rare == 1") == [{"rare": 1, "rare_s": "x", "o.t": 1.5}]
    reordered = schema("logs | where rare == 1 | project-reorder rare_s, o.*, never")
    assert list(reordered) == ["rare_s", "o.t", "_sysTime", "_time", "dense", "rare"]
    assert rows(desk, "logs | project-reorder rare* desc | where rare == 1") == [{"rare_s": "x", "rare": 1, "o.t": 1.5}]


def test_a_system_field_that_was_left_out_is_null_with_a_message(desk: Desk) -> None:
    desk.put("logs", {"msg": "x"})

    result = run(
        desk, "(['logs'] | project _time, msg) | extend v = coalesce(_time, _sysTime) | where isnull(_sysTime)"
    )

    assert result.tables[0].rows.num_rows == 1
    assert ["_sysTime" in each.msg for each in result.status.messages if each.code == "missing_column"] == [True]
    assert types(desk, "logs | project msg | extend t = _sysTime") == {"msg": "string", "t": "datetime"}
    with pytest.raises(AplError, match="there is no column 'other' here"):
        run(desk, "logs | project msg | extend t = other")


def test_a_field_that_was_taken_away_is_null_with_a_message(desk: Desk) -> None:
    desk.put("logs", {"msg": "x"})

    result = run(desk, "logs | project-away msg, _time | where isnull(msg) and isnull(_time) | extend t = _time")

    assert result.tables[0].rows.num_rows == 1
    assert [each.msg for each in result.status.messages if each.code == "missing_column"] == [
        f"the query has left out {name!r} before it is used: it is null" for name in ("msg", "_time")
    ]
    assert types(desk, "logs | project-away msg, _time | project t = _time, msg") == {"t": "datetime", "msg": "unknown"}
