"""Queries in processes of their own: their memory is bounded, and whatever they do costs nothing but themselves."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from query.kit import Desk
from support.processes import cpu_ticks, is_alive
from support.waiting import wait_until

from tailrace.events import QueryFailed, QueryInvalid, QueryProcessEnded
from tailrace.lake import HotTable, table_root
from tailrace.processes import Spawner
from tailrace.query import AplRequest, DuckDB, Interrupt, QueryLimits, QueryProcesses, run_apl, run_sql
from tailrace.query.arrow_json import JSON_FIELD
from tailrace.query.engines.processes import QueryProcess
from tailrace.query.engines.shared_memory import SharedMemory, SharedReader
from tailrace.query.sources import HotRows

pytestmark = pytest.mark.process

MEMORY_BYTES = 128 * 1024**2
BOMBS = [
    "SELECT length(range(1000).list_transform("
    "lambda x: range(1000).list_transform(lambda y: repeat('x', 10000) || y)))",
    "SELECT length(range(10000).list_transform(lambda x: strftime(now(), repeat('%c', 10000))))",
    "SELECT repeat('x', 10000) || i AS text FROM range(1000000) t(i)",
    "SELECT length(string_agg(repeat('x', 10000), ',')) FROM range(100000)",
]
# A condition on all three, so that it takes time and no memory.
ENDLESS = "SELECT count(*) FROM range(100000) a(x), range(100000) b(y), range(100000) c(z) WHERE hash(x + y + z) = 0"


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    made = Spawner.started()
    yield made
    made.close()


@pytest.fixture
def open_desk(spawner: Spawner, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []

    def make(**limits: float) -> Desk:
        wanted = QueryLimits(**{"memory_bytes": MEMORY_BYTES, "threads": 1, **limits})  # type: ignore[arg-type]
        desk = over_processes(Desk(tmp_path, wanted), spawner, wanted)
        opened.append(desk)
        return desk

    yield make
    for desk in opened:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def over_processes(desk: Desk, spawner: Spawner, limits: QueryLimits) -> Desk:
    """Return the desk with another engine."""
    desk.engine.close()
    engine: Any = QueryProcesses(spawner, table_root(desk.root / "lake"), desk.root / "temporary", limits)
    desk.engine = engine
    return desk


def processes(desk: Desk) -> list[int]:
    engine: Any = desk.engine
    return [each.pid for each in (*engine._idle, *engine._busy)]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_needs_too_much_memory_is_an_error_that_names_the_limit(desk: Desk) -> None:
    assert desk.column("SELECT 1") == [1]
    before = resident_bytes()
    for bomb in BOMBS:
        with pytest.raises(QueryFailed, match=f"query_memory_bytes = {MEMORY_BYTES}"):
            desk.run(bomb)
        assert desk.column("SELECT 1") == [1]

    assert resident_bytes() - before < MEMORY_BYTES / 4


def test_an_answer_of_too_many_bytes_is_refused(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(max_bytes=1024**2)

    with pytest.raises(QueryFailed, match="query_max_bytes = 1048576"):
        desk.run("SELECT repeat('x', 1000) || i AS text FROM range(2000) t(i)")
    assert len(desk.ask("SELECT repeat('x', 100) AS text FROM range(2000) t(i)")) == 2000


def test_rows_in_files_and_in_memory_are_read(desk: Desk) -> None:
    desk.put("logs", {"n": 1, "text": "one"}, {"n": 2})
    desk.lake.commit_now()
    desk.put("logs", {"n": 3, "text": "three"})
    desk.put("logs", {"m": 4})

    assert desk.ask('SELECT n, m, "text" FROM logs WHERE coalesce(n, m) > 1 ORDER BY coalesce(n, m)') == [
        {"n": 2, "m": None, "text": None},
        {"n": 3, "m": None, "text": "three"},
        {"n": None, "m": 4, "text": None},
    ]


def test_an_answer_is_what_it_is_in_the_same_process(desk: Desk, tmp_path: Path) -> None:
    desk.put("logs", {"n": 1, "list": [1, {"x": None}], "mixed": 1}, {"mixed": "x", "rest": {"deep": [True]}})
    alike = DuckDB(table_root(tmp_path / "lake"), tmp_path / "other", desk.engine.limits)
    for query in ("SELECT * FROM logs ORDER BY _time", "SELECT list, mixed FROM logs WHERE false"):
        ours, theirs = (
            run_sql(desk.lake, engine, query, check=lambda name: None).table for engine in (desk.engine, alike)
        )
        assert ours.equals(theirs, check_metadata=True)
    alike.close()


def test_rows_of_json_are_json_there_too(desk: Desk) -> None:
    field = pa.field("cell", pa.string(), metadata=JSON_FIELD)
    rows = pa.Table.from_arrays([pa.array(['{"a":1}', None])], schema=pa.schema([field]))
    with desk.engine.session() as session:
        session.register("rows", rows)
        answer = session.table("SELECT typeof(cell) AS kind, cell FROM rows")

    assert answer["kind"].to_pylist() == ["JSON", "JSON"]
    assert answer["cell"].to_pylist() == ['{"a":1}', None]


def test_apl_with_functions_in_python(desk: Desk) -> None:
    desk.put("logs", {"n": 1, "url": "https://example.com:8080/a"}, {"n": 2})
    apl = "logs | extend port = parse_url(url)['port'] | where n == 1 | project n, port | order by n asc"
    answer = run_apl(desk.lake, desk.engine, AplRequest(apl=apl), check=lambda name: None)

    assert answer.tables[0].rows["n"].to_pylist() == [1]
    assert "8080" in str(answer.tables[0].rows["port"].to_pylist())
    assert answer.status.rows_examined == 2


def test_what_the_sender_did_wrong_is_told_as_ever(desk: Desk) -> None:
    desk.put("logs", {"status": 1})

    with pytest.raises(QueryInvalid, match="has a field 'statsu' so far; did you mean 'status'"):
        desk.run("SELECT statsu FROM logs")
    with pytest.raises(QueryInvalid, match="the function getenv is not allowed"):
        desk.run("SELECT getenv('HOME')")
    assert desk.column("SELECT 1") == [1]


def test_a_process_is_used_again_and_replaced_where_it_ended(desk: Desk) -> None:
    desk.run("SELECT 1")
    [first] = processes(desk)
    desk.run("SELECT 1")
    assert processes(desk) == [first]

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_alive(first))
    assert desk.column("SELECT 1") == [1]
    assert first not in processes(desk)


def once_it_computes(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that waits for a query, once it has one."""
    before = cpu_ticks(pid)

    def send() -> None:
        wait_until(lambda: cpu_ticks(pid) > before + 5)
        os.kill(pid, number)

    threading.Thread(target=send).start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_process_that_is_ended_from_outside_costs_its_query_alone(desk: Desk, number: signal.Signals) -> None:
    desk.run("SELECT 1")
    [victim] = processes(desk)
    once_it_computes(victim, number)

    with pytest.raises(QueryProcessEnded, match=f"was ended from outside, by {number.name}") as caught:
        desk.run(ENDLESS)
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert desk.column("SELECT 1") == [1]


def test_a_process_that_ends_itself_for_want_of_memory_names_the_limit(desk: Desk) -> None:
    desk.run("SELECT 1")
    [victim] = processes(desk)
    once_it_computes(victim, signal.SIGABRT)

    with pytest.raises(QueryFailed, match="query_memory_bytes"):
        desk.run(ENDLESS)


def test_a_query_is_stopped_from_another_thread(desk: Desk) -> None:
    interrupt = Interrupt()
    threading.Timer(0.2, interrupt.stop, ["the client hung up"]).start()

    with pytest.raises(QueryFailed, match="the client hung up"):
        desk.run(ENDLESS, interrupt=interrupt)
    assert desk.column("SELECT 1") == [1]


def test_a_query_that_heeds_no_interrupt_ends_with_its_time(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(timeout_s=1.0, memory_bytes=2**31)
    began = time.monotonic()
    with pytest.raises(QueryFailed, match="query_timeout_s = 1 s"):
        desk.run(
            "SELECT length(range(10000).list_transform(lambda x: length(range(10000).list_transform("
            "lambda y: md5(repeat('x', 1000) || (x + y))))))"
        )
    assert time.monotonic() - began < 10


def test_of_queries_that_together_have_too_much_the_largest_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk.engine.session() as one, desk.engine.session() as other:
        small, large = (session._process.pid for session in (one, other))  # type: ignore[attr-defined]
        sizes = {small: MEMORY_BYTES // 3, large: MEMORY_BYTES}
        monkeypatch.setattr(QueryProcess, "more_bytes", property(lambda process: sizes[process.pid]))
        wait_until(lambda: not is_alive(large))
        sizes[large] = 0

        assert one.table("SELECT 1 AS n")["n"].to_pylist() == [1]


def test_the_end_of_the_spawner_is_recovered_from(tmp_path: Path) -> None:
    spawner = Spawner.started()
    limits = QueryLimits(memory_bytes=MEMORY_BYTES)
    desk = over_processes(Desk(tmp_path, limits), spawner, limits)
    try:
        desk.run("SELECT 1")
        [worker] = processes(desk)
        parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        wait_until(lambda: not is_alive(worker))

        assert desk.column("SELECT 1") == [1]
    finally:
        desk.close()
        spawner.close()


def test_closing_ends_the_processes(desk: Desk) -> None:
    desk.run("SELECT 1")
    [worker] = processes(desk)
    desk.engine.close()

    wait_until(lambda: not is_alive(worker))


def test_rows_are_shared_once_and_given_back() -> None:
    memory = SharedMemory()
    rows = pa.table({"a": pa.array(range(100_000), pa.int64())})
    first = memory.put(rows).parts

    assert memory.put(rows).parts == first
    held = os.fstat(memory.descriptor).st_blocks
    del rows
    assert os.fstat(memory.descriptor).st_blocks < held / 100
    memory.close()


def test_each_column_of_hot_rows_is_shared_once_and_given_back() -> None:
    memory = SharedMemory()
    reader = SharedReader(memory.descriptor)
    part = hot_part(100_000)
    some = HotRows((part,), pa.schema([("_time", part.rows.schema.field("_time").type), ("a", pa.int64())]))
    more = HotRows((part,), pa.schema([*some.schema, pa.field("b", pa.string()), pa.field("c", pa.string())]))

    [some_blocks], [more_blocks] = memory.put(some).parts, memory.put(more).parts

    assert more_blocks[:2] == some_blocks
    assert len(more_blocks) == 3
    rows = reader.get(memory.put(more))
    assert rows.column_names == ["_time", "a", "b", "c"]
    assert rows.select(["_time", "a"]).equals(part.rows.select(["_time", "a"]))
    assert rows["b"].to_pylist() == part.rows["b"].to_pylist()
    assert rows["c"].null_count == 100_000
    held = os.fstat(memory.descriptor).st_blocks * 512
    assert held < part.rows.nbytes  # as texts of few values take less as a dictionary
    del part, some, more
    assert os.fstat(memory.descriptor).st_blocks * 512 < held / 100
    memory.close()


def test_small_parts_are_shared_whole_in_one_window_of_a_reader() -> None:
    memory = SharedMemory()
    reader = SharedReader(memory.descriptor)
    parts = tuple(hot_part(n) for n in range(1, 300))
    schema = pa.schema([("_time", parts[0].rows.schema.field("_time").type), ("b", pa.string())])
    opened = len(os.listdir("/proc/self/fd"))

    shared = memory.put(HotRows(parts, schema))
    rows = reader.get(shared)

    assert [len(blocks) for blocks in shared.parts] == [1] * len(parts)
    assert rows["b"].to_pylist() == [text for part in parts for text in part.rows["b"].to_pylist()]
    assert len(os.listdir("/proc/self/fd")) <= opened + 1
    del parts
    memory.close()


def test_a_block_is_in_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.query.engines.shared_memory.WINDOW_BYTES", 64 * 1024)
    memory = SharedMemory()
    reader = SharedReader(memory.descriptor)
    tables = [pa.table({"a": [bytes(size)]}) for size in (1_000, 60_000, 5_000, 200_000, 1_000)]

    shared = [memory.put(table) for table in tables]

    assert [reader.get(each).equals(table) for each, table in zip(shared, tables, strict=True)] == [True] * len(tables)
    memory.close()


def hot_part(rows: int) -> HotTable:
    """Return rows with a number and a text of few values."""
    times = pa.array(range(rows), pa.timestamp("us", "UTC"))
    texts = pa.array([("GET", "POST", None)[n % 3] for n in range(rows)], pa.string())
    return HotTable.of(pa.table({"_time": times, "a": pa.array(range(rows), pa.int64()), "b": texts}))


def test_an_engine_whose_processes_cannot_be_started_says_so_until_they_can(
    spawner: Spawner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "temporary"
    place.touch()
    engine = QueryProcesses(spawner, table_root(tmp_path), place, QueryLimits(memory_bytes=MEMORY_BYTES, threads=1))
    try:
        assert [engine.fault() for _ in range(2)] == ["no query process can be started; see the server's log"] * 2
        assert caplog.text.count("no query process can be started") == 1
        place.unlink()
        assert engine.fault() == ""
        [ready] = engine._idle
        assert engine.fault() == ""
        assert engine._idle == [ready]

        os.kill(ready.pid, signal.SIGKILL)
        wait_until(lambda: not ready.resident_bytes())
        assert engine.fault() == ""
        assert any(process.resident_bytes() for process in engine._idle)
    finally:
        engine.close()
