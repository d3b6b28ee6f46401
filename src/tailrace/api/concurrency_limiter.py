"""A limit of how many queries are under way at once, of one token and of all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tailrace.events import Overloaded

RETRY_AFTER_S = 1
FULL_RETRY_AFTER_S = 5


class ConcurrencyLimiter:
    """Counts the queries of each token, running or waiting. Used by the event loop's thread alone."""

    def __init__(self, limit: int, *, running: int, waiting: int) -> None:
        self.limit = limit  # of one token
        self._max_running = running
        self._max_waiting = waiting
        self._under_way: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many queries run."""
        return min(self._under_way.total(), self._max_running)

    @property
    def waiting(self) -> int:
        """How many queries wait for others to end."""
        return self._under_way.total() - self.running

    @contextmanager
    def acquire(self, token_id: str) -> Iterator[None]:
        """Yield a query of the token for as long as this lasts; raise Overloaded where it, or all, have as many as may
        be.
        """
        if self._under_way.total() >= self._max_running + self._max_waiting:
            raise Overloaded(
                f"{self._max_running} queries run (query_concurrency) and "
                f"{self._max_waiting} wait, the limit query_queue",
                retry_after_s=FULL_RETRY_AFTER_S,
            )
        if self._under_way[token_id] >= self.limit:
            raise Overloaded(
                f"the token has {self.limit} queries under way, the limit query_concurrency_per_token",
                retry_after_s=RETRY_AFTER_S,
            )
        self._under_way[token_id] += 1
        try:
            yield
        finally:
            self._under_way[token_id] -= 1
            if not self._under_way[token_id]:
                del self._under_way[token_id]
