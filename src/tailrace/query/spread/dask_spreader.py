"""Parts of queries as tasks of Dask workers."""

import asyncio
import concurrent.futures
import logging
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pyarrow as pa
from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError, _wait

from tailrace import events
from tailrace.events import QueryFailed
from tailrace.events.sizes import MIB
from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.arrow_stream import deserialized, serialized
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import BucketQuery, RunningParts, Spreader, SpreadUnavailable
from tailrace.query.settings import QueryLimits
from tailrace.query.spread.buckets import rows_of_bucket
from tailrace.query.spread.settings import SpreadSettings
from tailrace.query.spread.task import BucketRows, PartFailed, bucket_of, resource_name, run_bucket, run_part, size_of

CONNECT_S = 3.0
AGAIN_AFTER_S = 5.0  # since a scheduler did not answer
GATHER_BYTES = 16 * MIB  # up to which to divide the rows of parts takes more than to gather them
GRACE_S = 1.0  # of a part past the query's time, which is watched here
RETRIES = 2  # of a part that fails where it need not
WAIT_S = 0.02
LOOK_EVERY_S = 1.0  # at whether there are workers
WENT_AWAY = "the Dask scheduler went away while it ran"

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class DaskSpreader(Spreader):
    """Runs parts on the workers of a Dask scheduler, once it is needed and answers."""

    def __init__(self, settings: SpreadSettings, tables: TableRoot, limits: QueryLimits) -> None:
        self.spread_bytes = settings.spread_bytes
        self.gather_bytes = min(GATHER_BYTES, limits.max_bytes)
        self._address = settings.dask
        self._tables = tables
        self._limits = limits
        self._lock = threading.Lock()
        self._connected: Client | None = None
        self._failed_s = 0.0  # monotonic, when it was last not there
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            client, self._connected = self._connected, None
        if client is not None:
            _close(client, CONNECT_S)

    def width(self) -> int:
        workers = self._workers(self._client())
        name = resource_name()
        width = sum(int(resources.get(name, 0)) for resources in workers.values())
        if width:
            return width
        others = {own for resources in workers.values() for own in resources if own.startswith("tailrace ")}
        if others:
            versions = "; ".join(sorted(others))
            raise SpreadUnavailable(f"no Dask worker is of {name}, as this server is, but of {versions}")
        raise SpreadUnavailable(f"the Dask scheduler {self._address} has no worker that `tailrace worker` started")

    @contextmanager
    def started(self, parts: Sequence[str], interrupt: Interrupt) -> Iterator[RunningParts]:
        running = DaskParts(self, self._client(), self._tables, self._limits, interrupt)
        try:
            running.start(parts)
            yield running
        finally:
            running.cancel()

    def lost(self, client: Client) -> None:
        """Connect anew at the next query."""
        with self._lock:
            if self._connected is client:
                self._connected = None
                self._failed_s = time.monotonic()
        _close(client)

    def _client(self) -> Client:
        with self._lock:
            client = self._connected
            if client is not None and client.status == "running":
                return client
            away = SpreadUnavailable(f"the Dask scheduler {self._address} does not answer")
            if self._closed or (self._failed_s and time.monotonic() - self._failed_s < AGAIN_AFTER_S):
                raise away
            if client is not None:
                _close(client)
            self._connected = None
            try:
                client = Client(self._address, timeout=CONNECT_S, set_as_default=False, name="tailrace")
            except (OSError, TimeoutError) as error:
                logger.warning("the Dask scheduler %s does not answer: %s", self._address, error)
                self._failed_s = time.monotonic()
                raise away from error
            self._connected = client
            return client

    def _workers(self, client: Client) -> dict[str, dict[str, float]]:
        """Return the resources of each worker."""
        scheduler: Any = client.scheduler
        try:
            if scheduler is None:  # another query has found it gone meanwhile
                raise ConnectionError(WENT_AWAY)
            info = _told(client, scheduler.identity(n_workers=-1))
        except (OSError, TimeoutError) as error:
            self.lost(client)
            raise SpreadUnavailable(f"the Dask scheduler {self._address} does not answer") from error
        running = {address: worker for address, worker in info["workers"].items() if worker["status"] == "running"}
        return {address: worker["resources"] for address, worker in running.items()}


class _Tasks:
    """Tasks that are one step of a query, and what tells the size of their answers."""

    def __init__(self) -> None:
        self.answers: list[Future[Any]] = []
        self.sizes: list[Future[Any]] = []
        self.sizes_bytes: list[int] | None = None


class DaskParts(RunningParts):
    """Tasks of Dask."""

    def __init__(
        self, spreader: DaskSpreader, client: Client, tables: TableRoot, limits: QueryLimits, interrupt: Interrupt
    ) -> None:
        self._spreader = spreader
        self._client = client
        self._tables = tables
        self._limits = limits
        self._interrupt = interrupt
        self._deadline_s = time.monotonic() + interrupt.left_s(limits.timeout_s)
        self._id = uuid.uuid4().hex
        self._options: dict[str, Any] = {"pure": False, "resources": {resource_name(): 1}}
        self._wanted: list[Future[Any]] = []  # each after those that it needs
        self._parts = _Tasks()

    def start(self, parts: Sequence[str]) -> None:
        for number, text in enumerate(parts):
            self._submit(self._parts, "part", number, run_part, text, self._left_s())

    def cancel(self) -> None:
        """Stop what runs; let the workers keep no answers."""
        with suppress(OSError, TimeoutError):
            cancelled = self._client.cancel(self._wanted[::-1], force=True, asynchronous=True)
            _told(self._client, cancelled)

    def sizes(self) -> list[int]:
        return self._sizes_of(self._parts)

    def tables(self, numbers: Sequence[int]) -> list[pa.Table]:
        return self._answers_of(self._parts, numbers, "its parts answer")

    def of_buckets(self, queries: Sequence[BucketQuery]) -> list[list[pa.Table]]:
        if not queries:
            return []
        pieces = self._divided(queries)
        tasks = _Tasks()
        for query in queries:
            for bucket in range(query.buckets):
                own = tuple(_own_rows(query, bucket))
                given = [pieces[part, bucket] for rows in query.rows for part in rows.parts]
                number = len(tasks.answers)
                self._submit(tasks, "bucket", number, run_bucket, query.text, self._left_s(), own, *given)
        tables = self._answers_of(tasks, range(len(tasks.answers)), "what it makes of its buckets has")
        made: list[list[pa.Table]] = []
        for query in queries:
            made.append(tables[: query.buckets])
            tables = tables[query.buckets :]
        return made

    def _divided(self, queries: Sequence[BucketQuery]) -> dict[tuple[int, int], Future[Any]]:
        """Return the rows of each bucket of each part, where these are: on the workers that ran the parts."""
        own_bytes = sum(rows.own.nbytes for query in queries for rows in query.rows)
        if own_bytes > self._limits.max_bytes:
            raise SpreadUnavailable(_too_much("the rows in memory that it divides by keys have", self._limits))
        places = [
            (part, bucket, query.buckets)
            for query in queries
            for rows in query.rows
            for part in rows.parts
            for bucket in range(query.buckets)
        ]
        if not places:
            return {}
        parts, numbers, counts = (list(values) for values in zip(*places, strict=True))
        keys = [f"tailrace-divide-{self._id}-{part}-{bucket}" for part, bucket, _ in places]
        answers = [self._parts.answers[part] for part in parts]
        try:
            pieces = self._client.map(bucket_of, answers, numbers, counts, key=keys, retries=RETRIES, **self._options)
        except ClosedClientError as error:
            raise SpreadUnavailable(WENT_AWAY) from error
        self._wanted += pieces
        self._waited_for(_wait(pieces))
        # As a whole they are needed no more, unless a worker dies: then Dask runs them again.
        self._release([self._parts.answers[part] for part in dict.fromkeys(parts)])
        return dict(zip(zip(parts, numbers, strict=True), pieces, strict=True))

    def _submit(
        self,
        tasks: _Tasks,
        step: str,
        number: int,
        run: Callable[..., object],
        text: str,
        timeout_s: float,
        *given: Any,
    ) -> None:
        key = f"tailrace-{step}-{self._id}-{number}"
        try:
            answer = self._client.submit(
                run, self._tables, text, timeout_s, *given, key=key, retries=RETRIES, **self._options
            )
            size = self._client.submit(size_of, answer, key=f"{key}-size", **self._options)
        except ClosedClientError as error:
            raise SpreadUnavailable(WENT_AWAY) from error
        tasks.answers.append(answer)
        tasks.sizes.append(size)
        self._wanted += [answer, size]

    def _release(self, tasks: Sequence[Future[Any]]) -> None:
        """Let Dask forget what nothing needs any more."""
        released = {task.key for task in tasks}
        self._wanted = [task for task in self._wanted if task.key not in released]
        for task in tasks:
            task.release()

    def _left_s(self) -> float:
        """Return the time that a task has."""
        return max(self._deadline_s - time.monotonic(), 0) + GRACE_S

    def _sizes_of(self, tasks: _Tasks) -> list[int]:
        if tasks.sizes_bytes is None:
            tasks.sizes_bytes = self._gathered(tasks.sizes)
            self._release(tasks.sizes)
        return tasks.sizes_bytes

    def _answers_of(self, tasks: _Tasks, numbers: Sequence[int], what: str) -> list[pa.Table]:
        sizes = self._sizes_of(tasks)
        if sum(sizes[number] for number in numbers) > self._limits.max_bytes:
            raise SpreadUnavailable(_too_much(what, self._limits))
        answers: list[bytes] = self._gathered([tasks.answers[number] for number in numbers])
        return [deserialized(pa.py_buffer(answer)) for answer in answers]

    def _gathered(self, tasks: Sequence[Future[Any]]) -> list[Any]:
        """Return the results of tasks, raise what one of them says."""

        async def gathered() -> list[Any]:
            results: list[Any] = await self._client.gather(list(tasks), asynchronous=True)
            return results

        # Where that fails the tasks are cancelled, and with them what waits for them.
        results = self._waited_for(gathered())
        for result in results:
            if isinstance(result, PartFailed):
                raise _error(result)
        return results

    def _waited_for(self, waiting: Coroutine[Any, Any, _Result]) -> _Result:
        loop: Any = self._client.loop
        result = asyncio.run_coroutine_threadsafe(waiting, loop.asyncio_loop)
        look_s = time.monotonic() + LOOK_EVERY_S
        while True:
            try:
                return result.result(WAIT_S)
            except KilledWorker as error:
                raise QueryFailed("the Dask workers that ran a part of the query ended, one after the other") from error
            except (RuntimeError, MemoryError, pa.ArrowException) as error:
                raise QueryFailed(f"a part of the query failed {RETRIES + 1} times, the last time {error}") from error
            except TimeoutError as error:
                if result.done():
                    raise SpreadUnavailable(WENT_AWAY) from error
            except (concurrent.futures.CancelledError, OSError) as error:
                raise SpreadUnavailable(WENT_AWAY) from error
            self._interrupt.check()
            now_s = time.monotonic()
            if now_s >= self._deadline_s:
                self._interrupt.expire(self._limits.timeout_s)
            if now_s >= look_s:
                self._spreader.width()
                look_s = now_s + LOOK_EVERY_S


def _close(client: Client, timeout_s: float = 0.0) -> None:
    """End a connection, whether the scheduler answers or not."""
    with suppress(OSError, TimeoutError, concurrent.futures.CancelledError):
        client.close(timeout=timeout_s)


def _told(client: Client, asked: Coroutine[Any, Any, Any]) -> Any:
    """Return what a scheduler says, within the time that it has to. Raise TimeoutError, OSError."""
    loop: Any = client.loop
    try:
        return asyncio.run_coroutine_threadsafe(asked, loop.asyncio_loop).result(CONNECT_S)
    except (concurrent.futures.CancelledError, RuntimeError) as error:  # the connection, or its loop, ends
        raise ConnectionError(WENT_AWAY) from error


def _own_rows(query: BucketQuery, bucket: int) -> Iterator[BucketRows]:
    """Yield what a bucket has of the rows of this node."""
    for rows in query.rows:
        own = serialized(rows_of_bucket(rows.own, bucket, query.buckets)).to_pybytes()
        yield BucketRows(rows.name, len(rows.parts), own)


def _too_much(what: str, limits: QueryLimits) -> str:
    return f"{what} more bytes than query_max_bytes = {limits.max_bytes}"


def _error(failed: PartFailed) -> Exception:
    if not failed.kind:
        return SpreadUnavailable(failed.message)
    kind = getattr(events, failed.kind, QueryFailed)
    return kind(failed.message) if issubclass(kind, events.TailraceError) else QueryFailed(failed.message)
