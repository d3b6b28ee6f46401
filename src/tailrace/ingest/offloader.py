"""Where work on a body is done: on the event loop what is little, in threads what is much or needs the exact way."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tailrace.parsing import ExactWayNeeded

T = TypeVar("T")

OFFLOAD_BYTES = 256 * 1024  # of valid events; work of at least so many is done in a thread
EXACT_BYTES = 4 * 1024  # a body up to this goes the exact way on the event loop: it takes less than 20 ms, at its worst


class Offloader:
    """Runs work on the event loop or in threads; to be called on the loop.

    What needs the exact way, which looks at each event in Python, has a thread for small bodies and one for those that
    may be large, as compressed ones may: a flood of malformed bodies holds up neither the loop nor what is read in
    bulk.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor) -> None:
        """`threads` run what is large and done in bulk."""
        self._loop = loop
        self._threads = threads
        self._small_exact = ThreadPoolExecutor(1, "tailrace-exact")
        self._large_exact = ThreadPoolExecutor(1, "tailrace-exact-large")

    async def run(self, work: Callable[[], T], size: int) -> T:
        """Return `work()`, which is as much as `size` bytes of valid events are."""
        if size < OFFLOAD_BYTES:
            return work()
        return await self._loop.run_in_executor(self._threads, work)

    async def parse(self, parse: Callable[[bool], T], size: int) -> T:
        """Return `parse(in_bulk)` of a body of at most `size` bytes once decoded.

        Up to EXACT_BYTES it is `parse(False)`, on the loop. Else `parse(True)`, in a thread from OFFLOAD_BYTES on;
        where that raises ExactWayNeeded, `parse(False)`, in a thread.
        """
        if size <= EXACT_BYTES:
            return parse(False)
        try:
            return await self.run(lambda: parse(True), size)
        except ExactWayNeeded:
            exact = self._small_exact if size < OFFLOAD_BYTES else self._large_exact
            return await self._loop.run_in_executor(exact, parse, False)
