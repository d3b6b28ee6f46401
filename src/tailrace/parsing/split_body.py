"""A body split into events, on its way to a batch: the good ones as NDJSON, and what was refused."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct

from tailrace.events import Rejection, TooLarge
from tailrace.parsing.fields import Columns
from tailrace.parsing.structure import nested

BOM = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"
DECODE_ERRORS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
RAW = msgspec.json.Decoder(Raw)
RAW_LIST = msgspec.json.Decoder(list[Raw])


class SplitBody(Struct, frozen=True, eq=False):
    """The events of a body that are good so far, and its rejections."""

    ndjson: bytes
    count: int
    indexes: Sequence[int]  # of each event in what the client sent
    rejections: Sequence[Rejection] = ()
    columns: Columns | None = None  # the fields that are read, where they are known


class CheckedEvent(Struct, frozen=True):
    """What became of one event of a body."""

    line: bytes | None  # as it is kept; None where it is refused
    reason: str = ""
    code: str = ""


def joined(events: Sequence[Raw | bytes]) -> bytes:
    """Return events as NDJSON."""
    return b"\n".join(events) + b"\n" if events else b""


def is_event(line: bytes | memoryview, decoder: msgspec.json.Decoder[Any]) -> bool:
    """Whether a decoder of events takes the line."""
    try:
        decoder.decode(line)
    except DECODE_ERRORS:
        return False
    return True


def check_count(text: bytes, max_events: int, mark: bytes, *, is_array: bool) -> None:
    """Raise TooLarge for a body of very many tiny events, before they become as many Python objects.

    A body with few of `mark`, which every event has, passes uncounted.
    """
    if text.count(mark) <= 4 * max_events:
        return
    count = 1 if is_array else 0
    for part in nested(text):
        # In an array its commas part the events, elsewhere the ends of objects do.
        commas = (part.codes == ord(",")) & ~part.inside & (part.depths == 1)
        ends = commas if is_array else (part.steps == -1) & (part.depths == 0)
        count += int(np.count_nonzero(ends))
        if count > max_events:
            raise too_many(max_events)


def too_many(max_events: int) -> TooLarge:
    """Return the error of a request with more events than that."""
    return TooLarge(f"the request holds more than max_events = {max_events} events; nothing of it was stored")
