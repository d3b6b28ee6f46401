"""The SQL database of a server: an SQLite file of the data directory, or one on PostgreSQL."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, func, make_url, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tailrace.events import StorageUnavailable
from tailrace.storage import migrations
from tailrace.storage.faults import FULL, RETRY_AFTER_S, disk_full, is_full, sqlite_fault

FILE_NAME = "tailrace.db"  # in the data directory
BUSY_TIMEOUT_S = 5.0
BUSY_PAUSE_S = 0.005
# By which a PostgreSQL server that is gone without a word is given up after seconds, not the system's quarter of an
# hour. What the URL says goes before.
POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,  # s
    "tcp_user_timeout": 10_000,  # ms
    "keepalives_idle": 5,  # s
    "keepalives_interval": 3,  # s
    "keepalives_count": 3,
}
LIBPQ_DRIVERS = ("psycopg", "psycopg2")
SQLSTATE_DISK_FULL = "53100"
SQLSTATE_READ_ONLY = "25006"
_WRITER_LOCK = 7_246_301  # the key of PostgreSQL's advisory lock of who changes the database

logger = logging.getLogger(__name__)


class Revision(Protocol):
    """A number that the processes of one server share, another one after every change of the database."""

    @property
    def number(self) -> int:
        """The number now."""
        ...

    def advance(self) -> None:
        """Make it another one."""
        ...


class Database:
    """The open database, which the stores of a server share. Thread-safe.

    Where other servers may change it too, it `is_shared`; where other processes of this server read it, it has a
    `revision`. Whatever is done with it raises DiskFull where the disk has
    no space, and StorageUnavailable where the database does not answer. What is wrong with a statement stays an
    SQLAlchemyError.
    """

    def __init__(self, engine: Engine, *, is_shared: bool = False) -> None:
        self._engine = engine
        self.is_shared = is_shared
        self.revision: Revision | None = None

    @classmethod
    def open(cls, path_or_url: Path | str) -> Self:
        """Open it, created if missing and migrated to the newest tables: a path is an SQLite file (mode 0600).

        A string is an SQLAlchemy URL, such as postgresql+psycopg://user:password@host/database. Raise UpgradeFailed
        for a database of a later version.
        """
        database = cls(open_engine(path_or_url), is_shared=isinstance(path_or_url, str))
        try:
            migrations.upgrade(database.reading, database.changing)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def opened(cls, path_or_url: Path | str, revision: Revision) -> Self:
        """Open it as another process of this server has, which has migrated it, and advances the revision."""
        database = cls(open_engine(path_or_url), is_shared=isinstance(path_or_url, str))
        database.revision = revision
        return database

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a connection for reads."""
        try:
            return self._engine.connect()
        except NoConnection as error:  # all of them wait for the database
            raise StorageUnavailable("the server's database does not answer", retry_after_s=RETRY_AFTER_S) from error

    def copy_to(self, path: Path) -> bool:
        """Copy an SQLite database as it is at one moment into a new file (mode 0600), while others change it.

        Return False for another one, which has its own means. Raise StorageUnavailable, also for one that is damaged,
        and DiskFull.
        """
        with self.reading() as connection:
            source = connection.connection.driver_connection
            if not isinstance(source, sqlite3.Connection):
                return False
            create_file(path)
            try:
                with closing(sqlite3.connect(path)) as target:
                    source.backup(target)
                    target.execute("PRAGMA journal_mode=DELETE")  # so that it is one file
                    [found] = target.execute("PRAGMA quick_check(1)").fetchone()
            except sqlite3.Error as error:
                raise sqlite_fault(error) or StorageUnavailable(f"the database cannot be copied: {error}") from error
        if found != "ok":
            raise StorageUnavailable(f"the database is damaged ({found}): no copy of it was made")
        return True

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Begin a transaction that no other change runs beside, whichever thread, process or machine makes it.

        So what is read in it before something is written still holds when that is written: the body that is changed,
        that a name is free, that a limit is not reached.
        """
        with self.updating() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_WRITER_LOCK)))
            yield connection

    @contextmanager
    def updating(self) -> Iterator[Connection]:
        """Begin a transaction that waits for no other, but where both change the same row, or the file is SQLite's."""
        with self.reading() as connection, connection.begin():
            if connection.dialect.name == "sqlite":
                # Python's driver begins a transaction before a change of rows only, not before one of tables.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


def open_engine(path_or_url: Path | str) -> Engine:
    """Return an engine on a database as it stands, with whatever tables it has; see `Database.open`."""
    if isinstance(path_or_url, Path):
        create_file(path_or_url)
        path_or_url = f"sqlite:///{path_or_url}"
    url = make_url(path_or_url)
    is_libpq = url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ_DRIVERS
    options = {name: value for name, value in POSTGRESQL_OPTIONS.items() if is_libpq and name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=options)  # it may have been restarted meanwhile
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "do_connect", _connect_sqlite)
        event.listen(engine, "checkin", _discard_read_only)
    event.listen(engine, "handle_error", _translate)
    return engine


def create_file(path: Path) -> None:
    """Create the file of an SQLite database, where there is none, for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before SQLite makes it with the mode of the umask; its -wal and -shm files take the mode of the file.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


class _ReadOnlyConnection(sqlite3.Connection):
    """A connection to a file on a full disk, which is read as it stands."""


def _connect_sqlite(
    _dialect: Any, _entry: Any, arguments: tuple[Any, ...], options: dict[str, Any]
) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(*arguments, **options)
    try:
        # synchronous=FULL: a token revoked before a power cut may not be back after it.
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _enable_write_ahead_log(connection)
        # Only a read opens the index of the write-ahead log, which takes up space on the disk.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.Error as error:
        connection.close()
        path = Path(arguments[0])
        if not is_full(error) or _has_write_ahead_log(path):
            raise
        logger.warning("%s can only be read: %s", path.name, FULL)
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return _ReadOnlyConnection(uri, **{**options, "uri": True})
    except BaseException:
        connection.close()
        raise
    return connection


def _enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file to a write-ahead log; that needs an exclusive lock, for which SQLite does not wait by itself."""
    end_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end_s:
                raise
        time.sleep(BUSY_PAUSE_S)


def _has_write_ahead_log(path: Path) -> bool:
    """Whether there are changes beside the file itself, which would be missed: a token revoked might be good again."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _discard_read_only(connection: object, entry: ConnectionPoolEntry) -> None:
    # The next one tries again to open the file for writing.
    if isinstance(connection, _ReadOnlyConnection):
        entry.invalidate()


def _is_read_only(context: ExceptionContext) -> bool:
    pooled = None if context.connection is None else context.connection.connection
    return pooled is not None and isinstance(pooled.dbapi_connection, _ReadOnlyConnection)


def _translate(context: ExceptionContext) -> None:
    """Raise one of our errors in the place of a failure of the database."""
    if context.is_pre_ping:
        return  # the pool connects anew
    error = context.original_exception
    if isinstance(error, sqlite3.Error):
        fault = disk_full() if _is_read_only(context) else sqlite_fault(error)
        if fault is not None:
            logger.error("the database failed: %s (%s)", error, getattr(error, "sqlite_errorname", ""))
            raise fault from error
        return
    state = getattr(error, "sqlstate", None)
    if state == SQLSTATE_DISK_FULL:
        logger.error("the database failed: %s", error)
        raise disk_full() from error
    if state == SQLSTATE_READ_ONLY or isinstance(context.sqlalchemy_exception, (OperationalError, InterfaceError)):
        logger.error("the database failed: %s", error)
        raise StorageUnavailable("the server's database does not answer", retry_after_s=RETRY_AFTER_S) from error
