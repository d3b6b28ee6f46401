"""What a request may hold: every limit of parsing, with its unit."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB, MIB

# The work on each byte of the worst body, whose every element is refused, in bytes of valid events.
WORST_CASE_FACTOR = 64


class ExactWayNeeded(Exception):
    """A body was to be parsed in bulk, and some of its events need a look by themselves."""


class Limits(Struct, frozen=True):
    """Limits on one request; a refusal names the limit and its value."""

    max_body_bytes: Annotated[
        int, Meta(ge=1024, le=GIB, description="Largest request body after its content encoding is undone.")
    ] = 64 * MIB
    max_events: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Most events in one request.", extra={"unit": "events"})
    ] = 100_000
    max_event_bytes: Annotated[int, Meta(ge=1024, le=GIB, description="Largest single event, as JSON.")] = 16 * MIB
    max_string_bytes: Annotated[
        int,
        Meta(ge=16, le=GIB, description="Longest text value; a longer one is replaced, its event is kept."),
    ] = 1_000_000  # UTF-8
    max_name_bytes: Annotated[
        int, Meta(ge=1, le=64 * 1024, description="Longest field name; an event with a longer one is refused.")
    ] = 200  # UTF-8
    max_depth: Annotated[
        int,
        Meta(
            ge=1,
            le=500,
            description="Deepest nesting of an event; what lies deeper becomes null.",
            extra={"unit": "levels"},
        ),
    ] = 100  # containers within containers, the event itself being the first
