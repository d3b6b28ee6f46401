"""The state of an open dataset: its table, the batches to be shredded, and the rows to be committed."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.lake import sidecar
from tailrace.lake.catalog import Catalog, DatasetInfo
from tailrace.lake.fields import Fields
from tailrace.lake.hot import HotPart
from tailrace.lake.maintenance import TableMaintenance
from tailrace.lake.shred import Shredder
from tailrace.lake.snapshot import FieldsView, Received
from tailrace.lake.table import DatasetTable
from tailrace.lake.table_storage import TableStorage
from tailrace.log import Positions, furthest, same

BATCH_OVERHEAD_BYTES = 256  # of a waiting batch, in addition to its events

logger = logging.getLogger(__name__)


class StoredDataset(Struct, frozen=True, eq=False):
    """A dataset as it is in its directory."""

    info: DatasetInfo
    table: DatasetTable
    view: FieldsView
    is_view_stored: bool
    registry: int  # the number of the stored view, 0 for one without
    positions: Positions  # of the table
    received: Received  # of what is in the table


class UnavailableDataset(Struct, frozen=True):
    """A dataset that has a directory, but whose files cannot be used."""

    info: DatasetInfo  # only the name is certain
    reason: str
    is_dropped: bool = False  # and waits to be dropped again

    @property
    def message(self) -> str:
        return f"dataset {self.info.name!r} cannot be used: {self.reason}"


class PendingBatch(Struct, frozen=True, eq=False):
    """A batch that is in the log and waits to be shredded."""

    writer: str
    position: int  # in the writer's log
    batch: Batch
    since_s: float  # monotonic seconds when it was accepted


class DatasetState:
    """One dataset that takes events and answers queries. All of it is guarded by the lake's lock."""

    def __init__(
        self,
        stored: StoredDataset,
        fields: Fields,
        shredder: Shredder,
        maintenance: Callable[["DatasetState"], TableMaintenance],
    ) -> None:
        self.info = stored.info
        self.table = stored.table
        self.fields = fields
        self.view = fields.view()
        self.shredder = shredder
        self.waiting: deque[PendingBatch] = deque()
        self.waiting_bytes = 0
        self.shredding: list[PendingBatch] = []
        self.hot: list[HotPart] = []
        self.hot_bytes = 0
        self.committing: list[HotPart] = []
        self.files = stored.table.files
        self.received = stored.received  # of what is in the table
        self.registry = stored.registry
        self.stored_view = self.view if stored.is_view_stored else None
        self.committed: Positions = furthest([stored.positions, stored.info.created])
        self.accepted = dict(self.committed)
        self.shredded: Positions = self.committed
        self.uncommitted_events = 0
        self.retry_at_s = 0.0
        self.failed_commits = 0  # since the last that succeeded
        self.commit_failure = ""
        self.demanded = False  # by a query, which waits for what was accepted
        self.is_behind = False  # while what the logs have behind its table is read
        self.late: Positions = {}  # up to which it was read so; that is committed soon
        self.dropped = False  # or closed here: the lake has this state no more
        self.commit_lock = threading.Lock()
        self.maintenance = maintenance(self)

    def enqueue(self, writer: str, batches: Iterable[tuple[int, Batch]], now_s: float | None = None) -> int:
        """Have a writer's batches shredded but those that it has; return what they add to its waiting bytes."""
        since_s = time.monotonic() if now_s is None else now_s
        before = self.waiting_bytes
        for position, batch in batches:
            if position <= self.accepted.get(writer, 0):
                continue
            self.accepted[writer] = position
            self.waiting.append(PendingBatch(writer, position, batch, since_s))
            self.waiting_bytes += len(batch.events) + BATCH_OVERHEAD_BYTES
            self.uncommitted_events += batch.count
        return self.waiting_bytes - before

    def take_waiting(self, max_bytes: int) -> list[PendingBatch]:
        """Take the batches that are shredded next, of about so many bytes, out of those that wait."""
        taken: list[PendingBatch] = []
        size = 0
        while self.waiting and size < max_bytes:
            taken.append(self.waiting.popleft())
            size += len(taken[-1].batch.events) + BATCH_OVERHEAD_BYTES
        self.waiting_bytes -= size
        self.shredding = taken
        return taken

    def adopt_table(self, positions: Positions, received: Received) -> bool:
        """Take over the table's files, positions and totals, and let go of the rows that are in them.

        Return False, without a change, where that cannot be told: the positions are neither those that the rows in
        memory follow nor those of one of their parts, so that another has put a part of a part into the table.
        """
        parts = [*self.committing, *self.hot]
        reached = furthest([self.info.created, positions])
        ends = [self.committed, *(part.positions for part in parts)]
        found = [number for number, end in enumerate(ends) if same(end, reached)]
        if not found:
            return False
        stored, left = parts[: found[-1]], parts[found[-1] :]
        self.committing, self.hot = [], left
        self.files = self.table.files
        self.received = received
        self.committed = reached
        self.hot_bytes -= sum(part.raw_bytes for part in stored)
        self.uncommitted_events -= sum(part.rows.num_rows for part in stored)
        return True

    def replace_last(self, parts: Sequence[HotPart], one: HotPart) -> bool:
        """Replace the last parts of the hot rows by one with the same rows; return whether they were still there."""
        last = self.hot[-len(parts) :]
        if not self.may_merge or len(last) != len(parts) or any(a is not b for a, b in zip(last, parts, strict=True)):
            return False
        self.hot = [*self.hot[: -len(parts)], one]
        return True

    @property
    def may_merge(self) -> bool:
        """Whether parts may become one: not while a commit has failed, as some of them may be in the table."""
        return not self.failed_commits

    @property
    def gone_message(self) -> str:
        """What is said where its files are not there any more."""
        return f"dataset {self.info.name!r} cannot be used: its directory is gone or incomplete"


def read_dataset(storage: TableStorage, info: DatasetInfo | None = None) -> StoredDataset:
    """Read a dataset. Raise whatever is wrong with its files."""
    info = info or sidecar.load_info(storage)
    table = DatasetTable.open(storage)
    stored, number = sidecar.load_fields(storage)
    view = completed(stored, table)
    if view != stored and view.columns:
        fault = "is missing: it is made anew from" if stored is None else "is an old one: it is completed by"
        logger.warning("%s %s the table's columns", storage.location(sidecar.FIELDS), fault)
    return StoredDataset(info, table, view, view == stored, number, table.positions, table.received)


def completed(view: FieldsView | None, table: DatasetTable) -> FieldsView:
    """Return a registry with all columns of its table, even where it is missing or an old one."""
    found = table.fields()
    if view is None:
        return found
    known = {column.name for column in view.columns}
    missing = tuple(column for column in found.columns if column.name not in known)
    return replace(view, columns=(*view.columns, *missing), rest_overflow=True) if missing else view


def is_made(catalog: Catalog, name: str) -> bool:
    """Return whether there is a dataset, and not one that is being made or removed. Raise OSError."""
    is_there = catalog.storage(name).read_if_there(sidecar.INFO) is not None
    return is_there and name in catalog.names(lambda name: False)


def known_info(storage: TableStorage, name: str) -> DatasetInfo:
    """Return what a dataset that cannot be opened says of itself; where it says nothing it is the first
    organisation's.
    """
    try:
        return replace(sidecar.load_info(storage), name=name)
    except (OSError, msgspec.MsgspecError):
        return DatasetInfo(name, 0, 0)
