"""Times and timespans as APL writes them, in nanoseconds."""

import re

from tailrace.events.timestamps import TimeMismatch, timestamp_ns

SECOND = 1_000_000_000
_UNIT_NAMES = {
    7 * 86_400 * SECOND: ("w", "week", "weeks"),
    86_400 * SECOND: ("d", "day", "days"),
    3_600 * SECOND: ("h", "hr", "hrs", "hour", "hours"),
    60 * SECOND: ("m", "min", "mins", "minute", "minutes"),
    SECOND: ("s", "sec", "secs", "second", "seconds"),
    1_000_000: ("ms", "milli", "millis", "millisec", "millisecond", "milliseconds"),
    1_000: ("us", "micro", "micros", "microsec", "microsecond", "microseconds"),
    100: ("tick", "ticks"),
    1: ("ns", "nano", "nanos", "nanosecond", "nanoseconds"),
}
TIMESPAN_UNITS = {name: size for size, names in _UNIT_NAMES.items() for name in names}
"""Nanoseconds of a unit, by each of its names."""

MAX_NS = 2**63 - 1
_MAX_CHARACTERS = 100  # of a timespan; what is longer is no time but a load

_SPAN = re.compile(r"(-?)(\d+(?:\.\d+)?)\s*([a-z]*)$")
_CLOCK = re.compile(r"(-?)(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?$")


def timespan_ns(text: str) -> int | None:
    """Read `1.5h`, `2` (days), `1.02:03:04.5`; None for what is no timespan or too long."""
    if len(text) > _MAX_CHARACTERS:
        return None
    if span := _SPAN.match(text):
        sign, digits, unit = span.groups()
        size = TIMESPAN_UNITS.get(unit or "d")
        if size is None:
            return None
        whole, _, fraction = digits.partition(".")
        value = int(whole) * size + (int(fraction) * size // 10 ** len(fraction) if fraction else 0)
    elif clock := _CLOCK.match(text):
        sign, days, hours, minutes, seconds, fraction = clock.groups()
        if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
            return None
        value = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds or 0)
        value = value * SECOND + int((fraction or "").ljust(9, "0"))
    else:
        return None
    return None if value > MAX_NS else -value if sign else value


def datetime_ns(text: str) -> int | None:
    """Unix nanoseconds of a time, read as `_time` of an event is; None for what is no time."""
    try:
        return timestamp_ns(text)
    except TimeMismatch:
        return None
