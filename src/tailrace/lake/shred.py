"""NDJSON to Arrow columns, exactly: every value comes out with its type, at any mix of types.

The fast path takes whole batches through native calls (see `fast_path`). What its schema refuses takes the exact path,
event by event: an event with a field or a type that has no column, an empty object, an integer beyond 64 bits. The
registry learns from those, so that what is common is soon on the fast path.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tailrace.events import Batch
from tailrace.lake.fast_path import EVENTS, FastPathSchema
from tailrace.lake.fields import REST, SYSTEM_TIME, TIME, Fields
from tailrace.lake.leaves import Leaf, leaves, value_of
from tailrace.lake.snapshot import PhysicalColumn

ARROW_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "array": pa.string(),
}
TIMESTAMP = pa.timestamp("us", tz="UTC")
NS_PER_US = 1_000
ROWS_PER_SLICE = 8_192  # of the Arrow table that DuckDB reads: what its threads share out
SAMPLE_EVENTS = 500
LEARN_SHARE = 10  # the registry is looked over when a tenth more events have come, at most SAMPLE_EVENTS
GROUP_LINES = 64  # decoded at once while looking for the lines that do not fit
WORTH_PASSING = 0.5  # share of lines that the schema must pass to be taken apart from the others

_EMPTY_OBJECT = re.compile(rb"\{\s*\}")
_encode = msgspec.json.Encoder()


class Shredder:
    """Shreds the batches of one dataset. Not thread-safe."""

    def __init__(self, fields: Fields, connection: duckdb.DuckDBPyConnection) -> None:
        self._fields = fields
        self._connection = connection
        self._schema: FastPathSchema | None = None  # built when it is needed: most datasets of a start may stay idle
        self._unlearned = 0  # events since the registry was last looked over

    def shred(self, batches: Sequence[Batch]) -> pa.Table:
        """Return the events of the batches, in order, as one table.

        Columns: `_time` and `_sysTime` (UTC microseconds), the registry's columns that have a value here, and `_rest`
        (JSON text or null) where any event has one.
        """
        events = b"".join(labelled(batch) for batch in batches)
        times = np.concatenate([batch.times for batch in batches])
        counts = [batch.count for batch in batches]
        received = np.repeat(np.array([batch.received_ns for batch in batches], np.int64), counts)
        columns = self._columns(events, len(times))
        columns = {TIME: _timestamps(times), SYSTEM_TIME: _timestamps(received), **columns}
        return pa.table(columns)

    def _columns(self, events: bytes, count: int) -> dict[str, pa.ChunkedArray | pa.Array]:
        odd = _lines_with_empty_objects(events)
        lines: list[bytes] = []
        encoded = None if odd else self._prove(events)
        if encoded is None:
            lines = events.split(b"\n")[:-1]
            if self._learn(lines) and not odd:
                encoded = self._prove(events)
        self._fields.count_events(count)
        return self._split(lines, odd) if encoded is None else self._fast(self._current_schema(), encoded, count)

    def _prove(self, events: bytes) -> bytes | None:
        """Return the same events written anew, with no key doubled, if the registry has a column for every value."""
        try:
            return _encode.encode_lines(self._current_schema().decoder.decode_lines(events))
        except msgspec.DecodeError:
            return None

    def _learn(self, lines: list[bytes]) -> bool:
        """Give columns to what a sample of the lines shows to be dense; whether the registry changed.

        Not for every small batch of a dataset that has seen much: only once as many events have come as it takes to
        change what is dense.
        """
        self._unlearned += len(lines)
        if self._unlearned < min(SAMPLE_EVENTS, self._fields.recent_events // LEARN_SHARE):
            return False
        self._unlearned = 0
        step = max(1, len(lines) // SAMPLE_EVENTS) | 1  # odd: events that alternate are both met
        sample = lines[::step]
        seen: Counter[tuple[tuple[str, ...], str]] = Counter()
        for line in sample:
            seen.update((leaf.keys, leaf.type) for leaf in leaves(line).values())
        before = self._fields.version
        self._fields.note_nulls(keys for keys, value_type in seen if value_type == "null")
        self._fields.promote(seen, sample=len(sample), events=len(lines))
        return self._fields.version != before

    def _split(self, lines: list[bytes], odd: set[int]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Fast columns for the lines that the schema passes; for the others what `_beside` finds; back in order."""
        schema = self._current_schema()
        passed, passed_at = _decode_fitting(schema.decoder, lines, odd)
        if len(passed) < len(lines) * WORTH_PASSING:
            return self._beside(lines, odd)
        refused_at = sorted(set(range(len(lines))).difference(passed_at))
        beside = self._beside(
            [lines[index] for index in refused_at], {row for row, index in enumerate(refused_at) if index in odd}
        )
        return _interleave(self._fast(schema, _encode.encode_lines(passed), len(passed)), passed_at, beside, refused_at)

    def _beside(self, lines: list[bytes], odd: set[int]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Fast columns and a rest for the lines whose types fit, exact columns for the others, back in order."""
        schema = self._current_schema()
        fitting, fitting_at = _decode_fitting(schema.open_decoder, lines, odd)
        rests, unfit = self._rests([lines[index] for index in fitting_at]) if fitting else ([], set())
        kept = [row for row in range(len(fitting)) if row not in unfit]
        fast_at = [fitting_at[row] for row in kept]
        exact_at = sorted(set(range(len(lines))).difference(fast_at))
        exact = self._exact([lines[index] for index in exact_at])
        if not kept:
            return exact
        fast = self._fast(schema, _encode.encode_lines([fitting[row] for row in kept]), len(kept))
        if any(rests[row] for row in kept):
            fast[REST] = pa.array([rests[row] for row in kept], pa.string())
        return _interleave(fast, fast_at, exact, exact_at)

    def _rests(self, lines: list[bytes]) -> tuple[list[str | None], set[int]]:
        """Return what the columns do not hold of each line, as JSON, and the lines that must go the exact path after
        all.

        Those have a value at the path of a column that the schema did not see: a doubled key, or one with a dot in it.
        """
        fields = self._fields
        with self._events(b"\n".join(lines) + b"\n"):
            left = self._connection.sql(self._current_schema().rest_sql).to_arrow_table()["rest"].to_pylist()
        nothing = {"{}"}
        rests: list[str | None] = []
        unfit = self._current_schema().may_double_objects(lines)
        unplaced: Counter[tuple[tuple[str, ...], str]] = Counter()
        nulls: dict[tuple[str, ...], None] = {}  # a set in the order met
        for row, text in enumerate(left):
            if text in nothing or row in unfit:
                rests.append(None)
                continue
            # An empty object is only what the columns left of one: lines that hold one are not here.
            found = leaves(text.encode(), empty_objects=False).values()
            if any(fields.keys_of(".".join(leaf.keys)) is not None for leaf in found):
                unfit.add(row)
                rests.append(None)
                continue
            nulls.update((leaf.keys, None) for leaf in found if leaf.type == "null")
            left_over = [leaf for leaf in found if leaf.type != "null"]
            if not left_over:
                nothing.add(text)
            unplaced.update((leaf.keys, leaf.type) for leaf in left_over)
            rests.append(_rest(left_over))
        for keys, value_type in unplaced:
            fields.note_rest(".".join(keys), value_type, keys)
        fields.count_unplaced(unplaced)
        fields.note_nulls(nulls)
        return rests, unfit

    def _current_schema(self) -> FastPathSchema:
        schema = self._schema
        if schema is None or schema.version != self._fields.version:
            schema = self._schema = FastPathSchema(self._fields)
        return schema

    @contextmanager
    def _events(self, events: bytes) -> Iterator[None]:
        """Yield the events as the table that the schema's SQL reads."""
        self._connection.register(EVENTS, _event_column(events))
        try:
            yield
        finally:
            self._connection.unregister(EVENTS)

    def _fast(self, schema: FastPathSchema, events: bytes, count: int) -> dict[str, pa.ChunkedArray | pa.Array]:
        if schema.sql is None:
            return {}
        with self._events(events):
            table = self._connection.sql(schema.sql).to_arrow_table()
        if table.num_rows != count:
            raise AssertionError(f"{count} events became {table.num_rows} rows")
        return {
            column.name: _plain(values)
            for column, values in zip(schema.columns, table.columns, strict=True)
            if values.null_count < count
        }

    def _exact(self, lines: list[bytes]) -> dict[str, pa.ChunkedArray | pa.Array]:
        fields = self._fields
        values: dict[str, list[Any]] = {}
        columns: dict[str, PhysicalColumn] = {}
        rests: list[str | None] = []
        unplaced: Counter[tuple[tuple[str, ...], str]] = Counter()
        nulls: dict[tuple[str, ...], None] = {}  # a set in the order met
        for row, line in enumerate(lines):
            rest: list[Leaf] = []
            for path, leaf in leaves(line).items():
                if leaf.type == "null":
                    nulls[leaf.keys] = None
                    continue
                column = fields.column(path, leaf.type)
                if column is None:
                    rest.append(leaf)
                    unplaced[leaf.keys, leaf.type] += 1
                    fields.note_rest(path, leaf.type, leaf.keys)
                    continue
                cells = values.get(column.name)
                if cells is None:
                    cells = values[column.name] = [None] * len(lines)
                    columns[column.name] = column
                cells[row] = value_of(leaf)
            rests.append(_rest(rest))
        fields.count_unplaced(unplaced)
        fields.note_nulls(nulls)
        arrays = {name: pa.array(cells, ARROW_TYPES[columns[name].type]) for name, cells in values.items()}
        if any(rests):
            arrays[REST] = pa.array(rests, pa.string())
        return arrays


def _rest(found: list[Leaf]) -> str | None:
    """Return the JSON object kept in `_rest`, with whole paths as keys; None for nothing."""
    if not found:
        return None
    members = [_encode.encode(".".join(leaf.keys)) + b":" + leaf.raw for leaf in found]
    return (b"{" + b",".join(members) + b"}").decode()


def whole_events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events untouched in `_rest`: the last resort that keeps an acknowledged event readable whatever
    happens.
    """
    lines = [line for batch in batches for line in labelled(batch).split(b"\n")[:-1]]
    times = np.concatenate([batch.times for batch in batches])
    received = np.repeat(
        np.array([batch.received_ns for batch in batches], np.int64), [batch.count for batch in batches]
    )
    rest = pa.array([line.decode(errors="replace") for line in lines], pa.string())
    return pa.table({TIME: _timestamps(times), SYSTEM_TIME: _timestamps(received), REST: rest})


def events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events whole in `_rest`, as text over the batches' own bytes: for a look at them before they are
    shredded.
    """
    times = np.concatenate([batch.times for batch in batches])
    counts = [batch.count for batch in batches]
    received = np.repeat(np.array([batch.received_ns for batch in batches], np.int64), counts)
    chunks = [chunk for batch in batches for chunk in _event_column(labelled(batch))["event"].chunks]
    return pa.table({TIME: _timestamps(times), SYSTEM_TIME: _timestamps(received), REST: pa.chunked_array(chunks)})


def labelled(batch: Batch) -> bytes:
    """Return the batch's NDJSON with its labels as the first members of every event, where the event's own value
    wins.
    """
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


def _decode_fitting(
    decoder: msgspec.json.Decoder[Any], lines: list[bytes], odd: set[int]
) -> tuple[list[Any], list[int]]:
    """Return the lines that a decoder takes, decoded, and which they are; those in `odd` are not tried."""
    fitting: list[Any] = []
    fitting_at: list[int] = []
    for first in range(0, len(lines), GROUP_LINES):
        group = range(first, min(first + GROUP_LINES, len(lines)))
        if odd.isdisjoint(group):
            try:
                fitting += decoder.decode_lines(b"\n".join(lines[first : group.stop]))
            except msgspec.DecodeError:
                pass  # one of them does not fit: find out which
            else:
                fitting_at += group
                continue
        for index in group:
            if index not in odd:
                try:
                    fitting.append(decoder.decode(lines[index]))
                except msgspec.DecodeError:
                    continue
                fitting_at.append(index)
    return fitting, fitting_at


def _lines_with_empty_objects(events: bytes) -> set[int]:
    """Lines that may hold an empty object, which the structs of the schema would take for one with no value."""
    found = [match.start() for match in _EMPTY_OBJECT.finditer(events)]
    if not found:
        return set()
    ends = np.flatnonzero(np.frombuffer(events, np.uint8) == 0x0A)
    return set(np.searchsorted(ends, found).tolist())


def _event_column(events: bytes) -> pa.Table:
    """NDJSON as a string column laid over the same bytes, in slices that threads can share."""
    data = np.frombuffer(events, np.uint8)
    ends = np.flatnonzero(data == 0x0A) + 1
    chunks = []
    start = 0
    for first in range(0, len(ends), ROWS_PER_SLICE):
        part = ends[first : first + ROWS_PER_SLICE]
        offsets = np.empty(len(part) + 1, np.int64)
        offsets[0] = 0
        offsets[1:] = part - start
        stop = int(part[-1])
        values = pa.py_buffer(data[start:stop])
        chunks.append(pa.Array.from_buffers(pa.large_string(), len(part), [None, pa.py_buffer(offsets), values]))
        start = stop
    return pa.table({"event": pa.chunked_array(chunks)})


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """JSON columns as plain strings."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type)
    return values


def _timestamps(times_ns: NDArray[np.int64]) -> pa.Array:
    return pa.array(times_ns // NS_PER_US, pa.int64()).cast(TIMESTAMP)


def _interleave(
    fast: dict[str, pa.ChunkedArray | pa.Array],
    fast_at: list[int],
    exact: dict[str, pa.ChunkedArray | pa.Array],
    exact_at: list[int],
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Columns of both ways in the order of the events."""
    order = np.empty(len(fast_at) + len(exact_at), np.int64)
    order[fast_at] = np.arange(len(fast_at))
    order[exact_at] = np.arange(len(fast_at), len(order))
    names = list(dict.fromkeys([*fast, *exact]))
    both = {}
    for name in names:
        kind = fast[name].type if name in fast else exact[name].type
        parts: list[pa.Array] = []
        for column, rows in ((fast.get(name), len(fast_at)), (exact.get(name), len(exact_at))):
            if column is None:
                parts.append(pa.nulls(rows, kind))
            else:
                parts.extend(column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        both[name] = pa.chunked_array(parts, kind).take(pa.array(order))
    return both
