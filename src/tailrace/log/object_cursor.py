"""Reading one writer's log objects forwards, of some datasets, as they come."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from tailrace.events import Batch
from tailrace.log.damage import FoundDamage
from tailrace.log.directory import MAX_GROUP_BATCHES
from tailrace.log.object_format import LogObject, directory_of, first_position_of, object_name, writer_of
from tailrace.log.object_reading import fetch_end, missing, read_datasets
from tailrace.log.object_retry import retried
from tailrace.log.positions import Positions
from tailrace.storage.object_store import ObjectMissing, ObjectStore, ObjectStoreUnavailable

GROUP_BATCHES = 1024  # delivered at a time
GROUP_BYTES = 16 * 1024 * 1024  # of events, with which a group ends
LAST_POSITION = (1 << 63) - 2
UNBOUNDED_S = 0.25  # that a reading takes before it is asked what is stored, beyond which it does not go
LIST_EVERY_S = 10.0  # between two looks whether there are later objects, while the one that is due is not there

DeliverFrom = Callable[[str, list[tuple[int, Batch]]], None]
"""Takes batches of a writer's log with their positions, those of one dataset in order."""


class ObjectCursor:
    """How far one writer's objects are read. One thread at a time may use it.

    The name of the next object follows from the last one, so it is asked for by name, which costs a store less than
    a listing does. Where it does not come, a listing now and then tells whether it was deleted, or lost.
    """

    def __init__(
        self,
        store: ObjectStore,
        writer: str,
        due: int,
        found: FoundDamage,
        *,
        list_every_s: float = LIST_EVERY_S,
        is_released: Callable[[str, int], bool] = lambda writer, position: False,
    ) -> None:
        """Begin with the object whose first position is due.

        `is_released(writer, position)` tells whether an object with that last position may have been deleted.
        """
        self.writer = writer
        self.due = due
        self._store = store
        self._directory = directory_of(writer)
        self._found = found
        self._list_every_s = list_every_s
        self._is_released = is_released
        self._listed_s = float("-inf")
        self._follows_batches = False  # whether the object before was read, and had batches

    @property
    def position(self) -> int:
        """The position up to which everything is delivered, or no object has it any more."""
        return self.due - 1

    def advance(self, datasets: Collection[str], deliver: DeliverFrom, *, lists: bool = False) -> None:
        """Deliver what is stored of some datasets at the call, of what is put meanwhile as much as it finds.

        A writer may put objects as fast as they are read, so a reading that takes long ends at what is stored then.

        With `lists` it is looked whether there are later objects where the one that is due is not there: it may have
        been deleted while nobody needed this cursor to follow.

        What raises leaves the cursor at the object that was not delivered whole, which is delivered again then. Raise
        ObjectStoreUnavailable, LogVersionError, and what `deliver` raises.
        """
        began_s = time.monotonic()
        newest: int | None = None  # the first position of the last object to read, once that was asked
        while newest is None or self.due <= newest:
            if newest is None and time.monotonic() - began_s >= UNBOUNDED_S:
                newest = max(
                    (each.first_position for each in objects_of(self._store, self.writer, self.due)), default=0
                )
                continue
            name = object_name(self._directory, self.due)
            try:
                fetched = fetch_end(self._store, name)
                for group in _groups(read_datasets(self._store, fetched, datasets, self._found)):
                    deliver(self.writer, group)
            except ObjectMissing:
                if not self._skip_missing(lists=lists, is_told=bool(datasets)):
                    return
                continue
            if fetched.end is None:  # which tells of no next one
                self.due = self._due_after_damaged()
                self._follows_batches = False
                continue
            self.due = fetched.end.last_position + 1
            self._follows_batches = bool(fetched.end.index.datasets)

    def advance_retried(
        self, datasets: Collection[str], deliver: DeliverFrom, timeout_s: float, *, lists: bool = False
    ) -> None:
        """Advance, again and again while the store fails now and then.

        Raise ObjectStoreUnavailable where it comes no further within a time.
        """
        while True:
            before = self.due
            try:
                retried(lambda: self.advance(datasets, deliver, lists=lists), timeout_s)
                return
            except ObjectStoreUnavailable:
                if self.due == before:
                    raise

    def _skip_missing(self, *, lists: bool, is_told: bool) -> bool:
        """Return whether an object is due now, after the ones that are gone; False where none has come."""
        now_s = time.monotonic()
        if now_s - self._listed_s < self._list_every_s and not lists:
            return False
        following = objects_of(self._store, self.writer, self.due)
        if not following:
            self._listed_s = now_s
            return False
        first = following[0]
        if first.first_position > self.due:
            last = first.first_position - 1
            # What came behind an object without batches may have been released, where it has to stay.
            if is_told and self._follows_batches and not self._is_released(self.writer, last):
                self._found.add([missing(self.due, first)])
            self.due = first.first_position
        return True

    def _due_after_damaged(self) -> int:
        following = objects_of(self._store, self.writer, self.due + 1)
        return following[0].first_position if following else self.due + MAX_GROUP_BATCHES


def objects_of(store: ObjectStore, writer: str, from_position: int = 0) -> list[LogObject]:
    """Return a writer's objects whose first position is this one or a later one, in order."""
    directory = directory_of(writer)
    after = object_name(directory, from_position - 1) if from_position > 0 else None
    found = []
    for each in store.listing(directory, after):
        position = first_position_of(each.name)
        if position is not None:
            found.append(LogObject(each.name, position, each.size_bytes, each.modified_at))
    return found


def writers_of(store: ObjectStore) -> list[str]:
    """Return the writers that have objects in a store."""
    names = (writer_of(directory) for directory in store.directories())
    return [writer for writer in names if writer is not None]


def first_due(store: ObjectStore, writer: str, after: int) -> int:
    """Return the first position of the first object that may have positions after one; the newest has, as it grows."""
    firsts = [each.first_position for each in objects_of(store, writer)]
    return next((first for first in reversed(firsts) if first <= after + 1), firsts[0] if firsts else after + 1)


def read_behind(
    store: ObjectStore,
    behind: Mapping[str, Positions],
    deliver: DeliverFrom,
    threads: Executor,
    timeout_s: float,
    *,
    cursors: dict[str, ObjectCursor] | None = None,
    found: FoundDamage | None = None,
) -> None:
    """Deliver what is stored of datasets behind the positions of each, several writers at the same time.

    Batches before the positions may be delivered too. With `cursors`, by writer, only what is new since the last call
    with them. What is missing is not told: it may be deleted once a table has it. Raise ObjectStoreUnavailable where
    the store fails for a time, LogVersionError, and what `deliver` raises.
    """
    known = {} if cursors is None else cursors
    damage = found or FoundDamage()

    def read(writer: str) -> None:
        if writer not in known:
            lowest = min((positions.get(writer, 0) for positions in behind.values()), default=0)
            due = retried(lambda: first_due(store, writer, lowest), timeout_s)
            known[writer] = ObjectCursor(
                store, writer, due, damage, list_every_s=0, is_released=lambda writer, position: True
            )
        known[writer].advance_retried(behind.keys(), deliver, timeout_s)

    call_each(threads, read, retried(lambda: writers_of(store), timeout_s))


def call_each(threads: Executor, call: Callable[[str], None], writers: Sequence[str]) -> None:
    """Call for several writers at the same time; raise the first error once all have ended."""
    if len(writers) == 1:
        call(writers[0])
        return
    ended = [threads.submit(call, writer) for writer in writers]
    errors = [error for each in ended if (error := each.exception()) is not None]
    if errors:
        raise errors[0]


def _groups(batches: Iterator[tuple[int, Batch]]) -> Iterator[list[tuple[int, Batch]]]:
    group: list[tuple[int, Batch]] = []
    size = 0
    for position, batch in batches:
        group.append((position, batch))
        size += len(batch.events)
        if len(group) == GROUP_BATCHES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
