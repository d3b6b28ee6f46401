"""A PostgreSQL server for the tests: the one that TAILRACE_TEST_POSTGRES names, else one that they start and end.

TAILRACE_TEST_POSTGRES is an SQLAlchemy URL such as postgresql+psycopg://postgres@127.0.0.1/postgres, of a user who may
create databases.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from tailrace.storage import migrations
from tailrace.storage.database import Database
from tailrace.storage.tables import metadata

NAMED = os.environ.get("TAILRACE_TEST_POSTGRES", "")
DEBIAN = Path("/usr/lib/postgresql")  # a directory for each major version


@contextmanager
def postgres_server() -> Iterator[Engine]:
    """An engine on a server, from which databases can be made; skips the test where this machine has no PostgreSQL."""
    if NAMED:
        yield from _engine(NAMED)
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL is installed here, and TAILRACE_TEST_POSTGRES names none")
    # Not in the directory of pytest, which another user may not enter; a socket's path has 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="tailrace-postgres-"))
    user = None
    if os.geteuid() == 0:  # as whom it does not run
        user = "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"
        shutil.chown(directory, user)
    data = directory / "data"

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(data), *arguments]
        done = subprocess.run(
            command, user=user, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    try:
        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
        options = f"-c fsync=off -c listen_addresses= -c unix_socket_directories={directory}"
        run("pg_ctl", "-w", "-o", options, "-l", str(directory / "log"), "start")
        try:
            yield from _engine(f"postgresql+psycopg://postgres@/postgres?host={directory}")
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgres_database(server: Engine) -> Iterator[str]:
    """The URL of a new database."""
    name = f"tailrace_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def empty(database: Database) -> None:
    """Bring a database on PostgreSQL to what it was when new, which takes far less time than to make another."""
    deletions = "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))
    with database.changing() as connection:
        connection.exec_driver_sql(deletions)
        migrations.fill(connection)


def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        engine.dispose()


def _programs() -> Path | None:
    """The directory of the server's programs, the newest where there are several."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = [each for each in DEBIAN.glob("*/bin") if (each / "initdb").exists()]
    return max(versions, key=lambda each: float(each.parent.name), default=None)
