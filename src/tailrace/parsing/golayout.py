"""Go reference layouts: times read the way Go's `time.Parse` reads them (package time, format.go)."""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from msgspec import Struct

from tailrace.events.timestamps import EPOCH_DAY, NS_PER_S, ZONES_S, TimeMismatch

CONSTANTS = {
    "Layout": "01/02 03:04:05PM '06 -0700",
    "ANSIC": "Mon Jan _2 15:04:05 2006",
    "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
    "RubyDate": "Mon Jan 02 15:04:05 -0700 2006",
    "RFC822": "02 Jan 06 15:04 MST",
    "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
    "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
    "RFC3339": "2006-01-02T15:04:05Z07:00",
    "RFC3339Nano": "2006-01-02T15:04:05.999999999Z07:00",
    "Kitchen": "3:04PM",
    "Stamp": "Jan _2 15:04:05",
    "StampMilli": "Jan _2 15:04:05.000",
    "StampMicro": "Jan _2 15:04:05.000000",
    "StampNano": "Jan _2 15:04:05.000000000",
    "DateTime": "2006-01-02 15:04:05",
    "DateOnly": "2006-01-02",
    "TimeOnly": "15:04:05",
}

_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# In the order in which Go's nextStdChunk tries them. A short name is no element where a lower-case letter follows.
_ELEMENT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST"
    r"|002|0[1-6]|15|1|2006|2|__2|_2(?!006)|3|4|5|PM|pm"
    r"|-070000|-07:00:00|-0700|-07:00|-07|Z070000|Z07:00:00|Z0700|Z07:00|Z07"
    r"|[.,](?:0+|9+)(?![0-9])"
)


class Layout(Struct, frozen=True):
    """A layout taken apart: literal text and the element after it, in turn; the last element is ""."""

    text: str
    steps: tuple[tuple[str, str], ...]
    has_year: bool
    has_date: bool  # month and day, or day of the year


class _TimeFields:
    """The fields of a time that were read so far."""

    __slots__ = ("day", "hour", "minute", "month", "nanos", "offset_s", "pm", "second", "yday", "year")

    def __init__(self) -> None:
        self.year = 0
        self.month = 0
        self.day = 0
        self.yday = 0
        self.hour = 0
        self.minute = 0
        self.second = 0
        self.nanos = 0
        self.pm: bool | None = None
        self.offset_s: int | None = None


@lru_cache(maxsize=256)
def parse_layout(text: str) -> Layout:
    """Take a Go reference layout, or the name of one of Go's constants, apart.

    Raise ValueError when it holds no element of a time.
    """
    layout = CONSTANTS.get(text, text)
    steps = []
    at = 0
    for element in _ELEMENT.finditer(layout):
        steps.append((layout[at : element.start()], element.group()))
        at = element.end()
    if not steps:
        raise ValueError("it holds no element of Go's reference time, Mon Jan 2 15:04:05 MST 2006")
    steps.append((layout[at:], ""))
    elements = {element for _, element in steps}
    months = {"January", "Jan", "01", "1"}
    days = {"2", "_2", "02"}
    return Layout(
        text=layout,
        steps=tuple(steps),
        has_year=bool(elements & {"2006", "06"}),
        has_date=bool(elements & {"002", "__2"} or (elements & months and elements & days)),
    )


def parse_time(layout: Layout, value: str, received_ns: int) -> int:
    """Read `value` by `layout`; return nanoseconds since the Unix epoch, of any size.

    As in Go: digits of a fraction are accepted after the seconds even where the layout has none, a run of spaces
    matches any run of spaces, no zone means UTC. Unlike Go, which leaves the year at 0, a layout with a day but no
    year (syslog) gets the year that puts the time last before one day after `received_ns`.

    Raise TimeMismatch.
    """
    fields = _TimeFields()
    rest = value
    for index, (literal, element) in enumerate(layout.steps):
        rest = _skip(rest, literal)
        if element:
            follows = layout.steps[index + 1]
            rest = _READERS[element[:1] if element[0] in ".," else element](fields, rest, element, follows)
    if rest:
        raise TimeMismatch(f"extra text {rest[:20]!r}")
    if layout.has_year or not layout.has_date:
        return _instant(fields, fields.year)
    latest_ns = received_ns + 86_400 * NS_PER_S
    this_year = date.fromordinal(latest_ns // (86_400 * NS_PER_S) + EPOCH_DAY).year
    for year in range(this_year, this_year - 8, -1):  # as far back as the last 29 February
        try:
            time_ns = _instant(fields, year)
        except TimeMismatch:
            continue
        if time_ns <= latest_ns:
            return time_ns
    raise TimeMismatch("there is no such day")


def _instant(fields: _TimeFields, year: int) -> int:
    hour = fields.hour
    if fields.pm and hour < 12:
        hour += 12
    elif fields.pm is False and hour == 12:
        hour = 0
    try:
        if fields.yday:
            calendar_day = date.fromordinal(date(year, 1, 1).toordinal() + fields.yday - 1)
            day_exists = (
                calendar_day.year == year
                and fields.month in (0, calendar_day.month)
                and fields.day in (0, calendar_day.day)
            )
        else:
            calendar_day = date(year, fields.month or 1, fields.day or 1)
            day_exists = True
    except (ValueError, OverflowError):
        day_exists = False
    if not day_exists:
        raise TimeMismatch("there is no such day")
    days = calendar_day.toordinal()
    seconds = (days - EPOCH_DAY) * 86_400 + hour * 3600 + fields.minute * 60 + fields.second
    return (seconds - (fields.offset_s or 0)) * NS_PER_S + fields.nanos


def _skip(value: str, literal: str) -> str:
    if value.startswith(literal) and literal[-1:] != " ":
        return value[len(literal) :]
    at = 0
    while at < len(literal):
        if literal[at] == " ":
            if value and value[0] != " ":
                raise TimeMismatch(f"a space is missing before {value[:20]!r}")
            while at < len(literal) and literal[at] == " ":
                at += 1
            value = value.lstrip(" ")
        elif value[:1] == literal[at]:
            value = value[1:]
            at += 1
        else:
            raise TimeMismatch(f"{literal[at:]!r} is missing before {value[:20]!r}")
    return value


def _digit(value: str, at: int) -> bool:
    return "0" <= value[at : at + 1] <= "9"


def _number(value: str, *, fixed: bool, low: int, high: int, name: str) -> tuple[int, str]:
    """One or two digits; exactly two when `fixed`."""
    if not _digit(value, 0) or (fixed and not _digit(value, 1)):
        raise TimeMismatch(f"{name} is missing before {value[:20]!r}")
    width = 2 if _digit(value, 1) else 1
    number = int(value[:width])
    if not low <= number <= high:
        raise TimeMismatch(f"{name} out of range")
    return number, value[width:]


Step = tuple[str, str]
_ReadElement = Callable[[_TimeFields, str, str, Step], str]


def _long_year(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    if not (value[:4].isdecimal() and value[:4].isascii() and len(value) >= 4):
        raise TimeMismatch("year is missing")
    fields.year = int(value[:4])
    return value[4:]


def _short_year(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    number, rest = _number(value, fixed=True, low=0, high=99, name="year")
    fields.year = number + (1900 if number >= 69 else 2000)
    return rest


def _month_number(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    fields.month, rest = _number(value, fixed=element == "01", low=1, high=12, name="month")
    return rest


def _month_name(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    for index, name in enumerate(_MONTHS):
        known = name if element == "January" else name[:3]
        if value[: len(known)].lower() == known:
            fields.month = index + 1
            return value[len(known) :]
    raise TimeMismatch(f"month is missing before {value[:20]!r}")


def _weekday(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    for name in _WEEKDAYS:
        known = name if element == "Monday" else name[:3]
        if value[: len(known)].lower() == known:
            return value[len(known) :]
    raise TimeMismatch(f"weekday is missing before {value[:20]!r}")


def _day(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    if element == "_2" and value[:1] == " ":
        value = value[1:]
    fields.day, rest = _number(value, fixed=element == "02", low=1, high=31, name="day")
    return rest


def _year_day(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    if element == "__2":
        value = value[len(value[:2]) - len(value[:2].lstrip(" ")) :]
    width = 0
    while width < 3 and _digit(value, width):
        width += 1
    if width == 0 or (element == "002" and width < 3):
        raise TimeMismatch("day of the year is missing")
    fields.yday = int(value[:width])
    if not 1 <= fields.yday <= 366:
        raise TimeMismatch("day of the year out of range")
    return value[width:]


def _hour(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    high = 23 if element == "15" else 12
    fields.hour, rest = _number(value, fixed=element == "03", low=0, high=high, name="hour")
    return rest


def _minute(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    fields.minute, rest = _number(value, fixed=element == "04", low=0, high=59, name="minute")
    return rest


def _second(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    fields.second, rest = _number(value, fixed=element == "05", low=0, high=59, name="second")
    fraction_is_next = follows[0] == "" and follows[1][:1] in (".", ",") and follows[1] != ""
    if rest[:1] in (".", ",") and _digit(rest, 1) and not fraction_is_next:
        return _digits_of_fraction(fields, rest)
    return rest


def _fraction(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    present = value[:1] in (".", ",") and _digit(value, 1)
    if element[1] == "9":
        return _digits_of_fraction(fields, value) if present else value
    width = len(element)
    digits = value[1:width]
    if not present or len(digits) != width - 1 or not (digits.isascii() and digits.isdecimal()):
        raise TimeMismatch(f"a fraction of {width - 1} digits is missing before {value[:20]!r}")
    fields.nanos = int(digits[:9].ljust(9, "0"))
    return value[width:]


def _digits_of_fraction(fields: _TimeFields, value: str) -> str:
    end = 1
    while _digit(value, end):
        end += 1
    fields.nanos = int(value[1:end][:9].ljust(9, "0"))
    return value[end:]


def _half(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    half = value[:2]
    if half.lower() not in ("am", "pm") or half != (half.upper() if element == "PM" else half.lower()):
        raise TimeMismatch(f"{element} is missing before {value[:20]!r}")
    fields.pm = half.lower() == "pm"
    return value[2:]


_OFFSETS = {
    "0700": re.compile(r"([+-])(\d\d)(\d\d)()", re.ASCII),
    "07:00": re.compile(r"([+-])(\d\d):(\d\d)()", re.ASCII),
    "07": re.compile(r"([+-])(\d\d)()()", re.ASCII),
    "070000": re.compile(r"([+-])(\d\d)(\d\d)(\d\d)", re.ASCII),
    "07:00:00": re.compile(r"([+-])(\d\d):(\d\d):(\d\d)", re.ASCII),
}


def _offset(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    if element[0] == "Z" and value[:1] == "Z":
        fields.offset_s = 0
        return value[1:]
    found = _OFFSETS[element[1:]].match(value)
    if found is None:
        raise TimeMismatch(f"zone offset {element} is missing before {value[:20]!r}")
    sign, hours, minutes, seconds = found.groups()
    if int(hours) > 24 or int(minutes or 0) > 60 or int(seconds or 0) > 60:
        raise TimeMismatch("zone offset out of range")
    offset_s = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    fields.offset_s = -offset_s if sign == "-" else offset_s
    return value[found.end() :]


# Go's parseTimeZone: three letters; four that end in T, or WITA; five that end in T; GMT with hours; hours alone.
_ZONE = re.compile(
    r"UTC|ChST|MeST|GMT(?:[+-]\d{1,2})?|[+-]\d{1,2}|(?:[A-Z]{4}T|[A-Z]{3}T|WITA|[A-Z]{3})(?![A-Z])", re.ASCII
)


def _zone(fields: _TimeFields, value: str, element: str, follows: Step) -> str:
    found = _ZONE.match(value)
    if found is None:
        raise TimeMismatch(f"time zone is missing before {value[:20]!r}")
    name = found.group()
    hours = name[3:] if name.startswith("GMT") else name
    if hours[:1] in ("+", "-"):
        if abs(int(hours)) > 23:
            raise TimeMismatch("zone offset out of range")
        offset_s = int(hours) * 3600
    else:
        # Go knows the abbreviations of the server's own zone and takes the rest as UTC.
        offset_s = ZONES_S.get(name, 0)
    if fields.offset_s is None:  # a numeric offset in the same value says more than a name
        fields.offset_s = offset_s
    return value[found.end() :]


_READERS: dict[str, _ReadElement] = {
    "2006": _long_year,
    "06": _short_year,
    "01": _month_number,
    "1": _month_number,
    "Jan": _month_name,
    "January": _month_name,
    "Mon": _weekday,
    "Monday": _weekday,
    "2": _day,
    "_2": _day,
    "02": _day,
    "002": _year_day,
    "__2": _year_day,
    "15": _hour,
    "3": _hour,
    "03": _hour,
    "4": _minute,
    "04": _minute,
    "5": _second,
    "05": _second,
    ".": _fraction,
    ",": _fraction,
    "PM": _half,
    "pm": _half,
    "MST": _zone,
    **{sign + digits: _offset for sign in "-Z" for digits in _OFFSETS},
}
