"""Stores of every age open, and lose nothing on the way to the newest tables."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.util import CommandError

from tailrace.access import Access, migrations
from tailrace.access.database import open_engine
from tailrace.access.schema import metadata

BEFORE_MIGRATIONS = Path(__file__).parent / "databases" / "before-migrations.sql"
OWNERS_TOKEN = "xapt-of-the-owner-before-migrations"
API_TOKEN = "xaat-43bb2082-ddf2-4c02-9d5b-59de05cc9acd"
KEY = "baselime-key-before-migrations"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "access.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE_MIGRATIONS.read_text())
    connection.close()
    return path


def test_a_store_from_before_migrations_keeps_its_users_tokens_and_keys(old: Path) -> None:
    with Access.open(old) as access:
        owner = access.authenticate(OWNERS_TOKEN)
        sender = access.authenticate(API_TOKEN)
        key = access.authenticate_key("baselime", KEY)
        user = access.get_user(owner.user_id)
        (record,) = access.list_tokens("tailrace")

        assert (owner.organisation, owner.role, user.name, user.role.id) == ("tailrace", "owner", "Owner", "owner")
        assert (sender.organisation, sender.datasets) == ("tailrace", {"logs": {"ingest": ["create"]}})
        assert (record.name, record.description) == ("sender", "made before migrations")
        assert (key.organisation, key.datasets) == ("tailrace", ("logs",))
        assert access.bootstrap() is None


def test_a_store_opens_again_after_its_upgrade(old: Path) -> None:
    Access.open(old).close()
    with Access.open(old) as access:
        assert access.authenticate(OWNERS_TOKEN).kind == "personal"


def test_the_migrations_lead_to_the_tables_that_the_code_has(location: Path | str) -> None:
    engine = open_engine(location)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("CREATE TABLE memberships (id INTEGER)")  # in the way
    connection.close()

    with pytest.raises(Exception, match="memberships"):
        Access.open(old)

    with sqlite3.connect(old) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {"users", "tokens", "keys", "memberships"}


def test_every_migration_can_be_undone_and_done_again(location: Path | str) -> None:
    engine = open_engine(location)
    migrations.upgrade(engine)
    with engine.begin() as connection:
        command.downgrade(migrations.config_for(connection), migrations.BASELINE)
    engine.dispose()
    with Access.open(location) as access:
        assert access.bootstrap() is not None


def test_a_store_of_a_later_version_is_refused(location: Path | str) -> None:
    engine = open_engine(location)
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'")
    engine.dispose()

    with pytest.raises(CommandError, match="9999"):
        Access.open(location)
