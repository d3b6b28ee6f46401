"""Event times: read in bulk from the field that holds them, as int64 nanoseconds since the Unix epoch."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events import BadRequest
from tailrace.events.timestamps import (
    MAGNITUDES,
    MAX_NS,
    NS_PER_S,
    Bytes2,
    Int64s,
    Mask,
    TimeMismatch,
    by_length,
    epoch_ns,
    read_iso,
    timestamp_ns,
    usual_ns,
)
from tailrace.parsing.golayout import parse_layout, parse_time
from tailrace.parsing.limits import ExactWayNeeded

MIN_NS = -(2**63) + 1  # the least int64 is numpy's "not a time"

_UNITS_NS = {
    "unix": NS_PER_S, "s": NS_PER_S, "unixmilli": 1_000_000, "ms": 1_000_000,
    "unixmicro": 1000, "us": 1000, "unixnano": 1, "ns": 1,
}  # fmt: skip

_FEW = 12  # values; below it the set-up of the vectorised way costs more than it saves
_EXCERPT_CHARACTERS = 64

Values = Sequence[bytes | bytearray | memoryview | msgspec.Raw]


class Texts(Struct, frozen=True, eq=False):
    """Parts of one text: the values of a field, an event each, empty where it has none."""

    data: bytes
    starts: Int64s
    ends: Int64s

    @classmethod
    def of(cls, values: Values) -> "Texts":
        """Return texts that stand by themselves."""
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        ends = np.cumsum(lengths)
        return cls(b"".join(values), ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, position: int) -> bytes:
        return self.data[self.starts[position] : self.ends[position]]

    def at(self, positions: NDArray[np.intp]) -> "Texts":
        """Return those at some positions."""
        return Texts(self.data, self.starts[positions], self.ends[positions])

    def all(self) -> list[bytes]:
        """Return each by itself."""
        return [self.data[start:end] for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]


class TimeRule(Struct, frozen=True):
    """Where an event's time stands, and how it is written."""

    field: str = "_time"  # a top-level key, or a path with dots where there is no such key
    format: str = ""  # a Go reference layout, one of Go's names for one, unix/unixmilli/…, s/ms/us/ns; "" = any


class Times(Struct, frozen=True, eq=False):
    """The times of a batch; where one could not be read, the received time and an entry in `unreadable`."""

    ns: Int64s
    unreadable: dict[int, str]  # by position: the reason, for the client


def check_rule(rule: TimeRule) -> None:
    """Raise BadRequest when the format of `rule` is no format."""
    _parser(rule.format)


def read_times(values: Values | Texts, rule: TimeRule, received_ns: int, *, in_bulk: bool = False) -> Times:
    """Read one time a value: the JSON text of the field in each event, empty where the event has none.

    None and `null` mean `received_ns`. Without a format, a string is read as everywhere (`timestamp_ns`), a number
    as a Unix time in s, ms, us or ns by its size; digits of a fraction beyond nanoseconds are cut off. A time that
    int64 nanoseconds cannot hold is unreadable.

    Raise BadRequest when the format of `rule` is no format, and with `in_bulk` ExactWayNeeded where more than a few
    values would be read one by one.
    """
    parse = _parser(rule.format)
    count = len(values)
    ns = np.full(count, received_ns, dtype=np.int64)
    if count > _FEW and rule.format in _BULK_FORMATS:
        texts = values if isinstance(values, Texts) else Texts.of(values)
        remaining: Sequence[int] = _read_bulk(texts, ns, strict=bool(rule.format)).tolist()
    else:
        remaining = range(count)
    if in_bulk and len(remaining) > _FEW:
        raise ExactWayNeeded
    unreadable: dict[int, str] = {}
    for index in remaining:
        try:
            ns[index] = _read(bytes(values[index]), parse, received_ns)
        except TimeMismatch as error:
            unreadable[index] = _reason(bytes(values[index]), rule, error)
    return Times(ns, unreadable)


def read_time(value: bytes, rule: TimeRule, received_ns: int) -> int | str:
    """Return the time that one value is, or why it is none, as `read_times` has them."""
    try:
        return _read(value, _parser(rule.format), received_ns)
    except TimeMismatch as error:
        return _reason(value, rule, error)


def _read(value: bytes, parse: "_Parse", received_ns: int) -> int:
    if not value or value == b"null":
        return received_ns
    time_ns = parse(value, received_ns)
    if not MIN_NS <= time_ns <= MAX_NS:
        raise TimeMismatch("it is outside the years 1677 to 2262, which int64 nanoseconds can hold")
    return time_ns


def _reason(value: bytes, rule: TimeRule, error: TimeMismatch) -> str:
    return f"invalid time {_excerpt(value)} in field {rule.field!r}: {error}"


def _excerpt(value: bytes) -> str:
    text = value[: _EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
    return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + "…"


# One value at a time.

_Parse = Callable[[bytes, int], int]


@lru_cache(maxsize=256)
def _parser(format: str) -> _Parse:
    if not format:
        return _detect
    unit_ns = _UNITS_NS.get(format.lower())
    if unit_ns is not None:
        known_unit_ns = unit_ns

        def parse_epoch(value: bytes, received_ns: int) -> int:
            return epoch_ns(_text(value), known_unit_ns)

        return parse_epoch
    try:
        layout = parse_layout(format)
    except ValueError as error:
        raise BadRequest(f"timestamp-format {format[:_EXCERPT_CHARACTERS]!r} is no layout: {error}") from None

    def parse_by_layout(value: bytes, received_ns: int) -> int:
        try:
            return parse_time(layout, _text(value), received_ns)
        except TimeMismatch as error:
            raise TimeMismatch(f"it does not match the layout {format[:_EXCERPT_CHARACTERS]!r}: {error}") from None

    return parse_by_layout


def _text(value: bytes) -> str:
    """Return the string or number that a JSON value is."""
    if value[:1] == b'"':
        try:
            return msgspec.json.decode(value, type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise TimeMismatch("it is not a valid string") from None
    if value[:1] in b"-0123456789":
        return value.decode("ascii", "replace")
    raise TimeMismatch("it is neither a string nor a number")


def _detect(value: bytes, received_ns: int) -> int:
    if value[:1] != b'"':
        return epoch_ns(_text(value))
    usual = usual_ns(value[1:-1].decode("latin-1"))
    if usual is not None:
        return usual
    try:
        return timestamp_ns(_text(value))
    except TimeMismatch as error:
        raise TimeMismatch(f"{error}; a format can be named with timestamp-format") from None


# Many values at once.

_BULK_FORMATS = frozenset({"", "RFC3339", "RFC3339Nano", "2006-01-02T15:04:05Z07:00"})
_QUOTE, _ZERO = ord('"'), ord("0")
_LONGEST = 48  # of a value worth reading in bulk, in bytes


def _read_bulk(texts: Texts, ns: Int64s, *, strict: bool) -> NDArray[np.intp]:
    """Write the times that can be read in bulk into `ns`; return the positions of the rest.

    `strict` is RFC 3339 as Go reads it: no numbers, no lower-case z.
    """
    lengths = texts.ends - texts.starts
    data = np.frombuffer(texts.data, dtype=np.uint8)
    done = lengths == 0
    for rows, columns in by_length(data, texts.starts, lengths, least=_FEW + 1, longest=_LONGEST):
        if len(columns) >= 21:
            column_ns, readable = read_iso(columns[1:-1], strict=strict)
            readable &= (columns[0] == _QUOTE) & (columns[-1] == _QUOTE)
        elif len(columns) <= 19 and not strict:
            column_ns, readable = _read_integers(columns)
        else:
            continue
        ns[rows[readable]] = column_ns[readable]
        done[rows] = readable
    return np.flatnonzero(~done)


def _read_integers(columns: Bytes2) -> tuple[Int64s, Mask]:
    number = np.zeros(columns.shape[1], dtype=np.uint64)
    readable = np.ones(columns.shape[1], dtype=np.bool_)
    for column in columns:
        digit = column - np.uint8(_ZERO)
        readable &= digit <= 9
        number = number * np.uint64(10) + digit
    times_ns = np.zeros(len(number), dtype=np.int64)
    low = 0
    for bound, unit_ns in (*MAGNITUDES, (2**64 - 1, 1)):
        here = (number >= low) & (number < bound)
        fits = here & (number <= MAX_NS // unit_ns)
        readable &= fits | ~here
        np.multiply(number.astype(np.int64), unit_ns, out=times_ns, where=fits)
        low = bound
    return times_ns, readable


# Where in an event the time stands.


def time_values(events: Sequence[dict[str, msgspec.Raw]], field: str) -> list[Any]:
    """Return the JSON text of `field` in each event, empty where it has none: a key, or else a path with dots."""
    return [_find(event, field) for event in events]


def _find(event: dict[str, msgspec.Raw], field: str) -> bytes:
    value = event.get(field)
    if value is not None:
        return bytes(value)
    head, dot, rest = field.partition(".")
    while dot:
        inner = event.get(head)
        if inner is not None and bytes(inner)[:1] == b"{":
            nested = _find(_OBJECT.decode(inner), rest)
            if nested:
                return nested
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return b""


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
