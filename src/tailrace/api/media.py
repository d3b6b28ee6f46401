"""Content negotiation: the media types of a table of results."""

import itertools
from collections.abc import Callable, Iterator, Mapping

from starlette.responses import Response, StreamingResponse

from tailrace.events import NotAcceptable
from tailrace.query import Result, to_arrow, to_csv, to_json, to_ndjson, to_parquet

JSON = "application/json"
PLAIN: Mapping[str, Callable[[Result], Iterator[bytes]]] = {
    "application/x-ndjson": to_ndjson,
    "text/csv": to_csv,
    "application/vnd.apache.arrow.stream": to_arrow,
    "application/vnd.apache.parquet": to_parquet,
}
TABLES = dict.fromkeys(PLAIN, str)  # as the further answers of a route
FORMATS: Mapping[str, Callable[[Result], bytes | Iterator[bytes]]] = {JSON: to_json, **PLAIN}


def begun(content: bytes | Iterator[bytes]) -> bytes | Iterator[bytes]:
    """Return an answer whose first part is made, so that what cannot be answered is refused; a short one is whole."""
    if isinstance(content, bytes):
        return content
    first = list(itertools.islice(content, 2))
    return b"".join(first) if len(first) < 2 else itertools.chain(first, content)


def answered(content: bytes | Iterator[bytes], headers: Mapping[str, str]) -> Response:
    """Return an answer: whole, or part by part as they are made and its client reads them."""
    if isinstance(content, bytes):
        return Response(content, headers=dict(headers))
    return StreamingResponse(content, headers=dict(headers))


def accepted(header: str) -> str:
    """Return the supported media type with the highest weight in an Accept header, the first of equals.

    An empty header accepts any. Raise NotAcceptable where it names unsupported types only.
    """
    best, most = "", 0.0
    named = [[piece.strip().lower() for piece in part.split(";")] for part in header.split(",") if part.strip()]
    for media_range, *parameters in named:
        found = _first_of(media_range)
        weight = _weight(parameters)
        if found and weight > most:
            best, most = found, weight
    if named and not best:
        raise NotAcceptable(f"Accept is {header[:200]!r}, but the answer may be {', '.join(FORMATS)}")
    return best or JSON


def _first_of(media_range: str) -> str:
    """Return the first supported media type of a range such as `text/*`; "" for none."""
    if media_range in ("*/*", "*"):
        return JSON
    if media_range.endswith("/*"):
        return next((each for each in FORMATS if each.startswith(media_range[:-1])), "")
    return media_range if media_range in FORMATS else ""


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
