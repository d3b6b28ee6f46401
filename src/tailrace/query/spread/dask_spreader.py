"""Parts of queries as tasks of Dask workers."""

import asyncio
import concurrent.futures
import logging
import threading
import time
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from tailrace import events
from tailrace.events import QueryFailed
from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.arrow_stream import deserialized
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import RunningParts, Spreader, SpreadUnavailable
from tailrace.query.settings import QueryLimits
from tailrace.query.spread.settings import SpreadSettings
from tailrace.query.spread.task import PartFailed, resource_name, run_part, size_of

CONNECT_S = 3.0
AGAIN_AFTER_S = 5.0  # since a scheduler did not answer
GRACE_S = 1.0  # of a part past the query's time, which is watched here
RETRIES = 2  # of a part that fails where it need not
WAIT_S = 0.02
LOOK_EVERY_S = 1.0  # at whether there are workers
WENT_AWAY = "the Dask scheduler went away while it ran"

logger = logging.getLogger(__name__)


class DaskSpreader(Spreader):
    """Runs parts on the workers of a Dask scheduler, once it is needed and answers."""

    def __init__(self, settings: SpreadSettings, tables: TableRoot, limits: QueryLimits) -> None:
        self.spread_bytes = settings.spread_bytes
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
        client = self._client()
        group = f"tailrace-part-{uuid.uuid4().hex}"
        left_s = interrupt.left_s(self._limits.timeout_s)
        within_s, place = left_s + GRACE_S, {resource_name(): 1}
        answers: list[Future[Any]] = []
        sizes: list[Future[Any]] = []
        try:
            for number, text in enumerate(parts):
                key = f"{group}-{number}"
                part = client.submit(
                    run_part, self._tables, text, within_s, key=key, pure=False, retries=RETRIES, resources=place
                )
                answers.append(part)
                sizes.append(client.submit(size_of, part, key=f"{key}-size", pure=False, resources=place))
        except ClosedClientError as error:
            raise SpreadUnavailable(WENT_AWAY) from error
        try:
            yield DaskParts(self, client, answers, sizes, interrupt, time.monotonic() + left_s, self._limits)
        finally:
            # Also of those that are done, whose answers the workers need not keep.
            with suppress(OSError, TimeoutError):
                _told(client, client.cancel([*sizes, *answers], force=True, asynchronous=True))

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


class DaskParts(RunningParts):
    """Tasks of Dask."""

    def __init__(
        self,
        spreader: DaskSpreader,
        client: Client,
        answers: Sequence[Future[Any]],
        sizes: Sequence[Future[Any]],
        interrupt: Interrupt,
        deadline_s: float,
        limits: QueryLimits,
    ) -> None:
        self._spreader = spreader
        self._client = client
        self._answers = answers
        self._sizes = sizes
        self._interrupt = interrupt
        self._deadline_s = deadline_s
        self._limits = limits

    def tables(self) -> list[pa.Table]:
        loop: Any = self._client.loop
        gathered = asyncio.run_coroutine_threadsafe(self._gathered(), loop.asyncio_loop)
        # Where that fails the tasks are cancelled, and with them what waits for them.
        answers = self._waited_for(gathered)
        for answer in answers:
            if isinstance(answer, PartFailed):
                raise _error(answer)
        return [deserialized(pa.py_buffer(answer)) for answer in answers if isinstance(answer, bytes)]

    async def _gathered(self) -> list[bytes | PartFailed]:
        sizes: list[int] = await self._client.gather(list(self._sizes), asynchronous=True)
        if sum(sizes) > self._limits.max_bytes:
            most = self._limits.max_bytes
            raise SpreadUnavailable(f"its parts answer more bytes than query_max_bytes = {most}")
        answers: list[bytes | PartFailed] = await self._client.gather(list(self._answers), asynchronous=True)
        return answers

    def _waited_for(self, gathered: "concurrent.futures.Future[list[bytes | PartFailed]]") -> list[bytes | PartFailed]:
        look_s = time.monotonic() + LOOK_EVERY_S
        while True:
            try:
                return gathered.result(WAIT_S)
            except KilledWorker as error:
                raise QueryFailed("the Dask workers that ran a part of the query ended, one after the other") from error
            except RuntimeError as error:
                raise QueryFailed(f"a part of the query failed {RETRIES + 1} times, the last time {error}") from error
            except TimeoutError as error:
                if gathered.done():
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


def _error(failed: PartFailed) -> Exception:
    if not failed.kind:
        return SpreadUnavailable(failed.message)
    kind = getattr(events, failed.kind, QueryFailed)
    return kind(failed.message) if issubclass(kind, events.TailraceError) else QueryFailed(failed.message)
