"""Brings an access store to the tables that the code expects, from any state that one was left in."""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect

LOCATION = Path(__file__).parent
VERSION_TABLE = "access_version"
BASELINE = "0001"  # the tables of stores that were made before there were migrations

_one_at_a_time = threading.Lock()  # alembic keeps the migration under way in globals


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run what is missing, in one transaction: a store that fails to upgrade is as it was before."""
    with _one_at_a_time, engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver begins a transaction before a change of rows only, not before one of tables.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = config_for(connection)
        tables = set(inspect(connection).get_table_names())
        if "tokens" in tables and VERSION_TABLE not in tables:
            command.stamp(config, BASELINE)
        command.upgrade(config, revision)


def config_for(connection: Connection) -> Config:
    """Alembic's configuration on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
