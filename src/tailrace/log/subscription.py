"""The one subscription to a log: durable batches go to the subscriber, acknowledged positions come back."""

import threading
from collections.abc import Callable

from tailrace.events import Batch

Deliver = Callable[[list[tuple[int, Batch]]], None]


class Subscription:
    """What ties a log and its subscriber together. Made by the subscriber; a log is opened with it. Thread-safe.

    `deliver` gets each group of (position, batch) that became durable, in order, in a thread of the log, before the
    `done` of any of them; what it raises for is delivered again, with what follows. Positions up to `floor`, which the
    subscriber knows of from before, are never given out.
    """

    def __init__(self, deliver: Deliver, *, floor: int = 0) -> None:
        self.deliver = deliver
        self.floor = floor
        self._lock = threading.Lock()
        self._acknowledged = 0
        self._release: Callable[[int], None] | None = None

    def acknowledge(self, position: int) -> None:
        """Release positions up to this one, which the subscriber has stored for good; once a log is open for it."""
        with self._lock:
            self._acknowledged = max(self._acknowledged, position)
            release = self._release
        if release is not None:
            release(position)

    def bind(self, release: Callable[[int], None]) -> None:
        """Have a log release what is acknowledged, and what was before: for the log, once it is open."""
        with self._lock:
            self._release = release
            acknowledged = self._acknowledged
        if acknowledged:
            release(acknowledged)
