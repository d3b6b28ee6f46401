"""The budget of a token: how much of answers, and of the engine's time, its queries may take a day."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tailrace.events import BadRequest

Amount = Annotated[float, Meta(ge=0, le=2**53)]


class Budget(Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """What the queries of a token may take a day (UTC); null for as much as they like."""

    rows_per_day: Amount | None = None  # of answers
    bytes_per_day: Amount | None = None  # of answers
    seconds_per_day: Amount | None = None  # that queries ran


def stored_budget(value: Any) -> Budget | None:
    """Return a budget of its JSON in the database."""
    return None if value is None else msgspec.convert(value, Budget)


def checked_budget(given: Any) -> dict[str, Any] | None:
    """Return a budget as it is stored, None for none; raise BadRequest."""
    if not given:
        return None
    try:
        budget = msgspec.convert(given, Budget)
    except msgspec.ValidationError as error:
        names = "rowsPerDay, bytesPerDay, secondsPerDay"
        raise BadRequest(f"budget is not what it may be, an object of numbers ({names}): {error}") from error
    return msgspec.to_builtins(budget) or None
