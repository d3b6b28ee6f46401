"""Times as the options of commands have them: RFC 3339, a day, or so long ago."""

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(?:now)?-(\d+(?:\.\d+)?)([smhdw])")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
NS_PER_S = 1_000_000_000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime) -> datetime:
    """Return a time in UTC: `2026-05-28`, `2026-05-28T12:00:00Z`, `-7d`. Raise ValueError."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: it is like 2026-05-28, 2026-05-28T12:00:00Z or -7d") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def is_relative(text: str) -> bool:
    """Return whether a time is another one when it is given again."""
    return _AGO.fullmatch(text) is not None


def shown(time: datetime) -> str:
    """Return a time in UTC as RFC 3339."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rfc3339_ns(text: str) -> int:
    """Return a time of RFC 3339 in ns since 1970, all digits of it. Raise ValueError."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of RFC 3339")
    seconds = datetime.fromisoformat(f"{found[1]}{found[3]}".upper()).timestamp()
    return int(seconds) * NS_PER_S + int((found[2] or "").ljust(9, "0"))


def shown_ns(time_ns: int) -> str:
    """Return a time in UTC as RFC 3339, to the nanosecond."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:09}Z"
