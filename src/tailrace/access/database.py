"""How an SQL store is opened: an SQLite file of the data directory, or a server's URL."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select

_WRITER_LOCK = 7_246_301  # the key of PostgreSQL's advisory lock of who changes a store


def open_engine(path_or_url: Path | str) -> Engine:
    """An engine on a store: a path is an SQLite file (mode 0600, made if missing), a string an SQLAlchemy URL."""
    if isinstance(path_or_url, Path):
        path_or_url.parent.mkdir(parents=True, exist_ok=True)
        # Before SQLite makes it with the mode of the umask; its -wal and -shm files take the mode of the file.
        os.close(os.open(path_or_url, os.O_CREAT | os.O_RDWR, 0o600))
        path_or_url.chmod(0o600)
        path_or_url = f"sqlite:///{path_or_url}"
    engine = create_engine(path_or_url, pool_pre_ping=True)  # a server may have been restarted meanwhile
    if make_url(path_or_url).get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other change of the store runs beside, whichever thread, process or machine makes it.

    So what is read in it before something is written still holds when that is written: the body that is changed, that
    a name is free, that a limit is not reached.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_WRITER_LOCK)))
        yield connection


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # synchronous=FULL: a token revoked before a power cut may not be back after it.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
