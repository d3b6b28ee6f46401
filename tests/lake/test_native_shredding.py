"""The compiled way from lines to columns does what the exact one does, over any batches of any JSON."""

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.events import Batch
from tailrace.lake.exact import MIN_PATH_BYTES, ExactShredder
from tailrace.lake.fields import Fields
from tailrace.lake.shred import LineShredder, Shredder, line_shredder
from tailrace.native.shredder import NativeShredder

Pairs = list[tuple[str, Any]]  # the members of an object as they are sent, doubled ones too

HARD_NUMBERS = (
    *(
        "-0",
        "-0.0",
        "0e0",
        "1e400",
        "-1e400",
        "1e-400",
        "1.0",
        "1E+2",
        "0.1",
        "1e22",
        "1e23",
        "123456789012345678901234",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"),
    *("4.9406564584124654e-324", "2.2250738585072011e-308", "1.7976931348623159e308", "9007199254740993.0"),
    *("0.000000000000000000000000000012345678901234567", "7.2057594037927933e16", "8.5" + "0" * 800 + "1"),
)
HARD_TEXTS = (
    '"',
    "\\",
    "",
    "\x00\x1f",
    "\u2028",
    "\U0001f600" * 9,
    "x" * 31 + '"',
    "x" * 32 + "\\",
    "é" * 33,
    "]}",
    "{",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(HARD_TEXTS)
numbers = (
    st.sampled_from(HARD_NUMBERS)
    | st.integers(-(2**64), 2**64).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
scalars = st.none() | st.booleans() | texts | numbers.map(lambda text: msgspec.Raw(text.encode()))


def events_of(keys: st.SearchStrategy[str], *, doubled: bool) -> st.SearchStrategy[Pairs]:
    """Return events of members with these keys, of which an object has one only once unless it may be doubled."""

    def members(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Pairs]:
        return st.lists(st.tuples(keys, inner), max_size=4, unique_by=None if doubled else (lambda member: member[0]))

    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple) | members(inner), max_leaves=5)
    return members(values)


def text_of(value: Any, escape: bool, space: str) -> str:
    """Return JSON: pairs in a list as an object, a tuple as an array."""

    def text(inner: Any) -> str:
        return text_of(inner, escape, space)

    match value:
        case msgspec.Raw():
            return bytes(value).decode()
        case list():
            members = (f"{text(key)}{space}:{space}{text(inner)}" for key, inner in value)
            return "{" + space + f"{space},{space}".join(members) + space + "}"
        case tuple():
            return "[" + space + f"{space},{space}".join(map(text, value)) + space + "]"
        case _:
            return json.dumps(value, ensure_ascii=escape)


def batch_of(events: list[Pairs], escape: bool, space: str, labels: dict[str, Any]) -> Batch:
    lines = "".join(text_of(event, escape, space) + "\n" for event in events).encode()
    return Batch("d", lines, np.arange(len(events), dtype=np.int64), len(events), 0, labels)


def sequences(
    events: st.SearchStrategy[Pairs], labels: st.SearchStrategy[dict[str, Any]]
) -> st.SearchStrategy[list[Batch]]:
    escapes, spaces = st.booleans(), st.sampled_from(["", "", " ", "\t\r "])
    return st.lists(
        st.builds(batch_of, st.lists(events, min_size=1, max_size=3), escapes, spaces, labels), min_size=1, max_size=3
    )


def cells(values: pa.ChunkedArray) -> list[Any]:
    """Return values such that floats differ where their bits do."""
    return [struct.pack("d", value) if isinstance(value, float) else value for value in values.to_pylist()]


def rests(table: pa.Table) -> list[dict[str, bytes]]:
    """Return the members of each rest with their texts, whatever their order."""
    texts = table["_rest"].to_pylist() if "_rest" in table.column_names else [None] * table.num_rows
    members = [msgspec.json.decode(text or "{}", type=dict[str, msgspec.Raw]) for text in texts]
    return [{path: bytes(raw) for path, raw in each.items()} for each in members]


def content(table: pa.Table, fields: Fields, *, by_name: bool) -> dict[Any, list[Any]]:
    """Return the cells of the columns, by name or by path and type."""
    columns = {column.name: column for column in fields.columns if column.name in table.column_names}
    return {(name if by_name else (column.path, column.type)): cells(table[name]) for name, column in columns.items()}


def compare(batches: list[Batch], max_columns: int, density: float, *, by_name: bool) -> None:
    known = Fields(max_columns=max_columns, density=density), Fields(max_columns=max_columns, density=density)
    native, exact = Shredder(known[0], NativeShredder()), Shredder(known[1], ExactShredder())
    for batch in batches:
        tables = native.shred([batch]), exact.shred([batch])

        found, expected = (content(*pair, by_name=by_name) for pair in zip(tables, known, strict=True))
        assert found == expected
        assert rests(tables[0]) == rests(tables[1])
        assert tables[0].num_rows == batch.count
        tables[0].validate(full=True)
        views = known[0].view(), known[1].view()
        assert views[0].rest == views[1].rest
        assert not views[0].rest_overflow
        if by_name:
            assert views[0] == views[1]


plain_keys = st.sampled_from(["a", "b", "c", "A", "x#integer", "", '"', "é", "_rest"]) | texts.map(
    lambda key: key.replace(".", "")
)
dotted_keys = st.sampled_from(["a", "b", "a.b", "b.a", "a.b.a", "", ".", "_time", "\\", "n" * 24])
no_labels: st.SearchStrategy[dict[str, Any]] = st.just({})
some_labels: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"a": "label", "b": {"a": 1}}])
densities = st.sampled_from([0.01, 0.3, 0.6])


@given(sequences(events_of(plain_keys, doubled=False), no_labels), st.sampled_from([0, 2, 256]), densities)
@settings(max_examples=rounds(150))
def test_the_native_way_gives_the_columns_and_the_registry_of_the_exact_one(
    batches: list[Batch], max_columns: int, density: float
) -> None:
    compare(batches, max_columns, density, by_name=True)


@given(sequences(events_of(dotted_keys, doubled=True), some_labels), st.sampled_from([0, 256]), densities)
@settings(max_examples=rounds(150))
def test_of_doubled_and_of_alike_paths_both_ways_take_the_same_value(
    batches: list[Batch], max_columns: int, density: float
) -> None:
    compare(batches, max_columns, density, by_name=False)


@pytest.mark.parametrize("make", [NativeShredder, ExactShredder])
def test_floats_are_those_of_python(make: Callable[[], Any]) -> None:
    generator = np.random.default_rng(1)
    doubles = generator.integers(0, 2**64, 2000, dtype=np.uint64).view(np.float64)
    numbers = [repr(float(value)) for value in doubles if math.isfinite(value)]
    lines = "".join(f'{{"f":{number}}}\n' for number in numbers).encode()

    table = Shredder(Fields(), make()).shred([Batch("d", lines, np.zeros(len(numbers), np.int64), len(numbers), 0)])

    assert cells(table["f"]) == [struct.pack("d", float(number)) for number in numbers]


@pytest.mark.parametrize("make", [NativeShredder, ExactShredder])
def test_of_types_as_frequent_one_that_was_replaced_is_not_the_first(make: Callable[[], LineShredder]) -> None:
    shredder = make()
    shredder.read(b'{"a":1,"a":"x"}\n{"a":2}\n', 2)

    assert [(values.type, values.count) for values in shredder.unplaced(1)] == [("string", 1), ("integer", 1)]


@pytest.mark.parametrize("key", ["n" * 700, "\n" * 350, "é" * 350])
@pytest.mark.parametrize("value", ["null", "1"])
@pytest.mark.parametrize("count", [92, 93, 94])
def test_both_ways_keep_an_event_whole_past_the_same_length_of_its_paths(key: str, value: str, count: int) -> None:
    members = ",".join(f'"{number}":{value}' for number in range(100, 100 + count))
    line = f'{{{json.dumps(key, ensure_ascii=False)}:{{{members}}},"a":1}}\n'.encode()
    batches = [Batch("d", line, np.zeros(1, np.int64), 1, 0)]

    tables = [Shredder(Fields(), lines).shred(batches) for lines in (NativeShredder(), ExactShredder())]

    is_whole = count * 704 + 1 > MIN_PATH_BYTES
    assert [table.column_names == ["_time", "_sysTime", "_rest"] for table in tables] == [is_whole] * 2
    assert tables[0].to_pylist() == tables[1].to_pylist()


def test_the_native_way_is_taken_where_it_can_be() -> None:
    assert isinstance(line_shredder(), NativeShredder)
