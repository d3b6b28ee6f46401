"""The one subscription to a log: durable batches go to the subscriber, acknowledged positions come back."""

import threading
from collections.abc import Callable

from tailrace.events import Batch

Deliver = Callable[[list[tuple[int, Batch]]], None]


class Subscription:
    """Connects a log with its subscriber, which creates it and opens the log with it. Thread-safe.

    `deliver` is called with each group of (position, batch) that became durable, in order, in a thread of the log,
    before the `done` of any of them; a group for which it raises is delivered again, with the following ones.
    Positions up to `floor`, which the subscriber knows already, are never used.
    """

    def __init__(self, deliver: Deliver, *, floor: int = 0) -> None:
        self.deliver = deliver
        self.floor = floor
        self._lock = threading.Lock()
        self._acknowledged = 0
        self._release: Callable[[int], None] | None = None

    def acknowledge(self, position: int) -> None:
        """Release positions up to this one, which the subscriber has stored; later, if no log is open yet."""
        with self._lock:
            self._acknowledged = max(self._acknowledged, position)
            release = self._release
        if release is not None:
            release(position)

    def bind(self, release: Callable[[int], None]) -> None:
        """Set the `release` of the log, once it is open, and release what is acknowledged already."""
        with self._lock:
            self._release = release
            acknowledged = self._acknowledged
        if acknowledged:
            release(acknowledged)
