"""How many queries may be under way at once, of one token and of all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tailrace.events import Overloaded

RETRY_AFTER_S = 1
FULL_RETRY_AFTER_S = 5


class Turns:
    """How many queries each token has under way, running or waiting. Used by the event loop's thread alone."""

    def __init__(self, limit: int, *, running: int, waiting: int) -> None:
        self.limit = limit  # of one token
        self._running = running
        self._waiting = waiting
        self._taken: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many queries run."""
        return min(self._taken.total(), self._running)

    @property
    def waiting(self) -> int:
        """How many queries wait for others to end."""
        return self._taken.total() - self.running

    @contextmanager
    def one(self, token_id: str) -> Iterator[None]:
        """Yield a query of the token for as long as this lasts; raise Overloaded where it, or all, have as many as may
        be.
        """
        if self._taken.total() >= self._running + self._waiting:
            raise Overloaded(
                f"{self._running} queries run (query_concurrency) and {self._waiting} wait, the limit query_queue",
                retry_after_s=FULL_RETRY_AFTER_S,
            )
        if self._taken[token_id] >= self.limit:
            raise Overloaded(
                f"the token has {self.limit} queries under way, the limit query_concurrency_per_token",
                retry_after_s=RETRY_AFTER_S,
            )
        self._taken[token_id] += 1
        try:
            yield
        finally:
            self._taken[token_id] -= 1
            if not self._taken[token_id]:
                del self._taken[token_id]
