"""Stopping a query: by request or at its deadline, by a thread that interrupts it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from tailrace.events import QueryFailed

WATCH_EVERY_S = 0.02


class Interrupt:
    """Lets another thread stop one query, before or while it runs; its time runs from when this is made.

    Without `timeout_s` each run of the engine has the engine's time for itself.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.reason: str | None = None
        self.timeout_s = timeout_s
        self.deadline_s = None if timeout_s is None else time.monotonic() + timeout_s  # monotonic

    def left_s(self, timeout_s: float) -> float:
        """Return the time until the query's deadline, or `timeout_s` if it has none."""
        return timeout_s if self.deadline_s is None else max(self.deadline_s - time.monotonic(), 0)

    def stop(self, reason: str) -> None:
        """Stop the query; it raises QueryFailed with this reason."""
        self.reason = self.reason or reason

    def expire(self, timeout_s: float) -> None:
        """Stop the query because its time limit has passed."""
        self.stop(f"the query ran longer than query_timeout_s = {timeout_s:g} s")

    def check(self) -> None:
        """Raise QueryFailed if the query was stopped or its deadline has passed."""
        if self.deadline_s is not None and self.timeout_s is not None and time.monotonic() >= self.deadline_s:
            self.expire(self.timeout_s)
        if self.reason is not None:
            raise QueryFailed(self.reason)


class _WatchedQuery(Struct, eq=False):
    stop: Callable[[], None]
    interrupt: Interrupt
    deadline_s: float  # monotonic


class QueryWatch:
    """The thread that interrupts queries that were stopped or whose deadline has passed."""

    def __init__(self, timeout_s: float, look: Callable[[], None] = lambda: None) -> None:
        self._timeout_s = timeout_s
        self._check = look  # called repeatedly while a query runs
        self._changed = threading.Condition()
        self._running: list[_WatchedQuery] = []
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="tailrace-query-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def over(self, stop: Callable[[], None], interrupt: Interrupt, deadline_s: float) -> Iterator[None]:
        """Watch what runs within: call `stop()` repeatedly once it must end."""
        running = _WatchedQuery(stop, interrupt, deadline_s)
        with self._changed:
            self._running.append(running)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(running)

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now_s = time.monotonic()
                for running in self._running:
                    if now_s >= running.deadline_s:
                        running.interrupt.expire(self._timeout_s)
                    if running.interrupt.reason is not None:
                        # Repeatedly: an interrupt between two calls of DuckDB has no effect.
                        running.stop()
                if self._running:
                    self._check()
                self._changed.wait(WATCH_EVERY_S if self._running else None)
