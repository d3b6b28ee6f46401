"""Replay of the log: batches of datasets that are not open, which are opened again until they can be."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.lake.dataset_state import read_dataset
from tailrace.lake.datasets import Datasets
from tailrace.lake.dropped import DroppedDatasets
from tailrace.lake.priority import lower_priority
from tailrace.lake.state import LakeState
from tailrace.storage.faults import reason_of

REOPEN_RETRY_S, MAX_REOPEN_RETRY_S = 2.0, 60.0  # between attempts to open what could not be opened

ReadLog = Callable[[int], Iterable[tuple[int, Batch]]]
"""Reads the batches of a log from a position on, in order."""

logger = logging.getLogger(__name__)


class Replay:
    """Handles batches that have no table, during the replay of the log and after it."""

    def __init__(self, state: LakeState, datasets: Datasets, dropped: DroppedDatasets) -> None:
        self._state = state
        self._datasets = datasets
        self._dropped = dropped
        self._is_replaying = True
        self._thread: threading.Thread | None = None

    def accept_orphaned(self, writer: str, position: int, name: str) -> None:
        """Handle a batch of a dataset that was dropped, or whose directory is missing for now; the lock is held."""
        state = self._state
        if position <= self._dropped.positions(name).get(writer, 0):
            return
        if name in state.orphaned:
            state.orphaned[name].setdefault(writer, position)
        elif self._is_replaying or name in state.unavailable:
            logger.error("the log has events of dataset %r, which is not here: they stay in the log from now on", name)
            state.orphaned[name] = {writer: position}
        else:
            # It was dropped between this batch's check and its flush. The commit thread stores that, as this is the
            # log's thread; until then the log keeps the batch.
            self._dropped.add(name)
            state.commit_due.notify()

    def end(self, logs: Mapping[str, ReadLog]) -> None:
        """End the replay; with `logs`, by writer, start to retry the datasets that could not be opened."""
        with self._state.lock:
            self._is_replaying = False
            if logs and self._unopened():
                self._thread = threading.Thread(
                    target=self._reopen_all, args=(logs,), name="tailrace-reopen", daemon=True
                )
                self._thread.start()

    def join(self) -> None:
        """Wait for the end of the retries, when the lake is closed."""
        if self._thread is not None:
            self._thread.join()

    def _unopened(self) -> list[str]:
        """Return the names of the datasets that could not be opened."""
        return [name for name, each in self._state.unavailable.items() if not each.is_dropped]

    def _reopen_all(self, logs: Mapping[str, ReadLog]) -> None:
        lower_priority()
        state = self._state
        delay_s = REOPEN_RETRY_S
        while True:
            with state.lock:
                names = self._unopened()
                if not names or state.progress.wait_for(lambda: state.is_closing, delay_s):
                    return
            for name in names:
                self._reopen(name, logs)
            delay_s = min(2 * delay_s, MAX_REOPEN_RETRY_S)

    def _reopen(self, name: str, logs: Mapping[str, ReadLog]) -> None:
        state = self._state
        with self._datasets.reserved(name):
            with state.lock:
                before = state.unavailable.get(name)
                if before is None or before.is_dropped:
                    return
                # It has no later batches than those of the replay, as it accepts no events.
                firsts, lasts = dict(state.orphaned.get(name, {})), dict(state.accepted)
            try:
                stored = read_dataset(state.catalog.storage(name))
                dataset = self._datasets.opened(stored)
                for writer, first in firsts.items():
                    read, last = logs[writer](first), lasts[writer]
                    dataset.enqueue(writer, (each for each in read if each[0] <= last and each[1].dataset == name))
            except Exception as error:
                reason = reason_of(error)
                if reason != before.reason:
                    logger.exception("dataset %r still cannot be used", name)
                with state.lock:
                    state.unavailable[name] = replace(before, reason=reason)
                return
            with state.lock:
                state.datasets[name] = dataset
                self._datasets.set_aside += len(stored.table.set_aside)
                state.backlog_bytes += dataset.waiting_bytes
                del state.unavailable[name]
                state.orphaned.pop(name, None)
                state.work.notify()
            logger.warning("dataset %r can be used again", name)
