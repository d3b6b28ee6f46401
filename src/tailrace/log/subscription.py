"""The one subscription to a log: durable batches go to the subscriber, acknowledged positions come back."""

import logging
import threading
from collections.abc import Callable

from tailrace.events import Batch

Deliver = Callable[[list[tuple[int, Batch]]], None]


logger = logging.getLogger(__name__)


def deliver_nothing(group: list[tuple[int, Batch]]) -> None:
    """Deliver nothing, where whoever wants the batches of a log reads it."""


class Subscription:
    """Connects a log with its subscriber, which creates it and opens the log with it. Thread-safe.

    `deliver` is called with each group of (position, batch) that became durable, in order, in a thread of the log,
    before the `done` of any of them; a group for which it raises is delivered again, with the following ones.
    Positions up to `floor`, which the subscriber knows already, are never used.
    """

    def __init__(self, deliver: Deliver, *, floor: int = 0) -> None:
        self._deliver = deliver
        self._observe: Deliver | None = None
        self._flush: Callable[[], None] | None = None
        self.floor = floor
        self._lock = threading.Lock()
        self._acknowledged = 0
        self._release: Callable[[int], None] | None = None

    def precede(self, observe: Deliver, flush: Callable[[], None]) -> None:
        """Have `observe` see each group before the subscriber does, and `flush` called before positions are released.

        Where `flush` raises OSError, they are not: a later acknowledgement releases them.
        """
        self._observe, self._flush = observe, flush

    def deliver(self, group: list[tuple[int, Batch]]) -> None:
        """Give a group to the subscriber."""
        if self._observe is not None:
            self._observe(group)
        self._deliver(group)

    def acknowledge(self, position: int) -> None:
        """Release positions up to this one, which the subscriber has stored; later, if no log is open yet."""
        with self._lock:
            self._acknowledged = max(self._acknowledged, position)
            release = self._release
        if release is None:
            return
        try:
            if self._flush is not None:
                self._flush()
        except OSError:
            logger.exception("positions up to %d stay in the log: its idempotency keys could not be written", position)
            return
        release(position)

    def bind(self, release: Callable[[int], None]) -> None:
        """Set the `release` of the log, once it is open, and release what is acknowledged already."""
        with self._lock:
            self._release = release
            acknowledged = self._acknowledged
        if acknowledged:
            self.acknowledge(acknowledged)
