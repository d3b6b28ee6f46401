"""Event times: read in bulk from the field that holds them, as int64 nanoseconds since the Unix epoch."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events import BadRequest
from tailrace.intake.golayout import EPOCH_DAY, NS_PER_S, TimeMismatch, parse_layout, parse_time

MIN_NS: Final = -(2**63) + 1  # the least int64 is numpy's "not a time"
MAX_NS: Final = 2**63 - 1

_UNITS_NS: Final = {
    "unix": NS_PER_S, "s": NS_PER_S, "unixmilli": 1_000_000, "ms": 1_000_000,
    "unixmicro": 1000, "us": 1000, "unixnano": 1, "ns": 1,
}  # fmt: skip

# A number without a unit is told by its size: the next unit would put it before 1973 or after 5138.
_MAGNITUDES: Final = ((10**11, NS_PER_S), (10**14, 1_000_000), (10**17, 1000))

_FEW = 12  # values; below it the set-up of the vectorised way costs more than it saves
_MAX_NUMBER_CHARS = 64
_SHOWN_CHARS = 64

Values = Sequence[bytes | bytearray | memoryview | msgspec.Raw]
Int64s = NDArray[np.int64]


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


def read_times(values: Values, rule: TimeRule, received_ns: int) -> Times:
    """Read one time a value: the JSON text of the field in each event, empty where the event has none.

    None and `null` mean `received_ns`. Without a format, RFC 3339 and ISO 8601 (no offset = UTC), Unix epochs in s,
    ms, us or ns by magnitude, as numbers or digits, and the common layouts of logs are read; digits of a fraction
    beyond nanoseconds are cut off. A time that int64 nanoseconds cannot hold is unreadable.

    Raises BadRequest when the format of `rule` is no format.
    """
    parse = _parser(rule.format)
    count = len(values)
    ns = np.full(count, received_ns, dtype=np.int64)
    if count > _FEW and rule.format in _BULK_FORMATS:
        left: Sequence[int] = _read_bulk(values, ns, strict=bool(rule.format)).tolist()
    else:
        left = range(count)
    unreadable: dict[int, str] = {}
    for index in left:
        value = bytes(values[index])
        if not value or value == b"null":
            continue
        try:
            found = parse(value, received_ns)
            if not MIN_NS <= found <= MAX_NS:
                raise TimeMismatch("it is outside the years 1677 to 2262, which int64 nanoseconds can hold")
            ns[index] = found
        except TimeMismatch as error:
            unreadable[index] = f"invalid time {_shown(value)} in field {rule.field!r}: {error}"
    return Times(ns, unreadable)


def _shown(value: bytes) -> str:
    text = value[: _SHOWN_CHARS * 4].decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


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
            return _epoch(_text(value), known_unit_ns)

        return parse_epoch
    try:
        layout = parse_layout(format)
    except ValueError as error:
        raise BadRequest(f"timestamp-format {format[:_SHOWN_CHARS]!r} is no layout: {error}") from None

    def parse_by_layout(value: bytes, received_ns: int) -> int:
        try:
            return parse_time(layout, _text(value), received_ns)
        except TimeMismatch as error:
            raise TimeMismatch(f"it does not match the layout {format[:_SHOWN_CHARS]!r}: {error}") from None

    return parse_by_layout


def _text(value: bytes) -> str:
    """The string or number that a JSON value is."""
    if value[:1] == b'"':
        try:
            return msgspec.json.decode(value, type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise TimeMismatch("it is not a valid string") from None
    if value[:1] in b"-0123456789":
        return value.decode("ascii", "replace")
    raise TimeMismatch("it is neither a string nor a number")


_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:(?:[Tt]| +)(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?: ?([Zz]|UTC|([+-])(\d\d)(?::?(\d\d))?))?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

# Tried in order on what is neither ISO 8601 nor a number. No two of them read the same text as different times.
_LAYOUTS: Final = tuple(
    parse_layout(text)
    for text in (
        "2006/1/2 15:04:05",
        "2006/1/2 15:04:05 -0700",
        "2006/1/2 15:04:05 MST",
        "2006/1/2T15:04:05Z07:00",
        "2006/1/2 15:04",
        "2006/1/2",
        "1/2/2006 15:04:05",
        "1/2/2006 3:04:05 PM",
        "1/2/2006 15:04:05 -0700",
        "1/2/2006 15:04",
        "1/2/2006 3:04 PM",
        "1/2/2006",
        "2/Jan/2006:15:04:05 -0700",
        "2/Jan/2006:15:04:05",
        "2/Jan/2006 15:04:05",
        "Mon, 2 Jan 2006 15:04:05 MST",
        "Mon, 2 Jan 2006 15:04:05 -0700",
        "Monday, 02-Jan-06 15:04:05 MST",
        "Mon, 02-Jan-2006 15:04:05 MST",
        "Mon Jan _2 15:04:05 2006",
        "Mon Jan _2 15:04:05 MST 2006",
        "Mon Jan _2 15:04:05 -0700 2006",
        "Mon Jan _2 2006 15:04:05 GMT-0700",
        "Mon Jan _2 2006 15:04:05",
        "Jan _2 2006 15:04:05",
        "Jan _2 2006 15:04:05 MST",
        "Jan _2 2006 15:04:05 -0700",
        "Jan _2, 2006 15:04:05",
        "Jan _2, 2006 3:04:05 PM",
        "Jan _2, 2006 at 3:04pm (MST)",
        "Jan _2, 2006",
        "January _2, 2006 15:04:05",
        "January _2, 2006",
        "_2 Jan 2006 15:04:05 MST",
        "_2 Jan 2006 15:04:05 -0700",
        "_2 Jan 2006 15:04:05",
        "_2 Jan 06 15:04 MST",
        "_2 Jan 06 15:04 -0700",
        "_2 Jan 2006",
        "_2-Jan-2006 15:04:05",
        "2006-01-02 15:04:05 -0700 MST",
        "2006-01-02 15:04:05 MST",
        "20060102T150405Z07:00",
        "20060102T150405Z0700",
        "20060102T150405",
        "20060102 15:04:05",
        "2006-002T15:04:05Z07:00",
    )
)


def _common_ns(value: bytes) -> int | None:
    """The time that most clients write, as in "2026-03-05T10:11:12.345Z", read by the standard library."""
    if not (22 <= len(value) <= 29 and value[-2:] == b'Z"' and value[11] == _T and value[8] == _DASH):
        return None
    try:
        found = datetime.fromisoformat(value[1:-2].decode("ascii"))
    except ValueError:
        return None
    seconds = (found.toordinal() - EPOCH_DAY) * 86_400 + found.hour * 3600 + found.minute * 60 + found.second
    return seconds * NS_PER_S + found.microsecond * 1000 if found.tzinfo is None else None


_T, _DASH = b"T-"


def _detect(value: bytes, received_ns: int) -> int:
    common = _common_ns(value)
    if common is not None:
        return common
    text = _text(value).strip()
    found = _RFC3339.fullmatch(text)
    if found is not None:
        return _iso_ns(found)
    if _NUMBER.fullmatch(text):
        return _epoch(text, None)
    if len(text) <= 100:
        text = _COMMENT.sub("", text)
        for layout in _LAYOUTS:
            try:
                return parse_time(layout, text, received_ns)
            except TimeMismatch:
                continue
    raise TimeMismatch("it is in no known format; name one with timestamp-format")


# What JavaScript and Go put after a time when they print one: the zone's name, the monotonic clock.
_COMMENT: Final = re.compile(r" (?:\([^()]*[a-z ][^()]*\)| ?m=[+-][0-9.]+)$")


def _iso_ns(found: re.Match[str]) -> int:
    year, month, day, hour, minute, second, fraction, _zone, sign, zone_hours, zone_minutes = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - EPOCH_DAY
    except ValueError:
        raise TimeMismatch("there is no such day") from None
    seconds = days * 86_400
    if hour is not None:
        h, m, s = int(hour), int(minute), int(second or 0)
        # ISO 8601 has 24:00 for the end of a day, and RFC 3339 a leap second: both are the next instant.
        if not (h < 24 or (h == 24 and m == s == 0)) or m > 59 or s > 60:
            raise TimeMismatch("there is no such time of day")
        seconds += h * 3600 + m * 60 + s
        if sign is not None:
            offset_h, offset_m = int(zone_hours), int(zone_minutes or 0)
            if offset_h > 23 or offset_m > 59:
                raise TimeMismatch("there is no such zone offset")
            offset_s = offset_h * 3600 + offset_m * 60
            seconds -= -offset_s if sign == "-" else offset_s
    return seconds * NS_PER_S + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def _epoch(text: str, unit_ns: int | None) -> int:
    if len(text) > _MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
        raise TimeMismatch("it is not a number that could be a Unix time")
    if text.lstrip("-").isdecimal():
        number = int(text)
        return number * (unit_ns or _unit_by_magnitude(abs(number)))
    exact = Decimal(text)
    size = abs(exact)
    if size > 10**20:
        return MAX_NS + 1
    if size < Decimal("1e-12"):
        return 0
    return int(exact * (unit_ns or _unit_by_magnitude(size)))


def _unit_by_magnitude(size: int | Decimal) -> int:
    for bound, unit_ns in _MAGNITUDES:
        if size < bound:
            return unit_ns
    return 1


# Many values at once: those of one length form a matrix of bytes, read column by column.

_BULK_FORMATS: Final = frozenset({"", "RFC3339", "RFC3339Nano", "2006-01-02T15:04:05Z07:00"})
_QUOTE, _ZERO = ord('"'), ord("0")
_LONGEST = 48  # of a value worth reading in bulk
_DIGITS: Final = np.array([1, 2, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19])  # of "YYYY-MM-DDTHH:MM:SS
_SEPARATORS: Final = ((5, b"-"), (8, b"-"), (11, b"T"), (14, b":"), (17, b":"))
_WEIGHTS: Final = np.zeros((6, 14))
_WEIGHTS[0, :4] = (1000, 100, 10, 1)
for _part in range(5):
    _WEIGHTS[_part + 1, 4 + 2 * _part : 6 + 2 * _part] = (10, 1)
_MONTH_STARTS: Final = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], dtype=np.int64)
_MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)

Bytes2 = NDArray[np.uint8]  # a row a column of the text, so that each is contiguous
Mask = NDArray[np.bool_]


def _read_bulk(values: Values, ns: Int64s, *, strict: bool) -> Int64s:
    """Write the times that can be read in bulk into `ns`; returns the positions of the rest.

    `strict` is RFC 3339 as Go reads it: no numbers, no lower-case z.
    """
    count = len(values)
    text = np.frombuffer(b"".join(values), dtype=np.uint8)
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=count)
    if (lengths == lengths[0]).all():
        if lengths[0] == 0:
            return np.empty(0, dtype=np.int64)
        if lengths[0] > _LONGEST:
            return np.arange(count)
        columns = np.ascontiguousarray(text.reshape(count, lengths[0]).T)
        return np.flatnonzero(~_read_columns(columns, ns, strict))
    left = []
    starts = np.cumsum(lengths) - lengths
    for length in np.unique(lengths).tolist():
        if length == 0:
            continue
        rows = np.flatnonzero(lengths == length)
        if length > _LONGEST or len(rows) <= _FEW:
            left.append(rows)
            continue
        columns = text[starts[rows] + np.arange(length)[:, None]]
        found = ns[rows]
        good = _read_columns(columns, found, strict)
        ns[rows[good]] = found[good]
        left.append(rows[~good])
    return np.sort(np.concatenate(left)) if left else np.empty(0, dtype=np.int64)


def _read_columns(columns: Bytes2, ns: Int64s, strict: bool) -> Mask:
    """Read values of one length; writes `ns` where the mask that it returns is true."""
    good = np.zeros(columns.shape[1], dtype=np.bool_)
    if len(columns) >= 22:
        quoted = (columns[0] == _QUOTE) & (columns[-1] == _QUOTE)
        last = columns[-2]
        zulu = quoted & (last == ord("Z"))
        if not strict:
            zulu |= quoted & (last == ord("z"))
        if zulu.any():
            _accept(good, ns, zulu, *_read_rfc3339(columns, zone_width=1))
        if len(columns) >= 27 and not good.all():
            sign = columns[-7]
            offset = quoted & ~zulu & (columns[-4] == ord(":")) & ((sign == ord("+")) | (sign == ord("-")))
            if offset.any():
                _accept(good, ns, offset, *_read_rfc3339(columns, zone_width=6))
    elif len(columns) <= 19 and not strict:
        every = np.ones(len(good), dtype=np.bool_)
        _accept(good, ns, every, *_read_integers(columns))
    return good


def _accept(good: Mask, ns: Int64s, among: Mask, found: Int64s, readable: Mask) -> None:
    taken = among & readable
    good |= taken
    np.copyto(ns, found, where=taken)


def _read_integers(columns: Bytes2) -> tuple[Int64s, Mask]:
    number = np.zeros(columns.shape[1], dtype=np.uint64)
    readable = np.ones(columns.shape[1], dtype=np.bool_)
    for column in columns:
        digit = column - np.uint8(_ZERO)
        readable &= digit <= 9
        number = number * np.uint64(10) + digit
    found = np.zeros(len(number), dtype=np.int64)
    low = 0
    for bound, unit_ns in (*_MAGNITUDES, (2**64 - 1, 1)):
        here = (number >= low) & (number < bound)
        fits = here & (number <= MAX_NS // unit_ns)
        readable &= fits | ~here
        np.multiply(number.astype(np.int64), unit_ns, out=found, where=fits)
        low = bound
    return found, readable


def _read_rfc3339(columns: Bytes2, zone_width: int) -> tuple[Int64s, Mask]:
    zone_at = len(columns) - 1 - zone_width
    digits = columns[_DIGITS] - np.uint8(_ZERO)
    readable: Mask = (digits <= 9).all(axis=0)
    for at, separator in _SEPARATORS:
        readable &= columns[at] == separator[0]
    parts = (_WEIGHTS @ digits.astype(np.float64)).astype(np.int64)
    year, month, day, hour, minute, second = parts
    readable &= (year >= 1678) & (year <= 2261) & (month >= 1) & (month <= 12) & (day >= 1)
    readable &= (hour < 24) & (minute < 60) & (second < 60)
    month = np.where(readable, month, 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    readable &= day <= _MONTH_DAYS[month] + (leap & (month == 2))
    before = year - 1
    days = 365 * (year - 1970) + (before // 4 - before // 100 + before // 400) - 477
    days += _MONTH_STARTS[month] + (leap & (month > 2)) + day - 1
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    if zone_width == 6:
        zone = columns[[zone_at + 1, zone_at + 2, zone_at + 4, zone_at + 5]] - np.uint8(_ZERO)
        readable &= (zone <= 9).all(axis=0)
        tens_h, ones_h, tens_m, ones_m = zone.astype(np.int64)
        zone_h, zone_m = tens_h * 10 + ones_h, tens_m * 10 + ones_m
        readable &= (zone_h < 24) & (zone_m < 60)
        offset = zone_h * 3600 + zone_m * 60
        seconds -= np.where(columns[zone_at] == ord("-"), -offset, offset)
    ns = np.where(readable, seconds, 0) * NS_PER_S
    fraction_digits = zone_at - 21
    if fraction_digits >= 1:
        readable &= columns[20] == ord(".")
        fraction = np.zeros(columns.shape[1], dtype=np.int64)
        for at in range(21, zone_at):
            digit = columns[at] - np.uint8(_ZERO)
            readable &= digit <= 9
            if at < 30:
                fraction = fraction * 10 + digit
        ns += fraction * 10 ** max(0, 9 - fraction_digits)
    elif fraction_digits != -1:
        readable &= False
    return ns, readable


# Where in an event the time stands.


def pull(events: Sequence[dict[str, msgspec.Raw]], field: str) -> list[Any]:
    """The JSON text of `field` in each event, empty where it has none: a key, or else a path with dots."""
    return [_find(event, field) for event in events]


def _find(event: dict[str, msgspec.Raw], field: str) -> bytes:
    value = event.get(field)
    if value is not None:
        return bytes(value)
    head, dot, rest = field.partition(".")
    while dot:
        inner = event.get(head)
        if inner is not None and bytes(inner)[:1] == b"{":
            found = _find(_OBJECT.decode(inner), rest)
            if found:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return b""


_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
