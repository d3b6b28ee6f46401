"""`python -m bench.compare PYTHON`: a server of another checkout beside this one's, measured in turn in one run.

PYTHON is the interpreter of the other checkout's environment. Figures are CPU time of the server and its query
processes (Linux), which other work on the machine disturbs less than a clock; queries are timed by the clock.
The best of the rounds counts.
"""

import argparse
import os
import resource
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import load, queries, servers
from bench.generators import GENERATORS, Generator

SEED = 1
BODY_BYTES = 1_000_000
BODY_CONNECTIONS = 4
EVENT_CONNECTIONS = (16, 128)
DISTINCT_EVENTS = 2000  # that single-event requests repeat
WARM_UP_S = 0.5
LEAST_RATIO = 0.95  # of the other's figure to this one's
PARTS = ("stream", "events", "queries")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Size(Struct, frozen=True):
    """How much is measured."""

    rounds: int
    bodies: int
    event_seconds: float
    queried_events: int
    query_repeats: int


FULL = Size(rounds=3, bodies=60, event_seconds=2.0, queried_events=300_000, query_repeats=20)
QUICK = Size(rounds=1, bodies=20, event_seconds=1.0, queried_events=50_000, query_repeats=5)

Figures = dict[str, list[float]]  # by name: one a round


def main() -> None:
    """Measure both servers and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("python", help="interpreter of the other checkout's environment")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part only; may be repeated")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    parts = options.only or PARTS
    console = Console(width=None if sys.stdout.isatty() else 120)
    measured: dict[str, Figures] = {python: defaultdict(list) for python in (options.python, sys.executable)}
    with console.status("measuring"):
        for number in range(size.rounds):
            pythons = list(measured) if number % 2 else list(reversed(measured))
            for generator in GENERATORS if "stream" in parts else ():
                bodies = generator.bodies(SEED, count=size.bodies, body_bytes=BODY_BYTES)
                for python in pythons:
                    with servers.directory_in(options.directory) as directory:
                        _stream(python, generator, bodies, directory / "streamed", measured[python])
            for python in pythons if "events" in parts else ():
                with servers.directory_in(options.directory) as directory:
                    _single_events(python, GENERATORS[0], directory / "single", size.event_seconds, measured[python])
        if "queries" in parts:
            with servers.directory_in(options.directory) as directory:
                _ask(measured, directory, size)
    other, this = measured[options.python], measured[sys.executable]
    table = Table(title=f"best of {size.rounds} (queries of {size.query_repeats})")
    table.add_column("figure", no_wrap=True)
    for heading in ("other", "this", "other : this"):
        table.add_column(heading, justify="right")
    for name in other:
        before, now = min(other[name]), min(this[name])
        style = "green" if before / now >= LEAST_RATIO else "red"
        table.add_row(name, f"{before:.2f}", f"{now:.2f}", f"[{style}]{before / now:.2f}[/]")
    console.print(table)


def _stream(python: str, generator: Generator, bodies: list[bytes], data: Path, figures: Figures) -> None:
    """Add the CPU time of a start, and that of acknowledging, shredding and committing a load."""
    before = _ended_cpu_s()
    with servers.tailrace(data, python) as server:
        started = cpu_s(server.process.pid)
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, body) for body in bodies]
        done = load.run_once(server.address, requests, connections=BODY_CONNECTIONS)
        server.stop()
    spent = _ended_cpu_s() - before - started
    figures["start, ms"].append(started * 1e3)
    figures[f"through to Delta, ms a MB, {generator.name}"].append(spent * 1e3 / (done.body_bytes / 1e6))


def _single_events(python: str, generator: Generator, data: Path, seconds: float, figures: Figures) -> None:
    """Add the CPU time of requests with one event each."""
    events = list(islice(generator.events(SEED), DISTINCT_EVENTS))
    with servers.tailrace(data, python) as server:
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, event) for event in events]
        for connections in EVENT_CONNECTIONS:
            load.run(server.address, requests, connections=connections, seconds=WARM_UP_S)
            before = cpu_s(server.process.pid)
            done = load.run(server.address, requests, connections=connections, seconds=seconds)
            done.check()
            spent = cpu_s(server.process.pid) - before
            figures[f"single event, µs, {connections} connections"].append(spent * 1e6 / done.requests)


def _ask(measured: dict[str, Figures], directory: Path, size: Size) -> None:
    """Add the time of each question, asked of both servers in turn."""
    with ExitStack() as stack:
        asked = []
        for number, (python, figures) in enumerate(measured.items()):
            data = directory / str(number)
            with servers.tailrace(data, python) as server:
                queries.fill(server, SEED, size.queried_events)
                server.stop()
            server = stack.enter_context(servers.tailrace(data, python))
            asked.append((stack.enter_context(queries.client_of(server)), figures))
        for question in queries.QUESTIONS:
            for _ in range(size.query_repeats):
                for client, figures in asked:
                    began = time.perf_counter()
                    queries.post(client, question.whole)
                    figures[f"query, ms on the clock, {question.name}"].append((time.perf_counter() - began) * 1e3)


def cpu_s(pid: int) -> float:
    """Return the CPU time that a server of this process id and its processes have used, in seconds."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the name in parentheses, which may hold anything: state, parent, …, utime, stime, cutime, cstime.
            values = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        process = int(entry.parent.name)
        ticks[process] = sum(map(int, values[11:15]))
        children[int(values[1])].append(process)
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        total += ticks.get(process, 0)
        waiting += children[process]
    return total / TICKS_PER_S


def _ended_cpu_s() -> float:
    """Return the CPU time of all processes that were started here and have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
