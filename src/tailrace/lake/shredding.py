"""The thread that shreds what datasets were handed, and the order in which it does."""

import logging
import threading
import time
from typing import Literal

import duckdb

from tailrace.lake.dataset_state import BATCH_OVERHEAD_BYTES, DatasetState, PendingBatch
from tailrace.lake.hot import HotPart
from tailrace.lake.priority import lower_priority
from tailrace.lake.settings import LakeSettings
from tailrace.lake.shred import whole_events_as_rest
from tailrace.lake.state import LakeState
from tailrace.storage.faults import reason_of

SHRED_BYTES = 8 * 1024 * 1024  # of NDJSON taken in one shredding
LINGER_BYTES = 64 * 1024 * 1024  # with less than this (or a commit's worth) waiting, shredding waits for more:
LINGER_S = 1.0  # at most this long, and not at all when a query waits; a burst is acknowledged before it is shredded
HOT_COMMITS = 4  # shredding of a dataset pauses while it has this many commits' worth in memory
SHRED_RETRY_S, MAX_SHRED_RETRY_S = 0.1, 5.0  # between attempts
SCARCITY = (OSError, MemoryError, ImportError, duckdb.IOException, duckdb.OutOfMemoryException)
"""What is the process's fault, not the events': descriptors, memory, disk."""

logger = logging.getLogger(__name__)


class ShreddingThread:
    """Shreds the batches that wait, dataset by dataset: those first that a query waits for, then the oldest."""

    def __init__(self, state: LakeState, settings: LakeSettings) -> None:
        self.failures = 0  # batches kept whole in `_rest`
        self._state = state
        self._settings = settings
        self._linger_bytes = min(LINGER_BYTES, settings.commit_bytes)
        self._waits: Literal["for work", "for more", ""] = ""
        self._thread = threading.Thread(target=self._run, name="tailrace-shred", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def is_behind(self) -> bool:
        """Whether more waits than is left to wait for more."""
        return self._state.backlog_bytes > self._linger_bytes

    def notify(self) -> None:
        """Wake the thread where what waits now is what it waits for; the lock is held."""
        enough = self._state.backlog_bytes >= self._linger_bytes
        if self._waits == "for work" or (enough and self._waits == "for more"):
            self._state.work.notify()

    def _run(self) -> None:
        try:
            lower_priority()
            while (work := self._next_work()) is not None:
                self._shred_until_done(*work)
        except BaseException as error:
            logger.exception("the shredding thread has failed")
            with self._state.lock:
                self._state.shredding_error = error
                self._state.progress.notify_all()
            raise

    def _next_work(self) -> tuple[DatasetState, list[PendingBatch]] | None:
        state = self._state
        with state.lock:
            while not state.is_closing:
                dataset = self._most_urgent()
                if dataset is None:
                    self._wait("for work")
                    continue
                age = time.monotonic() - dataset.waiting[0].since_s
                if not dataset.demanded and state.backlog_bytes < self._linger_bytes and age < LINGER_S:
                    self._wait("for more", LINGER_S - age)
                    continue
                return dataset, dataset.take_waiting(SHRED_BYTES)
            return None

    def _wait(self, what: Literal["for work", "for more"], timeout_s: float | None = None) -> None:
        self._waits = what
        self._state.work.wait(timeout_s)
        self._waits = ""

    def _most_urgent(self) -> DatasetState | None:
        limit = HOT_COMMITS * self._settings.commit_bytes
        ready = [d for d in self._state.datasets.values() if d.waiting and d.hot_bytes < limit]
        demanded = [d for d in ready if d.demanded]
        return min(demanded or ready, key=lambda d: d.waiting[0].since_s, default=None)

    def _shred_until_done(self, dataset: DatasetState, pending: list[PendingBatch]) -> None:
        """Shred, again and again where the process lacks something: these events are acknowledged."""
        state = self._state
        delay_s = SHRED_RETRY_S
        while True:
            try:
                self._shred(dataset, pending)
            except Exception as error:
                logger.exception("events of %r cannot be shredded now, which is tried again", dataset.info.name)
                with state.lock:
                    state.shredding_trouble = reason_of(error, "the server's log says why")
                    state.progress.notify_all()
                    if state.progress.wait_for(lambda: state.is_closing or dataset.dropped, delay_s):
                        return  # they are in the log
                delay_s = min(2 * delay_s, MAX_SHRED_RETRY_S)
            else:
                state.shredding_trouble = ""
                return

    def _shred(self, dataset: DatasetState, pending: list[PendingBatch]) -> None:
        state = self._state
        batches = [each.batch for each in pending]
        try:
            rows = dataset.shredder.shred(batches)
        except SCARCITY:
            raise
        except Exception:
            logger.exception("events of %r could not be shredded and are kept whole in _rest", dataset.info.name)
            self.failures += 1
            dataset.fields.rest_overflow = True
            rows = whole_events_as_rest(batches)
        raw_bytes = sum(len(batch.events) for batch in batches)
        part = HotPart(rows, pending[-1].position, raw_bytes, pending[0].since_s)
        view = dataset.fields.view()
        with state.lock:
            dataset.shredding = []
            dataset.view = view
            dataset.hot.append(part)
            dataset.hot_bytes += raw_bytes
            dataset.shredded = part.position
            if not dataset.waiting:
                dataset.demanded = False
            state.backlog_bytes -= raw_bytes + BATCH_OVERHEAD_BYTES * len(batches)
            state.progress.notify_all()
            if dataset.hot_bytes >= self._settings.commit_bytes:
                state.commit_due.notify()
