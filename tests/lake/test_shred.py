"""Shredding of a dataset's batches: what earns a column by the counts of events, and what a line shredder refuses."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import batch, conflicting, flat, objects
from support.lakes import flat_rows
from support.rounds import rounds

from tailrace.events import Batch
from tailrace.lake.exact import ExactShredder
from tailrace.lake.fields import MAX_REST_PATHS, RECENT_EVENTS, Fields
from tailrace.lake.shred import NEW_PATHS, Shredder
from tailrace.native.shredder import ReadLines


class Refusing(ExactShredder):
    """Refuses every second line, and reads no more than three at a time."""

    MOST = 3

    def read(self, events: bytes | memoryview, count: int) -> ReadLines:
        lines = bytes(events).splitlines(keepends=True)[: self.MOST]
        super().read(b"".join(lines[::2]), len(lines[::2]))
        self._count = len(lines)
        return ReadLines(len(lines), sum(map(len, lines)), list(range(1, len(lines), 2)))

    def columns(self) -> tuple[dict[int, pa.Array], pa.Array | None]:
        columns, rest = super().columns()
        return {number: self._spread(values) for number, values in columns.items()}, rest and self._spread(rest)

    def _spread(self, values: pa.Array) -> pa.Array:
        cells: list[Any] = [None] * self._count
        cells[::2] = values.to_pylist()
        return pa.array(cells, values.type)


def names(fields: Fields) -> list[str]:
    return [column.name for column in fields.columns]


@given(st.lists(st.lists(objects | conflicting, min_size=1, max_size=9), min_size=1, max_size=3), st.integers(0, 8))
@settings(max_examples=rounds(60))
def test_lines_that_are_refused_or_read_later_are_in_their_places(
    batches: list[list[dict[str, Any]]], max_columns: int
) -> None:
    fields = Fields(max_columns=max_columns, density=0.3)
    shredder = Shredder(fields, Refusing())

    for events in batches:
        table = shredder.shred([batch(events)])

        assert flat_rows(table, fields.view()) == [flat(event) for event in events]
        assert table["_time"].cast(pa.int64()).to_pylist() == (batch(events).times // 1000).tolist()


def test_what_only_refused_lines_have_earns_its_column_too() -> None:
    fields = Fields()

    Shredder(fields, Refusing()).shred([batch([{"a": 1}, {"b": 1}, {"a": 1}])])

    assert names(fields) == ["a", "b"]


def test_a_path_earns_its_column_by_its_share_of_the_events() -> None:
    fields = Fields(density=0.1)

    table = Shredder(fields).shred([batch([{"all": 1, "tenth": 1}] * 10 + [{"all": 1, "less": 1}] * 9 + [{}] * 81)])

    assert names(fields) == ["all", "tenth"]
    assert table.column_names == ["_time", "_sysTime", "all", "tenth", "_rest"]
    assert table["_rest"].to_pylist() == [None] * 10 + ['{"less":1}'] * 9 + [None] * 81
    assert fields.view().rest == {"less": {"integer"}}


def test_a_share_is_of_the_recent_events_however_small_the_batches_are() -> None:
    fields = Fields(density=0.1)
    shredder = Shredder(fields)
    shredder.shred([batch([{"all": 1}] * 95)])
    for _ in range(9):
        shredder.shred([batch([{"rare": "x"}])])
        assert names(fields) == ["all"]

    shredder.shred([batch([{"rare": "x"}] * 2)])

    assert names(fields) == ["all", "rare"]


def test_old_events_weigh_less_and_less() -> None:
    fields = Fields(density=0.5)
    shredder = Shredder(fields)
    shredder.shred([batch([{"old": 1}] * (RECENT_EVENTS + 10))])

    shredder.shred([batch([{"new": 1}] * (RECENT_EVENTS // 2 + 100))])

    assert names(fields) == ["old", "new"]


def test_of_two_types_as_frequent_the_one_met_first_owns_the_plain_name() -> None:
    for first, second in ((1, "x"), ("x", 1)):
        fields = Fields()
        Shredder(fields).shred([batch([{"a": first, "b": first}, {"a": second, "b": second}])])

        kind = {1: "integer", "x": "string"}
        assert names(fields) == ["a", "b", f"a#{kind[second]}", f"b#{kind[second]}"]
        assert [column.type for column in fields.columns[:2]] == [kind[first]] * 2


def test_the_more_frequent_type_owns_the_plain_name() -> None:
    fields = Fields()

    Shredder(fields).shred([batch([{"a": "x"}, {"a": 1}, {"a": 2}])])

    assert [(column.name, column.type) for column in fields.columns] == [("a", "integer"), ("a#string", "string")]


def test_a_dense_type_of_an_old_path_gets_a_sibling_column_and_a_rare_one_the_rest() -> None:
    fields = Fields(density=0.2)
    shredder = Shredder(fields)
    shredder.shred([batch([{"a": "x"}] * 10)])

    table = shredder.shred([batch([{"a": 1}] * 5 + [{"a": True}] + [{"a": "y"}] * 4)])

    assert names(fields) == ["a", "a#integer"]
    assert table["a"].to_pylist() == [None] * 6 + ["y"] * 4
    assert table["a#integer"].to_pylist() == [1] * 5 + [None] * 5
    assert table["_rest"].to_pylist() == [None] * 5 + ['{"a":true}'] + [None] * 4


def test_a_registry_that_was_stored_has_its_columns_again() -> None:
    before = Fields()
    Shredder(before).shred([batch([{"a": 1.5, "b": {"c": "x"}}])])
    fields = Fields(before.view(), density=1)

    table = Shredder(fields).shred([batch([{}, {}, {"a": 2, "b": {"c": "y"}, "d": 1}])])

    assert table.drop(["_time", "_sysTime"]).to_pylist()[2] == {"a#integer": 2, "b.c": "y", "_rest": '{"d":1}'}
    assert fields.view().columns == before.view().columns


def test_a_flood_of_names_costs_the_registry_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(density=0.01)
    shredder = Shredder(fields)
    calls: Counter[str] = Counter()
    for name in ("add", "note_rest"):
        real = getattr(fields, name)

        def counted(*args: Any, name: str = name, real: Any = real) -> Any:
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(fields, name, counted)
    shredder.shred([batch([{"all": 1}] * 200)])

    for first in range(0, 4 * MAX_REST_PATHS, MAX_REST_PATHS // 2):
        calls.clear()
        flood = [{"all": 1, f"k{number}": number} for number in range(first, first + MAX_REST_PATHS // 2)]
        table = shredder.shred([batch(flood)])
        assert table["all"].null_count == table["_rest"].null_count == 0
    assert names(fields) == ["all"]
    assert fields.rest_overflow
    assert len(fields.view().rest) == MAX_REST_PATHS
    assert calls["add"] == 0
    assert calls["note_rest"] <= NEW_PATHS


def test_a_registry_without_space_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(max_columns=1)
    shredder = Shredder(fields)
    shredder.shred([batch([{"a": 1}])])
    monkeypatch.delattr(Fields, "add")

    table = shredder.shred([batch([{"a": 1, "b": 2}])])

    assert table["_rest"].to_pylist() == ['{"b":2}']


def test_an_event_that_is_kept_whole_is_told_to_the_registry() -> None:
    deep: dict[str, Any] = {str(number): 1 for number in range(1000)}
    for _ in range(20):
        deep = {"n" * 200: deep}
    fields = Fields()

    table = Shredder(fields, Refusing()).shred([batch([{"a": 1}, deep, {"a": 2}])])

    assert table["a"].to_pylist() == [1, None, 2]
    assert json.loads(table["_rest"][1].as_py()) == deep
    assert fields.rest_overflow


def test_several_batches_are_one_table_in_order() -> None:
    sent: Sequence[Batch] = [batch([{"a": n}] * 2, first_ns=n * 1_000_000_000, labels={"l": n}) for n in range(3)]

    table = Shredder(Fields()).shred(sent)

    assert table["a"].to_pylist() == table["l"].to_pylist() == [0, 0, 1, 1, 2, 2]
    times = np.concatenate([each.times for each in sent])
    assert table["_time"].cast(pa.int64()).to_pylist() == (times // 1000).tolist()
