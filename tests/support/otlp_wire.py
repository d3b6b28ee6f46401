"""OTLP requests in protobuf as bytes from a seed: plain ones, and what no encoder writes."""

import math
import random
import struct

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from support.otlp import REQUESTS
from tailrace.parsing import Signal

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 9
NAMES = ("http.route", "url.path", "service.name", "telemetry.sdk.name", "dataset", "k", "", 'é"\n', "user_id", "a.b")
TEXTS = ("", "GET", "a", "b", "/über/\u2028🎈", '"\\/\b\f\n\r\t\x00\x1f\x7f', "x" * 40, "plain text of one line")
DOUBLES = (0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 123.456, 1e-5, 1e-6, 5e-324, 1.7976931348623157e308, 2.0**-44, 1 / 3)
INTEGERS = (0, 1, 2, 3, 5, 6, 9, 17, 127, 128, 999, 1000, 1001, 2**31 - 1)
TIMES = (0, 1, 1_700_000_000_000_000_000, 1_700_000_000_000_000_789, 2**63 - 1, 2**63, 2**64 - 1)
INVALID_TEXTS = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82", b"\x80" * 20)
_TYPES = FieldDescriptor


class WireMaker:
    """Makes requests; `oddness` is how often something is wrong, of 1."""

    def __init__(self, seed: int, oddness: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._oddness = oddness

    def request(self, signal: Signal) -> bytes:
        """Return a request, of which with oddness bytes may be changed or missing."""
        descriptor: Descriptor = REQUESTS[signal].DESCRIPTOR
        made = self._message(descriptor, 0)
        if made and self._odd():
            at = self._random.randrange(len(made))
            changed = bytes((self._random.choice((0, 1, 0x7F, 0x80, 0xFF, made[at] ^ 1 << self._random.randrange(8))),))
            made = self._random.choice((made[:at], made[:at] + changed + made[at + 1 :], made[:at] + made[at + 1 :]))
        return made

    def _odd(self) -> bool:
        return self._random.random() < self._oddness

    def _message(self, descriptor: Descriptor, depth: int) -> bytes:
        fields = list(descriptor.fields)
        if descriptor.name == "AnyValue":
            fields = self._random.sample(fields[: 4 if depth >= MAX_DEPTH else 7], self._count(0.95))
        elif descriptor.name == "Metric":
            data = [field for field in fields if field.containing_oneof]
            fields = [field for field in fields if not field.containing_oneof]
            fields += self._random.sample(data[:2] if self._random.random() < 0.7 else data, self._count(0.9))
        elif descriptor.name == "NumberDataPoint":
            fields.remove(self._random.choice([field for field in fields if field.containing_oneof]))
        parts = [part for field in fields for part in self._field(field, depth)]
        if self._odd():
            number, wire = self._random.randrange(20), self._random.randrange(8)
            parts.append(varint(number << 3 | wire) + self._random.randbytes(self._random.randrange(12)))
        if self._random.random() < 0.1:
            self._random.shuffle(parts)
        return b"".join(parts)

    def _count(self, one: float) -> int:
        return self._random.randrange(3) if self._odd() else int(self._random.random() < one)

    def _field(self, field: FieldDescriptor, depth: int) -> list[bytes]:
        is_own = field.containing_type.name in ("AnyValue", "Metric", "KeyValue")
        is_rare = field.name in ("entity_refs", "exemplars", "key_strindex")
        if is_rare and not self._odd():
            return []
        count = 1 if is_own else int(self._random.random() < 0.6)
        if field.is_repeated:
            count = self._random.randrange(3 if depth < MAX_DEPTH else 1)
        elif self._odd():
            count = 2
        return [self._value(field, depth) for _ in range(count)]

    def _value(self, field: FieldDescriptor, depth: int) -> bytes:
        kind = field.type
        choice = self._random.choice
        value: bytes
        if kind == _TYPES.TYPE_MESSAGE:
            wire, value = BYTES, self._message(field.message_type, depth + 1)
        elif kind in (_TYPES.TYPE_STRING, _TYPES.TYPE_BYTES):
            wire, value = BYTES, choice(NAMES if field.name == "key" else TEXTS).encode()
            if kind == _TYPES.TYPE_STRING and self._odd():
                value = choice(INVALID_TEXTS)
        elif kind in (_TYPES.TYPE_DOUBLE, _TYPES.TYPE_FIXED64, _TYPES.TYPE_SFIXED64):
            wire, value = FIXED64, struct.pack("<Q", choice(TIMES))
            if kind == _TYPES.TYPE_DOUBLE:
                value = struct.pack("<d", choice((math.nan, math.inf, -math.inf) if self._odd() else DOUBLES))
        elif kind == _TYPES.TYPE_FIXED32:
            wire, value = FIXED32, struct.pack("<I", choice(INTEGERS))
        else:
            number = choice((0, 1)) if kind == _TYPES.TYPE_BOOL else choice(INTEGERS)
            if kind == _TYPES.TYPE_INT64:
                number = choice((*INTEGERS, *TIMES))
            wire, value = VARINT, varint(choice(TIMES) if self._odd() else number)
            if self._odd():
                value = (
                    value[:-1]
                    + bytes((value[-1] | 0x80,))
                    + b"\x80" * self._random.randrange(9)
                    + choice((b"\0", b"\2"))
                )
        if self._odd():
            wire = self._random.randrange(8)
        tag = varint(field.number << 3 | wire)
        return tag + varint(len(value)) + value if wire == BYTES else tag + value


def varint(number: int) -> bytes:
    """Return a number in base 128, the least digit first."""
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))
