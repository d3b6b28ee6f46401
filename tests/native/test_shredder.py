"""The shredder in C: columns by path and type, exact, whatever the lines hold."""

import math
import random
import struct
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
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
@settings(max_examples=rounds(200), deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=2), st.integers(0, 2**30), st.sampled_from([1, 4, 65_536]))
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


def test_what_is_frequent_is_offered_once_the_most_frequent_first() -> None:
    shredder = NativeShredder()
    shredder.read(b'{"a":1,"b":"x","c":{"d":true}}\n' * 2 + b'{"b":"y","e":null,"_time":1}\n', 3)

    assert [(values.path, values.type, values.count) for values in shredder.unplaced(2)] == [
        ("b", "string", 3),
        ("a", "integer", 2),
        ("c.d", "boolean", 2),
    ]
    assert shredder.unplaced(1) == []


def test_recent_counts_add_up_and_are_halved() -> None:
    shredder = NativeShredder()
    shredder.read(b'{"a":1}\n' * 5, 5)
    shredder.halve()
    shredder.read(b'{"a":1}\n', 1)

    assert shredder.unplaced(4) == []
    assert [values.count for values in shredder.unplaced(3)] == [3]


def test_full_tables_end_a_read_and_are_emptied_by_the_next() -> None:
    shredder = NativeShredder(max_nodes=100)
    shredder.place("a", "integer")
    lines = [b'{"a":%d,"k%d":1,"often":"x"}' % (row, row) for row in range(1000)]
    cells: list[int] = []
    rests: list[str] = []
    reads = 0
    while len(cells) < len(lines):
        read = shredder.read(b"".join(line + b"\n" for line in lines[len(cells) :]), len(lines) - len(cells))
        assert 0 < read.rows <= 100
        columns, rest = shredder.columns()
        assert rest is not None
        cells += columns[0].to_pylist()
        rests += rest.to_pylist()
        reads += 1

    assert cells == list(range(1000))
    assert rests == [f'{{"k{row}":1,"often":"x"}}' for row in range(1000)]
    assert reads > 5
    # What came often is still known, with its count; what came once is not.
    assert [values.path for values in shredder.unplaced(900)] == ["often"]
    assert len(shredder.unplaced(1)) <= 100


@pytest.mark.parametrize("max_nodes", [1, 32_768])
def test_an_event_may_have_more_keys_than_the_tables(max_nodes: int) -> None:
    members = ",".join(f'"{key}":{key}' for key in range(50_000))
    line = f"{{{members}}}"

    [(values, rest)] = rows_of(NativeShredder(max_nodes=max_nodes), [line], {})

    assert values == {}
    assert rest == line


def test_the_paths_that_the_rest_got_are_told_once() -> None:
    shredder = NativeShredder()
    shredder.read(b'{"a":1,"b":{"c":"x","d.e":{}}}\n{"a":2}\n', 2)
    shredder.columns()

    assert shredder.new_rest(2) == (
        [PathValues("a", ("a",), "integer", 2), PathValues("b.c", ("b", "c"), "string", 1)],
        True,
    )
    assert shredder.new_rest(2) == ([PathValues("b.d.e", ("b", "d.e"), "map", 1)], False)
    shredder.read(b'{"a":1,"b":{"c":"x"}}\n', 1)
    shredder.columns()
    assert shredder.new_rest(2) == ([], False)


def test_objects_are_read_512_deep_and_arrays_at_any_depth() -> None:
    shredder = NativeShredder()
    lines = [b'{"a":' * 512 + b"1" + b"}" * 512, b'{"a":' * 514 + b"1" + b"}" * 514]
    lines.append(b'{"a":%s}' % (b"[" * 100_000 + b"]" * 100_000))

    read = shredder.read(b"\n".join(lines) + b"\n", 3)

    assert read.refused == [1]
    _, rest = shredder.columns()
    assert rest is not None
    assert rest.to_pylist() == [f'{{"{".".join("a" * 512)}":1}}', None, lines[2].decode()]


def test_long_keys_and_paths_are_kept_up_to_eight_times_the_event() -> None:
    shredder = NativeShredder()
    key = "k" * 65_536
    members = ",".join(f'"{member}":1' for member in range(100))
    nested = f'{{"{key}":' * 3 + "1" + "}" * 3
    wide = f'{{"{key}":{{{members}}}}}'

    read = shredder.read(f"{nested}\n{wide}\n".encode(), 2)

    assert read.refused == [1]
    _, rest = shredder.columns()
    assert rest is not None
    assert rest.to_pylist() == [f'{{"{key}.{key}.{key}":1}}', None]


HARD = rb'{"a\"\u00e9":{"b":[1,{"c":"]\\"}],"d":-12.5e+3,"e":"x\ud83d\ude00\n"},"f":true,"g":false,"h":null,"i":{}}'


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1",
        b"[]",
        b'{"a":1}{}',
        b'{"a":1,}',
        b'{,"a":1}',
        b'{"a" 1}',
        b'{"a":}',
        b'{"a":tru}',
        b'{"a":nul}',
        b'{"a":fals}',
        b'{"a":01}',
        b'{"a":-}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":1e}',
        b'{"a":1e+}',
        b'{"a":+1}',
        b'{"a":NaN}',
        b'{"a":"x}',
        b'{"a":"x\\',
        b'{"a":"x\\"}',
        b'{"a":[1}',
        b'{"a":["]}',
        b'{"a":1]',
        b'{"a":1}}',
        b"{a:1}",
        b'{"a":{"b":1}',
        b'{"a":{"b" :1 "c":2}}',
        b'{"a":1}\x00',
    ],
)
def test_a_line_that_is_no_event_is_refused_alone(line: bytes) -> None:
    shredder = NativeShredder()

    read = shredder.read(b'{"a":0}\n' + line + b'\n{"a":2}\n', 3)

    assert read.refused == [1]
    _, rest = shredder.columns()
    assert rest is not None
    assert rest.to_pylist() == ['{"a":0}', None, '{"a":2}']


def test_an_event_that_ends_early_is_refused_wherever_it_ends() -> None:
    shredder = NativeShredder()
    for again in range(2):  # the second time all its keys are predicted
        for end in range(len(HARD)):
            text = HARD[:end] + b"\n"
            assert shredder.read(text, 1).refused == [0], (again, end)
            assert shredder.columns() == ({}, None)
        assert shredder.read(HARD + b"\n", 1).refused == []


def test_digits_without_end_are_read() -> None:
    numbers = [f"0.{'0' * 5000}1e5001", f"1{'0' * 5000}e-5000", f"{'9' * 400}.5", f"1.{'0' * 5000}1", "1e" + "9" * 5000]
    numbers += ["9007199254740993." + "0" * 800 + end for end in ("0", "1")]
    shredder = NativeShredder()
    placed = {("a", "float"): shredder.place("a", "float")}
    lines = [f'{{"a":{number}}}' for number in numbers]

    assert rows_of(shredder, lines, placed) == [expected_row(line, placed) for line in lines]


def _in_the_middle(source: random.Random) -> str:
    """Return the exact middle between two neighbouring doubles, or a text just beside it."""
    low = struct.unpack("d", struct.pack("Q", source.getrandbits(62)))[0]
    middle = (Fraction(low) + Fraction(math.nextafter(low, math.inf))) / 2
    digits = Decimal(middle.numerator) / Decimal(middle.denominator)
    return f"{digits:e}" if source.random() < 0.5 else f"{digits.next_plus():e}"


def test_the_middle_of_two_doubles_is_rounded_to_the_even_one() -> None:
    source = random.Random(1)
    shredder = NativeShredder()
    placed = {("a", "float"): shredder.place("a", "float")}
    with localcontext(prec=1200):
        lines = [f'{{"a":{_in_the_middle(source)}}}' for _ in range(rounds(2000))]

    assert rows_of(shredder, lines, placed) == [expected_row(line, placed) for line in lines]


GARBAGE = """
import random, sys
from tailrace.native.shredder import NativeShredder
source, line = random.Random(int(sys.argv[1])), bytes.fromhex(sys.argv[2])
shredder = NativeShredder(max_nodes=50)
for _ in range(int(sys.argv[3])):
    text = bytearray(line * source.randrange(1, 4))
    for _ in range(source.randrange(1, 6)):
        text[source.randrange(len(text))] = source.choice(b'"\\\\\\\\{}[]:,u0e-\\n \\xff\\x00')
    text += b"\\n"
    count = text.count(b"\\n")
    text = bytes(text)
    while count:
        read = shredder.read(text, count)
        for values in shredder.unplaced(3):
            if values.type in ("boolean", "integer", "float", "string", "array"):
                shredder.place(values.path, values.type)
        columns, rest = shredder.columns()
        shredder.new_rest(5)
        count -= read.rows
        text = text[read.bytes :]
print("done")
"""


@pytest.mark.process
@pytest.mark.rounds
def test_garbage_ends_in_refused_lines() -> None:
    command = [sys.executable, "-c", GARBAGE, "1", (HARD + b"\n").hex(), str(rounds(5000))]

    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "done\n"
