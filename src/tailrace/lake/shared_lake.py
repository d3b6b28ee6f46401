"""The lake of one of several servers: the datasets that are its own for a time, of tables and logs that all share."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TypeVar, Unpack

from tailrace.events import Batch, DatasetNotFound, DatasetUnavailable
from tailrace.events.declarations import DeclaredFields
from tailrace.lake.catalog import Catalog, DatasetInfo, DatasetOptions, InfoChanges
from tailrace.lake.dataset_state import DatasetState, is_made
from tailrace.lake.file_changes import DRAIN_TIMEOUT_S
from tailrace.lake.lake import Lake
from tailrace.lake.maintenance import Deletion
from tailrace.lake.opening import DatasetOpener
from tailrace.lake.preload import preload
from tailrace.lake.settings import LakeSettings
from tailrace.lake.snapshot import RowFilter, Snapshot, no_check
from tailrace.lake.table_copy import Keep, TableCopy
from tailrace.log import Damage, ObjectLogFollower, Positions
from tailrace.storage.object_store import ObjectStore

RETRY_AFTER_S = 1

T = TypeVar("T")

logger = logging.getLogger(__name__)


class DatasetElsewhere(DatasetUnavailable):
    """The dataset is not this server's, or not any more: another one has it, or will have it in a moment."""

    code = "dataset_elsewhere"


class SharedLake(Lake):
    """The datasets that a server has for a time: it reads the logs of all servers, and commits to tables that they
    share. Thread-safe.

    `take` and `give` change which those are. Nothing depends on no other server having one at the same time: a table's
    commit carries the positions in the logs up to which it holds everything, and is put on the condition that nobody
    else was first. Who finds positions there that are not those of its own rows drops what it has in memory, and reads
    it again behind them.
    """

    def __init__(
        self,
        catalog: Catalog,
        logs: ObjectStore,
        settings: LakeSettings,
        *,
        owns: Callable[[str], bool],
        is_released: Callable[[str, int], bool],
        is_gone: Callable[[str], bool],
        published: Callable[[list[tuple[int, Batch]]], None],
        poll_s: float,
    ) -> None:
        super().__init__(catalog, settings, is_shared=True)
        self._owns = owns
        self._published = published
        self._follower = ObjectLogFollower(
            logs, self._accept_new, read=self._note_read, is_released=is_released, is_gone=is_gone, poll_s=poll_s
        )
        self._opener = DatasetOpener(self._state, self._datasets, self._follower, self._accept_of)
        self._state.overtaken = self._opener.reopen
        self.follow(partial(self._follower.catch_up, DRAIN_TIMEOUT_S), self._note_dropped)

    @classmethod
    def open_shared(
        cls,
        catalog: Catalog,
        logs: ObjectStore,
        settings: LakeSettings | None = None,
        *,
        owns: Callable[[str], bool] = lambda name: True,
        is_released: Callable[[str, int], bool] = lambda writer, position: False,
        is_gone: Callable[[str], bool] = lambda writer: False,
        published: Callable[[list[tuple[int, Batch]]], None] = lambda batches: None,
        poll_s: float = 0.2,
    ) -> "SharedLake":
        """Open the lake without any dataset, and start its threads.

        `logs` is where all writers have their `ObjectLog`. `owns(name)` tells whether this server may still believe
        that a dataset is its own: it is asked before and after what is answered. `is_released(writer, position)` tells
        whether objects of a log may be deleted by now, `is_gone(writer)` whether nobody writes a log, which is then
        looked at when somebody asks, and seldom besides. `published` is called with batches of the open datasets as
        they come, each once, for those who watch them. A thread looks for new ones every `poll_s`.
        """
        preload()
        lake = cls(
            catalog,
            logs,
            settings or LakeSettings(),
            owns=owns,
            is_released=is_released,
            is_gone=is_gone,
            published=published,
            poll_s=poll_s,
        )
        lake._start()
        lake._follower.start()
        lake._opener.start()
        return lake

    def close(self, *, commit: bool = True) -> None:
        """Give all datasets, with their rows committed unless `commit` is false, and stop the threads."""
        try:
            self.give(self.names(), commit=commit)
        finally:
            self._follower.close()
            try:
                super().close(commit=False)
            finally:
                self._opener.join()

    # Which datasets

    def take(self, names: Collection[str]) -> None:
        """Have datasets, whose tables exist; those that are here already stay as they are.

        Returns at once. They are opened one after the other; a question waits for that. One that cannot be opened is
        among `unavailable` until it can; a name without a table is forgotten.
        """
        self._opener.take(names)

    def give(self, names: Collection[str], *, commit: bool = True) -> None:
        """Have datasets no more: another server may take them once this returns.

        `owns` must say so before: what is being given has no events any more that come meanwhile.

        With `commit` what is in memory is put into their tables first, as far as that succeeds; else it is dropped
        at once, and a commit that is under way ends as the table's log decides. All of it is in the logs.
        """
        open_ones = self._opener.release(names)
        self._follower.unfollow(names)
        state = self._state
        if commit:
            for dataset in open_ones:
                with state.lock:
                    state.wait_until_shredded(dataset, DRAIN_TIMEOUT_S)
                self._commits.commit(dataset)
        with state.lock:
            for dataset in open_ones:
                if not dataset.dropped:
                    state.close_dataset(dataset)
        if commit:
            for dataset in open_ones:
                with dataset.maintenance.lock, dataset.commit_lock:  # what was under way has ended
                    pass

    def stored_positions(self, group_of: Callable[[str], T], groups: Collection[T]) -> Mapping[T, Positions]:
        """Return the positions in the writers' logs up to which all events of groups of datasets are in their tables.

        `group_of(name)` is a dataset's group; all datasets of the groups must have been taken. Without those groups of
        which that cannot be told, as one of their datasets is being opened, or cannot be. What is true once stays true.
        """
        state = self._state
        with state.lock:
            found = {group: dict(state.accepted) for group in groups}
            pending = {*state.opening, *(name for name, each in state.unavailable.items() if not each.is_dropped)}
            for name, dataset in state.datasets.items():
                if dataset.is_behind:
                    pending.add(name)
                    continue
                positions = found.get(group_of(name), {})
                for writer, accepted in dataset.accepted.items():
                    committed = dataset.committed.get(writer, 0)
                    if committed < accepted:
                        positions[writer] = min(positions.get(writer, 0), committed)
            for name in pending:
                found.pop(group_of(name), None)
            return found

    @property
    def log_fault(self) -> str:
        """Why the logs cannot be read now, empty while they can."""
        return self._follower.fault

    @property
    def log_damage(self) -> list[Damage]:
        """The ranges of the logs that cannot be read, as far as they were found; each once."""
        return list(self._follower.damage)

    # What needs a dataset to be here

    def snapshot(
        self, name: str, *, timeout_s: float = DRAIN_TIMEOUT_S, check: Callable[[], None] = no_check
    ) -> Snapshot:
        """Return the dataset with everything that was stored in any log before the call.

        Raise as `Lake.snapshot` does, and DatasetElsewhere.
        """
        snapshot = super().snapshot
        return self._with_own(name, lambda: snapshot(name, timeout_s=timeout_s, check=check), timeout_s)

    def commit_now(self, name: str | None = None) -> None:
        """Commit everything that was stored before the call, of a dataset or of all; raise DatasetElsewhere for one."""
        commit = super().commit_now
        if name is None:
            commit()
        else:
            self._with_own(name, lambda: commit(name))

    def copy(self, name: str, keep: Keep) -> TableCopy:
        """Return the table of a dataset to be copied, with everything that was stored in any log before the call.

        Raise as `Lake.copy` does, and DatasetElsewhere.
        """
        copy = super().copy
        with ExitStack() as unused:

            def held() -> TableCopy:
                found = copy(name, keep)
                unused.callback(found.release)
                return found

            found = self._with_own(name, held)
            unused.pop_all()
            return found

    def trim(self, name: str, older_than_ns: int) -> int:
        """Delete the events before a moment; raise as `Lake.trim` does, and DatasetElsewhere."""
        trim = super().trim
        return self._with_own(name, lambda: trim(name, older_than_ns))

    def delete_where(self, name: str, matching: RowFilter, *, dry_run: bool = False) -> Deletion:
        """Delete the events that a filter matches; raise as `Lake.delete_where` does, and DatasetElsewhere."""
        delete = super().delete_where
        return self._with_own(name, lambda: delete(name, matching, dry_run=dry_run))

    def compact(self, name: str) -> None:
        """Merge the files of a dataset; raise as `Lake.compact` does, and DatasetElsewhere."""
        compact = super().compact
        self._with_own(name, lambda: compact(name))

    def sweep(self, name: str) -> int:
        """Delete files that are no part of a table; raise as `Lake.sweep` does, and DatasetElsewhere."""
        sweep = super().sweep
        return self._with_own(name, lambda: sweep(name))

    def update(self, name: str, **changes: Unpack[InfoChanges]) -> DatasetInfo:
        """Change a dataset's info; raise as `Lake.update` does, and DatasetElsewhere."""
        update = super().update
        return self._with_own(name, lambda: update(name, **changes))

    def declare(self, name: str, fields: DeclaredFields) -> None:
        """Declare fields of a dataset; raise as `Lake.declare` does, and DatasetElsewhere."""
        declare = super().declare
        self._with_own(name, lambda: declare(name, fields))

    def create(self, name: str, **options: Unpack[DatasetOptions]) -> DatasetInfo:
        """Create an empty dataset, which is this server's. Raise as `Lake.create` does, and DatasetElsewhere."""
        self._require(name)
        if not self.knows(name) and is_made(self.catalog, name):
            self.take([name])
        info = super().create(name, **options)
        with self._state.lock:
            if (dataset := self._state.datasets.get(name)) is not None:
                self._opener.adopt(dataset)
        self._opener.wait(name, DRAIN_TIMEOUT_S)  # so that no event for it is refused once this is answered
        # Had another server taken the datasets meanwhile, it would know nothing of this one.
        self._require(name)
        return info

    def drop(self, name: str) -> None:
        """Remove a dataset and all its events; raise as `Lake.drop` does, and DatasetElsewhere."""
        drop = super().drop
        self._with_own(name, lambda: drop(name))
        self._opener.release([name])
        self._follower.unfollow([name])

    def _with_own(self, name: str, call: Callable[[], T], timeout_s: float = DRAIN_TIMEOUT_S) -> T:
        """Return what a call returns while a dataset is open, and this server's before and after it."""
        give_up_s = time.monotonic() + timeout_s
        while True:
            self._require(name)
            self._opener.wait(name, give_up_s - time.monotonic())
            try:
                result = call()
            except (DatasetNotFound, DatasetUnavailable):
                self._require(name)
                if self._opener.is_opening(name) and time.monotonic() < give_up_s:
                    continue  # it was read again, as another server has written to it
                raise
            self._require(name)
            return result

    def _require(self, name: str) -> None:
        if not self._owns(name):
            raise DatasetElsewhere(f"dataset {name!r} is not this server's any more", retry_after_s=RETRY_AFTER_S)

    # Of the logs

    def _note_read(self, positions: Positions) -> None:
        """Note how far everything of the open datasets is accepted."""
        with self._state.lock:
            for writer, position in positions.items():
                self._state.accepted[writer] = max(self._state.accepted.get(writer, 0), position)

    def _accept_new(self, writer: str, batches: list[tuple[int, Batch]]) -> None:
        """Accept batches of the open datasets; those of one that is being opened are read by who opens it."""
        with self._state.lock:
            datasets = {name: each for name, each in self._state.datasets.items() if not each.is_behind}
        new = self._accept_of(datasets, writer, batches)
        if new:
            self._published(new)

    def _accept_of(
        self, datasets: Mapping[str, DatasetState], writer: str, batches: list[tuple[int, Batch]]
    ) -> list[tuple[int, Batch]]:
        """Accept the batches that some datasets do not have yet; return them."""
        self.wait_for_capacity(self.settings.shred_backlog_bytes)
        now_s = time.monotonic()
        state = self._state
        accepted: list[tuple[int, Batch]] = []
        with state.lock:
            for position, batch in batches:
                dataset = datasets.get(batch.dataset)
                if dataset is None or dataset.dropped:
                    continue
                added = dataset.enqueue(writer, [(position, batch)], now_s)
                state.backlog_bytes += added
                if added:
                    accepted.append((position, batch))
            self._shredding.notify()
        return accepted

    def _note_dropped(self) -> None:
        """Do nothing: whoever takes events in asks for datasets when it is told of a drop."""
