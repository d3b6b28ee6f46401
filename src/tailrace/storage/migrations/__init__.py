"""Migrations: they bring a database of any version to the tables that the code expects."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from tailrace.storage.tables import changes, metadata, organisations

if TYPE_CHECKING:
    from alembic.config import Config

LOCATION = Path(__file__).parent
Transaction = Callable[[], AbstractContextManager[Connection]]

VERSION_TABLE = "access_version"  # named when a database held users and tokens only
BASELINE = "0001"  # the tables of databases that were made before there were migrations
HEAD = "0012"  # the newest
FIRST_ORGANISATION = {"id": "tailrace", "name": "Tailrace", "created_at": "1970-01-01T00:00:00.000000Z"}

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))  # as alembic makes it
_alembic_lock = threading.Lock()  # alembic keeps the running migration in globals


class UpgradeFailed(Exception):
    """The database is of a version that this code does not know."""


def upgrade(reading: Transaction, changing: Transaction) -> None:
    """Run what is missing, in one transaction: a database that fails to upgrade is as it was before.

    Nothing is written to one that has the newest tables: a server starts on a full disk too. Raise UpgradeFailed for
    one of a later version, and what the database raises.
    """
    with reading() as connection:
        if _is_newest(connection):
            return
    with changing() as connection:
        tables = set(inspect(connection).get_table_names())
        if _is_newest(connection):  # by another process, meanwhile
            return
        # Alembic takes as long to import as everything else of a start together: only where there is work for it.
        if tables.isdisjoint({VERSION_TABLE, *metadata.tables}):
            _create_newest(connection)
        else:
            migrate(connection, is_unversioned="tokens" in tables and VERSION_TABLE not in tables)


def _is_newest(connection: Connection) -> bool:
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    return connection.scalar(select(_version.c.version_num)) == HEAD


def migrate(connection: Connection, revision: str = "head", *, is_unversioned: bool = False) -> None:
    """Run the migrations that are missing up to a revision, within the connection's transaction."""
    from alembic import command
    from alembic.util import CommandError

    config = config_for(connection)
    with _alembic_lock:
        try:
            if is_unversioned:
                command.stamp(config, BASELINE)
            command.upgrade(config, revision)
        except CommandError as error:
            raise UpgradeFailed(str(error)) from error


def config_for(connection: Connection) -> "Config":
    """Return Alembic's configuration for an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def insert_first_rows(connection: Connection) -> None:
    """Insert the rows that a database begins with."""
    connection.execute(insert(organisations), [FIRST_ORGANISATION])
    connection.execute(insert(changes), [{"number": 0}])


def _create_newest(connection: Connection) -> None:
    """Create the tables that all migrations together create in an empty database."""
    metadata.create_all(connection)
    insert_first_rows(connection)
    _version.create(connection)
    connection.execute(insert(_version), [{"version_num": HEAD}])
