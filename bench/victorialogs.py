"""`python -m bench.victorialogs BINARY`: a server beside VictoriaLogs, fed and asked the same in turn in one run.

Figures of the way in are CPU time of the server (Linux) with its processes, and requests a second by the clock;
queries are timed by the clock, the best of the repeats. Lower is better but for what is a second.
"""

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import httpx
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import load, queries, servers
from bench.compare import (
    BODY_BYTES,
    BODY_CONNECTIONS,
    DISTINCT_EVENTS,
    EVENT_CONNECTIONS,
    PARTS,
    SEED,
    WARM_UP_S,
    Figures,
    Size,
    cpu_s,
)
from bench.generators import BLUESKY, GENERATORS, Generator

SETTLE_S = 1.5  # VictoriaLogs shows events to queries at most a second late
FEED_TEXT = ("app.bsky.feed.post", "app.bsky.feed.repost", "app.bsky.feed.like")
CREATED = "kind:=commit commit.operation:=create"
POST = 'commit.collection:="app.bsky.feed.post"'

# The questions of `queries.QUESTIONS` that both can be asked, in LogsQL.
LOGSQL: Mapping[str, str] = {
    "1 events by collection": "* | stats by (commit.collection) count() n | sort by (n desc)",
    "2 users by collection": (
        f"{CREATED} | stats by (commit.collection) count() n, count_uniq(did) users | sort by (n desc)"
    ),
    "3 collections by hour": (
        f"{CREATED} commit.collection:in({','.join(map(repr, FEED_TEXT))})"
        " | stats by (commit.collection, _time:1h) count() n | sort by (_time, commit.collection)"
    ),
    "4 first posts": f"{CREATED} {POST} | stats by (did) min(_time) as earliest | sort by (earliest) limit 3",
    "5 longest activity": (
        f"{CREATED} {POST} | stats by (did) min(_time) as earliest, max(_time) as latest"
        " | math latest - earliest as span | sort by (span desc) limit 3"
    ),
    "count": "* | stats count() n",
    "first and last time": "* | stats min(_time) as earliest, max(_time) as latest",
    "latest 100": "* | sort by (_time desc) limit 100 | fields _time, did, kind, commit.collection",
    "a substring": 'commit.record.text:~"offee" | stats count() n',
    "a rare substring": 'commit.cid:~"{rare}" | stats count() n',
}
APL: Mapping[str, str] = {question.name: question.whole for question in queries.QUESTIONS if question.name in LOGSQL}


class VictoriaLogs(Struct, frozen=True):
    """A running VictoriaLogs."""

    address: tuple[str, int]
    process: subprocess.Popen[bytes]

    def ingest_request(self, generator: Generator, body: bytes) -> bytes:
        """Return the bytes of a request that brings a generator's events as NDJSON."""
        query = urlencode({"_time_field": generator.time_field, "_msg_field": "message"})
        headers = {"Content-Type": "application/stream+json"}
        return load.http_request("POST", f"/insert/jsonline?{query}", "127.0.0.1", headers, body)

    def stop(self) -> None:
        """End it in good order, with everything on disk."""
        self.process.terminate()
        self.process.wait(servers.STOP_TIMEOUT_S)


Server = VictoriaLogs | servers.Tailrace


@contextmanager
def victorialogs(binary: str, data: Path) -> Iterator[VictoriaLogs]:
    """Yield a VictoriaLogs with default settings, but that it keeps events of any age."""
    port = servers.free_port()
    process = subprocess.Popen(
        [binary, f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        servers.wait_until_ok(process, lambda: f"http://127.0.0.1:{port}/health")
        yield VictoriaLogs(("127.0.0.1", port), process)
    finally:
        servers.end(process)


FULL = Size(rounds=3, bodies=250, event_seconds=2.0, queried_events=1_000_000, query_repeats=15)
QUICK = Size(rounds=1, bodies=60, event_seconds=1.0, queried_events=100_000, query_repeats=5)


def main() -> None:
    """Measure both servers and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.victorialogs", description=__doc__)
    parser.add_argument("binary", help="the victoria-logs program")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    parts = options.only or PARTS
    measured: tuple[Figures, Figures] = (defaultdict(list), defaultdict(list))
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.status("measuring"):
        for _ in range(size.rounds):
            for generator in GENERATORS if "stream" in parts else ():
                bodies = generator.bodies(SEED, count=size.bodies, body_bytes=BODY_BYTES)
                for number, figures in enumerate(measured):
                    with _started(number, options) as server:
                        _stream(server, generator, bodies, figures)
            for number, figures in enumerate(measured if "events" in parts else ()):
                with _started(number, options) as server:
                    _single_events(server, GENERATORS[0], size.event_seconds, figures)
        if "queries" in parts:
            _ask(options, size, measured)
    _print(console, measured, size)


@contextmanager
def _started(number: int, options: argparse.Namespace) -> Iterator[Server]:
    """Yield this server (0) or the other (1) on a new directory."""
    with servers.directory_in(options.directory) as directory:
        if number == 0:
            with servers.tailrace(directory / "data") as tailrace:
                yield tailrace
        else:
            with victorialogs(options.binary, directory / "data") as other:
                yield other


def _create(server: Server, generator: Generator) -> None:
    if isinstance(server, servers.Tailrace):
        server.create(generator.dataset)


def _stream(server: Server, generator: Generator, bodies: list[bytes], figures: Figures) -> None:
    """Add the rate at which a load is acknowledged, what it costs until it is stored, and the peak of memory."""
    _create(server, generator)
    requests = [server.ingest_request(generator, body) for body in bodies]
    before = cpu_s(server.process.pid)
    done = load.run_once(server.address, requests, connections=BODY_CONNECTIONS)
    acknowledged_s = cpu_s(server.process.pid) - before
    megabytes = done.body_bytes / 1e6
    figures[f"acknowledged, MB a second, {generator.name}"].append(megabytes / done.elapsed_s)
    figures[f"acknowledged, CPU ms a MB, {generator.name}"].append(acknowledged_s * 1e3 / megabytes)
    began = time.monotonic()
    idle = acknowledged_s
    while time.monotonic() - began < servers.STOP_TIMEOUT_S:  # until it rests: shredded, written, merged
        time.sleep(1.0)
        spent = cpu_s(server.process.pid) - before
        if spent - idle < IDLE_CPU_S:
            break
        idle = spent
    peak = servers.peak_bytes(server.process.pid)
    server.stop()
    figures[f"stored and at rest, CPU ms a MB, {generator.name}"].append(idle * 1e3 / megabytes)
    figures[f"peak memory, MB, {generator.name}"].append(peak / 1e6)


IDLE_CPU_S = 0.05  # that a server at rest uses in a second


def _single_events(server: Server, generator: Generator, seconds: float, figures: Figures) -> None:
    """Add rate and CPU time of requests with one event each."""
    _create(server, generator)
    requests = [server.ingest_request(generator, event) for event in islice(generator.events(SEED), DISTINCT_EVENTS)]
    for connections in EVENT_CONNECTIONS:
        load.run(server.address, requests, connections=connections, seconds=WARM_UP_S)
        before = cpu_s(server.process.pid)
        done = load.run(server.address, requests, connections=connections, seconds=seconds)
        done.check()
        spent = cpu_s(server.process.pid) - before
        figures[f"single events a second, {connections} connections"].append(done.per_second)
        figures[f"single event, CPU µs, {connections} connections"].append(spent * 1e6 / done.requests)


def _ask(options: argparse.Namespace, size: Size, measured: tuple[Figures, Figures]) -> None:
    """Add the time of each question, asked of both servers in turn, each restarted since it was fed."""
    lines = list(islice(BLUESKY.events(SEED), size.queried_events))
    rare = queries.rare_text(SEED, size.queried_events)
    with servers.directory_in(options.directory) as directory:
        with servers.tailrace(directory / "tailrace") as server:
            queries.fill(server, SEED, size.queried_events)
            server.stop()
        with victorialogs(options.binary, directory / "other") as other:
            for first in range(0, len(lines), queries.EVENTS_PER_BODY):
                body = b"\n".join(lines[first : first + queries.EVENTS_PER_BODY]) + b"\n"
                load.run_once(other.address, [other.ingest_request(BLUESKY, body)], connections=1)
            other.stop()
        with (
            servers.tailrace(directory / "tailrace") as server,
            victorialogs(options.binary, directory / "other") as other,
            queries.client_of(server) as ours,
            httpx.Client(base_url=f"http://127.0.0.1:{other.address[1]}", trust_env=False, timeout=60) as theirs,
        ):
            time.sleep(SETTLE_S)
            for name, apl in APL.items():
                for turn in range(size.query_repeats):
                    for number in (0, 1) if turn % 2 else (1, 0):
                        began = time.perf_counter()
                        if number == 0:
                            queries.post(ours, apl.replace("{rare}", rare))
                        else:
                            _logsql(theirs, LOGSQL[name].replace("{rare}", rare))
                        measured[number][f"query, ms, {name}"].append((time.perf_counter() - began) * 1e3)


def _logsql(client: httpx.Client, query: str) -> bytes:
    answer = client.post("/select/logsql/query", data={"query": query})
    if answer.status_code != httpx.codes.OK or not answer.content:
        raise RuntimeError(f"{query}: {answer.status_code} {answer.text}")
    return answer.content


def _print(console: Console, measured: tuple[Figures, Figures], size: Size) -> None:
    """Print the best of all rounds."""
    table = Table(title=f"best of {size.rounds} (queries of {size.query_repeats})")
    table.add_column("figure", no_wrap=True)
    for heading in ("Tailrace", "VictoriaLogs", "times as good"):
        table.add_column(heading, justify="right")
    for name, ours in measured[0].items():
        is_rate = "a second" in name
        mine, theirs = (max(ours), max(measured[1][name])) if is_rate else (min(ours), min(measured[1][name]))
        ratio = mine / theirs if is_rate else theirs / mine
        table.add_row(name, f"{mine:,.2f}", f"{theirs:,.2f}", f"[{'green' if ratio >= 1 else 'red'}]{ratio:.2f}[/]")
    console.print(table)


if __name__ == "__main__":
    main()
