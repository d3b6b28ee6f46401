"""The exact way through one event: its values by flattened path, each with its type and its text."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from tailrace.lake.fields import TIME

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
INFINITIES = (float("inf"), float("-inf"))


class PathsTooLong(ValueError):
    """The paths of an event are so much longer than its text that they are not written out."""


class Leaf(Struct, gc=False):
    """A value of an event that is not an object with members."""

    keys: tuple[str, ...]
    type: str  # a ValueType; "number" beyond 64 bits or beyond a double; "map" for {}; "null"
    raw: bytes  # its JSON text; of an empty object without spaces


def leaves(line: bytes, *, max_path_bytes: int | None = None) -> dict[str, Leaf]:
    """Return the values of an event by flattened path, without `_time`; nulls are included, with type "null".

    Of a doubled key the last value counts, with all that is in it and nothing of what was in the former one; then, of a
    path that several nestings give (`{"a.b": 1, "a": {"b": 2}}`), the value that comes last in the text. Raise
    PathsTooLong where all paths together, as the texts of JSON strings, are more than `max_path_bytes`.
    """
    found = _walk(line, max_path_bytes, in_order=False)
    if found is None:
        found = _walk(line, max_path_bytes, in_order=True) or {}
    found.pop(TIME, None)
    return found


def _walk(line: bytes, max_path_bytes: int | None, *, in_order: bool) -> dict[str, Leaf] | None:
    """Return the values by path, the last of each; None where two have the same path and are not read `in_order`."""
    found: dict[str, Leaf] = {}
    left = max_path_bytes
    stack: list[tuple[tuple[str, ...], Iterator[tuple[str, msgspec.Raw]]]] = [((), iter(_members(line, in_order)))]
    while stack:
        parent, members = stack[-1]
        for key, value in members:
            text = bytes(value)
            keys = (*parent, key)
            kind = _type_of(text)
            if kind == "map":
                if inner := _members(text, in_order):
                    stack.append((keys, iter(inner)))
                    break
                text = b"{}"
            path = ".".join(keys)
            if left is not None and (left := left - len(_encode(path)) + 2) < 0:
                raise PathsTooLong(f"the paths of an event of {len(line)} bytes have more than {max_path_bytes}")
            if path in found:
                if not in_order:
                    return None
                del found[path]
            found[path] = Leaf(keys, kind, text)
        else:
            stack.pop()
    return found


def _members(text: bytes, in_order: bool) -> list[tuple[str, msgspec.Raw]]:
    """Return the members of an object: of a doubled key the last one, in the former one's place unless `in_order`."""
    members = list(_object.decode(text).items())
    if in_order:
        # Each value is a view of the text: its address tells where it stands.
        members.sort(key=lambda member: np.frombuffer(member[1], np.uint8).ctypes.data)
    return members


def _type_of(text: bytes) -> str:
    match text[0]:
        case 0x7B:  # {
            return "map"
        case 0x22:  # "
            return "string"
        case 0x5B:  # [
            return "array"
        case 0x74 | 0x66:  # t, f
            return "boolean"
        case 0x6E:  # n
            return "null"
        case _:
            return _number_type(text)


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
