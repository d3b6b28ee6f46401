"""Requests with one event each, to servers with one process that takes events in, and with several: rate and CPU.

python -m bench.workers [--workers 1 2] [--connections 16 128]    the median of three rounds, in turn
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import load, servers
from bench.compare import DISTINCT_EVENTS, EVENT_CONNECTIONS, SEED, WARM_UP_S, cpu_s
from bench.generators import GENERATORS

ROUNDS = 3
SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--connections", type=int, nargs="+", default=list(EVENT_CONNECTIONS))
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    rates: dict[tuple[int, int], list[float]] = defaultdict(list)
    costs: dict[tuple[int, int], list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for workers in options.workers:
            for connections, (rate, cost) in _measured(options.directory, workers, options.connections).items():
                rates[workers, connections].append(rate)
                costs[workers, connections].append(cost)
    table = Table(title=f"single events, medians of {ROUNDS} rounds of {SECONDS:g} s")
    for heading in ("connections", "workers", "a second", "ratio", "CPU µs, all processes"):
        table.add_column(heading, justify="right")
    for connections in options.connections:
        first = statistics.median(rates[options.workers[0], connections])
        for workers in options.workers:
            rate = statistics.median(rates[workers, connections])
            cost = statistics.median(costs[workers, connections])
            table.add_row(str(connections), str(workers), f"{rate:,.0f}", f"{rate / first:.2f}", f"{cost:.0f}")
    Console().print(table)


def _measured(parent: Path, workers: int, several: list[int]) -> dict[int, tuple[float, float]]:
    """Return the requests a second and the CPU µs of one, of a new server, by number of connections."""
    generator = GENERATORS[0]
    found = {}
    options = [f"--workers={workers}"]
    with servers.directory_in(parent) as directory, servers.tailrace(directory / "data", options=options) as server:
        server.create(generator.dataset)
        events = islice(generator.events(SEED), DISTINCT_EVENTS)
        requests = [server.ingest_request(generator, event) for event in events]
        for connections in several:
            load.run(server.address, requests, connections=connections, seconds=WARM_UP_S)
            before = cpu_s(server.process.pid)
            done = load.run(server.address, requests, connections=connections, seconds=SECONDS)
            done.check()
            found[connections] = done.per_second, (cpu_s(server.process.pid) - before) * 1e6 / done.requests
    return found


if __name__ == "__main__":
    main()
