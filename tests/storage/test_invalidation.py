"""Caches of what the database holds: never older than the last change, whoever made it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import map_fields


class Names:
    """A cache of the names of map fields."""

    def __init__(self, database: Database, *, max_age_s: float = 0) -> None:
        self.cached: list[str] | None = None
        self.reads = 0
        self.now_s = 0.0
        self.invalidation = Invalidation(database, self.clear, max_age_s=max_age_s, monotonic=lambda: self.now_s)

    def clear(self) -> None:
        self.cached = None

    def put(self, found: list[str]) -> None:
        self.cached = found

    def read(self, connection: Connection) -> list[str]:
        self.reads += 1
        return list(connection.scalars(select(map_fields.c.name).order_by(map_fields.c.number)))

    def get(self) -> list[str]:
        self.invalidation.check()
        return self.cached if self.cached is not None else self.invalidation.read(self.read, self.put)

    def add(self, name: str) -> None:
        with self.invalidation.changing() as connection:
            connection.execute(insert(map_fields).values(dataset="d", name=name))


def test_what_was_read_is_read_again_after_a_change_only(database: Database) -> None:
    names = Names(database)

    assert [names.get() for _ in range(3)] == [[], [], []]
    names.add("a")
    assert [names.get() for _ in range(3)] == [["a"]] * 3
    assert names.reads == 2


def test_what_was_read_before_a_change_is_not_cached_after_it(database: Database) -> None:
    names = Names(database)

    def read(connection: Connection) -> list[str]:
        found = names.read(connection)
        connection.rollback()  # or SQLite's other connection would wait for this one
        names.add("a")
        return found

    assert names.invalidation.read(read, names.put) == []
    assert names.get() == ["a"]


def test_a_change_that_fails_changes_nothing(database: Database) -> None:
    names = Names(database)
    names.add("a")

    def fail() -> None:
        with names.invalidation.changing() as connection:
            connection.execute(insert(map_fields).values(dataset="d", name="b"))
            raise ValueError("never")

    with pytest.raises(ValueError, match="never"):
        fail()
    assert names.get() == ["a"]


def test_a_change_of_another_server_empties_the_cache(location: Path | str, tmp_path: Path) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        one, other = Names(first), Names(second)
        assert [other.get() for _ in range(3)] == [[], [], []]
        assert other.reads == 1

        one.add("a")

        assert [other.get() for _ in range(3)] == [["a"]] * 3
        assert other.reads == 2


def test_a_shared_database_is_asked_once_in_a_while(location: Path | str, tmp_path: Path) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        one, other = Names(first), Names(second, max_age_s=0.5)
        assert other.get() == []
        with statements_of(second) as statements:
            one.add("a")
            other.now_s += 0.4
            assert [other.get() for _ in range(3)] == [[]] * 3
            assert statements == []
            other.now_s += 0.2
            assert [other.get() for _ in range(3)] == [["a"]] * 3
            assert len(statements) == 2  # whether there was a change, and what it was


def test_a_change_of_ones_own_is_seen_at_once(location: Path | str, tmp_path: Path) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as database:
        names = Names(database, max_age_s=0.5)
        assert names.get() == []
        names.add("a")
        assert names.get() == ["a"]


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """Yield a list that takes up what a database is asked."""
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(database._engine, "before_cursor_execute", note)
    yield statements
    event.remove(database._engine, "before_cursor_execute", note)


class Revision:
    """A number that processes would share."""

    number = 0

    def advance(self) -> None:
        self.number += 1


def test_a_change_of_another_process_empties_the_cache_and_the_database_is_asked_only_then(tmp_path: Path) -> None:
    revision = Revision()
    with Database.open(tmp_path / "tailrace.db") as main, Database.opened(tmp_path / "tailrace.db", revision) as other:
        main.revision = revision
        changed, read = Names(main), Names(other)
        assert [read.get() for _ in range(3)] == [[], [], []]
        changed.add("a")
        assert [read.get() for _ in range(3)] == [["a"]] * 3
        assert read.reads == 2
        assert changed.get() == ["a"]
