"""`python -m bench.remote_lake`: a snapshot of hot rows in this process, and of those in another one's lake by Flight.

For each kind of events: the size of the rows, the time of a snapshot, and the CPU time of both processes. Remote: with
all rows to be sent, with none, as they were sent before, and with 100 new ones. The median of the rounds.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.compare import cpu_s
from bench.generators import GENERATORS, Generator
from tailrace.events import Batch
from tailrace.events.sizes import GIB, MIB
from tailrace.fleet.flight.credentials import Credentials, Peer
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.fleet.flight.server import LakeServer
from tailrace.lake import Lake, LakeSettings, LocalCatalog

SEED = 1
EVENTS = 100_000
BATCH_EVENTS = 1_000
NEW_EVENTS = 100
ROUNDS = 15
IN_MEMORY = LakeSettings(commit_age_s=86_400, commit_bytes=4 * GIB, max_uncommitted_bytes=8 * GIB)
CREDENTIALS = Credentials("a secret of the benchmark")
TIMEOUT_S = 60.0


class LakeWithEvents:
    """A lake whose dataset `d` has hot rows."""

    def __init__(self, directory: Path, generator: Generator, events: int) -> None:
        self.lake = Lake.open(directory, IN_MEMORY)
        self.lake.create("d")
        self._events = generator.events(SEED)
        self._position = 0
        for _ in range(events // BATCH_EVENTS):
            self.add(BATCH_EVENTS)
        self.lake.snapshot("d")

    def add(self, count: int) -> None:
        """Add some events."""
        self._position += 1
        lines = b"".join(event + b"\n" for event in islice(self._events, count))
        times = np.full(count, time.time_ns(), dtype=np.int64)
        self.lake.accept(self._position, Batch("d", lines, times, count, time.time_ns()))


class AnyOwner:
    """Has one node own everything."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def owns(self, dataset: str) -> bool:
        return False

    def owner(self, dataset: str) -> Peer:
        return self._peer

    def peers(self) -> list[Peer]:
        return [self._peer]


def serve(directory: Path, generator: Generator, events: int) -> None:
    """Serve a lake; a line of the standard input adds events, and its end ends this."""
    filled = LakeWithEvents(directory, generator, events)
    server = LakeServer(filled.lake, node="lake-1", host="127.0.0.1", port=0, credentials=CREDENTIALS)
    print(server.port, flush=True)
    for line in sys.stdin:
        filled.add(int(line))
        print("added", flush=True)
    server.close()
    filled.lake.close(commit=False)


@contextmanager
def process(directory: Path, generator: Generator, events: int) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that serves a lake."""
    options = ["--serve", str(directory), "--only", generator.name, "--events", str(events)]
    command = [sys.executable, "-m", "bench.remote_lake", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        yield started
        assert started.stdin is not None
        started.stdin.close()


def measured(
    work: Callable[[], object], before: Callable[[], object], rounds: int, pid: int
) -> tuple[float, float, float]:
    """Return the median of wall time, CPU time here and of another process, in ms."""
    figures = []
    for _ in range(rounds):
        before()
        other, own, began_s = cpu_s(pid), _own_cpu_s(), time.perf_counter()
        work()
        wall_s = time.perf_counter() - began_s
        figures.append((wall_s, _own_cpu_s() - own, cpu_s(pid) - other))
    return tuple(1000 * median(each) for each in zip(*figures, strict=True))


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(generator: Generator, events: int, rounds: int, table: Table) -> None:
    """Add the rows of one kind of events to the table."""
    with tempfile.TemporaryDirectory() as made, process(Path(made) / "remote", generator, events) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        port = int(started.stdout.readline())
        local = LakeWithEvents(Path(made) / "local", generator, events)
        peer = Peer("lake-1", f"grpc://127.0.0.1:{port}")
        remote = RemoteLake(AnyOwner(peer), CREDENTIALS, LocalCatalog(Path(made) / "remote"), cache_bytes=4 * GIB)
        remote.start(TIMEOUT_S)
        size = sum(part.rows.nbytes for part in local.lake.snapshot("d").hot) / MIB

        def add() -> None:
            assert started.stdin is not None
            assert started.stdout is not None
            print(NEW_EVENTS, file=started.stdin, flush=True)
            started.stdout.readline()

        def forget() -> None:
            remote.cache.clear()

        def ask() -> object:
            return remote.snapshot("d", timeout_s=TIMEOUT_S)

        ask()
        for what, work, before in (
            ("here", lambda: local.lake.snapshot("d"), lambda: None),
            ("remote, all rows", ask, forget),
            ("remote, none", ask, lambda: None),
            (f"remote, {NEW_EVENTS} new", ask, add),
        ):
            figures = measured(work, before, rounds, started.pid)
            table.add_row(generator.name, f"{size:.0f}", what, *(f"{figure:.1f}" for figure in figures))
        remote.close()
        local.lake.close(commit=False)


def main() -> None:
    """Measure the kinds of events and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.remote_lake", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", help="one kind of events")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = [each for each in GENERATORS if options.only in (None, each.name)]
    if options.serve:
        serve(options.serve, chosen[0], options.events)
        return
    table = Table()
    for heading in ("events", "MiB", "snapshot", "ms", "CPU ms here", "CPU ms there"):
        table.add_column(heading, justify="left" if heading in ("events", "snapshot") else "right")
    for generator in chosen:
        measure(generator, options.events, options.rounds, table)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
