"""Upserts: each appends the whole merged state of its id to the dataset, and queries see the newest state.

Concurrent requests for one dataset are merged in order and appended together; later ones wait for that. So no update is
lost, and no state is based on one that did not become durable.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct

from tailrace.events import ParsedBatch, Receipt, Rejection, TailraceError
from tailrace.events.idempotency import BatchKey
from tailrace.events.upserts import MAX_STATE_BYTES, MAX_STATE_FIELDS, Merge, Upsert
from tailrace.lake import REVISION
from tailrace.query import CurrentState

logger = logging.getLogger(__name__)

MAX_CACHED_BYTES = 64 * 1024 * 1024  # of states in memory, approximately
MAX_GROUP = 10_000  # upserts appended together
STATE_OVERHEAD_BYTES = 300
SLICE_BYTES = 4 * 1024 * 1024  # of states that are merged before other requests have a turn

T = TypeVar("T")

Ingest = Callable[[ParsedBatch, tuple[BatchKey, ...]], Awaitable[Receipt]]
"""Stores states, with the idempotency keys of the requests that they are of."""

Read = Callable[[str, Collection[str]], Awaitable[dict[str, CurrentState]]]
"""Reads the states of ids from a dataset."""


class Offload(Protocol):
    """Runs work, in a thread when its `size` in bytes of events is large."""

    async def __call__(self, work: Callable[[], T], size: int) -> T: ...


async def run_inline(work: Callable[[], T], size: int) -> T:
    """Run the work on the event loop."""
    return work()


class _UpsertRequest(Struct, frozen=True, eq=False):
    upserts: Sequence[Upsert]
    merge: Merge
    ingest: Ingest
    key: BatchKey | None  # of a request with an idempotency key
    received_ns: int
    rejections: list[Rejection]
    done: "asyncio.Future[None]"


class _UpsertDataset(Struct, eq=False):
    name: str
    primary_key: str
    generation: int  # a later dataset of the same name has another
    waiting: list[_UpsertRequest] = []
    worker: "asyncio.Task[None] | None" = None


class UpsertStore:
    """Merges upserts, with a cache of the states used last. To be used on the event loop."""

    def __init__(
        self,
        read: Read,
        *,
        max_event_bytes: int,
        max_cached_bytes: int = MAX_CACHED_BYTES,
        offload: Offload = run_inline,
    ) -> None:
        self._read = read
        self._offload = offload
        self._max_bytes = min(max_event_bytes, MAX_STATE_BYTES)
        self._max_cached_bytes = max_cached_bytes
        self._datasets: dict[str, _UpsertDataset] = {}
        self._cache: OrderedDict[tuple[str, int, str], tuple[CurrentState, int]] = OrderedDict()  # with its size
        self._cached_bytes = 0

    async def upsert(
        self,
        upserts: Sequence[Upsert],
        merge: Merge,
        ingest: Ingest,
        *,
        key: BatchKey | None = None,
        dataset: str,
        primary_key: str,
        generation: int,
        received_ns: int,
    ) -> list[Rejection]:
        """Merge each upsert into the state of its id; once all are durable, return those whose state is too large.

        Raise what `ingest` raises, or a query.
        """
        if not upserts:
            return []
        target = self._datasets.get(dataset)
        if target is None or target.generation != generation:
            target = self._datasets[dataset] = _UpsertDataset(dataset, primary_key, generation)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = _UpsertRequest(upserts, merge, ingest, key, received_ns, [], done)
        target.waiting.append(request)
        if target.worker is None:
            target.worker = asyncio.create_task(self._work(target))
        # Shielded: a client that hangs up must not cancel what others wait for.
        await asyncio.shield(done)
        return request.rejections

    async def _work(self, dataset: _UpsertDataset) -> None:
        while dataset.waiting:
            group: list[_UpsertRequest] = []
            size = 0
            while dataset.waiting and size < MAX_GROUP:
                group.append(dataset.waiting.pop(0))
                size += len(group[-1].upserts)
            try:
                await self._store(dataset, group)
            except TailraceError as error:
                _fail(group, error)
            except Exception as error:
                logger.exception("states of %r could not be stored", dataset.name)
                _fail(group, error)
            else:
                for request in group:
                    request.done.set_result(None)
        dataset.worker = None

    async def _store(self, dataset: _UpsertDataset, group: list[_UpsertRequest]) -> None:
        ids = {upsert.id for request in group for upsert in request.upserts}
        states: dict[str, CurrentState] = {}
        sizes: dict[str, int] = {}
        for state_id in ids:
            if (cached := self._cache.get((*_key(dataset), state_id))) is not None:
                states[state_id], sizes[state_id] = cached
        if missing := ids - states.keys():
            stored = await self._read(dataset.name, missing)
            states |= stored
            sizes |= {state_id: sum(map(len, state.members.values())) for state_id, state in stored.items()}
        changed: dict[str, bytes] = {}
        # In parts: a large state that is changed many times is much work for a small request.
        for part, size in _slices(group, sizes):
            await self._offload(partial(_merge, part, states, changed, dataset.primary_key, self._max_bytes), size)
        if not changed:
            return
        received_ns = max(request.received_ns for request in group)
        times = np.full(len(changed), received_ns, dtype=np.int64)
        events = b"".join(line + b"\n" for line in changed.values())
        try:
            keys = tuple(request.key for request in group if request.key is not None)
            await group[-1].ingest(ParsedBatch(events, times, len(changed), len(events)), keys)
        except BaseException:
            # Whether they were stored is not known: the next request reads them from the dataset.
            for state_id in changed:
                self._evict((*_key(dataset), state_id))
            raise
        for state_id, line in changed.items():
            self._cache_state((*_key(dataset), state_id), states[state_id], len(line))

    def _cache_state(self, key: tuple[str, int, str], state: CurrentState, size: int) -> None:
        size += STATE_OVERHEAD_BYTES
        self._evict(key)
        self._cached_bytes += size
        # Copied, or each state would keep the whole body of its request in memory.
        members = {name: Raw(bytes(value)) for name, value in state.members.items()}
        self._cache[key] = (CurrentState(state.revision, members), size)
        while self._cached_bytes > self._max_cached_bytes:
            _, (_, freed) = self._cache.popitem(last=False)
            self._cached_bytes -= freed

    def _evict(self, key: tuple[str, int, str]) -> None:
        before = self._cache.pop(key, None)
        if before is not None:
            self._cached_bytes -= before[1]


def _slices(
    group: Sequence[_UpsertRequest], sizes: dict[str, int]
) -> Iterator[tuple[list[tuple[_UpsertRequest, Upsert]], int]]:
    """Yield the upserts in order, in parts, with the approximate size of the states that each part changes."""
    part: list[tuple[_UpsertRequest, Upsert]] = []
    size = 0
    for request in group:
        for upsert in request.upserts:
            part.append((request, upsert))
            own = sum(map(len, upsert.members.values())) + STATE_OVERHEAD_BYTES
            sizes[upsert.id] = sizes.get(upsert.id, 0) + own
            size += sizes[upsert.id]
            if size >= SLICE_BYTES:
                yield part, size
                part, size = [], 0
    if part:
        yield part, size


def _merge(
    part: Sequence[tuple[_UpsertRequest, Upsert]],
    states: dict[str, CurrentState],
    changed: dict[str, bytes],
    primary_key: str,
    max_bytes: int,
) -> None:
    """Merge the upserts into the states, and put the rows to be written into `changed`."""
    for request, upsert in part:
        before = states.get(upsert.id, CurrentState(0, {}))
        after = CurrentState(before.revision + 1, request.merge(before.members, upsert.members))
        line = _line(primary_key, upsert.id, after)
        if len(line) > max_bytes or len(after.members) > MAX_STATE_FIELDS:
            reason = (
                f"the state of {upsert.id[:100]!r} would have {len(line)} bytes and {len(after.members)} values; "
                f"at most {max_bytes} and {MAX_STATE_FIELDS} are taken"
            )
            request.rejections.append(Rejection(upsert.index, reason, "event_too_large"))
            continue
        states[upsert.id] = after
        changed[upsert.id] = line


def _fail(group: list[_UpsertRequest], error: Exception) -> None:
    for request in group:
        request.done.set_exception(error)
        request.done.exception()  # marks it as retrieved, if nobody waits any more


def _line(primary_key: str, identity: str, state: CurrentState) -> bytes:
    return msgspec.json.encode({primary_key: identity, REVISION: state.revision, **state.members})


def _key(dataset: _UpsertDataset) -> tuple[str, int]:
    return dataset.name, dataset.generation
