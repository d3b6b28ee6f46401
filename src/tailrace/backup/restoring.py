"""Copying a backup from its place into a data directory, every file verified on the way."""

import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tailrace.backup.content import BackupFile, hash_in_name
from tailrace.backup.manifest import BackupDamaged, Manifest, stored_name
from tailrace.backup.place import BackupPlace
from tailrace.backup.saving import TRANSFERS, Progress
from tailrace.lake.local_catalog import NEW_PREFIX
from tailrace.storage.files import flush_all

if TYPE_CHECKING:
    from tailrace.storage.object_files import ObjectFiles

SCRATCH = f"{NEW_PREFIX}files"  # a directory of files that are being copied; a lake takes it for no dataset


class TablesTarget(ABC):
    """Where the tables of a backup go: files by name, whole once they have it. Thread-safe."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Return the size of each file that is there, by name."""

    @abstractmethod
    def scratch(self, data: Path) -> Path:
        """Return a directory for files that are to be put, given the data directory."""

    @abstractmethod
    def put(self, name: str, path: Path) -> None:
        """Give a file its name."""


class DirectoryTarget(TablesTarget):
    """A directory on the disk of the data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def sizes(self) -> dict[str, int]:
        """Return the size of each file, by name."""
        found = {}
        for parent, _, names in os.walk(self._directory):
            for name in names:
                path = Path(parent, name)
                found[path.relative_to(self._directory).as_posix()] = path.stat().st_size
        return found

    def scratch(self, data: Path) -> Path:
        """Return a directory on the same disk."""
        return self._directory / SCRATCH

    def put(self, name: str, path: Path) -> None:
        """Rename a file, whose content is flushed; the names are in the end, all together."""
        target = self._directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(target)

    def settle(self) -> None:
        """Make the names durable."""
        flush_all(Path(parent) for parent, _, _ in os.walk(self._directory))


class StoreTarget(TablesTarget):
    """The objects beneath a URL."""

    def __init__(self, files: "ObjectFiles") -> None:
        self._files = files

    def sizes(self) -> dict[str, int]:
        """Return the size of each object, by name."""
        return self._files.sizes("")

    def scratch(self, data: Path) -> Path:
        """Return one in the data directory."""
        return data / SCRATCH

    def put(self, name: str, path: Path) -> None:
        """Put an object."""
        self._files.write(name, path)


def chosen(manifest: Manifest, datasets: Collection[str]) -> Manifest:
    """Return a backup with these datasets alone, or all where none are named. Raise ValueError for one it has not."""
    there = {each.dataset.name for each in manifest.datasets}
    if missing := sorted(set(datasets) - there):
        named = ", ".join(sorted(there)) or "none"
        raise ValueError(f"backup {manifest.id} has no dataset {', '.join(missing)}; it has {named}")
    if not datasets:
        return manifest
    return replace(manifest, datasets=tuple(each for each in manifest.datasets if each.dataset.name in datasets))


def copy_back(
    place: BackupPlace, manifest: Manifest, data: Path, tables: TablesTarget, progress: Progress, leave: Collection[str]
) -> list[str]:
    """Copy the files of a backup, but those of the data directory named in `leave`; what is there already is kept.

    Return what is wrong with those that are damaged, which are left out. Raise OSError. Whoever repeats the call goes
    on where it was stopped.
    """
    of_server = DirectoryTarget(data)
    scratches = {of_server.scratch(data), tables.scratch(data)}
    for scratch in scratches:
        shutil.rmtree(scratch, ignore_errors=True)  # of a restore that was killed
        scratch.mkdir(mode=0o700, parents=True)
    there = tables.sizes()
    files = [(dataset, file) for dataset, file in manifest.all_files() if dataset or file.name not in leave]
    progress.expect(len(files), sum(file.bytes for _, file in files))

    def copy(dataset: str, file: BackupFile) -> str:
        target: TablesTarget = tables if dataset else of_server
        name = f"{dataset}/{file.name}" if dataset else file.name
        is_there = there.get(name) == file.bytes if dataset else False
        if is_there:
            progress.advance(file.bytes)
        else:
            path = target.scratch(data) / uuid.uuid4().hex
            try:
                _fetch(place, dataset, file, path, progress)
                target.put(name, path)
            except BackupDamaged as error:
                return str(error)
            finally:
                path.unlink(missing_ok=True)
        progress.end_file(copied=not is_there)
        return ""

    with ThreadPoolExecutor(TRANSFERS, "tailrace-restore") as threads:
        done = [threads.submit(copy, dataset, file) for dataset, file in files]
        try:
            faults = [fault for each in done if (fault := each.result())]
        except BaseException:
            for each in done:
                each.cancel()
            raise
    for scratch in scratches:
        scratch.rmdir()
    return faults


def _fetch(place: BackupPlace, dataset: str, file: BackupFile, path: Path, progress: Progress) -> None:
    """Write a file of a backup, flushed. Raise BackupDamaged."""
    due = file.hash or hash_in_name(file.name)
    digest = blake2b(digest_size=len(due) // 2)
    size = 0
    name = stored_name(dataset, file)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            for chunk in place.chunks(name):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
                progress.advance(len(chunk))
            target.flush()
            os.fsync(target.fileno())
    except FileNotFoundError as error:
        raise BackupDamaged(f"{place.url}/{name} is missing") from error
    if (size, digest.hexdigest()) != (file.bytes, due):
        raise BackupDamaged(f"{place.url}/{name} is damaged: its content is not what was written")
