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
from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.log import FIRST_WRITER, Log
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
    return receipt.position


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
    lake.replayed({FIRST_WRITER: log.read})
    engine = DuckDB(table_root(lake.root), tmp_path / "temporary", QueryLimits())
    found = run_sql(lake, engine, "SELECT n FROM d ORDER BY n", check=lambda dataset: None)
    assert b"".join(to_ndjson(found)).split() == [b'{"n":1}', b'{"n":2}']
    lake.close()
    assert memory.positions == []
    log.close()
    engine.close()


# Of the package `log`, what is of a log on a local disk.
OF_FILES = {"LocalLog", "FileCalls", "directory", "frames", "local", "segments"}


def names_of_the_log(path: Path) -> set[str]:
    """Return what a module has of the package `log`: names it imports, or reaches as attributes of the package."""
    names: set[str] = set()
    text = path.read_text()
    if "tailrace.log" not in text and "LocalLog" not in text:
        return names  # which saves the time to parse it
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module="tailrace.log"):
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module)) if module.startswith("tailrace.log."):
                names |= {module.split(".")[2], *(alias.name for alias in node.names)}
            case ast.Import():
                names |= {alias.name.split(".")[2] for alias in node.names if alias.name.startswith("tailrace.log.")}
            case ast.Attribute(attr="LocalLog") | ast.Constant(value="LocalLog") | ast.Name(id="LocalLog"):
                names.add("LocalLog")
    return names


def test_only_the_module_that_opens_the_log_knows_which_one_it_is() -> None:
    of_files = {
        path.relative_to(SOURCE).as_posix(): names
        for path in SOURCE.rglob("*.py")
        if (names := names_of_the_log(path) & OF_FILES) and path.parent != SOURCE / "log"
    }

    assert of_files == {
        "server/log_opening.py": {"LocalLog", "FileCalls"},
        "server/stores.py": {"LocalLog"},  # of workers, whose logs it replays and closes
        "server/doctor.py": {"segments", "FileCalls"},  # which reads the files of a server that does not start
    }


def test_a_name_of_the_log_is_found_however_it_is_reached(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for text in (
        "from tailrace.log import LocalLog as log",
        "import tailrace.log as log\nlog.LocalLog.open(path)",
        "from tailrace import log\nlog.LocalLog",
        "from tailrace.log.local import LocalLog",
        'def open() -> "LocalLog": ...',
    ):
        module.write_text(text)
        assert "LocalLog" in names_of_the_log(module), text
    module.write_text("import tailrace.log.segments")
    assert names_of_the_log(module) == {"segments"}
