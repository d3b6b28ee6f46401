"""How many fields a protobuf message has, counted in its bytes before they are decoded.

The encoding is that of protobuf's page "Encoding". A decoded message takes memory by its fields, not by its bytes: 16
MiB of the smallest become 500 MiB, and several times that as objects of Python.
"""

from functools import cache
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from msgspec import Struct

from tailrace.events import TooLarge

WHOLE_BYTES = 64 * 1024  # of a message up to which it is decoded uncounted: whatever it holds becomes a few MiB
MAX_FIELDS = 100_000  # of a larger one, with those of the messages that are decoded with it
EVENT_BYTES = 16  # that an event takes at least; so many more fields may have what holds events

_BYTES = 2  # the type of a field with a length, of those on the wire
_FIXED_SIZES = {1: 8, 5: 4}  # in bytes, by type on the wire
_GROUP_TYPES = (3, 4)  # of a group's start and end; between them are fields like others
_MAX_SHIFT = 63  # of the last part of a number
_UNPACKED = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_PACKED_SIZES = {
    **dict.fromkeys((FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64, FieldDescriptor.TYPE_DOUBLE), 8),
    **dict.fromkeys((FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32, FieldDescriptor.TYPE_FLOAT), 4),
}  # in bytes, of a number of a type; of others it differs


class TooManyFields(ValueError):
    """A message has more fields than an event or a part of one may have."""


class _Layout(Struct, eq=False):
    """Which fields of a message are counted, by number: repeated ones and messages, as others take no memory."""

    counted: set[int]
    messages: dict[int, "_Layout"]  # those in which fields are counted, too
    packed: dict[int, int]  # of numbers: the bytes of each, 0 for varints


def check_fields(raw: bytes, descriptor: Any, *, holds_events: bool = False) -> None:
    """Raise TooManyFields for a message of a type that has too many fields to be an event, or a part of one.

    Of one that `holds_events` raise TooLarge for more than its bytes could have. What is broken is not found here.
    """
    if len(raw) <= WHOLE_BYTES:
        return
    most = MAX_FIELDS + (len(raw) // EVENT_BYTES if holds_events else 0)
    if _has_more_than(most, raw, _layout_of(descriptor)):
        if holds_events:
            raise TooLarge(
                f"of the {len(raw)} bytes of {descriptor.name} too many are those of more than {most} fields"
            )
        raise TooManyFields(f"{descriptor.name} has more than {most} fields")


def _has_more_than(most: int, raw: bytes, layout: _Layout) -> bool:
    count = 0
    levels = [(0, len(raw), layout)]
    while levels:
        at, end, layout = levels.pop()
        try:
            while at < end:
                tag, at = _varint(raw, at)
                kind = tag & 7
                if tag >> 3 in layout.counted:
                    count += 1
                    if count > most:
                        return True
                if kind == _BYTES:
                    size, at = _varint(raw, at)
                    inner = layout.messages.get(tag >> 3)
                    if inner is not None:
                        levels += (at + size, end, layout), (at, min(at + size, end), inner)
                        break
                    if tag >> 3 in layout.packed:
                        count += _numbers(raw[at : min(at + size, end)], layout.packed[tag >> 3])
                    at += size
                elif kind == 0:
                    _, at = _varint(raw, at)
                elif kind in _FIXED_SIZES:
                    at += _FIXED_SIZES[kind]
                elif kind not in _GROUP_TYPES:
                    break
        except IndexError:  # the end of the bytes within a field: of no more than what was counted something is made
            continue
    return count > most


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and where it ends."""
    value = raw[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        code = raw[at]
        at += 1
        value |= (code & 0x7F) << shift
        if code < 0x80 or shift > _MAX_SHIFT:
            return value, at
        shift += 7


def _numbers(packed: bytes, size: int) -> int:
    """Return how many numbers are packed, of a size in bytes or as varints."""
    if size:
        return len(packed) // size
    return int(np.count_nonzero(np.frombuffer(packed, dtype=np.uint8) < 0x80))


@cache
def _layout_of(descriptor: Any) -> _Layout:
    return _made_layout(descriptor, {})


def _made_layout(descriptor: Any, made: dict[Any, _Layout]) -> _Layout:
    """Return the layout of a type of messages, one of those made where it is among them, as it may hold itself."""
    if descriptor in made:
        return made[descriptor]
    layout = made[descriptor] = _Layout(set(), {}, {})
    for field in descriptor.fields:
        if field.is_repeated or field.message_type is not None:
            layout.counted.add(field.number)
        if field.message_type is not None:
            if any(inner.is_repeated or inner.message_type is not None for inner in field.message_type.fields):
                layout.messages[field.number] = _made_layout(field.message_type, made)
        elif field.is_repeated and field.type not in _UNPACKED:
            layout.packed[field.number] = _PACKED_SIZES.get(field.type, 0)
    return layout
