"""How many queries a token may have under way at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tailrace.events import Overloaded

RETRY_AFTER_S = 1


class Turns:
    """How many queries each token has under way. Used by the event loop's thread alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one(self, token_id: str) -> Iterator[None]:
        """A query of the token for as long as this lasts; raises Overloaded where it has as many as it may."""
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
