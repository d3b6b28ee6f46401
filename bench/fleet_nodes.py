"""The processes of a fleet on this machine: S3 behind a proxy, PostgreSQL, nodes, a Dask scheduler and its workers."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from support.ports import free_ports
from support.postgres import postgres_database, postgres_server
from support.s3 import Fault, Proxy, S3Server, s3_server

ROOT_TOKEN = "xapt-of-the-owner-of-the-fleet"
SECRET = "the-secret-of-the-fleet-of-this-machine"
ANSWER_S = 30.0
STOP_S = 120.0
FAULTS: tuple[Fault, ...] = ("cut", "slow down", "cut after it was done", "error after it was done")


class Surroundings:
    """What the nodes share."""

    def __init__(self, s3: S3Server, proxy: Proxy, database_url: str) -> None:
        self._proxy = proxy
        place = s3.url()
        self.environment = {**s3.environment(proxy.endpoint), "TAILRACE_ROOT_TOKEN": ROOT_TOKEN}
        (self.scheduler_port,) = free_ports(1)
        self.table_options = (f"--storage={place}/tables", f"--dask=tcp://127.0.0.1:{self.scheduler_port}")
        self.options = (
            *self.table_options,
            "--spread-bytes=0",
            f"--log={place}/log",
            f"--database-url={database_url}",
            f"--fleet-secret={SECRET}",
            "--log-group-ms=20",
            "--commit-age-s=2",
            "--drain-s=1",
        )

    def spoil(self, one_in: int) -> None:
        """Have one in so many requests to the object store fail from now on; with 0 none."""
        chosen = random.Random(one_in)

        def fault(number: int, method: str, path: str) -> Fault | None:
            self._proxy.requests.clear()  # which would grow for ever
            return chosen.choice(FAULTS) if one_in and chosen.randrange(one_in) == 0 else None

        self._proxy.fault = fault


@contextmanager
def surroundings(directory: Path) -> Iterator[Surroundings]:
    """Yield what the nodes share, its files in a directory."""
    (directory / "s3").mkdir()
    with (
        s3_server(directory / "s3") as s3,
        closing(Proxy(s3)) as proxy,
        postgres_server() as postgres,
        postgres_database(postgres) as url,
    ):
        yield Surroundings(s3, proxy, url)


class FleetProcess:
    """What runs under a name, whichever process it is at the moment; its messages are in a file of that name."""

    def __init__(self, name: str, directory: Path, around: Surroundings, arguments: Sequence[str]) -> None:
        self.name = name
        self._messages = directory / f"{name}.log"
        self._environment = {**os.environ, **around.environment}
        self._arguments = [sys.executable, "-m", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at_s = 0.0  # once it has ended
        self._resume_at_s = 0.0  # where it stands still

    @property
    def pid(self) -> int:
        """The id of its process, which was started."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether its process runs, and does not stand still."""
        return self._process is not None and self._process.poll() is None and not self._resume_at_s

    def is_ready(self) -> bool:
        """Return whether it can do its work."""
        return self.is_up

    def wait_ready(self, timeout_s: float) -> None:
        """Return once it is ready; raise RuntimeError where it is not in time, or ends."""
        until_s = time.monotonic() + timeout_s
        while not self.is_ready():
            if time.monotonic() > until_s or not self.is_up:
                messages = self._messages.read_text(errors="replace")
                raise RuntimeError(f"{self.name} does not start: {messages[-2000:]}")
            time.sleep(0.1)

    def start(self) -> None:
        """Start its process."""
        with self._messages.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def keep_up(self) -> None:
        """Start it again, or let it go on, where that is due."""
        now_s = time.monotonic()
        if self._resume_at_s and now_s >= self._resume_at_s:
            self._resume_at_s = 0.0
            self._signal(signal.SIGCONT)
        if self._process is not None and self._process.poll() is not None and now_s >= self._start_at_s:
            self.start()

    def kill(self, down_s: float) -> None:
        """End it at once, to be started again after a time."""
        self._start_at_s = time.monotonic() + down_s
        self._signal(signal.SIGKILL)

    def terminate(self, down_s: float) -> None:
        """Have it end in good order, to be started again after a time."""
        self._start_at_s = time.monotonic() + down_s
        self._signal(signal.SIGTERM)

    def pause(self, pause_s: float) -> None:
        """Have it stand still for a time."""
        self._resume_at_s = time.monotonic() + pause_s
        self._signal(signal.SIGSTOP)

    def stop(self) -> int:
        """End it in good order; return its exit code."""
        assert self._process is not None
        self._signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def end(self) -> None:
        """End its process where it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class FleetNode(FleetProcess):
    """A node."""

    def __init__(self, name: str, role: str, directory: Path, around: Surroundings, *, lease_s: float) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        own = (f"--port={port}", f"--role={role}", f"--node={name}", f"--lease-s={lease_s}")
        super().__init__(
            name, directory, around, ["tailrace", "serve", f"--data={directory / name}", *own, *around.options]
        )
        self._client = httpx.Client(
            base_url=self.url,
            trust_env=False,
            timeout=ANSWER_S,
            headers={"Authorization": f"Bearer {ROOT_TOKEN}"},
            limits=httpx.Limits(max_keepalive_connections=0),  # a connection to a process that was killed is no answer
        )

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Return its answer; raise httpx.TransportError."""
        return self._client.request(method, path, json=body)

    def is_ready(self) -> bool:
        """Return whether it can do its work."""
        with suppress(httpx.TransportError):
            return self.is_up and self._client.get("/readyz").status_code == 200
        return False

    def end(self) -> None:
        """End its process where it still runs, and its connections."""
        self._client.close()
        super().end()


def scheduler_process(directory: Path, around: Surroundings) -> FleetProcess:
    """Return the Dask scheduler that the nodes ask."""
    options = ("--host=127.0.0.1", f"--port={around.scheduler_port}", "--no-dashboard")
    return FleetProcess("scheduler-0", directory, around, ["distributed.cli.dask_scheduler", *options])


def worker_process(name: str, directory: Path, around: Surroundings) -> FleetProcess:
    """Return a worker of that scheduler, with a cache of its own."""
    (directory / name).mkdir()
    options = (f"--data={directory / name}", "--query-concurrency=1", "--query-threads=1")
    return FleetProcess(name, directory, around, ["tailrace", "worker", *options, *around.table_options])
