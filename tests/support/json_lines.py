"""Events as lines of JSON, hard to read rightly: strategies of hypothesis, and what is in such a line, read slowly."""

import json
import re
from typing import Any

import msgspec
from hypothesis import strategies as st

INT64 = range(-(2**63), 2**63)
MARK = "\ufffd"  # in place of a lone surrogate

_TOKEN = re.compile(r'[ \t\r]*("(?:[^"\\]|\\.)*"|[^][{}:,"\s]+|[][{}:,])')
_SURROGATE = re.compile("[\ud800-\udfff]")

Values = dict[str, tuple[str, str]]  # type and text as sent, by path, in the order of the text


def values_of(line: str) -> Values:
    """Return the values of an event that count, without nulls and `_time`."""
    tree, _ = _read(line, 0)
    found: Values = {}
    _flatten(tree, "", found, is_event=True)
    found.pop("_time", None)
    return {path: value for path, value in found.items() if value[0] != "null"}


def text_of(token: str) -> str:
    """Return the characters of a JSON string."""
    text: str = json.loads(token)
    return _SURROGATE.sub(MARK, text)


def rest_of(values: Values) -> str | None:
    """Return the `_rest` of values, as one of an event."""
    members = [f"{msgspec.json.encode(path).decode()}:{text}" for path, (_, text) in values.items()]
    return f"{{{','.join(members)}}}" if members else None


def _read(line: str, at: int) -> tuple[Any, int]:
    """Return the value that begins there, an object as a dict, another as (type, text), and where it ends."""
    token = _TOKEN.match(line, at)
    assert token is not None
    start, end, text = token.start(1), token.end(), token[1]
    if text == "{":
        return _read_object(line, end)
    if text == "[":
        depth = 1
        while depth:
            token = _TOKEN.match(line, end)
            assert token is not None
            depth += {"[": 1, "]": -1}.get(token[1], 0)
            end = token.end()
        return ("array", line[start:end]), end
    if text[0] == '"':
        return ("string", text), end
    if text in ("true", "false", "null"):
        return ("null" if text == "null" else "boolean", text), end
    if set(text) & set(".eE"):
        return ("number" if abs(float(text)) == float("inf") else "float", text), end
    return ("integer" if int(text) in INT64 else "number", text), end


def _read_object(line: str, at: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    while True:
        token = _TOKEN.match(line, at)
        assert token is not None
        at = token.end()
        if token[1] == "}":
            return members, at
        if token[1] == ",":
            continue
        key = text_of(token[1])
        colon = _TOKEN.match(line, at)
        assert colon is not None
        value, at = _read(line, colon.end())
        members.pop(key, None)
        members[key] = value


def _flatten(members: dict[str, Any], parent: str, found: Values, *, is_event: bool = False) -> None:
    for key, value in members.items():
        path = key if is_event else f"{parent}.{key}"
        if isinstance(value, dict) and value:
            _flatten(value, path, found)
            continue
        found.pop(path, None)
        found[path] = ("map", "{}") if isinstance(value, dict) else value


def _string(text: str, how: int) -> str:
    """Return a text as JSON, some of its characters as escapes."""
    pieces = []
    for at, character in enumerate(text):
        if how >> at % 8 & 1:
            units = character.encode("utf-16-be")
            hexadecimal = units.hex() if how & 256 else units.hex().upper()
            pieces += [f"\\u{hexadecimal[unit : unit + 4]}" for unit in range(0, len(hexadecimal), 4)]
        else:
            pieces.append(json.dumps(character, ensure_ascii=False)[1:-1])
    return f'"{"".join(pieces)}"'


def _strings(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_string, texts, st.sampled_from([0, 0, 0, 1, 0x55, 0x1AA, 0x1FF]))


_CHARACTERS = st.characters(exclude_categories=["Cs"])
_KEYS = _strings(
    st.sampled_from(["a", "b", "c", "a.b", "b.c", "a.b.c", "", ".", "_time", "x" * 7, "x" * 8, "x" * 24, "é", '"'])
    | st.text(_CHARACTERS, max_size=12)
) | st.sampled_from([r'"\ud800"', r'"\udc00a"'])
_STRINGS = _strings(
    st.text(_CHARACTERS, max_size=50)
    | st.sampled_from(["", '"', "\\", "x" * 31 + '"', "x" * 32 + "\\", "x" * 33, "😀" * 9, "a" * 15 + "\n", "é" * 90])
) | st.sampled_from([r'"\ud800"', r'"\ude00\ud83d"', r'"\ud83d\ud83d\ude00"', r'"a\/b\b\f"', r'"\ud83d\n"'])
_EDGES = [
    "0",
    "-0",
    "-0.0",
    "0.0",
    "0e0",
    "0E+5",
    "-0e-7",
    "1e400",
    "-1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "4.9406564584124654e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "2.2250738585072011e-308",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "9007199254740993.0",
    "9007199254740993.00000000000000000000000000000000001",
    "0.000000000000000000000000000012345678901",
    "1e22",
    "1e23",
    "123456789012345678e-20",
]
NUMBERS = (
    st.integers(-(2**63) - 3, 2**63 + 3).map(str)
    | st.integers(-999, 999).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z").map(str)
    | st.sampled_from(_EDGES)
)
_SPACES = st.sampled_from(["", "", "", "", " ", "\t ", "\r"])


def _joined(opening: str, items: list[str], closing: str, space: str) -> str:
    return f"{opening}{space}{f'{space},{space}'.join(items)}{space}{closing}"


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(inner, max_size=3)
    return st.builds(_joined, st.just("["), items, st.just("]"), _SPACES) | _objects(inner, 4)


def _objects(inner: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    members = st.builds(lambda key, value, space: f"{key}{space}:{space}{value}", _KEYS, inner, _SPACES)
    return st.builds(_joined, st.just("{"), st.lists(members, max_size=most), st.just("}"), _SPACES)


EVENTS = _objects(
    st.recursive(st.sampled_from(["null", "true", "false"]) | NUMBERS | _STRINGS, _containers, max_leaves=6), 5
)
