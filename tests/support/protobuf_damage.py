"""Protobuf messages with one thing wrong at any depth, whose lengths around it are right."""

import random
import struct

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NUMBERS = (0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
RUBBISH = (b"", b"\x00", b"\xff", b"\x80" * 11, b"\x0b\x0c", b"\x0a\xff\xff\xff\xff\x0f", b"\xed\xa0\x80", b"\x08" * 9)
Field = tuple[int, int, int | bytes]  # number, type on the wire, value


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))


def written(fields: list[Field]) -> bytes:
    """Return a message."""
    made = b""
    for number, kind, value in fields:
        made += varint(number << 3 | kind)
        if isinstance(value, int):
            made += varint(value)
        else:
            made += varint(len(value)) + value if kind == BYTES else value
    return made


def fields_of(message: bytes) -> list[Field] | None:
    """Return the fields of a message; None for bytes that are none."""
    fields: list[Field] = []
    at = 0

    def number() -> int:
        nonlocal at
        read = shift = 0
        while True:
            byte = message[at]
            at += 1
            read |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return read

    try:
        while at < len(message):
            tag = number()
            kind = tag & 7
            if kind == VARINT:
                fields.append((tag >> 3, kind, number()))
                continue
            size = number() if kind == BYTES else {FIXED64: 8, FIXED32: 4}[kind]
            if at + size > len(message) or not tag >> 3:
                return None
            fields.append((tag >> 3, kind, message[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return None
    return fields


def damaged(message: bytes, seed: int) -> bytes:
    """Return the message with one thing changed: a type, a value, a field more or less, or an end too early."""
    chance = random.Random(seed)
    return _damaged(message, chance)


def _damaged(message: bytes, chance: random.Random) -> bytes:
    fields = fields_of(message)
    if not fields:
        return chance.choice((message + chance.choice(RUBBISH), chance.choice(RUBBISH)))
    at = chance.randrange(len(fields))
    number, kind, value = fields[at]
    if isinstance(value, bytes) and kind == BYTES and value and chance.random() < 0.7:
        return written([*fields[:at], (number, kind, _damaged(value, chance)), *fields[at + 1 :]])
    other = (chance.choice((number, number, chance.randint(1, 20))), *_value(chance))
    return chance.choice(
        (
            written([*fields[:at], other, *fields[at + 1 :]]),
            written([*fields[:at], other, *fields[at:]]),
            written([*fields[:at], *fields[at + 1 :]]),
            written([*fields, fields[at]]),
            message[: chance.randrange(len(message))],
            message + chance.choice(RUBBISH),
        )
    )


def _value(chance: random.Random) -> tuple[int, int | bytes]:
    kind = chance.choice((VARINT, FIXED64, BYTES, FIXED32))
    if kind == VARINT:
        return kind, chance.choice(NUMBERS)
    if kind == BYTES:
        return kind, chance.choice((*RUBBISH, written([(chance.randint(1, 5), VARINT, 7)])))
    return kind, struct.pack("<Q", chance.choice(NUMBERS))[: 8 if kind == FIXED64 else 4]
