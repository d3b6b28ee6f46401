"""Lines of log files as events: logfmt, the access logs of web servers, syslog, or each line as a message."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

Event = dict[str, Any]
Parse = Callable[[str], Event | None]

TIME_KEYS = ("time", "ts", "timestamp", "t")
MAX_AHEAD = timedelta(days=1)  # of a time without a year; a later one is of last year

_PAIR = re.compile(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|(?!")(\S*))(?:\s+|$)')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*|\d{10,19}(?:\.\d+)?")
# https://httpd.apache.org/docs/2.4/logs.html#common, and nginx's format of the name "combined".
_ACCESS = re.compile(
    r'(?P<remote_addr>\S+) (?P<ident>\S+) (?P<remote_user>.+?) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-)(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<user_agent>(?:[^"\\]|\\.)*)".*)?'
)
_REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<path>.*?)(?: (?P<protocol>HTTP/[\d.]+))?")
_ACCESS_TIME = "%d/%b/%Y:%H:%M:%S %z"
# RFC 5424, section 6, and RFC 3164, section 4.1, as files have it: mostly without the priority.
_SYSLOG = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<time>\S+) (?P<hostname>\S+) (?P<app_name>\S+) (?P<process_id>\S+) "
    r"(?P<message_id>\S+) (?P<structured_data>-|(?:\[(?:[^\]\\]|\\.)*\])+) ?(?P<message>.*)"
)
_OLD_SYSLOG = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) "
    r"(?P<hostname>\S+) (?P<app_name>[^\s:\[]+)(?:\[(?P<process_id>[^\]]*)\])?: ?(?P<message>.*)"
)
_SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")


def raw(line: str) -> Event:
    """Return the line as the message of an event."""
    return {"message": line}


def logfmt(line: str) -> Event | None:
    """Return the pairs of a line like `level=info msg="it works" n=3`; a key alone is true; None for other lines."""
    event: Event = {}
    at = 0
    while at < len(line):
        pair = _PAIR.match(line, at)
        if pair is None:
            word = re.compile(r"([^\s=\"]+)(?:\s+|$)").match(line, at)
            if word is None:
                return None
            event[word[1]] = True
            at = word.end()
            continue
        key, quoted, bare = pair.groups()
        event[key] = _unescaped(quoted) if quoted is not None else _value(bare)
        at = pair.end()
    if not any(value is not True for value in event.values()):
        return None
    if "_time" not in event:
        for key in TIME_KEYS:
            if _TIME.fullmatch(str(event.get(key, ""))):
                event["_time"] = event[key]
                break
    return event


def combined(line: str) -> Event | None:
    """Return the fields of a line of an access log in the common or combined format, None for another line."""
    found = _ACCESS.fullmatch(line)
    if found is None:
        return None
    event: Event = {name: value for name, value in found.groupdict().items() if value not in (None, "-")}
    try:
        event["_time"] = datetime.strptime(event.pop("time"), _ACCESS_TIME).isoformat()
    except ValueError:
        return None
    event["status"] = int(event["status"])
    if "bytes" in event:
        event["bytes"] = int(event["bytes"])
    request = _REQUEST.fullmatch(event.get("request", ""))
    if request is not None:
        del event["request"]
        event |= {name: value for name, value in request.groupdict().items() if value is not None}
    return event


def syslog(line: str, now: datetime) -> Event | None:
    """Return what a line of syslog says, in the form of RFC 5424 or 3164, None for another line.

    A time without a year is the last such time before a day from now, in now's time zone.
    """
    found = _SYSLOG.fullmatch(line) or _OLD_SYSLOG.fullmatch(line)
    if found is None:
        return None
    event: Event = {name: value for name, value in found.groupdict().items() if value not in (None, "-")}
    priority = event.pop("priority", None)
    if priority is not None:
        event["facility"], severity = divmod(int(priority), len(_SEVERITIES))
        event["severity"] = _SEVERITIES[severity]
    time = event.pop("time", None)
    if time is not None:
        event["_time"] = time if time[0].isdigit() else _with_year(time, now)
        if event["_time"] is None:
            return None
    return event


def _with_year(text: str, now: datetime) -> str | None:
    for year in (now.year + 1, now.year, now.year - 1):
        try:
            time = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=now.tzinfo)
        except ValueError:  # the 29th of February of another year, or no time at all
            continue
        if time <= now + MAX_AHEAD:
            return time.isoformat()
    return None


def parsers(now: datetime) -> Mapping[str, Parse]:
    """Return the parsers of lines, by the names of their formats."""
    return {"raw": raw, "logfmt": logfmt, "combined": combined, "syslog": lambda line: syslog(line, now)}


def recognised(lines: list[str], now: datetime) -> str:
    """Return the format that most of the lines have, `raw` where none has more than half of them."""
    for name in ("combined", "syslog", "logfmt"):
        parse = parsers(now)[name]
        if sum(parse(line) is not None for line in lines) * 2 > len(lines):
            return name
    return "raw"


def _value(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
