"""The server's queries run in processes of their own, which end with it."""

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.processes import descendants, is_alive
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer

MEMORY_BYTES = 96 * 1024**2
BOMB = (
    "SELECT length(range(1000).list_transform("
    "lambda x: range(1000).list_transform(lambda y: repeat('x', 10000) || y))) AS n"
)


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


def test_readiness_names_damaged_files_and_that_no_query_can_be_run(make_server: "MakeServer") -> None:
    server = make_server("--maintenance-every-s=0.1", "--verify-bytes-per-s=1GiB").start()
    assert server.client.get("/readyz").json() == {"status": "ok"}
    server.ingest("demo", [{"n": 1}])
    assert server.stop() == 0
    files = server.data / "lake" / "demo"
    [file] = files.glob("_day=*/*.parquet")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    server.start()

    wait_until(lambda: server.client.get("/readyz").json()["status"] == "degraded")
    ready = server.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["degraded"] == [
        f"dataset 'demo' has damaged files, and queries that need them are refused: {file.relative_to(files)}"
    ]
    file.write_bytes(content)
    wait_until(lambda: server.client.get("/readyz").json() == {"status": "ok"})

    temporary = server.data / "temporary"
    shutil.rmtree(temporary)
    temporary.touch()
    for pid in descendants(server.pid):
        if Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0] != str(server.pid):
            os.kill(pid, signal.SIGKILL)  # what was forked to run queries, not what forks
    wait_until(lambda: server.client.get("/readyz").status_code == 503)
    assert server.client.get("/readyz").json()["message"] == "no query process can be started; see the server's log"
    temporary.unlink()
    assert server.client.get("/readyz").json() == {"status": "ok"}
    assert server.sql("SELECT n FROM demo") == [{"n": 1}]
