"""Times as the options of commands have them: RFC 3339, a day, or so long ago."""

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(?:now)?-(\d+(?:\.\d+)?)([smhdw])")
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
