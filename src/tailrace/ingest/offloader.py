"""Where work on a body is done: on the event loop what is little, in threads what is much or needs the exact way."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from tailrace.events import TailraceError, TooLarge
from tailrace.events.idempotency import digest
from tailrace.parsing import WORST_CASE_FACTOR, ExactWayNeeded, Limits, decode_body

T = TypeVar("T")

OFFLOAD_BYTES = 256 * 1024  # of valid events; work of at least so many is done in a thread
LARGE_BYTES = OFFLOAD_BYTES * WORST_CASE_FACTOR  # of valid events; work of at least so many waits for its like alone
DECODED_AT_ONCE_BYTES = 16 * 1024  # as sent; a longer body is decoded in a thread: so short a one takes at most 3 ms
OBJECTS_AT_ONCE = 2048  # of a body; more are parsed in a thread: each takes up to 1 us when it is read in bulk


class OffloadingService:
    """What every ingest service does alike: work on bodies, beside the event loop where it is much."""

    def __init__(self, limits: Limits, offloader: "Offloader") -> None:
        self.limits = limits
        self._offloader = offloader

    async def offload(self, work: Callable[[], T], size: int) -> T:
        """Return `work()`, run in a thread where it is as much as many bytes of valid events are, as `size` tells."""
        return await self._offloader.run(work, size)

    async def decode(self, wire: bytes, encoding: str, max_bytes: int) -> bytes:
        """Return a body without its content encoding, as `Offloader.decode` does."""
        return await self._offloader.decode(wire, encoding, max_bytes)

    async def fingerprint(self, wire: bytes, encoding: str) -> bytes:
        """Return a digest of a body without its content encoding, or as it is where that cannot be undone."""
        try:
            body = await self.decode(wire, encoding, self.limits.max_body_bytes)
        except TailraceError:
            body = wire
        return await self.offload(partial(digest, body), len(body))

    async def parse(self, parse: Callable[[bool], T], body: bytes) -> T:
        """Return `parse(in_bulk)` of a decoded body, as `Offloader.parse` does."""
        return await self._offloader.parse(parse, body)


class Offloader:
    """Runs work on the event loop or in threads; to be called on the loop.

    What is done in bulk, by native code that lets the loop run, shares a pool. What looks at each event in Python has
    threads of its own, so that no sort of it waits for another: of bodies that are sound, or of a protocol for which
    there is no other way, and of those that turn out to need the exact way; of each, what is large apart from what is
    not. The size is that of the decoded body, not what a compressed one might have had.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor) -> None:
        """`threads` run what is large and done in bulk."""
        self._loop = loop
        self._threads = threads
        self._small_work = ThreadPoolExecutor(1, "tailrace-work")
        self._large_work = ThreadPoolExecutor(1, "tailrace-work-large")
        self._small_exact = ThreadPoolExecutor(1, "tailrace-exact")
        self._large_exact = ThreadPoolExecutor(1, "tailrace-exact-large")

    async def decode(self, wire: bytes, encoding: str, max_bytes: int) -> bytes:
        """Return a body without its content encoding, as `decode_body` does."""
        if not encoding:
            return decode_body(wire, encoding, max_bytes)
        if len(wire) <= DECODED_AT_ONCE_BYTES and "," not in encoding:
            at_once_bytes = min(max_bytes, OFFLOAD_BYTES)
            try:
                return decode_body(wire, encoding, at_once_bytes)
            except TooLarge:
                if at_once_bytes == max_bytes:
                    raise
        return await self._loop.run_in_executor(self._threads, decode_body, wire, encoding, max_bytes)

    async def run(self, work: Callable[[], T], size: int) -> T:
        """Return `work()`, which is as much as `size` bytes of valid events are."""
        if size < OFFLOAD_BYTES:
            return work()
        thread = self._small_work if size < LARGE_BYTES else self._large_work
        return await self._loop.run_in_executor(thread, work)

    async def parse(self, parse: Callable[[bool], T], body: bytes) -> T:
        """Return `parse(in_bulk)` of a decoded body: `parse(True)`, where that raises ExactWayNeeded `parse(False)`.

        The first is called on the loop for a body below OFFLOAD_BYTES with few objects, else in a thread; the second
        always in a thread: some malformed bodies of a few hundred bytes take tens of milliseconds.
        """
        is_small = len(body) < OFFLOAD_BYTES
        try:
            if is_small and body.count(b"{") <= OBJECTS_AT_ONCE:
                return parse(True)
            return await self._loop.run_in_executor(self._threads, partial(parse, True))
        except ExactWayNeeded:
            exact = self._small_exact if is_small else self._large_exact
            return await self._loop.run_in_executor(exact, parse, False)
