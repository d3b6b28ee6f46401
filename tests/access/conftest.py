"""Where the access stores of the tests are: SQLite files, or databases of a PostgreSQL server.

With TAILRACE_TEST_POSTGRES, the SQLAlchemy URL (postgresql+psycopg://postgres@127.0.0.1/postgres) of a server whose
user may create databases, every test has one of its own there.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

POSTGRES = os.environ.get("TAILRACE_TEST_POSTGRES", "")
sqlite_only = pytest.mark.skipif(bool(POSTGRES), reason="is about the file that SQLite keeps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "sqlite" in item.keywords:
            item.add_marker(sqlite_only)


@pytest.fixture
def location(tmp_path: Path) -> Iterator[Path | str]:
    """What `Access.open` takes."""
    if not POSTGRES:
        yield tmp_path / "access.db"
        return
    server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    name = f"tailrace_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        server.dispose()
