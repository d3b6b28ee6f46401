"""Times as requests give them and as protocols write them."""

import time
from datetime import UTC, datetime, timedelta

from tailrace.events.errors import BadRequest
from tailrace.events.timestamps import TimeMismatch, timestamp_ns

EXAMPLE = "2030-01-31T00:00:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_QUOTED_CHARACTERS = 100


def rfc3339(time_ns: int) -> str:
    """Return a time in ns since the Unix epoch as RFC 3339 in UTC, its fraction without trailing zeros."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    text = f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}T"
    text += f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + "Z"


def given_time(text: str, name: str) -> datetime | None:
    """Return the time in UTC, cut to microseconds, that a request gives as `name`; None for "" and Go's zero time.

    Any text is a time here that is one as `_time` of an event. Raise BadRequest, which says what is wrong with it.
    """
    if not text:
        return None
    try:
        time = _EPOCH + timedelta(microseconds=timestamp_ns(text) // 1000)
    except TimeMismatch as mismatch:
        reason = str(mismatch)
    except OverflowError:
        reason = "it is outside the years 1 to 9999"
    else:
        return None if time.year == 1 else time
    quoted = repr(text[:_MAX_QUOTED_CHARACTERS])
    raise BadRequest(f"{name} is {quoted}, which is no time: {reason}; RFC 3339 writes one like {EXAMPLE}")
