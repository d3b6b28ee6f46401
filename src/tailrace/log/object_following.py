"""Following the logs of all writers in an object store, of the datasets that a node has."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from tailrace.events import Overloaded, ShuttingDown, StorageUnavailable
from tailrace.log import object_retry
from tailrace.log.damage import FoundDamage
from tailrace.log.object_cursor import (
    LAST_POSITION,
    LIST_EVERY_S,
    DeliverFrom,
    LogReading,
    ObjectCursor,
    objects_after,
    read_behind,
    writers_of,
)
from tailrace.log.object_format import LogObject
from tailrace.log.object_threads import ReaderThreads
from tailrace.log.positions import Positions
from tailrace.log.segments import Damage
from tailrace.storage.object_store import ObjectStore

POLL_S = 0.2  # between the beginnings of two polls that nobody asked for
DISCOVER_S = 2.0  # between two looks for new writers that nobody asked for
GONE_EVERY_S = 60.0  # between two looks that nobody asked for at the log of a writer that is gone
JOIN_S = 0.5  # a pass over all writers that takes less is made once more while no poll runs
RETRY_S = 5.0  # for which a request that fails is made again, before the poll counts as failed
RETRY_AFTER_S = 5

logger = logging.getLogger(__name__)


class ObjectLogFollower:
    """Delivers what all writers put into an object store, of some datasets; each (writer, dataset) in order.

    A thread polls the store every `poll_s`, and at once where somebody asks. A question waits for a poll that began
    after it, which sees everything that was answered before, as an append is answered once it is stored, and stores
    are consistent; those that ask meanwhile share one. Thread-safe.

    A batch may be delivered more than once, and is in any case where delivering it raises.
    """

    def __init__(
        self,
        store: ObjectStore,
        deliver: DeliverFrom,
        *,
        read: Callable[[Positions], None] = lambda positions: None,
        is_released: Callable[[str, int], bool] = lambda writer, position: False,
        is_gone: Callable[[str], bool] = lambda writer: False,
        poll_s: float = POLL_S,
        list_every_s: float = LIST_EVERY_S,
        gone_every_s: float = GONE_EVERY_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """Take what is called in several threads with the batches of one writer each.

        `read` is called after each poll with the position in each writer's log up to which everything of the datasets
        that are followed is delivered. `is_released(writer, position)` tells whether objects up to a position may be
        deleted by now: others that are missing count as damage. Whether any are is looked for every `list_every_s`.
        The log of a writer of which `is_gone(writer)` tells that it is gone is looked at every `gone_every_s`, and
        whenever somebody asks: a process that stood still goes on before it is told that it counts as gone. A store
        that fails is asked again for `retry_s` before that is told.
        """
        self._store = store
        self._deliver = deliver
        self._read = read
        self._is_released = is_released
        self._is_gone = is_gone
        self._poll_s = poll_s
        self._list_every_s = list_every_s
        self._gone_every_s = gone_every_s
        self._retry_s = retry_s
        self._found = FoundDamage()
        self._polling = ReaderThreads()
        self._opening = ReaderThreads()  # so that what is followed goes on while much is read behind it
        self._thread = threading.Thread(target=self._run, name="tailrace-follow", daemon=True)

        self._turn = threading.Lock()  # held during a poll; guards what follows
        self._cursors: dict[str, ObjectCursor] = {}
        self._polled_s: dict[str, float] = {}  # when each was
        self._discovered_s = float("-inf")

        self._state = threading.Condition()  # guards what follows; never held during I/O
        self._datasets: frozenset[str] = frozenset()
        self._begun = 0  # polls
        self._done = 0  # the number of the last one that has read everything
        self._asked = False  # whether somebody waits for the next one
        self._failure: Exception | None = None  # of the last poll
        self._closing = False

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """Stop, also in the middle of much to read; nothing is delivered after this."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._polling.close()
        self._opening.close()

    @property
    def damage(self) -> Sequence[Damage]:
        """The ranges that cannot be read, each once, in the order in which they were found."""
        return self._found.ranges

    @property
    def fault(self) -> str:
        """Why the logs cannot be read now, empty while they can."""
        failure = self._failure
        return str(failure) if failure is not None else ""

    def catch_up(self, timeout_s: float) -> None:
        """Return once everything that was stored before this call is delivered.

        Raise StorageUnavailable where the store does not answer within a time, Overloaded where there is too much,
        ShuttingDown after `close`.
        """
        with self._state:
            due = self._begun + 1
            self._asked = True
            self._state.notify_all()
            if self._state.wait_for(lambda: self._done >= due or self._closing, timeout_s):
                if self._done < due:
                    raise ShuttingDown("the server is shutting down")
                return
            failure = self._failure
        if failure is not None:
            raise StorageUnavailable(f"the log cannot be read: {failure}", retry_after_s=RETRY_AFTER_S) from failure
        raise Overloaded(f"events are still being read after {timeout_s:g} s", retry_after_s=RETRY_AFTER_S)

    # Datasets

    def follow(
        self,
        behind: Mapping[str, Positions],
        deliver: DeliverFrom,
        joined: Callable[[], None],
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Deliver what is stored of datasets behind the positions of each, then follow them.

        What is behind goes to `deliver`, later batches to the deliver function of all; between the two `joined` is
        called. Takes as long as reading it does; the others are followed meanwhile. `check` is called before each
        object, in several threads, and raises to give up. Raise ObjectStoreUnavailable, LogVersionError, ShuttingDown
        after `close`, and what `deliver` and `check` raise: then none of the datasets is followed, and this can be
        repeated.
        """

        def read() -> None:
            read_behind(
                self._store,
                behind,
                deliver,
                self._opening,
                self._retry_s,
                check=goes_on,
                cursors=cursors,
                found=self._found,
            )

        def goes_on() -> None:
            check()
            self._check()

        cursors: dict[str, ObjectCursor] = {}
        took_s = JOIN_S
        while took_s >= JOIN_S:
            began_s = time.monotonic()
            read()
            took_s = time.monotonic() - began_s
        with self._turn:
            with self._state:
                datasets = self._datasets
            # Objects may be gone that were due when this node had other datasets, or none.
            self._advance(list(self._cursors), datasets, lists=True)
            read()
            joined()
            with self._state:
                self._datasets |= behind.keys()

    def unfollow(self, datasets: Collection[str]) -> None:
        """Follow datasets no more; what is being read is still delivered."""
        with self._state:
            self._datasets -= frozenset(datasets)

    # In the thread

    def _run(self) -> None:
        pause_s = object_retry.FIRST_PAUSE_S
        while True:
            with self._state:
                if self._closing:
                    return
                self._begun += 1
                number, asked = self._begun, self._asked
                self._asked = False
            began_s = time.monotonic()
            try:
                self._poll(is_asked=asked)
            except Exception as error:
                if self._failure is None and not self._closing:
                    logger.exception("the logs of other nodes cannot be read, which is tried again")
                with self._state:
                    self._failure = error
                    self._asked = True  # those who asked still do
                    self._state.wait_for(lambda: self._closing, pause_s)
                pause_s = min(2 * pause_s, object_retry.MAX_PAUSE_S)
                continue
            pause_s = object_retry.FIRST_PAUSE_S
            with self._state:
                if self._failure is not None:
                    self._failure = None
                    logger.warning("the logs of other nodes are read again")
                self._done = number
                self._state.notify_all()
                self._state.wait_for(
                    lambda: self._asked or self._closing,
                    began_s + self._poll_s - time.monotonic(),
                )

    def _poll(self, *, is_asked: bool) -> None:
        """Read everything that was stored when this began, of new writers too; unless asked, of most writers."""
        with self._turn:
            with self._state:
                datasets = self._datasets
            now_s = time.monotonic()
            is_due = is_asked or now_s - self._discovered_s >= DISCOVER_S
            discovering = self._polling.submit(self._writers) if is_due else None
            self._advance([each for each in self._cursors if is_asked or self._is_due(each, now_s)], datasets)
            if discovering is not None:
                self._advance([each for each in discovering.result() if each not in self._cursors], datasets)
                self._discovered_s = now_s
            positions = {writer: cursor.position for writer, cursor in self._cursors.items()}
        self._read(positions)

    def _writers(self) -> list[str]:
        return object_retry.retried(lambda: writers_of(self._store), self._retry_s)

    def _is_due(self, writer: str, now_s: float) -> bool:
        return now_s - self._polled_s.get(writer, float("-inf")) >= self._gone_every_s or not self._is_gone(writer)

    def _advance(self, writers: Sequence[str], datasets: frozenset[str], *, lists: bool = False) -> None:
        """Read the logs of writers, of which some may be new."""
        reading = LogReading(datasets, self._deliver, self._retry_s, self._check)

        def advance(writer: str) -> None:
            if writer not in self._cursors:
                # Where nothing is followed there is nothing to deliver before the newest object.
                after = 0 if datasets else LAST_POSITION
                objects = reading.retried(lambda: objects_after(self._store, writer, after))
                # A directory may have no object yet, but something else.
                self._cursors[writer] = self._cursor(writer, objects, after if objects else 0)
            began_s = time.monotonic()
            self._cursors[writer].advance(reading, lists=lists)
            self._polled_s[writer] = began_s

        self._polling.call_each(advance, writers)

    def _check(self) -> None:
        if self._closing:
            raise ShuttingDown("the server is shutting down")

    def _cursor(self, writer: str, behind: Sequence[LogObject], after: int) -> ObjectCursor:
        return ObjectCursor(
            self._store,
            writer,
            behind,
            after,
            self._polling,
            self._found,
            list_every_s=self._list_every_s,
            is_released=self._is_released,
        )
