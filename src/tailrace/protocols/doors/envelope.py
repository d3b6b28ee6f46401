"""What a sender says of an event beside it, such as its host, put among the event's own fields."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Raw

from tailrace.events import ParsedBatch
from tailrace.parsing import time_member

TIME = "_time"
SENT_TIME = "_user_time"  # the name of an event's own `_time` where the envelope has the time


_LINE = re.compile(rb"[^\n]+")


def numbered(parsed: ParsedBatch) -> Iterator[tuple[int, bytes, int]]:
    """Yield the events of a body: the number of each in what was sent, from 0, its JSON, and its time in ns."""
    refused = {rejection.index for rejection in parsed.rejections}
    numbers = (number for number in range(parsed.count + len(refused)) if number not in refused)
    lines = _LINE.finditer(parsed.events)
    for number, line, time_ns in zip(numbers, lines, parsed.times.tolist(), strict=True):
        yield number, line[0], time_ns


def merged(event: Mapping[str, Any], more: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields of an event and those that its envelope adds.

    Where both have a name, the event keeps its own; the other stands under `prefix` and the name, unless it is equal.
    """
    fields = dict(event)
    for name, value in more.items():
        own = fields.setdefault(name, value)
        if own is not value and not _is_equal(own, value):
            fields[f"{prefix}.{name}"] = value
    return fields


def timed(event: dict[str, Any], time_ns: int) -> dict[str, Any]:
    """Return the fields of an event with its time, in ns since the Unix epoch; its own `_time` is renamed."""
    if TIME in event:
        event[SENT_TIME] = event.pop(TIME)
    event[TIME] = Raw(time_member(time_ns))
    return event


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Raw) and isinstance(other, Raw):
        return bytes(one) == bytes(other)
    return type(one) is type(other) and bool(one == other)
