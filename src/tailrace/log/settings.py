"""The settings of the log: the size of its files, and when it refuses appends."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB, MIB


class LogSettings(Struct, frozen=True):
    """Settings of a log, in a directory or in an object store."""

    segment_bytes: Annotated[
        int, Meta(ge=64 * 1024, le=16 * GIB, description="Size at which the log starts its next segment file.")
    ] = 64 * MIB
    min_free_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Free disk space below which ingest is refused with 503, until there is 1.1 times as much.",
        ),
    ] = 512 * MIB
    max_queued_bytes: Annotated[
        int,
        Meta(ge=MIB, description="Most bytes waiting to be written to the log; beyond, ingest is refused with 429."),
    ] = 128 * MIB
    group_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="Most time that events wait for others, to be put into an object store together.",
        ),
    ] = 150
    group_bytes: Annotated[
        int,
        Meta(ge=64 * 1024, le=GIB, description="Size at which events are put into an object store without waiting."),
    ] = 8 * MIB
    put_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Time in which an object store must take a group of events, tried again and again; "
            "beyond, they are refused with 503, and others at once until it takes something again.",
        ),
    ] = 30.0
