"""Parts as tasks of real Dask workers, which die, are of another version, or are not there."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from query.golden_kit import all_cases
from query.spread.conftest import golden_lake
from query.spread.dask_kit import Workers, scheduler, scheduler_process
from query.spread.test_ask import NOW_NS, TwoWays
from support.processes import stop
from support.waiting import wait_until

from tailrace.events import QueryFailed
from tailrace.lake import table_root
from tailrace.lake.snapshot import TableRoot
from tailrace.query import Interrupt, QueryLimits
from tailrace.query.engines.spreader import BucketQuery, DividedRows, SpreadUnavailable
from tailrace.query.spread import dask_spreader
from tailrace.query.spread.ask import NOT_SPREAD
from tailrace.query.spread.dask_spreader import DaskParts, DaskSpreader
from tailrace.query.spread.settings import SpreadSettings

SUM = "['http-logs'] | where id > 0 | summarize sum(id)"
ENDLESS = "SELECT sum(hash(a.i + b.i) % 7)::BIGINT AS n FROM range(10000000) a(i), range(10000000) b(i)"


@pytest.fixture(scope="module")
def address(process: None) -> Iterator[str]:
    with scheduler() as address:
        yield address


@pytest.fixture(scope="module")
def ways(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoWays]:
    root = tmp_path_factory.mktemp("dask")
    lake = golden_lake(root / "lake")
    made = TwoWays(lake, root)
    yield made
    made.close()
    lake.close(commit=False)


@pytest.fixture(scope="module")
def workers(address: str, ways: TwoWays) -> Iterator[Workers]:
    made = Workers(address, ways.lake.root.parent)
    made.start(2)
    ways.use(made.spreader)
    yield made
    made.end()


def parts_of(spreader: DaskSpreader, *texts: str, interrupt: Interrupt | None = None) -> list[object]:
    with spreader.started(texts, interrupt or Interrupt()) as running:
        return [table.column(0)[0].as_py() for table in running.tables(range(len(texts)))]


def sums_of_buckets(
    spreader: DaskSpreader, text: str, *, rows: int = 100, buckets: int = 4, interrupt: Interrupt | None = None
) -> list[int]:
    """Return the first value of each bucket of the numbers of three parts below `rows`, and of 1000."""
    part = f"SELECT i AS k, (hash(i) % {buckets})::INTEGER AS bucket FROM range({rows}) t(i)"
    own = pa.table({"k": pa.array([1000]), "bucket": pa.array([0], pa.int32())})
    with spreader.started([part] * 3, interrupt or Interrupt()) as running:
        assert len(running.sizes()) == 3
        [answers] = running.of_buckets([BucketQuery(text, buckets, [DividedRows("numbers", range(3), own)])])
        return [table.column(0)[0].as_py() for table in answers]


SUM_OF_BUCKET = "SELECT sum(k)::BIGINT FROM numbers"


def test_some_golden_queries_give_the_same_answer_over_workers(workers: Workers, ways: TwoWays) -> None:
    for case in all_cases()[::22]:
        in_one, in_parts = ways.texts(case.query, now_ns=NOW_NS)
        assert in_parts == in_one, case.name


def test_some_golden_queries_give_the_same_answer_of_buckets(workers: Workers, ways: TwoWays) -> None:
    for case in all_cases()[7::44]:
        in_one, of_buckets = ways.texts(case.query, divided=True, now_ns=NOW_NS)
        assert of_buckets == in_one, case.name


@pytest.mark.slow
@pytest.mark.parametrize("divided", [False, True], ids=["gathered", "divided"])
def test_every_golden_query_gives_the_same_answer_over_three_workers(
    workers: Workers, ways: TwoWays, divided: bool
) -> None:
    workers.start(max(3 - len(workers.processes), 0))
    for case in all_cases():
        in_one, in_parts = ways.texts(case.query, divided=divided, now_ns=NOW_NS)
        assert in_parts == in_one, case.name


def test_a_query_that_is_stopped_stops_its_parts(workers: Workers) -> None:
    interrupt = Interrupt()
    threading.Timer(0.5, interrupt.stop, ["the client went away"]).start()

    with pytest.raises(QueryFailed, match="the client went away"):
        parts_of(workers.spreader, *[ENDLESS] * 4, interrupt=interrupt)
    assert parts_of(workers.spreader, *["SELECT 7"] * 4) == [7] * 4  # in the places of those


def test_rows_are_divided_between_workers(workers: Workers) -> None:
    sums = sums_of_buckets(workers.spreader, SUM_OF_BUCKET)

    assert sum(sums) == 3 * sum(range(100)) + 1000
    assert len(set(sums)) == 4
    wait_until(lambda: workers.tasks() == [])


def test_a_query_that_is_stopped_stops_its_buckets(workers: Workers) -> None:
    interrupt = Interrupt()
    endless = f"{ENDLESS} WHERE a.i > (SELECT min(k) FROM numbers)"

    def stop_it() -> None:
        wait_until(workers.runs_buckets)
        interrupt.stop("the client went away")

    stopping = threading.Thread(target=stop_it)
    stopping.start()

    with pytest.raises(QueryFailed, match="the client went away"):
        sums_of_buckets(workers.spreader, endless, interrupt=interrupt)
    stopping.join()
    assert parts_of(workers.spreader, *["SELECT 7"] * 4) == [7] * 4  # in the places of those
    wait_until(lambda: workers.tasks() == [])


def test_what_buckets_answer_too_much_is_refused(workers: Workers, address: str, ways: TwoWays) -> None:
    narrow = QueryLimits(max_bytes=1024**2)
    spreader = DaskSpreader(SpreadSettings(dask=address), table_root(ways.lake.root), narrow)

    with pytest.raises(SpreadUnavailable, match="what it makes of its buckets has more bytes than query_max_bytes = 1"):
        sums_of_buckets(spreader, "SELECT i FROM range(200000) t(i)")
    spreader.close()


@pytest.mark.slow
def test_a_worker_refuses_parts_and_buckets_that_are_too_large(process: None, tmp_path: Path) -> None:
    with scheduler() as address:
        workers = Workers(address, tmp_path, "--query-max-bytes", str(1024**2))
        workers.start(1)
        try:
            with pytest.raises(
                SpreadUnavailable, match="a part of it answers more bytes than query_max_bytes = 1048576"
            ):
                sums_of_buckets(workers.spreader, SUM_OF_BUCKET, rows=200_000)
            with pytest.raises(
                SpreadUnavailable, match=r"a bucket of the rows .* more bytes than query_max_bytes = 1048"
            ):
                sums_of_buckets(workers.spreader, SUM_OF_BUCKET, rows=80_000, buckets=1)
        finally:
            workers.end()


def test_a_query_past_its_time_stops_its_parts(workers: Workers) -> None:
    with pytest.raises(QueryFailed, match=r"longer than query_timeout_s = 0\.5 s"):
        parts_of(workers.spreader, ENDLESS, ENDLESS, interrupt=Interrupt(0.5))
    assert parts_of(workers.spreader, "SELECT 7") == [7]


def test_an_error_of_a_part_comes_in_its_words(workers: Workers, ways: TwoWays) -> None:
    with pytest.raises(QueryFailed, match="too many of them"):
        parts_of(workers.spreader, "SELECT 7", "SELECT error('refused: too many of them')")

    missing = ways.lake.root / "users" / "none.parquet"
    with pytest.raises(QueryFailed, match=r"failed 3 times, .*a file of dataset 'users' cannot be read"):
        parts_of(workers.spreader, f"SELECT * FROM read_parquet('{missing}')")


def test_what_a_worker_cannot_put_together_is_an_error_of_the_query(workers: Workers) -> None:
    part = "SELECT 7 AS k, 0 AS bucket"
    own = pa.table({"k": pa.array(["no number"]), "bucket": pa.array([0], pa.int32())})

    with (
        workers.spreader.started([part], Interrupt()) as running,
        pytest.raises(QueryFailed, match=r"failed 3 times, .*no number"),
    ):
        running.of_buckets([BucketQuery(SUM_OF_BUCKET, 1, [DividedRows("numbers", range(1), own)])])


def test_parts_that_answer_too_much_are_refused(workers: Workers, address: str, ways: TwoWays) -> None:
    narrow = QueryLimits(max_bytes=1024**2)
    spreader = DaskSpreader(SpreadSettings(dask=address), table_root(ways.lake.root), narrow)

    with pytest.raises(SpreadUnavailable, match="more bytes than query_max_bytes = 1048576"):
        parts_of(spreader, *["SELECT i FROM range(100000) t(i)"] * 2)
    spreader.close()


def test_workers_of_another_version_are_given_nothing(
    workers: Workers, ways: TwoWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_spreader, "resource_name", lambda: "tailrace 9.0, duckdb 9.1")

    messages = [m.msg for m in ways.ask(SUM, in_parts=True).status.messages]

    [told] = [text for text in messages if text.startswith(NOT_SPREAD)]
    assert "no Dask worker is of tailrace 9.0, duckdb 9.1, as this server is, but of tailrace " in told


def test_workers_with_other_tables_are_told_of(workers: Workers, address: str) -> None:
    spreader = DaskSpreader(SpreadSettings(dask=address), TableRoot("/elsewhere/"), QueryLimits())

    with pytest.raises(SpreadUnavailable, match="and this server's are beneath /elsewhere/"):
        parts_of(spreader, "SELECT 7")
    spreader.close()


def test_without_a_scheduler_the_query_runs_on_the_node(
    ways: TwoWays, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_spreader, "CONNECT_S", 0.2)
    away = DaskSpreader(
        SpreadSettings(dask="tcp://127.0.0.1:1", spread_bytes=0), table_root(ways.lake.root), QueryLimits()
    )
    ways.use(away)
    try:
        started = time.monotonic()
        in_one, in_parts = ways.texts(SUM)
        messages = [m.msg for m in ways.ask(SUM, in_parts=True).status.messages]
    finally:
        ways.use(workers.spreader)
        away.close()

    assert in_parts == in_one
    assert any("the Dask scheduler tcp://127.0.0.1:1 does not answer" in text for text in messages)
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_away(process: None) -> None:
    with scheduler_process() as (address, running):
        spreader = DaskSpreader(SpreadSettings(dask=address), TableRoot("/tables/"), QueryLimits())
        wait_until(lambda: "has no worker" in why_unavailable(spreader))
        running.kill()
        running.wait()
        for _ in range(3):
            assert why_unavailable(spreader) == f"the Dask scheduler {address} does not answer"
    spreader.close()


def why_unavailable(spreader: DaskSpreader) -> str:
    with pytest.raises(SpreadUnavailable) as refused:
        spreader.width()
    return str(refused.value)


def test_the_rows_of_a_worker_that_dies_are_divided_by_another(
    workers: Workers, ways: TwoWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a worker away once it has answered its parts, and is followed by one that does so, too."""
    of_buckets = DaskParts.of_buckets
    dying = workers.processes.pop()

    def after_a_death(parts: DaskParts, queries: Sequence[BucketQuery]) -> list[list[pa.Table]]:
        dying.kill()
        return of_buckets(parts, queries)

    monkeypatch.setattr(DaskParts, "of_buckets", after_a_death)
    try:
        sums = sums_of_buckets(workers.spreader, SUM_OF_BUCKET)
    finally:
        dying.wait(30)
        monkeypatch.undo()
        workers.start(1)

    assert sum(sums) == 3 * sum(range(100)) + 1000


def test_the_parts_of_a_worker_that_dies_run_on_another(workers: Workers, ways: TwoWays) -> None:
    """The last test of the module, which takes a worker away."""
    dying = workers.processes[0]
    stop(dying.pid)  # so that it has parts, and answers none
    killer = threading.Timer(0.5, dying.kill)
    killer.start()

    assert parts_of(workers.spreader, *[f"SELECT {n}" for n in range(12)]) == list(range(12))
    killer.join()
    dying.wait(30)
    in_one, in_parts = ways.texts("['http-logs'] | summarize count(), sum(id) by method")
    assert in_parts == in_one
