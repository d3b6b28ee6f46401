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


# Starts a server, and ends it once nobody holds its standard input any more: also when the tests were killed.
RUN = """
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions >&2 &&
"$1/pg_ctl" -D "$2/data" -l "$2/log" -o "-c fsync=off -c listen_addresses= -k $2" -w start >&2 &&
echo ready
read _
"$1/pg_ctl" -D "$2/data" -m immediate stop >&2
rm -rf "$2"
"""


@contextmanager
def postgres_server() -> Iterator[Engine]:
    """Yield an engine on a server, from which databases can be made; skips the test where this machine has no
    PostgreSQL.
    """
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
    with (
        (directory / "start").open("wb") as messages,
        subprocess.Popen(
            ["sh", "-c", RUN, "sh", str(programs), str(directory)],
            user=user,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            start_new_session=True,  # Ctrl-C is for the tests
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin:
            assert process.stdout.readline() == b"ready\n", (directory / "start").read_text()
            yield from _engine(f"postgresql+psycopg://postgres@/postgres?host={directory}")
    shutil.rmtree(directory, ignore_errors=True)  # which only root may, where another user runs the server


@contextmanager
def postgres_database(server: Engine) -> Iterator[str]:
    """Yield the URL of a new database."""
    name = f"tailrace_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def dump(url: str) -> bytes:
    """Return what pg_dump makes of a database."""
    return subprocess.run([_program("pg_dump"), f"--dbname={_libpq(url)}"], check=True, capture_output=True).stdout


def load(dumped: bytes, url: str) -> None:
    """Bring what pg_dump has made into an empty database."""
    command = [_program("psql"), "--set=ON_ERROR_STOP=1", f"--dbname={_libpq(url)}"]
    subprocess.run(command, input=dumped, check=True, capture_output=True)


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg:", "postgresql:")


def _program(name: str) -> str:
    programs = _programs()
    if programs is None or not (programs / name).exists():
        pytest.skip(f"{name} is not installed here")
    return str(programs / name)


def empty(database: Database) -> None:
    """Bring a database on PostgreSQL to what it was when new, which takes far less time than to make another."""
    deletions = "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))
    with database.changing() as connection:
        connection.exec_driver_sql(deletions)
        migrations.insert_first_rows(connection)


def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        engine.dispose()


def _programs() -> Path | None:
    """Return the directory of the server's programs, the newest where there are several."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = [each for each in DEBIAN.glob("*/bin") if (each / "initdb").exists()]
    return max(versions, key=lambda each: float(each.parent.name), default=None)
