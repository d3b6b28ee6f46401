"""The times of a query or management request: RFC 3339, or relative to now."""

import re
import time

from tailrace.events import BadRequest
from tailrace.events.times import EXAMPLE
from tailrace.query.apl.times import SECOND, datetime_ns
from tailrace.query.legacy import duration_ns

ZERO_TIME = "0001-01-01T00:00:00"  # Go's zero time, which its client sends for none
# A space before an offset, from a plus in a query string that was not encoded.
_LOST_PLUS = re.compile(r"^(now|[^\sT]*+T\S*+) (?=\d\S*+$)")
_RELATIVE = re.compile(r"(?:qr-)?now(?:([+-])(.+))?")
_WEEKS = re.compile(r"(\d+(?:\.\d+)?)w")
_DAY_NS = 24 * 3600 * SECOND


def time_range(start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """Return the time range of a request in Unix nanoseconds, None for a missing bound. Raise BadRequest."""
    now_ns = time.time_ns()
    start_ns, end_ns = moment("startTime", start, now_ns), moment("endTime", end, now_ns)
    if start_ns is not None and end_ns is not None and start_ns > end_ns:
        raise BadRequest(f"startTime {start} is after endTime {end}")
    return start_ns, end_ns


def moment(name: str, text: str | None, now_ns: int) -> int | None:
    """Return a time of a request, RFC 3339 or relative (`now-1h`), in Unix nanoseconds; None for none.

    A `Z` after an offset, which the Python client sends, is ignored. Raise BadRequest.
    """
    text = (text or "").strip()
    if not text or text.startswith(ZERO_TIME):
        return None
    relative = _RELATIVE.fullmatch(text)
    if relative is not None:
        sign, span = relative.groups()
        if sign is None:
            return now_ns
        size = _span_ns(span)
        if size is not None:
            return now_ns + size if sign == "+" else now_ns - size
    else:
        found = datetime_ns(text)
        if found is None and text.endswith("Z"):
            found = datetime_ns(text.removesuffix("Z"))
        if found is not None:
            return found
    raise BadRequest(f"{name} is {text!r}, but it is a time like {EXAMPLE}, or relative like 'now' or 'now-1h'")


def with_plus(text: str) -> str:
    """Return a time of a query string with the plus that became a space because it was not encoded."""
    return _LOST_PLUS.sub(r"\1+", text)


def _span_ns(text: str) -> int | None:
    weeks = _WEEKS.fullmatch(text.strip())
    return round(float(weeks[1]) * 7 * _DAY_NS) if weeks else duration_ns(text)
