"""Workers as the main process sees them: what was reloaded reaches one that was being forked meanwhile."""

import asyncio
import pickle
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from support.lakes import NEVER

from tailrace.lake import Lake
from tailrace.processes import Spawner
from tailrace.server.settings import SCHEMA
from tailrace.server.workers.frames import CONTROL, ControlFrame, Frames, Reloaded, Stop
from tailrace.server.workers.pool import WorkerPool, WorkerSockets
from tailrace.server.workers.relay import relay_socket
from tailrace.server.workers.shared import SharedState

RENEWED = (Path("certificate.pem"), Path("key.pem"))


class SlowSpawner:
    """Forks nothing, and answers once it may; the test has the other end of the worker's socket."""

    def __init__(self) -> None:
        self.begun, self.may_answer = threading.Event(), threading.Event()
        self.ours, self.theirs = socket.socketpair()

    def fork(self, target: str, setup: bytes, descriptors: Sequence[int]) -> tuple[int, socket.socket]:
        self.begun.set()
        self.may_answer.wait()
        return 1, self.theirs

    def ended_by(self, pid: int) -> int:
        return 0


def test_what_is_reloaded_while_a_worker_is_forked_is_told_to_it(tmp_path: Path) -> None:
    spawner = SlowSpawner()

    async def run() -> tuple[ControlFrame | None, ControlFrame | None]:
        pool = WorkerPool(
            settings=SCHEMA.defaults,
            data=tmp_path,
            logs={"log-1": tmp_path / "log-1"},
            spawner=cast(Spawner, spawner),
            sockets=WorkerSockets([listener], relay, lock=0),
            connections=1,
            lake=lake,
            shared=SharedState.make(1),
            recorder=cast(Any, None),
            tails=cast(Any, SimpleNamespace(is_read=False)),
        )
        serving = asyncio.create_task(pool.serve())
        await asyncio.to_thread(spawner.begun.wait)
        pool.reload({"request_log": "all"})
        pool.renew(RENEWED)
        spawner.may_answer.set()
        spawner.ours.setblocking(False)
        frames: Frames[ControlFrame] = Frames(CONTROL, *await asyncio.open_unix_connection(sock=spawner.ours))
        first = await frames.read()
        pool.stop()
        second = await frames.read()
        frames.close()
        await serving
        return first, second

    with (
        closing(Lake.open(tmp_path / "lake", NEVER)) as lake,
        relay_socket(tmp_path, "relay.sock") as relay,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        first, second = asyncio.run(run())

    assert isinstance(first, Reloaded)
    assert pickle.loads(first.values) == {"request_log": "all"}
    assert (Path(first.certificate), Path(first.key)) == RENEWED
    assert isinstance(second, Stop)
