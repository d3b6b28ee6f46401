"""Databases of version 0.1, made of their dumps, and what is in the file of one."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

DUMPS = Path(__file__).parents[1] / "storage" / "databases"


def load(path: Path, dump: str) -> None:
    """Make a database of the dump of one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript((DUMPS / dump).read_text())


def stored_rows(path: Path, *, without: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return all rows of the database in a file, by table, as they are stored, without those of some tables."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: list(connection.execute(f"SELECT * FROM {name} ORDER BY rowid"))
            for name in tables
            if name not in without
        }
