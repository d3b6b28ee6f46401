"""MessagePack to what JSON can say: integers and times exact, bytes as base64, floats that are no numbers by name."""

import math
import re
from typing import Any

import msgspec
from msgspec import Raw

from tailrace.events import BadRequest, TooLarge
from tailrace.events.times import rfc3339
from tailrace.events.timestamps import NS_PER_S

MsgpackErrors = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, OSError, ValueError)

# Timestamps of the specification, extension type -1 of 4, 8 and 12 bytes, of which msgspec rounds to microseconds.
_TIMESTAMP = re.compile(rb"\xd6\xff|\xd7\xff|\xc7\x0c\xff")
TIMESTAMP = -1  # the type of the extension
_MARKED = 0xFE  # -2, which the specification reserves, so that no sender uses it
_NO_NUMBER = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]", re.DOTALL)
# Bytes of a value by its first byte: all of it, or what precedes its data, and how many of those are its length.
_SIZES = {
    0xC4: (2, 1), 0xC5: (3, 2), 0xC6: (5, 4), 0xC7: (3, 1), 0xC8: (4, 2), 0xC9: (6, 4),
    0xCA: (5, 0), 0xCB: (9, 0), 0xCC: (2, 0), 0xCD: (3, 0), 0xCE: (5, 0), 0xCF: (9, 0),
    0xD0: (2, 0), 0xD1: (3, 0), 0xD2: (5, 0), 0xD3: (9, 0),
    0xD4: (3, 0), 0xD5: (4, 0), 0xD6: (6, 0), 0xD7: (10, 0), 0xD8: (18, 0),
    0xD9: (2, 1), 0xDA: (3, 2), 0xDB: (5, 4), 0xDC: (3, 0), 0xDD: (5, 0), 0xDE: (3, 0), 0xDF: (5, 0),
}  # fmt: skip
_ELEMENTS: msgspec.msgpack.Decoder[list[Raw]] = msgspec.msgpack.Decoder(list[Raw])


def unpack_list(body: bytes, max_elements: int) -> list[Raw]:
    """Return the elements of an array, still packed; raise BadRequest where it is none, TooLarge beyond the maximum."""
    if _count(body) > max_elements:
        raise TooLarge(f"the request holds more than max_events = {max_elements} events")
    try:
        return _ELEMENTS.decode(body)
    except MsgpackErrors as error:
        raise BadRequest(f"the body is no MessagePack array: {error}") from None


def unpack(packed: bytes | Raw) -> Any:
    """Return a value as JSON has it; raise one of MsgpackErrors.

    A time is a text, RFC 3339 with up to nine digits of its fraction. A float that is no number is "NaN", "Infinity" or
    "-Infinity", as the JSON of protobuf has it. Other extension types are refused.
    """
    data = bytes(packed)
    if may_hold_times(data):
        data = _with_marked_times(data)
    value = _DECODER.decode(data)
    return _named(value) if _NO_NUMBER.search(data) is not None else value


def may_hold_times(data: bytes) -> bool:
    """Whether there may be a timestamp in packed data: wrong only towards True."""
    return _TIMESTAMP.search(data) is not None


def _count(body: bytes) -> int:
    """Return how many elements an array announces; 0 for what is none."""
    first = body[:1]
    if b"\x90" <= first <= b"\x9f":
        return first[0] & 0x0F
    if first in (b"\xdc", b"\xdd"):
        return int.from_bytes(body[1 : 3 if first == b"\xdc" else 5], "big")
    return 0


def _with_marked_times(data: bytes) -> bytes:
    """Return packed data with the type of each timestamp changed to one that the decoder hands out as it is."""
    marked = bytearray(data)
    at = 0
    while at < len(data):
        first = data[at]
        if _TIMESTAMP.match(data, at):
            marked[at + (2 if first == 0xC7 else 1)] = _MARKED
        head, length = _SIZES.get(first, (1, 0))
        if 0xA0 <= first <= 0xBF:
            at += 1 + (first & 0x1F)
        else:
            at += head + int.from_bytes(data[at + 1 : at + 1 + length], "big")
    return bytes(marked)


def _extension(code: int, data: memoryview) -> str:
    if code != _MARKED - 256:
        raise ValueError(f"extension type {code} is not known")
    return timestamp_text(data)


def timestamp_text(data: bytes | memoryview) -> str:
    """Return a timestamp of 4, 8 or 12 bytes as RFC 3339; raise ValueError or OverflowError where it is none."""
    if len(data) == 12:
        seconds, nanoseconds = int.from_bytes(data[4:], "big", signed=True), int.from_bytes(data[:4], "big")
    elif len(data) == 8:
        whole = int.from_bytes(data, "big")
        seconds, nanoseconds = whole & (2**34 - 1), whole >> 34
    else:
        seconds, nanoseconds = int.from_bytes(data, "big"), 0
    if nanoseconds >= NS_PER_S:
        raise ValueError("a timestamp has more nanoseconds than a second has")
    return rfc3339(seconds * NS_PER_S + nanoseconds)


def no_number(value: float) -> str:
    """Return the name of a float that is no number, as the JSON of protobuf has it."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _named(value: Any) -> Any:
    """Return a value with the names of floats that are no numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return no_number(value)
    if isinstance(value, dict):
        return {name: _named(member) for name, member in value.items()}
    return [_named(member) for member in value] if isinstance(value, list) else value


_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ext_hook=_extension)
