"""Where strings, brackets and lines of a text stand that may be JSON: found in bulk, without a decoder."""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

_NEWLINE, _QUOTE = 10, 34

Positions = NDArray[np.intp]


def line_ends(text: bytes) -> Positions:
    """Return positions of the newlines."""
    return np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _NEWLINE)


def is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def unquoted(text: bytes) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield a text of JSON in parts: where each begins, its bytes with the escapes overwritten, and which are in a
    string.

    Escapes count outside of strings too, as what stands there is no JSON anyway and may well be JSON written as text.
    """
    quoted = False  # whether the part begins inside a string
    at = 0
    while at < len(text):
        part = _part(text, at)
        # Escapes out of the way, at the same length: what is a quote now is one that opens or closes.
        codes = np.frombuffer(part.replace(b"\\\\", b"__").replace(b'\\"', b"__"), dtype=np.uint8)
        inside = np.logical_xor.accumulate(codes == _QUOTE) ^ quoted
        quoted = bool(inside[-1])
        yield at, codes, inside
        at += len(part)


class Nested(Struct, frozen=True, eq=False):
    """A part of a text of JSON: for each byte whether it is in a string, its step in depth, the depth behind it."""

    at: int
    codes: NDArray[np.uint8]  # with the escapes overwritten
    inside: NDArray[np.bool_]
    steps: NDArray[np.int8]  # 1 for what opens an object or array, -1 for what closes one
    depths: NDArray[np.int32]


def nested(text: bytes) -> Iterator[Nested]:
    """Yield a text of JSON in parts, as `unquoted` has them, with the depth at every byte."""
    depth = 0
    for at, codes, inside in unquoted(text):
        steps = np.where(inside, np.int8(0), _STEPS[codes])
        depths = np.cumsum(steps, dtype=np.int32) + np.int32(depth)
        depth = int(depths[-1])
        yield Nested(at, codes, inside, steps, depths)


_STEPS = np.array([1 if code in b"{[" else -1 if code in b"}]" else 0 for code in range(256)], dtype=np.int8)
_PART_BYTES = 1024 * 1024


def _part(text: bytes, at: int) -> bytes:
    """Return the next of the text, of a bounded size, with no escape begun at its end."""
    part = text[at : at + _PART_BYTES]
    open_escape = (len(part) - len(part.rstrip(b"\\"))) % 2
    return text[at : at + len(part) + 1] if open_escape else part


def has_more_than(text: bytes, most: int, of: bytes) -> bool:
    """Whether more than `most` of some characters stand outside of the strings of a text of JSON.

    For what a native decoder makes objects of, before it holds the interpreter and the memory for all of them.
    """
    if sum(text.count(code) for code in of) <= most:
        return False
    counted = np.zeros(256, dtype=np.bool_)
    counted[list(of)] = True
    count = 0
    for _, codes, inside in unquoted(text):
        count += int(np.count_nonzero(counted[codes] & ~inside))
        if count > most:
            return True
    return False
