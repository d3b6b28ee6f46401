"""Changes of a dataset's files on request: trim, delete, compact, sweep."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pyarrow as pa

from tailrace.events import DatasetNotFound, DatasetUnavailable
from tailrace.lake.clock import time_ms
from tailrace.lake.committing import CommitThread
from tailrace.lake.dataset_state import DatasetState
from tailrace.lake.delta import DeltaError
from tailrace.lake.maintenance import Deletion, MaintenanceStopped
from tailrace.lake.rewrite import Pace
from tailrace.lake.snapshot import RowFilter
from tailrace.lake.state import LakeState, unavailable_error
from tailrace.log import covers
from tailrace.storage.faults import FULL, disk_full

DRAIN_TIMEOUT_S = 60.0

logger = logging.getLogger(__name__)


class FileChanges:
    """Makes them, beside the maintenance in the background; the errors are those of `Lake.trim`.

    `lend()` is `Reserve.lent`.
    """

    def __init__(
        self, state: LakeState, commits: CommitThread, lend: Callable[[], AbstractContextManager[bool]]
    ) -> None:
        self._state = state
        self._commits = commits
        self._lend = lend

    def trim(self, name: str, older_than_us: int) -> int:
        """Delete the events of a dataset whose `_time` is before a moment; return how many were."""
        deleted = 0
        with self._lend() as is_disk_full:
            if is_disk_full:
                deleted = self._free_space(name, older_than_us)
            with self._committed(name) as dataset:
                deleted += dataset.maintenance.trim(older_than_us, self._pace_of(dataset))
                if is_disk_full:
                    dataset.maintenance.sweep(time_ms(), at_once=True)
        return deleted

    def _free_space(self, name: str, older_than_us: int) -> int:
        """Remove the files whose events are all older, before there may be space to commit; return their events."""
        with self._files_of(self._state.dataset(name)) as dataset:
            deleted = dataset.maintenance.expire(older_than_us, "trim")
            dataset.maintenance.sweep(time_ms(), at_once=True)
        return deleted

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool) -> Deletion:
        """Delete the events of a dataset that a filter matches, all or none of them; with `dry_run` only count them."""
        with self._lend() as is_disk_full, self._committed(name) as dataset:
            # The view of the moment, as other events are committed meanwhile: it knows every column that a file has.
            deletion = dataset.maintenance.delete(
                lambda file: matching(file, dataset.view), self._pace_of(dataset), dry_run=dry_run
            )
            if is_disk_full and not dry_run:
                dataset.maintenance.sweep(time_ms(), at_once=True)
            return deletion

    def compact(self, name: str) -> None:
        """Merge the files of a dataset as far as `compact_bytes` allows, without throttling."""
        with self._committed(name) as dataset:
            dataset.maintenance.compact(self._pace_of(dataset), time_ms(), whole=True)

    def sweep(self, name: str) -> int:
        """Delete the files that have not been part of a table for `keep_removed_s`; return how many."""
        with self._files_of(self._state.dataset(name)) as dataset:
            return dataset.maintenance.sweep(time_ms())

    @contextmanager
    def _committed(self, name: str) -> Iterator[DatasetState]:
        """Yield the dataset, with everything that was accepted before in its table."""
        with self._state.lock:
            due = dict(self._state.dataset(name).accepted)
            dataset = self._state.shredded(name, DRAIN_TIMEOUT_S)
        self._commits.commit(dataset)
        self._commits.acknowledge_committed()
        if dataset.dropped:
            raise DatasetNotFound(f"dataset {name!r} not found")
        if not covers(dataset.committed, due):
            if dataset.commit_failure == FULL:
                raise disk_full()
            raise DatasetUnavailable(f"dataset {name!r} cannot be committed: {dataset.commit_failure}")
        with self._files_of(dataset):
            yield dataset

    @contextmanager
    def _files_of(self, dataset: DatasetState) -> Iterator[DatasetState]:
        """Yield a dataset whose files exist; errors of work on them are raised as TailraceError."""
        name = dataset.info.name
        try:
            if not dataset.table.exists() and not dataset.dropped:
                raise DatasetUnavailable(dataset.gone_message)
            yield dataset
        except MaintenanceStopped as error:
            self._state.check()
            raise DatasetNotFound(f"dataset {name!r} not found") from error
        except (OSError, DeltaError, pa.ArrowException) as error:
            if dataset.dropped:
                raise DatasetNotFound(f"dataset {name!r} not found") from error
            logger.exception("the files of %r cannot be changed", name)
            raise unavailable_error(f"the files of dataset {name!r} cannot be changed", error) from error

    def _pace_of(self, dataset: DatasetState) -> Pace:
        def pace(written: int) -> None:
            if self._state.is_closing or dataset.dropped:
                raise MaintenanceStopped

        return pace
