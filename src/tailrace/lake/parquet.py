"""The data files of a table: Parquet, one for a day and its rows sorted by time, and what Delta is told of each."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tailrace.lake.deltalog import Action
from tailrace.lake.fields import DAY, TIME
from tailrace.lake.snapshot import US_PER_DAY, DataFile
from tailrace.lake.table_storage import NewDataFiles, TableStorage, day_name

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 122_880
STATISTICS_STRING_BYTES = 64  # a longer bound is left out of the statistics, not shortened

NewFile = tuple[Action, DataFile]
"""A file that is written and flushed, and what Delta must be told for it to be part of the table."""


def write_files(storage: TableStorage, rows: pa.Table) -> list[NewFile]:
    """Sort rows by `_time` and write one Parquet file for each UTC day, flushed; return what Delta must be told.

    When this fails no file is left.
    """
    rows = rows.take(pc.sort_indices(rows[TIME]))
    times = rows[TIME].cast(pa.int64()).to_numpy()
    days = times // US_PER_DAY
    starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
    stops = [*starts[1:], len(days)]
    with storage.new_data_files() as new:
        return [
            _write_file(storage, new, rows.slice(start, stop - start), int(times[start]), int(times[stop - 1]))
            for start, stop in zip(starts, stops, strict=True)
        ]


def _write_file(
    storage: TableStorage, new: NewDataFiles, rows: pa.Table, min_time_us: int, max_time_us: int
) -> NewFile:
    """Write the rows of a day, which are sorted."""
    # Not a column of which every value is missing: a file need not have all columns of its table.
    rows = rows.select([n for n in rows.column_names if rows[n].null_count < rows.num_rows])
    metadata: list[pq.FileMetaData] = []
    with new.begin(min_time_us // US_PER_DAY) as file:
        pq.write_table(
            rows,
            file,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            row_group_size=ROW_GROUP_ROWS,
            store_schema=False,
            metadata_collector=metadata,
        )
        size = file.tell()
        name = new.name(file)
    return new_file(storage, name, size, metadata[0], min_time_us, max_time_us)


def new_file(
    storage: TableStorage, name: str, size: int, metadata: pq.FileMetaData, min_time_us: int, max_time_us: int
) -> NewFile:
    """Return what Delta and queries must know of a file that has been written."""
    counts = statistics(metadata)
    columns = columns_of(metadata, counts)
    now_ms = time.time_ns() // 1_000_000
    location = storage.location(name)
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
