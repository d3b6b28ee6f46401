"""The process of a server for tests: forked by one that stays and has imported the server, or a program of its own."""

import contextlib
import functools
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tailrace.processes import Spawner

START_TIMEOUT_S = 60.0  # of the first one, which may have to compile all modules
STOP_TIMEOUT_S = 30.0
CAN_FORK = sys.platform == "linux"  # elsewhere a process that has imported so much may not go on after a fork
_SERVING = "tailrace.testing.serving"
_READY = re.compile(rb'is ready at (https?://[^\s"]+)["\n]')  # in text, or in a log of JSON


class ServerNotStarted(Exception):
    """The server did not become ready; the message is what it said."""


class ServerProcess:
    """A server's process, ready at `url`; it ends with this one."""

    def __init__(self, settings: Mapping[str, object], errors: Path, *, is_forked: bool = CAN_FORK) -> None:
        """Start it with settings by name, and its standard error at the end of a file; raise ServerNotStarted."""
        setup = json.dumps(settings)
        reader, writer = os.pipe()
        try:
            with errors.open("ab") as log:
                if is_forked:
                    self._program = None
                    self.pid, self._channel = _spawner().fork(
                        f"{_SERVING}:serve_given", setup.encode(), [writer, log.fileno()]
                    )
                else:
                    self._channel, theirs = socket.socketpair()
                    with theirs:
                        self._program = _program(setup, [theirs.fileno(), writer, log.fileno()])
                    self.pid = self._program.pid
            os.close(writer)
            writer = -1
            self.url = self._ready_at(reader, errors)
        finally:
            os.close(reader)  # what the server prints later is for nobody
            if writer >= 0:
                os.close(writer)

    def _ready_at(self, output: int, errors: Path) -> str:
        """Return the URL that the server prints once it is ready."""
        printed, deadline_s = b"", time.monotonic() + START_TIMEOUT_S
        while (found := _READY.search(printed)) is None:
            readable, _, _ = select.select([output], [], [], max(0.0, deadline_s - time.monotonic()))
            part = os.read(output, 4096) if readable else b""
            if not part:
                self.kill()
                said = errors.read_text(errors="replace").strip() or f"nothing was heard of it for {START_TIMEOUT_S} s"
                raise ServerNotStarted(said)
            printed += part
        return found[1].decode()

    def stop(self) -> None:
        """End it in order, or after STOP_TIMEOUT_S by force."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        # It is closed with the last of the server's processes.
        select.select([self._channel], [], [], STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._channel.fileno() < 0:
            return
        self._channel.close()
        if self._program is not None:
            self._program.kill()
            self._program.wait()
            return
        _spawner().ended_by(self.pid)  # which kills one that runs, and waits for it


def _program(setup: str, descriptors: list[int]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", _SERVING, setup, *map(str, descriptors)]
    return subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL)


@functools.cache
def _spawner() -> Spawner:
    """Return what forks the servers of this process, for as long as that runs."""
    return Spawner.started({"OPENBLAS_NUM_THREADS": "1"})  # whose threads would be there before a fork
