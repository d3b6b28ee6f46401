"""Databases of every age open, and lose nothing on the way to the newest tables."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from tailrace.access import Access
from tailrace.storage import migrations
from tailrace.storage.database import Database, open_engine
from tailrace.storage.tables import metadata

BEFORE_MIGRATIONS = Path(__file__).parent / "databases" / "before-migrations.sql"
OWNERS_TOKEN = "xapt-of-the-owner-before-migrations"
API_TOKEN = "xaat-43bb2082-ddf2-4c02-9d5b-59de05cc9acd"
KEY = "baselime-key-before-migrations"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "tailrace.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE_MIGRATIONS.read_text())
    connection.close()
    return path


def test_a_database_from_before_migrations_keeps_its_users_tokens_and_keys(old: Path) -> None:
    with Database.open(old) as database:
        access = Access(database)
        owner = access.authenticate(OWNERS_TOKEN)
        sender = access.authenticate(API_TOKEN)
        key = access.authenticate_key("baselime", KEY)
        user = access.users.get_user(owner.user_id, "tailrace")
        (record,) = access.tokens.list_tokens("tailrace")

        assert (owner.organisation, owner.role, user.name, user.role.id) == ("tailrace", "owner", "Owner", "owner")
        assert (sender.organisation, sender.datasets) == ("tailrace", {"logs": {"ingest": ["create"]}})
        assert (record.name, record.description) == ("sender", "made before migrations")
        assert (record.default_dataset, sender.default_dataset) == ("", "")
        assert (key.organisation, key.datasets) == ("tailrace", ("logs",))
        assert access.bootstrap() is None


def test_a_database_opens_again_after_its_upgrade(old: Path) -> None:
    Database.open(old).close()
    with Database.open(old) as database:
        assert Access(database).authenticate(OWNERS_TOKEN).kind == "personal"


def test_the_migrations_lead_to_the_tables_that_the_code_has(empty_location: Path | str) -> None:
    engine = open_engine(empty_location)
    with engine.begin() as connection:
        migrations.migrate(connection)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_new_database_is_what_all_migrations_lead_to(empty_location: Path | str, tmp_path: Path) -> None:
    Database.open(empty_location).close()
    made = open_engine(empty_location)
    migrated = open_engine(tmp_path / "migrated.db")
    with migrated.begin() as connection:
        migrations.migrate(connection)
    with made.connect() as new, migrated.connect() as old:
        assert _content(new) == _content(old)
        if made.dialect.name == migrated.dialect.name:
            assert _shape(new) == _shape(old)
        assert ScriptDirectory.from_config(migrations.config_for(new)).get_current_head() == migrations.HEAD
    made.dispose()
    migrated.dispose()


def _content(connection: Connection) -> dict[str, list[Any]]:
    return {name: list(connection.execute(select(table))) for name, table in metadata.tables.items()}


def _shape(connection: Connection) -> dict[str, Any]:
    found = inspect(connection)
    return {
        name: (
            sorted((each["name"], str(each["type"]), each["nullable"], each["default"]) for each in columns),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(tuple(each["column_names"]) for each in found.get_unique_constraints(name)),
            sorted((each["referred_table"], *each["constrained_columns"]) for each in found.get_foreign_keys(name)),
        )
        for name in found.get_table_names()
        for columns in [found.get_columns(name)]
    }


def test_neither_a_new_database_nor_one_that_is_up_to_date_needs_alembic(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from tailrace.storage.database import Database
for _ in range(2):
    Database.open(Path({str(tmp_path / "tailrace.db")!r})).close()
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE memberships (id INTEGER)")  # in the way
    connection.close()

    with pytest.raises(Exception, match="memberships"):
        Database.open(old)

    with sqlite3.connect(old) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"users", "tokens", "keys", "memberships"}


def test_every_migration_can_be_undone_and_done_again(empty_location: Path | str) -> None:
    engine = open_engine(empty_location)
    with engine.begin() as connection:
        migrations.migrate(connection)
        command.downgrade(migrations.config_for(connection), migrations.BASELINE)
    engine.dispose()
    with Database.open(empty_location) as database:
        assert Access(database).bootstrap() is not None


def test_a_database_of_a_later_version_is_refused(empty_location: Path | str) -> None:
    Database.open(empty_location).close()
    engine = open_engine(empty_location)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    engine.dispose()

    with pytest.raises(migrations.UpgradeFailed, match="9999"):
        Database.open(empty_location)
