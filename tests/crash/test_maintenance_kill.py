"""Maintenance killed at each of its steps, and a server killed at any moment of it: no event is lost or doubled."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq
import pytest
from crash.interrupted import BY_HAND, MOMENTS, operate
from crash.test_kill import DATASET, LONGEST_RUN_S, Writers
from deltalake import DeltaTable
from support.events import FIRST_TIME_NS, batch
from support.rounds import ROUNDS, rounds

from tailrace.lake import Lake

if TYPE_CHECKING:
    from conftest import MakeServer, Server

KILLS = rounds(3)
MOST_KILLS = rounds(40)  # where no compaction was met by then
COMPACTIONS = "tailrace_compactions_total "
COMMITS = 8
BATCHES = [
    (n + 1, batch([{"n": 3 * n + i} for i in range(3)], first_ns=FIRST_TIME_NS + n * 10**9)) for n in range(COMMITS)
]
BOUND_NS = FIRST_TIME_NS + 4 * 10**9 + 1_000_000  # within the fifth
ALL = list(range(3 * COMMITS))
LEFT = {
    "compact": ALL,
    "trim": ALL[13:],
    "delete": ALL[::2],
    "retention": ALL[12:],
}
ONCE_COMMITTED = list(MOMENTS)[list(MOMENTS).index("after the Delta commit, not flushed") :]
WRITES = ("new file half written", "new file written, not flushed")


@pytest.fixture(scope="module")
def interrupted() -> Iterator[Callable[..., int]]:
    """Run a step of maintenance in a process that ends at a moment of it, and return how it ended."""
    program = [sys.executable, str(Path(__file__).with_name("interrupted.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as running:

        def run(*step: str | int) -> int:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(json.dumps(step) + "\n")
            return int(running.stdout.readline())

        yield run


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("operation", LEFT)
def test_a_kill_at_a_step_of_maintenance_loses_and_doubles_nothing(
    tmp_path: Path, operation: str, moment: str, interrupted: Callable[..., int]
) -> None:
    if operation == "retention" and moment in WRITES:
        pytest.skip("retention writes no file")
    root = tmp_path / "lake"
    lake = Lake.open(root, BY_HAND)
    lake.create("d")
    for each in BATCHES:
        lake.accept_all([each])
        lake.commit_now("d")
    lake.close()

    assert interrupted(str(root), operation, moment, BOUND_NS) == -signal.SIGKILL

    expected = LEFT[operation] if moment in ONCE_COMMITTED else ALL
    assert sorted(pl.read_delta(str(root / "d"))["n"].to_list()) == expected
    lake = Lake.open(root, BY_HAND)
    lake.accept_all(BATCHES)  # as if the log had not been told
    assert lake.highest_position() == COMMITS
    assert numbers(lake) == expected
    operate(lake, operation, BOUND_NS)
    assert numbers(lake) == LEFT[operation]
    lake.accept(COMMITS + 1, batch([{"n": 100}]))
    lake.close()

    assert sorted(pl.read_delta(str(root / "d"))["n"].to_list()) == [*LEFT[operation], 100]
    live = {Path(uri) for uri in DeltaTable(root / "d").file_uris()}
    assert set((root / "d").glob("_day=*/*")) == live


@pytest.mark.rounds
@pytest.mark.timeout(400 * ROUNDS)
def test_what_was_acknowledged_is_there_once_when_a_server_is_killed_while_it_compacts(
    make_server: "MakeServer",
) -> None:
    moments = random.Random(20261121)
    server = make_server(
        "--commit-bytes=64KiB",
        "--commit-age-s=0.1",
        "--log-segment-bytes=256KiB",
        "--compact-files=2",
        "--maintenance-every-s=0.01",
        "--query-timeout-s=0.5",  # so that files are removed within the test
        "--keep-removed-s=0",
    ).start()
    server.create(DATASET)
    writers = Writers()
    pause = threading.Event()
    merged = 0
    try:
        for kill in range(1, MOST_KILLS + 1):
            writers.up(server)
            pause.wait(moments.uniform(0.1, 2 * LONGEST_RUN_S))
            merged += compactions(server)
            server.kill()
            writers.down()
            server.start()
            if kill >= KILLS and merged:
                break
    finally:
        writers.finish()
    server.stop()

    table = pl.read_delta(str(server.data / "lake" / DATASET))
    times = dict(table.group_by("number").len().iter_rows())
    assert writers.refused == []
    assert merged > 0
    assert [number for number in writers.acknowledged if times.get(number) != 1] == []
    assert [number for number, count in times.items() if count != 1 or number not in writers.sent] == []


def compactions(server: "Server") -> int:
    [line] = [line for line in server.client.get("/metrics").text.splitlines() if line.startswith(COMPACTIONS)]
    return int(float(line.split()[1]))


def numbers(lake: Lake) -> list[int]:
    snapshot = lake.snapshot("d")
    parts = [pq.ParquetFile(file.location).read() for file in snapshot.files]
    return sorted(n for part in (*parts, *(part.rows for part in snapshot.hot)) for n in part["n"].to_pylist())
