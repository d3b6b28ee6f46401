"""The scan takes what the strict decoders take, and tells where everything stands."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.json_values import json_objects
from support.rounds import rounds

from tailrace.native import scanner as native
from tailrace.native.scanner import Bounds, Names, Scanned, Scanner, scanner

NAMES = Names(columns=(b"_time", b"time", "zeit-é".encode(), b"a"), reserved=(b"_source", b"_rowID"))
BOUNDS = Bounds(max_depth=4, max_name_bytes=8, max_string_bytes=12, max_event_bytes=60)
MAX_EVENTS = 300
EVENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def made(names: Names = NAMES, bounds: Bounds = BOUNDS) -> Scanner:
    found = scanner(names, bounds, max_events=MAX_EVENTS)
    assert found is not None
    return found


SCANNER = made()


def scan(body: bytes, *, is_array: bool = False, start: int = 0) -> Scanned | None:
    return SCANNER.scan(body, start=start, is_array=is_array)


def flags(body: str | bytes) -> int:
    found = scan(body if isinstance(body, bytes) else body.encode())
    assert found is not None
    assert found.count == 1
    assert found.flags == found.rows()[0, native.ROW_FLAGS]
    return found.flags


def is_taken(body: bytes, *, is_array: bool) -> bool:
    """Whether a strict decoder takes the body, half pairs of surrogates and what is no UTF-8 aside."""
    text = body.decode("utf-8", "replace")
    try:
        if is_array:
            return all(isinstance(value, dict) for value in _array(json.loads(text, parse_constant=_refuse)))
        at = 0
        while at < len(text):
            if text[at] in " \t\r\n":
                at += 1
                continue
            value, at = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, at)
            if not isinstance(value, dict):
                return False
    except ValueError:
        return False
    return True


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value, None]


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# What is taken.

TOKENS = st.sampled_from(
    [
        *("{", "}", "[", "]", ",", ":", '"', "\\", "{}", '"a"', '"a":', '"_time":', "0", "-1.5e+3", "01", "1.", "-"),
        *(".5", "1e", "1E5", "+1", "true", "false", "null", "nul", "NaN", "Infinity", " ", "\n", "\r", "\t", "\x0b"),
        *("\x00", "\\u0041", "\\u12g4", "\\ud800", "\\udc00", '\\"', "\\/", "\\x", "\\b", "é", "\ufeff", "//", "\x7f"),
        *("\x1f", "'"),
    ]
)
TEXTS = st.lists(TOKENS, max_size=14).map("".join)


@settings(max_examples=rounds(300))
@given(
    inner=TEXTS, frame=st.sampled_from(["%s", '{"a":%s}', '{"a":[%s]}', '{"a":"%s"}', '{"%s":1}', "{%s}", '{"a":1%s}'])
)
@example(inner="", frame="%s")
@example(inner='"\\', frame="%s")
def test_what_is_strict_json_is_taken_and_nothing_else(inner: str, frame: str) -> None:
    body = (frame % inner).encode()

    assert (scan(body) is not None) == is_taken(body, is_array=False)
    for array in (b"[%s]" % body, b"[%s,{}]" % body, body):
        assert (scan(array, is_array=True) is not None) == is_taken(array, is_array=True)


@settings(max_examples=rounds(100))
@given(objects=st.lists(json_objects(without=()), max_size=2), at=st.integers(0, 10**6), byte=st.binary(max_size=2))
def test_a_body_with_a_byte_changed_is_taken_where_it_still_is_json(objects: list[Any], at: int, byte: bytes) -> None:
    body = b"\n".join(json.dumps(one, ensure_ascii=False).encode() for one in objects)
    at %= len(body) + 1
    changed = body[:at] + byte + body[at + 1 :]

    assert (scan(changed) is not None) == is_taken(changed, is_array=False)
    assert (scan(b"[%s]" % changed, is_array=True) is not None) == is_taken(b"[%s]" % changed, is_array=True)


@pytest.mark.parametrize("size", range(40))
def test_a_body_may_end_anywhere(size: int) -> None:
    body = b'{"a":["\\u00e9\\n","",1.5e3,true,null,{}]}'

    assert (scan(body[:size]) is None) == (size > 0)


def test_what_is_deeper_than_the_pass_goes_is_not_taken() -> None:
    assert scan(b'{"a":' + b"[" * 1023 + b"]" * 1023 + b"}") is not None
    assert scan(b'{"a":' + b"[" * 1024 + b"]" * 1024 + b"}") is None
    assert scan(b"[" * 10**6, is_array=True) is None


# Where it stands.

VALUES = st.text(max_size=6) | st.integers() | st.sampled_from([[], {}, ["a", {"a": 1}], {"a": "}"}, True, None])


@settings(max_examples=rounds(100))
@given(
    objects=st.lists(st.dictionaries(st.sampled_from(["_time", "time", "zeit-é", "a", "b", ""]), VALUES), max_size=6),
    ascii=st.booleans(),
    indent=st.sampled_from([None, None, 1]),
    shape=st.sampled_from(["array", "lines", "joined"]),
    bom=st.booleans(),
)
def test_events_and_values_are_where_they_are_said_to_be(
    objects: list[dict[str, Any]], ascii: bool, indent: int | None, shape: str, bom: bool
) -> None:
    texts = [json.dumps(one, ensure_ascii=ascii, indent=indent).encode() for one in objects]
    between = {"array": b" , ", "lines": b"\n", "joined": b""}[shape]
    body = between.join(texts)
    body = b"\xef\xbb\xbf" * bom + (b" [ %s ] " % body if shape == "array" else body)

    found = scan(body, is_array=shape == "array", start=3 * bom)

    assert found is not None
    assert found.count == len(objects)
    assert SCANNER.lines(body, found) == b"".join(
        (msgspec.json.format(text, indent=-1) if b"\n" in text else text) + b"\n" for text in texts
    )
    spans = bool(found.flags & native.SPANS_LINES)
    assert found.is_lines == (not spans and (shape == "lines" or len(objects) < 2))
    for text, row in zip(texts, found.rows().tolist(), strict=True):
        assert body[row[native.ROW_START] : row[native.ROW_END]] == text
        values = EVENTS.decode(text)
        for column, name in enumerate(NAMES.columns):
            start, end = row[native.ROW_VALUES + 2 * column : native.ROW_VALUES + 2 * column + 2]
            assert body[start:end] == bytes(values.get(name.decode(), b""))


def value(body: bytes, name: bytes) -> bytes:
    found = scan(body)
    assert found is not None
    at = native.ROW_VALUES + 2 * NAMES.columns.index(name)
    start, end = found.rows()[0, at : at + 2]
    return body[start:end]


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    assert value(b'{"a":1,"a": "two" ,"b":{"a":3}}', b"a") == b'"two"'


def test_a_name_may_be_written_with_escapes() -> None:
    assert value(b'{"\\u0061":1}', b"a") == b"1"
    assert value(b'{"zeit-\\u00E9":[1, 2] }', "zeit-é".encode()) == b"[1, 2]"
    assert value(b'{"\\u0061\\u0000":1,"\\\\a":2,"\\ud83d\\ude00":3}', b"a") == b""


def test_a_name_below_the_top_is_another() -> None:
    assert value(b'{"b":{"a":1},"c":[{"a":2}]}', b"a") == b""
    assert flags('{"b":{"_source":1}}') == 0


# What needs a closer look.


@pytest.mark.parametrize(
    ("event", "flag"),
    [
        ('{"a":[[[]]]}', 0),
        ('{"a":[[{"b":{}}]]}', native.IS_DEEP),
        ('{"eightchr":1}', 0),
        ('{"ninechars":1}', native.HAS_LONG_NAME),
        ('{"b":{"ninechars":1}}', native.HAS_LONG_NAME),
        ('{"b":"twelve chars"}', 0),
        ('{"b":"more than twelve"}', native.HAS_LONG_STRING),
        ('{"b":1%s}' % (" " * 53), 0),
        ('{"b":1%s}' % (" " * 54), native.IS_LARGE),
        ('{"_source":1}', native.IS_RESERVED),
        ('{"\\u005frowID":1}', native.IS_RESERVED | native.HAS_LONG_NAME),
        ('{"b":"\\ud83d\\ude00"}', 0),
        ('{"b":"\\ud83d"}', native.HAS_SURROGATE),
        ('{"b":"\\ude00"}', native.HAS_SURROGATE),
        ('{"\\ud83d":1}', native.HAS_SURROGATE),
        ('{"b":1\n}', native.SPANS_LINES),
        ('\n{"b":1}\r\n', 0),
    ],
)
def test_what_of_an_event_needs_a_closer_look_is_told(event: str, flag: int) -> None:
    assert flags(event) == flag


@given(text=st.binary(max_size=8).filter(lambda text: not set(text) & set(b'"\\') and min(text, default=32) >= 32))
def test_text_that_is_not_utf8_is_told(text: bytes) -> None:
    try:
        text.decode()
        is_utf8 = True
    except UnicodeDecodeError:
        is_utf8 = False

    for padding in (b"", b"x" * 8, b"xxx\xc3\xa9"):
        found = scan(b'{"b":"%s%s"}' % (padding, text))
        assert found is not None
        assert bool(found.flags & native.IS_NOT_UTF8) == (not is_utf8)


def test_what_is_told_of_all_events_is_what_is_told_of_any() -> None:
    found = scan(b'{"_source":1}\n{"b":"\xff"}\n{"b":1}\n')

    assert found is not None
    assert found.rows()[:, native.ROW_FLAGS].tolist() == [native.IS_RESERVED, native.IS_NOT_UTF8, 0]
    assert found.flags == native.IS_RESERVED | native.IS_NOT_UTF8


# Room.


@pytest.mark.parametrize("count", [1, MAX_EVENTS, MAX_EVENTS + 1, 20 * MAX_EVENTS])
def test_however_many_events_are_counted(count: int) -> None:
    names = Names(columns=tuple(b"name%d" % number for number in range(native.MAX_NAMES)))
    found = made(names).scan(b'{"name63":1}' * count, is_array=False)

    assert found is not None
    assert found.count == count
    if count <= MAX_EVENTS:
        assert np.diff(found.rows()[:, native.ROW_START]).tolist() == [12] * (count - 1)
        assert (found.rows()[:, -2:] - found.rows()[:, :1]).tolist() == [[10, 11]] * count


def test_there_is_no_scanner_for_more_or_longer_names_than_can_be_looked_for() -> None:
    many = tuple(b"%d" % number for number in range(native.MAX_NAMES + 1))

    assert scanner(Names(columns=many), BOUNDS, max_events=1) is None
    assert scanner(Names(columns=(b"n" * (native.MAX_NAME_BYTES + 1),)), BOUNDS, max_events=1) is None
    assert scanner(Names(columns=(b"n" * native.MAX_NAME_BYTES,)), BOUNDS, max_events=1) is not None
