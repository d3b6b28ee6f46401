"""Timespans as text: `1.5h`, `1d2h`, `1.02:30:00`."""

import re

from tailrace.query.values.types import MAX_LONG, MIN_LONG, NS_PER_S

_UNITS_NS = {
    "w": 604_800 * NS_PER_S, "week": 604_800 * NS_PER_S, "weeks": 604_800 * NS_PER_S,
    "d": 86_400 * NS_PER_S, "day": 86_400 * NS_PER_S, "days": 86_400 * NS_PER_S,
    "h": 3_600 * NS_PER_S, "hr": 3_600 * NS_PER_S, "hrs": 3_600 * NS_PER_S,
    "hour": 3_600 * NS_PER_S, "hours": 3_600 * NS_PER_S,
    "m": 60 * NS_PER_S, "min": 60 * NS_PER_S, "mins": 60 * NS_PER_S, "minute": 60 * NS_PER_S, "minutes": 60 * NS_PER_S,
    "s": NS_PER_S, "sec": NS_PER_S, "secs": NS_PER_S, "second": NS_PER_S, "seconds": NS_PER_S,
    "ms": 1_000_000, "milli": 1_000_000, "millis": 1_000_000, "millisecond": 1_000_000, "milliseconds": 1_000_000,
    "us": 1_000, "µs": 1_000, "μs": 1_000, "micro": 1_000, "micros": 1_000, "microsecond": 1_000, "microseconds": 1_000,
    "tick": 100, "ticks": 100, "ns": 1, "nano": 1, "nanos": 1, "nanosecond": 1, "nanoseconds": 1,
}  # fmt: skip


_PART = re.compile(r"(\s*([0-9]*)(\.[0-9]*|)\s*([a-zµμ]+)\s*)")
_CLOCK = re.compile(r"(?:([0-9]+)\.)?([0-9]+):([0-9]+)(?::([0-9]+)(?:\.([0-9]{1,9})[0-9]*)?)?")
_MAX_TIMESPAN_CHARACTERS = 100


def parse_timespan(text: str) -> int | None:
    """Return nanoseconds of `1.5h`, `1d2h`, `100ms`, `10min`, or of `[d.]hh:mm[:ss[.fffffff]]`; None for anything
    else.
    """
    text = text.strip()
    if len(text) > _MAX_TIMESPAN_CHARACTERS:
        return None
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if ":" in rest and (clock := _CLOCK.fullmatch(rest)):
        days, hours, minutes, seconds, fraction = clock.groups("0")
        whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
        return _in_64_bits(sign * (whole * NS_PER_S + int(fraction.ljust(9, "0"))))
    if rest == "0":
        return 0
    total = size = 0
    for part, digits, decimals, unit in _PART.findall(rest):
        unit_ns = _UNITS_NS.get(unit)
        if unit_ns is None or not (digits or len(decimals) > 1):
            return None
        total += int(digits or "0") * unit_ns
        if len(decimals) > 1:
            total += int(decimals[1:]) * unit_ns // 10 ** (len(decimals) - 1)
        size += len(part)
    return _in_64_bits(sign * total) if size and size == len(rest) else None


def _in_64_bits(number: int) -> int | None:
    return number if MIN_LONG <= number <= MAX_LONG else None


def timespan_text(ns: int) -> str:
    """Return nanoseconds as Go writes a duration: `1h30m0s`, `1.5s`, `100ms`, `0s`."""
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    if rest < NS_PER_S:
        for unit_ns, name in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if rest >= unit_ns:
                return f"{sign}{_decimal(rest, unit_ns)}{name}"
        return "0s"
    minutes, below = divmod(rest, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{shown}{_decimal(below, NS_PER_S)}s"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if fraction else str(whole)
