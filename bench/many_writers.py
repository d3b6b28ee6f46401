"""`python -m bench.many_writers`: what the same load costs when it is for one dataset, for 10, and for 100.

The bodies go to the datasets in turn. CPU time is of the server and its processes, until an orderly stop has committed
everything.
"""

import argparse
import resource
import sys
from pathlib import Path

from msgspec import Struct, structs
from rich.console import Console
from rich.table import Table

from bench import load, servers
from bench.compare import cpu_s
from bench.generators import GENERATORS, Generator

SEED = 1
BODY_BYTES = 250_000
BODIES = 1_000
CONNECTIONS = 16
DATASETS = (1, 10, 100)


class Written(Struct, frozen=True):
    """What one load of several datasets did."""

    generator: str
    datasets: int
    cpu_ms_per_mb: float
    acknowledged_mb_per_s: float
    commits: int
    files: int
    mb_per_commit: float  # as sent
    peak_mb: float


def main() -> None:
    """Measure the loads and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.many_writers", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter of another checkout's environment")
    parser.add_argument("--datasets", type=int, action="append", help=f"may be repeated (default: {DATASETS})")
    parser.add_argument("--events", choices=[each.name for each in GENERATORS], action="append")
    parser.add_argument("--bodies", type=int, default=BODIES, help="sent in all (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="of which the cheapest counts")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    parser.add_argument("options", nargs="*", help="of the server, behind --")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"{options.bodies} bodies of {BODY_BYTES / 1e6} MB, {CONNECTIONS} connections")
    for heading in ("events", "datasets", "CPU ms a MB", "MB a second", "commits", "files", "MB a commit", "peak MB"):
        table.add_column(heading, justify="left" if heading == "events" else "right")
    with console.status("measuring"):
        for generator in GENERATORS:
            if options.events and generator.name not in options.events:
                continue
            bodies = generator.bodies(SEED, count=options.bodies, body_bytes=BODY_BYTES)
            for datasets in options.datasets or DATASETS:
                rounds = []
                for _ in range(options.rounds):
                    with servers.directory_in(options.directory) as directory:
                        rounds.append(measure(generator, bodies, datasets, directory / "data", options))
                each = min(rounds, key=lambda written: written.cpu_ms_per_mb)
                table.add_row(
                    each.generator,
                    str(each.datasets),
                    f"{each.cpu_ms_per_mb:.1f}",
                    f"{each.acknowledged_mb_per_s:.0f}",
                    f"{each.commits:,}",
                    f"{each.files:,}",
                    f"{each.mb_per_commit:.2f}",
                    f"{each.peak_mb:.0f}",
                )
    console.print(table)


def measure(
    generator: Generator, bodies: list[bytes], datasets: int, data: Path, options: argparse.Namespace
) -> Written:
    """Return what a new server did of bodies that go to datasets in turn."""
    ended_s = _ended_cpu_s()
    with servers.tailrace(data, options.python, options=options.options) as server:
        each = [structs.replace(generator, dataset=f"{generator.dataset}-{number}") for number in range(datasets)]
        for dataset in each:
            server.create(dataset.dataset)
        requests = [server.ingest_request(each[number % datasets], body) for number, body in enumerate(bodies)]
        started_s = cpu_s(server.process.pid)
        done = load.run_once(server.address, requests, connections=CONNECTIONS)
        peak = servers.peak_bytes(server.process.pid)
        server.stop()
    spent_s = _ended_cpu_s() - ended_s - started_s
    logs = [path.read_text() for path in (data / "lake").glob("*/_delta_log/*.json")]
    commits = sum('"txn"' in text for text in logs)
    megabytes = done.body_bytes / 1e6
    return Written(
        generator.name,
        datasets,
        spent_s * 1e3 / megabytes,
        megabytes / done.elapsed_s,
        commits,
        sum(text.count('{"add"') for text in logs),
        megabytes / commits,
        peak / 1e6,
    )


def _ended_cpu_s() -> float:
    """Return the CPU time of all processes that were started here and have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
