"""Whatever goes into a dataset comes out of SQL with its value and its type: hot, committed, and after a restart."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from query.kit import Desk
from support.events import Flat, conflicting, flat, objects, typed
from support.rounds import rounds

from tailrace.lake.leaves import leaves
from tailrace.query import QueryLimits, to_ndjson

events_of_any_kind = st.lists(objects | conflicting, min_size=1, max_size=6)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def ask(desk: Desk, sql: str) -> list[bytes]:
    return b"".join(to_ndjson(desk.run(sql))).splitlines()


def whole(desk: Desk) -> list[Flat]:
    """Each event, put together from its row."""
    paths = {column.name: column.path for column in desk.lake.snapshot("d").fields.columns}
    rows = []
    for line in ask(desk, "SELECT * FROM d ORDER BY _time"):
        row = json.loads(line)
        event = {paths[name]: typed(value) for name, value in row.items() if name in paths and value is not None}
        for path, leaf in leaves(json.dumps(row["_rest"] or {}).encode()).items():
            value = typed(json.loads(leaf.raw))
            assert event.setdefault(path, value) == value
        rows.append(event)
    return rows


def one_by_one(desk: Desk, paths: list[str]) -> list[Flat]:
    """Each event, put together from the answers of a query for each path."""
    rows: list[Flat] | None = None
    for path in paths:
        values = [list(json.loads(line).values()) for line in ask(desk, f"SELECT {quoted(path)} FROM d ORDER BY _time")]
        rows = rows or [{} for _ in values]
        for row, [value] in zip(rows, values, strict=True):
            if value is not None:
                row[path] = typed(value)
    return rows or []


def sql_can_name(path: str) -> bool:
    return bool(path) and "\0" not in path


@given(events_of_any_kind)
@settings(max_examples=rounds(6))
@example([{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": [1, 1.0]}, {"a": {}}, {"a": 2**64}, {"a": {"b": 1}}])
@example([{"a.b": 1}, {"a": {"b": 2.5}}, {"a": {"b": None}}])
@example([{"a": 2**63 - 1}, {"a": -(2**63)}, {"a": 2**53 + 1}, {"a": -0.0}, {"a": 5e-324}])
def test_any_events_come_back_through_sql(events: list[dict[str, Any]]) -> None:
    wanted = [flat(event) for event in events]
    paths = sorted({path for event in wanted for path in event if sql_can_name(path)})
    named = [{path: value for path, value in event.items() if path in paths} for event in wanted]
    with TemporaryDirectory() as directory:
        desk = Desk(Path(directory), QueryLimits())
        desk.put("d", *events)

        assert whole(desk) == wanted
        if paths:
            assert one_by_one(desk, paths) == named
        desk.lake.commit_now()
        assert whole(desk) == wanted
        if paths:
            assert one_by_one(desk, paths) == named
        desk.close()

        desk = Desk(Path(directory), QueryLimits())
        assert whole(desk) == wanted
        desk.close()
