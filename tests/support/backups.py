"""Backups of a lake and a database in the tests' own process, and what is in a restored data directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from support.events import batch
from support.lakes import numbers
from tailrace.backup.content import BackupBegun, BackupListing, DroppedMeanwhile, FileUnreadable
from tailrace.backup.manifest import Manifest, manifest_names, read_manifest
from tailrace.backup.place import BackupPlace
from tailrace.backup.running import Backups
from tailrace.backup.saving import SourceDropped, SourceUnreadable, save
from tailrace.lake import Lake
from tailrace.server.restore import Restored, RestorePlan, restore
from tailrace.storage.database import Database


class Told:
    """The progress of a copy."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.copied = self.kept = 0

    def expect(self, files: int, size_bytes: int) -> None:
        """Take no note."""

    def advance(self, size_bytes: int) -> None:
        """Take no note."""

    def end_file(self, *, copied: bool) -> None:
        """Count a file."""
        self.copied += copied
        self.kept += not copied

    def warn(self, text: str) -> None:
        """Note it."""
        self.warnings.append(text)


class DirectSource:
    """Backups in the tests' own process, as they are copied."""

    def __init__(self, backups: Backups) -> None:
        self.backups = backups

    def begin(self) -> BackupBegun:
        """Begin a backup."""
        return self.backups.begin()

    def listing(self, backup_id: str, dataset: str) -> BackupListing:
        """Return the files of a dataset."""
        try:
            return self.backups.listing(backup_id, dataset)
        except DroppedMeanwhile as error:
            raise SourceDropped(error.message) from error

    @contextmanager
    def content(self, backup_id: str, dataset: str, name: str) -> Iterator[Iterator[bytes]]:
        """Yield the content of a file."""
        try:
            yield self.backups.content(backup_id, dataset, name)[1]
        except DroppedMeanwhile as error:
            raise SourceDropped(error.message) from error
        except FileUnreadable as error:
            raise SourceUnreadable(error.message) from error

    def end(self, backup_id: str) -> None:
        """End the backup."""
        self.backups.end(backup_id)


class Origin(Struct, frozen=True, eq=False):
    """What is backed up."""

    directory: Path
    lake: Lake
    database: Database
    source: DirectSource

    def accept(self, position: int, numbers: list[int], dataset: str = "web") -> None:
        """Take events in."""
        self.lake.accept(position, batch([{"n": n} for n in numbers], dataset))

    def save(self, place: BackupPlace, told: Told | None = None, *, verify: bool = False) -> Manifest:
        """Make a backup."""
        return save(self.source, place, told or Told(), verify=verify)


def newest(place: BackupPlace) -> Manifest:
    """Return the newest backup of a place."""
    return read_manifest(place, list(manifest_names(place).values())[-1])


def restored(place: BackupPlace, data: Path, **plan: Any) -> Restored:
    """Restore the newest backup of a place, or the one of the plan."""
    is_partial = plan.pop("is_partial", False)
    names = manifest_names(place)
    manifest = read_manifest(place, names[plan.pop("backup", list(names)[-1])])
    return restore(place, manifest, data, RestorePlan(manifest.id, **plan), Told(), is_partial=is_partial)


def events_in(data: Path) -> dict[str, list[int]]:
    """Return the values of `n` in each dataset of a data directory."""
    lake = Lake.open(data / "lake")
    try:
        return {info.name: numbers(lake.snapshot(info.name)) for info in lake.datasets()}
    finally:
        lake.close()
