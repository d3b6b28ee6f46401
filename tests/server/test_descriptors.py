"""Connections leave enough descriptors for files, however many there are."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Server

from tailrace.server.http import max_connections
from tailrace.server.streams.listeners import port_connections
from tailrace.server.streams.settings import StreamLimits

LIMIT = 300


class Confined(Server):
    """A server that may open few files."""

    def launch_arguments(self) -> list[str]:
        return ["/bin/sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *super().launch_arguments()]


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Server]:
    running = Confined(tmp_path / "data").start()
    yield running
    running.end()


@pytest.mark.process
def test_idle_connections_leave_reads_and_writes_alone(confined: Server) -> None:
    confined.create("logs")
    with ExitStack() as idle:
        for _ in range(2 * LIMIT):
            connection = idle.enter_context(socket.socket())
            connection.settimeout(0.05)
            try:
                connection.connect(("127.0.0.1", int(confined.url.rpartition(":")[2])))
            except TimeoutError:  # the kernel's queue is full as well
                break
        for n in range(5):
            assert confined.ingest("logs", [{"n": n}]).status_code == 200
            assert confined.sql("SELECT count(*) AS n FROM logs") == [{"n": n + 1}]
    assert confined.client.get("/readyz").status_code == 200
    assert "failed" not in confined.errors.read_text()
    assert confined.stop() == 0


def test_the_limit_is_raised_and_shared_out() -> None:
    assert max_connections(1024) == 768
    assert max_connections(300) == 75
    assert max_connections(1_000_000) == 4096
    for descriptors, ports in ((1024, 7), (1024, 1), (300, 3), (65536, 7)):
        others = ports * port_connections(StreamLimits(), descriptors, ports)
        assert others > 0
        assert others + max_connections(descriptors, others) + 25 <= descriptors


@pytest.mark.process
def test_shredding_imports_nothing_late() -> None:
    program = """
import pathlib, sys, tempfile
import numpy as np
import tailrace.server.serve
from tailrace.events import Batch
from tailrace.lake import Lake
with tempfile.TemporaryDirectory() as root:
    lake = Lake.open(pathlib.Path(root))
    before = set(sys.modules)
    lake.create("d")
    for position, line in enumerate([b'{"a":1}', b'{"a":"x","b":[1],"c":{"d":1.5}}', b'{"a":1.5,"":2,"A":3}'], 1):
        times = np.array([1_780_000_000_000_000_000], np.int64)
        lake.accept(position, Batch("d", line + b"\\n", times, 1, 1_780_000_000_000_000_000))
        lake.snapshot("d")
    print(sorted(set(sys.modules) - before))
    lake.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
