"""One syslog message as an event: RFC 5424, RFC 3164, and what senders emit that is neither.

What a message does not say is no field, and what cannot be read stays in `message`, so that nothing is lost.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

from tailrace.events.times import rfc3339
from tailrace.events.timestamps import MAX_NS, NS_PER_S, TimeMismatch, timestamp_ns

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8)),
)  # fmt: skip
# Named as Axiom's proxy for syslog has them.
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
MAX_NAME_CHARACTERS = 64  # of an element or parameter of structured data; RFC 5424 has 32
TIME = "_time"
UNHELD_TIME = "timestamp"  # the field of a time that is outside the years 1677 to 2262
MAX_AHEAD_NS = 7 * 86_400 * NS_PER_S  # of a time without a year, which else is of the year before
LEAST_NS = 10**17  # of what is nanoseconds by its size

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:[Zz]|[+-]\d\d:?\d\d)?"
_NAME = rf'[^\s=\]"]{{1,{MAX_NAME_CHARACTERS}}}'
_PRIORITY = re.compile(r"<(\d{1,3})>")
_HEADER = re.compile(rf"[1-9]\d{{0,2}} (-|{_ISO}) (\S+) (\S+) (\S+) (\S+)(?: |$)", re.ASCII)
_ELEMENT = re.compile(rf'\[({_NAME})((?:\s+{_NAME}="(?:[^"\\]|\\.)*")*)\s*\]', re.DOTALL)
_PARAMETER = re.compile(rf'({_NAME})="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')

# Offsets of RFC 822 and of central Europe in minutes; other names of zones mean several things.
_ZONES = {
    "UTC": 0, "GMT": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480,
    "PDT": -420, "CET": 60, "CEST": 120,
}  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = rf"(?P<month>{'|'.join(_MONTHS)})\s+(?P<day>\d{{1,2}})(?:\s+(?P<year>(?:19|20)\d\d))?"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
_ENDS = r"(?=[:\s]|$)"
_ZONE = rf"(?:\s+(?P<zone>{'|'.join(_ZONES)}|[+-]\d\d:?\d\d){_ENDS})?(?:\s+(?P<late_year>(?:19|20)\d\d){_ENDS})?"
# Cisco's routers send a number, and may send their name, before the time, whose sign says that the clock is not exact.
_TIMED = re.compile(
    rf"\s*(?:(?P<sequence>\d{{1,10}}):\s+)?(?:(?P<origin>[\w.-]{{1,255}}):\s+)?[*.]?"
    rf"(?:(?P<iso>{_ISO})|{_DATE}\s+{_CLOCK}{_ZONE})(?::?\s+|:?$)",
    re.ASCII,
)
_TAG = re.compile(r"([^\s:\[\]]{1,64})(?:\[([^\]\s]{0,64})\](?::(?=\s|$))?(?=\s|$)|:(?=\s|$))\s?")
_HOST = re.compile(r"(\S{1,255})(?:\s+|$)")


def syslog_event(text: str, received_ns: int, zone: tzinfo, *, has_structured_data: bool = True) -> dict[str, Any]:
    """Return a message as an event.

    A time without a zone is of `zone`, one without a year of the last year in which it is not a week ahead. Of a sender
    that has no structured data, and nothing in its place, the message follows the header of RFC 5424 at once.
    """
    event: dict[str, Any] = {}
    start = 0
    priority = _PRIORITY.match(text)
    if priority is not None and int(priority[1]) <= 191:
        number = int(priority[1])
        event["priority"] = number
        event["facility"], event["severity"] = FACILITIES[number >> 3], SEVERITIES[number & 7]
        start = priority.end()
        header = _HEADER.match(text, start)
        if header is not None and _read_header(event, header, text, zone, has_structured_data):
            return event
    _read_traditional(event, text, start, received_ns, zone)
    return event


# RFC 5424.


def _read_header(
    event: dict[str, Any], header: "re.Match[str]", text: str, zone: tzinfo, has_structured_data: bool
) -> bool:
    """Read a message whose header is RFC 5424's; return False, and leave the event as it is, where it is none."""
    time, *values = header.groups()
    if time != "-":
        time_ns = _iso_ns(time, zone)
        if time_ns is None:
            return False
        _set_time(event, time_ns, time)
    for name, value in zip(("hostname", "app_name", "proc_id", "msg_id"), values, strict=True):
        if value != "-":
            event[name] = value
    data, end = _structured_data(text, header.end()) if has_structured_data else ({}, header.end())
    if data:
        event["structured_data"] = data
    event["message"] = text[end:].removeprefix("\ufeff")
    return True


def _structured_data(text: str, start: int) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the structured data that begins there, and where the message does; what is malformed is of the message.

    A parameter that is repeated, as the RFC allows, is a list of its values.
    """
    if text.startswith("-", start) and text[start + 1 : start + 2] in ("", " "):
        return {}, min(start + 2, len(text))
    found: dict[str, dict[str, Any]] = {}
    at = start
    while element := _ELEMENT.match(text, at):
        values = found.setdefault(element[1], {})
        for name, raw in _PARAMETER.findall(element[2]):
            value = _ESCAPED.sub(r"\1", raw) if "\\" in raw else raw
            known = values.get(name)
            if known is None:
                values[name] = value
            elif isinstance(known, list):
                known.append(value)
            else:
                values[name] = [known, value]
        at = element.end()
    if at > start and text[at : at + 1] not in ("", " "):
        return {}, start
    return found, min(at + 1, len(text)) if at > start else at


# RFC 3164, and what is like it.


def _read_traditional(event: dict[str, Any], text: str, start: int, received_ns: int, zone: tzinfo) -> None:
    timed = _TIMED.match(text, start)
    time_ns = _traditional_ns(timed, received_ns, zone) if timed is not None else None
    if timed is None or time_ns is None:
        if start:
            text = text[start:].removeprefix(" ")
            _read_tag(event, text)
        else:
            event["message"] = text
        return
    _set_time(event, time_ns, timed[0].strip())
    if timed["sequence"]:
        event["sequence"] = int(timed["sequence"])
    rest = text[timed.end() :]
    if timed["origin"]:
        event["hostname"] = timed["origin"]
    elif _TAG.match(rest) is None:
        host = _HOST.match(rest)
        if host is not None:
            event["hostname"] = host[1]
            rest = rest[host.end() :]
    _read_tag(event, rest)


def _read_tag(event: dict[str, Any], text: str) -> None:
    """Read the name of a program, with the number of its process where that is there, and its message."""
    tag = _TAG.match(text)
    if tag is not None:
        event["app_name"] = tag[1]
        if tag[2]:
            event["proc_id"] = tag[2]
        text = text[tag.end() :]
    event["message"] = text.removeprefix("\ufeff")


def _traditional_ns(timed: "re.Match[str]", received_ns: int, zone: tzinfo) -> int | None:
    """Return the time of a message, None where there is no such time."""
    if timed["iso"]:
        return _iso_ns(timed["iso"], zone)
    year = timed["year"] or timed["late_year"]
    named = timed["zone"]
    try:
        zone = _offset(named) if named else zone
    except ValueError:
        return None
    hour, minute, second = int(timed["hour"]), int(timed["minute"]), int(timed["second"])
    if hour > 23 or minute > 59 or second > 60:
        return None
    received_year = datetime.fromtimestamp(received_ns // NS_PER_S, UTC).year
    years = (int(year),) if year else range(received_year - 4, received_year + 2)
    times = []
    for each in years:
        try:
            day = date(each, _MONTHS.index(timed["month"]) + 1, int(timed["day"]))
        except ValueError:  # such as February 29
            continue
        clock = datetime(day.year, day.month, day.day, hour, minute, min(second, 59), tzinfo=zone)
        times.append(_ns(clock, timed["fraction"]) + (NS_PER_S if second == 60 else 0))
    return max((each for each in times if year or each <= received_ns + MAX_AHEAD_NS), default=None)


def _offset(zone: str) -> tzinfo:
    """Return a zone by its name or offset; raise ValueError for an offset that is none."""
    minutes = _ZONES.get(zone)
    if minutes is None:
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        minutes = -minutes if zone[0] == "-" else minutes
    return timezone(timedelta(minutes=minutes))


def _iso_ns(text: str, zone: tzinfo) -> int | None:
    """Return the time of RFC 3339, also without a zone; None where there is no such time."""
    text = text.replace(",", ".").upper()
    try:
        if text[-1] == "Z" or text[-6] in "+-" or text[-5] in "+-":
            return timestamp_ns(text)
        clock = datetime.fromisoformat(text[:19]).replace(tzinfo=zone)
        return _ns(clock, text[20:])
    except (TimeMismatch, ValueError):
        return None


def _ns(clock: datetime, fraction: str | None) -> int:
    """Return a time with its fraction of a second, in digits, in ns since the Unix epoch."""
    return (clock - _EPOCH) // timedelta(seconds=1) * NS_PER_S + int((fraction or "0").ljust(9, "0"))


def _set_time(event: dict[str, Any], time_ns: int, sent: str) -> None:
    """Set the time of an event, as text where a small number might be taken for another unit.

    One that int64 nanoseconds cannot hold, as of a clock that was never set, is kept as it was sent in another field.
    """
    if -MAX_NS <= time_ns <= MAX_NS:
        event[TIME] = time_ns if time_ns >= LEAST_NS else rfc3339(time_ns)
    else:
        event[UNHELD_TIME] = sent
