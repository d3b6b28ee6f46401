"""Queries over files that are not always there."""

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailrace.events import DatasetUnavailable, QueryFailed
from tailrace.lake import DataFile, TableRoot
from tailrace.query import DuckDB, HoldingEngine, QueryLimits
from tailrace.query.engines.engine import Statement
from tailrace.query.engines.interrupt import Interrupt
from tailrace.storage.faults import ObjectStoreFault


class Files:
    """Files that are put into a directory while they are held."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.held: list[set[str]] = []
        self.error: Exception | None = None
        self.losing = 0  # times that they go at once, as when somebody deletes the directory

    @contextmanager
    def hold(self, names: Collection[str], check: Callable[[], None]) -> Iterator[None]:
        check()
        self.held.append(set(names))
        if self.error is not None:
            raise self.error
        for name in names:
            (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"n": [1, 2, 3]}), self.directory / name)
        if self.losing:
            self.losing -= 1
            shutil.rmtree(self.directory)
        yield
        shutil.rmtree(self.directory, ignore_errors=True)

    def missing(self, names: Collection[str]) -> bool:
        return any(not (self.directory / name).exists() for name in names)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "it's here")


@pytest.fixture
def engine(files: Files, tmp_path: Path) -> Iterator[HoldingEngine]:
    root = TableRoot(f"{files.directory}/")
    engine = HoldingEngine(DuckDB(root, tmp_path / "temporary", QueryLimits()), root, files)
    yield engine
    engine.close()


def reading(files: Files, *names: str) -> str:
    locations = ", ".join("'" + str(files.directory / name).replace("'", "''") + "'" for name in names)
    return f"SELECT sum(n) AS n FROM read_parquet([{locations}])"


def test_the_files_that_a_query_names_are_there_while_it_runs(engine: HoldingEngine, files: Files) -> None:
    statement = Statement("SELECT n FROM s", {"s": reading(files, "d/a", "d/it's")}, ("n",))
    assert engine.answer(statement, {}, Interrupt())["n"].to_pylist() == [12]
    with engine.session() as session:
        assert session.table(reading(files, "d/b"))["n"].to_pylist() == [6]
        assert session.whole("SELECT 1 AS n")["n"].to_pylist() == [1]
    assert files.held == [{"d/a", "d/it's"}, {"d/b"}]


def test_files_that_are_lost_meanwhile_are_brought_again_once(engine: HoldingEngine, files: Files) -> None:
    text = reading(files, "d/a")
    files.losing = 1
    assert engine.answer(Statement("SELECT n FROM s", {"s": text}, ("n",)), {}, Interrupt()).num_rows == 1
    assert len(files.held) == 2
    files.losing = 1
    with pytest.raises(DatasetUnavailable), engine.session() as session:
        session.table(text)


def test_a_query_that_is_wrong_is_not_run_again(engine: HoldingEngine, files: Files) -> None:
    with pytest.raises(QueryFailed), engine.session() as session:
        session.table(reading(files, "d/a").replace("sum(n)", "sum(m)"))
    assert len(files.held) == 1


def test_a_store_that_fails_is_told_in_words(engine: HoldingEngine, files: Files) -> None:
    with engine.session() as session:
        files.error = ObjectStoreFault("the object store answers 503")
        with pytest.raises(DatasetUnavailable, match="files of this time cannot be read: the object store answers 503"):
            session.table(reading(files, "d/a"))
        files.error = FileNotFoundError("there is no object d/a")
        with pytest.raises(DatasetUnavailable, match="missing in the object store"):
            session.table(reading(files, "d/a"))


def test_the_footer_of_a_file_is_read_while_it_is_held(engine: HoldingEngine, files: Files) -> None:
    file = DataFile("a", str(files.directory / "d/a"), 1, 3, 0, 0, frozenset("n"))
    assert engine.row_groups.of(file, {}) is None  # it has no `_time`
    assert files.held == [{"d/a"}]


def test_a_query_that_is_over_waits_for_no_file(engine: HoldingEngine, files: Files) -> None:
    interrupt = Interrupt()
    with engine.session(interrupt) as session:
        interrupt.stop("the client is gone")
        with pytest.raises(QueryFailed, match="gone"):
            session.table(reading(files, "d/a"))
    assert files.held == []
