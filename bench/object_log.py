"""`python -m bench.object_log s3://bucket/prefix`: a server with its log in an object store, and one with it on disk.

The store is what the variables AWS_… name. Bodies of 1 MB and requests of one event, by several numbers of connections;
both logs in turn, and the best of the rounds counts.
"""

import argparse
import re
import sys
import uuid
from itertools import islice
from pathlib import Path

import httpx
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import load, servers
from bench.compare import cpu_s
from bench.generators import GENERATORS

SEED = 1
BODY_BYTES = 1_000_000
BODIES = 60  # distinct
DISTINCT_EVENTS = 2000
LOADS = (("bodies of 1 MB", 4), ("bodies of 1 MB", 32), ("single events", 128), ("single events", 512))
SECONDS = 4.0
ROUNDS = 3
HEADINGS = ("load", "connections", "log", "MB/s", "events/s", "p50 ms", "p99 ms", "flushes a GB", "CPU ms a MB")


class Answered(Struct, frozen=True):
    """What one load did."""

    mb_per_s: float
    events_per_s: float
    p50_ms: float
    p99_ms: float
    flushes_per_gb: float  # or puts
    cpu_ms_per_mb: float  # of the server


def main() -> None:
    """Measure the loads and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.object_log", description=__doc__)
    parser.add_argument("url", help="s3://bucket/prefix")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("options", nargs="*", help="of the server, behind --")
    options = parser.parse_args()
    table = Table()
    for heading in (
        "load",
        "connections",
        "log",
        "MB/s",
        "events/s",
        "p50 ms",
        "p99 ms",
        "flushes a GB",
        "CPU ms a MB",
    ):
        table.add_column(heading, justify="left" if heading in ("load", "log") else "right")
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.status("measuring"):
        for kind, connections in LOADS:
            rounds: dict[str, list[Answered]] = {"disk": [], "objects": []}
            for _ in range(options.rounds):
                for log, answered in rounds.items():
                    url = f"{options.url}/{uuid.uuid4().hex}"
                    given = [*options.options, *([f"--log={url}"] if log == "objects" else [])]
                    with servers.directory_in(options.directory) as directory:
                        answered.append(measure(kind, connections, directory / "data", given, options.seconds))
            for log, answered in rounds.items():
                best = max(answered, key=lambda each: each.mb_per_s)
                table.add_row(
                    kind,
                    str(connections),
                    log,
                    f"{best.mb_per_s:.1f}",
                    f"{best.events_per_s:,.0f}",
                    f"{best.p50_ms:.0f}",
                    f"{best.p99_ms:.0f}",
                    f"{best.flushes_per_gb:,.0f}",
                    f"{best.cpu_ms_per_mb:.1f}",
                )
    console.print(table)


def measure(kind: str, connections: int, data: Path, options: list[str], seconds: float) -> Answered:
    """Return what a new server answered."""
    generator = GENERATORS[0]
    if kind == "single events":
        bodies = list(islice(generator.events(SEED), DISTINCT_EVENTS))
        events_per_body = 1.0
    else:
        bodies = generator.bodies(SEED, count=BODIES, body_bytes=BODY_BYTES)
        events_per_body = sum(body.count(b"\n") for body in bodies) / len(bodies)
    with servers.tailrace(data, options=options) as server:
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, body) for body in bodies]
        load.run(server.address, requests, connections=connections, seconds=0.5)
        flushes, began_s = _flushes(server), cpu_s(server.process.pid)
        done = load.run(server.address, requests, connections=connections, seconds=seconds)
        done.check()
        flushes, spent_s = _flushes(server) - flushes, cpu_s(server.process.pid) - began_s
    latencies = sorted(done.latencies_s)
    megabytes = done.body_bytes / 1e6
    return Answered(
        mb_per_s=megabytes / done.elapsed_s,
        events_per_s=done.requests * events_per_body / done.elapsed_s,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
        flushes_per_gb=flushes / megabytes * 1e3,
        cpu_ms_per_mb=spent_s * 1e3 / megabytes,
    )


def _flushes(server: servers.Tailrace) -> int:
    host, port = server.address
    headers = {"Authorization": f"Bearer {server.token}"}
    text = httpx.get(f"http://{host}:{port}/metrics", headers=headers, trust_env=False).text
    found = re.search(r"^tailrace_log_flush_duration_seconds_count (\S+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


if __name__ == "__main__":
    main()
