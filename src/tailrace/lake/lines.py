"""The lines of batches: NDJSON with the batches' labels, and whole events as `_rest`."""

import re
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events import Batch
from tailrace.lake.fields import REST, SYSTEM_TIME, TIME
from tailrace.lake.leaves import leaves

TIMESTAMP = pa.timestamp("us", tz="UTC")
NS_PER_US = 1_000
NEWLINE = 0x0A
MAX_PIECE_BYTES = 128 * 1024 * 1024  # a column of text has 2 GiB at most, and the paths in `_rest` are repeated there

_EMPTY_OBJECT = re.compile(rb"\{\s*\}")
_encode = msgspec.json.Encoder()


class NdjsonPiece(Struct, frozen=True):
    """Lines that are shredded together."""

    events: bytes
    count: int


def pieces_of(batches: Sequence[Batch], max_bytes: int = MAX_PIECE_BYTES) -> Iterator[NdjsonPiece]:
    """Yield the events of batches with their labels, in order, in pieces of `max_bytes` and at most one event more."""
    texts: list[bytes] = []
    size = count = 0
    for batch in _parts_of(batches, max_bytes):
        events = ndjson_with_labels(batch)
        if texts and size + len(events) > max_bytes:
            yield NdjsonPiece(b"".join(texts), count)
            texts, size, count = [], 0, 0
        texts.append(events)
        size += len(events)
        count += batch.count
    if texts:
        yield NdjsonPiece(b"".join(texts), count)


def _parts_of(batches: Sequence[Batch], max_bytes: int) -> Iterator[Batch]:
    """Yield the batches, those that with their labels have more than `max_bytes` in several."""
    for batch in batches:
        label_bytes = len(_encode.encode(batch.labels)) if batch.labels else 0
        if len(batch.events) + batch.count * label_bytes <= max_bytes:
            yield batch
            continue
        ends = line_ends(batch.events)
        sizes = ends + label_bytes * np.arange(1, batch.count + 1)  # of the lines up to each
        stops = np.searchsorted(sizes, np.arange(max_bytes, int(sizes[-1]), max_bytes), side="right")
        start = first = 0
        for stop in [*np.unique(stops[stops > 0]).tolist(), batch.count]:
            end = int(ends[stop - 1])
            times = batch.times[first:stop]
            yield Batch(batch.dataset, batch.events[start:end], times, stop - first, batch.received_ns, batch.labels)
            start, first = end, stop


def line_ends(events: bytes) -> NDArray[np.int64]:
    """Return the position behind the end of each line."""
    return np.flatnonzero(np.frombuffer(events, np.uint8) == NEWLINE) + 1


def ndjson_with_labels(batch: Batch) -> bytes:
    """Return the batch's NDJSON with its labels as the first members of every event; an event's own value prevails."""
    if not batch.labels:
        return batch.events
    flat = {path: msgspec.Raw(leaf.raw) for path, leaf in leaves(_encode.encode(batch.labels)).items()}
    if not flat:
        return batch.events
    prefix = _encode.encode(flat)[:-1]
    opened = b"\n" + prefix + b","
    if not _EMPTY_OBJECT.search(batch.events):
        events = (b"\n" + batch.events[:-1]).replace(b"\n{", opened)
        if len(events) == len(batch.events) + batch.count * len(prefix):
            return events[1:] + b"\n"
    lines = []
    for line in batch.events.split(b"\n")[:-1]:
        members = line.strip()[1:-1].strip()
        lines.append(prefix + (b"," + members if members else b"") + b"}\n")
    return b"".join(lines)


def whole_events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`: the fallback when shredding fails, so that they stay readable.

    The texts are copied, and bytes that are not UTF-8 replaced, as the result is stored.
    """
    lines = [line for batch in batches for line in ndjson_with_labels(batch).split(b"\n")[:-1]]
    rest = pa.array([line.decode(errors="replace") for line in lines], pa.string())
    return pa.table({**times_of(batches), REST: rest})


def events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`, without copying the batches' bytes: for live tails.

    They filter events before those are shredded; the result is never stored.
    """
    chunks = [_line_array(ndjson_with_labels(batch)) for batch in batches]
    return pa.table({**times_of(batches), REST: pa.chunked_array(chunks, pa.large_string())})


def _line_array(events: bytes) -> pa.Array:
    """Return the lines as strings over the same bytes, each with its newline."""
    offsets = np.concatenate(([0], line_ends(events)))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(events)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def times_of(batches: Sequence[Batch]) -> dict[str, pa.Array]:
    """Return the columns `_time` and `_sysTime` of the events of batches, in order."""
    times = np.concatenate([batch.times for batch in batches])
    counts = [batch.count for batch in batches]
    received = np.repeat(np.array([batch.received_ns for batch in batches], np.int64), counts)
    return {TIME: _timestamps(times), SYSTEM_TIME: _timestamps(received)}


def _timestamps(times_ns: NDArray[np.int64]) -> pa.Array:
    return pa.array(times_ns // NS_PER_US, pa.int64()).view(TIMESTAMP)
