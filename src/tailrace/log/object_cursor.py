"""Reading one writer's log objects forwards, of some datasets, as they come."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

from msgspec import Struct

from tailrace.events import Batch
from tailrace.log.damage import FoundDamage
from tailrace.log.object_format import LogObject, directory_of, first_position_of, object_name, writer_of
from tailrace.log.object_reading import FetchedObject, batches_in, fetch_datasets, missing
from tailrace.log.object_retry import retried
from tailrace.log.object_threads import ReaderThreads
from tailrace.log.positions import Positions
from tailrace.storage.object_store import ObjectMissing, ObjectStore

GROUP_BATCHES = 1024  # delivered at a time
GROUP_BYTES = 16 * 1024 * 1024  # of events, with which a group ends
LAST_POSITION = (1 << 63) - 2
UNBOUNDED_S = 0.25  # that a reading takes before it is asked what is stored, beyond which it does not go
LIST_EVERY_S = 10.0  # between two looks whether there are later objects, while the one that is due is not there

T = TypeVar("T")

DeliverFrom = Callable[[str, list[tuple[int, Batch]]], None]
"""Takes batches of a writer's log with their positions, those of one dataset in order."""


class LogReading(Struct, frozen=True, eq=False):
    """What logs are read for."""

    datasets: Collection[str]
    deliver: DeliverFrom
    timeout_s: float  # for which a request that fails is made again
    check: Callable[[], None] = lambda: None  # called before each object, in several threads; raises to give up

    def retried(self, call: Callable[[], T]) -> T:
        """Return what a call returns, made again while it raises ObjectStoreUnavailable, for a time."""

        def attempt() -> T:
            self.check()
            return call()

        return retried(attempt, self.timeout_s)


class ObjectCursor:
    """How far one writer's objects are read. One thread at a time may use it.

    The name of the next object follows from the last one, so it is asked for by name, which costs a store less than
    a listing does. Where it does not come, a listing now and then tells whether it was deleted, or lost. Objects that
    a listing has told of are fetched several at a time, and delivered in order all the same.
    """

    def __init__(
        self,
        store: ObjectStore,
        writer: str,
        behind: Sequence[LogObject],
        after: int,
        threads: ReaderThreads,
        found: FoundDamage,
        *,
        list_every_s: float = LIST_EVERY_S,
        is_released: Callable[[str, int], bool] = lambda writer, position: False,
    ) -> None:
        """Begin with the objects that may have positions after one, by `objects_after`.

        `is_released(writer, position)` tells whether an object with that last position may have been deleted.
        """
        self.writer = writer
        self.due = behind[0].first_position if behind else after + 1
        self._store = store
        self._directory = directory_of(writer)
        self._threads = threads
        self._found = found
        self._list_every_s = list_every_s
        self._is_released = is_released
        self._listed = deque(behind)  # what a listing has told of, and is not delivered
        self._listed_s = float("-inf")
        self._follows_batches = False  # whether the object before was read, and had batches

    @property
    def position(self) -> int:
        """The position up to which everything is delivered, or no object has it any more."""
        return self.due - 1

    def advance(self, reading: LogReading, *, lists: bool = False) -> None:
        """Deliver what is stored of some datasets at the call, of what is put meanwhile as much as it finds.

        A writer may put objects as fast as they are read, so a reading that takes long ends at what is stored then.

        With `lists` it is looked whether there are later objects where the one that is due is not there: it may have
        been deleted while nobody needed this cursor to follow.

        What raises leaves the cursor at the object that was not delivered whole, which is delivered again then. Raise
        ObjectStoreUnavailable where the store fails for a time, LogVersionError, and what `deliver` and `check` raise.
        """
        began_s = time.monotonic()
        newest: int | None = None  # the first position of the last object to read, once that was asked
        while newest is None or self.due <= newest:
            if self._is_listed():
                goes_on = self._advance_listed(reading)
            elif newest is None and time.monotonic() - began_s >= UNBOUNDED_S:
                newest, goes_on = max((each.first_position for each in self._list(reading)), default=0), True
            else:
                goes_on = self._advance_by_name(reading, lists=lists)
            if not goes_on:
                return

    def _is_listed(self) -> bool:
        """Return whether a listing has told of objects that are not read yet."""
        while self._listed and self._listed[0].first_position < self.due:
            self._listed.popleft()
        return bool(self._listed)

    def _list(self, reading: LogReading) -> Sequence[LogObject]:
        """List the objects from the one that is due on."""
        found = reading.retried(lambda: objects_of(self._store, self.writer, self.due))
        self._listed = deque(found)
        return found

    def _advance_listed(self, reading: LogReading) -> bool:
        """Deliver the objects that are listed, and still there; return whether there may be others."""

        def fetch(stored: LogObject) -> FetchedObject:
            return fetch_datasets(self._store, stored.name, reading.datasets, size_bytes=stored.size_bytes)

        with closing(self._threads.fetched(list(self._listed), fetch)) as fetched:
            for stored, first_attempt in fetched:
                try:
                    content = _fetched(first_attempt, partial(fetch, stored), reading)
                except ObjectMissing:  # the next one that is there tells of it
                    continue
                while self.due < stored.first_position:  # which is looked for, lest the listing is what misses it
                    unlisted = self._fetch_due(reading)
                    if unlisted is None or not self._deliver(unlisted, reading):
                        self._skip_to(stored, reading)
                if self.due == stored.first_position and not self._deliver(content, reading):
                    return False
        self._listed.clear()
        return True

    def _advance_by_name(self, reading: LogReading, *, lists: bool) -> bool:
        """Deliver the object that is due; return whether there may be another one now."""
        fetched = self._fetch_due(reading)
        return self._skip_missing(reading, lists=lists) if fetched is None else self._deliver(fetched, reading)

    def _fetch_due(self, reading: LogReading) -> FetchedObject | None:
        name = object_name(self._directory, self.due)
        try:
            return reading.retried(lambda: fetch_datasets(self._store, name, reading.datasets))
        except ObjectMissing:
            return None

    def _deliver(self, fetched: FetchedObject, reading: LogReading) -> bool:
        """Deliver what was fetched; return whether it is known which object follows."""
        for group in _groups(batches_in(fetched, self._found)):
            reading.deliver(self.writer, group)
        due = self._due_after_damaged(reading) if fetched.end is None else fetched.end.last_position + 1
        if due is None:
            return False
        self.due = due
        self._follows_batches = fetched.end is not None and bool(fetched.end.index.datasets)
        return True

    def _skip_missing(self, reading: LogReading, *, lists: bool) -> bool:
        """Return whether an object is due now, after the ones that are gone; False where none has come."""
        now_s = time.monotonic()
        if now_s - self._listed_s < self._list_every_s and not lists:
            return False
        following = self._list(reading)
        if not following:
            self._listed_s = now_s
            return False
        self._skip_to(following[0], reading)
        return True

    def _skip_to(self, stored: LogObject, reading: LogReading) -> None:
        """Have an object be due, before which others may be missing."""
        last = stored.first_position - 1
        # What came behind an object without batches may have been released, where it has to stay.
        is_told = last >= self.due and bool(reading.datasets) and self._follows_batches
        if is_told and not self._is_released(self.writer, last):
            self._found.add([missing(self.due, stored)])
        self.due = stored.first_position

    def _due_after_damaged(self, reading: LogReading) -> int | None:
        """Return what is due after an object that does not tell, None where nothing has come yet."""
        if all(each.first_position <= self.due for each in self._listed):
            self._list(reading)
        return next((each.first_position for each in self._listed if each.first_position > self.due), None)


def _fetched(
    first_attempt: "Future[FetchedObject]", again: Callable[[], FetchedObject], reading: LogReading
) -> FetchedObject:
    """Return what the first attempt returns that the store does not fail."""
    attempts = chain([first_attempt.result], repeat(again))
    return reading.retried(lambda: next(attempts)())


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


def objects_after(store: ObjectStore, writer: str, position: int) -> Sequence[LogObject]:
    """Return a writer's objects that may have positions after one, in order; the newest has, as it grows."""
    found = objects_of(store, writer)
    first = next((n for n, each in reversed(list(enumerate(found))) if each.first_position <= position + 1), 0)
    return found[first:]


def read_behind(
    store: ObjectStore,
    behind: Mapping[str, Positions],
    deliver: DeliverFrom,
    threads: ReaderThreads,
    timeout_s: float,
    *,
    check: Callable[[], None] = lambda: None,
    cursors: dict[str, ObjectCursor] | None = None,
    found: FoundDamage | None = None,
) -> None:
    """Deliver what is stored of datasets behind the positions of each, several writers at the same time.

    Batches before the positions may be delivered too. With `cursors`, by writer, only what is new since the last call
    with them. What is missing is not told: it may be deleted once a table has it. `check` is called before each
    object, in several threads, and raises to give up. Raise ObjectStoreUnavailable where the store fails for a time,
    LogVersionError, and what `deliver` and `check` raise.
    """
    reading = LogReading(behind.keys(), deliver, timeout_s, check)
    known = {} if cursors is None else cursors
    damage = found or FoundDamage()

    def read(writer: str) -> None:
        if writer not in known:
            after = min((positions.get(writer, 0) for positions in behind.values()), default=0)
            objects = reading.retried(lambda: objects_after(store, writer, after))
            known[writer] = ObjectCursor(
                store,
                writer,
                objects,
                after,
                threads,
                damage,
                list_every_s=0,
                is_released=lambda writer, position: True,
            )
        known[writer].advance(reading)

    threads.call_each(read, reading.retried(lambda: writers_of(store)))


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
