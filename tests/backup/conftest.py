"""A lake and a database with a few events, which are backed up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backups import DirectSource, Origin
from support.lakes import NEVER

from tailrace.access import Access
from tailrace.backup.place import DirectoryPlace
from tailrace.backup.running import Backups, BackupSources
from tailrace.lake import Lake
from tailrace.storage.database import Database


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """Yield a lake with the dataset `web`, whose events are 0 to 9, and a database with an owner."""
    directory = tmp_path / "origin"
    directory.mkdir()
    lake = Lake.open(directory / "lake", NEVER)
    database = Database.open(directory / "tailrace.db")
    Access(database).bootstrap("xapt-owner")
    backups = Backups(
        BackupSources(lake, lake.names, database, directory / "backups", lambda: {"sessions.key": b"secret"})
    )
    origin = Origin(directory, lake, database, DirectSource(backups))
    lake.create("web")
    origin.accept(1, list(range(10)))
    try:
        yield origin
    finally:
        backups.close()
        lake.close()
        database.close()


@pytest.fixture
def place(tmp_path: Path) -> DirectoryPlace:
    """Return a place of backups that is not there yet."""
    return DirectoryPlace(tmp_path / "place")
