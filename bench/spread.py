"""What a query over many events costs on one node, and on one and two Dask workers: wall and CPU time, and ratios; and
what it costs to gather the answers of parts, and to divide them by keys.

python -m bench.spread [--events 10000000]    the best of three of each; the workers are processes of this machine
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from distributed import LocalCluster

from bench import compare
from tailrace.events import Batch
from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import AplRequest, DuckDB, QueryLimits, run_apl
from tailrace.query.engines.spreader import SpreadUnavailable
from tailrace.query.spread.dask_spreader import DaskSpreader
from tailrace.query.spread.settings import SpreadSettings

FIRST_NS = 1_700_000_000_000_000_000
BATCH_EVENTS = 100_000
COMMIT_EVENTS = 500_000
ROUNDS = 3

QUESTIONS = {
    "groups": "logs | where ms > 20 | summarize count(), sum(ms), avg(ms) by host, status",
    "distinct users": "logs | summarize dcount(user), max(ms) by status",
    "text": 'logs | where path contains "item/77" | summarize count() by bin(_time, 1h)',
    "top": "logs | extend part = extract('item/([0-9]+)', 1, path) | top 10 by ms | project part, ms",
}

DIVIDED = {
    "percentile": "logs | summarize percentile(ms, 95) by user | top 10 by percentile_ms",
    "distinct": "logs | summarize dcount(path) by user | top 10 by dcount_path",
    "many groups": "logs | summarize count(), max(ms) by user, status | top 10 by count_",
    "few groups": "logs | summarize percentile(ms, 95) by host",
    "join": "logs | where ms > 90 | join kind=inner (logs | where ms < 4) on user | summarize count() by status",
}
EVERYTHING_BYTES = 2**40


def fill(lake: Lake, events: int) -> None:
    """Put events of ten fields into `logs`, in files of half a million."""
    lake.create("logs")
    chosen = np.random.default_rng(7)
    for first in range(0, events, BATCH_EVENTS):
        count = min(BATCH_EVENTS, events - first)
        numbers = zip(
            chosen.integers(0, 200, count).tolist(), chosen.integers(0, 100_000, count).tolist(),
            chosen.integers(0, 5, count).tolist(), chosen.exponential(40, count).round(2).tolist(),
            chosen.integers(0, 10_000, count).tolist(), strict=True,
        )  # fmt: skip
        lines = [
            b'{"host":"h%d","user":"u%d","status":%d,"ms":%f,"path":"/shop/item/%d/view"}\n'
            % (host, user, 200 + status, ms, item)
            for host, user, status, ms, item in numbers
        ]
        times = FIRST_NS + (first + np.arange(count, dtype=np.int64)) * 10_000_000
        lake.accept(first // BATCH_EVENTS + 1, Batch("logs", b"".join(lines), times, count, FIRST_NS))
        if (first + count) % COMMIT_EVENTS == 0 or first + count == events:
            lake.commit_now("logs")


@contextmanager
def workers(address: str, data: Path, count: int, spreader: DaskSpreader) -> Iterator[list[int]]:
    """Yield the process ids of so many workers of one thread."""
    options = ["--query-threads", "1", "--query-concurrency", "1", "--log-level", "error"]
    command = [sys.executable, "-m", "tailrace", "worker", "--dask", address, "--data", str(data), *options]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        while _width(spreader) != count:
            time.sleep(0.1)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _width(spreader: DaskSpreader) -> int:
    with suppress(SpreadUnavailable):
        return spreader.width()
    return 0


def cpu_s(pids: list[int]) -> float:
    """Return the CPU time of this process, and of others with all that they started."""
    return time.process_time() + sum(map(compare.cpu_s, pids))


def measured(ask: Callable[[], object], pids: list[int]) -> tuple[float, float]:
    """Return the least wall and the least CPU time of several rounds, in seconds."""
    walls, cpus = [], []
    for _ in range(ROUNDS + 1):  # the first one opens files and starts processes
        before, started = cpu_s(pids), time.perf_counter()
        ask()
        walls.append(time.perf_counter() - started)
        cpus.append(cpu_s(pids) - before)
    return min(walls[1:]), min(cpus[1:])


def ways_to_put_together(
    ask: Callable[[str], Callable[[], object]], spreader: DaskSpreader, pids: list[int]
) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU time of questions whose parts answer much, where that is gathered and where it is divided."""
    figures: dict[str, list[tuple[float, float]]] = {}
    usual = spreader.gather_bytes
    for name, apl in DIVIDED.items():
        figures[name] = []
        for spreader.gather_bytes in (EVERYTHING_BYTES, 0):
            figures[name].append(measured(ask(apl), pids))
    spreader.gather_bytes = usual
    return figures


def main() -> None:
    """Print wall and CPU time of each question, on the node alone and on one and two workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tailrace-bench-") as directory,
        LocalCluster(n_workers=0, processes=True, dashboard_address=":0", host="127.0.0.1") as cluster,
    ):
        data = Path(directory)
        lake = Lake.open(data / "lake", LakeSettings())
        fill(lake, options.events)
        tables = table_root(data / "lake")
        engine = DuckDB(tables, data / "temporary", QueryLimits(threads=1, timeout_s=600))
        spreader = DaskSpreader(SpreadSettings(dask=cluster.scheduler_address, spread_bytes=0), tables, engine.limits)

        def ask(apl: str) -> Callable[[], object]:
            request = AplRequest(apl=apl, totals=False)
            return lambda: run_apl(lake, engine, request, check=lambda dataset: None)

        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in QUESTIONS}
        for count in (0, 1, 2):
            with workers(cluster.scheduler_address, data, count, spreader) as pids:
                engine.spreader = spreader if count else None
                for name, apl in QUESTIONS.items():
                    figures[name].append(measured(ask(apl), pids))
                if count == 2:
                    put_together = ways_to_put_together(ask, spreader, pids)
        print(f"{'question':16}{'alone':>18}{'1 worker':>18}{'2 workers':>18}{'2 : 1':>8}   (wall s, CPU s)")
        for name, pairs in figures.items():
            cells = "".join(f"{wall:9.2f} {cpu:8.2f}" for wall, cpu in pairs)
            print(f"{name:16}{cells}{pairs[1][0] / pairs[2][0]:8.2f}")
        print(f"\n{'on 2 workers':16}{'gathered':>18}{'divided':>18}{'CPU':>8}   (wall s, CPU s)")
        for name, pairs in put_together.items():
            cells = "".join(f"{wall:9.2f} {cpu:8.2f}" for wall, cpu in pairs)
            print(f"{name:16}{cells}{pairs[1][1] / pairs[0][1]:8.2f}")
        spreader.close()
        engine.close()
        lake.close()


if __name__ == "__main__":
    main()
