"""`python -m bench.fleet_ingest`: what a MB costs a fleet in CPU time, with 1, 2 and 4 ingest nodes.

NDJSON bodies of 1 MB go to all ingest nodes evenly, over four connections to each, as fast as they are answered; one
lake node, an S3 server and PostgreSQL are on the same machine. What a node takes without a load is told apart. Needs
PostgreSQL's programs.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import load
from bench.compare import cpu_s
from bench.fleet_nodes import ROOT_TOKEN, FleetNode, surroundings
from bench.generators import GENERATORS

SEED = 1
NODES = (1, 2, 4)
BODY_BYTES = 1_000_000
BODIES = 40  # distinct
MEGABYTES = 160
CONNECTIONS = 4
ROUNDS = 3
READY_S = 60.0
LEASE_S = 10.0
IDLE_S = 5.0


class Cost(Struct, frozen=True):
    """What a load cost."""

    mb_per_s: float  # until all was answered
    ingest_ms: float  # of CPU a MB, of all ingest nodes, beyond what they take without a load
    idle_ms: float  # of CPU a second, of one ingest node without a load
    lake_ms: float  # likewise of the lake node, until all was in its memory


def measure(count: int, megabytes: int, directory: Path) -> Cost:
    """Return what a load costs a new fleet of so many ingest nodes."""
    generator = GENERATORS[0]
    bodies = generator.bodies(SEED, count=BODIES, body_bytes=BODY_BYTES)
    with surroundings(directory) as around, ExitStack() as ending:
        lake = FleetNode("lake-0", "lake", directory, around, lease_s=LEASE_S)
        nodes = [FleetNode(f"ingest-{number}", "ingest", directory, around, lease_s=LEASE_S) for number in range(count)]
        for node in (lake, *nodes):
            ending.callback(node.end)
            node.start()
        for node in (lake, *nodes):
            node.wait_ready(READY_S)
        lake.ask("POST", "/v2/datasets", {"name": generator.dataset}).raise_for_status()
        path = f"/v1/datasets/{generator.dataset}/ingest?timestamp-field={generator.time_field}"
        headers = {"Authorization": f"Bearer {ROOT_TOKEN}", "Content-Type": "application/x-ndjson"}
        addresses = [("127.0.0.1", httpx.URL(node.url).port or 0) for node in nodes]

        def send(number: int, requests: int) -> load.Load:
            host, port = addresses[number]
            texts = [load.http_request("POST", path, f"{host}:{port}", headers, body) for body in bodies]
            chosen = [texts[each % BODIES] for each in range(number, number + requests)]
            return load.run_once(addresses[number], chosen, connections=CONNECTIONS)

        with ThreadPoolExecutor(count) as senders:
            list(senders.map(send, range(count), [CONNECTIONS] * count))  # what is done once is done
            _wait_read(lake, generator.dataset)
            idle_s = [cpu_s(node.pid) for node in nodes]
            time.sleep(IDLE_S)
            began = [cpu_s(node.pid) for node in (lake, *nodes)]
            done = list(senders.map(send, range(count), [megabytes // count] * count))
        spent = [cpu_s(node.pid) for node in nodes]
        _wait_read(lake, generator.dataset)
        of_lake = cpu_s(lake.pid) - began[0]
    sent = sum(each.body_bytes for each in done) / 1e6
    idle = (sum(began[1:]) - sum(idle_s)) / IDLE_S / count
    took_s = max(each.elapsed_s for each in done)
    return Cost(
        mb_per_s=sent / took_s,
        ingest_ms=(sum(spent) - sum(began[1:]) - idle * count * took_s) * 1e3 / sent,
        idle_ms=idle * 1e3,
        lake_ms=of_lake * 1e3 / sent,
    )


def _wait_read(lake: FleetNode, dataset: str) -> None:
    """Return once all that was answered is in the lake node's memory, which a query waits for."""
    lake.ask("POST", "/tailrace/v1/sql", {"sql": f'SELECT count(*) AS n FROM "{dataset}"'}).raise_for_status()


def main() -> None:
    """Measure the fleets in turn, and print the median of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_ingest", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="of each load (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    costs: dict[int, list[Cost]] = {count: [] for count in NODES}
    with console.status("measuring"):
        for _ in range(options.rounds):
            for count, found in costs.items():
                with tempfile.TemporaryDirectory(prefix="tailrace-fleet-") as directory:
                    found.append(measure(count, options.megabytes, Path(directory)))
    table = Table()
    for heading in ("ingest nodes", "MB/s", "CPU ms a MB, ingest", "to 1 node", "idle, ms a s", "CPU ms a MB, lake"):
        table.add_column(heading, justify="right")
    one = statistics.median(each.ingest_ms for each in costs[NODES[0]])
    for count, found in costs.items():
        ingest_ms = statistics.median(each.ingest_ms for each in found)
        table.add_row(
            str(count),
            f"{statistics.median(each.mb_per_s for each in found):.1f}",
            f"{ingest_ms:.1f}",
            f"{ingest_ms / one:.2f}",
            f"{statistics.median(each.idle_ms for each in found):.0f}",
            f"{statistics.median(each.lake_ms for each in found):.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
