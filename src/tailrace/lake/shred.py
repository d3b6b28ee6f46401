"""Shredding of NDJSON to Arrow columns: exact, with the type of every value, at any mix of types.

The fast path handles whole batches by native calls (see `fast_path`). Events that its schema refuses take the exact
path, one by one: those with a field or a type that has no column, an empty object, an integer beyond 64 bits. The
registry learns from them, so that common fields are soon on the fast path.
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
ROWS_PER_SLICE = 8_192  # of the Arrow table that DuckDB reads, which its threads divide among them
SAMPLE_EVENTS = 500  # about as many of the events at hand are parsed one by one to learn their fields
# The registry learns again once new events are 1/LEARN_SHARE of the recent ones, at the latest after SAMPLE_EVENTS.
LEARN_SHARE = 10
GROUP_LINES = 64  # decoded together in the search for lines that do not fit
MIN_FITTING_SHARE = 0.5  # least share of lines that must fit the schema to be shredded apart from the others

_EMPTY_OBJECT = re.compile(rb"\{\s*\}")
_encode = msgspec.json.Encoder()


class Shredder:
    """Shreds the batches of one dataset. Not thread-safe."""

    def __init__(self, fields: Fields, connection: duckdb.DuckDBPyConnection) -> None:
        self._fields = fields
        self._connection = connection
        self._schema: FastPathSchema | None = None  # built on demand: most datasets may be idle after a start
        self._unlearned = 0  # events since the registry last learned

    def shred(self, batches: Sequence[Batch]) -> pa.Table:
        """Return the events of the batches, in order, as one table.

        Columns: `_time` and `_sysTime` (UTC microseconds), the registry's columns that have a value here, and `_rest`
        (JSON text or null) where any event has one.
        """
        events = b"".join(ndjson_with_labels(batch) for batch in batches)
        times = _times_of(batches)
        return pa.table({**times, **self._columns(events, len(times[TIME]))})

    def _columns(self, events: bytes, count: int) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Return the columns of `count` events: all on the fast path if they fit the schema."""
        with_empty = _lines_with_empty_objects(events)
        lines: list[bytes] = []
        encoded = None if with_empty else self._reencode(events)
        if encoded is None:
            lines = events.split(b"\n")[:-1]
            if self._learn(lines) and not with_empty:
                encoded = self._reencode(events)
        self._fields.count_events(count)
        if encoded is None:
            return self._split_by_schema(lines, with_empty)
        return self._fast(self._current_schema(), encoded, count)

    def _reencode(self, events: bytes) -> bytes | None:
        """Return the events encoded again, without duplicate keys, if the registry has a column for every value."""
        try:
            return _encode.encode_lines(self._current_schema().decoder.decode_lines(events))
        except msgspec.DecodeError:
            return None

    def _learn(self, lines: list[bytes]) -> bool:
        """Add columns for fields that are dense in a sample of the lines; return whether the registry changed.

        Do nothing for a small batch of a large dataset: few events cannot change which fields are dense.
        """
        self._unlearned += len(lines)
        if self._unlearned < min(SAMPLE_EVENTS, self._fields.recent_events // LEARN_SHARE):
            return False
        self._unlearned = 0
        # An odd step, so that of two kinds of events that alternate the sample has both.
        step = max(1, len(lines) // SAMPLE_EVENTS) | 1
        sample = lines[::step]
        leaf_counts: Counter[tuple[tuple[str, ...], str]] = Counter()
        for line in sample:
            leaf_counts.update((leaf.keys, leaf.type) for leaf in leaves(line).values())
        before = self._fields.version
        self._fields.note_nulls(keys for keys, value_type in leaf_counts if value_type == "null")
        self._fields.promote(leaf_counts, sample=len(sample), events=len(lines))
        return self._fields.version != before

    def _split_by_schema(self, lines: list[bytes], with_empty: set[int]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Return fast columns for the lines that fit the schema, and for the others what `_split_off_rest` returns."""
        schema = self._current_schema()
        fitting, fitting_at = _decode_fitting(schema.decoder, lines, with_empty)
        if len(fitting) < len(lines) * MIN_FITTING_SHARE:
            return self._split_off_rest(lines, with_empty)
        others_at = sorted(set(range(len(lines))).difference(fitting_at))
        others = self._split_off_rest(
            [lines[index] for index in others_at],
            {row for row, index in enumerate(others_at) if index in with_empty},
        )
        return _interleave(
            self._fast(schema, _encode.encode_lines(fitting), len(fitting)), fitting_at, others, others_at
        )

    def _split_off_rest(self, lines: list[bytes], with_empty: set[int]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Return fast columns and a rest for the lines whose types fit, and exact columns for the others, in order."""
        schema = self._current_schema()
        fitting, fitting_at = _decode_fitting(schema.open_decoder, lines, with_empty)
        rests, unfit = self._rests([lines[index] for index in fitting_at]) if fitting else ([], set())
        fast_rows = [row for row in range(len(fitting)) if row not in unfit]
        fast_at = [fitting_at[row] for row in fast_rows]
        exact_at = sorted(set(range(len(lines))).difference(fast_at))
        exact = self._exact([lines[index] for index in exact_at])
        if not fast_rows:
            return exact
        fast = self._fast(schema, _encode.encode_lines([fitting[row] for row in fast_rows]), len(fast_rows))
        if any(rests[row] for row in fast_rows):
            fast[REST] = pa.array([rests[row] for row in fast_rows], pa.string())
        return _interleave(fast, fast_at, exact, exact_at)

    def _rests(self, lines: list[bytes]) -> tuple[list[str | None], set[int]]:
        """Return the rest of each line, as JSON, and the lines that must take the exact path after all.

        Those have a value at the path of a column that the schema did not see: a duplicate key, or one with a dot.
        """
        fields = self._fields
        with self._events(b"\n".join(lines) + b"\n"):
            rest_texts = self._connection.sql(self._current_schema().rest_sql).to_arrow_table()["rest"].to_pylist()
        texts_without_values = {"{}"}
        rests: list[str | None] = []
        unfit = self._current_schema().may_duplicate_objects(lines)
        in_rest: Counter[tuple[tuple[str, ...], str]] = Counter()
        nulls: dict[tuple[str, ...], None] = {}  # an ordered set
        for row, text in enumerate(rest_texts):
            if text in texts_without_values or row in unfit:
                rests.append(None)
                continue
            # An empty object had only members with columns: lines with an empty object are not among these.
            rest_leaves = leaves(text.encode(), empty_objects=False).values()
            if any(fields.keys_of(".".join(leaf.keys)) is not None for leaf in rest_leaves):
                unfit.add(row)
                rests.append(None)
                continue
            nulls.update((leaf.keys, None) for leaf in rest_leaves if leaf.type == "null")
            rest_values = [leaf for leaf in rest_leaves if leaf.type != "null"]
            if not rest_values:
                texts_without_values.add(text)
            in_rest.update((leaf.keys, leaf.type) for leaf in rest_values)
            rests.append(_rest(rest_values))
        for keys, value_type in in_rest:
            fields.note_rest(".".join(keys), value_type, keys)
        fields.count_unplaced(in_rest)
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
        """Return the columns of events that all fit the schema, without those that have no value."""
        if schema.sql is None:
            return {}
        with self._events(events):
            table = self._connection.sql(schema.sql).to_arrow_table()
        if table.num_rows != count:
            raise AssertionError(f"{count} events became {table.num_rows} rows")
        return {
            column.name: _storage_of(values)
            for column, values in zip(schema.columns, table.columns, strict=True)
            if values.null_count < count
        }

    def _exact(self, lines: list[bytes]) -> dict[str, pa.ChunkedArray | pa.Array]:
        """Return the columns of lines that are read one by one, with `_rest` for the values that have no column."""
        fields = self._fields
        values: dict[str, list[Any]] = {}
        columns: dict[str, PhysicalColumn] = {}
        rests: list[str | None] = []
        in_rest: Counter[tuple[tuple[str, ...], str]] = Counter()
        nulls: dict[tuple[str, ...], None] = {}  # an ordered set
        for row, line in enumerate(lines):
            rest: list[Leaf] = []
            for path, leaf in leaves(line).items():
                if leaf.type == "null":
                    nulls[leaf.keys] = None
                    continue
                column = fields.column(path, leaf.type)
                if column is None:
                    rest.append(leaf)
                    in_rest[leaf.keys, leaf.type] += 1
                    fields.note_rest(path, leaf.type, leaf.keys)
                    continue
                cells = values.get(column.name)
                if cells is None:
                    cells = values[column.name] = [None] * len(lines)
                    columns[column.name] = column
                cells[row] = value_of(leaf)
            rests.append(_rest(rest))
        fields.count_unplaced(in_rest)
        fields.note_nulls(nulls)
        arrays = {name: pa.array(cells, ARROW_TYPES[columns[name].type]) for name, cells in values.items()}
        if any(rests):
            arrays[REST] = pa.array(rests, pa.string())
        return arrays


def _rest(rest_leaves: list[Leaf]) -> str | None:
    """Return the JSON object for `_rest`, with whole paths as keys; None for nothing."""
    if not rest_leaves:
        return None
    members = [_encode.encode(".".join(leaf.keys)) + b":" + leaf.raw for leaf in rest_leaves]
    return (b"{" + b",".join(members) + b"}").decode()


def whole_events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`: the fallback when shredding fails, so that they stay readable.

    The texts are copied, and bytes that are not UTF-8 replaced, as the result is stored.
    """
    lines = [line for batch in batches for line in ndjson_with_labels(batch).split(b"\n")[:-1]]
    rest = pa.array([line.decode(errors="replace") for line in lines], pa.string())
    return pa.table({**_times_of(batches), REST: rest})


def events_as_rest(batches: Sequence[Batch]) -> pa.Table:
    """Return the events with each whole in `_rest`, without copying the batches' bytes: for live tails.

    They filter events before those are shredded; the result is never stored.
    """
    chunks = [chunk for batch in batches for chunk in _event_column(ndjson_with_labels(batch))["event"].chunks]
    return pa.table({**_times_of(batches), REST: pa.chunked_array(chunks)})


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


def _decode_fitting(
    decoder: msgspec.json.Decoder[Any], lines: list[bytes], with_empty: set[int]
) -> tuple[list[Any], list[int]]:
    """Return the decoded lines that fit a decoder, and their indexes; those in `with_empty` are not tried."""
    fitting: list[Any] = []
    fitting_at: list[int] = []
    for first in range(0, len(lines), GROUP_LINES):
        group = range(first, min(first + GROUP_LINES, len(lines)))
        if with_empty.isdisjoint(group):
            try:
                fitting += decoder.decode_lines(b"\n".join(lines[first : group.stop]))
            except msgspec.DecodeError:
                pass  # one of them does not fit
            else:
                fitting_at += group
                continue
        for index in group:
            if index not in with_empty:
                try:
                    fitting.append(decoder.decode(lines[index]))
                except msgspec.DecodeError:
                    continue
                fitting_at.append(index)
    return fitting, fitting_at


def _lines_with_empty_objects(events: bytes) -> set[int]:
    """Return the lines that may have an empty object, which the schema's structs cannot tell from a missing one."""
    starts = [match.start() for match in _EMPTY_OBJECT.finditer(events)]
    if not starts:
        return set()
    ends = np.flatnonzero(np.frombuffer(events, np.uint8) == 0x0A)
    return set(np.searchsorted(ends, starts).tolist())


def _event_column(events: bytes) -> pa.Table:
    """Return NDJSON as a string column over the same bytes, in slices for several threads."""
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


def _storage_of(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without its extension type: JSON as strings."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type)
    return values


def _times_of(batches: Sequence[Batch]) -> dict[str, pa.Array]:
    """Return the columns `_time` and `_sysTime` of the events of batches, in order."""
    times = np.concatenate([batch.times for batch in batches])
    counts = [batch.count for batch in batches]
    received = np.repeat(np.array([batch.received_ns for batch in batches], np.int64), counts)
    return {TIME: _timestamps(times), SYSTEM_TIME: _timestamps(received)}


def _timestamps(times_ns: NDArray[np.int64]) -> pa.Array:
    return pa.array(times_ns // NS_PER_US, pa.int64()).cast(TIMESTAMP)


def _interleave(
    fast: dict[str, pa.ChunkedArray | pa.Array],
    fast_at: list[int],
    exact: dict[str, pa.ChunkedArray | pa.Array],
    exact_at: list[int],
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Return the columns of both paths in the order of the events."""
    order = np.empty(len(fast_at) + len(exact_at), np.int64)
    order[fast_at] = np.arange(len(fast_at))
    order[exact_at] = np.arange(len(fast_at), len(order))
    names = list(dict.fromkeys([*fast, *exact]))
    columns = {}
    for name in names:
        kind = fast[name].type if name in fast else exact[name].type
        parts: list[pa.Array] = []
        for column, rows in ((fast.get(name), len(fast_at)), (exact.get(name), len(exact_at))):
            if column is None:
                parts.append(pa.nulls(rows, kind))
            else:
                parts.extend(column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        columns[name] = pa.chunked_array(parts, kind).take(pa.array(order))
    return columns
