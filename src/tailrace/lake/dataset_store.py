"""What a server does with its datasets, wherever their lake is: the interface of `Lake` to its clients."""

from typing import Protocol, Unpack

from tailrace.events.declarations import DeclaredFields
from tailrace.lake.catalog import DatasetInfo, DatasetOptions, InfoChanges
from tailrace.lake.dataset_state import UnavailableDataset
from tailrace.lake.maintenance import Deletion
from tailrace.lake.snapshot import RowFilter, SnapshotSource
from tailrace.lake.table_copy import Keep, TableCopy


class DatasetStore(SnapshotSource, Protocol):
    """Datasets: found by name, created, changed, read. Thread-safe.

    What tells of datasets without asking for their events never blocks. Each method that names an error raises it as
    `Lake` does.
    """

    def organisation(self, name: str) -> str | None:
        """Return the organisation of a dataset, "" for the first one; None where there is no such dataset."""

    def datasets(self) -> list[DatasetInfo]:
        """Return all datasets that can be opened, by name."""

    def unavailable(self) -> list[UnavailableDataset]:
        """Return the datasets that cannot be opened, by name."""

    def get(self, name: str) -> DatasetInfo:
        """Raise DatasetNotFound, DatasetUnavailable."""

    def has(self, name: str) -> bool:
        """Return whether there is a dataset of this name that can be opened."""

    def check(self, name: str) -> None:
        """Raise DatasetNotFound or DatasetUnavailable for a dataset that accepts no events."""

    def create(self, name: str, **options: Unpack[DatasetOptions]) -> DatasetInfo:
        """Create an empty dataset. Raise InvalidName, DatasetExists, Conflict."""

    def update(self, name: str, **changes: Unpack[InfoChanges]) -> DatasetInfo:
        """Change a dataset's info, durably. Raise DatasetNotFound."""

    def declare(self, name: str, fields: DeclaredFields) -> None:
        """Declare fields of a dataset, durably."""

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events."""

    def commit_now(self, name: str | None = None) -> None:
        """Commit everything accepted so far, of one dataset or of all."""

    def copy(self, name: str, keep: Keep) -> TableCopy:
        """Return a table to be copied, with everything accepted so far; the small files beside it go to `keep`."""

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events before a moment; return how many were deleted."""

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events that a filter matches, all or none of them; with `dry_run` only count them."""

    def compact(self, name: str) -> None:
        """Merge the files of a dataset."""

    def sweep(self, name: str) -> int:
        """Delete files that are no part of a table any more; return how many."""

    def uncommitted(self, name: str) -> int:
        """Return the number of events that are known not to be in a dataset's table yet."""

    @property
    def backlog_bytes(self) -> int:
        """The size of the batches that are durable but not yet shredded, as far as it is known."""

    @property
    def excess_bytes(self) -> int:
        """The bytes in memory that are too many, negative where more may come."""

    @property
    def commits(self) -> int:
        """The number of commits since the start."""
