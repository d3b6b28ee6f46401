"""The lake: takes batches from the log, shreds them, keeps them queryable at once, and commits them to tables."""

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb
import msgspec
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import (
    Batch,
    Conflict,
    DatasetExists,
    DatasetNotFound,
    DatasetUnavailable,
    Overloaded,
    ShuttingDown,
    TailraceError,
)
from tailrace.lake import catalog
from tailrace.lake.catalog import DEFAULT_KIND, DatasetInfo
from tailrace.lake.delta import DeltaError
from tailrace.lake.fields import Fields, load_fields, store_fields
from tailrace.lake.hot import HotPart, joined
from tailrace.lake.maintenance import Deletion, MaintenanceStopped, TableMaintenance
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.maintenance_thread import MaintainedTable, MaintenanceThread
from tailrace.lake.preload import preload
from tailrace.lake.priority import lower_priority
from tailrace.lake.rewrite import Pace
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shred import Shredder, whole_events_as_rest
from tailrace.lake.snapshot import FieldsView, Received, RowFilter, Snapshot
from tailrace.lake.table import Table
from tailrace.lake.table_storage import TableStorage
from tailrace.log import Subscription
from tailrace.storage.faults import FULL, disk_full, is_full, reason_of
from tailrace.storage.files import flush, make_directories
from tailrace.storage.reserve import Reserve

logger = logging.getLogger(__name__)

SHRED_BYTES = 8 * 1024 * 1024  # of NDJSON taken in one shredding
LINGER_BYTES = 64 * 1024 * 1024  # with less than this (or a commit's worth) waiting, shredding waits for more:
LINGER_S = 1.0  # at most this long, and not at all when a query waits; a burst is acknowledged before it is shredded
OPENING_THREADS = 4  # that read tables at the start; most of that is waiting and native
HOT_COMMITS = 4  # shredding of a dataset pauses while it has this many commits' worth in memory
DUCKDB_CONFIG: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": False}
SHRED_RETRY_S, MAX_SHRED_RETRY_S = 0.1, 5.0  # between attempts
SCARCITY = (OSError, MemoryError, ImportError, duckdb.IOException, duckdb.OutOfMemoryException)
"""What is the process's fault, not the events': descriptors, memory, disk."""
COMMIT_CHECK_S = 0.5
DRAIN_TIMEOUT_S = 60.0
COMMIT_RETRY_S = 5.0
REOPEN_RETRY_S, MAX_REOPEN_RETRY_S = 2.0, 60.0  # between attempts to open what could not be opened
COMMIT_FAILURES_NOTED = 2  # one after the other, of a dataset, that make it a fault of the lake
BATCH_OVERHEAD_BYTES = 256  # what a waiting batch costs beside its events

ReadLog = Callable[[int], Iterable[tuple[int, Batch]]]
"""Gives the batches of the log from a position on, in order."""


class Lag(Struct, frozen=True):
    """How far the tables are behind the log."""

    events: int  # acknowledged, and not committed
    age_s: float  # of the oldest of them


class Unavailable(Struct, frozen=True):
    """A dataset whose directory is there and whose files cannot be used."""

    info: DatasetInfo  # of which only the name is sure
    reason: str
    is_dropped: bool = False  # and waits to be dropped again

    @property
    def message(self) -> str:
        return f"dataset {self.info.name!r} cannot be used: {self.reason}"


class _Pending(Struct, frozen=True, eq=False):
    position: int
    batch: Batch
    since_s: float


class _Stored(Struct, frozen=True, eq=False):
    """A dataset as its directory holds it."""

    info: DatasetInfo
    table: Table
    view: FieldsView
    is_view_stored: bool
    position: int  # of the table


def _stored(directory: Path, info: DatasetInfo | None = None) -> _Stored:
    """Read a dataset. Raise whatever is wrong with its files."""
    info = info or catalog.load_info(directory)
    table = Table.open(TableStorage(directory))
    path = catalog.fields_path(directory)
    view, is_view_stored = load_fields(path), path.exists()
    if not is_view_stored and (view := table.fields()).columns:
        logger.warning("%s is missing: it is made anew from the table's columns", path)
    return _Stored(info, table, view, is_view_stored, table.position)


class _Dataset:
    """One dataset while the server runs. Its state is guarded by the lake's lock."""

    def __init__(
        self, stored: _Stored, fields: Fields, shredder: Shredder, maintenance: Callable[["_Dataset"], TableMaintenance]
    ) -> None:
        self.info = stored.info
        self.table = stored.table
        self.fields = fields
        self.view = fields.view()
        self.shredder = shredder
        self.waiting: deque[_Pending] = deque()
        self.waiting_bytes = 0
        self.shredding: list[_Pending] = []
        self.hot: list[HotPart] = []
        self.hot_bytes = 0
        self.committing: list[HotPart] = []
        self.files = stored.table.files
        self.received = stored.table.received  # of what is in the table
        self.stored_view = self.view if stored.is_view_stored else None
        self.committed = max(stored.position, stored.info.created_position)
        self.accepted = self.committed
        self.shredded = self.committed
        self.uncommitted_events = 0
        self.retry_at_s = 0.0
        self.failed_commits = 0  # since the last that succeeded
        self.commit_failure = ""
        self.demanded = False
        self.dropped = False
        self.commit_lock = threading.Lock()
        self.maintenance = maintenance(self)


class Lake:
    """All datasets of a data directory. Thread-safe.

    By its `subscription` it gets the batches of a log, and acknowledges positions up to which all are in their tables.
    """

    def __init__(self, root: Path, settings: LakeSettings, reserve: Reserve | None = None) -> None:
        self._reserve = reserve
        self.root = root
        self.settings = settings
        self.commits = 0
        self.commit_failures = 0
        self.shred_failures = 0
        self.set_aside = 0  # files of tables' logs that could not be read when they were opened
        self.maintenance = MaintenanceCounters()
        self._lock = threading.RLock()
        # One condition a waiter: a wake-up of a thread that then finds nothing to do costs as much as a small request.
        self._work = threading.Condition(self._lock)  # for the shredding thread
        self._commit_due = threading.Condition(self._lock)  # for the committing thread
        self._progress = threading.Condition(self._lock)  # for snapshots and replay
        self._names = threading.Condition(self._lock)  # for those that create, change and drop datasets
        self._shredder_waits: Literal["for work", "for more", ""] = ""
        self._datasets: dict[str, _Dataset] = {}
        self._backlog_bytes = 0
        self._accepted = 0
        self._acknowledged = 0
        self._linger_bytes = min(LINGER_BYTES, settings.commit_bytes)
        self._closing = False
        self._failed: BaseException | None = None
        self._shred_trouble = ""  # why shredding does not go on at the moment
        # Its threads are started, and so niced, by the thread that opens it.
        with ThreadPoolExecutor(1, initializer=lower_priority) as niced:
            self._duckdb = niced.submit(duckdb.connect, ":memory:", config=DUCKDB_CONFIG).result()
        self._unavailable: dict[str, Unavailable] = {}
        self._maintenance_thread = MaintenanceThread(
            settings.maintenance, self.maintenance, self._maintained, self._is_busy, self._lent
        )
        self._dropped = catalog.load_dropped(root)
        self._dropped_stored = True  # as `_dropped` has it
        self._store_dropped_at_s = 0.0
        self._dropped_lock = threading.Lock()  # of the file; taken before the lake's
        self._names_reserved: set[str] = set()
        self._creating: set[str] = set()  # that count as datasets already
        self._orphaned: dict[str, int] = {}  # datasets of batches that have no table, with their first position
        self._replaying = True
        with ThreadPoolExecutor(OPENING_THREADS, "tailrace-open") as opening:
            readings = {
                directory: opening.submit(_stored, directory) for directory in catalog.dataset_directories(root)
            }
            for directory, reading in readings.items():
                try:
                    stored = reading.result()
                    self.set_aside += len(stored.table.set_aside)
                    self._datasets[directory.name] = self._opened(stored)
                except Exception as error:
                    logger.exception("dataset %r cannot be used; its events stay where they are", directory.name)
                    self._unavailable[directory.name] = Unavailable(_known_info(directory), reason_of(error))
        self.subscription = Subscription(self.accept_all, floor=self.highest_position())
        self._threads = [
            threading.Thread(target=self._shred_forever, name="tailrace-shred", daemon=True),
            threading.Thread(target=self._commit_forever, name="tailrace-commit", daemon=True),
        ]

    @classmethod
    def open(
        cls,
        root: Path,
        settings: LakeSettings | None = None,
        reserve: Reserve | None = None,
    ) -> "Lake":
        """Open the lake kept in a directory, which is created when missing, and start its threads.

        What frees space on a full disk is lent the `reserve`.
        """
        preload()
        make_directories(root)
        # A process that was killed may have made it, and named a dataset in it, without that.
        flush(root.parent)
        flush(root)
        lake = cls(root, settings or LakeSettings(), reserve)
        for thread in lake._threads:
            thread.start()
        lake._maintenance_thread.start()
        return lake

    def _opened(self, stored: "_Stored") -> _Dataset:
        settings = self.settings
        fields = Fields(stored.view, max_columns=settings.columns_per_dataset, density=settings.column_density)
        return _Dataset(stored, fields, Shredder(fields, self._duckdb.cursor()), self._maintenance_of)

    def _maintenance_of(self, dataset: _Dataset) -> TableMaintenance:
        return TableMaintenance(
            dataset.table,
            self.settings.maintenance,
            self.maintenance,
            commit_lock=dataset.commit_lock,
            publish=partial(self._adopt, dataset),
        )

    # Datasets

    def create(
        self,
        name: str,
        *,
        description: str = "",
        who: str = "",
        primary_key: str = "",
        kind: str = DEFAULT_KIND,
        retention_days: int = 0,
        use_retention_period: bool = False,
        organisation: str = "",
        edge_deployment: str = "",
    ) -> DatasetInfo:
        """Make an empty dataset; the arguments are as in `DatasetInfo`.

        Raise InvalidName, DatasetExists, or Conflict past `max_datasets`.
        """
        catalog.check_name(name)
        with self._reserved(name):
            with self._lock:
                if name in self._datasets:
                    raise DatasetExists(f"dataset {name!r} exists already")
                counted = sum(1 for each in self._datasets.values() if each.info.kind != catalog.AUDIT_KIND)
                counted += len(self._creating)
                if kind != catalog.AUDIT_KIND and counted >= self.settings.max_datasets:
                    raise Conflict(f"there are {counted} datasets, the limit max_datasets")
                if name in self._unavailable:
                    reason = self._unavailable[name].reason
                    raise DatasetExists(f"dataset {name!r} exists already, but cannot be used: {reason}")
                info = DatasetInfo(
                    name,
                    time.time_ns(),
                    self._accepted,
                    description,
                    who,
                    kind,
                    retention_days,
                    use_retention_period,
                    organisation,
                    primary_key=primary_key,
                    edge_deployment=edge_deployment,
                )
                if kind != catalog.AUDIT_KIND:
                    self._creating.add(name)
            try:
                dataset = self._made(info)
                with self._lock:
                    self._datasets[name] = dataset
                    self._orphaned.pop(name, None)
            except OSError as error:
                raise _refused(f"dataset {name!r} cannot be stored", error) from error
            finally:
                with self._lock:
                    self._creating.discard(name)
            return info

    @contextmanager
    def _reserved(self, name: str) -> Iterator[None]:
        """Alone with a name of a dataset: to create, change or drop it, without holding the lock while on the disk."""
        with self._lock:
            self._names.wait_for(lambda: name not in self._names_reserved)
            self._names_reserved.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names_reserved.discard(name)
                self._names.notify_all()

    def _made(self, info: DatasetInfo) -> _Dataset:
        """Return a new dataset on disk: there with all that it needs, or not at all."""
        directory = self.root / info.name
        new = self.root / f"{catalog.NEW_PREFIX}{info.name}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            Table.create(TableStorage(new))
            catalog.store_info(new, info)
            new.rename(directory)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        try:
            flush(self.root)
            return self._opened(_stored(directory, info))
        except BaseException:
            # Or the name would be taken, by a dataset that nobody was told of.
            try:
                catalog.remove(directory)
            except OSError:
                logger.exception("%s, whose dataset could not be made, cannot be removed", directory)
            raise

    def update(
        self,
        name: str,
        *,
        description: str | None = None,
        retention_days: int | None = None,
        use_retention_period: bool | None = None,
    ) -> DatasetInfo:
        """Change what a dataset says of itself, durably; None leaves a member as it is. Raise DatasetNotFound."""
        given = {
            "description": description,
            "retention_days": retention_days,
            "use_retention_period": use_retention_period,
        }
        changes = {member: value for member, value in given.items() if value is not None}
        with self._reserved(name):
            dataset = self._dataset(name)
            info = replace(dataset.info, **changes, updated_ns=time.time_ns())
            try:
                catalog.store_info(dataset.table.storage.directory, info)
            except OSError as error:
                raise _refused(f"dataset {name!r} cannot be changed", error) from error
            dataset.info = info
            return info

    def organisation(self, name: str) -> str | None:
        """Whose a dataset is, "" for the first organisation; None where there is no such dataset."""
        dataset = self._datasets.get(name) or self._unavailable.get(name)
        return dataset.info.organisation if dataset else None

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events.

        Raise DatasetNotFound, and DatasetUnavailable where its files cannot be removed: it can be dropped again then.
        """
        with self._lent(), self._reserved(name):
            dataset = None if name in self._unavailable else self._dataset(name)
            with self._lock:
                self._forget(name)
                self._orphaned.pop(name, None)
                self._unavailable.pop(name, None)
                if dataset is not None:
                    dataset.dropped = True
                    del self._datasets[name]
                    self._backlog_bytes -= dataset.waiting_bytes
                    dataset.waiting.clear()
                    self._progress.notify_all()
            # Before its files go: without this, its batches in the log would be waited for after a crash. On a full
            # disk that is tried again, as only its files going may free space.
            self._store_dropped()
            try:
                with (
                    dataset.maintenance.lock if dataset is not None else nullcontext(),
                    dataset.commit_lock if dataset is not None else nullcontext(),
                ):
                    catalog.remove(self.root / name)
            except OSError as error:
                info = _known_info(self.root / name) if dataset is None else dataset.info
                reason = f"it was dropped, but its files cannot be removed: {reason_of(error)}"
                with self._lock:
                    self._unavailable[name] = Unavailable(info, reason, is_dropped=True)
                raise _refused(f"dataset {name!r} cannot be dropped", error) from error
        self._acknowledge_committed()

    def _forget(self, name: str) -> None:
        """Drop what was accepted so far of a name; the lock is held."""
        self._dropped[name] = self._accepted
        self._dropped_stored = False

    def _store_dropped(self) -> bool:
        """Store what was dropped, where it is not; return whether that is done."""
        with self._dropped_lock:
            with self._lock:
                if self._dropped_stored:
                    return True
                self._dropped_stored = True
                dropped = dict(self._dropped)
            try:
                catalog.store_dropped(self.root, dropped)
            except OSError as error:
                with self._lock:
                    self._dropped_stored = False
                    self._store_dropped_at_s = time.monotonic() + COMMIT_RETRY_S
                logger.error("what was dropped cannot be stored (%s): the log keeps its events until it is", error)
                return False
            return True

    def datasets(self) -> list[DatasetInfo]:
        """All datasets, by name."""
        # Without the lock, as `get` and `has`: who lists does not wait for who writes.
        return sorted((dataset.info for dataset in list(self._datasets.values())), key=lambda info: info.name)

    def unavailable(self) -> list[Unavailable]:
        """Datasets that are there and cannot be opened, by name. They take no events and answer no query."""
        with self._lock:
            return [self._unavailable[name] for name in sorted(self._unavailable)]

    def names(self) -> list[str]:
        """Return the names of all datasets, in order, those that cannot be opened included."""
        infos = [*self.datasets(), *(dataset.info for dataset in self.unavailable())]
        return sorted(info.name for info in infos)

    def knows(self, name: str) -> bool:
        """Whether there is a dataset of this name, one that cannot be opened included."""
        return name in self._datasets or name in self._unavailable

    def get(self, name: str) -> DatasetInfo:
        """Raise DatasetNotFound, DatasetUnavailable."""
        return self._dataset(name).info

    def has(self, name: str) -> bool:
        return name in self._datasets

    def _dataset(self, name: str) -> _Dataset:
        dataset = self._datasets.get(name)
        if dataset is None:
            if name in self._unavailable:
                raise DatasetUnavailable(self._unavailable[name].message)
            raise DatasetNotFound(f"dataset {name!r} not found")
        return dataset

    # The way in

    def check(self, name: str) -> None:
        """Raise DatasetNotFound or DatasetUnavailable for a dataset that takes no events."""
        if name not in self._datasets:
            self._dataset(name)

    @property
    def failure(self) -> str:
        """Why nothing is shredded any more, empty while all is well."""
        if self._failed is not None:
            return f"the shredding thread has failed: {self._failed!r}"
        return f"events cannot be shredded at the moment: {self._shred_trouble}" if self._shred_trouble else ""

    def faults(self) -> dict[str, str]:
        """Datasets that cannot be opened, committed or read, each with the reason. Asks the disk: may block."""
        with self._lock:
            datasets = list(self._datasets.values())
            found = {name: dataset.message for name, dataset in self._unavailable.items()}
        for dataset in datasets:
            if not dataset.table.exists() and not dataset.dropped:
                found[dataset.info.name] = _gone(dataset)
            elif dataset.failed_commits >= COMMIT_FAILURES_NOTED:
                found[dataset.info.name] = (
                    f"dataset {dataset.info.name!r} cannot be committed, {dataset.failed_commits} attempts failed: "
                    f"{dataset.commit_failure}"
                )
        return found

    @property
    def backlog_bytes(self) -> int:
        """Bytes of batches that are on disk but not yet shredded."""
        return self._backlog_bytes

    def lag(self) -> "Lag":
        """Return what is durable in the log and not in its table yet."""
        with self._lock:
            datasets = list(self._datasets.values())
            events = sum(dataset.uncommitted_events for dataset in datasets)
            oldest_s = [
                part[0].since_s
                for dataset in datasets
                for part in (dataset.committing, dataset.hot, dataset.shredding, dataset.waiting)
                if part
            ]
        return Lag(events, time.monotonic() - min(oldest_s) if oldest_s else 0.0)

    def damage(self) -> dict[str, str]:
        """Datasets of which files are known to be damaged, each with the files, named beneath its directory."""
        found = {}
        for dataset in list(self._datasets.values()):
            if damaged := dataset.maintenance.damaged:
                files = ", ".join(sorted(damaged))
                found[dataset.info.name] = (
                    f"dataset {dataset.info.name!r} has damaged files, and queries that need them are refused: {files}"
                )
        return found

    def damaged_files(self) -> int:
        """Files of tables that are known not to be as they were written."""
        return sum(len(dataset.maintenance.damaged) for dataset in list(self._datasets.values()))

    def uncommitted(self, name: str) -> int:
        """Events of a dataset that are not in its table yet."""
        dataset = self._datasets.get(name)
        return dataset.uncommitted_events if dataset else 0

    def accept(self, position: int, batch: Batch) -> None:
        """Take a durable batch from the log. Positions must rise; a batch that its table has already is passed over."""
        self.accept_all([(position, batch)])

    def accept_all(self, batches: Iterable[tuple[int, Batch]]) -> None:
        """Take durable batches from the log, in order."""
        now = time.monotonic()
        with self._lock:
            for position, batch in batches:
                self._accepted = max(self._accepted, position)
                dataset = self._datasets.get(batch.dataset)
                if dataset is None:
                    self._accept_orphaned(position, batch.dataset)
                    continue
                self._backlog_bytes += _enqueue(dataset, [(position, batch)], now)
            enough = self._backlog_bytes >= self._linger_bytes
            if self._shredder_waits == "for work" or (enough and self._shredder_waits == "for more"):
                self._work.notify()

    def _accept_orphaned(self, position: int, name: str) -> None:
        """Settle a batch of a dataset that was dropped, or whose directory is missing and may come back."""
        if position <= self._dropped.get(name, 0) or name in self._orphaned:
            return
        if self._replaying or name in self._unavailable:
            logger.error("the log has events of dataset %r, which is not here: they stay in the log from now on", name)
            self._orphaned[name] = position
        else:
            # It was dropped between this batch's check and its flush. The committing thread stores that, as this one
            # is the log's; until then the log keeps the batch.
            self._forget(name)
            self._commit_due.notify()

    def replayed(self, read: ReadLog | None = None) -> None:
        """Take what is accepted from now on for new: the log has been replayed.

        With `read`, datasets that could not be opened are tried again until they can, with what the log has of them.
        """
        with self._lock:
            self._replaying = False
            if read is not None and self._closed_names():
                reopening = threading.Thread(target=self._reopen_all, args=(read,), name="tailrace-reopen", daemon=True)
                self._threads.append(reopening)
                reopening.start()

    def _closed_names(self) -> list[str]:
        """Names of the datasets that could not be opened."""
        return [name for name, each in self._unavailable.items() if not each.is_dropped]

    def _reopen_all(self, read: ReadLog) -> None:
        lower_priority()
        delay_s = REOPEN_RETRY_S
        while True:
            with self._lock:
                names = self._closed_names()
                if not names or self._progress.wait_for(lambda: self._closing, delay_s):
                    return
            for name in names:
                self._reopen(name, read)
            delay_s = min(2 * delay_s, MAX_REOPEN_RETRY_S)

    def _reopen(self, name: str, read: ReadLog) -> None:
        with self._reserved(name):
            with self._lock:
                before = self._unavailable.get(name)
                if before is None or before.is_dropped:
                    return
                # Nothing came for it since the replay, as it takes no events.
                first, last = self._orphaned.get(name), self._accepted
            try:
                stored = _stored(self.root / name)
                dataset = self._opened(stored)
                if first is not None:
                    _enqueue(dataset, (each for each in read(first) if each[0] <= last and each[1].dataset == name))
            except Exception as error:
                reason = reason_of(error)
                if reason != before.reason:
                    logger.exception("dataset %r still cannot be used", name)
                with self._lock:
                    self._unavailable[name] = replace(before, reason=reason)
                return
            with self._lock:
                self.set_aside += len(stored.table.set_aside)
                self._datasets[name] = dataset
                self._backlog_bytes += dataset.waiting_bytes
                del self._unavailable[name]
                self._orphaned.pop(name, None)
                self._work.notify()
            logger.warning("dataset %r can be used again", name)

    def wait_for_capacity(self, limit_bytes: int) -> None:
        """Block until the backlog is under a limit: for replay, which has no client to send away."""
        with self._lock:
            self._progress.wait_for(lambda: self._backlog_bytes < limit_bytes or self._failed or self._closing)
            self._check()

    # The way out

    def committed_position(self) -> int:
        """Return the log position up to which every batch is in its table."""
        with self._lock:
            return self._committed_position()

    def highest_position(self) -> int:
        """Return the highest log position that any table knows: the log must not hand it out again."""
        with self._lock:
            committed = [dataset.committed for dataset in self._datasets.values()]
            return max([*committed, *self._dropped.values()], default=0)

    def _committed_position(self) -> int:
        behind = [d.committed for d in self._datasets.values() if d.committed < d.accepted]
        behind += [position - 1 for position in self._orphaned.values()]
        return min(behind, default=self._accepted)

    def snapshot(self, name: str, *, timeout_s: float = DRAIN_TIMEOUT_S) -> Snapshot:
        """Return the dataset with everything that was accepted before the call.

        Raise DatasetNotFound, DatasetUnavailable when its files are gone, Overloaded.
        """
        with self._lock:
            dataset = self._drained(name, timeout_s)
            parts = (*dataset.committing, *dataset.hot)
            hot = tuple(part.rows for part in parts)
            received = sum((part.received for part in parts), dataset.received)
            files = dataset.files
            if damaged := dataset.maintenance.damaged:
                files = tuple(replace(file, damage=damaged.get(file.name, "")) for file in files)
            found = Snapshot(name, files, hot, dataset.view, dataset.info.primary_key, received)
        if found.files and not dataset.table.exists() and not dataset.dropped:
            raise DatasetUnavailable(_gone(dataset))
        return found

    def _drained(self, name: str, timeout_s: float) -> _Dataset:
        """Return the dataset once everything accepted so far is shredded; the lock is held."""
        dataset = self._dataset(name)
        wanted = dataset.accepted
        if dataset.shredded < wanted:
            dataset.demanded = True
            self._work.notify()
            self._progress.wait_for(
                lambda: (
                    dataset.shredded >= wanted
                    or dataset.dropped
                    or self._failed
                    or self._shred_trouble
                    or self._closing
                ),
                timeout_s,
            )
            self._check()
            if dataset.dropped:
                raise DatasetNotFound(f"dataset {name!r} not found")
            if dataset.shredded < wanted and self._shred_trouble:
                raise DatasetUnavailable(f"events of {name!r} cannot be read at the moment: {self._shred_trouble}")
            if dataset.shredded < wanted:
                raise Overloaded(f"events of {name!r} are still being read after {timeout_s} s", retry_after_s=5)
        return dataset

    def commit_now(self, name: str | None = None) -> None:
        """Shred and commit everything accepted so far, of one dataset or of all. A failure is logged and counted."""
        names = [name] if name else [info.name for info in self.datasets()]
        for each in names:
            try:
                with self._lock:
                    dataset = self._drained(each, DRAIN_TIMEOUT_S)
            except DatasetNotFound:
                if name:
                    raise
                continue
            except DatasetUnavailable as error:
                if name:
                    raise
                logger.error("%s: its events stay in the log", error)
                continue
            self._commit(dataset)
        self._acknowledge_committed()

    def close(self, *, commit: bool = True) -> None:
        """Stop the threads; before that commit what is in memory unless told not to (the log has it)."""
        self._maintenance_thread.close()
        try:
            if commit and self._failed is None:
                self.commit_now()
        finally:
            with self._lock:
                self._closing = True
                for condition in (self._work, self._commit_due, self._progress):
                    condition.notify_all()
            for thread in self._threads:
                thread.join()
            self._duckdb.close()

    def _check(self) -> None:
        if self._failed is not None:
            raise DatasetUnavailable("events cannot be read: the shredding thread has failed") from self._failed
        if self._closing:
            raise ShuttingDown("the server is shutting down")

    # Shredding

    def _shred_forever(self) -> None:
        try:
            lower_priority()
            while (work := self._next_work()) is not None:
                self._shred_until_done(*work)
        except BaseException as error:
            logger.exception("the shredding thread has failed")
            with self._lock:
                self._failed = error
                self._progress.notify_all()
            raise

    def _next_work(self) -> tuple[_Dataset, list[_Pending]] | None:
        with self._lock:
            while not self._closing:
                dataset = self._most_urgent()
                if dataset is None:
                    self._wait_for("for work")
                    continue
                age = time.monotonic() - dataset.waiting[0].since_s
                if not dataset.demanded and self._backlog_bytes < self._linger_bytes and age < LINGER_S:
                    self._wait_for("for more", LINGER_S - age)
                    continue
                taken: list[_Pending] = []
                size = 0
                while dataset.waiting and size < SHRED_BYTES:
                    taken.append(dataset.waiting.popleft())
                    size += len(taken[-1].batch.events) + BATCH_OVERHEAD_BYTES
                dataset.waiting_bytes -= size
                dataset.shredding = taken
                return dataset, taken
            return None

    def _wait_for(self, what: Literal["for work", "for more"], timeout_s: float | None = None) -> None:
        self._shredder_waits = what
        self._work.wait(timeout_s)
        self._shredder_waits = ""

    def _most_urgent(self) -> _Dataset | None:
        limit = HOT_COMMITS * self.settings.commit_bytes
        ready = [d for d in self._datasets.values() if d.waiting and d.hot_bytes < limit]
        demanded = [d for d in ready if d.demanded]
        return min(demanded or ready, key=lambda d: d.waiting[0].since_s, default=None)

    def _shred_until_done(self, dataset: _Dataset, pending: list[_Pending]) -> None:
        """Shred, again and again where the process lacks something: these events are acknowledged."""
        delay_s = SHRED_RETRY_S
        while True:
            try:
                self._shred(dataset, pending)
            except Exception as error:
                logger.exception("events of %r cannot be shredded now, which is tried again", dataset.info.name)
                with self._lock:
                    self._shred_trouble = reason_of(error, "the server's log says why")
                    self._progress.notify_all()
                    if self._progress.wait_for(lambda: self._closing or dataset.dropped, delay_s):
                        return  # they are in the log
                delay_s = min(2 * delay_s, MAX_SHRED_RETRY_S)
            else:
                self._shred_trouble = ""
                return

    def _shred(self, dataset: _Dataset, pending: list[_Pending]) -> None:
        batches = [each.batch for each in pending]
        try:
            rows = dataset.shredder.shred(batches)
        except SCARCITY:
            raise
        except Exception:
            logger.exception("events of %r could not be shredded and are kept whole in _rest", dataset.info.name)
            self.shred_failures += 1
            dataset.fields.rest_overflow = True
            rows = whole_events_as_rest(batches)
        raw_bytes = sum(len(batch.events) for batch in batches)
        part = HotPart(rows, pending[-1].position, raw_bytes, pending[0].since_s)
        view = dataset.fields.view()
        with self._lock:
            dataset.shredding = []
            dataset.view = view
            dataset.hot.append(part)
            dataset.hot_bytes += raw_bytes
            dataset.shredded = part.position
            if not dataset.waiting:
                dataset.demanded = False
            self._backlog_bytes -= raw_bytes + BATCH_OVERHEAD_BYTES * len(batches)
            self._progress.notify_all()
            if dataset.hot_bytes >= self.settings.commit_bytes:
                self._commit_due.notify()

    # Committing

    def _commit_forever(self) -> None:
        lower_priority()
        while True:
            with self._lock:
                due = self._due()
                if not due and not self._is_dropping_due():
                    if self._closing:
                        return
                    self._commit_due.wait(COMMIT_CHECK_S)
                    due = self._due()
                if self._closing:
                    return
            for dataset in due:
                self._commit(dataset)
            if due or self._is_dropping_due():
                self._acknowledge_committed()

    def _is_dropping_due(self) -> bool:
        return not self._dropped_stored and time.monotonic() >= self._store_dropped_at_s

    def _due(self) -> list[_Dataset]:
        now = time.monotonic()
        settings = self.settings
        return [
            dataset
            for dataset in self._datasets.values()
            if dataset.hot
            and now >= dataset.retry_at_s
            and (dataset.hot_bytes >= settings.commit_bytes or now - dataset.hot[0].since_s >= settings.commit_age_s)
        ]

    def _commit(self, dataset: _Dataset) -> None:
        with dataset.commit_lock:
            if dataset.dropped or not dataset.hot:
                return
            try:
                self._commit_hot(dataset)
            except Exception as error:
                logger.exception("commit of %r failed; its events stay in memory and in the log", dataset.info.name)
                with self._lock:
                    self.commit_failures += 1
                    dataset.failed_commits += 1
                    dataset.commit_failure = reason_of(error)
                    dataset.hot = [*dataset.committing, *dataset.hot]
                    dataset.committing = []
                    dataset.retry_at_s = time.monotonic() + COMMIT_RETRY_S
                return
            with self._lock:
                self.commits += 1
                dataset.failed_commits = 0

    def _commit_hot(self, dataset: _Dataset) -> None:
        """Put the hot rows of a dataset into its table; the commit lock is held."""
        if not dataset.table.exists():
            raise DatasetUnavailable(_gone(dataset))
        # An attempt that failed may have been made all the same: what of it is in the table must not go there again.
        dataset.table.refresh()
        self._adopt(dataset)
        with self._lock:
            parts = dataset.hot
            if not parts:
                return
            dataset.hot, dataset.committing = [], parts
            view = dataset.view
        if view != dataset.stored_view:
            # Before the rows: a column must never be in a table without the registry knowing it.
            store_fields(catalog.fields_path(dataset.table.storage.directory), view)
            dataset.stored_view = view
        received = sum((part.received for part in parts), Received())
        dataset.table.commit(joined(parts), view, parts[-1].position, received)
        self._adopt(dataset)

    def _adopt(self, dataset: _Dataset) -> None:
        """Take over the files of a table, and let go of the rows that are in them; the commit lock is held."""
        position, received = dataset.table.position, dataset.table.received
        with self._lock:
            parts = [*dataset.committing, *dataset.hot]
            stored = [part for part in parts if part.position <= position]
            dataset.committing, dataset.hot = [], parts[len(stored) :]
            dataset.files = dataset.table.files
            dataset.received = received
            dataset.committed = max(dataset.committed, position)
            dataset.hot_bytes -= sum(part.raw_bytes for part in stored)
            dataset.uncommitted_events -= sum(part.rows.num_rows for part in stored)
            self._work.notify()

    # Maintenance

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events of a dataset whose `_time` is before a moment (ns since the Unix epoch).

        Covers what was accepted before the call. Return how many were deleted. They are in no answer from then on;
        their files stay on disk for `keep_removed_s`, or not at all where the disk is full. Raise DatasetNotFound,
        DatasetUnavailable, DiskFull, Overloaded, ShuttingDown; then all of it was done or, nearly always, nothing, and
        it can be asked for again.
        """
        older_than_us = -(-older_than_ns // 1000)
        deleted = 0
        with self._lent() as is_disk_full:
            if is_disk_full:
                deleted = self._free_space(name, older_than_us)
            with self._committed(name) as dataset:
                deleted += dataset.maintenance.trim(older_than_us, self._pace_of(dataset))
                if is_disk_full:
                    dataset.maintenance.sweep(time.time_ns() // 1_000_000, at_once=True)
        return deleted

    def _free_space(self, name: str, older_than_us: int) -> int:
        """Remove the files whose events are all older, before there may be space to commit; return their events."""
        with self._lock:
            dataset = self._dataset(name)
        with self._files_of(dataset):
            deleted = dataset.maintenance.expire(older_than_us, "trim")
            dataset.maintenance.sweep(time.time_ns() // 1_000_000, at_once=True)
        return deleted

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events of a dataset that a filter matches, all or none of them; with `dry_run` only count them.

        Covers what was accepted before the call: that is committed first, so that the filter is asked about files only,
        once for each. Files, durability and errors are as with `trim`; what the filter raises is passed on.
        """
        with self._lent() as is_disk_full, self._committed(name) as dataset:
            # The view of the moment, as other events are committed meanwhile: it knows every column that a file has.
            deletion = dataset.maintenance.delete(
                lambda file: matching(file, dataset.view), self._pace_of(dataset), dry_run=dry_run
            )
            if is_disk_full and not dry_run:
                dataset.maintenance.sweep(time.time_ns() // 1_000_000, at_once=True)
            return deletion

    def compact(self, name: str) -> None:
        """Commit what a dataset has in memory and merge its files as far as `compact_bytes` allows, without throttling.

        Answers do not change. Raises as `trim` does.
        """
        with self._committed(name) as dataset:
            dataset.maintenance.compact(self._pace_of(dataset), time.time_ns() // 1_000_000, whole=True)

    def sweep(self, name: str) -> int:
        """Remove from the disk what has been no part of a dataset's table for `keep_removed_s`; return how many files.

        The background does so by itself. Raise DatasetNotFound, DatasetUnavailable.
        """
        with self._lock:
            dataset = self._dataset(name)
        with self._files_of(dataset):
            return dataset.maintenance.sweep(time.time_ns() // 1_000_000)

    @contextmanager
    def _committed(self, name: str) -> Iterator[_Dataset]:
        """Yield the dataset, with everything that was accepted before in its table."""
        with self._lock:
            wanted = self._dataset(name).accepted
            dataset = self._drained(name, DRAIN_TIMEOUT_S)
        self._commit(dataset)
        self._acknowledge_committed()
        if dataset.committed < wanted and not dataset.dropped:
            if dataset.commit_failure == FULL:
                raise disk_full()
            raise DatasetUnavailable(f"dataset {name!r} cannot be committed: {dataset.commit_failure}")
        with self._files_of(dataset):
            yield dataset

    @contextmanager
    def _files_of(self, dataset: _Dataset) -> Iterator[None]:
        """Yield what stops work on a dataset's files becomes one of our errors."""
        name = dataset.info.name
        try:
            if not dataset.table.exists() and not dataset.dropped:
                raise DatasetUnavailable(_gone(dataset))
            yield
        except MaintenanceStopped as error:
            self._check()
            raise DatasetNotFound(f"dataset {name!r} not found") from error
        except (OSError, DeltaError, pa.ArrowException) as error:
            if dataset.dropped:
                raise DatasetNotFound(f"dataset {name!r} not found") from error
            logger.exception("the files of %r cannot be changed", name)
            raise _refused(f"the files of dataset {name!r} cannot be changed", error) from error

    def _pace_of(self, dataset: _Dataset) -> Pace:
        def pace(written: int) -> None:
            if self._closing or dataset.dropped:
                raise MaintenanceStopped

        return pace

    def _maintained(self) -> list[MaintainedTable]:
        with self._lock:
            return [
                (each.info, each.maintenance, partial(getattr, each, "dropped")) for each in self._datasets.values()
            ]

    def _is_busy(self) -> bool:
        return self._backlog_bytes > self._linger_bytes

    def _lent(self) -> AbstractContextManager[bool]:
        return nullcontext(False) if self._reserve is None else self._reserve.lent()

    # The log

    def _acknowledge_committed(self) -> None:
        with self._lock:
            position = self._committed_position()
        if not self._store_dropped():
            return
        with self._lock:
            if position <= self._acknowledged:
                return
            self._acknowledged = position
        self.subscription.acknowledge(position)


def _enqueue(dataset: _Dataset, batches: Iterable[tuple[int, Batch]], now_s: float | None = None) -> int:
    """Have a dataset's batches shredded, but those that it has already; return what they add to its waiting bytes."""
    since_s = time.monotonic() if now_s is None else now_s
    before = dataset.waiting_bytes
    for position, batch in batches:
        if position <= dataset.accepted:
            continue
        dataset.accepted = position
        dataset.waiting.append(_Pending(position, batch, since_s))
        dataset.waiting_bytes += len(batch.events) + BATCH_OVERHEAD_BYTES
        dataset.uncommitted_events += batch.count
    return dataset.waiting_bytes - before


def _gone(dataset: _Dataset) -> str:
    return f"dataset {dataset.info.name!r} cannot be used: its directory is gone or incomplete"


def _known_info(directory: Path) -> DatasetInfo:
    """Return what a dataset that cannot be opened says of itself; where it says nothing it is the first
    organisation's.
    """
    try:
        return replace(catalog.load_info(directory), name=directory.name)
    except (OSError, msgspec.MsgspecError):
        return DatasetInfo(directory.name, 0, 0)


def _refused(what: str, error: Exception) -> TailraceError:
    if is_full(error):
        return disk_full()
    return DatasetUnavailable(f"{what}: {reason_of(error)}")
