"""The process that forks others: what it runs, and that it ends quietly."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import msgspec
import pytest
from support.processes import is_alive
from support.waiting import wait_until

from tailrace.processes import Spawner
from tailrace.processes.spawner import Kill

pytestmark = pytest.mark.process

HERE = "processes.test_spawner"


def echo(setup: bytes, descriptors: Sequence[int]) -> None:
    """Send back what was given: the setup, and what is read from each further descriptor."""
    connection = descriptors[0]  # which is closed by the end of the process
    os.write(connection, setup)
    for descriptor in descriptors[1:]:
        os.write(connection, os.read(descriptor, 100))


def fail(setup: bytes, descriptors: Sequence[int]) -> None:
    raise ValueError(setup.decode())


def wait(setup: bytes, descriptors: Sequence[int]) -> None:
    os.read(descriptors[0], 1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the spawner find this module."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def test_a_process_gets_its_setup_and_its_descriptors() -> None:
    spawner = Spawner.started()
    reading, writing = os.pipe()
    os.write(writing, b" and a pipe")
    pid, connection = spawner.fork(f"{HERE}:echo", b"setup", [reading])
    with connection:
        received = b"".join(iter(lambda: connection.recv(100), b""))
    os.close(reading)
    os.close(writing)

    assert received == b"setup and a pipe"
    assert spawner.ended_by(pid) == 0
    spawner.close()


def test_a_process_that_fails_costs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    spawner = Spawner.started()
    waiting, held = spawner.fork(f"{HERE}:wait", b"", [])
    failed, connection = spawner.fork(f"{HERE}:fail", b"for a reason", [])
    with connection:
        assert connection.recv(1) == b""
    assert spawner.ended_by(failed) == 0
    assert "ValueError: for a reason" in capfd.readouterr().err
    assert is_alive(waiting)
    spawner.close()
    wait_until(lambda: not is_alive(waiting))
    held.close()


def test_a_server_that_ends_before_an_answer_is_no_fault_of_the_spawner() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.send(msgspec.msgpack.encode(Kill(0)))
        ours.close()
        command = [sys.executable, "-m", "tailrace.processes", str(theirs.fileno())]
        ended = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, text=True, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, "")
