"""Paging of lists by `limit` and `offset` in the query string."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from msgspec import Meta
from starlette.requests import Request

from tailrace.events import BadRequest
from tailrace.protocols.http import ParameterDoc

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
LIMIT = ParameterDoc(
    "limit", f"How many at most; {DEFAULT_LIMIT} where it is not given.", Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
)
OFFSET = ParameterDoc("offset", "How many are passed over first.", Annotated[int, Meta(ge=0)])

T = TypeVar("T")


def page(request: Request, items: Sequence[T]) -> list[T]:
    """Return the page of the items; raise BadRequest for a limit outside 1 to MAX_LIMIT or an offset below 0."""
    offset = _number(request, "offset", 0, least=0)
    limit = _number(request, "limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
    return list(items[offset : offset + limit])


def _number(request: Request, name: str, default: int, *, least: int, most: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    # At most as many digits as a 64-bit integer has.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if number < least or (most is not None and number > most):
        raise BadRequest(f"{name} is {text[:40]!r}, but it may be {least} to {most or 'any number'}")
    return number
