"""The parameters of Loki's query API: times, steps, limits and queries, as Loki reads them."""

import re
import time
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from tailrace.api.services import read_body
from tailrace.events import BadRequest
from tailrace.query.apl.times import datetime_ns
from tailrace.query.logql.parser import MAX_DURATION_NS, NS_PER_S, duration_ns, parse
from tailrace.query.logql.tree import LogQuery, Matcher, Metric

DEFAULT_LIMIT, MAX_LIMIT = 100, 5000  # of lines, as in Loki
DEFAULT_RANGE_NS = 3600 * NS_PER_S
DEFAULT_POINTS = 250  # where no step is asked for, as in Loki
_DIGITS = re.compile(r"\d{1,19}")

Parameters = ImmutableMultiDict[str, str]


async def parameters_of(request: Request) -> Parameters:
    """Return the parameters of the URL, and of the body of a form, which come last and so count."""
    found = request.query_params.multi_items()
    if request.method == "POST":
        body = (await read_body(request)).decode("utf-8", "replace")
        found += parse_qsl(body, keep_blank_values=True)
    return ImmutableMultiDict(found)


def query_of(parameters: Parameters) -> LogQuery | Metric:
    text = parameters.get("query", "")
    if not text.strip():
        raise BadRequest("the parameter query is missing")
    return parse(text)


def selector_of(parameters: Parameters) -> tuple[Matcher, ...]:
    return matchers_of(parameters.get("query", ""))


def matchers_of(text: str) -> tuple[Matcher, ...]:
    tree = parse(text) if text.strip() else LogQuery(())
    if not isinstance(tree, LogQuery):
        raise BadRequest(f'{text[:40]!r} is no selector of streams, such as {{job="api"}}')
    return tree.matchers


def range_of(parameters: Parameters) -> tuple[int, int]:
    """Return the time of a request, as Loki reads it: the hour before now where nothing is given."""
    end_ns = time_of("end", parameters.get("end"))
    if end_ns is None:
        end_ns = time.time_ns()
    since = parameters.get("since")
    since_ns = duration_ns(since) if since else DEFAULT_RANGE_NS
    if since_ns is None:
        raise BadRequest(f"since is {since!r}, but it is a duration such as 1h")
    start_ns = time_of("start", parameters.get("start"))
    if start_ns is None:
        start_ns = max(end_ns - since_ns, -MAX_DURATION_NS)
    if start_ns > end_ns:
        raise BadRequest("start is after end")
    return start_ns, end_ns


def time_of(name: str, text: str | None) -> int | None:
    """Return a time: RFC 3339, seconds with a fraction, or whole seconds or ns by how many digits there are."""
    if not text:
        return None
    if _DIGITS.fullmatch(text):
        found: int | None = int(text) * (NS_PER_S if len(text) <= 10 else 1)  # as Loki's ParseTime tells them apart
    else:
        found = datetime_ns(text)
    if found is None:
        try:
            found = round(float(text) * NS_PER_S)
        except (ValueError, OverflowError):
            raise BadRequest(
                f"{name} is {text[:40]!r}, but it is a time in ns or seconds since 1970, or RFC 3339"
            ) from None
    return max(min(found, MAX_DURATION_NS), -MAX_DURATION_NS)


def step_of(text: str | None, start_ns: int, end_ns: int) -> int:
    if not text:
        return max((end_ns - start_ns) // DEFAULT_POINTS // NS_PER_S, 1) * NS_PER_S
    found = duration_ns(text)
    if found is None:
        try:
            found = round(float(text) * NS_PER_S)
        except (ValueError, OverflowError):
            found = 0
    if found <= 0:
        raise BadRequest(f"step is {text[:40]!r}, but it is a number of seconds, or a duration such as 15s")
    return found


def limit_of(text: str | None, default: int = DEFAULT_LIMIT) -> int:
    if not text:
        return default
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise BadRequest(f"limit is {text[:40]!r}, but it may be 1 to {MAX_LIMIT}")
    return int(text)
