"""The log in an object store: what waits is put as one object, under a name that only one process can take."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from tailrace.events import Batch, Overloaded, ShuttingDown, TailraceError
from tailrace.log import frames
from tailrace.log.damage import FoundDamage
from tailrace.log.delivery import Done, OrderedDelivery, QueuedBatch, call_back, take_group
from tailrace.log.directory import MAX_GROUP_BATCHES, LogWriteError
from tailrace.log.object_format import LogObject, encode_object
from tailrace.log.object_names import ObjectNames, WriterFenced
from tailrace.log.object_reading import read_objects
from tailrace.log.object_retry import retried
from tailrace.log.positions import FIRST_WRITER
from tailrace.log.segments import Damage
from tailrace.log.settings import LogSettings
from tailrace.log.subscription import Subscription
from tailrace.storage.object_store import (
    RETRY_AFTER_S,
    ObjectExists,
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
)

SETTLE_EVERY_S = 1.0  # between attempts to find out what became of an object, and to deliver again

logger = logging.getLogger(__name__)


class _Doubt(Struct, frozen=True, eq=False):
    """An object that was put without an answer; its batches are refused, so it must not be read."""

    name: str
    content: bytes
    void: bytes  # of the same positions, without batches
    last_position: int


class ObjectLog:
    """A durable log in an object store, of one writer. Opened by `ObjectLog.open`; any thread may call its methods.

    A batch is answered once the object with it is stored. A put whose answer is lost is settled by reading: where the
    content is ours it is stored. Where the store does not answer in time, the batches are refused, and nothing else is
    accepted until an object without batches has their place.
    """

    def __init__(
        self,
        names: ObjectNames,
        settings: LogSettings,
        *,
        subscription: Subscription | None,
        observe_put: Callable[[float], None],
    ) -> None:
        self._names = names
        self._store = names.store
        self._settings = settings
        self._observe_put = observe_put
        self._found = FoundDamage()

        # Guards the queue; never held during I/O.
        self._state = threading.Condition()
        self._queue: deque[QueuedBatch] = deque()
        self._waiting_bytes = 0  # in the queue
        self._queued_bytes = 0  # waiting, being put, or not delivered
        self._closing = False
        self._error: TailraceError | None = None  # why appends are refused

        # Of the log's thread alone.
        self._delivery = OrderedDelivery(subscription)
        self._doubt: _Doubt | None = None
        self._thread = threading.Thread(target=self._run, name="tailrace-log", daemon=True)

    @classmethod
    def open(
        cls,
        store: ObjectStore,
        settings: LogSettings = LogSettings(),
        *,
        writer: str = FIRST_WRITER,
        subscription: Subscription | None = None,
        observe_put: Callable[[float], None] = lambda seconds: None,
    ) -> "ObjectLog":
        """Open the log of a writer in a store, and shut out any other process that writes as the same one.

        `observe_put` is called with how long each put of batches took, in seconds.

        Raise ObjectStoreUnavailable when the store does not answer within `put_timeout_s`, WriterFenced when other
        processes take every name first.
        """
        floor = subscription.floor if subscription else 0
        names = ObjectNames(store, writer, session=uuid.uuid4().hex, timeout_s=settings.put_timeout_s)
        names.claim(floor)
        log = cls(names, settings, subscription=subscription, observe_put=observe_put)
        names.start()
        log._thread.start()
        if subscription is not None:
            subscription.bind(log.release)
        return log

    def __enter__(self) -> "ObjectLog":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def durable_position(self) -> int:
        """The highest position that is durable, or used up."""
        return self._names.next_position - 1

    @property
    def size_bytes(self) -> int:
        """The size of the objects that are not deleted yet."""
        return self._names.size_bytes

    @property
    def queued_bytes(self) -> int:
        """The size of the batches that are not durable yet."""
        return self._queued_bytes

    @property
    def damage(self) -> Sequence[Damage]:
        """The ranges that cannot be read, each once, in the order in which they were found."""
        return self._found.ranges

    @property
    def fault(self) -> str:
        """Why appends are refused now, empty while they are accepted."""
        return self._error.message if self._error else ""

    def append(self, batch: Batch, done: Done) -> None:
        """Queue a batch to be put. Does not block; `done` is called once, in the log's thread, and must not block.

        `done(position, None)` once the batch is stored, `done(None, error)` when it is not. Raise at once, without a
        call of `done`: Overloaded when too much is queued, LogWriteError while the store fails, WriterFenced once
        another process writes as this writer, ShuttingDown after `close`, ValueError for a batch that has not one
        time for each event.
        """
        payload = frames.prepare(batch)
        with self._state:
            if self._closing:
                raise ShuttingDown("the log is closed", retry_after_s=RETRY_AFTER_S)
            if self._error is not None:
                raise self._error
            if self._queued_bytes and self._queued_bytes + payload.frame_bytes > self._settings.max_queued_bytes:
                raise Overloaded(
                    f"more than {self._settings.max_queued_bytes} bytes (log_max_queued_bytes) wait for the log",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._queue.append(QueuedBatch(batch, payload, done, time.monotonic()))
            self._queued_bytes += payload.frame_bytes
            self._waiting_bytes += payload.frame_bytes
            if len(self._queue) == 1 or self._waiting_bytes >= self._settings.group_bytes:
                self._state.notify()

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """Return the batches from a position on, in order, up to what was durable at the time of this call.

        Others may append meanwhile. Damage is skipped and added to `damage`; an object that is released meanwhile is
        skipped too. Memory is bounded by the largest object. Raise ObjectStoreUnavailable, while iterating, when the
        store does not answer within `put_timeout_s`.
        """
        present = self._names.present(from_position)
        return read_objects(
            self._store,
            present,
            from_position,
            self._found,
            timeout_s=self._settings.put_timeout_s,
            is_released=self._names.is_released,
        )

    def release(self, upto: int) -> None:
        """Have the objects deleted that have no position above `upto`; does not wait for that.

        The newest always stays, as its name records which positions are used.
        """
        self._names.release(upto)

    def close(self) -> None:
        """Put the queue, call back for it, and stop; what is released is deleted, where the store answers.

        Later appends raise ShuttingDown; reading remains possible.
        """
        with self._state:
            self._closing = True
            self._state.notify()
        self._thread.join()
        self._names.close()

    # In the log's thread

    def _run(self) -> None:
        while (gathered := self._gather()) is not None:
            group, group_bytes = gathered
            self._settle()
            error = self._error
            first_position = self._names.next_position
            if error is not None:  # each attempt to settle may take long: what waits is refused after one
                others, other_bytes = self._take(max_batches=len(self._queue), max_bytes=self._queued_bytes)
                group, group_bytes = [*group, *others], group_bytes + other_bytes
            elif group:
                group.sort(key=lambda queued: queued.batch.dataset)  # which keeps the order within each
                error = self._put_group(group)
            written = [] if error else [(first_position + index, queued.batch) for index, queued in enumerate(group)]
            released_bytes = group_bytes if error else 0
            released_bytes += self._delivery.deliver(written, 0 if error else group_bytes)
            with self._state:
                self._queued_bytes -= released_bytes
            call_back(group, first_position, error)

    def _gather(self) -> tuple[list[QueuedBatch], int] | None:
        """Wait for batches, then for others; return a group, an empty one where something is to be tried again.

        Return None once the log is closed and everything is answered.
        """
        with self._state:
            while not self._queue and not self._closing:
                needs_retry = self._doubt is not None or self._delivery.is_behind
                if not self._state.wait(SETTLE_EVERY_S if needs_retry else None) and needs_retry:
                    return [], 0
            if not self._queue:
                return None
            full_s = self._queue[0].queued_s + self._settings.group_ms / 1000
            while self._error is None and not self._closing and self._waiting_bytes < self._settings.group_bytes:
                left_s = full_s - time.monotonic()
                if left_s <= 0:
                    break
                self._state.wait(left_s)
        return self._take(max_batches=MAX_GROUP_BATCHES, max_bytes=self._settings.group_bytes)

    def _take(self, *, max_batches: int, max_bytes: int) -> tuple[list[QueuedBatch], int]:
        with self._state:
            group, group_bytes = take_group(self._queue, max_batches=max_batches, max_bytes=max_bytes)
            self._waiting_bytes -= group_bytes
            return group, group_bytes

    def _put_group(self, group: Sequence[QueuedBatch]) -> TailraceError | None:
        """Put a group as the next object; return why it is not stored, None where it is."""
        first = self._names.next_position
        last = first + len(group) - 1
        name, session = self._names.name(first), self._names.session
        try:
            content = encode_object(
                [(queued.batch.dataset, queued.payload) for queued in group],
                first_position=first,
                last_position=last,
                session=session,
            )
            void = encode_object([], first_position=first, last_position=last, session=session)
        except Exception as error:
            logger.exception("%d batches could not be encoded", len(group))
            return _write_error(error)
        began_s = time.monotonic()
        try:
            retried(lambda: self._names.put(name, content), self._settings.put_timeout_s)
        except WriterFenced as error:
            return self._refuse(error)
        except ObjectStoreUnavailable as error:
            logger.error("%d batches could not be put into %s: %s", len(group), self._store.url, error.message)
            self._doubt = _Doubt(name, content, void, last)
            return self._refuse(_write_error(error))
        except Exception as error:
            logger.exception("%d batches could not be put into %s", len(group), self._store.url)
            self._doubt = _Doubt(name, content, void, last)
            return self._refuse(_write_error(error))
        finally:
            self._observe_put(time.monotonic() - began_s)
        self._names.add(LogObject(name, first, len(content)), last)
        return None

    def _settle(self) -> None:
        """Put an object without batches where one of refused batches may be, so that it is never read."""
        doubt = self._doubt
        if doubt is None:
            return
        try:
            self._take_place(doubt)
        except WriterFenced as error:
            self._doubt = None
            self._refuse(error)
            return
        except ObjectStoreUnavailable as error:
            self._refuse(_write_error(error))
            return
        except Exception as error:
            logger.exception("it could not be settled whether %s is in %s", doubt.name, self._store.url)
            self._refuse(_write_error(error))
            return
        self._names.add(LogObject(doubt.name, self._names.next_position, len(doubt.void)), doubt.last_position)
        self._doubt = None
        with self._state:
            self._error = None
        logger.warning("the log can be written again: appends are accepted")

    def _take_place(self, doubt: _Doubt) -> None:
        try:
            self._store.create(doubt.name, doubt.void)
        except ObjectExists:
            try:
                stored = self._store.read(doubt.name)
            except ObjectMissing as error:
                raise ObjectStoreUnavailable(f"the object store has {doubt.name}, and has it not") from error
            if stored == doubt.content:
                self._store.overwrite(doubt.name, doubt.void)
            elif stored != doubt.void:
                raise self._names.fenced(doubt.name) from None

    def _refuse(self, error: TailraceError) -> TailraceError:
        with self._state:
            self._error = error
        return error


def _write_error(error: Exception) -> LogWriteError:
    reason = f": {error.message}" if isinstance(error, TailraceError) else ""
    return LogWriteError(f"the log cannot be written{reason}", retry_after_s=RETRY_AFTER_S)
