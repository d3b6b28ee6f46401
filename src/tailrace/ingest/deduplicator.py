"""Deduplication: an event with an id is stored once in a window of time, also when it is sent twice or after a restart.

An id is the text of a field of the events. The stored ids are in memory, and are read from the dataset itself when they
are first needed: there is no second store that could contradict the events.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events import ParsedBatch, Receipt
from tailrace.query import StoredValue

MAX_REMEMBERED = 1_000_000  # ids, in equal shares of the datasets; older ones are looked up in the dataset
MIN_SHARE = 10_000  # ids of one dataset, however many datasets there are
MAX_EVICTED = 200_000  # ids at a time, which bounds the time that it takes from one request

Ingest = Callable[[ParsedBatch], Awaitable[Receipt]]
Read = Callable[[str, str, int, Collection[str]], Awaitable[list[StoredValue]]]
"""Reads the ids stored in a dataset, by the field that has them, since a time (ns), oldest first: the newest
MAX_REMEMBERED, or those given.
"""


class _KnownIds(Struct, eq=False):
    """The known ids of a dataset, of one field."""

    generation: int  # of the dataset: a later one of the same name has another
    received_ns: dict[str, int] = {}  # by id, oldest first
    filling: "asyncio.Task[None] | None" = None
    since_ns: int = 0  # every id stored from then on is known
    in_flight: dict[str, "asyncio.Future[None]"] = {}  # ids that a request is storing


class Deduplicator:
    """The ids that were stored, by dataset and field. To be used on the event loop."""

    def __init__(self, read: Read, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._read = read
        self._max_remembered = max_remembered
        self._datasets: dict[tuple[str, str], _KnownIds] = {}
        self._storing: set[asyncio.Task[Receipt]] = set()

    async def ingest(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        ingest: Ingest,
        *,
        dataset: str,
        field: str,
        generation: int,
        window_ns: int,
        received_ns: int,
    ) -> Receipt:
        """Ingest the events, but not those whose id was stored less than the window ago or is repeated in the batch:
        the receipt's repetitions.

        Ids that another request is storing are waited for: they count once they are durable, and not if it fails.
        Raise what `ingest` raises, or a query.
        """
        place = dataset, field
        known = await self._known_ids(place, generation, received_ns - window_ns)
        batch_ids = {event_id for event_id in ids if event_id}
        while not known.in_flight.keys().isdisjoint(batch_ids):
            await asyncio.wait([known.in_flight[event_id] for event_id in batch_ids & known.in_flight.keys()])
        oldest_ns = received_ns - window_ns
        _evict_older(known, oldest_ns)
        stored = set()
        if not known.received_ns.keys().isdisjoint(batch_ids):
            repeated = batch_ids & known.received_ns.keys()
            stored = {event_id for event_id in repeated if known.received_ns[event_id] >= oldest_ns}
        new_ids = batch_ids - stored
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known.in_flight.update(dict.fromkeys(new_ids, done))
        # A task of its own, which a client that hangs up does not cancel: ids that are stored must become known.
        storing = asyncio.create_task(
            self._store(known, place, new_ids, oldest_ns, received_ns, done, parsed, ids, ingest)
        )
        self._storing.add(storing)
        storing.add_done_callback(self._discard_task)
        return await asyncio.shield(storing)

    def _discard_task(self, storing: asyncio.Task[Receipt]) -> None:
        self._storing.discard(storing)
        if not storing.cancelled():
            storing.exception()

    async def _store(
        self,
        known: _KnownIds,
        place: tuple[str, str],
        new_ids: set[str],
        oldest_ns: int,
        received_ns: int,
        done: "asyncio.Future[None]",
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        ingest: Ingest,
    ) -> Receipt:
        try:
            unstored = new_ids
            if new_ids and known.since_ns > oldest_ns:
                rows = await self._read(*place, oldest_ns, new_ids)
                unstored = new_ids - {row.value for row in rows if row.received_ns >= oldest_ns}
            selected, repeated = _select(parsed, ids, unstored)
            receipt = await ingest(selected)
            for event_id in unstored & known.received_ns.keys():
                del known.received_ns[event_id]  # it is inserted at the end again
            known.received_ns.update(dict.fromkeys(unstored, received_ns))
            self._evict(known)
            return replace(receipt, repeated=repeated) if repeated else receipt
        finally:
            for event_id in new_ids:
                del known.in_flight[event_id]
            done.set_result(None)

    async def _known_ids(self, place: tuple[str, str], generation: int, oldest_ns: int) -> _KnownIds:
        known = self._datasets.get(place)
        if known is None or known.generation != generation:
            known = self._datasets[place] = _KnownIds(generation)
            known.filling = asyncio.create_task(self._fill(known, place, oldest_ns))
        if known.filling is not None:
            await asyncio.shield(known.filling)
        return known

    async def _fill(self, known: _KnownIds, place: tuple[str, str], oldest_ns: int) -> None:
        try:
            rows = await self._read(*place, oldest_ns, ())
        except BaseException:
            # The next request tries again.
            if self._datasets.get(place) is known:
                del self._datasets[place]
            raise
        known.received_ns = await asyncio.to_thread(_by_id, rows)
        known.since_ns = oldest_ns if len(rows) < self._max_remembered else rows[0].received_ns + 1
        known.filling = None

    def _evict(self, known: _KnownIds) -> None:
        share = max(self._max_remembered // len(self._datasets), min(MIN_SHARE, self._max_remembered))
        for _ in range(min(len(known.received_ns) - share, MAX_EVICTED)):
            first = next(iter(known.received_ns))
            known.since_ns = max(known.since_ns, known.received_ns.pop(first) + 1)


def _by_id(rows: Sequence[StoredValue]) -> dict[str, int]:
    return {row.value: row.received_ns for row in rows}


def _evict_older(known: _KnownIds, oldest_ns: int) -> None:
    for _ in range(min(len(known.received_ns), MAX_EVICTED)):
        first = next(iter(known.received_ns))
        if known.received_ns[first] >= oldest_ns:
            return
        del known.received_ns[first]


def _select(parsed: ParsedBatch, ids: Sequence[str | None], new: set[str]) -> tuple[ParsedBatch, tuple[int, ...]]:
    """Return the events without an id, and the first event of each new id; and the positions of the others."""
    if len(new) == len(ids) - ids.count(None):
        return parsed, ()
    left = set(new)
    positions = []
    repeated = []
    for position, event_id in enumerate(ids):
        if not event_id or event_id in left:
            positions.append(position)
            left.discard(event_id or "")
        else:
            repeated.append(position)
    lines = parsed.events.split(b"\n")
    events = b"".join(lines[position] + b"\n" for position in positions)
    selected = ParsedBatch(
        events,
        parsed.times[np.array(positions, dtype=np.intp)],
        len(positions),
        parsed.processed_bytes,
        parsed.rejections,
    )
    return selected, tuple(repeated)
