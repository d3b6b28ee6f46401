"""The exact path through one event: its values by flattened path, each with its type and its text."""

from typing import Any

import msgspec
from msgspec import Struct

from tailrace.lake.fields import TIME

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
INFINITIES = (float("inf"), float("-inf"))


class Leaf(Struct, gc=False):
    """A value of an event that is not an object with members."""

    keys: tuple[str, ...]
    type: str  # a ValueType; "number" beyond 64 bits or beyond a double; "map" for {}; "null"
    raw: bytes  # its JSON text


def leaves(line: bytes, *, empty_objects: bool = True) -> dict[str, Leaf]:
    """Return the values of an event by flattened path, in document order, without `_time`.

    Where a path comes twice (a doubled key, or `{"a.b": 1, "a": {"b": 2}}`) the last one counts, as with JSON parsers.
    Nulls are included, with type "null"; empty objects, if wanted, with type "map".
    """
    found: dict[str, Leaf] = {}
    _walk(line, (), found, empty_objects)
    found.pop(TIME, None)
    return found


def _walk(raw: bytes, parent: tuple[str, ...], found: dict[str, Leaf], empty_objects: bool) -> None:
    stack = [(raw, parent, iter(_object.decode(raw).items()))]
    while stack:
        _, parent, members = stack[-1]
        for key, value in members:
            text = bytes(value)
            keys = (*parent, key)
            first = text[0]
            if first == 0x7B:  # {
                inner = _object.decode(text)
                if inner:
                    stack.append((text, keys, iter(inner.items())))
                    break
                if not empty_objects:
                    continue
                kind = "map"
            elif first == 0x22:  # "
                kind = "string"
            elif first == 0x5B:  # [
                kind = "array"
            elif first in b"tf":
                kind = "boolean"
            elif first == 0x6E:  # n
                kind = "null"
            else:
                kind = _number_type(text)
            found[".".join(keys)] = Leaf(keys, kind, text)
        else:
            stack.pop()


def _number_type(text: bytes) -> str:
    if b"." in text or b"e" in text or b"E" in text:
        return "number" if float(text) in INFINITIES else "float"
    if len(text) <= 18 or (len(text) <= 20 and INT64_MIN <= int(text) <= INT64_MAX):
        return "integer"
    return "number"


def value_of(leaf: Leaf) -> Any:
    """Return a leaf's value as Arrow takes it: str, int, float, bool; the text of an array."""
    match leaf.type:
        case "string":
            return _string.decode(leaf.raw)
        case "integer":
            return int(leaf.raw)
        case "float":
            return float(leaf.raw)
        case "boolean":
            return leaf.raw == b"true"
        case _:
            return leaf.raw.decode()
