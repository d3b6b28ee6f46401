"""The ingest service: checks a dataset, applies back pressure, appends to the log, and waits until that is durable."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from tailrace.access import (
    Access,
    Actor,
    AuditEntry,
    AuditResource,
    Sessions,
    audit_dataset,
    is_foreign,
    require_no_audit,
)
from tailrace.access.audit import DESCRIPTION as AUDIT_DESCRIPTION
from tailrace.access.audit import encode as encode_entry
from tailrace.events import (
    Batch,
    Conflict,
    DatasetExists,
    DatasetNotFound,
    OpenDataset,
    Overloaded,
    ParsedBatch,
    Receipt,
    Rejection,
    ShuttingDown,
    TailraceError,
)
from tailrace.events.declarations import DeclaredFields
from tailrace.events.idempotency import BatchKey, digest
from tailrace.events.outcome import RequestOutcome
from tailrace.events.times import rfc3339
from tailrace.events.upserts import Merge, Upsert
from tailrace.ingest.appender import Appender
from tailrace.ingest.declarations import AddMapFields, Declarations
from tailrace.ingest.deduplicator import MAX_REMEMBERED, Deduplicator
from tailrace.ingest.idempotency import Idempotency
from tailrace.ingest.idempotency_keys import IdempotencyKeys, RememberedKey
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.offloader import Offloader, OffloadingService
from tailrace.ingest.partial_deliveries import PartialDeliveries, StoredPart
from tailrace.ingest.upserts import UpsertStore
from tailrace.lake import AUDIT_KIND, DatasetStore
from tailrace.log import Log
from tailrace.parsing import Limits
from tailrace.query import CurrentState, Engine, StoredValue, current_states, stored_values
from tailrace.tail import Tails

T = TypeVar("T")
Labels = dict[str, Any]  # constant fields of every event

logger = logging.getLogger(__name__)

OVERLOAD_RETRY_AFTER_S = 1
NO_LABELS: Labels = {}


class NotReady(TailraceError):
    """The log is still being replayed after a start."""

    status = 503
    code = "not_ready"
    retryable = True


class IngestCounters(Protocol):
    """The counters that the service increments."""

    def count_ingested(self, protocol: str, events: int, processed_bytes: int) -> None:
        """Count events that became durable."""
        ...

    def count_refusal(self, protocol: str, code: str) -> None:
        """Count a write that failed and that no request is answered for."""
        ...


def check_backlog(backlog_bytes: int, most_bytes: int) -> None:
    """Raise Overloaded where more waits to be shredded than may."""
    if backlog_bytes > most_bytes:
        raise Overloaded(
            f"more than {most_bytes} bytes of events wait to be shredded (shred_backlog_bytes): try again later",
            retry_after_s=OVERLOAD_RETRY_AFTER_S,
        )


class LogIngestService(OffloadingService):
    """A service over one log and one lake; everything but the log's callback runs on the event loop's thread."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        log: Log,
        lake: DatasetStore,
        access: Access,
        sessions: Sessions,
        limits: Limits,
        counters: IngestCounters,
        max_backlog_bytes: int,
        executor: ThreadPoolExecutor,
        lookups: Lookups,
        tails: Tails,
        keys: IdempotencyKeys,
        add_map_fields: AddMapFields,
    ) -> None:
        super().__init__(limits, Offloader(loop, executor))
        self.access = access
        self.sessions = sessions
        self._loop = loop
        self._appender = Appender(loop, log, self._publish)
        self._lake = lake
        self._counters = counters
        self._max_backlog_bytes = max_backlog_bytes
        self._executor = executor
        self._lookups = lookups
        self._tails = tails
        self._deduplicator = Deduplicator(self._stored_ids)
        self._idempotency = Idempotency(keys)
        self._declarations = Declarations(lake, add_map_fields, partial(loop.run_in_executor, executor))
        self._partial_deliveries = PartialDeliveries()
        self._upserts = UpsertStore(self._current_states, max_event_bytes=limits.max_event_bytes, offload=self.offload)
        self._closed: TailraceError | None = NotReady(
            "the server is starting: the log is being replayed", retry_after_s=1
        )

    def open(self) -> None:
        """Accept events; until then requests are refused with NotReady."""
        self._closed = None

    def close(self) -> None:
        """Refuse events from now on, with ShuttingDown."""
        self._closed = ShuttingDown("the server is shutting down", retry_after_s=5)

    @property
    def closed(self) -> TailraceError | None:
        """Why events are refused, None while they are accepted."""
        return self._closed

    def check_dataset(self, name: str) -> OpenDataset:
        """Return the dataset that events are for, before the body is read.

        Raise ShuttingDown, NotReady, Forbidden for an audit trail, DatasetNotFound, DatasetUnavailable, Overloaded.
        """
        self._check_open()
        require_no_audit(name)
        return self._open_dataset(name)

    async def ensure_dataset(self, name: str, *, organisation: str, actor: Actor, primary_key: str = "") -> OpenDataset:
        """Return the organisation's dataset, created if missing; a creation goes into the audit trail.

        With a `primary_key` it is a dataset of current states, into which `upsert` merges by the field of that name.
        `actor` is the credential that sends. Raise what `check_dataset` raises, InvalidName, and Conflict at
        `max_datasets`, or where a dataset of the name has no such primary key or is another organisation's.
        """
        self._check_open()
        require_no_audit(name)
        if not self._lake.has(name):
            create = partial(self._lake.create, name, primary_key=primary_key, organisation=organisation)
            with suppress(DatasetExists):  # by another request meanwhile
                await self._loop.run_in_executor(self._executor, create)
                resource = AuditResource("dataset", name, name)
                await self.record(AuditEntry(organisation, "createDataset", actor, resource))
        if is_foreign(organisation, name, self._lake.organisation):
            raise Conflict(f"dataset {name!r} is another organisation's")
        dataset = self._open_dataset(name)
        if primary_key and dataset.primary_key != primary_key:
            raise Conflict(f"dataset {name!r} exists already and is none of current states: drop it, or rename it")
        return dataset

    async def declare(self, dataset: OpenDataset, fields: DeclaredFields) -> None:
        """Have the dataset read fields as they are declared, each once, and return once that is durable.

        Raise DatasetNotFound, DatasetUnavailable, DiskFull, Overloaded, StorageUnavailable.
        """
        await self._declarations.declare(dataset.name, fields)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise self._closed

    def _open_dataset(self, name: str) -> OpenDataset:
        info = self._lake.get(name)
        self._check_backlog()
        return OpenDataset(name, info.created_ns, info.primary_key)

    def _check_backlog(self) -> None:
        check_backlog(self._lake.backlog_bytes, self._max_backlog_bytes)

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

        A batch without events is not appended: its receipt has position 0.
        Raise DatasetNotFound, DatasetUnavailable, Overloaded, DiskFull, ShuttingDown.
        """
        store = partial(self._store, dataset, outcome, received_ns, labels, parsed)
        key = self._batch_key(outcome, dataset, parsed.count)
        if key is None:
            receipt = await store()
        else:
            receipt = await self._store_once(key, received_ns, parsed, partial(store, (key,)))
        if receipt.rejections:
            outcome.reject(receipt.rejections)
        return receipt

    async def ingest_part(
        self,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: Labels,
    ) -> Receipt:
        """Do as `ingest` does for one of several datasets of a request, but for a part that `keep_part` has of it."""
        if self._partial_deliveries and outcome.idempotency is None:
            part_digest = await self._part_digest(parsed, dataset, outcome, received_ns, labels)
            part = self._partial_deliveries.take(part_digest, received_ns)
            if part is not None:
                outcome.reject(parsed.rejections)
                return Receipt(part.count, parsed.rejections, parsed.processed_bytes, part.position)
        return await self.ingest(parsed, dataset, outcome, received_ns=received_ns, labels=labels)

    async def keep_part(
        self,
        receipt: Receipt,
        parsed: ParsedBatch,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
        labels: Labels,
    ) -> None:
        """Keep in memory what is stored of a request that is answered with an error and is to be sent again."""
        if receipt.stored and outcome.idempotency is None:
            part_digest = await self._part_digest(parsed, dataset, outcome, received_ns, labels)
            self._partial_deliveries.put(part_digest, StoredPart(receipt.stored, receipt.position, received_ns))

    async def _part_digest(
        self, parsed: ParsedBatch, dataset: OpenDataset, outcome: RequestOutcome, received_ns: int, labels: Labels
    ) -> bytes:
        whose = f"{outcome.protocol} {outcome.sender} {dataset.created_ns} {dataset.name}".encode()
        # An event that was sent without a time may have that of its receipt, which is another in a repetition.
        untimed = parsed.events.replace(b"%d" % received_ns, b"")
        return await self.offload(partial(digest, whose, msgspec.json.encode(labels), untimed), len(untimed))

    async def ingest_once(
        self,
        parsed: ParsedBatch,
        ids: Sequence[str | None],
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        id_field: str,
        window_s: float,
        received_ns: int,
        labels: Labels,
    ) -> Receipt:
        """Ingest the events whose id was not stored in the window before, each id once; return as `ingest` does.

        `ids` has one id for each event of `parsed`, in the same order, which is the text that the event has in
        `id_field`, a top-level field; an event whose id is None or empty is always ingested. The receipt counts only
        the events that are stored now, and names those that were before. Raise what `ingest` raises, or a query.
        """
        key = self._batch_key(outcome, dataset, parsed.count)

        def store(selected: ParsedBatch) -> Awaitable[Receipt]:
            keys = () if key is None else (replace(key, count=selected.count),)
            return self._store(dataset, outcome, received_ns, labels, selected, keys)

        deduplicate = partial(
            self._deduplicator.ingest,
            parsed,
            ids,
            store,
            dataset=dataset.name,
            field=id_field,
            generation=dataset.created_ns,
            window_ns=int(window_s * 1_000_000_000),
            received_ns=received_ns,
        )
        if key is None:
            receipt = await deduplicate()
        else:
            receipt = await self._store_once(key, received_ns, parsed, deduplicate)
        outcome.reject(receipt.rejections)
        return receipt

    async def upsert(
        self,
        upserts: Sequence[Upsert],
        merge: Merge,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        *,
        received_ns: int,
    ) -> list[Rejection]:
        """Merge each upsert into the current state of its id, and return once that is durable.

        Return the rejections: the upserts whose merged state would be too large, which are not stored. Raise what
        `ingest` raises, or a query.
        """
        key = self._batch_key(outcome, dataset, len(upserts))
        store = partial(
            self._upserts.upsert,
            upserts,
            merge,
            partial(self._store, dataset, outcome, received_ns, NO_LABELS),
            key=key,
            dataset=dataset.name,
            primary_key=dataset.primary_key,
            generation=dataset.created_ns,
            received_ns=received_ns,
        )
        rejections = await (store() if key is None else self._idempotency.once(key, received_ns, store))
        if isinstance(rejections, RememberedKey):
            return []
        outcome.reject(rejections)
        return rejections

    def _batch_key(self, outcome: RequestOutcome, dataset: OpenDataset, count: int) -> BatchKey | None:
        """Return the key of a request's next batch of so many events, None where none is to be remembered."""
        if outcome.idempotency is None or not self._idempotency.is_on:
            return None
        return outcome.idempotency.batch_key(outcome.sender, dataset.name, dataset.created_ns, count)

    async def _store_once(
        self, key: BatchKey, received_ns: int, parsed: ParsedBatch, store: Callable[[], Awaitable[Receipt]]
    ) -> Receipt:
        """Return the receipt of what was stored under the key before, or else of `store`."""
        stored = await self._idempotency.once(key, received_ns, store)
        if isinstance(stored, RememberedKey):
            return Receipt(stored.count, parsed.rejections, parsed.processed_bytes, stored.position)
        return stored

    async def _store(
        self,
        dataset: OpenDataset,
        outcome: RequestOutcome,
        received_ns: int,
        labels: Labels,
        parsed: ParsedBatch,
        keys: tuple[BatchKey, ...] = (),
    ) -> Receipt:
        """Append a batch to the log and return once it is durable; count it, but not its rejections.

        Raise DatasetNotFound where the dataset was dropped since `dataset` was opened, and what `ingest` raises.
        """
        self._check_open()
        # While the body was read the dataset may have been dropped, and another one created under its name.
        if self._lake.get(dataset.name).created_ns != dataset.created_ns:
            raise DatasetNotFound(f"dataset {dataset.name!r} was dropped while the request came in")
        self._check_backlog()
        if not parsed.count:
            return Receipt(0, parsed.rejections, parsed.processed_bytes, 0)
        batch = Batch(
            dataset=dataset.name,
            events=parsed.events,
            times=parsed.times,
            count=parsed.count,
            received_ns=received_ns,
            labels=labels,
            keys=keys,
        )
        position = await self._appender.append(batch)
        outcome.stored_bytes += parsed.processed_bytes
        self._counters.count_ingested(outcome.protocol, parsed.count, parsed.processed_bytes)
        return Receipt(parsed.count, parsed.rejections, parsed.processed_bytes, position)

    async def record(self, entry: AuditEntry) -> None:
        """Append an entry to the audit trail of its organisation, created if missing; return once it is durable.

        An entry that cannot be written is logged in full: its action was done, and is not undone.
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
            await self._appender.append(Batch(dataset, line, np.array([now_ns], dtype=np.int64), 1, now_ns))
        except (TailraceError, OSError) as error:
            self._counters.count_refusal("audit", error.code if isinstance(error, TailraceError) else "io_error")
            logger.error("the audit trail could not be written: %s: %s", error, line.decode().rstrip())

    async def _stored_ids(self, dataset: str, field: str, since_ns: int, among: Collection[str]) -> list[StoredValue]:
        def look_up(engine: Engine) -> list[StoredValue]:
            return stored_values(
                self._lake, engine, dataset, field, since_ns=since_ns, most=MAX_REMEMBERED, among=among
            )

        return await self._lookups.run(look_up)

    async def _current_states(self, dataset: str, ids: Collection[str]) -> dict[str, CurrentState]:
        return await self._lookups.run(lambda engine: current_states(self._lake, engine, dataset, ids))

    def _publish(self, batch: Batch) -> None:
        if self._tails.is_read:
            self._tails.publish(batch)

    def uncommitted(self, dataset: str) -> int:
        """Return how many events of the dataset are durable but not yet in its table."""
        return self._lake.uncommitted(dataset)
