"""The workers of a server, as the main process sees them: started, followed, asked, started again, ended."""

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from tailrace.events import Batch
from tailrace.lake import Lake
from tailrace.lake.file_changes import DRAIN_TIMEOUT_S
from tailrace.log import Damage, LogReader, Subscription
from tailrace.processes import Spawner
from tailrace.server.asgi import Application
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import Recorder
from tailrace.server.settings import SCHEMA, Settings
from tailrace.server.workers.follower import FollowedLog, LogFollower
from tailrace.server.workers.frames import (
    CONTROL,
    ControlFrame,
    DatasetAnswered,
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
from tailrace.server.workers.process import WorkerSetup
from tailrace.server.workers.relay import RelayServer
from tailrace.server.workers.shared import SharedState
from tailrace.tail import Tails

TARGET = "tailrace.server.workers.process:start"
FIGURES_TIMEOUT_S = 2.0
FIRST_RESTART_S, LAST_RESTART_S = 0.1, 5.0  # between the end of a worker and its next start

logger = logging.getLogger(__name__)


class WorkerSockets(Struct, frozen=True, eq=False):
    """What the workers of a server are given, and what it keeps open for them."""

    listeners: Sequence[socket.socket]  # one for each worker
    relay: socket.socket
    lock: int  # descriptor of the lock of the data directory


class Worker:
    """One worker, whichever process it is at the moment. To be used on the event loop."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.pid = 0
        self.is_serving = False
        self.has_served = asyncio.Event()  # since the server's start
        self.fault = ""  # of its log
        self.frames: Frames[ControlFrame] | None = None
        self.figures: Figures | None = None  # the last ones
        self.earlier = Metrics()  # of its processes that have ended
        self.asked: list[asyncio.Future[None]] = []  # who waits for figures
        self.told, self.telling = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def metrics(self) -> Metrics:
        """Return what it has counted since the server's start, as far as it has told."""
        total = Metrics()
        total.add(self.earlier)
        if self.figures is not None:
            total.add(pickle.loads(self.figures.metrics))
        return total


class WorkerPool:
    """The workers of a server. To be used on the event loop, but for `catch_up`, which any thread may call."""

    def __init__(
        self,
        *,
        settings: Settings,
        data: Path,
        logs: Mapping[str, Path],
        spawner: Spawner,
        sockets: WorkerSockets,
        connections: int,
        lake: Lake,
        shared: SharedState,
        recorder: Recorder,
        tails: Tails,
    ) -> None:
        """Take the directories of the workers' logs, by writer, in the order of the workers."""
        self.target: Application = recorder
        self._settings = settings
        self._data = data
        self._logs = logs
        self._spawner = spawner
        self._sockets = sockets
        self._connections = connections
        self._lake = lake
        self.shared = shared
        self._recorder = recorder
        self._tails = tails
        self._loop = asyncio.get_running_loop()
        self._workers = [Worker(number, name) for number, name in enumerate(logs)]
        self._subscriptions: dict[str, Subscription] = {}
        self._relay = RelayServer(recorder, self._known_dataset)
        self._follower: LogFollower | None = None
        self._stopping = asyncio.Event()
        self._reloaded: dict[str, object] = {}  # settings that changed since the start, by name
        self.files: tuple[Path, Path] | None = None  # of the certificate and its key, where the port is for TLS
        self.damage: list[Damage] = []
        lake.follow(self.catch_up, shared.datasets.advance)

    # Serving

    async def serve(self) -> None:
        """Run the workers until `stop`, and return once all have ended."""
        await self._relay.start(self._sockets.relay)
        try:
            await asyncio.gather(*map(self._run, self._workers))
        finally:
            await self._relay.close()

    def stop(self) -> None:
        """Have the workers answer what is in flight, and end."""
        self._stopping.set()
        for listener in self._sockets.listeners:
            listener.close()
        for worker in self._workers:
            if worker.frames is not None:
                worker.frames.put(Stop())

    def renew(self, files: tuple[Path, Path]) -> None:
        """Use another certificate for the connections from now on."""
        self.files = files
        self._tell(Reloaded(pickle.dumps({}), *map(str, files)))

    def reload(self, values: Mapping[str, object]) -> None:
        """Take over settings that changed, by name."""
        self._reloaded |= values
        self._tell(Reloaded(pickle.dumps(dict(values))))

    def _tell(self, frame: ControlFrame) -> None:
        for worker in self._workers:
            if worker.frames is not None:
                worker.frames.put(frame)

    async def open(self, positions: Mapping[str, int]) -> None:
        """Accept events from now on, as the logs are replayed up to these positions; return once every worker does.

        One that does not in time is started again and again, which `fault` tells.
        """
        followed = []
        for worker in self._workers:
            subscription = self._subscriptions[worker.name] = self._lake.subscribe(worker.name)
            reader = LogReader(
                self._logs[worker.name],
                self.shared.mark(worker.number),
                position=positions[worker.name],
                add_damage=self.damage.extend,
            )
            followed.append(FollowedLog(worker.name, reader, subscription, worker.told))
            subscription.bind(partial(self._release, worker))
        self._follower = LogFollower(followed, published=self._publish, note_pressure=self._note_pressure)
        self._note_pressure()
        self._follower.start()
        self.shared.is_open = True
        for worker in self._workers:
            self._open_log(worker)
        serving = [asyncio.create_task(worker.has_served.wait()) for worker in self._workers]
        _, late = await asyncio.wait(serving, timeout=DRAIN_TIMEOUT_S)
        for task in late:
            task.cancel()

    def close(self) -> None:
        """End what is left of the workers, and deliver what is durable in their logs. May block."""
        self.shared.is_open = False
        for worker in self._workers:
            if worker.pid:
                with suppress(OSError):
                    self._spawner.kill(worker.pid)
        if self._follower is not None:
            self._follower.close()

    def catch_up(self) -> None:
        """Return once the lake has accepted all that is durable in the workers' logs. Raise Overloaded."""
        if self._follower is not None:
            self._follower.catch_up(DRAIN_TIMEOUT_S)

    # What the workers say

    async def figures(self) -> list[Figures]:
        """Return what the workers have counted, and how their logs are; of one that does not answer the last."""
        waiting = []
        for worker in self._workers:
            if worker.frames is not None:
                future: asyncio.Future[None] = self._loop.create_future()
                worker.asked.append(future)
                worker.frames.put(FiguresAsked())
                waiting.append(future)
        if waiting:
            await asyncio.wait(waiting, timeout=FIGURES_TIMEOUT_S)
        return [worker.figures for worker in self._workers if worker.figures is not None]

    def add_metrics(self, total: Metrics) -> None:
        """Add what the workers have counted."""
        for worker in self._workers:
            total.add(worker.metrics())

    @property
    def fault(self) -> str:
        """Why a worker takes no events, empty where all do."""
        for worker in self._workers:
            if not worker.is_serving:
                return f"{worker.name} is being started"
            if worker.fault:
                return worker.fault
        return ""

    # In detail

    async def _run(self, worker: Worker) -> None:
        """Start a worker, and again whenever it ends, until `stop`."""
        delay_s = FIRST_RESTART_S
        while not self._stopping.is_set():
            began_s = self._loop.time()
            try:
                await self._run_once(worker)
            except OSError:
                logger.exception("%s cannot be started", worker.name)
            if self._stopping.is_set():
                return
            ran_s = self._loop.time() - began_s
            delay_s = FIRST_RESTART_S if ran_s > LAST_RESTART_S else min(2 * delay_s, LAST_RESTART_S)
            logger.error("%s has ended; another process takes its place in %.1f s", worker.name, delay_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()

    async def _run_once(self, worker: Worker) -> None:
        """Start a process of a worker, and return once it has ended."""
        reloaded, files = dict(self._reloaded), self.files
        setup = WorkerSetup(
            number=worker.number,
            workers=len(self._workers),
            values={name: SCHEMA.value(self._settings, name) for name in SCHEMA.settings} | reloaded,
            data=self._data,
            log=self._logs[worker.name],
            connections=self._connections,
            files=files,
        )
        descriptors = [
            self._sockets.listeners[worker.number].fileno(),
            self.shared.descriptor,
            worker.telling,
            self._sockets.lock,
        ]
        worker.pid, control = await asyncio.to_thread(self._spawner.fork, TARGET, pickle.dumps(setup), descriptors)
        control.setblocking(False)
        frames: Frames[ControlFrame] = Frames(CONTROL, *await asyncio.open_unix_connection(sock=control))
        worker.frames = frames
        if (reloaded, files) != (self._reloaded, self.files):  # while it was forked
            frames.put(Reloaded(pickle.dumps(self._reloaded), *map(str, self.files or ())))
        try:
            if self._follower is not None:
                self._open_log(worker)
            if self._stopping.is_set():
                frames.put(Stop())
            while (frame := await frames.read()) is not None:
                self._heard(worker, frame)
        finally:
            frames.close()
            self._ended(worker)
            await asyncio.to_thread(self._reap, worker.pid)
            worker.pid = 0

    def _reap(self, pid: int) -> None:
        try:
            number = self._spawner.ended_by(pid)
        except OSError:
            logger.exception("how process %d ended is not known", pid)
        else:
            if number:
                logger.error("process %d was ended by signal %d", pid, number)

    def _heard(self, worker: Worker, frame: ControlFrame) -> None:
        if isinstance(frame, Figures):
            worker.figures = frame
            self._answer_asked(worker)
        elif isinstance(frame, Refused):
            self._recorder.record(pickle.loads(frame.refusal), frame.took_s)
        elif isinstance(frame, LogFault):
            worker.fault = frame.fault
        elif isinstance(frame, Serving):
            worker.is_serving = True
            worker.has_served.set()

    @staticmethod
    def _answer_asked(worker: Worker) -> None:
        for future in worker.asked:
            if not future.done():
                future.set_result(None)
        worker.asked.clear()

    def _ended(self, worker: Worker) -> None:
        """Note that a worker's process has ended; what it had counted since it was last asked is not known."""
        worker.earlier, worker.figures = worker.metrics(), None
        worker.frames = None
        worker.is_serving = False
        worker.fault = ""
        self._answer_asked(worker)

    def _open_log(self, worker: Worker) -> None:
        if worker.frames is not None:
            worker.frames.put(Opened(self._lake.highest_position(worker.name)))

    def _release(self, worker: Worker, position: int) -> None:
        """Have a worker release its log up to a position; in any thread."""

        def send() -> None:
            if worker.frames is not None:
                worker.frames.put(Released(position))

        with suppress(RuntimeError):  # the loop is closed: the next start releases it
            self._loop.call_soon_threadsafe(send)

    def _publish(self, group: list[tuple[int, Batch]]) -> None:
        """Give what became durable to the tails; in the follower's thread."""
        if self._tails.is_read:
            for _, batch in group:
                self._loop.call_soon_threadsafe(self._tails.publish, batch)

    def _note_pressure(self) -> bool:
        """Tell the workers what the lake has in memory; return whether that may soon be other."""
        lake = self._lake
        self.shared.set_pressure(excess_bytes=lake.excess_bytes, commits=lake.commits, backlog_bytes=lake.backlog_bytes)
        return lake.uncommitted_bytes > self._settings.lake.max_uncommitted_bytes // 4

    def _known_dataset(self, name: str) -> DatasetAnswered:
        """Return what a worker may know of a dataset, as of a revision that is read before it."""
        revision = self.shared.datasets.number
        if not self._lake.has(name):
            return DatasetAnswered(revision)
        info = self._lake.get(name)
        return DatasetAnswered(revision, info.created_ns, info.primary_key, info.organisation)
