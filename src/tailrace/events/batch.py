"""What travels from a request to a table: parsed batch, batch, rejection, receipt."""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events.idempotency import BatchKey


class Rejection(Struct, frozen=True):
    """One event that was refused, and why."""

    index: int  # of the event in what the client sent, from 0
    reason: str  # a sentence for the client
    code: str  # for machines and the counter: "invalid_json", "event_too_large", …
    time_ns: int | None = None  # the event's time, where it could be read
    event: bytes | None = None  # the event as sent, where it could be cut out


class ParsedBatch(Struct, frozen=True, eq=False, gc=False):
    """A body parsed into events: the good ones as NDJSON with their times, and what was refused."""

    events: bytes  # one valid JSON object a line, each line ended by "\n", no other newline
    times: NDArray[np.int64]  # ns since the Unix epoch, one an event
    count: int
    processed_bytes: int  # of the body after content decoding
    rejections: tuple[Rejection, ...] = ()


class OpenDataset(Struct, frozen=True):
    """A dataset that takes events, as a request found it."""

    name: str
    created_ns: int  # ns since the Unix epoch; another dataset of the name has another
    primary_key: str = ""  # the id field of a dataset that is upserted into


class Batch(Struct, frozen=True, eq=False, gc=False):
    """Events for one dataset, as the log keeps them."""

    dataset: str
    events: bytes  # one valid JSON object a line, each line ended by "\n", no other newline
    times: NDArray[np.int64]  # ns since the Unix epoch, one an event
    count: int
    received_ns: int  # ns since the Unix epoch
    labels: dict[str, Any] = {}  # constant fields of every event; an event's own value wins
    keys: tuple[BatchKey, ...] = ()  # of the requests that it is of, where they have some


class Receipt(Struct, frozen=True):
    """What became of one request: its events are durable once this exists."""

    stored: int  # events that are durable
    rejections: tuple[Rejection, ...]
    processed_bytes: int  # of the body after content decoding
    position: int  # of the batch in the log; 0 when there was nothing to store
    repeated: tuple[int, ...] = ()  # places in the batch of the events that are stored already, and not once more
