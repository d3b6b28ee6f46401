"""The Delta table of a dataset: Parquet files by day, sorted by time, and commits that carry the log position."""

import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType

from tailrace import __version__
from tailrace.events import DatasetUnavailable
from tailrace.lake.deltalog import (
    DELTA_LOG,
    LAST_CHECKPOINT,
    Action,
    DeltaLog,
    check,
    checkpoint,
    put_back,
    recover,
    set_aside_checkpoints,
    version_path,
)
from tailrace.lake.fields import DAY, REST, SYSTEM_TIME, TIME, Column, FieldsView
from tailrace.lake.hashes import SUFFIX, HashingFile
from tailrace.lake.snapshot import US_PER_DAY, DataFile, Received
from tailrace.storage.files import flush, flush_all, make_directories, make_directory

APPLICATION = "tailrace-log"  # of the transaction identifier that holds the log position
INPUT_BYTES = "tailrace-input-bytes"  # of those that hold what was received since the table was made
INPUT_EVENTS = "tailrace-input-events"
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
ROW_GROUP_ROWS = 122_880
STATISTICS_STRING_BYTES = 64  # a longer bound is left out of the statistics, not shortened
EPOCH = date(1970, 1, 1)
READER_VERSION = 1  # of the Delta protocol
WRITER_VERSION = 2
CONFLICTS = 10  # with other writers, one after the other, after which a commit is given up for now
CHECKPOINT_VERSIONS = 100  # between two checkpoints
INDEXED_COLUMNS = "delta.dataSkippingNumIndexedCols"
ALL_COLUMNS = "-1"
PROPERTIES = {
    # What Delta's defaults keep for 30 and 7 days would be 100,000 files to list, and as many names in each checkpoint.
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.checkpointInterval": str(CHECKPOINT_VERSIONS),
    # Of the columns of the schema past this number delta-rs gives no statistics, which tell what columns a file has.
    INDEXED_COLUMNS: ALL_COLUMNS,
}

logger = logging.getLogger(__name__)

_DELTA_TYPES = {
    "boolean": "boolean",
    "integer": "long",
    "float": "double",
    "string": "string",
    "array": "string",
}


NewFile = tuple[Action, DataFile]
"""A file that is written and flushed, and what Delta must be told for it to be part of the table."""


class Table:
    """A dataset's Delta table. One thread at a time may commit, rewrite or refresh.

    Its versions are written here, not by delta-rs, which gives a version its name before its content is on the disk.
    delta-rs reads them, and makes the checkpoints.
    """

    def __init__(self, directory: Path, delta: DeltaTable) -> None:
        self.directory = directory
        self.set_aside: tuple[str, ...] = ()  # files of its log that could not be read when it was opened
        self._delta = delta
        self._log = DeltaLog(directory)
        self._days: set[Path] = set()  # directories of which the name is on the disk
        self._received = (-1, Received())  # as of a version
        self._checkpoint_at = _next_checkpoint(delta.version())
        self.files: tuple[DataFile, ...] = tuple(_data_files(directory, delta))
        self._files_version = delta.version()

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
        make_directories(directory / DELTA_LOG)
        metadata = {
            "id": str(uuid.uuid4()),
            "name": None,
            "description": None,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_json(),
            "partitionColumns": [DAY],
            "createdTime": _now_ms(),
            "configuration": PROPERTIES,
        }
        DeltaLog(directory).append(
            0,
            [
                _commit_info("CREATE TABLE", {"mode": "ErrorIfExists"}),
                {"protocol": {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}},
                {"metaData": metadata},
            ],
        )
        return cls(directory, DeltaTable(str(directory)))

    @classmethod
    def open(cls, directory: Path) -> "Table":
        """Open the table at `directory`; deltalake's TableNotFoundError where there is none.

        What it holds is on disk then, so that the log may release what its position covers. What a power cut left of a
        newest version or a checkpoint is set aside: the rows of the first are in the log, the second is one to spare.
        """
        set_aside = recover(directory)
        try:
            table = cls._checked(directory)
        except Exception:
            moved = set_aside_checkpoints(directory)
            if not moved:
                raise
            try:
                table = cls._checked(directory)
            except Exception:
                put_back(moved)
                raise
            set_aside += [aside.name for _, aside in moved]
        table.set_aside = tuple(set_aside)
        table._flush_newest()
        return table

    @classmethod
    def _checked(cls, directory: Path) -> "Table":
        check(directory)
        return cls(directory, DeltaTable(str(directory)))

    def exists(self) -> bool:
        """Whether the table's log is still where it was."""
        return os.path.isdir(self._log.path)

    @property
    def position(self) -> int:
        """The log position up to which this table has every batch of its dataset; 0 before the first commit."""
        return self._delta.transaction_version(APPLICATION) or 0

    @property
    def received(self) -> Received:
        """What was received of the events up to `position`, those included that were deleted since.

        Of a table whose commits did not count yet, what it has is what there is to go by.
        """
        version = self.version
        if self._received[0] != version:  # delta-rs reads through the versions for each
            events = self._delta.transaction_version(INPUT_EVENTS)
            size = self._delta.transaction_version(INPUT_BYTES)
            if events is None or size is None:
                events, size = sum(file.rows for file in self.files), sum(file.bytes for file in self.files)
            self._received = version, Received(events, size)
        return self._received[1]

    @property
    def version(self) -> int:
        return self._delta.version()

    def commit(self, rows: pa.Table, view: FieldsView, position: int, received: Received = Received()) -> None:
        """Write rows as Parquet, one file a day touched, and make them part of the table in one Delta commit.

        `received` is what was received for these rows; the commit has the sum of it, so that it is kept with the rows.
        Everything is on the disk when this returns. When it raises, `refresh` and then `position` tell whether the
        commit was made; where it was not, its files may be left, to which nothing refers.
        """
        self.refresh()
        if self.position >= position:
            return
        added = write_files(self.directory, rows, self._days)
        now_ms = _now_ms()
        total = self.received + received
        numbers = ((APPLICATION, position), (INPUT_EVENTS, total.events), (INPUT_BYTES, total.bytes))
        transactions = [
            {"txn": {"appId": application, "version": number, "lastUpdated": now_ms}} for application, number in numbers
        ]
        try:
            for _ in range(CONFLICTS):
                information = _commit_info("WRITE", {"mode": "Append", "partitionBy": json.dumps([DAY])})
                new_metadata = self._new_metadata(self._new_columns(rows, view))
                if self._append([information, *new_metadata, *transactions, *(action for action, _ in added)]):
                    break
                self.refresh()
            else:
                raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")
        except BaseException:
            if self._log.is_sure:
                remove_files(added)
            raise
        self._made((*self.files, *(data_file for _, data_file in added)))

    def rewrite(self, gone: Sequence[DataFile], added: Sequence[NewFile], *, what: str, changes_data: bool) -> None:
        """Put new files in the place of others in one Delta commit, which leaves the log position as it is.

        The old files stay on disk. `changes_data` tells Delta whether the rows are others than before; `what` names the
        operation in the table's history. Everything is flushed when this returns. When it raises, `refresh` tells
        whether the commit was made.
        """
        now_ms = _now_ms()
        removed = [
            {
                "remove": {
                    "path": file.name,
                    "deletionTimestamp": now_ms,
                    "dataChange": changes_data,
                    "extendedFileMetadata": True,
                    "partitionValues": {DAY: _day_name(file.day)},
                    "size": file.bytes,
                }
            }
            for file in gone
        ]
        put = [{"add": {**action["add"], "dataChange": changes_data}} for action, _ in added]
        for _ in range(CONFLICTS):
            self.refresh()
            if not {file.name for file in gone} <= {file.name for file in self.files}:
                raise DeltaError("files to be replaced are no part of the table any more")
            information = _commit_info("WRITE", {"mode": "Append"}, tailrace=what)
            if self._append([information, *self._new_metadata([]), *put, *removed]):
                break
        else:
            raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")
        replaced = {file.name for file in gone}
        kept = [file for file in self.files if file.name not in replaced]
        self._made(tuple(sorted([*kept, *(data_file for _, data_file in added)], key=_order)))

    def fields(self) -> FieldsView:
        """Return what the table's own columns tell of the registry: not how keys are nested, nor what `_rest` has."""
        columns = [
            Column(field.name, path, tuple(path.split(".")), field.metadata["tailrace.type"])
            for field in self._delta.schema().fields
            if (path := field.metadata.get("tailrace.path")) is not None
        ]
        return FieldsView(tuple(columns), rest_overflow=bool(columns))

    def refresh(self) -> None:
        """Learn of commits whose success was not known; what `files` and `position` tell of then is on the disk."""
        self._log.settle()
        self._delta.update_incremental()
        if self._delta.version() != self._files_version:
            self.files = tuple(_data_files(self.directory, self._delta))
            self._files_version = self._delta.version()

    def _made(self, files: tuple[DataFile, ...]) -> None:
        """Note the files after a version was written: unless others wrote too there is no need to ask."""
        expected = self._files_version + 1
        self._delta.update_incremental()
        if self._delta.version() == expected:
            self.files, self._files_version = files, expected
        else:
            self.refresh()
        if self.version < self._checkpoint_at:
            return
        self._checkpoint_at = _next_checkpoint(self.version)
        try:
            checkpoint(self.directory)
        except (OSError, DeltaError):
            logger.exception("no checkpoint of %s could be made; the next is tried later", self.directory)

    def _append(self, actions: Sequence[Action]) -> bool:
        """Write the version after the one that is known; False where another writer has."""
        protocol = self._delta.protocol()
        if protocol.min_reader_version > READER_VERSION or protocol.min_writer_version > WRITER_VERSION:
            raise DatasetUnavailable(
                f"another engine has raised the table's protocol to reader {protocol.min_reader_version} and "
                f"writer {protocol.min_writer_version}; Tailrace writes {READER_VERSION} and {WRITER_VERSION}"
            )
        version = self._delta.version() + 1
        try:
            self._log.append(version, actions)
        except FileExistsError:
            return False
        return True

    def _new_columns(self, rows: pa.Table, view: FieldsView) -> list[Field]:
        """Return the columns of rows that the table does not have yet."""
        known = {field.name for field in self._delta.schema().fields}
        return [
            Field(
                column.name,
                PrimitiveType(_DELTA_TYPES[column.type]),
                metadata={"tailrace.path": column.path, "tailrace.type": column.type},
            )
            for column in view.columns
            if column.name in rows.column_names and column.name not in known
        ]

    def _new_metadata(self, new_columns: Sequence[Field]) -> list[Action]:
        """Return the change of what the table says of itself, none where it says all."""
        known = self._delta.metadata()
        if not new_columns and _has_all_statistics(self._delta):
            return []
        schema = json.loads(self._delta.schema().to_json())
        schema["fields"] += [json.loads(field.to_json()) for field in new_columns]
        metadata = {
            "id": str(known.id),
            "name": known.name,
            "description": known.description,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps(schema, ensure_ascii=False),
            "partitionColumns": known.partition_columns,
            "createdTime": known.created_time,
            "configuration": {**known.configuration, INDEXED_COLUMNS: ALL_COLUMNS},
        }
        return [{"metaData": metadata}]

    def _flush_newest(self) -> None:
        """Flush what another version of this program, or another engine, may have written last without doing so."""
        log = self._log.path
        newest = [version_path(log, version) for version in range(self.version - 1, self.version + 1)]
        for path in (*newest, *log.glob("*.checkpoint*.parquet"), log / LAST_CHECKPOINT):
            if path.exists():
                flush(path)
        flush(log)


def _next_checkpoint(version: int) -> int:
    return (version // CHECKPOINT_VERSIONS + 1) * CHECKPOINT_VERSIONS


def _commit_info(operation: str, parameters: dict[str, str], **more: str) -> Action:
    return {
        "commitInfo": {
            "timestamp": _now_ms(),
            "operation": operation,
            "operationParameters": parameters,
            "engineInfo": f"tailrace/{__version__}",
            **more,
        }
    }


def remove_files(files: Iterable[NewFile]) -> None:
    """Remove files that did not become part of a table."""
    for _, data_file in files:
        Path(data_file.location).unlink(missing_ok=True)


def write_files(directory: Path, rows: pa.Table, flushed_days: set[Path] | None = None) -> list[NewFile]:
    """Sort rows by `_time` and write one Parquet file for each UTC day, flushed; return what Delta must be told.

    `flushed_days` are the directories of days whose names are known to be on the disk, and is added to. When this fails
    no file is left: attempts on a full disk would use up whatever becomes free.
    """
    begun: list[Path] = []
    try:
        return _write_files(directory, rows, begun, set() if flushed_days is None else flushed_days)
    except BaseException:
        for path in begun:
            path.unlink(missing_ok=True)
        # A day's directory goes too where it is new: its name may be lost, and is given anew by the next attempt.
        for day in {path.parent for path in begun} - (flushed_days or set()):
            with suppress(OSError):
                day.rmdir()
        raise


def _write_files(directory: Path, rows: pa.Table, begun: list[Path], flushed_days: set[Path]) -> list[NewFile]:
    rows = rows.take(pc.sort_indices(rows[TIME]))
    times = rows[TIME].cast(pa.int64()).to_numpy()
    days = times // US_PER_DAY
    starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
    stops = [*starts[1:], len(days)]
    added = []
    for start, stop in zip(starts, stops, strict=True):
        path = _path(directory, int(days[start]))
        if not path.parent.exists():
            path.parent.mkdir()
            flushed_days.discard(path.parent)
        part = rows.slice(start, stop - start)
        # Not a column of which every value is missing: a file need not have all columns of its table.
        part = part.select([n for n in part.column_names if part[n].null_count < part.num_rows])
        metadata: list[pq.FileMetaData] = []
        begun.append(path)
        with path.open("wb") as opened:
            file = HashingFile(opened)
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
            begun[-1] = path = file.name(path)
        added.append(new_file(directory, path, size, metadata[0], int(times[start]), int(times[stop - 1])))
    # Only now, for all together: events of 10,000 days are as many files.
    flush_all(begun)
    days_written = {path.parent for path in begun}
    flush_all(days_written)
    # That a directory is there does not tell that its name is on the disk: an earlier flush may have failed.
    if not days_written <= flushed_days:
        flush(directory)
        flushed_days |= days_written
    return added


def new_path(directory: Path, day: int) -> Path:
    """Where a new file for a day goes; makes the day's directory, durably."""
    path = _path(directory, day)
    make_directory(path.parent)
    return path


def _path(directory: Path, day: int) -> Path:
    """Return a file's first name, to which its hash comes once it is written."""
    return directory / f"{DAY}={_day_name(day)}" / f"part-{uuid.uuid4()}{SUFFIX}"


def new_file(
    directory: Path, path: Path, size: int, metadata: pq.FileMetaData, min_time_us: int, max_time_us: int
) -> NewFile:
    """Return what Delta and queries must know of a file that has been written."""
    counts = statistics(metadata)
    columns = _columns_of(metadata, counts)
    now_ms = _now_ms()
    name = str(path.relative_to(directory))
    data_file = DataFile(name, str(path), size, metadata.num_rows, min_time_us, max_time_us, columns, now_ms)
    stats = json.dumps(counts, ensure_ascii=False)
    action = {
        "path": name,
        "partitionValues": {DAY: _day_name(data_file.day)},
        "size": size,
        "modificationTime": now_ms,
        "dataChange": True,
        "stats": stats,
    }
    return {"add": action}, data_file


def _columns_of(metadata: pq.FileMetaData, counts: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns that have a value in a file, or may have one."""
    names = {metadata.schema.column(index).name for index in range(metadata.num_columns)}
    return frozenset(name for name in names if counts["nullCount"].get(name, -1) < metadata.num_rows)


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
    is_counted = _has_all_statistics(delta)
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
        name = unquote(row["path"])
        path = directory / name
        if not is_counted:
            columns = _columns_in(path, delta)
        written_ms = int(row["modification_time"])
        files.append(DataFile(name, str(path), row["size_bytes"], rows, _us(low), _us(high), columns, written_ms))
    return sorted(files, key=_order)


def _has_all_statistics(delta: DeltaTable) -> bool:
    """Whether the statistics that delta-rs gives of a table's files are of all of their columns."""
    return delta.metadata().configuration.get(INDEXED_COLUMNS) == ALL_COLUMNS


def _columns_in(path: Path, delta: DeltaTable) -> frozenset[str]:
    """Return the columns that have a value in a file by its own account; all where it cannot be read: a query then says
    so.
    """
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return frozenset(field.name for field in delta.schema().fields) - {DAY}
    return _columns_of(metadata, statistics(metadata))


def _order(file: DataFile) -> tuple[int, str]:
    return file.min_time_us, file.name


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
