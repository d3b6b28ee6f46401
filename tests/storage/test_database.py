"""The database: changes one at a time, its file, and what becomes of it where the disk is full or the file spoiled."""

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import OperationalError
from support.disks import fill, small_disk

from tailrace.events import DiskFull, StorageUnavailable
from tailrace.storage.database import POSTGRESQL_OPTIONS, Database, open_engine
from tailrace.storage.tables import organisations, query_history


def write(path: Path, rows: int = 1) -> None:
    engine = open_engine(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (a TEXT)"))
        for _ in range(rows):
            connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": "x" * 10_000})
    engine.dispose()


def test_a_change_sees_all_of_the_one_before_it(database: Database) -> None:
    def add(number: int) -> None:
        with database.changing() as connection:
            count = connection.scalar(select(func.count()).select_from(query_history))
            values = {"id": str(count), "kind": "apl", "dataset": "", "who": "", "created_at": "", "query": number}
            connection.execute(insert(query_history).values(**values))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(24)))

    with database.reading() as connection:
        assert sorted(map(int, connection.scalars(select(query_history.c.id)))) == list(range(24))
        assert sorted(connection.scalars(select(query_history.c.query))) == list(range(24))


def test_several_servers_may_open_a_new_database_at_once(empty_location: Path | str) -> None:
    def opened(_: int) -> int | None:
        with Database.open(empty_location) as database, database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(organisations))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(opened, range(4))) == [1] * 4


def test_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    with Database.open(tmp_path / "tailrace.db"):
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert "tailrace.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_a_full_disk_refuses_writes_and_answers_reads(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        engine = open_engine(disk / "a.db")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (a TEXT)"))
        filling = fill(disk)
        with pytest.raises(DiskFull, match="no space is left"), engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES (:a)"), [{"a": "x" * 10_000}] * 100)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM t")) == 0

        filling.unlink()
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES ('x')"))
        engine.dispose()


def test_a_store_on_a_full_disk_opens_for_reading_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        write(disk / "a.db")
        filling = fill(disk)
        engine = open_engine(disk / "a.db")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM t")) == 1
        with pytest.raises(DiskFull, match="no space is left"), engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES ('x')"))

        filling.unlink()
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t VALUES ('x')"))
        engine.dispose()


def test_a_file_that_is_no_database_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database" * 1000)
    engine = open_engine(tmp_path / "a.db")
    with pytest.raises(StorageUnavailable, match="damaged"):
        engine.connect()
    engine.dispose()


def test_a_server_that_does_not_answer_is_told_of() -> None:
    engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StorageUnavailable, match="does not answer") as met:
        engine.connect()
    assert "nobody" not in met.value.message
    engine.dispose()


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POSTGRESQL_OPTIONS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = open_engine(f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        with pytest.raises(StorageUnavailable, match="does not answer"):
            engine.connect()
        engine.dispose()


def test_what_finds_all_connections_waiting_is_told_that_the_database_does_not_answer(tmp_path: Path) -> None:
    with Database.open(tmp_path / "a.db") as database, ExitStack() as taken:
        pool: Any = database._engine.pool
        pool._timeout = 0.01
        for _ in range(pool.size() + pool._max_overflow):
            taken.enter_context(database.reading())
        with pytest.raises(StorageUnavailable, match="does not answer"):
            database.reading()
        with pytest.raises(StorageUnavailable, match="does not answer"), database.updating():
            pass


def test_an_error_in_a_statement_is_not_the_databases(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db")
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(text("SELECT * FROM nothing"))
    engine.dispose()
