"""Which lines of a batch might break a limit: found in bulk, so that only those are looked at one by one."""

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.parsing.limits import Limits

_SMALL_BYTES = 16 * 1024  # below it a few passes by bytes methods cost less than numpy's set-up
_NEWLINE, _QUOTE, _BACKSLASH, _COLON, _OPEN = 10, 34, 92, 58, 123

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


def prefilter(ndjson: bytes, limits: Limits, ends: Positions | None = None) -> list[int]:
    """Return lines of `ndjson` that may break a limit or hold bad UTF-8, in order; a line not listed breaks none.

    `ndjson` is one valid JSON object a line, but for its strings being UTF-8; `ends` are its newlines, where known.
    """
    if len(ndjson) <= _SMALL_BYTES and _within_all_limits(ndjson, limits):
        return []
    text = np.frombuffer(ndjson, dtype=np.uint8)
    ends = line_ends(ndjson) if ends is None else ends
    marked = np.zeros(len(ends), dtype=np.bool_)
    max_line_bytes = min(limits.max_event_bytes, limits.max_string_bytes)
    if len(ndjson) > max_line_bytes:
        marked |= np.diff(ends, prepend=-1) - 1 > max_line_bytes
    if not is_utf8(ndjson):
        marked |= np.fromiter((not is_utf8(line) for line in ndjson.split(b"\n")[:-1]), np.bool_, len(ends))
    # "[" and "{" differ in one bit.
    openers = np.searchsorted(np.flatnonzero(text | 32 == _OPEN), ends)
    marked |= np.diff(openers, prepend=0) > limits.max_depth
    long_names = _long_names(ndjson, text, limits.max_name_bytes)
    if len(long_names):
        marked[np.searchsorted(ends, long_names)] = True
    positions: list[int] = np.flatnonzero(marked).tolist()
    return positions


def _within_all_limits(ndjson: bytes, limits: Limits) -> bool:
    """Cheap, and wrong only towards False."""
    return (
        len(ndjson) <= min(limits.max_event_bytes, limits.max_string_bytes)
        and is_utf8(ndjson)
        and ndjson.count(b"{") + ndjson.count(b"[") <= limits.max_depth
        and (len(ndjson) <= limits.max_name_bytes or not _may_hold_long_name(ndjson, limits.max_name_bytes))
    )


def _may_hold_long_name(ndjson: bytes, max_bytes: int) -> bool:
    if b"\\" in ndjson:
        # Escapes out of the way, at the same length: what is a quote now is one that opens or closes.
        ndjson = ndjson.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return _long_name(max_bytes).search(ndjson) is not None


@lru_cache(maxsize=8)
def _long_name(max_bytes: int) -> re.Pattern[bytes]:
    return re.compile(rb'"[^"]{%d,}+"[ \t\r]*+:' % (max_bytes + 1))


def _long_names(ndjson: bytes, text: NDArray[np.uint8], max_bytes: int) -> Positions:
    """End of the strings of more than `max_bytes` as written that are, or may be, names."""
    is_quote = text == _QUOTE
    has_escapes = b"\\" in ndjson
    if not _may_hold_long_strings(is_quote, text if has_escapes else None, max_bytes):
        return _NONE
    quotes = np.flatnonzero(is_quote)
    if has_escapes:
        quotes = quotes[~_escaped(text, quotes)]
    opening, closing = quotes[0::2], quotes[1::2]
    long = closing[closing - opening - 1 > max_bytes]
    after = text[long + 1]
    names: Positions = long[(after == _COLON) | (after <= 32)]
    return names


_NONE = np.empty(0, dtype=np.intp)
_BLOCK_BYTES = 64


def _may_hold_long_strings(
    is_quote: NDArray[np.bool_], text_with_escapes: NDArray[np.uint8] | None, max_bytes: int
) -> bool:
    """Whether there is a run of blocks without a quote, such as any string of more than `max_bytes` spans."""
    run = (max_bytes + 2 - _BLOCK_BYTES) // _BLOCK_BYTES
    if run < 1:
        return True
    if text_with_escapes is not None:
        is_quote = is_quote.copy()
        is_quote[1:] &= text_with_escapes[:-1] != _BACKSLASH
    whole = len(is_quote) // _BLOCK_BYTES
    words = is_quote[: whole * _BLOCK_BYTES].view(np.uint64)
    quoted = words[0::8] | words[1::8]
    for word in range(2, 8):
        quoted |= words[word::8]
    empty = quoted == 0
    for _ in range(run - 1):
        empty = empty[1:] & empty[:-1]
    return bool(empty.any())


def _escaped(text: NDArray[np.uint8], quotes: Positions) -> NDArray[np.bool_]:
    """Which quotes have an odd number of backslashes before them."""
    escaped: NDArray[np.bool_] = text[quotes - 1] == _BACKSLASH
    candidates = np.flatnonzero(escaped)
    backslashes = np.flatnonzero(text == _BACKSLASH)
    run_starts = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)
    last = np.searchsorted(backslashes, quotes[candidates] - 1)
    first = run_starts[np.searchsorted(run_starts, last, side="right") - 1]
    escaped[candidates] = (last - first) % 2 == 0
    return escaped
