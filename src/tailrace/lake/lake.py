"""The lake: accepts batches from the log, shreds them, makes them queryable at once, and commits them to tables."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Unpack

from msgspec.structs import replace

from tailrace.events import Batch, DatasetNotFound, DatasetUnavailable
from tailrace.events.declarations import DeclaredFields
from tailrace.lake import health
from tailrace.lake.catalog import Catalog, DatasetInfo, DatasetOptions, InfoChanges
from tailrace.lake.committing import CommitThread
from tailrace.lake.dataset_state import UnavailableDataset
from tailrace.lake.datasets import Datasets
from tailrace.lake.dropped import DroppedDatasets
from tailrace.lake.file_changes import DRAIN_TIMEOUT_S, FileChanges
from tailrace.lake.local_catalog import LocalCatalog
from tailrace.lake.maintenance import Deletion
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.maintenance_thread import MaintainedTable, MaintenanceThread
from tailrace.lake.preload import preload
from tailrace.lake.replay import ReadLog, Replay
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shredding import ShreddingThread
from tailrace.lake.snapshot import FieldsView, RowFilter, Snapshot, no_check
from tailrace.lake.state import LakeState
from tailrace.lake.table_copy import Keep, TableCopy, copy_of_table
from tailrace.log import FIRST_WRITER, Subscription
from tailrace.storage.reserve import Reserve

logger = logging.getLogger(__name__)


class Lake:
    """All datasets of a data directory. Thread-safe.

    Its `subscription` receives the batches of a log, and acknowledges the position up to which all are in their tables.
    """

    def __init__(
        self, catalog: Catalog, settings: LakeSettings, reserve: Reserve | None = None, *, is_shared: bool = False
    ) -> None:
        self._reserve = reserve
        self.catalog = catalog
        self.settings = settings
        self.maintenance = MaintenanceCounters()
        self._state = state = LakeState(catalog, is_shared=is_shared)
        self._dropped = DroppedDatasets(state)
        self._datasets = Datasets(state, settings, self.maintenance, self._dropped, self._lend_reserve)
        self._replay = Replay(state, self._datasets, self._dropped)
        if not is_shared:
            self._datasets.open_all()
        self._catch_up: Callable[[], None] = _nothing
        self._note_drop: Callable[[], None] = _nothing
        self._subscriptions: dict[str, Subscription] = {}
        self.subscription = self.subscribe(FIRST_WRITER)
        self._shredding = ShreddingThread(state, settings)
        self._commits = CommitThread(state, settings, self._dropped, self._acknowledge)
        self._changes = FileChanges(state, self._commits, self._lend_reserve)
        self._maintenance_thread = MaintenanceThread(
            settings.maintenance,
            self.maintenance,
            self._maintained_tables,
            self._shredding.is_behind,
            self._lend_reserve,
        )

    @classmethod
    def open(
        cls,
        where: Path | Catalog,
        settings: LakeSettings | None = None,
        reserve: Reserve | None = None,
    ) -> "Lake":
        """Open the lake in a directory, which is created if missing, or of a catalog; start its threads.

        Operations that free space on a full disk may use the `reserve`.
        """
        preload()
        catalog = LocalCatalog(where) if isinstance(where, Path) else where
        lake = cls(catalog, settings or LakeSettings(), reserve)
        lake._start()
        return lake

    def _start(self) -> None:
        for thread in (self._shredding, self._commits, self._maintenance_thread):
            thread.start()

    def close(self, *, commit: bool = True) -> None:
        """Commit the rows in memory, unless `commit` is false (they are in the log), and stop the threads."""
        state = self._state
        self._maintenance_thread.close()
        try:
            if commit and state.shredding_error is None:
                self.commit_now()
        finally:
            with state.lock:
                state.is_closing = True
                for condition in (state.work, state.commit_due, state.progress):
                    condition.notify_all()
            for thread in (self._shredding, self._commits, self._replay):
                thread.join()
            if self.catalog.cache is not None:
                self.catalog.cache.close()

    @property
    def root(self) -> Path:
        """The directory whose subdirectories have the files of tables, as readers open them."""
        return self.catalog.root

    # Datasets

    def create(self, name: str, **options: Unpack[DatasetOptions]) -> DatasetInfo:
        """Create an empty dataset.

        Raise InvalidName, DatasetExists, or Conflict past `max_datasets`.
        """
        info = DatasetInfo(name, 0, 0, **options)
        self._catch_up()  # or what was acknowledged for a dataset that had the name before would be in this one
        return self._datasets.create(info)

    def update(self, name: str, **changes: Unpack[InfoChanges]) -> DatasetInfo:
        """Change a dataset's info, durably; None leaves a member as it is. Raise DatasetNotFound."""
        given: Mapping[str, Any] = changes
        return self._datasets.update(name, {member: value for member, value in given.items() if value is not None})

    def declare(self, name: str, fields: DeclaredFields) -> None:
        """Declare fields of a dataset, durably; one that was declared before stays what it was declared.

        One that the dataset may have values of already is no timespan, as that would change their meaning. Raise
        DatasetNotFound, DatasetUnavailable, DiskFull, Overloaded.
        """
        view = self.snapshot(name).fields if "timespan" in fields.values() else FieldsView()
        known = {*view.by_path(), *view.rest}

        def is_left(field: str) -> bool:
            return fields[field] == "timespan" and (view.rest_overflow or field in known)

        self._datasets.declare(name, {field: None if is_left(field) else fields[field] for field in fields})

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events.

        Raise DatasetNotFound, and DatasetUnavailable where its files cannot be removed: it can be dropped again then.
        """
        self._catch_up()
        try:
            self._datasets.drop(name)
        finally:
            self._note_drop()
        self._commits.acknowledge_committed()

    def organisation(self, name: str) -> str | None:
        """Return the organisation of a dataset, "" for the first one; None where there is no such dataset."""
        dataset = self._state.datasets.get(name) or self._state.unavailable.get(name)
        return dataset.info.organisation if dataset else None

    def datasets(self) -> list[DatasetInfo]:
        """Return all datasets, by name."""
        # Without the lock, like `get` and `has`: readers do not wait for writers.
        return sorted((dataset.info for dataset in list(self._state.datasets.values())), key=lambda info: info.name)

    def unavailable(self) -> list[UnavailableDataset]:
        """Return the datasets that cannot be opened, by name. They accept no events and answer no query."""
        with self._state.lock:
            return [self._state.unavailable[name] for name in sorted(self._state.unavailable)]

    def names(self) -> list[str]:
        """Return the names of all datasets, in order, those that cannot be opened included."""
        with self._state.lock:
            return sorted({*self._state.datasets, *self._state.unavailable, *self._state.opening})

    def knows(self, name: str) -> bool:
        """Return whether there is a dataset of this name, including those that cannot be opened."""
        state = self._state
        return name in state.datasets or name in state.unavailable or name in state.opening

    def get(self, name: str) -> DatasetInfo:
        """Raise DatasetNotFound, DatasetUnavailable."""
        return self._state.dataset(name).info

    def has(self, name: str) -> bool:
        return name in self._state.datasets

    # Ingest

    def follow(self, catch_up: Callable[[], None], note_drop: Callable[[], None]) -> None:
        """Have the batches of other processes accepted in time.

        `catch_up` returns once all that is durable in their logs is accepted, or raises Overloaded. Whatever includes
        what was acknowledged before its call begins with that. `note_drop` is called before a drop returns, so that
        they take no events for what is gone.
        """
        self._catch_up, self._note_drop = catch_up, note_drop

    def subscribe(self, writer: str) -> Subscription:
        """Return the subscription to a writer's log, which is opened with it; once for each writer."""
        subscription = Subscription(partial(self.accept_all, writer=writer), floor=self.highest_position(writer))
        self._subscriptions[writer] = subscription
        subscription.acknowledge(self.committed_position(writer))
        return subscription

    def _acknowledge(self, writer: str, position: int) -> None:
        subscription = self._subscriptions.get(writer)
        if subscription is not None:
            subscription.acknowledge(position)

    def check(self, name: str) -> None:
        """Raise DatasetNotFound or DatasetUnavailable for a dataset that accepts no events."""
        self._state.dataset(name)

    def accept(self, position: int, batch: Batch, writer: str = FIRST_WRITER) -> None:
        """Accept a durable batch from a writer's log.

        Positions of a writer must rise; a batch that is in its table already is skipped.
        """
        self.accept_all([(position, batch)], writer)

    def accept_all(self, batches: Iterable[tuple[int, Batch]], writer: str = FIRST_WRITER) -> None:
        """Accept durable batches from a writer's log, in order."""
        now = time.monotonic()
        state = self._state
        with state.lock:
            for position, batch in batches:
                state.accepted[writer] = max(state.accepted.get(writer, 0), position)
                dataset = state.datasets.get(batch.dataset)
                if dataset is None:
                    self._replay.accept_orphaned(writer, position, batch.dataset)
                    continue
                state.backlog_bytes += dataset.enqueue(writer, [(position, batch)], now)
            self._shredding.notify()

    def replayed(self, logs: Mapping[str, ReadLog] = MappingProxyType({})) -> None:
        """End the replay: what is accepted from now on is new.

        With `logs`, all of them by writer, datasets that could not be opened are retried until they can be, with their
        batches in those.
        """
        self._replay.end(logs)

    def wait_for_capacity(self, limit_bytes: int) -> None:
        """Block until the backlog is below a limit: for the replay, which cannot refuse its batches."""
        state = self._state
        with state.lock:
            state.progress.wait_for(
                lambda: state.backlog_bytes < limit_bytes or state.shredding_error or state.is_closing
            )
            state.check()

    # Read and commit

    def snapshot(
        self, name: str, *, timeout_s: float = DRAIN_TIMEOUT_S, check: Callable[[], None] = no_check
    ) -> Snapshot:
        """Return the dataset with everything that was accepted before the call.

        `check` is called now and then while that is waited for, and raises to give up. Raise
        DatasetNotFound, DatasetUnavailable when its files are gone, Overloaded.
        """
        self._catch_up()
        with self._state.lock:
            dataset = self._state.shredded(name, timeout_s, check)
            parts = (*dataset.committing, *dataset.hot)
            hot = tuple(part.table for part in parts)
            received = sum((part.received for part in parts), dataset.received)
            files = dataset.files
            if damaged := dataset.maintenance.damaged:
                files = tuple(replace(file, damage=damaged.get(file.name, "")) for file in files)
            info, view = dataset.info, dataset.view
            timespans = frozenset(field for field, declared in info.declared.items() if declared == "timespan")
            snapshot = Snapshot(name, files, hot, view, info.primary_key, received, timespans)
        if snapshot.files and not dataset.table.exists() and not dataset.dropped:
            raise DatasetUnavailable(dataset.gone_message)
        return snapshot

    def commit_now(self, name: str | None = None) -> None:
        """Shred and commit everything accepted so far, of one dataset or of all. A failure is logged and counted."""
        self._catch_up()
        names = [name] if name else [info.name for info in self.datasets()]
        for dataset_name in names:
            try:
                with self._state.lock:
                    dataset = self._state.shredded(dataset_name, DRAIN_TIMEOUT_S)
            except DatasetNotFound:
                if name:
                    raise
                continue
            except DatasetUnavailable as error:
                if name:
                    raise
                logger.error("%s: its events stay in the log", error)
                continue
            self._commits.commit(dataset)
        self._commits.acknowledge_committed()

    def copy(self, name: str, keep: Keep) -> TableCopy:
        """Return the table of a dataset to be copied, with everything that was accepted before the call.

        The small files beside it are given to `keep`; see `copy_of_table`, also for what is raised.
        """
        self._catch_up()
        return copy_of_table(self._state, self._commits, name, keep)

    def committed_position(self, writer: str = FIRST_WRITER) -> int:
        """Return the position in a writer's log up to which every batch is in its table."""
        return self._state.committed_positions().get(writer, 0)

    def highest_position(self, writer: str = FIRST_WRITER) -> int:
        """Return the highest position in a writer's log that any table knows: the log must not hand it out again."""
        with self._state.lock:
            committed = [dataset.committed.get(writer, 0) for dataset in self._state.datasets.values()]
            return max([*committed, self._dropped.highest_position(writer)])

    # Changes of files

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events of a dataset whose `_time` is before a moment (ns since the Unix epoch).

        Includes what was accepted before the call. Return how many were deleted. No query reads them from then on;
        their files stay on disk for `keep_removed_s`, or are removed at once where the disk is full. Raise
        DatasetNotFound, DatasetUnavailable, DiskFull, Overloaded, ShuttingDown; then nothing was deleted or, in rare
        cases, everything, and the call can be repeated.
        """
        self._catch_up()
        return self._changes.trim(name, -(-older_than_ns // 1000))

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events of a dataset that a filter matches, all or none of them; with `dry_run` only count them.

        Includes what was accepted before the call: that is committed first, so that the filter is applied to files
        only, once to each. Files, durability and errors are as with `trim`; what the filter raises is passed on.
        """
        self._catch_up()
        return self._changes.delete_where(name, matching, dry_run=dry_run)

    def compact(self, name: str) -> None:
        """Commit what a dataset has in memory and merge its files as far as `compact_bytes` allows, without throttling.

        The results of queries do not change. Raise as `trim` does.
        """
        self._catch_up()
        self._changes.compact(name)

    def sweep(self, name: str) -> int:
        """Delete the files that have not been part of a dataset's table for `keep_removed_s`; return how many.

        The maintenance thread does so regularly. Raise DatasetNotFound, DatasetUnavailable.
        """
        return self._changes.sweep(name)

    def _maintained_tables(self) -> list[MaintainedTable]:
        with self._state.lock:
            datasets = list(self._state.datasets.values())
        return [(each.info, each.maintenance, partial(getattr, each, "dropped")) for each in datasets]

    def _lend_reserve(self) -> AbstractContextManager[bool]:
        return nullcontext(False) if self._reserve is None else self._reserve.lent()

    # Health

    @property
    def failure(self) -> str:
        """Why shredding has stopped, empty while it works."""
        return health.failure(self._state)

    def faults(self) -> dict[str, str]:
        """Return the datasets that cannot be opened, committed or read, with the reasons. May block on the disk."""
        return health.faults(self._state)

    def damage(self) -> dict[str, str]:
        """Return the datasets with files that are known to be damaged, with the paths of those below its directory."""
        return health.damage(self._state)

    def damaged_files(self) -> int:
        """Return the number of files that are known to be damaged."""
        return health.damaged_files(self._state)

    def lag(self) -> health.Lag:
        """Return how far the tables are behind the log."""
        return health.lag(self._state)

    @property
    def backlog_bytes(self) -> int:
        """The size of the batches that are durable but not yet shredded."""
        return self._state.backlog_bytes

    @property
    def uncommitted_bytes(self) -> int:
        """The size of the batches that are durable and not yet in their tables."""
        return self._state.backlog_bytes + self._state.hot_bytes

    @property
    def excess_bytes(self) -> int:
        """The bytes in memory above `max_uncommitted_bytes`, or above a quarter of it of those that are in no columns
        yet, whichever are more; negative below both.

        Only what commits will free counts: nothing of a dataset whose commits fail, nor while shredding is interrupted.
        """
        state = self._state
        excess = self._excess(state.backlog_bytes, state.hot_bytes)
        if excess <= 0:
            return excess
        with state.lock:
            if state.is_closing or state.shredding_error or state.shredding_trouble:
                return -self.settings.max_uncommitted_bytes
            stuck = state.uncommittable
            backlog = state.backlog_bytes - sum(dataset.waiting_bytes for dataset in stuck)
            return self._excess(backlog, state.committable_hot_bytes())

    def _excess(self, backlog: int, hot: int) -> int:
        settings = self.settings
        return max(backlog + hot - settings.max_uncommitted_bytes, backlog - settings.max_waiting_bytes)

    def uncommitted(self, name: str) -> int:
        """Return the number of events of a dataset that are not in its table yet."""
        dataset = self._state.datasets.get(name)
        return dataset.uncommitted_events if dataset else 0

    @property
    def commits(self) -> int:
        """The number of commits since the start, like the following counters."""
        return self._commits.commits

    @property
    def commit_failures(self) -> int:
        return self._commits.failures

    @property
    def shred_failures(self) -> int:
        """The number of shreddings that failed, whose events were stored whole in `_rest`."""
        return self._shredding.failures

    @property
    def set_aside(self) -> int:
        """The number of files of tables' logs that could not be read when they were opened."""
        return self._datasets.set_aside


def _nothing() -> None:
    """Do nothing: there is one process."""
