"""The state that the threads of a lake share: its datasets, positions and conditions."""

import logging
import threading
import time
from collections.abc import Callable

from tailrace.events import (
    DatasetNotFound,
    DatasetUnavailable,
    Overloaded,
    ShuttingDown,
    TailraceError,
)
from tailrace.lake.catalog import Catalog
from tailrace.lake.dataset_state import DatasetState, UnavailableDataset
from tailrace.lake.snapshot import no_check
from tailrace.log import Positions, covers
from tailrace.storage.faults import disk_full, is_full, reason_of

OPENING_RETRY_S = 1
CHECK_S = 0.1  # between two looks at whether whoever waits has given up

logger = logging.getLogger(__name__)


class LakeState:
    """The state of a lake, which `lock` guards, together with the state of each dataset."""

    def __init__(self, catalog: Catalog, *, is_shared: bool = False) -> None:
        """Take whether other servers may write to the same tables."""
        self.catalog = catalog
        self.is_shared = is_shared
        self.lock = threading.RLock()
        # One condition for each waiter: a needless wake-up of a thread costs as much as a small request.
        self.work = threading.Condition(self.lock)  # for the shredding thread
        self.commit_due = threading.Condition(self.lock)  # for the committing thread
        self.progress = threading.Condition(self.lock)  # for snapshots and replay
        self.datasets: dict[str, DatasetState] = {}
        self.unavailable: dict[str, UnavailableDataset] = {}
        # Datasets of batches that have no table, each with their first position in the writers' logs.
        self.orphaned: dict[str, dict[str, int]] = {}
        self.accepted: dict[str, int] = {}  # the positions up to which batches were accepted, by writer
        self.backlog_bytes = 0  # of batches that are not shredded yet
        self.hot_bytes = 0  # of the NDJSON of rows that are in memory and not in their tables
        self.uncommittable: set[DatasetState] = set()  # whose last commit failed
        self.is_closing = False
        self.opening: set[str] = set()  # datasets that are here, and will be open in a moment
        # Called with the lock for a dataset whose table another has written to in a way that cannot be joined to what
        # is in memory.
        self.overtaken: Callable[[DatasetState], None] = _note_overtaken
        self.shredding_error: BaseException | None = None  # that ended the shredding thread
        self.shredding_trouble = ""  # why shredding is interrupted at the moment

    def dataset(self, name: str) -> DatasetState:
        """Return an open dataset. Raise DatasetNotFound, DatasetUnavailable."""
        dataset = self.datasets.get(name)
        if dataset is None:
            if name in self.opening:
                raise opening_error(name)
            unavailable = self.unavailable.get(name)
            if unavailable is not None:
                raise DatasetUnavailable(unavailable.message)
            raise DatasetNotFound(f"dataset {name!r} not found")
        return dataset

    def check(self) -> None:
        """Raise DatasetUnavailable if shredding has stopped, ShuttingDown when the lake is closing."""
        if self.shredding_error is not None:
            raise DatasetUnavailable("events cannot be read: the shredding thread has failed") from self.shredding_error
        if self.is_closing:
            raise ShuttingDown("the server is shutting down")

    def shredded(self, name: str, timeout_s: float, check: Callable[[], None] = no_check) -> DatasetState:
        """Return the dataset once everything accepted so far is shredded; the lock is held.

        `check` is called now and then, and raises to give up. Raise DatasetNotFound, DatasetUnavailable,
        Overloaded, ShuttingDown.
        """
        dataset = self.dataset(name)
        if dataset.is_behind:
            raise opening_error(name)
        if not self.wait_until_shredded(dataset, timeout_s, check):
            self.check()
            if dataset.dropped:
                raise DatasetNotFound(f"dataset {name!r} not found")
            if self.shredding_trouble:
                raise DatasetUnavailable(f"events of {name!r} cannot be read at the moment: {self.shredding_trouble}")
            raise Overloaded(f"events of {name!r} are still being read after {timeout_s} s", retry_after_s=5)
        return dataset

    def wait_until_shredded(
        self, dataset: DatasetState, timeout_s: float, check: Callable[[], None] = no_check
    ) -> bool:
        """Return whether everything accepted so far of a dataset is shredded, at the latest after a time; the lock is
        held.
        """
        due = dict(dataset.accepted)
        if covers(dataset.shredded, due):
            return True
        dataset.demanded = True
        self.work.notify()
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            check()
            if self.progress.wait_for(
                lambda: (
                    covers(dataset.shredded, due)
                    or dataset.dropped
                    or self.shredding_error
                    or self.shredding_trouble
                    or self.is_closing
                ),
                min(left_s, CHECK_S),
            ):
                break
        has_failed = self.shredding_error is not None or self.is_closing or dataset.dropped
        return not has_failed and covers(dataset.shredded, due)

    def adopt_table(self, dataset: DatasetState) -> bool:
        """Update a dataset to the files of its table; its commit lock is held.

        Return False where another server has committed events of it in a way that cannot be joined to what is here.
        """
        positions, received = dataset.table.positions, dataset.table.received  # files are read: not under the lock
        with self.lock:
            if dataset.dropped:
                return True
            before = dataset.hot_bytes
            if not dataset.adopt_table(positions, received):
                self.overtaken(dataset)
                return False
            self.hot_bytes -= before - dataset.hot_bytes
            self.work.notify()
            return True

    def close_dataset(self, dataset: DatasetState) -> None:
        """Forget an open dataset, and what is in memory of it; the lock is held."""
        dataset.dropped = True
        del self.datasets[dataset.info.name]
        self.backlog_bytes -= dataset.waiting_bytes
        self.hot_bytes -= dataset.hot_bytes
        self.uncommittable.discard(dataset)
        dataset.waiting.clear()
        dataset.hot, dataset.committing = [], []
        self.progress.notify_all()

    def committed_positions(self) -> Positions:
        """Return the positions in the writers' logs up to which every batch is in its table."""
        with self.lock:
            positions = dict(self.accepted)
            for dataset in self.datasets.values():
                for writer, accepted in dataset.accepted.items():
                    committed = dataset.committed.get(writer, 0)
                    if committed < accepted:
                        positions[writer] = min(positions[writer], committed)
            for firsts in self.orphaned.values():
                for writer, first in firsts.items():
                    positions[writer] = min(positions[writer], first - 1)
            return positions

    def committable_hot_bytes(self) -> int:
        """Return `hot_bytes` but for those of datasets whose last commit failed."""
        if not self.uncommittable:
            return self.hot_bytes
        with self.lock:
            return self.hot_bytes - sum(dataset.hot_bytes for dataset in self.uncommittable)


def opening_error(name: str) -> TailraceError:
    """Return the error for a dataset whose events are still being read from the logs."""
    return DatasetUnavailable(f"dataset {name!r} is being opened on this server", retry_after_s=OPENING_RETRY_S)


def _note_overtaken(dataset: DatasetState) -> None:
    """Say so where no other server should write to the tables; the next commit fails and says so too."""
    logger.critical("another server has committed events to dataset %r, whose events are in memory", dataset.info.name)


def unavailable_error(what: str, error: Exception) -> TailraceError:
    """Return the error for an operation on a dataset that failed because of the disk."""
    if is_full(error):
        return disk_full()
    return DatasetUnavailable(f"{what}: {reason_of(error)}")
