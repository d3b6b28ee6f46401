"""The state that the threads of a lake share: its datasets, positions and conditions."""

import threading

from tailrace.events import (
    DatasetNotFound,
    DatasetUnavailable,
    Overloaded,
    ShuttingDown,
    TailraceError,
)
from tailrace.lake.catalog import Catalog
from tailrace.lake.dataset_state import DatasetState, UnavailableDataset
from tailrace.log import Positions, covers
from tailrace.storage.faults import disk_full, is_full, reason_of


class LakeState:
    """The state of a lake, which `lock` guards, together with the state of each dataset."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
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
        self.shredding_error: BaseException | None = None  # that ended the shredding thread
        self.shredding_trouble = ""  # why shredding is interrupted at the moment

    def dataset(self, name: str) -> DatasetState:
        """Return an open dataset. Raise DatasetNotFound, DatasetUnavailable."""
        dataset = self.datasets.get(name)
        if dataset is None:
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

    def shredded(self, name: str, timeout_s: float) -> DatasetState:
        """Return the dataset once everything accepted so far is shredded; the lock is held.

        Raise DatasetNotFound, DatasetUnavailable, Overloaded, ShuttingDown.
        """
        dataset = self.dataset(name)
        due = dict(dataset.accepted)
        if covers(dataset.shredded, due):
            return dataset
        dataset.demanded = True
        self.work.notify()
        self.progress.wait_for(
            lambda: (
                covers(dataset.shredded, due)
                or dataset.dropped
                or self.shredding_error
                or self.shredding_trouble
                or self.is_closing
            ),
            timeout_s,
        )
        self.check()
        if dataset.dropped:
            raise DatasetNotFound(f"dataset {name!r} not found")
        is_behind = not covers(dataset.shredded, due)
        if is_behind and self.shredding_trouble:
            raise DatasetUnavailable(f"events of {name!r} cannot be read at the moment: {self.shredding_trouble}")
        if is_behind:
            raise Overloaded(f"events of {name!r} are still being read after {timeout_s} s", retry_after_s=5)
        return dataset

    def adopt_table(self, dataset: DatasetState) -> None:
        """Update a dataset to the files of its table; its commit lock is held."""
        positions, received = dataset.table.positions, dataset.table.received  # files are read: not under the lock
        with self.lock:
            before = dataset.hot_bytes
            dataset.adopt_table(positions, received)
            if not dataset.dropped:
                self.hot_bytes -= before - dataset.hot_bytes
            self.work.notify()

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


def unavailable_error(what: str, error: Exception) -> TailraceError:
    """Return the error for an operation on a dataset that failed because of the disk."""
    if is_full(error):
        return disk_full()
    return DatasetUnavailable(f"{what}: {reason_of(error)}")
