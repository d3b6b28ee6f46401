"""The way from a protocol to the log: checks, back pressure, and waiting until events are durable."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tailrace.access import Access, Actor, Entry, Resource, Sessions, audit_dataset, is_foreign, require_no_audit
from tailrace.access.audit import DESCRIPTION as AUDIT_DESCRIPTION
from tailrace.access.audit import encode as encode_entry
from tailrace.api.tails import Tails
from tailrace.events import (
    Batch,
    Conflict,
    DatasetExists,
    Overloaded,
    ParsedBatch,
    Receipt,
    Rejection,
    ShuttingDown,
    TailraceError,
)
from tailrace.events.times import rfc3339
from tailrace.lake import AUDIT_KIND, Lake
from tailrace.log import LocalLog
from tailrace.parsing import Limits
from tailrace.protocols.http import DEFAULT_OPTIONS, Merge, Options, Upsert
from tailrace.protocols.outcome import Outcome
from tailrace.query import DuckDB, State, Stored, current_states, stored_values
from tailrace.server.deduplicator import MAX_REMEMBERED, Deduplicator
from tailrace.server.lookups import Lookups
from tailrace.server.metrics import Metrics
from tailrace.server.upserts import UpsertStore

T = TypeVar("T")

logger = logging.getLogger("tailrace.server")

OVERLOAD_RETRY_AFTER_S = 1
TRANSACTION_ID = "transaction_id"  # the field with the id by which `ingest_once` knows an event
OFFLOAD_BYTES = 256 * 1024  # a body at least this large is parsed beside the event loop


class NotReady(TailraceError):
    """The log is still being replayed after a start."""

    status = 503
    code = "not_ready"
    retryable = True


class LogIngestService:
    """A service over one log and one lake; everything but the log's callback runs on the event loop's thread."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        log: LocalLog,
        lake: Lake,
        access: Access,
        sessions: Sessions,
        limits: Limits,
        metrics: Metrics,
        max_backlog_bytes: int,
        executor: ThreadPoolExecutor,
        lookups: Lookups,
        tails: Tails,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        self.access = access
        self.sessions = sessions
        self.limits = limits
        self.options = options
        self._loop = loop
        self._log = log
        self._lake = lake
        self._metrics = metrics
        self._max_backlog_bytes = max_backlog_bytes
        self._executor = executor
        self._lookups = lookups
        self._tails = tails
        self._once = Deduplicator(self._stored_ids)
        self._states = UpsertStore(self._current_states, max_event_bytes=limits.max_event_bytes, offload=self.offload)
        self._closed: TailraceError | None = NotReady(
            "the server is starting: the log is being replayed", retry_after_s=1
        )
        self._durable: deque[tuple[asyncio.Future[int], Batch, int | None, TailraceError | None]] = deque()
        self._woken = False
        self._waiting: list[tuple[Batch, asyncio.Future[int]]] = []

    def open(self) -> None:
        """Lets events through; until then every request is told to come back."""
        self._closed = None

    def close(self) -> None:
        """Lets no more events through."""
        self._closed = ShuttingDown("the server is shutting down", retry_after_s=5)

    @property
    def closed(self) -> TailraceError | None:
        """Why no events are let through, None while they are."""
        return self._closed

    def check_dataset(self, dataset: str) -> None:
        """Raises what `ingest` would raise, before a body is read for nothing."""
        if self._closed is not None:
            raise self._closed
        require_no_audit(dataset)
        self._lake.check(dataset)
        if self._lake.backlog_bytes > self._max_backlog_bytes:
            raise Overloaded(
                f"more than {self._max_backlog_bytes} bytes of events wait to be shredded "
                "(shred_backlog_bytes): try again later",
                retry_after_s=OVERLOAD_RETRY_AFTER_S,
            )

    async def ensure_dataset(self, dataset: str, *, organisation: str, key: str, primary_key: str = "") -> None:
        """Makes the organisation's dataset where there is none; with an id field one of current states.

        `key` is the id of the key that it is made for. Raises Forbidden for an audit trail, InvalidName, NotReady, and
        Conflict at `max_datasets` or where a dataset of the name is of the other sort or another organisation's.
        """
        if self._closed is not None:
            raise self._closed
        require_no_audit(dataset)
        if not self._lake.has(dataset):
            create = partial(self._lake.create, dataset, primary_key=primary_key, organisation=organisation)
            with suppress(DatasetExists):  # by another request meanwhile
                await self._loop.run_in_executor(self._executor, create)
                made = Resource("dataset", dataset, dataset)
                await self.record(Entry(organisation, "createDataset", Actor("key", key), made))
        if is_foreign(organisation, dataset, self._lake.organisation):
            raise Conflict(f"dataset {dataset!r} is another organisation's")
        if primary_key and self._lake.get(dataset).primary_key != primary_key:
            raise Conflict(f"dataset {dataset!r} exists already and is none of current states: drop it, or rename it")

    async def offload(self, work: Callable[[], T], size: int) -> T:
        """`work()`, on the event loop's thread where it is little, beside it where it is as much as OFFLOAD_BYTES."""
        if size < OFFLOAD_BYTES:
            return work()
        return await self._loop.run_in_executor(self._executor, work)

    async def ingest(
        self, parsed: ParsedBatch, *, dataset: str, labels: dict[str, Any], protocol: str, received_ns: int
    ) -> Receipt:
        """Appends the events to the log and returns once they are flushed to disk.

        A batch without events takes no place in the log: its receipt has offset 0.
        Raises DatasetNotFound, DatasetUnavailable, Overloaded, DiskFull, ShuttingDown.
        """
        self.check_dataset(dataset)
        if not parsed.count:
            return Receipt(0, parsed.rejections, parsed.processed_bytes, 0)
        batch = Batch(
            dataset=dataset,
            events=parsed.events,
            times=parsed.times,
            count=parsed.count,
            received_ns=received_ns,
            labels=labels,
        )
        position = await self._appended(batch)
        self._metrics.count_ingested(protocol, parsed.count, parsed.processed_bytes)
        return Receipt(parsed.count, parsed.rejections, parsed.processed_bytes, position)

    async def record(self, entry: Entry) -> None:
        """Puts an act into the audit trail of its organisation, made if missing; returns once it is durable.

        What cannot be written is logged, whole: the act it tells of was done, and is not undone for that.
        """
        dataset, now_ns = audit_dataset(entry.organisation), time.time_ns()
        line = encode_entry(entry, rfc3339(now_ns)) + b"\n"
        try:
            if not self._lake.has(dataset):
                create = partial(
                    self._lake.create,
                    dataset,
                    description=AUDIT_DESCRIPTION,
                    kind=AUDIT_KIND,
                    organisation=entry.organisation,
                )
                with suppress(DatasetExists):  # by another request meanwhile
                    await self._loop.run_in_executor(self._executor, create)
            self._lake.check(dataset)
            await self._appended(Batch(dataset, line, np.array([now_ns], dtype=np.int64), 1, now_ns))
        except (TailraceError, OSError) as error:
            self._metrics.count_refusal("audit", error.code if isinstance(error, TailraceError) else "io_error")
            logger.error("the audit trail could not be written: %s: %s", error, line.decode().rstrip())

    async def _appended(self, batch: Batch) -> int:
        """The position of a batch in the log, once it is durable."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((batch, future))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._append_waiting)
        return await future

    async def ingest_once(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        *,
        window_s: float,
        dataset: str,
        labels: dict[str, Any],
        protocol: str,
        received_ns: int,
    ) -> Receipt:
        """`ingest`, but for the events whose id was stored in the window before, or comes a second time."""
        self.check_dataset(dataset)
        return await self._once.ingest(
            parsed,
            ids,
            partial(self.ingest, dataset=dataset, labels=labels, protocol=protocol, received_ns=received_ns),
            dataset=dataset,
            generation=self._lake.get(dataset).created_ns,
            window_ns=int(window_s * 1_000_000_000),
            received_ns=received_ns,
        )

    async def upsert(
        self, upserts: Sequence[Upsert], merge: Merge, *, dataset: str, protocol: str, received_ns: int
    ) -> list[Rejection]:
        """Merges each upsert into the current state of its id, and returns once that is durable."""
        self.check_dataset(dataset)
        info = self._lake.get(dataset)
        return await self._states.upsert(
            upserts,
            merge,
            partial(self.ingest, dataset=dataset, labels={}, protocol=protocol, received_ns=received_ns),
            dataset=dataset,
            by=info.primary_key,
            generation=info.created_ns,
            received_ns=received_ns,
        )

    async def _stored_ids(self, dataset: str, since_ns: int, among: Collection[str]) -> list[Stored]:
        def look_up(engine: DuckDB) -> list[Stored]:
            return stored_values(
                self._lake, engine, dataset, TRANSACTION_ID, since_ns=since_ns, most=MAX_REMEMBERED, among=among
            )

        return await self._lookups.run(look_up)

    async def _current_states(self, dataset: str, ids: Collection[str]) -> dict[str, State]:
        return await self._lookups.run(lambda engine: current_states(self._lake, engine, dataset, ids))

    def uncommitted(self, dataset: str) -> int:
        """How many events of the dataset are durable but not yet in its table."""
        return self._lake.uncommitted(dataset)

    def _append_waiting(self) -> None:
        """Hands the log together what came in together: one group, one flush, and its thread is woken once."""
        waiting, self._waiting = self._waiting, []
        for batch, future in waiting:
            try:
                self._log.append(batch, partial(self._on_durable, future, batch))
            except TailraceError as error:
                if not future.done():
                    future.set_exception(error)

    def _on_durable(
        self, future: asyncio.Future[int], batch: Batch, position: int | None, error: TailraceError | None
    ) -> None:
        """Called by the log's thread, once a batch: only the first of a group wakes the event loop."""
        self._durable.append((future, batch, position, error))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        # The flag falls before the queue is emptied: what is appended after the last look wakes again.
        self._woken = False
        durable = self._durable
        while durable:
            future, batch, position, error = durable.popleft()
            if position is not None and self._tails.is_read:
                self._tails.publish(batch)
            if future.done():
                continue
            if position is not None:
                future.set_result(position)
            else:
                future.set_exception(error or TailraceError("the log gave no position"))


class RequestIngestService:
    """The service as one request has it: what is refused of its events is noted with what becomes of the request."""

    __slots__ = ("_outcome", "_service")

    def __init__(self, service: LogIngestService, outcome: Outcome) -> None:
        self._service = service
        self._outcome = outcome

    @property
    def access(self) -> Access:
        """Tokens and what they may do."""
        return self._service.access

    @property
    def sessions(self) -> Sessions:
        """Tokens of Datamix's sessions."""
        return self._service.sessions

    @property
    def limits(self) -> Limits:
        """How large a body, an event and its parts may be."""
        return self._service.limits

    @property
    def options(self) -> Options:
        """What the operator chose of the protocols' behaviour."""
        return self._service.options

    @property
    def closed(self) -> TailraceError | None:
        """Why no events are let through, None while they are."""
        return self._service.closed

    async def ensure_dataset(self, dataset: str, *, organisation: str, key: str, primary_key: str = "") -> None:
        """As the service's."""
        await self._service.ensure_dataset(dataset, organisation=organisation, key=key, primary_key=primary_key)

    def check_dataset(self, dataset: str) -> None:
        """As the service's."""
        self._service.check_dataset(dataset)

    async def offload(self, work: Callable[[], T], size: int) -> T:
        """As the service's."""
        return await self._service.offload(work, size)

    async def ingest(
        self, parsed: ParsedBatch, *, dataset: str, labels: dict[str, Any], protocol: str, received_ns: int
    ) -> Receipt:
        """As the service's."""
        receipt = await self._service.ingest(
            parsed, dataset=dataset, labels=labels, protocol=protocol, received_ns=received_ns
        )
        self.refuse(receipt.rejections)
        return receipt

    async def ingest_once(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        *,
        window_s: float,
        dataset: str,
        labels: dict[str, Any],
        protocol: str,
        received_ns: int,
    ) -> Receipt:
        """As the service's."""
        receipt = await self._service.ingest_once(
            parsed, ids, window_s=window_s, dataset=dataset, labels=labels, protocol=protocol, received_ns=received_ns
        )
        self.refuse(receipt.rejections)
        return receipt

    async def upsert(
        self, upserts: Sequence[Upsert], merge: Merge, *, dataset: str, protocol: str, received_ns: int
    ) -> list[Rejection]:
        """As the service's."""
        rejections = await self._service.upsert(
            upserts, merge, dataset=dataset, protocol=protocol, received_ns=received_ns
        )
        self.refuse(rejections)
        return rejections

    def refuse(self, rejections: Sequence[Rejection]) -> None:
        """Note events that were refused before it came to a batch."""
        if rejections:
            self._outcome.reject(rejections)

    def uncommitted(self, dataset: str) -> int:
        """As the service's."""
        return self._service.uncommitted(dataset)
