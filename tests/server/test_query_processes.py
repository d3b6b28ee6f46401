"""The server's queries run in processes of their own, which end with it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer

MEMORY_BYTES = 96 * 1024**2
BOMB = (
    "SELECT length(range(1000).list_transform("
    "lambda x: range(1000).list_transform(lambda y: repeat('x', 10000) || y))) AS n"
)


def descendants(pid: int) -> set[int]:
    """The processes that a process made, and theirs."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            some = [int(child) for child in children.read_text().split()]
            found.update(some)
            waiting += some
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def most_resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_no_query_grows_or_ends_the_server_and_no_process_outlives_it(make_server: "MakeServer", how: str) -> None:
    server = make_server(f"--query-memory-bytes={MEMORY_BYTES}").start()
    assert server.sql("SELECT 1 AS n") == [{"n": 1}]
    before = most_resident_kib(server.pid)
    refused = server.client.post("/tailrace/v1/sql", json={"sql": BOMB})

    assert refused.status_code == 422
    assert f"query_memory_bytes = {MEMORY_BYTES}" in refused.json()["message"]
    assert server.sql("SELECT 1 AS n") == [{"n": 1}]
    assert most_resident_kib(server.pid) - before < MEMORY_BYTES / 1024 / 4
    others = descendants(server.pid)
    assert len(others) >= 2  # what forks, and what it forked
    getattr(server, how)()
    wait_until(lambda: not any(map(is_alive, others)))
