"""Copying a table while it is written to: its files at one version, which stay until they are copied."""

from collections.abc import Callable
from contextlib import ExitStack

from msgspec import Struct

from tailrace.events import DatasetNotFound
from tailrace.lake import sidecar
from tailrace.lake.committing import CommitThread
from tailrace.lake.file_changes import DRAIN_TIMEOUT_S
from tailrace.lake.snapshot import DataFile
from tailrace.lake.state import LakeState
from tailrace.lake.table_storage import TableStorage
from tailrace.log import covers

SIDECARS = (sidecar.INFO, sidecar.CLUSTERING)

Keep = Callable[[str, bytes], None]


class TableCopy(Struct, frozen=True, eq=False):
    """A dataset at a version of its table, to be copied.

    `release` is called once it is: until then its data files stay on disk, unless the dataset is dropped or the disk
    is full.
    """

    dataset: str
    version: int
    storage: TableStorage
    files: tuple[DataFile, ...]
    fault: str  # why events that were accepted before are not in the table yet, empty where all are
    is_dropped: Callable[[], bool]  # whether the dataset was dropped since
    release: Callable[[], None]

    @property
    def rows(self) -> int:
        """The number of events in the table."""
        return sum(file.rows for file in self.files)


def copy_of_table(state: LakeState, commits: CommitThread, name: str, keep: Keep) -> TableCopy:
    """Commit what a dataset has in memory, and return its table to be copied.

    `keep(name, content)` is given the small files beside it: what of the table's log is needed to read that version,
    and what says what the dataset is. Raise DatasetNotFound, DatasetUnavailable, Overloaded, OSError, DeltaError.
    """
    with state.lock:
        due = dict(state.dataset(name).accepted)  # while that is shredded more arrives
        dataset = state.shredded(name, DRAIN_TIMEOUT_S)
    commits.commit(dataset)
    with dataset.commit_lock:
        if dataset.dropped:
            raise DatasetNotFound(f"dataset {name!r} not found")
        table, storage = dataset.table, dataset.table.storage
        table.refresh()  # after a commit that failed, or of another writer
        state.adopt_table(dataset)
        for each in storage.delta_log.needed():
            keep(each, storage.read(each))
        for each in SIDECARS:
            content = storage.read_if_there(each)
            if content is not None:
                keep(each, content)
        registry, _ = sidecar.read_fields(storage)
        if registry is not None:
            keep(sidecar.FIELDS, registry)  # without a number, which is for tables that servers share
        stack = ExitStack()
        stack.enter_context(dataset.maintenance.pinned([file.name for file in table.files]))
        fault = "" if covers(dataset.committed, due) else dataset.commit_failure or "they could not be committed"
        return TableCopy(name, table.version, storage, table.files, fault, lambda: dataset.dropped, stack.close)
