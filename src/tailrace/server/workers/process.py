"""A worker: a process that accepts requests, and stores in its own log what needs no other; forked by the spawner."""

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import uvloop
from msgspec import Struct
from msgspec.structs import replace

from tailrace.access import Access
from tailrace.events.outcome import Refusal
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.worker_service import KnownDataset, KnownDatasets, WorkerIngestService
from tailrace.log import DurableMark, Log
from tailrace.log.mark import Extent
from tailrace.protocols.registry import PROTOCOLS
from tailrace.server import logs
from tailrace.server.app import ServerApplication
from tailrace.server.asgi import Application
from tailrace.server.forwarded import Proxies
from tailrace.server.http import HttpServer, raise_descriptor_limit
from tailrace.server.layout import RELAY_SOCKET
from tailrace.server.listener import LISTEN_BACKLOG
from tailrace.server.log_opening import open_worker_log
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import Recorder, Refusals
from tailrace.server.request_body import RequestBacklog
from tailrace.server.response_body import ResponseBacklog
from tailrace.server.routing import router_of
from tailrace.server.settings import SCHEMA, Settings
from tailrace.server.workers.frames import (
    CONTROL,
    ControlFrame,
    Figures,
    FiguresAsked,
    Frames,
    LogFault,
    Opened,
    Refused,
    Released,
    Reloaded,
    Serving,
    Stop,
)
from tailrace.server.workers.passing import PassingApplication, pass_on_all
from tailrace.server.workers.relay import Relay
from tailrace.server.workers.shared import SharedState
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import Database

PARSE_THREADS = 2
LOOK_S = 0.5  # between two looks at whether the log takes events

logger = logging.getLogger(__name__)


class WorkerSetup(Struct, frozen=True):
    """What a worker begins with, beside its descriptors."""

    number: int  # from 0 on
    workers: int  # how many there are
    values: dict[str, object]  # of the settings, by name
    data: Path
    log: Path  # the directory of its log
    connections: int  # at the same time, at most
    files: tuple[Path, Path] | None  # of the certificate and its key, where the port is for TLS


def start(setup: bytes, descriptors: Sequence[int]) -> None:
    """Run a worker until it is told to stop, or the main process has ended.

    `setup` is a `WorkerSetup`, pickled by the main process. The descriptors: the socket to that, the one that listens,
    the shared memory, the pipe that tells of what is durable, and the lock of the data directory, which is held as long
    as this process has it open.
    """
    known: WorkerSetup = pickle.loads(setup)
    control, listener, shared, told, _ = descriptors
    settings = SCHEMA.build(known.values)
    logs.configure(settings.server.log_level, settings.server.log_format)
    raise_descriptor_limit()

    async def run() -> None:
        worker = _Worker(known, settings, socket.socket(fileno=listener), SharedState(shared), told)
        await worker.run(socket.socket(fileno=control))

    uvloop.run(run())


class _TellingMark(DurableMark):
    """A mark that tells the main process when it is written."""

    def __init__(self, mark: DurableMark, told: int) -> None:
        self._mark = mark
        self._told = told
        os.set_blocking(told, False)

    def write(self, extent: Extent) -> None:
        self._mark.write(extent)
        with suppress(BlockingIOError):  # it has not read of the last ones, and will read this one with them
            os.write(self._told, b"\0")

    def read(self) -> Extent:
        return self._mark.read()


class _Worker:
    """The parts of a worker."""

    def __init__(
        self, setup: WorkerSetup, settings: Settings, listener: socket.socket, shared: SharedState, told: int
    ) -> None:
        self._setup = setup
        self._settings = settings
        self._shared = shared
        self._mark = _TellingMark(shared.mark(setup.number), told)
        self._listener = listener
        self._metrics = Metrics()
        self._relay = Relay(setup.data, RELAY_SOCKET)
        database = Database.opened(settings.server.database_url or setup.data / DATABASE_FILE, shared.access)
        self._access = Access(database, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])
        self._datasets = KnownDatasets(shared.datasets, self._ask_dataset)
        self._access.set_dataset_owners(self._datasets.organisation)
        self._is_stopping = False
        self._hold = AnswerHold(
            shared, max_wait_s=settings.lake.uncommitted_wait_s, is_stopping=lambda: self._is_stopping
        )
        self._passing = PassingApplication(self._relay, shared)
        self._log: Log | None = None
        self._service: WorkerIngestService | None = None
        self._recorder: Recorder | None = None  # once it serves
        self._fault = ""

    async def _ask_dataset(self, name: str) -> tuple[int, KnownDataset | None]:
        answer = await self._relay.dataset(name)
        known = KnownDataset(answer.created_ns, answer.primary_key, answer.organisation)
        return answer.revision, known if answer.created_ns else None

    async def run(self, control: socket.socket) -> None:
        """Serve until the main process says to stop; where it has ended, end at once."""
        control.setblocking(False)
        frames: Frames[ControlFrame] = Frames(CONTROL, *await asyncio.open_unix_connection(sock=control))
        http = HttpServer(
            self._passing,
            self._listener,
            backlog=LISTEN_BACKLOG,
            connections=self._setup.connections,
            files=self._setup.files,
        )
        serving = asyncio.create_task(http.serve())
        looking: asyncio.Task[None] | None = None
        while (frame := await frames.read()) is not None:
            if isinstance(frame, Opened):
                await self._open(frame.floor, frames)
                looking = asyncio.create_task(self._look(frames))
            elif isinstance(frame, Released):
                await self._release(frame.position)
            elif isinstance(frame, FiguresAsked):
                frames.put(self._figures())
            elif isinstance(frame, Reloaded):
                self._reload(frame, http)
            elif isinstance(frame, Stop):
                break
        else:
            os._exit(1)  # the main process has ended: there is nobody to answer for
        self._is_stopping = True
        http.stop()
        await serving
        if looking is not None:
            looking.cancel()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
        frames.put(self._figures())
        with suppress(ConnectionError):
            await frames.drain()

    def _reload(self, frame: Reloaded, http: HttpServer) -> None:
        """Take over what was reloaded."""
        if frame.certificate:
            http.renew((Path(frame.certificate), Path(frame.key)))
        if values := pickle.loads(frame.values):
            before = {name: SCHEMA.value(self._settings, name) for name in SCHEMA.settings}
            self._settings = SCHEMA.build(before | values)
            own = self._settings.server
            logs.configure(own.log_level, own.log_format)
            if self._recorder is not None:
                self._recorder.reconfigure(own.request_log, Proxies(own.trusted_proxies))

    async def _open(self, floor: int, frames: Frames[ControlFrame]) -> None:
        """Open the log, and answer from then on."""
        self._log = await asyncio.to_thread(
            open_worker_log,
            self._settings.log,
            self._setup.log,
            floor=floor,
            mark=self._mark,
            flushes=self._metrics.flushes,
        )
        self._service = WorkerIngestService(
            loop=asyncio.get_running_loop(),
            log=self._log,
            datasets=self._datasets,
            access=self._access,
            limits=self._settings.parsing,
            counters=self._metrics,
            pressure=self._shared,
            max_backlog_bytes=self._settings.lake.shred_backlog_bytes,
            executor=ThreadPoolExecutor(PARSE_THREADS, "tailrace-parse"),
        )

        def pass_on(refusal: Refusal, took_s: float) -> None:
            frames.put(Refused(pickle.dumps(refusal), took_s))

        self._passing.open(self._application(self._service, pass_on))
        frames.put(Serving())

    def _application(self, service: WorkerIngestService, pass_on: Callable[[Refusal, float], None]) -> Application:
        settings, workers = self._settings, self._setup.workers
        receive_bytes = settings.request_body.receive_backlog_bytes // workers
        application = ServerApplication(
            service=service,
            options=settings.protocols,
            metrics=self._metrics,
            api=pass_on_all,
            is_worker=True,
            router=router_of(settings, self._access),
            request_backlog=RequestBacklog(replace(settings.request_body, receive_backlog_bytes=receive_bytes)),
            response_backlog=ResponseBacklog(settings.response_body),
            hold=self._hold,
            is_idempotent=settings.idempotency.window_s > 0,
        )
        self._recorder = Recorder(
            application,
            metrics=self._metrics,
            refusals=Refusals(),
            proxies=Proxies(settings.server.trusted_proxies),
            request_log=settings.server.request_log,
            pass_on=pass_on,
        )
        return self._recorder

    async def _release(self, position: int) -> None:
        if self._log is not None and self._service is not None:
            self._service.released(position)
            await asyncio.to_thread(self._log.release, position)

    async def _look(self, frames: Frames[ControlFrame]) -> None:
        """Tell whenever the log begins or ceases to refuse events."""
        while True:
            fault = self._log.fault if self._log is not None else ""
            if fault != self._fault:
                self._fault = fault
                frames.put(LogFault(fault))
            await asyncio.sleep(LOOK_S)

    def _figures(self) -> Figures:
        return Figures(
            pickle.dumps(self._metrics),
            self._log.size_bytes if self._log is not None else 0,
            self._hold.waiting,
            self._hold.held,
            self._hold.held_s,
        )
