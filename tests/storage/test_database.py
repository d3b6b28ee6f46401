"""SQL stores whose disk is full or whose file is spoiled: refused with the reason, and read while that is possible."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from support.disks import fill, small_disk

from tailrace.events import DiskFull, StorageUnavailable
from tailrace.storage.database import open_engine


def write(path: Path, rows: int = 1) -> None:
    engine = open_engine(path)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (a TEXT)"))
        for _ in range(rows):
            connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": "x" * 10_000})
    engine.dispose()


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


def test_an_error_in_a_statement_is_not_the_databases(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "a.db")
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(text("SELECT * FROM nothing"))
    engine.dispose()
