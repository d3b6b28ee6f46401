"""The Delta table of a dataset: Parquet files by day, sorted by time, and commits that carry the log position."""

import json
import os
import uuid
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
from deltalake.transaction import AddAction, create_table_with_add_actions
from msgspec import Struct

from tailrace.lake.fields import DAY, REST, SYSTEM_TIME, TIME, FieldsView
from tailrace.lake.files import flush

APPLICATION = "tailrace-log"  # of the transaction identifier that holds the log position
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 122_880
STATISTICS_STRING_BYTES = 64  # a longer bound is left out of the statistics, not shortened
US_PER_DAY = 86_400_000_000
EPOCH = date(1970, 1, 1)

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


class Table:
    """A dataset's Delta table. One thread at a time may commit."""

    def __init__(self, directory: Path, delta: DeltaTable) -> None:
        self.directory = directory
        self._delta = delta
        self._log = os.path.join(directory, "_delta_log")
        self._columns = {field.name for field in delta.schema().fields}
        self.files: tuple[DataFile, ...] = tuple(_data_files(directory, delta))

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
        create_table_with_add_actions(str(directory), schema, [], mode="error", partition_by=[DAY])
        flush(directory / "_delta_log" / f"{0:020d}.json")
        flush(directory / "_delta_log")
        flush(directory)
        return cls(directory, DeltaTable(str(directory)))

    @classmethod
    def open(cls, directory: Path) -> "Table":
        """Open the table at `directory`; deltalake's TableNotFoundError where there is none."""
        return cls(directory, DeltaTable(str(directory)))

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
        self._delta.update_incremental()
        before = self._delta.version()
        if self.position >= position:
            # An earlier attempt got as far as the Delta commit and failed after it.
            self._flush_log(before)
            self.files = tuple(_data_files(self.directory, self._delta))
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
        self._flush_log(before)
        self.files = (*self.files, *(data_file for _, data_file in added))

    def _flush_log(self, since: int) -> None:
        """Flush what delta-rs wrote to the table's log from version `since` on: it does not do so itself."""
        log = self.directory / "_delta_log"
        for version in range(since, self._delta.version() + 1):
            for entry in log.glob(f"{version:020d}.*"):
                flush(entry)
        checkpoint = log / "_last_checkpoint"
        if checkpoint.exists():
            flush(checkpoint)
        flush(log)

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


def write_files(directory: Path, rows: pa.Table) -> list[tuple[AddAction, DataFile]]:
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


def _write_files(directory: Path, rows: pa.Table, begun: list[Path]) -> list[tuple[AddAction, DataFile]]:
    rows = rows.take(pc.sort_indices(rows[TIME]))
    times = rows[TIME].cast(pa.int64()).to_numpy()
    days = times // US_PER_DAY
    starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
    stops = [*starts[1:], len(days)]
    added = []
    for start, stop in zip(starts, stops, strict=True):
        day = (EPOCH + timedelta(days=int(days[start]))).isoformat()
        name = f"{DAY}={day}/part-{uuid.uuid4()}.zstd.parquet"
        path = directory / name
        if not path.parent.exists():
            path.parent.mkdir()
            flush(directory)
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
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        flush(path.parent)
        stats = json.dumps(statistics(metadata[0]), ensure_ascii=False)
        modified_ms = int(datetime.now(UTC).timestamp() * 1000)
        action = AddAction(name, size, {DAY: day}, modified_ms, True, stats)
        added.append(
            (
                action,
                DataFile(
                    path, size, stop - start, int(times[start]), int(times[stop - 1]), frozenset(part.column_names)
                ),
            )
        )
    return added


def statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Delta's statistics of a file (rows, null counts, bounds), taken from its Parquet footer."""
    nulls: dict[str, int] = {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).name
        parts = [metadata.row_group(group).column(index).statistics for group in range(metadata.num_row_groups)]
        if any(part is None for part in parts):
            continue
        nulls[name] = sum(part.null_count for part in parts)
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
    wanted = ["path", "size_bytes", "num_records", f"min.{TIME}", f"max.{TIME}"]
    wanted += [name for name in actions.column_names if name.startswith(counted)]
    files = []
    for row in actions.select(wanted).to_pylist():
        low, high = row[f"min.{TIME}"], row[f"max.{TIME}"]
        columns = frozenset(name.removeprefix(counted) for name, nulls in row.items() if nulls is not None)
        path = directory / unquote(row["path"])
        files.append(DataFile(path, row["size_bytes"], row["num_records"], _us(low), _us(high), columns))
    return sorted(files, key=lambda file: (file.min_time_us, str(file.path)))


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
