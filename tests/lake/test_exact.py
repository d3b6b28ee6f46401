"""The exact way from lines to columns, beside what `leaves` says of each line."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.events import conflicting, objects

from tailrace.lake import exact
from tailrace.lake.exact import ExactShredder
from tailrace.lake.leaves import leaves, value_of


def lines_of(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def read(shredder: ExactShredder, *events: dict[str, Any]) -> None:
    assert shredder.read(lines_of(*events), len(events)).rows == len(events)


@given(st.lists(objects | conflicting, min_size=1, max_size=6), st.sets(st.sampled_from("abc")))
def test_each_value_is_in_its_column_or_in_the_rest(events: list[dict[str, Any]], placed: set[str]) -> None:
    shredder = ExactShredder()
    numbers = {(path, "integer"): shredder.place(path, "integer") for path in sorted(placed)}

    read(shredder, *events)
    columns, rest = shredder.columns()

    for row, event in enumerate(events):
        expected = {path: leaf for path, leaf in leaves(json.dumps(event).encode()).items() if leaf.type != "null"}
        for (path, kind), number in numbers.items():
            value = columns[number][row].as_py() if number in columns else None
            is_here = path in expected and expected[path].type == kind
            assert value == (value_of(expected.pop(path)) if is_here else None)
        text = rest[row].as_py() if rest is not None else None
        assert leaves((text or "{}").encode()).keys() == expected.keys()
        assert all(leaf.raw == expected[path].raw for path, leaf in leaves((text or "{}").encode()).items())


def test_what_has_no_column_is_counted_over_readings_and_offered_once() -> None:
    shredder = ExactShredder()
    read(shredder, {"a": 1, "o": {"b": "x"}}, {"o": {"b": 1}, "n": None})
    assert shredder.unplaced(2) == []
    read(shredder, {"a": 2, "c": True})

    assert [(values.path, values.count) for values in shredder.unplaced(2)] == [("a", 2)]
    assert [(values.path, values.keys, values.type, values.count) for values in shredder.unplaced(1)] == [
        ("o.b", ("o", "b"), "string", 1),
        ("o.b", ("o", "b"), "integer", 1),
        ("c", ("c",), "boolean", 1),
    ]
    assert shredder.unplaced(1) == []


def test_counts_are_halved() -> None:
    shredder = ExactShredder()
    read(shredder, *[{"a": 1}] * 5, {"b": 1})

    shredder.halve()

    assert [(values.path, values.count) for values in shredder.unplaced(1)] == [("a", 2)]


def test_what_the_rest_has_is_told_once() -> None:
    shredder = ExactShredder()
    shredder.place("a", "integer")
    read(shredder, {"a": 1, "b": 1, "c": 1, "d": 1})
    shredder.columns()

    told, has_more = shredder.new_rest(2)
    assert ([values.path for values in told], has_more) == (["b", "c"], True)
    told, has_more = shredder.new_rest(2)
    assert ([values.path for values in told], has_more) == (["d"], False)

    read(shredder, {"a": "x", "b": 1, "c": 1.5})
    shredder.columns()
    told, _ = shredder.new_rest(9)
    assert [(values.path, values.type) for values in told] == [("a", "string"), ("c", "float")]


def test_paths_past_the_bound_are_forgotten_and_columns_are_not(monkeypatch: Any) -> None:
    monkeypatch.setattr(exact, "MAX_PATHS", 3)
    shredder = ExactShredder()
    number = shredder.place("a", "integer")
    for round_ in range(3):
        read(shredder, {"a": round_, **{f"k{round_}{key}": 1 for key in range(4)}})
        columns, rest = shredder.columns()
        assert columns[number].to_pylist() == [round_]
        assert rest is not None
        assert len(shredder.unplaced(1)) == 4
        assert len(shredder.new_rest(100)[0]) == 4


def test_an_event_of_paths_much_longer_than_itself_is_kept_whole() -> None:
    shredder = ExactShredder()
    deep: dict[str, Any] = {str(number): 1 for number in range(1000)}
    for level in range(20):
        deep = {f"{level}" + "n" * 190: deep}

    read(shredder, {"a": 1}, deep)
    _, rest = shredder.columns()

    assert rest is not None
    assert [json.loads(text) for text in rest.to_pylist()] == [{"a": 1}, deep]
    assert len(shredder.new_rest(10)[0]) == 1
    read(shredder, deep)
    shredder.columns()
    assert shredder.new_rest(10) == ([], True)
    assert shredder.new_rest(10) == ([], False)
