"""The thread that shreds the batches of the datasets, and the order in which it does."""

import logging
import threading
import time
from typing import Literal

from tailrace.lake.dataset_state import BATCH_OVERHEAD_BYTES, DatasetState, PendingBatch
from tailrace.lake.hot import HotPart, mergeable, merged
from tailrace.lake.lines import whole_events_as_rest
from tailrace.lake.priority import lower_priority
from tailrace.lake.settings import LakeSettings
from tailrace.lake.snapshot import HotTable
from tailrace.lake.state import LakeState
from tailrace.storage.faults import reason_of

SHRED_BYTES = 8 * 1024 * 1024  # of NDJSON shredded at a time
# With less than this, than a commit, or than half of what answers wait at, in the backlog, shredding waits for more, so
# that a burst is acknowledged first; but not longer than SHRED_WAIT_S, and not while a query waits.
SHRED_WAIT_S = 1.0
MAX_HOT_COMMITS = 4  # times commit_bytes in memory, at which the shredding of a dataset pauses
SHRED_RETRY_S, MAX_SHRED_RETRY_S = 0.1, 5.0  # between attempts
RESOURCE_ERRORS = (OSError, MemoryError, ImportError)
"""Errors from a lack of descriptors, memory or disk space, which the events did not cause."""

logger = logging.getLogger(__name__)


class ShreddingThread:
    """Shreds the waiting batches, dataset by dataset: first where a query waits for it, then the oldest."""

    def __init__(self, state: LakeState, settings: LakeSettings) -> None:
        self.failures = 0  # shreddings that failed, whose events were stored whole in `_rest`
        self._state = state
        self._settings = settings
        self._wait_bytes = min(SHRED_BYTES, settings.commit_bytes, settings.max_waiting_bytes // 2)
        self._waits: Literal["for work", "for more", ""] = ""
        self._thread = threading.Thread(target=self._run, name="tailrace-shred", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def is_behind(self) -> bool:
        """Return whether the backlog is larger than what shredding lets wait."""
        return self._state.backlog_bytes > self._wait_bytes

    def notify(self) -> None:
        """Wake the thread if it waits for as much as there is now; the lock is held."""
        enough = self._state.backlog_bytes >= self._wait_bytes
        if self._waits == "for work" or (enough and self._waits == "for more"):
            self._state.work.notify()

    def _run(self) -> None:
        try:
            lower_priority()
            while self._shred_next():
                pass
        except BaseException as error:
            logger.exception("the shredding thread has failed")
            with self._state.lock:
                self._state.shredding_error = error
                self._state.progress.notify_all()
            raise

    def _shred_next(self) -> bool:
        """Wait for batches and shred them; nothing of them stays in memory but their rows. Return false at the end."""
        work = self._next_work()
        if work is None:
            return False
        self._shred_until_done(*work)
        self._merge_parts(work[0])
        return True

    def _next_work(self) -> tuple[DatasetState, list[PendingBatch]] | None:
        state = self._state
        with state.lock:
            while not state.is_closing:
                dataset = self._most_urgent()
                if dataset is None:
                    self._wait("for work")
                    continue
                age = time.monotonic() - dataset.waiting[0].since_s
                if not dataset.demanded and state.backlog_bytes < self._wait_bytes and age < SHRED_WAIT_S:
                    self._wait("for more", SHRED_WAIT_S - age)
                    continue
                return dataset, dataset.take_waiting(SHRED_BYTES)
            return None

    def _wait(self, what: Literal["for work", "for more"], timeout_s: float | None = None) -> None:
        self._waits = what
        self._state.work.wait(timeout_s)
        self._waits = ""

    def _most_urgent(self) -> DatasetState | None:
        limit = MAX_HOT_COMMITS * self._settings.commit_bytes
        ready = [dataset for dataset in self._state.datasets.values() if dataset.waiting and dataset.hot_bytes < limit]
        demanded = [dataset for dataset in ready if dataset.demanded]
        return min(demanded or ready, key=lambda dataset: dataset.waiting[0].since_s, default=None)

    def _shred_until_done(self, dataset: DatasetState, pending: list[PendingBatch]) -> None:
        """Shred, and retry while resources are lacking: these events are acknowledged and must not be lost."""
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
                        if dataset.dropped:
                            self._forget(dataset, pending)
                        return  # they are in the log
                delay_s = min(2 * delay_s, MAX_SHRED_RETRY_S)
            else:
                state.shredding_trouble = ""
                return

    def _forget(self, dataset: DatasetState, pending: list[PendingBatch]) -> None:
        """Count batches of a dropped dataset no more; the lock is held."""
        dataset.shredding = []
        self._state.backlog_bytes -= sum(len(each.batch.events) + BATCH_OVERHEAD_BYTES for each in pending)
        self._state.shredding_trouble = ""

    def _shred(self, dataset: DatasetState, pending: list[PendingBatch]) -> None:
        state = self._state
        batches = [waiting.batch for waiting in pending]
        try:
            rows = dataset.shredder.shred(batches)
        except RESOURCE_ERRORS:
            raise
        except Exception:
            logger.exception("events of %r could not be shredded and are kept whole in _rest", dataset.info.name)
            self.failures += 1
            dataset.fields.note_rest_overflow()
            rows = whole_events_as_rest(batches)
        raw_bytes = sum(len(batch.events) for batch in batches)
        positions = {**dataset.shredded, **{waiting.writer: waiting.position for waiting in pending}}
        part = HotPart(HotTable.of(rows), positions, raw_bytes, pending[0].since_s)
        view = dataset.fields.view()
        with state.lock:
            dataset.shredding = []
            state.backlog_bytes -= raw_bytes + BATCH_OVERHEAD_BYTES * len(batches)
            if dataset.dropped:
                return
            dataset.view = view
            dataset.hot.append(part)
            dataset.hot_bytes += raw_bytes
            state.hot_bytes += raw_bytes
            dataset.shredded = part.positions
            if not dataset.waiting:
                dataset.demanded = False
            state.progress.notify_all()
            if dataset.hot_bytes >= self._settings.commit_bytes or state.hot_bytes >= self._settings.relief_bytes:
                state.commit_due.notify()

    def _merge_parts(self, dataset: DatasetState) -> None:
        """Make one part of many small ones, which shredding a few events at a time leaves."""
        lock = self._state.lock
        while True:
            with lock:
                parts = mergeable(dataset.hot) if dataset.may_merge else ()
            if not parts:
                return
            try:
                one = merged(parts)
            except MemoryError:
                logger.exception("parts of %r in memory stay as small as they are", dataset.info.name)
                return
            with lock:
                if not dataset.replace_last(parts, one):
                    return
