"""What a text means as a time: the one reading that ingest, a literal in a query and a field in a query share.

Read are, with or without a time of day and a zone (no zone is UTC):

- RFC 3339 and ISO 8601: `2026-03-05T10:11:12.5Z`, `2026-3-5 10:11`, `20260305T101112Z`, `2026-064`, `2026-03`, `2026`
- year first: `2026/3/5`, `2026:03:05`, `2026.03.05`, `2026-Mar-05`, `2026年03月05日`, `260305 10:11:12`
- month first: `3/5/2026`, `3/5/26`, `Mar 5, 2026`, `March 5th, 2026 at 10:11am`; `3.15.2026` where it cannot be the day
- day first: `5 Mar 2026`, `05-Mar-26`, `05/Mar/2026:10:11:12 +0100`, `Thu, 05 Mar 2026 10:11:12 GMT`; `15.3.2026`
- the year last: `Thu Mar  5 10:11:12 UTC 2026`
- digits, of which eight are a day (`20260305`), 14 a second, 17 a millisecond of the calendar, four a year; all others
  and decimals are Unix time in s, ms, us or ns by their size

Not read, because people mean different times by them: `31/3/2026`, `5.3.2026`, a day without a year, a zone whose name
several zones have (`IST`, `AST`). Source of the shapes: the documented examples of github.com/araddon/dateparse, and
the constants of Go's package time.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000
EPOCH_DAY = date(1970, 1, 1).toordinal()
MAX_NS = 2**63 - 1

ZONES_S = {
    name: round(hours * 3600)
    for name, hours in {
        "UTC": 0, "UT": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "BST": 1,
        "CET": 1, "CEST": 2, "MET": 1, "MEST": 2, "EET": 2, "EEST": 3, "SAST": 2, "MSK": 3, "MSD": 4,
        "PKT": 5, "NPT": 5.75, "ICT": 7, "WIB": 7, "HKT": 8, "SGT": 8, "AWST": 8, "JST": 9, "KST": 9,
        "ACST": 9.5, "ACDT": 10.5, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
        "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
        "AKST": -9, "AKDT": -8, "HST": -10, "NST": -3.5, "NDT": -2.5, "BRT": -3, "ART": -3,
    }.items()
}  # fmt: skip
"""Seconds east of UTC, of the zones whose names mean one zone in practice; EST to PDT are those of RFC 5322."""

# The unit of a number is known by its size: the next unit would put it before 1973 or after 5138.
MAGNITUDES = ((10**11, NS_PER_S), (10**14, 1_000_000), (10**17, 1000))

MAX_CHARACTERS = 100  # of a text that may be a time
_MAX_NUMBER_CHARACTERS = 64


class TimeMismatch(ValueError):
    """The text does not match the layout, or names no time that exists."""


def timestamp_ns(text: str) -> int:
    """Return the time that a text means, in ns since the Unix epoch, of any size; digits beyond nanoseconds are cut
    off.

    Raise TimeMismatch with the reason, which completes "it is no time: …".
    """
    usual = usual_ns(text)
    if usual is not None:
        return usual
    if len(text) > MAX_CHARACTERS:
        raise TimeMismatch(f"it is longer than {MAX_CHARACTERS} characters")
    text = " ".join(text.split())
    if _NUMBER.fullmatch(text):
        return _number_ns(text)
    for pattern, read in _SHAPES:
        shape = pattern.match(text)
        if shape is not None:
            year, month, day = read(shape)
            return _instant(year, month, day, text[shape.end() :])
    raise TimeMismatch("it is in no known format")


def usual_ns(text: str) -> int | None:
    """Return what `timestamp_ns` says of `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, which most clients write; None for other
    texts.
    """
    if not (20 <= len(text) <= 27 and text[-1] == "Z" and text[10] == "T" and text[4] == text[7] == "-"):
        return None
    try:
        moment = datetime.fromisoformat(text[:-1])
    except ValueError:
        return None
    if moment.tzinfo is not None or text[13] != ":":
        return None
    seconds = (moment.toordinal() - EPOCH_DAY) * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    return seconds * NS_PER_S + moment.microsecond * 1000


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WRITTEN_OUT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(?:(\d{3})|\.(\d{1,9}))?)?", re.ASCII)
_YEAR = re.compile(r"(\d{4})(?:\.(\d\d))?", re.ASCII)


def _number_ns(text: str) -> int:
    # No Unix time in int64 nanoseconds has 14 or 17 digits; one of 4 or 8 would be of the first years after 1970.
    written = _WRITTEN_OUT.fullmatch(text)
    if written is not None:
        year, month, day, hour, minute, second, milliseconds, fraction = written.groups("0")
        seconds = _days(int(year), int(month), int(day)) * 86_400
        seconds += _clock_seconds(int(hour), int(minute), int(second), None)
        return seconds * NS_PER_S + int(milliseconds) * 1_000_000 + _fraction_ns(fraction)
    of_year = _YEAR.fullmatch(text)
    if of_year is not None and (of_year[2] is None or 1 <= int(of_year[2]) <= 12):
        return _days(int(of_year[1]), int(of_year[2] or 1), 1) * 86_400 * NS_PER_S
    return epoch_ns(text)


def epoch_ns(text: str, unit_ns: int | None = None) -> int:
    """Return the Unix time that a number means, in ns: in units of `unit_ns`, or in s, ms, us or ns by its size.

    Raise TimeMismatch for what is no number of at most 64 characters.
    """
    if len(text) > _MAX_NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
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
    for bound, unit_ns in MAGNITUDES:
        if size < bound:
            return unit_ns
    return 1


# Days. Each pattern matches where the text begins, and what follows is a time of day and a zone.

_Day = tuple[int | None, int, int]  # year, month, day; of the year None where it is to come
_MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTHS = {
    written: index + 1 for index, name in enumerate(_MONTH_NAMES) for written in (name, name[:3])
} | {"sept": 9}  # fmt: skip


def _number_first(shape: "re.Match[str]") -> _Day:
    return int(shape["year"]), int(shape["month"]), int(shape["day"])


def _named_month(shape: "re.Match[str]") -> _Day:
    month = _MONTHS.get(shape["month"].lower())
    if month is None:
        raise TimeMismatch(f"there is no month {shape['month'][:20]!r}")
    return _year(shape["year"]), month, int(shape["day"])


def _american(shape: "re.Match[str]") -> _Day:
    return _year(shape["year"]), int(shape["month"]), int(shape["day"])


def _dotted(shape: "re.Match[str]") -> _Day:
    first, second = int(shape["first"]), int(shape["second"])
    if first <= 12 and second <= 12 and first != second:
        raise TimeMismatch("it could be day.month or month.day")
    day, month = (first, second) if second <= 12 else (second, first)
    return _year(shape["year"]), month, day


def _of_year(shape: "re.Match[str]") -> _Day:
    year, day = int(shape["year"]), int(shape["day"])
    first = _days(year, 1, 1)
    if not 1 <= day <= _days(year, 12, 31) - first + 1:
        raise TimeMismatch("there is no such day")
    calendar_day = date.fromordinal(first + EPOCH_DAY + day - 1)
    return year, calendar_day.month, calendar_day.day


def _month_only(shape: "re.Match[str]") -> _Day:
    return int(shape["year"]), int(shape["month"]), 1


def _year(written: str | None) -> int | None:
    if written is None:
        return None
    digits = written.lstrip(", '’")
    number = int(digits)
    # As Go's time.Parse has it.
    return number if len(digits) == 4 else number + (1900 if number >= 69 else 2000)


def _shape(pattern: str) -> "re.Pattern[str]":
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?(?:[.,] ?| ))?"
_ANY_YEAR = r"(?P<year>\d{4}(?!\d)|['’]?\d\d(?![\d:]))"
_SHAPES = (
    (_shape(r"(?P<year>\d{4})([-/.:])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?!\d)"), _number_first),
    (
        _shape(
            rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?([-/ ])(?P<month>[a-z]+)\.?(?:,?\2{_ANY_YEAR}|(?![-/a-z]))"
        ),
        _named_month,
    ),
    (
        _shape(
            rf"{_WEEKDAY}(?P<month>[a-z]+)\.? (?P<day>\d{{1,2}})(?!\d)(?:st|nd|rd|th)?"
            r"(?P<year>(?:,? (?:\d{4}|['’]\d\d)|, \d\d)(?![\d:]))?"
        ),
        _named_month,
    ),
    (_shape(rf"(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}})/{_ANY_YEAR}"), _american),
    (_shape(r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?=[T ])"), _number_first),
    (_shape(r"(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?= \d)"), _american),
    (_shape(rf"(?P<first>\d{{1,2}})\.(?P<second>\d{{1,2}})\.{_ANY_YEAR}"), _dotted),
    (_shape(r"(?P<year>\d{4})-(?P<month>[a-z]+)-(?P<day>\d{1,2})(?!\d)"), _named_month),
    (_shape(r"(?P<year>\d{4})-(?P<day>\d{3})(?!\d)"), _of_year),
    (_shape(r"(?P<year>\d{4})[-/](?P<month>\d{1,2})$"), _month_only),
    (_shape(r"(?P<year>\d{4}) ?年 ?(?P<month>\d{1,2}) ?月 ?(?P<day>\d{1,2}) ?日"), _number_first),
)


def _days(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01."""
    try:
        return date(year, month, day).toordinal() - EPOCH_DAY
    except ValueError:
        raise TimeMismatch("there is no such day") from None


# The time of day and the zone.

_CLOCK = _shape(
    r"(?:T|:|,? (?:at )?|)(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+)|:(?P<fraction2>\d{3,9}))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?(?![a-z]))?(?!\d)"
)
_BASIC_CLOCK = _shape(
    r"(?:T(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?| (?P<hour2>\d\d)(?P<minute2>\d\d)(?P<second2>\d\d))"
    r"(?:[.,](?P<fraction>\d+))?(?!\d)"
)


def _instant(year: int | None, month: int, day: int, rest: str) -> int:
    seconds, fraction_ns = 0, 0
    if rest:
        tail = rest
        clock = _CLOCK.match(rest)
        if clock is not None:
            seconds = _clock_seconds(int(clock["hour"]), int(clock["minute"]), int(clock["second"] or 0), clock["half"])
            fraction_ns = _fraction_ns(clock["fraction"] or clock["fraction2"] or "")
            tail = rest[clock.end() :]
        else:
            clock = _BASIC_CLOCK.match(rest)
            if clock is not None:
                hour, minute, second, *others, fraction = clock.groups()
                if hour is None:
                    hour, minute, second = others
                seconds = _clock_seconds(int(hour), int(minute), int(second or 0), None)
                fraction_ns = _fraction_ns(fraction or "")
                tail = rest[clock.end() :]
        if tail:
            offset_s, later_year = _tail(tail, clock is not None)
            seconds -= offset_s
            if later_year is not None:
                if year is not None:
                    raise TimeMismatch("it has two years")
                year = later_year
    if year is None:
        raise TimeMismatch("it has no year")
    return (_days(year, month, day) * 86_400 + seconds) * NS_PER_S + fraction_ns


def _clock_seconds(hour: int, minute: int, second: int, half: str | None) -> int:
    if half is not None:
        if not 1 <= hour <= 12:
            raise TimeMismatch("there is no such time of day")
        hour = hour % 12 + (12 if half in "pP" else 0)
    # ISO 8601 has 24:00 for the end of a day, and RFC 3339 a leap second: both are the next instant.
    if not (hour < 24 or (hour == 24 and minute == second == 0)) or minute > 59 or second > 60:
        raise TimeMismatch("there is no such time of day")
    return hour * 3600 + minute * 60 + second


def _fraction_ns(digits: str) -> int:
    return int(digits[:9].ljust(9, "0"))


_TAIL_PART = re.compile(
    r" (?P<year>\d{4})(?!\d)"
    r"| m=[+-][\d.]+"  # Go's monotonic clock
    r"| ?\((?P<comment>[^()]+)\)| ?\[(?P<region>[^\[\]]+)\]"  # as JavaScript and Java name the zone
    r"| ?(?P<name>[A-Za-z]{1,5})?(?P<offset>[+-]\d\d?(?::?\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_OFFSET = re.compile(r"([+-])(\d\d?)(?::?(\d\d)(?::?(\d\d))?)?", re.ASCII)
_LONG_OFFSET_CHARACTERS = 5  # a day needs a zone with minutes: 2026-03-05-10 has an hour, or is no time


@lru_cache(maxsize=4096)
def _tail(tail: str, has_clock: bool) -> tuple[int, int | None]:
    """Return the zone's seconds east of UTC, and the year where it comes last."""
    year: int | None = None
    offset_s: int | None = None
    names: list[str] = []
    comments: list[str] = []
    at = 0
    while at < len(tail):
        part = _TAIL_PART.match(tail, at)
        if part is None or part.end() == at or part[0] == " ":
            raise TimeMismatch(f"extra text {tail[at : at + 20]!r}")
        at = part.end()
        if part["year"]:
            if year is not None:
                raise TimeMismatch("it has two years")
            year = int(part["year"])
        if part["offset"]:
            if not has_clock and len(part["offset"]) < _LONG_OFFSET_CHARACTERS:
                raise TimeMismatch(f"extra text {part[0][:20]!r}")
            seconds = _offset_s(part["offset"])
            if offset_s is not None and offset_s != seconds:
                raise TimeMismatch("it has two zone offsets")
            offset_s = seconds
        if part["name"]:
            names.append(part["name"])
        comments += [text for text in (part["comment"], part["region"]) if text]
    if offset_s is not None:  # which says more than a name
        return offset_s, year
    for name in names or comments:
        known = ZONES_S.get(name.upper())
        if known is None or offset_s not in (None, known):
            raise TimeMismatch(f"{name[:20]!r} is no zone that is known; an offset such as +01:00 is")
        offset_s = known
    return offset_s or 0, year


def _offset_s(text: str) -> int:
    found = _OFFSET.fullmatch(text)
    assert found is not None
    sign, hours, minutes, seconds = found.groups("0")
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        raise TimeMismatch("there is no such zone offset")
    offset_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return -offset_s if sign == "-" else offset_s


# Many texts at once: those of one length form a matrix of bytes, read column by column.

Int64s = NDArray[np.int64]
Bytes2 = NDArray[np.uint8]  # a row a column of the text, so that each is contiguous
Mask = NDArray[np.bool_]

_ZERO = ord("0")
_DIGITS = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])  # of YYYY-MM-DDTHH:MM:SS
_SEPARATORS = ((4, ord("-")), (7, ord("-")), (13, ord(":")), (16, ord(":")))
_WEIGHTS = np.zeros((6, 14))
_WEIGHTS[0, :4] = (1000, 100, 10, 1)
for _part in range(5):
    _WEIGHTS[_part + 1, 4 + 2 * _part : 6 + 2 * _part] = (10, 1)
_MONTH_STARTS = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], dtype=np.int64)
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)


def by_length(
    data: NDArray[np.uint8], starts: Int64s, lengths: Int64s, *, least: int, longest: int
) -> Iterator[tuple[Int64s, Bytes2]]:
    """Yield texts in groups of one length: their positions, and their bytes.

    `data` holds all texts, each from its start; groups of fewer than `least` texts and texts that are empty or longer
    than `longest` bytes are left out.
    """
    if not len(lengths):
        return
    if (lengths == lengths[0]).all() and len(data) == len(lengths) * lengths[0]:
        if 0 < lengths[0] <= longest and len(lengths) >= least:
            yield np.arange(len(lengths)), np.ascontiguousarray(data.reshape(len(lengths), lengths[0]).T)
        return
    for length in np.unique(lengths).tolist():
        if 0 < length <= longest:
            rows = np.flatnonzero(lengths == length)
            if len(rows) >= least:
                yield rows, data[starts[rows] + np.arange(length)[:, None]]


def read_iso(columns: Bytes2, *, strict: bool = False) -> tuple[Int64s, Mask]:
    """Read texts of one length as `timestamp_ns` does; the ns, and which could be read.

    Those are RFC 3339, also with a space for the T, with a comma before the fraction and without a zone, but for what
    int64 nanoseconds cannot hold; `strict` is RFC 3339 as Go reads it.
    """
    good = np.zeros(columns.shape[1], dtype=np.bool_)
    ns = np.zeros(columns.shape[1], dtype=np.int64)
    if len(columns) < 19:
        return ns, good
    last = columns[-1]
    zulu = last == ord("Z")
    kinds = [(zulu, 1)]
    if len(columns) >= 25:
        sign = columns[-6]
        kinds.append(((columns[-3] == ord(":")) & ((sign == ord("+")) | (sign == ord("-"))), 6))
    if not strict:
        zulu |= last == ord("z")
        kinds.append(((last >= _ZERO) & (last <= _ZERO + 9), 0))
    for among, zone_width in kinds:
        among &= ~good
        if among.any():
            found, readable = _read_columns(columns, zone_width, strict)
            readable &= among
            np.copyto(ns, found, where=readable)
            good |= readable
    return ns, good


def _read_columns(columns: Bytes2, zone_width: int, strict: bool) -> tuple[Int64s, Mask]:
    zone_at = len(columns) - zone_width
    digits = columns[_DIGITS] - np.uint8(_ZERO)
    readable: Mask = (digits <= 9).all(axis=0)
    for at, separator in _SEPARATORS:
        readable &= columns[at] == separator
    between = columns[10]
    parted = between == ord("T")
    if not strict:
        parted |= (between == ord(" ")) | (between == ord("t"))
    readable &= parted
    parts = (_WEIGHTS @ digits.astype(np.float64)).astype(np.int64)
    year, month, day, hour, minute, second = parts
    # What lies outside of these years int64 may not hold.
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
    fraction_digits = zone_at - 20
    if fraction_digits >= 1:
        point = columns[19] == ord(".")
        if not strict:
            point |= columns[19] == ord(",")
        readable &= point
        fraction = np.zeros(columns.shape[1], dtype=np.int64)
        for at in range(20, zone_at):
            digit = columns[at] - np.uint8(_ZERO)
            readable &= digit <= 9
            if at < 29:
                fraction = fraction * 10 + digit
        ns += fraction * 10 ** max(0, 9 - fraction_digits)
    elif fraction_digits != -1:
        readable &= False
    return ns, readable
