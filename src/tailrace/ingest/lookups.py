"""Look-ups of the ingest service in stored events, in threads and an engine of their own, apart from queries."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tailrace.events import Overloaded, QueryFailed
from tailrace.query import Engine

T = TypeVar("T")

THREADS = 2
RETRY_AFTER_S = 5


class Lookups:
    """Runs look-ups. `engine` is called for the first of them, as most servers need none."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._open = engine
        self._opening = threading.Lock()
        self._opened: Engine | None = None
        self._threads = ThreadPoolExecutor(THREADS, "tailrace-lookup")

    async def run(self, query: Callable[[Engine], T]) -> T:
        """Return what `query` returns. Raise Overloaded where it exceeds a limit, as the request can be retried."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)
        except QueryFailed as error:
            raise Overloaded(
                f"what is stored could not be read: {error.message}", retry_after_s=RETRY_AFTER_S
            ) from error

    def _run(self, query: Callable[[Engine], T]) -> T:
        with self._opening:
            engine = self._opened = self._opened or self._open()
        return query(engine)

    def close(self) -> None:
        """Accept no further look-ups, and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
