"""The lines of batches: NDJSON with the batches' labels, and whole events as `_rest`."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.events import Batch
from tailrace.lake.fields import REST, SYSTEM_TIME, TIME
from tailrace.lake.leaves import leaves
from tailrace.native.scanner import prefixed

TIMESTAMP = pa.timestamp("us", tz="UTC")
NS_PER_US = 1_000
NEWLINE = 0x0A
MAX_PIECE_BYTES = 128 * 1024 * 1024  # a column of text has 2 GiB at most, and the paths in `_rest` are repeated there

_SPACE = b" \t\r"
_FEW = 4  # events, which get their labels here sooner than in native code
_encode = msgspec.json.Encoder()

Lines = bytes | memoryview
"""NDJSON."""


class NdjsonPiece(Struct, frozen=True):
    """Lines that are shredded together."""

    events: Lines
    count: int


def pieces_of(batches: Sequence[Batch], max_bytes: int = MAX_PIECE_BYTES) -> Iterator[NdjsonPiece]:
    """Yield the events of batches with their labels, in order, in pieces of `max_bytes` and at most one event more."""
    texts: list[Lines] = []
    size = count = 0
    for batch in _parts_of(batches, max_bytes):
        events = ndjson_with_labels(batch)
        if texts and size + len(events) > max_bytes:
            yield NdjsonPiece(_joined(texts), count)
            texts, size, count = [], 0, 0
        texts.append(events)
        size += len(events)
        count += batch.count
    if texts:
        yield NdjsonPiece(_joined(texts), count)


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


def _joined(texts: Sequence[Lines]) -> Lines:
    return texts[0] if len(texts) == 1 else b"".join(texts)


def line_ends(events: Lines) -> NDArray[np.int64]:
    """Return the position behind the end of each line."""
    return np.flatnonzero(np.frombuffer(events, np.uint8) == NEWLINE) + 1


def ndjson_with_labels(batch: Batch) -> Lines:
    """Return the batch's NDJSON with its labels as the first members of every event; an event's own value prevails."""
    prefix = _prefix_of(_encode.encode(batch.labels)) if batch.labels else b""
    if not prefix:
        return batch.events
    lines = prefixed(batch.events, batch.count, prefix) if batch.count > _FEW else None
    return prefixed_exactly(batch.events, prefix) if lines is None else lines


@lru_cache(maxsize=256)
def _prefix_of(labels: bytes) -> bytes:
    """Return labels as an object of flattened paths without its last brace; nothing where they have no value."""
    flat = {path: msgspec.Raw(leaf.raw) for path, leaf in leaves(labels).items()}
    return _encode.encode(flat)[:-1] if flat else b""


def prefixed_exactly(events: bytes, prefix: bytes) -> bytes:
    """Return what `prefixed` does, a line at a time."""
    lines: list[bytes] = []
    for line in events.split(b"\n")[:-1]:
        members = line.lstrip(_SPACE)[1:].lstrip(_SPACE)
        lines += (prefix, b"" if members.startswith(b"}") else b",", members, b"\n")
    return b"".join(lines)


def whole_events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`: the fallback when shredding fails, so that they stay readable.

    The texts are copied, and bytes that are not UTF-8 replaced, as the result is stored.
    """
    lines = [line for batch in batches for line in bytes(ndjson_with_labels(batch)).split(b"\n")[:-1]]
    rest = pa.array([line.decode(errors="replace") for line in lines], pa.string())
    return pa.table({**times_of(batches), REST: rest})


def events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`, without copying the batches' bytes: for live tails.

    They filter events before those are shredded; the result is never stored.
    """
    chunks = [_line_array(ndjson_with_labels(batch)) for batch in batches]
    return pa.table({**times_of(batches), REST: pa.chunked_array(chunks, pa.large_string())})


def _line_array(events: Lines) -> pa.Array:
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
