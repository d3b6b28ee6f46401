"""The settings of live tails: how many readers there may be, and what waits for one."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import MIB


class TailLimits(Struct, frozen=True):
    """Limits on the readers of live tails; a refusal names the limit and its value."""

    readers: Annotated[
        int,
        Meta(
            ge=0,
            le=2048,
            description="Readers of live tails; further ones are refused with 429.",
            extra={"unit": "readers"},
        ),
    ] = 256
    readers_per_token: Annotated[
        int,
        Meta(
            ge=1,
            le=2048,
            description="Readers of live tails that one token may have; further ones are refused with 429.",
            extra={"unit": "readers"},
        ),
    ] = 16
    queue_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            description="Most events that wait for one reader of a live tail; what comes beyond them it is told it "
            "missed.",
        ),
    ] = 16 * MIB
    heartbeat_s: Annotated[
        float,
        Meta(gt=0, le=30, description="Time without an event after which a live tail sends a comment."),
    ] = 15.0
