"""The objects of one writer's log: which there are, which name is due next, and who may put it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from tailrace.events import StorageUnavailable
from tailrace.log.directory import MAX_GROUP_BATCHES
from tailrace.log.object_format import LogObject, directory_of, encode_object, first_position_of, object_name
from tailrace.log.object_reading import fetch_end
from tailrace.log.object_retry import retried
from tailrace.storage.object_store import ObjectExists, ObjectMissing, ObjectStore, ObjectStoreUnavailable

CLAIM_ATTEMPTS = 20  # each is lost only where another process put an object meanwhile
CLAIM_KEPT = timedelta(days=7)  # a process that was stopped for less finds the claim of the one that took over
PROOF_S = 3600.0  # of owning the writer: a process that was silent for longer looks for a claim behind its object
DELETE_RETRY_S = 10.0
MIN_POSITION = 1

logger = logging.getLogger(__name__)


class WriterFenced(StorageUnavailable):
    """Another process writes as the same writer, so this one may not any more."""

    code = "log_writer_fenced"


class ObjectNames:
    """The objects of a writer, as far as this process may delete and add them. Thread-safe.

    A process begins by a claim: an object without batches under the name that is due. The claim has the name that an
    earlier process of the same writer, which may still run, has to put next; so that is refused, and stops. Claims
    are kept for long, as that process may be a paused one.
    """

    def __init__(self, store: ObjectStore, writer: str, *, session: str, timeout_s: float) -> None:
        self.store = store
        self.session = session
        self.next_position = MIN_POSITION
        self._writer = writer
        self._directory = directory_of(writer)
        self._timeout_s = timeout_s
        self._claimed_at: datetime | None = None  # by the store's clock
        self._proven_s = _clocks()  # when this process last knew that it owned the writer

        self._state = threading.Condition()  # guards what follows; never held during I/O
        self._objects: deque[LogObject] = deque()  # by position
        self._deleting: set[LogObject] = set()
        self._released = 0
        self._is_due = False  # whether something may have to be deleted
        self._closing = False
        self._thread = threading.Thread(target=self._delete_released, name="tailrace-log-release", daemon=True)

    @property
    def size_bytes(self) -> int:
        """The size of the objects."""
        with self._state:
            return sum(each.size_bytes for each in self._objects)

    def name(self, first_position: int) -> str:
        """Return the name of the object whose first position this is."""
        return object_name(self._directory, first_position)

    def claim(self, floor: int) -> None:
        """Find the objects of earlier processes, and take the next name; positions up to `floor` are used up.

        Raise ObjectStoreUnavailable, or WriterFenced when other processes take every name first.
        """
        for attempt in range(CLAIM_ATTEMPTS):
            try:
                self._claim_next(floor)
                return
            except WriterFenced:
                if attempt + 1 == CLAIM_ATTEMPTS:
                    raise

    def _claim_next(self, floor: int) -> None:
        found = retried(self._list, self._timeout_s)
        first = retried(lambda: self._next_position(found), self._timeout_s)
        last = max(first, floor)
        name = self.name(first)
        content = encode_object([], first_position=first, last_position=last, session=self.session)
        self._proven_s = _clocks()
        retried(lambda: self.put(name, content), self._timeout_s)
        # Listed once more for the time of the store's clock.
        claims = [each for each in retried(self._list, self._timeout_s) if each.name == name]
        claim = claims[0] if claims else LogObject(name, first, len(content))
        self._claimed_at = claim.modified_at
        with self._state:
            self._objects = deque([*found, claim])
            self.next_position = last + 1

    def put(self, name: str, content: bytes) -> None:
        """Put an object of a new name, once; it is stored when this returns, also where only the answer was lost.

        Raise WriterFenced when another process has the name, ObjectStoreUnavailable when it is not known.
        """
        began_s = _clocks()
        try:
            self.store.create(name, content)
        except ObjectExists:
            try:
                stored = self.store.read(name)
            except ObjectMissing as error:  # refused as another put of the name was on its way, which came to nothing
                raise ObjectStoreUnavailable(f"the object store has {name}, and has it not") from error
            if stored != content:
                raise self.fenced(name) from None
        if _elapsed_s(self._proven_s, _clocks()) > PROOF_S and self.store.listing(self._directory, after=name):
            raise self.fenced(name)
        self._proven_s = began_s

    def fenced(self, name: str) -> WriterFenced:
        """Return the error of a process that finds the name it is due to put taken by another."""
        logger.critical("another process put %s in %s, which was due to this one", name, self.store.url)
        writer = f"writer {self._writer!r}" if self._writer else "the only writer"
        return WriterFenced(
            f"another process writes to the log as {writer}, so this one takes no more events, and must be stopped"
        )

    def add(self, stored: LogObject, last_position: int) -> None:
        """Add the newest object, which is stored."""
        with self._state:
            self._objects.append(stored)
            self.next_position = last_position + 1

    def present(self, from_position: int) -> Sequence[LogObject]:
        """Return the objects that may have positions from this one on, in order."""
        with self._state:
            objects = list(self._objects)
        nexts = [each.first_position for each in objects[1:]]
        return [
            each
            for each, following in zip(objects, [*nexts, None], strict=True)
            if following is None or following > from_position
        ]

    def is_released(self, stored: LogObject) -> bool:
        """Return whether an object was released and is deleted, or about to be."""
        with self._state:
            return stored in self._deleting or stored not in self._objects

    # Deleting

    def start(self) -> None:
        """Start to delete what is released."""
        self._thread.start()

    def release(self, upto: int) -> None:
        """Have the objects deleted that have no position above `upto`, but for the newest, and claims that are new."""
        with self._state:
            if upto > self._released:
                self._released = upto
                self._is_due = True
                self._state.notify()

    def close(self) -> None:
        """Delete what is released, where the store answers, and stop."""
        with self._state:
            self._closing = True
            self._state.notify()
        self._thread.join()

    def _delete_released(self) -> None:
        failed = False
        while True:
            with self._state:
                self._state.wait_for(lambda: self._is_due or self._closing)
                if not self._is_due:
                    return
                self._is_due = False
                due = self._deletable()
                self._deleting = set(due)
            try:
                self.store.delete([each.name for each in due])
            except ObjectStoreUnavailable as error:
                if not failed:
                    logger.warning("released objects of the log could not be deleted, which is tried again: %s", error)
                failed = True
                with self._state:
                    self._is_due = True
                    if self._state.wait_for(lambda: self._closing, DELETE_RETRY_S):
                        return
                continue
            failed = False
            with self._state:
                self._objects = deque(each for each in self._objects if each not in self._deleting)
                self._deleting = set()

    def _deletable(self) -> list[LogObject]:
        """Return the objects that may be deleted, oldest first; the lock is held."""
        objects = list(self._objects)
        return [
            each
            for each, following in pairwise(objects)
            if following.first_position - 1 <= self._released and not self._must_stay(each)
        ]

    def _must_stay(self, stored: LogObject) -> bool:
        if not stored.is_empty:
            return False
        if stored.modified_at is None or self._claimed_at is None:
            return True
        return self._claimed_at - stored.modified_at < CLAIM_KEPT

    # Opening

    def _list(self) -> list[LogObject]:
        objects = []
        for each in self.store.listing(self._directory):
            position = first_position_of(each.name)
            if position is not None:
                objects.append(LogObject(each.name, position, each.size_bytes, each.modified_at))
        return objects

    def _next_position(self, found: Sequence[LogObject]) -> int:
        """Return the position after the last one of the newest object."""
        if not found:
            return MIN_POSITION
        newest = found[-1]
        try:
            end = fetch_end(self.store, newest.name).end
        except ObjectMissing as error:
            raise ObjectStoreUnavailable(f"the object store lists {newest.name}, and has it not") from error
        if end is None:
            logger.error("the end of %s is damaged: positions after its first are left out", newest.name)
            return newest.first_position + MAX_GROUP_BATCHES
        return end.last_position + 1


def _clocks() -> tuple[float, float]:
    """Return the time by two clocks, of which one stands still while a machine sleeps."""
    return time.monotonic(), time.time()


def _elapsed_s(earlier: tuple[float, float], later: tuple[float, float]) -> float:
    """Return the time between two readings, by the clock that shows more."""
    return max(after - before for before, after in zip(earlier, later, strict=True))
