"""`tailrace worker` runs parts of the queries of a server with the same settings."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeServer, Server
from query.spread.dask_kit import Workers, scheduler
from support.s3 import Proxy, S3Server
from support.waiting import wait_until

from tailrace.query.spread.ask import NOT_SPREAD

EVENTS = [{"_time": f"2026-03-01T00:00:{n:02}Z", "n": n, "even": n % 2 == 0} for n in range(60)]


def test_a_worker_needs_a_scheduler(process: None) -> None:
    done = subprocess.run([sys.executable, "-m", "tailrace", "worker"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "setting dask is empty: a worker needs the address of a Dask scheduler" in done.stderr


@pytest.mark.slow
def test_a_server_gives_parts_to_its_workers(make_server: MakeServer) -> None:
    with scheduler() as address:
        server = make_server("--dask", address, "--spread-bytes", "0", "--commit-age-s", "0.1").start()
        server.create("web")
        server.ingest("web", EVENTS[:30])
        wait_until(lambda: _is_told(_asked(server)))  # once they are in a file
        server.ingest("web", EVENTS[30:])
        alone = _asked(server)
        workers = Workers(address, server.data)
        workers.start(2)
        try:
            spread = _asked(server)
        finally:
            workers.end()

    assert _is_told(alone)
    assert not _is_told(spread)
    assert spread["tables"] == alone["tables"]


@pytest.mark.slow
def test_workers_read_tables_in_a_store_through_a_cache_of_their_own(
    make_server: MakeServer, proxy: Proxy, s3: S3Server, tmp_path: Path
) -> None:
    tables = f"--storage={s3.url()}"
    data = tmp_path / "it's a worker's"
    data.mkdir()
    with scheduler() as address:
        server = make_server("--dask", address, "--spread-bytes=0", "--commit-age-s=0.1", tables).start()
        server.create("web")
        server.ingest("web", EVENTS)
        wait_until(lambda: _is_told(_asked(server)))
        alone = _asked(server)
        workers = Workers(address, data, tables, environment=s3.environment(proxy.endpoint))
        workers.start(2)
        try:
            spread = _asked(server)
        finally:
            workers.end()

    assert not _is_told(spread)
    assert spread["tables"] == alone["tables"]
    assert list((data / "cache").rglob("*.parquet"))


def _asked(server: Server) -> dict[str, Any]:
    query = {"apl": "web | where n > 3 | summarize count(), sum(n) by even", "startTime": "2026-03-01"}
    answer = server.client.post(
        "/v1/datasets/_apl", params={"format": "tabular"}, json=query, headers={"Cache-Control": "no-cache"}
    )
    found: dict[str, Any] = answer.json()
    return found


def _is_told(answer: dict[str, Any]) -> bool:
    return any(message["msg"].startswith(NOT_SPREAD) for message in answer["status"]["messages"])
