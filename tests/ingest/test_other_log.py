"""The service and the lake over a log that is not the server's own: they need no more of it than `Log` says."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.append import append_now
from support.ingest import open_service
from support.memory_log import MemoryLog

from tailrace.events import Batch, ParsedBatch, TailraceError
from tailrace.events.outcome import RequestOutcome
from tailrace.ingest.service import LogIngestService
from tailrace.lake import Lake, LakeSettings
from tailrace.log import Log
from tailrace.query import DuckDB, QueryLimits, run_sql, to_ndjson

SOURCE = Path(__file__).parents[2] / "src" / "tailrace"
NOW_NS = 1_790_000_000_000_000_000


def event(number: int) -> ParsedBatch:
    line = b'{"n":%d}\n' % number
    return ParsedBatch(line, np.array([NOW_NS], dtype=np.int64), 1, len(line), ())


async def ingest(service: LogIngestService, number: int) -> int:
    """Return the position of an event of the dataset "d"."""
    dataset = service.check_dataset("d")
    receipt = await service.ingest(event(number), dataset, RequestOutcome("toy"), received_ns=NOW_NS, labels={})
    return receipt.offset


def test_the_service_and_the_lake_work_over_a_log_in_memory(tmp_path: Path) -> None:
    log = MemoryLog()

    async def run() -> None:
        async with open_service(tmp_path, open_log=lambda _, subscription: log.subscribe(subscription)) as parts:
            parts.lake.create("d")
            assert [await ingest(parts.service, 1), await ingest(parts.service, 2)] == [1, 2]
            assert log.positions == [1, 2]
            assert await asyncio.to_thread(parts.rows, "d") == [{"n": 1}, {"n": 2}]

            await asyncio.to_thread(parts.lake.commit_now)
            assert log.positions == []
            assert await ingest(parts.service, 3) == 3

    asyncio.run(run())
    assert log.positions == []


def test_a_batch_that_the_log_fails_with_costs_none_that_came_with_it(tmp_path: Path) -> None:
    class Failing(MemoryLog):
        def append(self, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
            if batch.events == b'{"n":1}\n':
                raise MemoryError
            super().append(batch, done)

    log = Failing()

    async def run() -> tuple[int | BaseException, int | BaseException]:
        async with open_service(tmp_path, open_log=lambda _, subscription: log.subscribe(subscription)) as parts:
            parts.lake.create("d")
            return await asyncio.gather(ingest(parts.service, 1), ingest(parts.service, 2), return_exceptions=True)

    failed, position = asyncio.run(run())
    assert isinstance(failed, TailraceError)
    assert position == 1


def batch_of(number: int) -> Batch:
    parsed = event(number)
    return Batch("d", parsed.events, parsed.times, 1, NOW_NS)


def test_a_lake_replays_what_a_log_in_memory_has_and_its_tables_have_not(tmp_path: Path) -> None:
    memory = MemoryLog()
    lake = Lake.open(tmp_path / "lake", LakeSettings(commit_age_s=1e9))
    lake.create("d")
    lake.replayed()
    log: Log = memory.subscribe(lake.subscription)
    append_now(log, batch_of(1))
    lake.commit_now()
    append_now(log, batch_of(2))
    lake.close(commit=False)
    log.close()
    assert memory.positions == [2]

    lake = Lake.open(tmp_path / "lake", LakeSettings(commit_age_s=1e9))
    log = memory.subscribe(lake.subscription)
    for position, batch in log.read(lake.committed_position() + 1):
        lake.accept(position, batch)
    lake.replayed(log.read)
    engine = DuckDB(lake.root, tmp_path / "temporary", QueryLimits())
    found = run_sql(lake, engine, "SELECT n FROM d ORDER BY n", check=lambda dataset: None)
    assert to_ndjson(found).split() == [b'{"n":1}', b'{"n":2}']
    lake.close()
    assert memory.positions == []
    log.close()
    engine.close()


def test_only_the_module_that_opens_the_log_knows_which_one_it_is() -> None:
    naming = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(
            (isinstance(node, ast.Name) and node.id == "LocalLog")
            or (isinstance(node, ast.alias) and node.name == "LocalLog")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }

    assert {path for path in naming if not path.startswith("log/")} == {"server/stores.py"}
