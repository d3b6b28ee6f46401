"""The lake: takes batches from the log, shreds them, keeps them queryable at once, and commits them to tables."""

import logging
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from tailrace.events import Batch, DatasetNotFound, DatasetUnavailable
from tailrace.lake import health
from tailrace.lake.catalog import DEFAULT_KIND, DatasetInfo
from tailrace.lake.committing import CommitThread
from tailrace.lake.dataset_state import UnavailableDataset
from tailrace.lake.datasets import Datasets
from tailrace.lake.dropped import DroppedDatasets
from tailrace.lake.file_changes import DRAIN_TIMEOUT_S, FileChanges
from tailrace.lake.maintenance import Deletion
from tailrace.lake.maintenance_counters import MaintenanceCounters
from tailrace.lake.maintenance_thread import MaintainedTable, MaintenanceThread
from tailrace.lake.preload import preload
from tailrace.lake.replay import ReadLog, Replay
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shredding import ShreddingThread
from tailrace.lake.snapshot import RowFilter, Snapshot
from tailrace.lake.state import LakeState
from tailrace.log import Subscription
from tailrace.storage.files import flush, make_directories
from tailrace.storage.reserve import Reserve

logger = logging.getLogger(__name__)


class Lake:
    """All datasets of a data directory. Thread-safe.

    By its `subscription` it gets the batches of a log, and acknowledges positions up to which all are in their tables.
    """

    def __init__(self, root: Path, settings: LakeSettings, reserve: Reserve | None = None) -> None:
        self._reserve = reserve
        self.root = root
        self.settings = settings
        self.maintenance = MaintenanceCounters()
        self._state = state = LakeState(root)
        self._dropped = DroppedDatasets(state)
        self._datasets = Datasets(state, settings, self.maintenance, self._dropped, self._lent)
        self._replay = Replay(state, self._datasets, self._dropped)
        self._datasets.open_all()
        self.subscription = Subscription(self.accept_all, floor=self.highest_position())
        self._shredding = ShreddingThread(state, settings)
        self._commits = CommitThread(state, settings, self._dropped, self.subscription.acknowledge)
        self._changes = FileChanges(state, self._commits, self._lent)
        self._maintenance_thread = MaintenanceThread(
            settings.maintenance, self.maintenance, self._maintained, self._shredding.is_behind, self._lent
        )

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
        for thread in (lake._shredding, lake._commits, lake._maintenance_thread):
            thread.start()
        return lake

    def close(self, *, commit: bool = True) -> None:
        """Stop the threads; before that commit what is in memory unless told not to (the log has it)."""
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
            self._datasets.close()

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
        info = DatasetInfo(
            name,
            0,
            0,
            description,
            who,
            kind,
            retention_days,
            use_retention_period,
            organisation,
            primary_key=primary_key,
            edge_deployment=edge_deployment,
        )
        return self._datasets.create(info)

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
        return self._datasets.update(name, {member: value for member, value in given.items() if value is not None})

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events.

        Raise DatasetNotFound, and DatasetUnavailable where its files cannot be removed: it can be dropped again then.
        """
        self._datasets.drop(name)
        self._commits.acknowledge_committed()

    def organisation(self, name: str) -> str | None:
        """Whose a dataset is, "" for the first organisation; None where there is no such dataset."""
        dataset = self._state.datasets.get(name) or self._state.unavailable.get(name)
        return dataset.info.organisation if dataset else None

    def datasets(self) -> list[DatasetInfo]:
        """All datasets, by name."""
        # Without the lock, as `get` and `has`: who lists does not wait for who writes.
        return sorted((dataset.info for dataset in list(self._state.datasets.values())), key=lambda info: info.name)

    def unavailable(self) -> list[UnavailableDataset]:
        """Datasets that are there and cannot be opened, by name. They take no events and answer no query."""
        with self._state.lock:
            return [self._state.unavailable[name] for name in sorted(self._state.unavailable)]

    def names(self) -> list[str]:
        """Return the names of all datasets, in order, those that cannot be opened included."""
        infos = [*self.datasets(), *(dataset.info for dataset in self.unavailable())]
        return sorted(info.name for info in infos)

    def knows(self, name: str) -> bool:
        """Whether there is a dataset of this name, one that cannot be opened included."""
        return name in self._state.datasets or name in self._state.unavailable

    def get(self, name: str) -> DatasetInfo:
        """Raise DatasetNotFound, DatasetUnavailable."""
        return self._state.dataset(name).info

    def has(self, name: str) -> bool:
        return name in self._state.datasets

    # The way in

    def check(self, name: str) -> None:
        """Raise DatasetNotFound or DatasetUnavailable for a dataset that takes no events."""
        if name not in self._state.datasets:
            self._state.dataset(name)

    def accept(self, position: int, batch: Batch) -> None:
        """Take a durable batch from the log. Positions must rise; a batch that its table has already is passed over."""
        self.accept_all([(position, batch)])

    def accept_all(self, batches: Iterable[tuple[int, Batch]]) -> None:
        """Take durable batches from the log, in order."""
        now = time.monotonic()
        state = self._state
        with state.lock:
            for position, batch in batches:
                state.accepted = max(state.accepted, position)
                dataset = state.datasets.get(batch.dataset)
                if dataset is None:
                    self._replay.accept_orphaned(position, batch.dataset)
                    continue
                state.backlog_bytes += dataset.enqueue([(position, batch)], now)
            self._shredding.notify()

    def replayed(self, read: ReadLog | None = None) -> None:
        """Take what is accepted from now on for new: the log has been replayed.

        With `read`, datasets that could not be opened are tried again until they can, with what the log has of them.
        """
        self._replay.end(read)

    def wait_for_capacity(self, limit_bytes: int) -> None:
        """Block until the backlog is under a limit: for replay, which has no client to send away."""
        state = self._state
        with state.lock:
            state.progress.wait_for(
                lambda: state.backlog_bytes < limit_bytes or state.shredding_error or state.is_closing
            )
            state.check()

    # The way out

    def snapshot(self, name: str, *, timeout_s: float = DRAIN_TIMEOUT_S) -> Snapshot:
        """Return the dataset with everything that was accepted before the call.

        Raise DatasetNotFound, DatasetUnavailable when its files are gone, Overloaded.
        """
        with self._state.lock:
            dataset = self._state.shredded(name, timeout_s)
            parts = (*dataset.committing, *dataset.hot)
            hot = tuple(part.rows for part in parts)
            received = sum((part.received for part in parts), dataset.received)
            files = dataset.files
            if damaged := dataset.maintenance.damaged:
                files = tuple(replace(file, damage=damaged.get(file.name, "")) for file in files)
            found = Snapshot(name, files, hot, dataset.view, dataset.info.primary_key, received)
        if found.files and not dataset.table.exists() and not dataset.dropped:
            raise DatasetUnavailable(dataset.gone_message)
        return found

    def commit_now(self, name: str | None = None) -> None:
        """Shred and commit everything accepted so far, of one dataset or of all. A failure is logged and counted."""
        names = [name] if name else [info.name for info in self.datasets()]
        for each in names:
            try:
                with self._state.lock:
                    dataset = self._state.shredded(each, DRAIN_TIMEOUT_S)
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

    def committed_position(self) -> int:
        """Return the log position up to which every batch is in its table."""
        return self._state.committed_position()

    def highest_position(self) -> int:
        """Return the highest log position that any table knows: the log must not hand it out again."""
        with self._state.lock:
            committed = [dataset.committed for dataset in self._state.datasets.values()]
            return max([*committed, self._dropped.highest_position()])

    # Changes of files

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events of a dataset whose `_time` is before a moment (ns since the Unix epoch).

        Covers what was accepted before the call. Return how many were deleted. They are in no answer from then on;
        their files stay on disk for `keep_removed_s`, or not at all where the disk is full. Raise DatasetNotFound,
        DatasetUnavailable, DiskFull, Overloaded, ShuttingDown; then all of it was done or, nearly always, nothing, and
        it can be asked for again.
        """
        return self._changes.trim(name, -(-older_than_ns // 1000))

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events of a dataset that a filter matches, all or none of them; with `dry_run` only count them.

        Covers what was accepted before the call: that is committed first, so that the filter is asked about files only,
        once for each. Files, durability and errors are as with `trim`; what the filter raises is passed on.
        """
        return self._changes.delete_where(name, matching, dry_run=dry_run)

    def compact(self, name: str) -> None:
        """Commit what a dataset has in memory and merge its files as far as `compact_bytes` allows, without throttling.

        Answers do not change. Raises as `trim` does.
        """
        self._changes.compact(name)

    def sweep(self, name: str) -> int:
        """Remove from the disk what has been no part of a dataset's table for `keep_removed_s`; return how many files.

        The background does so by itself. Raise DatasetNotFound, DatasetUnavailable.
        """
        return self._changes.sweep(name)

    def _maintained(self) -> list[MaintainedTable]:
        with self._state.lock:
            datasets = list(self._state.datasets.values())
        return [(each.info, each.maintenance, partial(getattr, each, "dropped")) for each in datasets]

    def _lent(self) -> AbstractContextManager[bool]:
        return nullcontext(False) if self._reserve is None else self._reserve.lent()

    # Health

    @property
    def failure(self) -> str:
        """Why nothing is shredded any more, empty while all is well."""
        return health.failure(self._state)

    def faults(self) -> dict[str, str]:
        """Datasets that cannot be opened, committed or read, each with the reason. Asks the disk: may block."""
        return health.faults(self._state)

    def damage(self) -> dict[str, str]:
        """Datasets of which files are known to be damaged, each with the files, named beneath its directory."""
        return health.damage(self._state)

    def damaged_files(self) -> int:
        """Files of tables that are known not to be as they were written."""
        return health.damaged_files(self._state)

    def lag(self) -> health.Lag:
        """Return what is durable in the log and not in its table yet."""
        return health.lag(self._state)

    @property
    def backlog_bytes(self) -> int:
        """Bytes of batches that are on disk but not yet shredded."""
        return self._state.backlog_bytes

    def uncommitted(self, name: str) -> int:
        """Events of a dataset that are not in its table yet."""
        dataset = self._state.datasets.get(name)
        return dataset.uncommitted_events if dataset else 0

    @property
    def commits(self) -> int:
        """Commits since the start, as the counters that follow."""
        return self._commits.commits

    @property
    def commit_failures(self) -> int:
        return self._commits.failures

    @property
    def shred_failures(self) -> int:
        """Batches that were kept whole in `_rest`."""
        return self._shredding.failures

    @property
    def set_aside(self) -> int:
        """Files of tables' logs that could not be read when they were opened."""
        return self._datasets.set_aside
