"""The ingest service of a worker: it stores what needs nothing but its own log, and has all else passed on."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, Protocol

from msgspec import Struct

from tailrace.access import Access, Actor, Sessions, is_foreign, require_no_audit
from tailrace.events import (
    Batch,
    DatasetNotFound,
    OpenDataset,
    ParsedBatch,
    Receipt,
    TailraceError,
)
from tailrace.events.declarations import DeclaredFields
from tailrace.events.outcome import RequestOutcome
from tailrace.ingest.appender import Appender
from tailrace.ingest.offloader import Offloader, OffloadingService
from tailrace.ingest.service import IngestCounters, Labels, check_backlog
from tailrace.log import Log
from tailrace.parsing import Limits

MERGED_EVENTS = 1000  # batches in a row with fewer are released together

logger = logging.getLogger(__name__)


class PassedOn(Exception):
    """A request that the main process, or the leader of a fleet, is to answer; nothing of it is stored.

    `learned` is to be called once it was answered well.
    """

    def __init__(self, learned: Callable[[], None] | None = None) -> None:
        super().__init__("the main process is to answer")
        self.learned = learned


class KnownDataset(Struct, frozen=True):
    """What a worker knows of a dataset that accepts events."""

    created_ns: int
    primary_key: str
    organisation: str  # "" for the first one


class DatasetRevision(Protocol):
    """A number that is another one after every change that makes what is known of datasets wrong."""

    @property
    def number(self) -> int:
        """The number now."""
        ...


AskDataset = Callable[[str], Awaitable[tuple[int, KnownDataset | None]]]
"""Returns the revision as of which the answer is right, and what is known; None where it accepts no events."""


class KnownDatasets:
    """The datasets that a worker knows of. Made on the event loop; `get` and `organisation` are for any thread.

    One that it does not know is asked for beside the request that is passed on for it.
    """

    def __init__(self, revision: DatasetRevision, ask: AskDataset) -> None:
        self._revision = revision
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, KnownDataset] = {}
        self._known_revision = -1
        self._asking: dict[str, asyncio.Task[None]] = {}

    def get(self, name: str) -> KnownDataset:
        """Return what is known of a dataset. Raise PassedOn."""
        number = self._revision.number
        if number != self._known_revision:
            self._known.clear()
            self._known_revision = number
        known = self._known.get(name)
        if known is None:
            self._loop.call_soon_threadsafe(self._begin_learning, name)
            raise PassedOn
        return known

    def organisation(self, name: str) -> str:
        """Return the organisation of a dataset, "" for the first one. Raise PassedOn."""
        return self.get(name).organisation

    def _begin_learning(self, name: str) -> None:
        if name not in self._asking:
            self._asking[name] = self._loop.create_task(self._learn(name))

    async def _learn(self, name: str) -> None:
        try:
            revision, known = await self._ask(name)
        except OSError as error:
            logger.warning("the main process was asked for a dataset and does not answer: %s", error)
        else:
            if known is not None and revision == self._known_revision:
                self._known[name] = known
        finally:
            del self._asking[name]


class DatasetKnowledge(Protocol):
    """What is known of the datasets."""

    def get(self, name: str) -> KnownDataset:
        """Return what is known of a dataset that accepts events. Raise PassedOn."""
        ...

    def organisation(self, name: str) -> str:
        """Return the organisation of a dataset, "" for the first one. Raise PassedOn."""
        ...


class Pressure(Protocol):
    """What is known of the lake's memory."""

    @property
    def backlog_bytes(self) -> int:
        """The size of the batches that are durable but not yet shredded."""
        ...


class WorkerIngestService(OffloadingService):
    """A service over a log alone. To be used on the event loop's thread.

    Whatever needs the memory of one process raises PassedOn before anything of the request is stored: datasets that are
    made, fields that are declared, ids and keys that are remembered, states that are merged, several parts.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        datasets: DatasetKnowledge,
        access: Access,
        limits: Limits,
        counters: IngestCounters,
        pressure: Pressure,
        max_backlog_bytes: int,
        executor: ThreadPoolExecutor,
    ) -> None:
        super().__init__(limits, Offloader(loop, executor))
        self.access = access
        self.closed: TailraceError | None = None
        self._datasets = datasets
        self._counters = counters
        self._pressure = pressure
        self._max_backlog_bytes = max_backlog_bytes
        self._appender = Appender(loop, log)
        self._declared: set[tuple[int, str, frozenset[tuple[str, str]]]] = set()
        self._uncommitted = _Uncommitted()

    @property
    def sessions(self) -> Sessions:
        """Raise PassedOn: what is known of sessions is in one memory."""
        raise PassedOn

    def check_dataset(self, name: str) -> OpenDataset:
        """Return the dataset that events are for. Raise PassedOn, Forbidden for an audit trail, Overloaded."""
        require_no_audit(name)
        known = self._datasets.get(name)
        check_backlog(self._pressure.backlog_bytes, self._max_backlog_bytes)
        return OpenDataset(name, known.created_ns, known.primary_key)

    async def ensure_dataset(self, name: str, *, organisation: str, actor: Actor, primary_key: str = "") -> OpenDataset:
        """Return the dataset where it is there and the organisation's. Raise PassedOn, Overloaded."""
        dataset = self.check_dataset(name)
        if is_foreign(organisation, name, self._datasets.organisation) or dataset.primary_key != primary_key:
            raise PassedOn
        return dataset

    async def declare(self, dataset: OpenDataset, fields: DeclaredFields) -> None:
        """Return where the fields are declared. Raise PassedOn."""
        declared = (dataset.created_ns, dataset.name, frozenset(fields.items()))
        if declared not in self._declared:
            raise PassedOn(lambda: self._declared.add(declared))

    async def ingest(
        self,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: Labels,
    ) -> Receipt:
        """Append the events to the log and return once they are flushed to disk; add the rejections to `outcome`.

        It is called once for a request. Raise PassedOn, DatasetNotFound, Overloaded, DiskFull, ShuttingDown.
        """
        if outcome.idempotency is not None:
            raise PassedOn
        if self._datasets.get(dataset.name).created_ns != dataset.created_ns:
            raise DatasetNotFound(f"dataset {dataset.name!r} was dropped while the request came in")
        check_backlog(self._pressure.backlog_bytes, self._max_backlog_bytes)
        position = 0
        if parsed.count:
            batch = Batch(
                dataset=dataset.name,
                events=parsed.events,
                times=parsed.times,
                count=parsed.count,
                received_ns=received_ns,
                labels=labels,
            )
            position = await self._appender.append(batch)
            self._uncommitted.add(dataset.name, parsed.count, position)
            outcome.stored_bytes += parsed.processed_bytes
            self._counters.count_ingested(outcome.protocol, parsed.count, parsed.processed_bytes)
        if parsed.rejections:
            outcome.reject(parsed.rejections)
        return Receipt(parsed.count, parsed.rejections, parsed.processed_bytes, position)

    async def ingest_part(self, *_: Any, **__: Any) -> NoReturn:
        """Raise PassedOn: what is stored of a request in part is remembered in one memory."""
        raise PassedOn

    async def keep_part(self, *_: Any, **__: Any) -> None:
        """Do nothing: a request with one batch stored it or did not."""

    async def ingest_once(self, *_: Any, **__: Any) -> NoReturn:
        """Raise PassedOn: ids are remembered in one memory."""
        raise PassedOn

    async def upsert(self, *_: Any, **__: Any) -> NoReturn:
        """Raise PassedOn: states are merged in one memory."""
        raise PassedOn

    def released(self, position: int) -> None:
        """Note that what is in the log up to a position is in tables."""
        self._uncommitted.release(position)

    def uncommitted(self, dataset: str) -> int:
        """Return how many events of the dataset this worker stored that may not be in its table yet."""
        return self._uncommitted.counts[dataset]


class _Uncommitted:
    """Events of a log that are not released, by dataset; of some that are released with later ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._batches: deque[tuple[int, str, int]] = deque()  # position, dataset, count

    def add(self, dataset: str, count: int, position: int) -> None:
        self.counts[dataset] += count
        if self._batches and self._batches[-1][1] == dataset and self._batches[-1][2] < MERGED_EVENTS:
            count += self._batches.pop()[2]
        self._batches.append((position, dataset, count))

    def release(self, position: int) -> None:
        batches = self._batches
        while batches and batches[0][0] <= position:
            _, dataset, count = batches.popleft()
            self.counts[dataset] -= count
            if not self.counts[dataset]:
                del self.counts[dataset]
