"""The Delta table of a dataset: Parquet files by day, sorted by time, and commits that carry the log position."""

import json
import os
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from msgspec import Struct

from tailrace.lake.fields import DAY, REST, SYSTEM_TIME, TIME, FieldsView
from tailrace.lake.files import flush, flush_all

APPLICATION = "tailrace-log"  # of the transaction identifier that holds the log position
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 122_880
STATISTICS_STRING_BYTES = 64  # a longer bound is left out of the statistics, not shortened
US_PER_DAY = 86_400_000_000
EPOCH = date(1970, 1, 1)
DELTA_LOG = "_delta_log"
VERSIONS_OF_A_COMMIT = 2  # at most: one may add columns
PROPERTIES = {
    # What Delta's defaults keep for 30 and 7 days would be 100,000 files to list, and as many names in each checkpoint.
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.checkpointInterval": "100",
}

_DELTA_TYPES = {
    "boolean": "boolean",
    "integer": "long",
    "float": "double",
    "string": "string",
    "array": "string",
}


class DataFile(Struct, frozen=True):
    """One committed Parquet file."""

    path: Path
    bytes: int
    rows: int
    min_time_us: int
    max_time_us: int
    columns: frozenset[str]  # those that have a value in it
    written_ms: int = 0  # since the Unix epoch

    @property
    def day(self) -> int:
        """Of its events, in UTC, since the Unix epoch."""
        return self.min_time_us // US_PER_DAY


NewFile = tuple[AddAction, DataFile]
"""A file that is written and flushed, and what Delta must be told for it to be part of the table."""


class Table:
    """A dataset's Delta table. One thread at a time may commit, rewrite or refresh."""

    def __init__(self, directory: Path, delta: DeltaTable) -> None:
        self.directory = directory
        self._delta = delta
        self._log = os.path.join(directory, DELTA_LOG)
        self._columns = {field.name for field in delta.schema().fields}
        self.files: tuple[DataFile, ...] = tuple(_data_files(directory, delta))
        self._files_version = delta.version()
        # A process that was killed may not have flushed its last commit, with the one that added columns for it.
        self._flushed_version = max(delta.version() - VERSIONS_OF_A_COMMIT, -1)

    @classmethod
    def create(cls, directory: Path) -> "Table":
        """Make an empty table at `directory`, durably."""
        schema = Schema(
            [
                Field(TIME, PrimitiveType("timestamp")),
                Field(SYSTEM_TIME, PrimitiveType("timestamp")),
                Field(REST, PrimitiveType("string"), metadata={"tailrace.type": "rest"}),
                Field(DAY, PrimitiveType("date")),
            ]
        )
        directory.mkdir(parents=True, exist_ok=True)
        create_table_with_add_actions(
            str(directory), schema, [], mode="error", partition_by=[DAY], configuration=PROPERTIES
        )
        flush(directory / DELTA_LOG / f"{0:020d}.json")
        flush(directory / DELTA_LOG)
        flush(directory)
        return cls(directory, DeltaTable(str(directory)))

    @classmethod
    def open(cls, directory: Path) -> "Table":
        """Open the table at `directory`; deltalake's TableNotFoundError where there is none.

        What it holds is on disk then, so that the log may release what its position covers.
        """
        table = cls(directory, DeltaTable(str(directory)))
        table.flush()
        return table

    def exists(self) -> bool:
        """Whether the table's log is still where it was."""
        return os.path.isdir(self._log)

    @property
    def position(self) -> int:
        """The log position up to which this table has every batch of its dataset; 0 before the first commit."""
        return self._delta.transaction_version(APPLICATION) or 0

    @property
    def version(self) -> int:
        return self._delta.version()

    def commit(self, rows: pa.Table, view: FieldsView, position: int) -> None:
        """Write rows as Parquet, one file a day touched, and make them part of the table in one Delta commit.

        Everything is flushed to disk when this returns. A crash before the Delta commit leaves files that nothing
        refers to, and the rows come again from the log.
        """
        self.refresh()
        if self.position >= position:
            # An earlier attempt got as far as the Delta commit and failed after it.
            self._flush_log()
            return
        added = write_files(self.directory, rows)
        self._widen(rows, view)
        self._delta.create_write_transaction(
            [action for action, _ in added],
            "append",
            self._delta.schema(),
            [DAY],
            commit_properties=CommitProperties(app_transactions=[Transaction(APPLICATION, position)]),
        )
        self._delta.update_incremental()
        self._flush_log()
        self.files = (*self.files, *(data_file for _, data_file in added))
        self._files_version = self._delta.version()

    def rewrite(self, gone: Sequence[DataFile], added: Sequence[NewFile], *, what: str, changes_data: bool) -> None:
        """Put new files in the place of others in one Delta commit, which leaves the log position as it is.

        The old files stay on disk. `changes_data` tells Delta whether the rows are others than before; `what` names the
        operation in the table's history. Everything is flushed when this returns. When it raises, `refresh` tells
        whether the commit was made.
        """
        self.refresh()
        now_ms = _now_ms()
        for action, _ in added:
            action.data_change = changes_data
        removed = [
            RemoveAction(
                str(file.path.relative_to(self.directory)),
                changes_data,
                now_ms,
                partition_values={DAY: _day_name(file.day)},
                size=file.bytes,
            )
            for file in gone
        ]
        self._delta.create_write_transaction(
            [*(action for action, _ in added), *removed],
            "append",
            self._delta.schema(),
            [DAY],
            commit_properties=CommitProperties(custom_metadata={"tailrace": what}),
        )
        self._delta.update_incremental()
        self._flush_log()
        paths = {file.path for file in gone}
        kept = [file for file in self.files if file.path not in paths]
        self.files = tuple(sorted([*kept, *(data_file for _, data_file in added)], key=_order))
        self._files_version = self._delta.version()

    def refresh(self) -> None:
        """Learn of commits whose success was not known."""
        self._delta.update_incremental()
        if self._delta.version() != self._files_version:
            self.files = tuple(_data_files(self.directory, self._delta))
            self._files_version = self._delta.version()

    def flush(self) -> None:
        """Flush whatever of the table's log is not known to be on disk."""
        if self._flushed_version < self._delta.version():
            self._flush_log()

    def _flush_log(self) -> None:
        """Flush what delta-rs wrote to the table's log since the last time: it does not do so itself."""
        log = self.directory / DELTA_LOG
        written = [
            log / f"{version:020d}.{kind}"
            for version in range(max(self._flushed_version, 0), self._delta.version() + 1)
            for kind in ("json", "checkpoint.parquet")
        ]
        for entry in (*written, log / "_last_checkpoint"):
            if entry.exists():
                flush(entry)
        flush(log)
        self._flushed_version = self._delta.version()

    def _widen(self, rows: pa.Table, view: FieldsView) -> None:
        new = [
            Field(
                column.name,
                PrimitiveType(_DELTA_TYPES[column.type]),
                metadata={"tailrace.path": column.path, "tailrace.type": column.type},
            )
            for column in view.columns
            if column.name in rows.column_names and column.name not in self._columns
        ]
        if new:
            self._delta.alter.add_columns(new)
            self._columns.update(field.name for field in new)


def write_files(directory: Path, rows: pa.Table) -> list[NewFile]:
    """Sort rows by `_time` and write one Parquet file for each UTC day, flushed; returns what Delta must be told.

    When that fails no file is left: attempts on a full disk would use up whatever becomes free.
    """
    begun: list[Path] = []
    try:
        return _write_files(directory, rows, begun)
    except BaseException:
        for path in begun:
            path.unlink(missing_ok=True)
        raise


def _write_files(directory: Path, rows: pa.Table, begun: list[Path]) -> list[NewFile]:
    rows = rows.take(pc.sort_indices(rows[TIME]))
    times = rows[TIME].cast(pa.int64()).to_numpy()
    days = times // US_PER_DAY
    starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
    stops = [*starts[1:], len(days)]
    added = []
    made = False
    for start, stop in zip(starts, stops, strict=True):
        path = _path(directory, int(days[start]))
        if not path.parent.exists():
            path.parent.mkdir()
            made = True
        part = rows.slice(start, stop - start)
        # Not a column of which every value is missing: a file need not have all columns of its table.
        part = part.select([n for n in part.column_names if part[n].null_count < part.num_rows])
        metadata: list[pq.FileMetaData] = []
        begun.append(path)
        with path.open("wb") as file:
            pq.write_table(
                part,
                file,
                compression=COMPRESSION,
                compression_level=COMPRESSION_LEVEL,
                row_group_size=ROW_GROUP_ROWS,
                store_schema=False,
                metadata_collector=metadata,
            )
            size = file.tell()
        added.append(new_file(directory, path, size, metadata[0], int(times[start]), int(times[stop - 1])))
    # Only now, for all together: events of 10,000 days are as many files.
    flush_all(begun)
    flush_all(path.parent for path in begun)
    if made:
        flush(directory)
    return added


def new_path(directory: Path, day: int) -> Path:
    """Where a new file for a day goes; makes the day's directory, durably."""
    path = _path(directory, day)
    if not path.parent.exists():
        path.parent.mkdir()
        flush(directory)
    return path


def _path(directory: Path, day: int) -> Path:
    return directory / f"{DAY}={_day_name(day)}" / f"part-{uuid.uuid4()}.zstd.parquet"


def new_file(
    directory: Path, path: Path, size: int, metadata: pq.FileMetaData, min_time_us: int, max_time_us: int
) -> NewFile:
    """What Delta and queries must know of a file that has been written."""
    counts = statistics(metadata)
    columns = frozenset(name for name, nulls in counts["nullCount"].items() if nulls < metadata.num_rows)
    now_ms = _now_ms()
    data_file = DataFile(path, size, metadata.num_rows, min_time_us, max_time_us, columns, now_ms)
    stats = json.dumps(counts, ensure_ascii=False)
    name = str(path.relative_to(directory))
    return AddAction(name, size, {DAY: _day_name(data_file.day)}, now_ms, True, stats), data_file


def _day_name(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Delta's statistics of a file (rows, null counts, bounds), taken from its Parquet footer."""
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


def _data_files(directory: Path, delta: DeltaTable) -> list[DataFile]:
    actions = pa.table(delta.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    counted = "null_count."
    wanted = ["path", "size_bytes", "num_records", "modification_time", f"min.{TIME}", f"max.{TIME}"]
    wanted += [name for name in actions.column_names if name.startswith(counted)]
    files = []
    for row in actions.select(wanted).to_pylist():
        low, high = row[f"min.{TIME}"], row[f"max.{TIME}"]
        rows = row["num_records"]
        columns = frozenset(
            name.removeprefix(counted)
            for name, nulls in row.items()
            if name.startswith(counted) and nulls is not None and nulls < rows
        )
        path = directory / unquote(row["path"])
        written_ms = int(row["modification_time"])
        files.append(DataFile(path, row["size_bytes"], rows, _us(low), _us(high), columns, written_ms))
    return sorted(files, key=_order)


def _order(file: DataFile) -> tuple[int, str]:
    return file.min_time_us, str(file.path)


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
