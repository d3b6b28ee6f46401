"""The thread that commits hot rows (in memory, not yet in Parquet) to their tables, and acknowledges their positions to
the log.
"""

import logging
import threading
import time
from collections.abc import Callable

from tailrace.events import DatasetUnavailable
from tailrace.lake import sidecar
from tailrace.lake.dataset_state import DatasetState
from tailrace.lake.dropped import DroppedDatasets
from tailrace.lake.hot import first_parts, joined
from tailrace.lake.memory import release_memory
from tailrace.lake.priority import lower_priority
from tailrace.lake.settings import LakeSettings
from tailrace.lake.snapshot import FieldsView, Received
from tailrace.lake.state import LakeState
from tailrace.lake.table import OVERTAKEN, TableOvertaken
from tailrace.log import covers
from tailrace.storage.faults import reason_of

COMMIT_CHECK_S = 0.5
COMMIT_RETRY_S = 5.0
LATE_AGE = 0.1  # of `commit_age_s`: so that one who dies again and again leaves less and less to read, not more
RELEASE_BYTES = 8 * 1024 * 1024  # of committed NDJSON, from which on it is worth to give memory back

logger = logging.getLogger(__name__)


class CommitThread:
    """Commits a dataset once it has enough rows in memory, or they are old enough.

    `acknowledge(writer, position)` is called with the position in a writer's log up to which all batches are in their
    tables, once it rises.
    """

    def __init__(
        self,
        state: LakeState,
        settings: LakeSettings,
        dropped: DroppedDatasets,
        acknowledge: Callable[[str, int], None],
    ) -> None:
        self.commits = 0
        self.failures = 0
        self._state = state
        self._settings = settings
        self._dropped = dropped
        self._acknowledge = acknowledge
        self._acknowledged: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="tailrace-commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        lower_priority()
        state = self._state
        while True:
            with state.lock:
                due = self._due()
                if not due and not self._dropped.is_due():
                    if state.is_closing:
                        return
                    state.commit_due.wait(COMMIT_CHECK_S)
                    due = self._due()
                if state.is_closing:
                    return
            for dataset in due:
                self.commit(dataset)
            if due or self._dropped.is_due():
                self.acknowledge_committed()

    def _due(self) -> list[DatasetState]:
        now = time.monotonic()
        settings = self._settings
        ready = [each for each in self._state.datasets.values() if each.hot and now >= each.retry_at_s]
        due = [
            dataset
            for dataset in ready
            if dataset.hot_bytes >= settings.commit_bytes or now - dataset.hot[0].since_s >= self._age_s(dataset)
        ]
        if due or not ready:
            return due
        largest = max(ready, key=lambda dataset: dataset.hot_bytes)
        is_too_much = settings.needs_relief(self._state.committable_hot_bytes(), largest.hot_bytes)
        return [largest] if is_too_much else []

    def _age_s(self, dataset: DatasetState) -> float:
        """Return for how long rows of a dataset wait for more."""
        is_late = not covers(dataset.committed, dataset.late)
        return self._settings.commit_age_s * (LATE_AGE if is_late else 1)

    def commit(self, dataset: DatasetState) -> None:
        """Put the hot rows of a dataset into its table. A failure is logged and counted.

        More than `commit_bytes` of them become several commits, as a commit holds a copy of its rows.
        """
        with dataset.commit_lock:
            if dataset.dropped or not dataset.hot:
                return
            hot_bytes = dataset.hot_bytes
            due = dataset.hot[-1].positions
            try:
                while dataset.hot and not dataset.dropped and covers(due, dataset.hot[0].positions):
                    self._commit_hot(dataset)
            except Exception as error:
                self._give_back(dataset)
                if isinstance(error, TableOvertaken) and self._is_let_go(dataset):
                    return
                logger.exception("commit of %r failed; its events stay in memory and in the log", dataset.info.name)
                with self._state.lock:
                    self.failures += 1
                    dataset.failed_commits += 1
                    dataset.commit_failure = reason_of(error)
                    dataset.retry_at_s = time.monotonic() + COMMIT_RETRY_S
                    if not dataset.dropped:
                        self._state.uncommittable.add(dataset)
                return
            with self._state.lock:
                self.commits += 1
                dataset.failed_commits = 0
                self._state.uncommittable.discard(dataset)
        if hot_bytes >= RELEASE_BYTES:
            release_memory()

    def _give_back(self, dataset: DatasetState) -> None:
        """Have the rows of a commit that failed committed again."""
        with self._state.lock:
            dataset.hot = [*dataset.committing, *dataset.hot]
            dataset.committing = []

    def _is_let_go(self, dataset: DatasetState) -> bool:
        """Return whether a dataset is not here any more, once the lake knows what another server has committed."""
        self._state.adopt_table(dataset)
        return dataset.dropped

    def _commit_hot(self, dataset: DatasetState) -> None:
        """Put the hot rows of a dataset into its table; the commit lock is held."""
        if not dataset.table.exists():
            raise DatasetUnavailable(dataset.gone_message)
        # A commit that failed may have been written nevertheless: rows that are in the table must not be written again.
        dataset.table.refresh()
        if not self._state.adopt_table(dataset):
            raise TableOvertaken(OVERTAKEN)
        with self._state.lock:
            parts = first_parts(dataset.hot, min(self._settings.commit_bytes, self._settings.relief_bytes))
            if not parts or dataset.dropped:
                return
            dataset.hot, dataset.committing = dataset.hot[len(parts) :], parts
            after = dataset.table.positions
            view = dataset.view
        if view != dataset.stored_view:
            # Before the rows: a column must never be in a table without the registry knowing it.
            self._store_registry(dataset, view)
        positions = parts[-1].positions
        received = sum((part.received for part in parts), Received())
        ordered = dataset.table.in_order(joined(parts), self._settings.maintenance)
        dataset.table.commit(ordered, view, positions, received, after=after)
        self._state.adopt_table(dataset)

    def _store_registry(self, dataset: DatasetState, view: FieldsView) -> None:
        """Store the registry; the commit lock is held.

        Raise TableOvertaken where another server has stored another one meanwhile: in each, the same name may be that
        of another column.
        """
        storage = dataset.table.storage
        if self._state.is_shared or dataset.registry:
            try:
                sidecar.store_numbered_fields(storage, view, dataset.registry + 1)
            except FileExistsError as error:
                with self._state.lock:
                    self._state.overtaken(dataset)
                raise TableOvertaken(OVERTAKEN) from error
            dataset.registry += 1
        else:
            sidecar.store_fields(storage, view)
        dataset.stored_view = view

    def acknowledge_committed(self) -> None:
        """Acknowledge the positions up to which all batches are in their tables, once what was dropped is stored."""
        positions = self._state.committed_positions()
        if not self._dropped.store():
            return
        with self._state.lock:
            risen = {
                writer: position
                for writer, position in positions.items()
                if position > self._acknowledged.get(writer, 0)
            }
            self._acknowledged.update(risen)
        for writer, position in risen.items():
            self._acknowledge(writer, position)
