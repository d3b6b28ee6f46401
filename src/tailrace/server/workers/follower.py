"""Following the logs of workers: the lake accepts what becomes durable in them like the server's own."""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from msgspec import Struct

from tailrace.events import Batch, Overloaded
from tailrace.log import LogReader, Subscription

GROUP_BATCHES = 1024  # delivered at a time
GROUP_BYTES = 16 * 1024 * 1024  # of events, with which a group ends
RETRY_S = 0.1
PRESSURE_S = 0.02  # between two looks at the lake's memory, while it has much
IDLE_S = 1.0
RETRY_AFTER_S = 5
PIPE_READ_BYTES = 65536

logger = logging.getLogger(__name__)


class FollowedLog(Struct, frozen=True, eq=False):
    """The log of a worker, and the pipe by which it tells that something became durable."""

    name: str
    reader: LogReader
    subscription: Subscription
    told: int  # descriptor to read from


class LogFollower:
    """One thread that delivers the batches of several logs to their subscriptions, each in its order. Thread-safe."""

    def __init__(
        self,
        logs: Sequence[FollowedLog],
        *,
        published: Callable[[list[tuple[int, Batch]]], None],
        note_pressure: Callable[[], bool],
    ) -> None:
        """Take what is called with what was delivered; and what is called now and then, and says whether soon again."""
        self._logs = logs
        self._published = published
        self._note_pressure = note_pressure
        self._delivered = {log.name: log.reader.position for log in logs}
        self._progress = threading.Condition()
        self._failing: set[str] = set()
        self._closing = False
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="tailrace-follow", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def catch_up(self, timeout_s: float) -> None:
        """Return once all that is durable now is delivered. Raise Overloaded after a time."""
        due = {log.name: log.reader.durable_position() for log in self._logs}
        if self._has(due):
            return
        with self._progress:
            if self._closing:
                return
            os.write(self._wake, b"\0")
            if not self._progress.wait_for(lambda: self._has(due) or self._closing, timeout_s):
                raise Overloaded(f"events are still being read after {timeout_s:g} s", retry_after_s=RETRY_AFTER_S)

    def _has(self, due: dict[str, int]) -> bool:
        return all(self._delivered[name] >= position for name, position in due.items())

    def close(self) -> None:
        """Deliver what is durable, and stop."""
        with self._progress:
            self._closing = True
        os.write(self._wake, b"\0")
        self._thread.join()
        os.close(self._woken)
        os.close(self._wake)

    # In the thread

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._woken, *(log.told for log in self._logs)):
            poll.register(descriptor, select.POLLIN)
        wait_s = 0.0
        while True:
            for descriptor, _ in poll.poll(1000 * wait_s):
                self._empty(descriptor)
            closing = self._closing  # before the logs are read, so that all of them is
            for log in self._logs:
                self._deliver(log)
            wait_s = PRESSURE_S if self._note_pressure() else RETRY_S if self._failing else IDLE_S
            with self._progress:
                self._progress.notify_all()
            if closing:
                return

    @staticmethod
    def _empty(descriptor: int) -> None:
        with suppress(BlockingIOError):  # another wake-up had it
            os.read(descriptor, PIPE_READ_BYTES)

    def _deliver(self, log: FollowedLog) -> None:
        """Deliver what became durable in a log; what fails is tried again."""
        try:
            for group in _groups(log.reader):
                self._accept(log, group)
            self._delivered[log.name] = log.reader.position
        except Exception:
            if log.name not in self._failing:
                self._failing.add(log.name)
                logger.exception("the log of %s cannot be read, which is tried again", log.name)
            return
        if log.name in self._failing:
            self._failing.discard(log.name)
            logger.warning("the log of %s is read again", log.name)

    def _accept(self, log: FollowedLog, group: list[tuple[int, Batch]]) -> None:
        """Deliver a group, until that has worked: what is skipped would count as stored once a later one is."""
        while True:
            try:
                log.subscription.deliver(group)
                break
            except Exception:
                if log.name not in self._failing:
                    self._failing.add(log.name)
                    logger.exception("batches of %s could not be delivered, which is tried again", log.name)
                if self._closing:
                    raise
                time.sleep(RETRY_S)
        self._published(group)
        with self._progress:
            self._delivered[log.name] = group[-1][0]
            self._progress.notify_all()


def _groups(reader: LogReader) -> Iterator[list[tuple[int, Batch]]]:
    """Yield what became durable in a log, in groups; what was read before a failure, too, as it is not read again."""
    group: list[tuple[int, Batch]] = []
    size = 0
    try:
        for position, batch in reader.advance():
            group.append((position, batch))
            size += len(batch.events)
            if len(group) == GROUP_BATCHES or size >= GROUP_BYTES:
                yield group
                group, size = [], 0
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group
