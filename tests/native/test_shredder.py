"""The shredder in C: columns by path and type, exact, whatever the lines hold."""

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.json_lines import EVENTS, NUMBERS, Values, rest_of, text_of, values_of
from support.rounds import rounds

from tailrace.native.shredder import TYPES, NativeShredder, PathValues

COLUMN_TYPES = TYPES[: TYPES.index("null")]


def shredded(shredder: NativeShredder, *lines: bytes) -> tuple[dict[int, Any], list[str | None] | None]:
    """Return what the lines become, all in one read."""
    read = shredder.read(b"".join(line + b"\n" for line in lines), len(lines))
    assert read.rows == len(lines)
    assert read.refused == []
    columns, rest = shredder.columns()
    for array in (*columns.values(), *([] if rest is None else [rest])):
        array.validate(full=True)
        assert len(array) == len(lines)
    return {number: array.to_pylist() for number, array in columns.items()}, None if rest is None else rest.to_pylist()


def test_values_stand_in_the_column_of_their_path_and_type() -> None:
    shredder = NativeShredder()
    numbers = {kind: shredder.place("a.b", kind) for kind in ("integer", "float", "string", "boolean", "array")}

    lines = [b'{"a":{"b":%s}}' % value for value in (b"-7", b"2.5e3", b'"h\\u00e9"', b"true", b'[1, {"x":2}]', b"null")]
    columns, rest = shredded(shredder, *lines)

    assert columns == {
        numbers["integer"]: [-7, None, None, None, None, None],
        numbers["float"]: [None, 2500.0, None, None, None, None],
        numbers["string"]: [None, None, "hé", None, None, None],
        numbers["boolean"]: [None, None, None, True, None, None],
        numbers["array"]: [None, None, None, None, '[1, {"x":2}]', None],
    }
    assert rest is None


def test_what_has_no_column_is_in_the_rest_as_it_was_sent() -> None:
    columns, rest = shredded(
        NativeShredder(),
        b'{"a":{"b":1.50},"c":"\\u00e9","_time":"now","d":null}',
        b"{}",
        b'{"m":{ },"n":123456789012345678901,"o":1e999}',
    )

    assert columns == {}
    assert rest == ['{"a.b":1.50,"c":"\\u00e9"}', None, '{"m":{},"n":123456789012345678901,"o":1e999}']


def test_the_last_of_a_doubled_key_replaces_all_that_the_former_held() -> None:
    _, rest = shredded(NativeShredder(), b'{"a":{"x":1,"y":{"z":2}},"b":0,"a":{"y":{"w":3}},"b":null}')

    assert rest == ['{"a.y.w":3}']


def test_of_one_path_by_several_nestings_the_last_counts() -> None:
    _, rest = shredded(
        NativeShredder(), b'{"a.b":1,"a":{"b":2}}', b'{"a":{"b":2},"a.b":1}', b'{"a.b":1,"a":{"b":null},"c":3}'
    )

    assert rest == ['{"a.b":2}', '{"a.b":1}', '{"c":3}']


def test_a_column_that_comes_late_takes_what_was_read() -> None:
    shredder = NativeShredder()
    shredder.read(b'{"a":1}\n{"a":2,"b":"x"}\n', 2)

    assert shredder.unplaced(2) == [PathValues("a", ("a",), "integer", 2)]
    number = shredder.place("a", "integer")
    columns, rest = shredder.columns()

    assert {n: array.to_pylist() for n, array in columns.items()} == {number: [1, 2]}
    assert rest is not None
    assert rest.to_pylist() == [None, '{"b":"x"}']
    assert shredder.new_rest(1000) == ([PathValues("b", ("b",), "string", 1)], False)


@pytest.mark.parametrize("events", [b'{"a":1}', b'{"a":1}\n{}\n'])
def test_another_number_of_lines_is_an_error(events: bytes) -> None:
    with pytest.raises(ValueError, match="lines"):
        NativeShredder().read(events, 1)


def test_columns_without_a_read_have_no_rows() -> None:
    assert NativeShredder().columns() == ({}, None)


def test_the_types_of_columns_are_those_of_the_lake() -> None:
    shredder = NativeShredder()
    shredder.place("a", "integer")
    shredder.read(b'{"a":1}\n', 1)

    assert shredder.columns()[0][0].type == pa.int64()


def value_in_column(kind: str, text: str) -> Any:
    match kind:
        case "string":
            return text_of(text)
        case "integer":
            return int(text)
        case "float":
            return struct.pack("d", float(text))
        case "boolean":
            return text == "true"
    return text


def rows_of(shredder: NativeShredder, lines: list[str], placed: dict[tuple[str, str], int]) -> list[tuple[Values, Any]]:
    """Return each row's values by path and type, floats as bytes, and its rest."""
    events = "".join(f"{line}\n" for line in lines).encode()
    rows: list[tuple[Any, Any]] = []
    while len(rows) < len(lines):
        read = shredder.read(events, len(lines) - len(rows))
        assert read.rows
        assert read.refused == []
        events = events[read.bytes :]
        columns, rest = shredder.columns()
        for array in (*columns.values(), *([] if rest is None else [rest])):
            array.validate(full=True)
        cells = {known: columns[number].to_pylist() for known, number in placed.items() if number in columns}
        rests = [None] * read.rows if rest is None else rest.to_pylist()
        for row in range(read.rows):
            values = {known: column[row] for known, column in cells.items() if column[row] is not None}
            rows.append(({known: _packed(value) for known, value in values.items()}, rests[row]))
    return rows


def _packed(value: Any) -> Any:
    return struct.pack("d", value) if isinstance(value, float) else value


def expected_row(line: str, placed: dict[tuple[str, str], int]) -> tuple[Any, Any]:
    values = values_of(line)
    in_columns = {
        (path, kind): value_in_column(kind, text) for path, (kind, text) in values.items() if (path, kind) in placed
    }
    return in_columns, rest_of({path: value for path, value in values.items() if (path, value[0]) not in placed})


@pytest.mark.rounds
@settings(max_examples=rounds(500), deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=3), st.integers(0, 2**30), st.sampled_from([1, 4, 65_536]))
def test_columns_and_rest_are_what_a_slow_reading_finds(lines: list[str], choice: int, max_nodes: int) -> None:
    shredder = NativeShredder(max_nodes=max_nodes, max_key_bytes=64 * max_nodes)
    known = {
        (path, kind): None for line in lines for path, (kind, _) in values_of(line).items() if kind in COLUMN_TYPES
    }
    placed = {pair: shredder.place(*pair) for at, pair in enumerate(known) if choice >> at % 30 & 1}
    for again in (lines, lines[::-1], lines):  # the keys are new, then known in another order, then predicted
        assert rows_of(shredder, again, placed) == [expected_row(line, placed) for line in again]


@pytest.mark.rounds
@settings(max_examples=rounds(100), deadline=None)
@given(st.lists(NUMBERS, min_size=10, max_size=30))
def test_numbers_are_those_of_python_bit_by_bit(numbers: list[str]) -> None:
    shredder = NativeShredder()
    placed = {("a", kind): shredder.place("a", kind) for kind in ("integer", "float")}
    lines = [f'{{"a":{number}}}' for number in numbers]

    assert rows_of(shredder, lines, placed) == [expected_row(line, placed) for line in lines]
