"""Events with an id of their own are stored once in a window of time, whatever comes twice, at once or after a restart.

What was stored is known from memory, which is filled from the dataset itself when it is first needed: there is no
second store that could say otherwise than the events do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import numpy as np
from msgspec import Struct

from tailrace.events import ParsedBatch, Receipt
from tailrace.query import Stored

MAX_REMEMBERED = 1_000_000  # ids, in equal shares of the datasets; what is older is asked of the dataset
MIN_SHARE = 10_000  # ids of one dataset, however many there are
MAX_FORGOTTEN = 200_000  # ids at a time, so that no request waits for very many of them

Ingest = Callable[[ParsedBatch], Awaitable[Receipt]]
Read = Callable[[str, int, Collection[str]], Awaitable[list[Stored]]]
"""The ids stored in a dataset since a moment (ns), oldest first: the newest MAX_REMEMBERED, or those among some."""


class _Seen(Struct, eq=False):
    """What is known of a dataset's ids."""

    generation: int  # of the dataset: another one of its name has another
    received_ns: dict[str, int] = {}  # by id, oldest first
    filled: "asyncio.Task[None] | None" = None
    since_ns: int = 0  # every id stored from then on is known
    in_flight: dict[str, "asyncio.Future[None]"] = {}  # ids that a request is storing


class Deduplicator:
    """Which ids were stored, by dataset. Used on the event loop's thread only."""

    def __init__(self, read: Read, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._read = read
        self._max_remembered = max_remembered
        self._datasets: dict[str, _Seen] = {}
        self._storing: set[asyncio.Task[Receipt]] = set()

    async def ingest(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        ingest: Ingest,
        *,
        dataset: str,
        generation: int,
        window_ns: int,
        received_ns: int,
    ) -> Receipt:
        """Ingest the events but those whose id was stored less than the window ago, or is another's before it.

        What another request is storing is waited for: it counts once it is durable, and not if it fails. Raises what
        `ingest` raises, or a query.
        """
        seen = await self._seen(dataset, generation, received_ns - window_ns)
        wanted = {each for each in ids if each}
        while not seen.in_flight.keys().isdisjoint(wanted):
            await asyncio.wait([seen.in_flight[each] for each in wanted & seen.in_flight.keys()])
        oldest_ns = received_ns - window_ns
        _forget(seen, oldest_ns)
        stored = set()
        if not seen.received_ns.keys().isdisjoint(wanted):
            stored = {each for each in wanted & seen.received_ns.keys() if seen.received_ns[each] >= oldest_ns}
        fresh = wanted - stored
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen.in_flight.update(dict.fromkeys(fresh, done))
        # A task of its own: what is on its way to the disk gets there, also when the client hangs up meanwhile.
        storing = asyncio.create_task(
            self._store(seen, dataset, fresh, oldest_ns, received_ns, done, parsed, ids, ingest)
        )
        self._storing.add(storing)
        storing.add_done_callback(self._forget_task)
        return await asyncio.shield(storing)

    def _forget_task(self, storing: asyncio.Task[Receipt]) -> None:
        self._storing.discard(storing)
        if not storing.cancelled():
            storing.exception()

    async def _store(
        self,
        seen: _Seen,
        dataset: str,
        fresh: set[str],
        oldest_ns: int,
        received_ns: int,
        done: "asyncio.Future[None]",
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        ingest: Ingest,
    ) -> Receipt:
        try:
            new = fresh
            if fresh and seen.since_ns > oldest_ns:
                found = await self._read(dataset, oldest_ns, fresh)
                new = fresh - {each.value for each in found if each.received_ns >= oldest_ns}
            receipt = await ingest(_only(parsed, ids, new))
            for each in new & seen.received_ns.keys():
                del seen.received_ns[each]  # so that it gets a place at the end
            seen.received_ns.update(dict.fromkeys(new, received_ns))
            self._shorten(seen)
            return receipt
        finally:
            for each in fresh:
                del seen.in_flight[each]
            done.set_result(None)

    async def _seen(self, dataset: str, generation: int, oldest_ns: int) -> _Seen:
        seen = self._datasets.get(dataset)
        if seen is None or seen.generation != generation:
            seen = self._datasets[dataset] = _Seen(generation)
            seen.filled = asyncio.create_task(self._fill(seen, dataset, oldest_ns))
        if seen.filled is not None:
            await asyncio.shield(seen.filled)
        return seen

    async def _fill(self, seen: _Seen, dataset: str, oldest_ns: int) -> None:
        try:
            found = await self._read(dataset, oldest_ns, ())
        except BaseException:
            # The next request tries again.
            if self._datasets.get(dataset) is seen:
                del self._datasets[dataset]
            raise
        seen.received_ns = await asyncio.to_thread(_by_id, found)
        seen.since_ns = oldest_ns if len(found) < self._max_remembered else found[0].received_ns + 1
        seen.filled = None

    def _shorten(self, seen: _Seen) -> None:
        share = max(self._max_remembered // len(self._datasets), min(MIN_SHARE, self._max_remembered))
        for _ in range(min(len(seen.received_ns) - share, MAX_FORGOTTEN)):
            first = next(iter(seen.received_ns))
            seen.since_ns = max(seen.since_ns, seen.received_ns.pop(first) + 1)


def _by_id(found: Sequence[Stored]) -> dict[str, int]:
    return {each.value: each.received_ns for each in found}


def _forget(seen: _Seen, oldest_ns: int) -> None:
    for _ in range(min(len(seen.received_ns), MAX_FORGOTTEN)):
        first = next(iter(seen.received_ns))
        if seen.received_ns[first] >= oldest_ns:
            return
        del seen.received_ns[first]


def _only(parsed: ParsedBatch, ids: Sequence[str | None], new: set[str]) -> ParsedBatch:
    """Return the events without an id, and of each new id the first."""
    if len(new) == len(ids) - ids.count(None):
        return parsed
    left = set(new)
    kept = []
    for position, each in enumerate(ids):
        if not each or each in left:
            kept.append(position)
            left.discard(each or "")
    lines = parsed.events.split(b"\n")
    events = b"".join(lines[position] + b"\n" for position in kept)
    return ParsedBatch(
        events, parsed.times[np.array(kept, dtype=np.intp)], len(kept), parsed.processed_bytes, parsed.rejections
    )
