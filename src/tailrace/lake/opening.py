"""Opening the datasets of a lake while it runs: from their tables, then what the logs have behind those."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from tailrace.events import Batch, ShuttingDown
from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.dataset_state import DatasetState, StoredDataset, UnavailableDataset, known_info, read_dataset
from tailrace.lake.datasets import Datasets
from tailrace.lake.state import LakeState, opening_error
from tailrace.log import ObjectLogFollower
from tailrace.storage.faults import reason_of

RETRY_S, MAX_RETRY_S = 1.0, 60.0  # between attempts to open what could not be opened

logger = logging.getLogger(__name__)


class _GivenError(Exception):
    """All datasets for which logs are read were given, or dropped, meanwhile."""


class DatasetOpener:
    """A thread that opens the datasets that a lake takes, and opens those again that another server has written to.

    A dataset is inserted in the lake once its table is read, but answers no question until everything that the logs
    have behind the table's positions is accepted. Thread-safe.
    """

    def __init__(
        self,
        state: LakeState,
        datasets: Datasets,
        follower: ObjectLogFollower,
        accept: Callable[[Mapping[str, DatasetState], str, list[tuple[int, Batch]]], object],
    ) -> None:
        """Take what accepts batches of a writer's log for some datasets."""
        self._state = state
        self._datasets = datasets
        self._follower = follower
        self._accept = accept
        # Guarded by the lake's lock.
        self._taken: set[str] = set()
        self._due: dict[str, tuple[float, float]] = {}  # when to open a dataset, and how long to wait where that fails
        self._thread = threading.Thread(target=self._run, name="tailrace-open", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread, once the lake is closing."""
        if self._thread.is_alive():
            self._thread.join()

    def take(self, names: Collection[str]) -> None:
        """Have datasets opened that are not the lake's yet."""
        with self._state.lock:
            self._expect(set(names) - self._taken)

    def release(self, names: Collection[str]) -> list[DatasetState]:
        """Have datasets be the lake's no more; return those that are open, for the caller to close."""
        state = self._state
        with state.lock:
            gone = self._taken.intersection(names)
            self._taken -= gone
            state.opening -= gone
            for name in gone:
                self._due.pop(name, None)
                state.unavailable.pop(name, None)
            return [state.datasets[name] for name in sorted(gone) if name in state.datasets]

    def reopen(self, dataset: DatasetState) -> None:
        """Close a dataset, and open it again where it is the lake's; the lock is held."""
        name = dataset.info.name
        if self._state.datasets.get(name) is not dataset:
            return
        self._state.close_dataset(dataset)
        if name in self._taken:
            logger.warning("another server has written to dataset %r, which is read again", name)
            self._expect({name})

    def adopt(self, dataset: DatasetState) -> None:
        """Open a dataset again that was made just now, so that what the logs have of it is read; the lock is held."""
        self._state.close_dataset(dataset)
        self._expect({dataset.info.name})

    def is_opening(self, name: str) -> bool:
        """Return whether a dataset is the lake's, and will be open in a moment."""
        with self._state.lock:
            dataset = self._state.datasets.get(name)
            return name in self._state.opening or (dataset is not None and dataset.is_behind)

    def wait(self, name: str, timeout_s: float) -> None:
        """Return once a dataset is not being opened. Raise DatasetUnavailable after a time, ShuttingDown."""
        state = self._state
        with state.lock:
            state.progress.wait_for(lambda: not self.is_opening(name) or state.is_closing, timeout_s)
            state.check()
            if self.is_opening(name):
                raise opening_error(name)

    def _expect(self, names: Collection[str]) -> None:
        self._taken |= set(names)
        self._state.opening |= set(names)
        self._due |= dict.fromkeys(names, (0.0, RETRY_S))
        self._state.progress.notify_all()

    # In the thread

    def _run(self) -> None:
        state = self._state
        while True:
            with state.lock:
                while not (names := self._due_now()) and not state.is_closing:
                    next_s = min((at_s for at_s, _ in self._due.values()), default=None)
                    state.progress.wait(None if next_s is None else max(0.0, next_s - time.monotonic()))
                if state.is_closing:
                    return
            try:
                self._read_behind(self._open(names))
            except Exception:
                logger.exception("datasets could not be opened, which is tried again")
                with state.lock:
                    for name in names:
                        if name in state.opening:
                            self._put_off(name)

    def _due_now(self) -> list[str]:
        now_s = time.monotonic()
        return sorted(name for name, (at_s, _) in self._due.items() if at_s <= now_s)

    def _put_off(self, name: str) -> None:
        """Try again later; the lock is held."""
        _, delay_s = self._due.get(name, (0.0, RETRY_S))
        self._due[name] = (time.monotonic() + delay_s, min(2 * delay_s, MAX_RETRY_S))

    def _open(self, names: Collection[str]) -> dict[str, DatasetState]:
        """Open tables; return the datasets, whose events are not read yet."""
        state = self._state
        opened: dict[str, DatasetState] = {}
        with ThreadPoolExecutor(state.catalog.opening_threads, "tailrace-open") as opening:
            reads = {name: opening.submit(read_dataset, state.catalog.storage(name)) for name in names}
            for name, read in reads.items():
                try:
                    dataset = self._state_of(read.result())
                except Exception as error:
                    if self._note_unavailable(name, error):
                        logger.exception("dataset %r cannot be used, which is tried again", name)
                    continue
                with state.lock:
                    if name not in self._taken:
                        continue
                    self._due.pop(name, None)
                    state.opening.discard(name)
                    if state.unavailable.pop(name, None) is not None:
                        logger.warning("dataset %r can be used again", name)
                    state.datasets[name] = opened[name] = dataset
        return opened

    def _state_of(self, stored: StoredDataset) -> DatasetState:
        dataset = self._datasets.opened(stored)
        dataset.is_behind = True
        self._datasets.set_aside += len(stored.table.set_aside)
        return dataset

    def _note_unavailable(self, name: str, error: Exception) -> bool:
        """Try again later what cannot be opened, unless there is nothing of that name.

        Return whether it is a fault that is new.
        """
        state = self._state
        is_there = state.catalog.has_files(name)
        info = known_info(state.catalog.storage(name), name) if is_there else DatasetInfo(name, 0, 0)
        reason = reason_of(error)
        with state.lock:
            if name not in self._taken:
                return False
            state.opening.discard(name)
            before = state.unavailable.pop(name, None)
            if is_there:
                state.unavailable[name] = UnavailableDataset(info, reason)
                self._put_off(name)
            else:
                self._taken.discard(name)
                self._due.pop(name, None)
            state.progress.notify_all()
        return is_there and (before is None or before.reason != reason)

    def _read_behind(self, opened: Mapping[str, DatasetState]) -> None:
        """Have what the logs have of datasets behind their tables accepted, and what comes after it."""
        state, delay_s, is_told = self._state, RETRY_S, False

        def accept(writer: str, batches: list[tuple[int, Batch]]) -> None:
            self._accept(opened, writer, batches)

        def check() -> None:
            if all(each.dropped for each in opened.values()):
                raise _GivenError

        def joined() -> None:
            with state.lock:
                for dataset in opened.values():
                    dataset.is_behind = False
                    dataset.late = dict(dataset.accepted)
                state.progress.notify_all()

        while True:
            with state.lock:
                behind = {name: dict(each.accepted) for name, each in opened.items() if not each.dropped}
            if not behind:
                return
            try:
                self._follower.follow(behind, accept, joined, check=check)
                with state.lock:
                    given = [name for name in behind if opened[name].dropped]
                self._follower.unfollow(given)  # those that were given before they were followed
                return
            except (_GivenError, ShuttingDown):
                return
            except Exception:
                if not is_told and not state.is_closing:
                    logger.exception("the logs behind %d datasets cannot be read, which is tried again", len(behind))
                is_told = True
            with state.lock:
                if state.progress.wait_for(lambda: state.is_closing, delay_s):
                    return
            delay_s = min(2 * delay_s, MAX_RETRY_S)
