"""Data directories of version 0.1: all that their two databases hold is in the one, on SQLite and on PostgreSQL."""

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, MetaData, insert, select
from support.databases import DUMPS, load, stored_rows
from support.postgres import postgres_database

from tailrace.access import Access
from tailrace.api.field_store import FieldStore
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.monitors import MonitorStore, delete_records
from tailrace.storage import migrations
from tailrace.storage.database import FILE_NAME, Database, open_engine
from tailrace.storage.documents import DocumentStore
from tailrace.storage.legacy import ACCESS_FILE, SAVED_FILE, ImportRefused, import_legacy
from tailrace.storage.tables import imports, metadata

if TYPE_CHECKING:
    from conftest import MakeServer

OWNERS_TOKEN = "xapt-of-the-owner-of-two-databases"
API_TOKEN = "xaat-7960ef40-1ccc-4f58-a483-88d2b3b0e903"
ADAS_TOKEN = "xapt-6d508b2e-90e7-4086-ae50-5df8e8f4de3b"
MOESIF_KEY = "qX636ERsHXS68SrohHyiRfXGaKFH71AIeyzc3V0joJQl8hVUMmt2jR2Zr0uKguof"
SAVED_QUERY = "ff4253ce-aaa3-45e4-b199-88845803c4c7"
MONITOR = "mon_NGcjTGp9DzF4frDaaRF7"


def rows(path: Path) -> dict[str, list[Any]]:
    """All rows of the database in a file, by table, as they are stored, but for the notes of imports."""
    return stored_rows(path, without=(migrations.VERSION_TABLE, imports.name))


def as_then(name: str, found: list[Any]) -> list[Any]:
    """Return the rows of a table without the columns that version 0.1 did not have, which are empty."""
    if name != "tokens":
        return found
    assert {row[-3:] for row in found} == {("", "", None)}  # the default dataset, the lineage, the budget
    return [row[:-3] for row in found]


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows, by table, as the stores read them, but for the notes of imports and the numbers of rows."""
    found = {}
    with database.reading() as connection:
        for name, table in metadata.tables.items():
            order = [table.c.number] if "number" in table.c else list(table.primary_key)
            columns = [column for column in table.columns if column.name != "number"]
            if columns and table is not imports:
                read = connection.execute(select(*columns).order_by(*order)).mappings()
                found[name] = [dict(row) for row in read]
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory of version 0.1 that every store was used in."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    load(made / ACCESS_FILE, "0.1-access.sql")
    load(made / SAVED_FILE, "0.1-saved.sql")
    return made


@pytest.fixture
def imported(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what such a directory holds, as it is on SQLite."""
    made = tmp_path / "imported"
    made.mkdir()
    load(made / ACCESS_FILE, "0.1-access.sql")
    load(made / SAVED_FILE, "0.1-saved.sql")
    import_legacy(made)
    with Database.open(made / FILE_NAME) as database:
        return content(database)


@pytest.fixture
def url(location: Path | str) -> str:
    """Return the URL of a new database."""
    return location if isinstance(location, str) else f"sqlite:///{location}"


@pytest.fixture
def before_documents(postgres: Engine) -> Iterator[str]:
    """Yield a database on PostgreSQL as version 0.1 had it for users, tokens and keys alone."""
    with postgres_database(postgres) as url:
        engine = open_engine(url)
        with engine.begin() as connection:
            migrations.migrate(connection, "0004")
        with closing(sqlite3.connect(":memory:")) as old, engine.begin() as new:
            old.row_factory = sqlite3.Row
            old.executescript((DUMPS / "0.1-access.sql").read_text())
            tables = MetaData()
            tables.reflect(new)
            for table in reversed(tables.sorted_tables):
                new.execute(table.delete())
            for table in tables.sorted_tables:
                for row in old.execute(f"SELECT * FROM {table.name}"):
                    values = {
                        name: json.loads(row[name]) if str(table.c[name].type) == "JSON" else row[name]
                        for name in row.keys()  # noqa: SIM118, as a row's values are what it iterates over
                    }
                    new.execute(insert(table).values(values))
        engine.dispose()
        yield url


def test_every_row_is_in_the_one_database_as_it_was_stored(data: Path) -> None:
    access, saved = rows(data / ACCESS_FILE), rows(data / SAVED_FILE)

    import_legacy(data)

    found = rows(data / FILE_NAME)
    without_number = {"former_map_fields", "field_notes"}  # then
    assert {name: as_then(name, found[name]) for name in access} == access
    assert {name: [row[1:] if name in without_number else row for row in found[name]] for name in saved} == saved
    for later in ("browser_sessions", "identities", "nodes", "leases", "log_positions", "token_usage"):
        assert found.pop(later) == []  # there were none then
    assert found.keys() == access.keys() | saved.keys()
    assert min(len(each) for name, each in found.items()) > 0


def test_the_stores_work_on_what_was_imported(data: Path) -> None:
    import_legacy(data)

    with Database.open(data / FILE_NAME) as database:
        access, documents = Access(database), DocumentStore(database)
        assert access.authenticate(OWNERS_TOKEN).role == "owner"
        assert access.authenticate(API_TOKEN).datasets == {"logs": {"ingest": ["create"], "query": ["read"]}}
        assert access.authenticate(ADAS_TOKEN).role == "user"
        assert access.authenticate_key("moesif", MOESIF_KEY).datasets == ("logs",)
        assert [name for name, _ in documents.list_everywhere("notifiers")] == ["tailrace", "tailrace", "neighbours"]
        chart = documents.get("tailrace", "dashboards", "requests").body["dashboard"]["charts"][0]
        assert chart["config"]["exact"] == 9007199254740993
        assert FieldStore(database).expressions() == {"logs": [("slow", "took > 1"), ("second", "took * 2")]}
        assert FieldStore(database).shown_map_fields() == {"logs": ["tags", "former"]}
        owner = access.authenticate(OWNERS_TOKEN).user_id
        assert SavedQueryStore(database).get(SAVED_QUERY, who=owner).query["apl"] == "['logs'] | count"
        monitors = MonitorStore(database)
        assert [entry.kind for entry in monitors.history(MONITOR)] == ["open", "delivered"]
        assert [each.attempts for each in monitors.pending(2**62, 10)] == [1]
        documents.add("tailrace", "views", {}, user_id=owner)
        with database.changing() as connection:
            delete_records(connection, MONITOR)


def test_the_old_files_stay_under_another_name_and_the_new_one_is_the_owners_alone(data: Path) -> None:
    access, saved = rows(data / ACCESS_FILE), rows(data / SAVED_FILE)

    import_legacy(data)

    assert sorted(path.name for path in data.iterdir()) == ["access.db.imported", "saved.db.imported", "tailrace.db"]
    assert rows(data / "access.db.imported") == access
    assert rows(data / "saved.db.imported") == saved
    assert stat.S_IMODE((data / FILE_NAME).stat().st_mode) == 0o600
    before = (data / FILE_NAME).read_bytes()
    import_legacy(data)
    assert (data / FILE_NAME).read_bytes() == before


def test_what_a_kill_left_in_a_write_ahead_log_is_imported(data: Path) -> None:
    with closing(sqlite3.connect(data / SAVED_FILE)) as connection:
        connection.execute("INSERT INTO map_fields (dataset, name) VALUES ('logs', 'late')")
        connection.commit()
        shutil.copytree(data, data.with_name("killed"))  # with the log, which closing would write into the file

    assert (data.with_name("killed") / (SAVED_FILE + "-wal")).stat().st_size > 0
    import_legacy(data.with_name("killed"))

    with Database.open(data.with_name("killed") / FILE_NAME) as database:
        assert FieldStore(database).map_fields("logs") == ["tags", "late"]


@pytest.mark.parametrize("there", [ACCESS_FILE, SAVED_FILE])
def test_one_of_the_two_is_imported_alone(data: Path, there: str) -> None:
    for name in {ACCESS_FILE, SAVED_FILE} - {there}:
        (data / name).unlink()
    before = rows(data / there)

    import_legacy(data)

    assert not (data / there).exists()
    name = "tokens" if there == ACCESS_FILE else "documents"
    assert as_then(name, rows(data / FILE_NAME)[name]) == before[name]


def test_a_directory_from_before_migrations_and_monitors_is_imported(tmp_path: Path) -> None:
    load(tmp_path / ACCESS_FILE, "before-migrations.sql")
    with closing(sqlite3.connect(tmp_path / SAVED_FILE)) as connection:
        connection.executescript((DUMPS / "0.1-saved.sql").read_text())
        connection.executescript("DROP TABLE monitor_runs; DROP TABLE monitor_history; DROP TABLE monitor_outbox")

    import_legacy(tmp_path)

    with Database.open(tmp_path / FILE_NAME) as database:
        assert Access(database).authenticate("xapt-of-the-owner-before-migrations").role == "owner"
        assert len(DocumentStore(database).list_in("tailrace", "notifiers")) == 2
        assert MonitorStore(database).due_times() == {}


def test_a_file_that_is_damaged_is_named_and_nothing_is_done(data: Path) -> None:
    (data / ACCESS_FILE).write_bytes(b"no database" * 1000)
    before = {path.name: path.read_bytes() for path in data.iterdir()}

    with pytest.raises(ImportRefused, match=r"access\.db"):
        import_legacy(data)

    assert {name: (data / name).read_bytes() for name in before} == before
    assert not (data / FILE_NAME).exists()


def test_what_an_earlier_version_wrote_after_the_import_is_not_passed_over(data: Path) -> None:
    import_legacy(data)
    load(data / SAVED_FILE, "0.1-saved.sql")
    with closing(sqlite3.connect(data / SAVED_FILE)) as connection:
        connection.execute("DELETE FROM virtual_fields")
        connection.commit()
    before = rows(data / FILE_NAME)

    with pytest.raises(ImportRefused, match=r"tailrace\.db is there, and saved\.db"):
        import_legacy(data)

    assert rows(data / FILE_NAME) == before
    assert (data / SAVED_FILE).exists()


def test_every_row_is_where_a_url_says(data: Path, url: str, imported: dict[str, Any]) -> None:
    import_legacy(data, url)

    with Database.open(url) as database:
        assert content(database) == imported
        DocumentStore(database).add("tailrace", "views", {}, user_id="me")
    assert sorted(path.name for path in data.iterdir()) == ["access.db.imported", "saved.db.imported"]


def test_a_server_starts_on_such_a_directory_and_answers_as_before(make_server: "MakeServer", data: Path) -> None:
    server = make_server(data=data, env={"TAILRACE_ROOT_TOKEN": OWNERS_TOKEN}).start()

    expected = {
        "/v2/users": ["Owner", "Ada Løvelace", "Bo"],
        "/v2/tokens": ["sender"],
        "/v2/rbac/groups": ["on call"],
        "/v2/notifiers": ["hook", "gone"],
        "/v2/views": ["errors"],
        "/v2/apl-starred-queries": ["errors"],
    }
    for path, names in expected.items():
        assert [each["name"] for each in server.client.get(path).json()] == names
    assert server.client.get("/v2/dashboards").json()[0]["version"] == 2
    assert server.client.get(f"/v1/datasets/_history/{SAVED_QUERY}").json()["query"]["apl"] == "['logs'] | count"
    history = server.client.get(f"/tailrace/v1/monitors/{MONITOR}").json()["history"]
    assert [each["kind"] for each in history[:2]] == ["open", "delivered"]
    assert "became one database" in server.errors.read_text()


@pytest.mark.process
def test_a_database_of_users_on_postgresql_is_upgraded_and_takes_the_rest(
    data: Path, before_documents: str, imported: dict[str, Any]
) -> None:
    (data / ACCESS_FILE).unlink()

    import_legacy(data, before_documents)

    with Database.open(before_documents) as database:
        assert content(database) == imported
        assert Access(database).authenticate(OWNERS_TOKEN).role == "owner"


def test_an_import_after_which_the_files_were_not_renamed_is_not_done_twice(
    data: Path, url: str, imported: dict[str, Any]
) -> None:
    shutil.copytree(data, data.with_name("again"))
    import_legacy(data, url)

    import_legacy(data.with_name("again"), url)

    with Database.open(url) as database:
        assert content(database) == imported
    assert not (data.with_name("again") / SAVED_FILE).exists()


@pytest.mark.parametrize(("there", "told"), [(ACCESS_FILE, "has users"), (SAVED_FILE, "has documents")])
def test_what_would_mix_with_what_another_server_has_is_refused(data: Path, url: str, there: str, told: str) -> None:
    import_legacy(data, url)
    other = data.with_name("other")
    other.mkdir()
    load(other / there, f"0.1-{there.removesuffix('.db')}.sql")
    with closing(sqlite3.connect(other / there)) as connection:
        connection.execute(f"UPDATE {'users' if there == ACCESS_FILE else 'documents'} SET created_at = 'x'")
        connection.commit()
    with Database.open(url) as database:
        before = content(database)

        with pytest.raises(ImportRefused, match=told):
            import_legacy(other, url)

        assert content(database) == before
    assert (other / there).exists()
