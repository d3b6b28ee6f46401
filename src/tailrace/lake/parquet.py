"""The data files of a table: Parquet, each of a day, in the order of the clustering, and what Delta is told of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from tailrace.lake.clock import time_ms
from tailrace.lake.clustering import group_lengths, group_rows_of, row_order
from tailrace.lake.deltalog import Action
from tailrace.lake.encoding import Encodings, encodings_of, sample_of
from tailrace.lake.fields import DAY, TIME
from tailrace.lake.hashes import HashingFile
from tailrace.lake.snapshot import US_PER_DAY, DataFile
from tailrace.lake.table_storage import NewDataFiles, TableStorage, day_name

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
PAGE_BYTES = 256 * 1024  # before compression: what a reader skips, and what it holds of each column
STATISTICS_STRING_BYTES = 64  # a longer bound is left out of the statistics, not shortened

NewFile = tuple[Action, DataFile]
"""A file that is written and flushed, and what Delta must be told for it to be part of the table."""


class OrderedRows(Struct, frozen=True, eq=False):
    """Rows, and the order in which they are written: they are copied into it part by part."""

    rows: pa.Table
    indices: npt.NDArray[np.int64] | None  # of the rows in that order; None where they are in it already
    times_us: npt.NDArray[np.int64]  # of `_time`, in that order
    cluster_starts: npt.NDArray[np.int64]  # of the clusters of each day, in that order
    encodings: Encodings

    def part(self, start: int, stop: int, names: Sequence[str]) -> pa.Table:
        """Return some columns of the rows from one place in the order to another."""
        rows = self.rows.select(names)
        if self.indices is None:
            return rows.slice(start, stop - start)
        return rows.take(pa.array(self.indices[start:stop]))

    def columns_of(self, start: int, stop: int) -> list[str]:
        """Return the columns that have a value in these rows."""
        return [name for name in self.rows.column_names if self._has_values(self.rows[name], start, stop)]

    def _has_values(self, column: pa.ChunkedArray, start: int, stop: int) -> bool:
        if not column.null_count or stop - start == len(column):
            return bool(column.null_count < len(column))
        if self.indices is None:
            return bool(column.slice(start, stop - start).null_count < stop - start)
        return bool(column.is_valid().to_numpy()[self.indices[start:stop]].any())


def in_order(rows: pa.Table, clustering: Sequence[str] = ()) -> OrderedRows:
    """Return rows by UTC day, the columns of the clustering, and then `_time`; equal ones in the order they have."""
    times = rows[TIME].cast(pa.int64()).to_numpy()
    encodings = encodings_of(sample_of(rows), group_rows_of(rows.num_columns))
    order = row_order(rows, times, clustering)
    if order.indices is not None:
        times = times[order.indices]
    return OrderedRows(rows, order.indices, times, order.starts, encodings)


def write_files(storage: TableStorage, ordered: OrderedRows) -> list[NewFile]:
    """Write one Parquet file for each UTC day, flushed; return what Delta must be told.

    When this fails no file is left.
    """
    times, clusters = ordered.times_us, ordered.cluster_starts
    day_starts = clusters[np.flatnonzero(np.diff(times[clusters] // US_PER_DAY, prepend=-1 << 62))].tolist()
    with storage.new_data_files() as new:
        return [
            _write_file(
                storage,
                new,
                ordered,
                (start, stop),
                np.diff(clusters[(clusters >= start) & (clusters < stop)], append=stop).tolist(),
            )
            for start, stop in zip(day_starts, [*day_starts[1:], len(times)], strict=True)
        ]


def _write_file(
    storage: TableStorage,
    new: NewDataFiles,
    ordered: OrderedRows,
    places: tuple[int, int],
    clusters: Iterable[int],
) -> NewFile:
    """Write the rows of a day, from one place in the order to another; the clusters have so many of them each."""
    start, stop = places
    # Not a column of which every value is missing: a file need not have all columns of its table.
    names = ordered.columns_of(start, stop)
    times_us = ordered.times_us[start:stop]
    low, high = int(times_us.min()), int(times_us.max())
    schema = pa.schema([ordered.rows.schema.field(name) for name in names])
    metadata: list[pq.FileMetaData] = []
    with new.begin(low // US_PER_DAY) as file:
        lengths = group_lengths(clusters, group_rows_of(len(names)))
        with writer(file, schema, ordered.encodings, metadata, (stop - start) // len(lengths)) as written:
            for length in lengths:
                written.write_table(ordered.part(start, start + length, names), row_group_size=length)
                start += length
        size = file.tell()
        name = new.name(file)
    return new_file(storage, name, size, metadata[0], low, high)


def writer(
    file: HashingFile, schema: pa.Schema, encodings: Encodings, metadata: list[pq.FileMetaData], group_rows: int
) -> AbstractContextManager[pq.ParquetWriter]:
    """Return a writer of a data file, of which each table written is a row group, of about so many rows; its metadata
    is appended at the end.
    """
    opened: AbstractContextManager[pq.ParquetWriter] = pq.ParquetWriter(
        file,
        schema,
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        data_page_size=PAGE_BYTES,
        store_schema=False,
        write_page_checksum=True,
        metadata_collector=metadata,
        **encodings.options(schema.names, group_rows),
    )
    return opened


def new_file(
    storage: TableStorage, name: str, size: int, metadata: pq.FileMetaData, min_time_us: int, max_time_us: int
) -> NewFile:
    """Return what Delta and queries must know of a file that has been written."""
    counts = statistics(metadata)
    columns = columns_of(metadata, counts)
    now_ms = time_ms()
    location = storage.readable(name)
    data_file = DataFile(name, location, size, metadata.num_rows, min_time_us, max_time_us, columns, now_ms)
    stats = json.dumps(counts, ensure_ascii=False)
    action = {
        "path": name,
        "partitionValues": {DAY: day_name(data_file.day)},
        "size": size,
        "modificationTime": now_ms,
        "dataChange": True,
        "stats": stats,
    }
    return {"add": action}, data_file


def columns_of(metadata: pq.FileMetaData, counts: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns that have a value in a file, or may have one."""
    names = {metadata.schema.column(index).name for index in range(metadata.num_columns)}
    return frozenset(name for name in names if counts["nullCount"].get(name, -1) < metadata.num_rows)


def statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Return Delta's statistics of a file (rows, null counts, bounds), taken from its Parquet footer."""
    nulls: dict[str, int] = {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).name
        chunks = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        parts = [chunk.statistics for chunk in chunks]
        if any(part is None for part in parts):
            continue
        nulls[name] = sum(part.null_count for part in parts)
        if any(not p.has_min_max and p.null_count < c.num_values for p, c in zip(parts, chunks, strict=True)):
            continue  # a bound too long for Parquet to keep
        bounds = [(part.min, part.max) for part in parts if part.has_min_max]
        if not bounds or isinstance(bounds[0][0], bytes):
            continue
        smallest = _bound(min(bound[0] for bound in bounds))
        largest = _bound(max(bound[1] for bound in bounds))
        if smallest is not None and largest is not None:
            low[name], high[name] = smallest, largest
    return {"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}


def _bound(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, str) and len(value.encode()) > STATISTICS_STRING_BYTES:
        return None
    return value
