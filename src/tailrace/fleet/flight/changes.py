"""Which datasets a lake has, and what changed when, for other nodes that wait for it."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tailrace.fleet.flight.messages import AskChanges, Changes, LakePressure
from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.dataset_state import UnavailableDataset
from tailrace.lake.dataset_store import DatasetStore

LOOK_S = 0.5  # between two looks at a lake that others wait for; what is announced they know at once
LAPSE_S = 3.0  # without a word after which nobody waits for a node
MAX_WAIT_S = 2.0
DROPPED_REMEMBERED = 10_000  # names

Entry: TypeAlias = DatasetInfo | UnavailableDataset


_NEVER = (object(), 0)


class DatasetChanges:
    """The datasets of a lake by the revision of their last change. Thread-safe.

    `shards()` says of which shards the lake knows all datasets; None for all.
    """

    def __init__(
        self,
        lake: DatasetStore,
        shards: Callable[[], frozenset[int] | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.process = uuid.uuid4().hex
        self._lake = lake
        self._shards = shards
        self._complete: frozenset[int] | None = frozenset()  # shards, when it was looked last
        self._clock = clock
        self._changed = threading.Condition()
        self._revision = 1
        self._entries: dict[str, tuple[Entry | None, int]] = {}  # None of those that are being opened
        self._dropped: dict[str, tuple[int, int]] = {}  # when it was created, and the revision
        self._looked_s = -LOOK_S
        self._is_closed = False
        self._clients: dict[str, tuple[float, int]] = {}  # when each was heard last, and the revision that it knew

    def close(self) -> None:
        """Have nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @contextmanager
    def changing(self, dropped: str = "") -> Iterator[None]:
        """Have a dataset changed, or dropped; every node that was heard lately knows of it at the end."""
        with self._changed:
            self._look()
        try:
            yield
            if dropped:
                self._note_dropped(dropped)
        finally:
            self.announce()

    def _note_dropped(self, name: str) -> None:
        # Only what is said to be: what a lake has no more may be another one's.
        with self._changed:
            entry, _ = self._entries.pop(name, (None, 0))
            if entry is None:
                return
            self._revision += 1
            self._dropped[name] = (info_of(entry).created_ns, self._revision)
            while len(self._dropped) > DROPPED_REMEMBERED:
                del self._dropped[next(iter(self._dropped))]

    def announce(self) -> None:
        """Return once every node that was heard lately knows the datasets as they are now."""
        with self._changed:
            self._look()
            due = self._revision
            self._changed.notify_all()
            while not self._is_closed and (left_s := self._longest_wait(due)) > 0:
                self._changed.wait(left_s)

    def _longest_wait(self, revision: int) -> float:
        """Return how long to wait for the nodes that do not know a revision yet."""
        behind = [heard_s for heard_s, known in self._clients.values() if known < revision]
        return max(behind, default=0) + LAPSE_S - self._clock() if behind else 0

    def wait(self, asked: AskChanges) -> Changes:
        """Return what changed since a revision, as soon as something did, or after the time that the client waits."""
        known = asked.revision if asked.process == self.process else 0
        end_s = self._clock() + min(asked.wait_s, MAX_WAIT_S)
        with self._changed:
            self._clients[asked.client] = (self._clock(), known)
            self._changed.notify_all()
            while True:
                if self._clock() - self._looked_s >= LOOK_S:
                    self._look()
                left_s = end_s - self._clock()
                if self._revision > known or left_s <= 0 or self._is_closed:
                    break
                self._changed.wait(min(left_s, LOOK_S))
            self._clients[asked.client] = (self._clock(), known)
            return self._since(known)

    def _since(self, known: int) -> Changes:
        new = {name: entry for name, (entry, revision) in self._entries.items() if revision > known}
        lake = self._lake
        return Changes(
            self.process,
            self._revision,
            tuple(entry for entry in new.values() if isinstance(entry, DatasetInfo)),
            tuple(entry for entry in new.values() if isinstance(entry, UnavailableDataset)),
            frozenset(name for name, entry in new.items() if entry is None),
            {name: created_ns for name, (created_ns, revision) in self._dropped.items() if revision > known},
            self._complete,
            LakePressure(lake.backlog_bytes, lake.excess_bytes, lake.commits),
        )

    def _look(self) -> None:
        """Note what is another one than before; the lock is held."""
        self._looked_s = now_s = self._clock()
        self._clients = {name: heard for name, heard in self._clients.items() if heard[0] + LAPSE_S > now_s}
        complete = self._shards()  # before the names, which then have all of those
        there: dict[str, Entry | None] = dict.fromkeys(self._lake.names())
        there.update((info.name, info) for info in self._lake.datasets())
        there.update((dataset.info.name, dataset) for dataset in self._lake.unavailable())
        revision = self._revision + 1
        changed = [name for name, entry in there.items() if self._entries.get(name, _NEVER)[0] is not entry]
        gone = self._entries.keys() - there.keys()
        for name in changed:
            self._entries[name] = (there[name], revision)
            self._dropped.pop(name, None)
        for name in gone:
            del self._entries[name]
        if changed or gone or complete != self._complete:
            self._complete = complete
            self._revision = revision
            self._changed.notify_all()


def info_of(entry: Entry) -> DatasetInfo:
    """Return the info of a dataset, which is certain where it can be opened."""
    return entry if isinstance(entry, DatasetInfo) else entry.info
