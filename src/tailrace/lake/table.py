"""The Delta table of a dataset: Parquet files by day, and commits that carry the positions in the event logs."""

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from tailrace import __version__
from tailrace.events import DatasetUnavailable
from tailrace.lake.clock import time_ms
from tailrace.lake.delta import DeltaError, DeltaReader
from tailrace.lake.deltalog import Action
from tailrace.lake.fields import DAY, REST, SYSTEM_TIME, TIME
from tailrace.lake.parquet import NewFile, OrderedRows, columns_of, in_order, statistics, write_files
from tailrace.lake.settings import MaintenanceSettings
from tailrace.lake.snapshot import DataFile, FieldsView, PhysicalColumn, Received
from tailrace.lake.table_clustering import TableClustering
from tailrace.lake.table_storage import TableStorage, day_name
from tailrace.log import FIRST_WRITER, Positions, covers, furthest, same

APPLICATION = "tailrace-log"  # of the transaction identifier that holds the position in the first writer's log
WRITER_APPLICATION = f"{APPLICATION}/"  # in another writer's, whose name follows
INPUT_BYTES = "tailrace-input-bytes"  # of those that hold what was received since the table was created
INPUT_EVENTS = "tailrace-input-events"
READER_VERSION = 1  # of the Delta protocol
WRITER_VERSION = 2
CONFLICTS = 10  # with other writers in succession, after which a commit fails for now
REUSE_MS = 60_000  # for which written files are committed also after versions of others, who may sweep files later
OVERTAKEN = "another server has committed events of the same logs to the table"
CHECKPOINT_VERSIONS = 100  # between two checkpoints
INDEXED_COLUMNS = "delta.dataSkippingNumIndexedCols"
ALL_COLUMNS = "-1"
WRITERS = "tailrace.writers"  # a property: the other writers that the table has rows of, as a JSON array
PROPERTIES = {
    # Delta's defaults of 30 and 7 days would mean 100,000 files to list, and as many names in each checkpoint.
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.checkpointInterval": str(CHECKPOINT_VERSIONS),
    # Beyond this number of columns delta-rs returns no statistics, which say what columns a file has.
    INDEXED_COLUMNS: ALL_COLUMNS,
}

logger = logging.getLogger(__name__)


class TableOvertaken(DeltaError):
    """Another server has committed events of the same logs to the table."""


_DELTA_TYPES = {
    "boolean": "boolean",
    "integer": "long",
    "float": "double",
    "string": "string",
    "array": "string",
}


class DatasetTable:
    """A dataset's Delta table. One thread at a time may commit, rewrite or refresh.

    Its versions are written here, not by delta-rs, which names a version before its content is durable. delta-rs reads
    them, and writes the checkpoints.
    """

    def __init__(self, storage: TableStorage) -> None:
        """Read a table whose Delta log is complete. Raise DeltaError where there is none."""
        self.storage = storage
        self.clustering = TableClustering(storage)
        self.set_aside: tuple[str, ...] = ()  # files of its Delta log that could not be read when it was opened
        self._delta_log = storage.delta_log
        self._current = _read(storage)
        self._checkpoint_at = _next_checkpoint(self.version)
        self._others_at_ms = 0  # when another writer's version was found last

    @classmethod
    def create(cls, storage: TableStorage) -> "DatasetTable":
        """Create an empty table, durably."""
        columns = [
            _delta_column(TIME, "timestamp"),
            _delta_column(SYSTEM_TIME, "timestamp"),
            _delta_column(REST, "string", {"tailrace.type": "rest"}),
            _delta_column(DAY, "date"),
        ]
        metadata = {
            "id": str(uuid.uuid4()),
            "name": None,
            "description": None,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": _schema_string(columns),
            "partitionColumns": [DAY],
            "createdTime": time_ms(),
            "configuration": PROPERTIES,
        }
        storage.delta_log.append(
            0,
            [
                _commit_info("CREATE TABLE", {"mode": "ErrorIfExists"}),
                {"protocol": {"minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION}},
                {"metaData": metadata},
            ],
        )
        return cls(storage)

    @classmethod
    def open(cls, storage: TableStorage) -> "DatasetTable":
        """Open a table. Raise DeltaError where there is none.

        Its content is durable then, so that the event logs may release what its positions cover. A newest version or
        checkpoint that a power cut damaged is set aside: the rows of the version are in the event log, and a checkpoint
        can be missing.
        """
        set_aside = storage.delta_log.recover()
        try:
            table = cls.open_read_only(storage)
        except Exception:
            moved = storage.delta_log.set_aside_checkpoints()
            if not moved:
                raise
            try:
                table = cls.open_read_only(storage)
            except Exception:
                for name, aside in moved:
                    storage.delta_log.put_back(aside, name)
                raise
            set_aside += [aside for _, aside in moved]
        table.set_aside = tuple(set_aside)
        return table._confirmed()

    def _confirmed(self) -> "DatasetTable":
        """Return the table once its newest version is durable, and is known to stay the newest."""
        for _ in range(CONFLICTS):
            try:
                number = self._delta_log.confirm(self.version)
            except FileExistsError:
                self._current = _read(self.storage)
                continue
            self._current = replace(self._current, number=number)
            return self
        raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")

    @classmethod
    def open_read_only(cls, storage: TableStorage) -> "DatasetTable":
        """Open a table without changing it. Raise DatasetUnavailable where its Delta log cannot be read."""
        storage.delta_log.check()
        return cls(storage)

    def exists(self) -> bool:
        """Return whether the table's Delta log still exists."""
        return self.storage.is_table()

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The data files, in the order of time."""
        return self._current.files

    @property
    def positions(self) -> Positions:
        """The positions in the writers' logs up to which the table has every batch of its dataset."""
        return self._current.positions

    @property
    def received(self) -> Received:
        """The events and bytes that were received up to `positions`, including those that were deleted since.

        For a table of a version that did not count them, those of its files.
        """
        return self._current.received

    @property
    def version(self) -> int:
        return self._current.number

    def in_order(self, rows: pa.Table, settings: MaintenanceSettings = MaintenanceSettings()) -> OrderedRows:
        """Return rows in the order in which they are committed."""
        return in_order(rows, self.clustering.of(rows, settings))

    def commit(
        self,
        ordered: OrderedRows,
        view: FieldsView,
        positions: Positions,
        received: Received = Received(),
        *,
        after: Positions | None = None,
    ) -> None:
        """Write rows as Parquet, one file for each day, and add them to the table in one Delta commit.

        Do nothing if the table has these positions, or later ones, already. `after` are the positions that the rows
        follow: raise TableOvertaken where the table has others, and where another server is first with events.

        `received` counts what was received for these rows; the commit stores the new total with them. Everything is
        durable when this returns. When it raises, `refresh` and then `positions` tell whether the commit was written;
        if not, unreferenced files may be left.
        """
        self.refresh()
        if covers(self.positions, positions):
            return
        before = self.positions
        if after is not None and not same(before, after):
            raise TableOvertaken(OVERTAKEN)
        positions = furthest([before, positions])
        added = write_files(self.storage, ordered)
        now_ms = time_ms()
        total = self.received + received
        numbers = [(_application(writer), position) for writer, position in sorted(positions.items())]
        numbers += [(INPUT_EVENTS, total.events), (INPUT_BYTES, total.bytes)]
        transactions = [
            {"txn": {"appId": application, "version": number, "lastUpdated": now_ms}} for application, number in numbers
        ]
        try:
            for _ in range(CONFLICTS):
                information = _commit_info("WRITE", {"mode": "Append", "partitionBy": json.dumps([DAY])})
                new_columns = self._new_columns(ordered.rows, view)
                new_metadata = self._new_metadata(new_columns, positions)
                self._check_there(added)
                if self._append([information, *new_metadata, *transactions, *(action for action, _ in added)]):
                    break
                self.refresh()
                if self.positions != before:
                    raise TableOvertaken(OVERTAKEN)
            else:
                raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")
        except BaseException:
            if self._delta_log.is_sure:
                self.storage.remove_data_files(data_file.name for _, data_file in added)
            raise
        current = self._current
        files = (*current.files, *(data_file for _, data_file in added))
        columns = (*current.columns, *new_columns)
        self._adopt(replace(current, files=files, columns=columns, positions=positions, received=total))

    def rewrite(
        self, old_files: Sequence[DataFile], added: Sequence[NewFile], *, operation_name: str, changes_data: bool
    ) -> None:
        """Replace files by new ones in one Delta commit, which leaves the positions in the logs as they are.

        The old files stay on disk. `changes_data` tells Delta whether the rows have changed; `operation_name` stands in
        the table's history. Everything is durable when this returns. When it raises, `refresh` tells whether the
        commit was written.
        """
        now_ms = time_ms()
        removed = [
            {
                "remove": {
                    "path": file.name,
                    "deletionTimestamp": now_ms,
                    "dataChange": changes_data,
                    "extendedFileMetadata": True,
                    "partitionValues": {DAY: day_name(file.day)},
                    "size": file.bytes,
                }
            }
            for file in old_files
        ]
        added_actions = [{"add": {**action["add"], "dataChange": changes_data}} for action, _ in added]
        for _ in range(CONFLICTS):
            self.refresh()
            if not {file.name for file in old_files} <= {file.name for file in self.files}:
                raise DeltaError("files to be replaced are no part of the table any more")
            self._check_there(added)
            information = _commit_info("WRITE", {"mode": "Append"}, tailrace=operation_name)
            if self._append([information, *self._new_metadata([], self.positions), *added_actions, *removed]):
                break
        else:
            raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")
        replaced = {file.name for file in old_files}
        others = [file for file in self.files if file.name not in replaced]
        files = tuple(sorted([*others, *(data_file for _, data_file in added)], key=_order))
        self._adopt(replace(self._current, files=files))

    def fields(self) -> FieldsView:
        """Return a registry of the table's columns: without how keys are nested, and without what is in `_rest`."""
        columns = [
            PhysicalColumn(column["name"], path, tuple(path.split(".")), column["metadata"]["tailrace.type"])
            for column in self._current.columns
            if (path := column["metadata"].get("tailrace.path")) is not None
        ]
        return FieldsView(tuple(columns), rest_overflow=bool(columns))

    def refresh(self) -> None:
        """Read commits whose success was unknown, and those of others; what the table has is durable then."""
        self._delta_log.settle()
        if not self._delta_log.is_newest(self.version):
            self._current = _read(self.storage)
            self._others_at_ms = time_ms()

    def fence(self) -> None:
        """Write a version that changes nothing, so that what another writer is about to commit meets a conflict."""
        for _ in range(CONFLICTS):
            self.refresh()
            if self._append([_commit_info("FENCE", {})]):
                self._adopt(self._current)
                return
        raise DeltaError(f"other writers were first at each of {CONFLICTS} versions of the table")

    def _check_there(self, added: Sequence[NewFile]) -> None:
        """Raise DeltaError where another server may have swept files that were written a while ago.

        It fences the table before it sweeps, so there is a version of another one then.
        """
        written_ms = min((file.written_ms for _, file in added), default=time_ms())
        if self._others_at_ms >= written_ms and time_ms() - written_ms > REUSE_MS:
            raise DeltaError("another server has changed the table, and may have removed what was written for it")

    def _adopt(self, written: "_TableVersion") -> None:
        """Set what the table is once the next version was written, and write a checkpoint where one is due."""
        configuration = _configuration(written.configuration, written.positions)
        self._current = replace(written, number=written.number + 1, configuration=configuration)
        if self.version < self._checkpoint_at:
            return
        self._checkpoint_at = _next_checkpoint(self.version)
        try:
            self._delta_log.checkpoint()
        except (OSError, DeltaError):
            logger.exception("no checkpoint of %s could be written; the next is tried later", self.storage)

    def _append(self, actions: Sequence[Action]) -> bool:
        """Write the next version; return False where another writer already has."""
        reader, writer = self._current.protocol
        if reader > READER_VERSION or writer > WRITER_VERSION:
            raise DatasetUnavailable(
                f"another engine has raised the table's protocol to reader {reader} and writer {writer}; "
                f"Tailrace writes {READER_VERSION} and {WRITER_VERSION}"
            )
        try:
            self._delta_log.append(self.version + 1, actions)
        except FileExistsError:
            return False
        return True

    def _new_columns(self, rows: pa.Table, view: FieldsView) -> list[dict[str, Any]]:
        """Return the columns of rows that the table does not have yet."""
        known = {column["name"] for column in self._current.columns}
        return [
            _delta_column(
                column.name,
                _DELTA_TYPES[column.type],
                {"tailrace.path": column.path, "tailrace.type": column.type},
            )
            for column in view.columns
            if column.name in rows.column_names and column.name not in known
        ]

    def _new_metadata(self, new_columns: Sequence[dict[str, Any]], positions: Positions) -> list[Action]:
        """Return the change of the table's metadata, none if it is up to date."""
        current = self._current
        configuration = _configuration(current.configuration, positions)
        if not new_columns and configuration == current.configuration:
            return []
        metadata = {
            **current.metadata,
            "schemaString": _schema_string([*current.columns, *new_columns]),
            "configuration": configuration,
        }
        return [{"metaData": metadata}]


class _TableVersion(Struct, frozen=True, eq=False):
    """A version of a table, as far as a writer of the next one must know it.

    It is read by delta-rs where another has written it. Of those that are written here it is known already: delta-rs
    takes longer to read one than it takes to write a small file.
    """

    number: int
    files: tuple[DataFile, ...]
    columns: tuple[dict[str, Any], ...]
    configuration: Mapping[str, str | None]
    metadata: Mapping[str, Any]  # but columns and configuration
    protocol: tuple[int, int]  # of readers, of writers
    positions: Positions
    received: Received


def _read(storage: TableStorage) -> _TableVersion:
    """Read the newest version. Raise DeltaError where there is none, or one that cannot be read."""
    delta = DeltaReader(storage.uri)
    files = tuple(_data_files(storage, delta))
    events, size = delta.transaction(INPUT_EVENTS), delta.transaction(INPUT_BYTES)
    if events is None or size is None:
        events, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    return _TableVersion(
        delta.version,
        files,
        tuple(delta.columns()),
        delta.configuration(),
        delta.metadata(),
        delta.protocol(),
        _positions(delta),
        Received(events, size),
    )


def _delta_column(name: str, kind: str, metadata: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a column of a Delta schema."""
    return {"name": name, "type": kind, "nullable": True, "metadata": metadata or {}}


def _schema_string(columns: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"type": "struct", "fields": columns}, ensure_ascii=False)


def _next_checkpoint(version: int) -> int:
    return (version // CHECKPOINT_VERSIONS + 1) * CHECKPOINT_VERSIONS


def _commit_info(operation: str, parameters: dict[str, str], **more: str) -> Action:
    return {
        "commitInfo": {
            "timestamp": time_ms(),
            "operation": operation,
            "operationParameters": parameters,
            "engineInfo": f"tailrace/{__version__}",
            **more,
        }
    }


def _data_files(storage: TableStorage, delta: DeltaReader) -> list[DataFile]:
    actions = delta.add_actions()
    if not actions.num_rows:
        return []
    null_count = "null_count."
    is_counted = _has_all_statistics(delta.configuration())
    selected = ["path", "size_bytes", "num_records", "modification_time", f"min.{TIME}", f"max.{TIME}"]
    selected += [name for name in actions.column_names if name.startswith(null_count)]
    files = []
    for row in actions.select(selected).to_pylist():
        low, high = row[f"min.{TIME}"], row[f"max.{TIME}"]
        rows = row["num_records"]
        name = unquote(row["path"])
        if is_counted:
            columns = frozenset(
                column.removeprefix(null_count)
                for column, nulls in row.items()
                if column.startswith(null_count) and nulls is not None and nulls < rows
            )
        else:
            columns = _columns_in(storage, name, delta)
        size, written_ms = row["size_bytes"], int(row["modification_time"])
        files.append(DataFile(name, storage.readable(name), size, rows, _us(low), _us(high), columns, written_ms))
    return sorted(files, key=_order)


def _has_all_statistics(configuration: Mapping[str, str | None]) -> bool:
    """Return whether a table's statistics include all columns of its files."""
    return configuration.get(INDEXED_COLUMNS) == ALL_COLUMNS


def _configuration(configuration: Mapping[str, str | None], positions: Positions) -> Mapping[str, str | None]:
    """Return the properties of a table with statistics of all columns, and with rows of these writers."""
    others = sorted(positions.keys() - {FIRST_WRITER})
    writers = {WRITERS: json.dumps(others)} if others else {}
    return {**configuration, INDEXED_COLUMNS: ALL_COLUMNS, **writers}


def _application(writer: str) -> str:
    return APPLICATION if writer == FIRST_WRITER else WRITER_APPLICATION + writer


def _positions(delta: DeltaReader) -> Positions:
    """Return the positions that a table's commits carry. delta-rs does not tell whose they are, so a property does."""
    writers = [FIRST_WRITER, *json.loads(delta.configuration().get(WRITERS) or "[]")]
    found = {writer: delta.transaction(_application(writer)) for writer in writers}
    return {writer: position for writer, position in found.items() if position is not None}


def _columns_in(storage: TableStorage, name: str, delta: DeltaReader) -> frozenset[str]:
    """Return the columns that have a value, from the file's own metadata; all if it cannot be read, as a query says."""
    try:
        with storage.parquet(name) as file:
            metadata = file.metadata
    except (OSError, pa.ArrowException):
        return frozenset(column["name"] for column in delta.columns()) - {DAY}
    return columns_of(metadata, statistics(metadata))


def _order(file: DataFile) -> tuple[int, str]:
    return file.min_time_us, file.name


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
