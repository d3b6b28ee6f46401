"""A query node and a lake node are two processes: the same answers as in one, and words where the lake node is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from query.golden_kit import Case, all_cases, shown
from support.flight import HOST, StatedOwners, remote_lake
from support.processes import stop

from tailrace.events import TailraceError
from tailrace.fleet.flight import connection
from tailrace.fleet.flight.credentials import Peer
from tailrace.fleet.flight.errors import OwnerUnavailable
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.lake import table_root
from tailrace.processes import Spawner
from tailrace.query import AplRequest, DuckDB, QueryLimits, QueryProcesses, run_apl
from tailrace.query.apl.times import datetime_ns

NOW_NS = datetime_ns("2026-03-02T12:00:00Z")

pytestmark = [pytest.mark.process, pytest.mark.slow]


class NodeProcess:
    """A process that serves a lake."""

    def __init__(self, directory: Path, data: str) -> None:
        self.directory = directory
        program = Path(__file__).with_name("lake_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(directory), data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        self.peer = Peer("lake-1", f"grpc://{HOST}:{port}")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Stand:
    """An engine over the lake of another process."""

    def __init__(self, lake: RemoteLake, root: Path) -> None:
        self.lake = lake
        self.engine = DuckDB(table_root(root / "lake"), root / "temporary", QueryLimits())

    def answer(self, query: str) -> str:
        try:
            result = run_apl(self.lake, self.engine, AplRequest(apl=query, now_ns=NOW_NS), check=lambda name: None)
        except TailraceError as error:
            return f"error: {error.message}"
        return shown(result.tables[0])


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    root = tmp_path_factory.mktemp("golden")
    node = NodeProcess(root / "lake", "golden")
    with remote_lake(StatedOwners(node.peer), root / "lake") as lake:
        made = Stand(lake, root)
        yield made
        made.engine.close()
    node.close()
    assert node.process.returncode == 0


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_a_query_gives_its_table(stand: Stand, case: Case) -> None:
    assert stand.answer(case.query) == case.expected


def test_query_processes_are_forked_beside_the_threads_of_flight(tmp_path: Path) -> None:
    spawner = Spawner.started()  # a process of its own, as a server has it, without the threads of Flight
    node = NodeProcess(tmp_path / "lake", "golden")
    engine = QueryProcesses(spawner, table_root(tmp_path / "lake"), tmp_path / "temporary", QueryLimits())
    try:
        with remote_lake(StatedOwners(node.peer), tmp_path / "lake") as lake:
            for case in all_cases()[:20]:
                request = AplRequest(apl=case.query, now_ns=NOW_NS)
                if not case.expected.startswith("error"):
                    assert shown(run_apl(lake, engine, request, check=lambda name: None).tables[0]) == case.expected
    finally:
        engine.close()
        spawner.close()
        node.close()
    assert node.process.returncode == 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path / "lake", "large")
    yield node
    node.close()


def test_an_owner_that_is_killed_in_the_middle_of_its_rows_is_told(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    class KillingDecoder:
        """Reads what stands beside the first batch, and ends the process that sends more."""

        def decode(self, raw: Any) -> Any:
            nonlocal read
            read += 1
            if read == 1:
                os.kill(node.process.pid, signal.SIGKILL)
            return chunk.decode(raw)

    chunk = connection._chunk
    with remote_lake(StatedOwners(node.peer), node.directory) as lake:
        monkeypatch.setattr(connection, "_chunk", KillingDecoder())
        with pytest.raises(OwnerUnavailable, match="'lake-1' was asked"):
            lake.snapshot("large", timeout_s=30)
    assert read >= 1


def test_an_owner_that_stands_still_is_waited_for_no_longer_than_it_has_the_dataset(node: NodeProcess) -> None:
    owners = StatedOwners(node.peer)
    with remote_lake(owners, node.directory) as lake:
        assert len(lake.snapshot("large", timeout_s=30).hot) >= 1
        stop(node.process.pid)
        try:
            began_s = time.monotonic()
            with pytest.raises(OwnerUnavailable, match="in time"):
                lake.snapshot("large", timeout_s=0.5)
            owners.of["large"] = None
            with pytest.raises(OwnerUnavailable, match="held by no lake node"):
                lake.snapshot("large", timeout_s=30)
            assert time.monotonic() - began_s < 10
        finally:
            os.kill(node.process.pid, signal.SIGCONT)
        owners.of.clear()
        assert len(lake.snapshot("large", timeout_s=30).hot) >= 1
