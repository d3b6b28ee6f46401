"""The server processes that are measured, each on a free loopback port and ended by its process id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from bench import load
from bench.generators import Generator

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 120.0
POLL_S = 0.02
READY = "/readyz"


class Tailrace(Struct, frozen=True):
    """A running server."""

    data: Path
    address: tuple[str, int]
    token: str
    process: subprocess.Popen[bytes]

    def create(self, dataset: str) -> None:
        """Make a dataset."""
        url = f"http://{self.address[0]}:{self.address[1]}/v2/datasets"
        with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {self.token}"}) as client:
            client.post(url, json={"name": dataset}).raise_for_status()

    def ingest_request(self, generator: Generator, body: bytes) -> bytes:
        """Return the bytes of a request that brings a generator's events as NDJSON."""
        path = f"/v1/datasets/{generator.dataset}/ingest"
        if generator.time_field != "_time":
            path += f"?timestamp-field={generator.time_field}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-ndjson"}
        return load.http_request("POST", path, f"{self.address[0]}:{self.address[1]}", headers, body)

    def stop(self) -> None:
        """End the server in good order, with everything committed; raise RuntimeError when that fails."""
        self.process.terminate()
        if self.process.wait(STOP_TIMEOUT_S):
            raise RuntimeError(f"the server ended with code {self.process.returncode}")


@contextmanager
def tailrace(
    data: Path, python: str = sys.executable, *, observed: Path | None = None, options: Sequence[str] = ()
) -> Iterator[Tailrace]:
    """Yield a server on a data directory, with default settings but for `options`; killed at the end unless stopped.

    `python` is the interpreter that it runs on, which another checkout's environment may have. `observed` is where
    `bench.observed` writes what the server did.
    """
    program = ["-m", "tailrace"] if observed is None else ["-m", "bench.observed", str(observed)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    process = subprocess.Popen(
        [python, *program, "serve", "--data", str(data), "--port", "0", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    try:
        url = httpx.URL(wait_until_ok(process, lambda: _ready_url(data / "server.json")).removesuffix(READY))
        token = (data / "owner-token").read_text().strip()
        assert url.port is not None
        yield Tailrace(data, (url.host, url.port), token, process)
    finally:
        end(process)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process (Linux) has held, the pages of its libraries' files included.

    `ru_maxrss` of `getrusage` would be at least what its parent held as it started it.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not tell the peak of a process's memory")


@contextmanager
def directory_in(parent: Path) -> Iterator[Path]:
    """Yield a new directory, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="tailrace-bench-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def empty(interface: str = "asgi") -> Iterator[tuple[tuple[str, int], int]]:
    """Yield the address and the process id of a server whose handler reads the body and answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.empty", interface], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield ("127.0.0.1", int(process.stdout.readline())), process.pid
    finally:
        end(process)


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_until_ok(process: subprocess.Popen[bytes], url_of: Callable[[], str | None]) -> str:
    """Return the URL of a server that is starting once it answers with 200 there; `url_of` may not know it yet."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode} before it was ready")
        url = url_of()
        try:
            if url is not None and httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return url
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(POLL_S)
    raise RuntimeError(f"the server was not ready after {START_TIMEOUT_S:g} s")


def _ready_url(server_file: Path) -> str | None:
    return f"{json.loads(server_file.read_text())['url']}{READY}" if server_file.exists() else None


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill a server that has not ended."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
