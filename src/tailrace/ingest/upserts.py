"""Datasets of current states: an upsert appends the whole merged state of its id, and queries see the newest.

The requests for one dataset that come together are merged one after the other and appended together; the next ones
wait for that. So no update is lost, and no state is built on one that did not become durable.
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
from tailrace.events.upserts import MAX_STATE_BYTES, MAX_STATE_FIELDS, Merge, Upsert
from tailrace.lake import REVISION
from tailrace.query import State

logger = logging.getLogger(__name__)

MAX_KEPT_BYTES = 64 * 1024 * 1024  # of states in memory, about
MAX_GROUP = 10_000  # upserts appended together
STATE_OVERHEAD_BYTES = 300
SLICE_BYTES = 4 * 1024 * 1024  # of states that are merged at a stretch

T = TypeVar("T")

Read = Callable[[str, Collection[str]], Awaitable[dict[str, State]]]
"""The states of those ids that a dataset has."""


class Offload(Protocol):
    """Runs some work, beside the event loop when it is as much as many bytes of events are."""

    async def __call__(self, work: Callable[[], T], size: int) -> T: ...


async def at_once(work: Callable[[], T], size: int) -> T:
    """Run the work on the event loop's thread."""
    return work()


class _Request(Struct, frozen=True, eq=False):
    upserts: Sequence[Upsert]
    merge: Merge
    ingest: Callable[[ParsedBatch], Awaitable[Receipt]]
    received_ns: int
    rejections: list[Rejection]
    done: "asyncio.Future[None]"


class _Dataset(Struct, eq=False):
    name: str
    by: str  # its id field
    generation: int  # another dataset of the name has another
    waiting: list[_Request] = []
    working: "asyncio.Task[None] | None" = None


class UpsertStore:
    """What datasets of current states hold, as far as it was needed lately. Used on the event loop's thread only."""

    def __init__(
        self,
        read: Read,
        *,
        max_event_bytes: int,
        max_kept_bytes: int = MAX_KEPT_BYTES,
        offload: Offload = at_once,
    ) -> None:
        self._read = read
        self._offload = offload
        self._max_bytes = min(max_event_bytes, MAX_STATE_BYTES)
        self._max_kept_bytes = max_kept_bytes
        self._datasets: dict[str, _Dataset] = {}
        self._kept: OrderedDict[tuple[str, int, str], tuple[State, int]] = OrderedDict()  # with its size
        self._kept_bytes = 0

    async def upsert(
        self,
        upserts: Sequence[Upsert],
        merge: Merge,
        ingest: Callable[[ParsedBatch], Awaitable[Receipt]],
        *,
        dataset: str,
        by: str,
        generation: int,
        received_ns: int,
    ) -> list[Rejection]:
        """Merge each upsert into the state of its id; once all are durable, return those whose state is too large.

        Raises what `ingest` raises, or a query.
        """
        if not upserts:
            return []
        found = self._datasets.get(dataset)
        if found is None or found.generation != generation:
            found = self._datasets[dataset] = _Dataset(dataset, by, generation)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        request = _Request(upserts, merge, ingest, received_ns, [], done)
        found.waiting.append(request)
        if found.working is None:
            found.working = asyncio.create_task(self._work(found))
        # Shielded: a client that hangs up must not take the others' answer with it.
        await asyncio.shield(done)
        return request.rejections

    async def _work(self, dataset: _Dataset) -> None:
        while dataset.waiting:
            group: list[_Request] = []
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
        dataset.working = None

    async def _store(self, dataset: _Dataset, group: list[_Request]) -> None:
        wanted = {upsert.id for request in group for upsert in request.upserts}
        states: dict[str, State] = {}
        sizes: dict[str, int] = {}
        for each in wanted:
            if (kept := self._kept.get((*_key(dataset), each))) is not None:
                states[each], sizes[each] = kept
        if missing := wanted - states.keys():
            found = await self._read(dataset.name, missing)
            states |= found
            sizes |= {each: sum(map(len, state.members.values())) for each, state in found.items()}
        changed: dict[str, bytes] = {}
        # A large state that is changed many times is much work for a small request.
        for part, size in _slices(group, sizes):
            await self._offload(partial(_merge, part, states, changed, dataset.by, self._max_bytes), size)
        if not changed:
            return
        received_ns = max(request.received_ns for request in group)
        times = np.full(len(changed), received_ns, dtype=np.int64)
        events = b"".join(line + b"\n" for line in changed.values())
        try:
            await group[-1].ingest(ParsedBatch(events, times, len(changed), len(events)))
        except BaseException:
            # What is on disk now only the dataset itself can tell.
            for each in changed:
                self._drop((*_key(dataset), each))
            raise
        for each, line in changed.items():
            self._keep((*_key(dataset), each), states[each], len(line))

    def _keep(self, key: tuple[str, int, str], state: State, size: int) -> None:
        size += STATE_OVERHEAD_BYTES
        self._drop(key)
        self._kept_bytes += size
        # Copied, so that no state holds on to the body of the request that it came with.
        members = {name: Raw(bytes(value)) for name, value in state.members.items()}
        self._kept[key] = (State(state.revision, members), size)
        while self._kept_bytes > self._max_kept_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self._kept_bytes -= freed

    def _drop(self, key: tuple[str, int, str]) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._kept_bytes -= before[1]


def _slices(group: Sequence[_Request], sizes: dict[str, int]) -> Iterator[tuple[list[tuple[_Request, Upsert]], int]]:
    """Yield the upserts in order, some at a time, and about how many bytes of states they change."""
    part: list[tuple[_Request, Upsert]] = []
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
    part: Sequence[tuple[_Request, Upsert]],
    states: dict[str, State],
    changed: dict[str, bytes],
    by: str,
    max_bytes: int,
) -> None:
    """Merge the upserts into the states, and put the rows to be written into `changed`."""
    for request, upsert in part:
        before = states.get(upsert.id, State(0, {}))
        after = State(before.revision + 1, request.merge(before.members, upsert.members))
        line = _line(by, upsert.id, after)
        if len(line) > max_bytes or len(after.members) > MAX_STATE_FIELDS:
            reason = (
                f"the state of {upsert.id[:100]!r} would have {len(line)} bytes and {len(after.members)} values; "
                f"at most {max_bytes} and {MAX_STATE_FIELDS} are taken"
            )
            request.rejections.append(Rejection(upsert.index, reason, "event_too_large"))
            continue
        states[upsert.id] = after
        changed[upsert.id] = line


def _fail(group: list[_Request], error: Exception) -> None:
    for request in group:
        request.done.set_exception(error)
        request.done.exception()  # taken note of, should nobody wait any more


def _line(by: str, identity: str, state: State) -> bytes:
    return msgspec.json.encode({by: identity, REVISION: state.revision, **state.members})


def _key(dataset: _Dataset) -> tuple[str, int]:
    return dataset.name, dataset.generation
