"""What `/metrics` tells of the server beside its counters."""

import contextlib
import re
import threading
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support.waiting import wait_until

from tailrace import __version__

if TYPE_CHECKING:
    from conftest import MakeServer, Server

SLOW = "SELECT count(*) FROM range(100000000) a, range(100000) b"


def figures(server: "Server") -> dict[str, float]:
    """Each sample by its name and labels, as it is written."""
    text = server.client.get("/metrics").text
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_version_the_process_and_the_disk_are_told(server: "Server") -> None:
    told = figures(server)

    [build] = [name for name in told if name.startswith("tailrace_build_info")]
    assert re.fullmatch(rf"tailrace_build_info native=yes python=3\.\d+\.\d+ version={re.escape(__version__)}", build)
    assert told["process_resident_memory_bytes"] > 10_000_000
    assert told["process_cpu_seconds_total"] > 0
    assert 0 < told["process_open_fds"] < told["process_max_fds"]
    assert told["tailrace_free_disk_bytes"] > 0


def test_the_lag_is_what_is_acknowledged_and_not_committed(make_server: "MakeServer") -> None:
    server = make_server("--commit-age-s=3600").start()
    assert (figures(server)["tailrace_uncommitted_events"], figures(server)["tailrace_uncommitted_age_seconds"]) == (
        0,
        0,
    )

    server.ingest("demo", [{"n": 1}, {"n": 2}])
    server.ingest("demo", [{"n": 3}])

    told = figures(server)
    assert told["tailrace_uncommitted_events"] == 3
    assert told["tailrace_uncommitted_age_seconds"] > 0
    assert told["tailrace_log_flush_duration_seconds_count"] == 2
    assert told["tailrace_log_flush_duration_seconds_sum"] > 0
    assert told["tailrace_log_flush_duration_seconds_bucket le=+Inf"] == 2


def test_queries_that_run_and_that_wait_are_told(make_server: "MakeServer") -> None:
    server = make_server("--query-concurrency=1").start()
    headers = {"Authorization": f"Bearer {server.token}"}

    def ask() -> None:
        # Until the server is stopped, which hangs up on those that wait.
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"{server.url}/tailrace/v1/sql", json={"sql": SLOW}, headers=headers, trust_env=False)

    def under_way() -> tuple[float, float]:
        told = figures(server)
        return told["tailrace_queries state=running"], told["tailrace_queries state=waiting"]

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for each in asking:
        each.start()
    wait_until(lambda: under_way() == (1, 2))

    server.stop()
    for each in asking:
        each.join()
