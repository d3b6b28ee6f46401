"""The two databases of a data directory of version 0.1, access.db and saved.db, which become one.

They are put together in a file beside, which is flushed and then renamed, or whose rows are copied in one transaction
where the database is on PostgreSQL. So whatever ends the server meanwhile, the next start finds both as they were, or
all that they hold in the database, which also has a digest of each. They stay, under another name.
"""

import hashlib
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Table, func, insert, select

from tailrace.storage.database import FILE_NAME, Database, create_file
from tailrace.storage.files import flush
from tailrace.storage.tables import (
    changes,
    documents,
    field_notes,
    former_map_fields,
    imports,
    map_fields,
    metadata,
    monitor_history,
    monitor_outbox,
    monitor_runs,
    query_history,
    timestamp,
    users,
    virtual_fields,
)

ACCESS_FILE = "access.db"  # users, tokens, keys
SAVED_FILE = "saved.db"  # all others
IMPORTED_SUFFIX = ".imported"
_NEW_FILE = f"{FILE_NAME}.new"
_BATCH_ROWS = 1_000

_SAVED_TABLES = (
    documents,
    map_fields,
    former_map_fields,
    field_notes,
    virtual_fields,
    query_history,
    monitor_runs,
    monitor_history,
    monitor_outbox,
)
_ACCESS_TABLES = tuple(
    table for table in metadata.sorted_tables if table not in _SAVED_TABLES and table not in (changes, imports)
)

logger = logging.getLogger(__name__)


class ImportRefused(Exception):
    """The databases of version 0.1 cannot be imported; the message says what to do."""


def import_legacy(data: Path, url: str = "") -> None:
    """Put the databases of version 0.1 in a data directory into its database, or into that of a URL.

    Where there are none, nothing is done. Raise ImportRefused, and what opening a database raises; then both are as
    they were.
    """
    files = [path for path in (data / ACCESS_FILE, data / SAVED_FILE) if path.exists()]
    new = data / _NEW_FILE
    _remove(new)  # of an import that was ended
    if not files:
        return
    try:
        digests = _merge(data, new)
    except sqlite3.Error as error:
        raise ImportRefused(f"{_names(files)} of version 0.1 cannot be imported: {error}") from error
    target = data / FILE_NAME
    if url:
        with Database.open(url) as database:
            _copy(new, database, digests)
        _remove(new)
    elif target.exists():
        with Database.open(target) as database, database.reading() as connection:
            if not _is_imported(connection, digests):
                raise ImportRefused(
                    f"{target.name} is there, and {_names(files)} of version 0.1 too: move away what is not to be used"
                )
        _remove(new)
    else:
        flush(new)
        new.rename(target)
        flush(data)
    for path in files:
        path.replace(path.with_name(path.name + IMPORTED_SUFFIX))
    flush(data)
    logger.warning("%s of version 0.1 became one database; the files are named …%s", _names(files), IMPORTED_SUFFIX)


def _merge(data: Path, new: Path) -> set[str]:
    """Make a database of all that the files hold; return the digests of their content, which it has too."""
    access, saved = data / ACCESS_FILE, data / SAVED_FILE
    digests = set()
    create_file(new)
    if access.exists():
        with closing(sqlite3.connect(access)) as source, closing(sqlite3.connect(new)) as copy:
            source.backup(copy)
            digests.add(_digest(source))
    Database.open(new).close()  # with the newest tables
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        if saved.exists():
            _add_saved(connection, saved)
            with closing(sqlite3.connect(saved)) as source:
                digests.add(_digest(source))
    with Database.open(new) as database, database.changing() as changing:
        _record_import(changing, digests)
    with closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # all is in the one file that gets the name
    return digests


def _add_saved(connection: sqlite3.Connection, saved: Path) -> None:
    connection.execute("ATTACH ? AS saved", (str(saved),))
    connection.execute("BEGIN IMMEDIATE")
    for table in _SAVED_TABLES:
        # Version 0.1 added tables in time, and never a column.
        columns = [name for _, name, *_ in connection.execute(f"PRAGMA saved.table_info({table.name})")]
        if columns:
            names = ", ".join(columns)
            connection.execute(
                f"INSERT INTO main.{table.name} ({names}) SELECT {names} FROM saved.{table.name} ORDER BY rowid"
            )
    connection.execute("COMMIT")
    connection.execute("DETACH saved")


def _copy(source_path: Path, target: Database, digests: set[str]) -> None:
    """Put all rows of a database into another one, unless they are there, all or nothing."""
    with Database.open(source_path) as source, source.reading() as old, target.changing() as new:
        if _is_imported(new, digests):
            return
        if _has_rows(users, old):
            if _has_rows(users, new):
                raise ImportRefused(
                    f"{ACCESS_FILE} of version 0.1 has users, and the database of database_url has others: move "
                    f"{ACCESS_FILE} away if access_url named that database, else give this server one of its own"
                )
            for table in reversed(_ACCESS_TABLES):
                new.execute(table.delete())  # the first organisation, which a new database has
            for table in _ACCESS_TABLES:
                _copy_rows(table, old, new)
        for table in _SAVED_TABLES:
            if _has_rows(table, old) and _has_rows(table, new):
                raise ImportRefused(
                    f"the database of database_url has {table.name} of another server, so {SAVED_FILE} of version 0.1 "
                    "cannot be put into it: give this server a database of its own"
                )
            _copy_rows(table, old, new)
        _record_import(new, digests)


def _has_rows(table: Table, connection: Connection) -> bool:
    return bool(connection.scalar(select(func.count()).select_from(table)))


def _copy_rows(table: Table, old: Connection, new: Connection) -> None:
    # PostgreSQL counts up by itself: a number that is given would be given again.
    columns = [column for column in table.columns if column.name != "number"]
    order = [table.c.number] if "number" in table.c else list(table.primary_key)
    for rows in old.execute(select(*columns).order_by(*order)).mappings().partitions(_BATCH_ROWS):
        new.execute(insert(table), [{name: _without_nul(value) for name, value in row.items()} for row in rows])


def _without_nul(value: object) -> object:
    # PostgreSQL has none in a text. An error of a monitor could have one.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _is_imported(connection: Connection, digests: set[str]) -> bool:
    return digests <= set(connection.scalars(select(imports.c.digest)))


def _record_import(connection: Connection, digests: set[str]) -> None:
    now = timestamp(time.time())
    connection.execute(insert(imports), [{"digest": digest, "created_at": now} for digest in digests])


def _digest(connection: sqlite3.Connection) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in connection.iterdump():
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _names(files: list[Path]) -> str:
    return " and ".join(path.name for path in files)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
