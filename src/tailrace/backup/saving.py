"""Copying a backup off a server into its place: what is there already is not copied again."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from tailrace.backup.content import (
    HASH_BYTES,
    BackupBegun,
    BackupFile,
    BackupListing,
    LeftOut,
    hash_in_name,
)
from tailrace.backup.manifest import (
    DATA,
    FORMAT,
    OBJECTS,
    BackupDamaged,
    Manifest,
    SavedDataset,
    check_names,
    manifest_names,
    read_manifest,
    stored_name,
    write_manifest,
)
from tailrace.backup.place import BackupPlace

TRANSFERS = 4  # files that are copied at the same time
ATTEMPTS = 3  # at a file whose content does not arrive as it was written
REMEMBERED_BACKUPS = 3  # whose manifests are read for the hashes of files whose names have none


class SourceBroken(Exception):
    """What was asked of the server was not answered in full; asking again may help."""


class SourceUnreadable(Exception):
    """The server cannot read a file; the message says why."""


class SourceDropped(Exception):
    """The dataset was dropped meanwhile."""


class BackupSource(Protocol):
    """A server, as a backup is copied off it."""

    def begin(self) -> BackupBegun:
        """Begin a backup."""

    def listing(self, backup_id: str, dataset: str) -> BackupListing:
        """Return the files of a dataset. Raise SourceDropped."""

    def content(self, backup_id: str, dataset: str, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """Yield the content of a file. Raise SourceBroken, SourceUnreadable, SourceDropped."""

    def end(self, backup_id: str) -> None:
        """End the backup."""


class Progress(Protocol):
    """Whom the progress is told to, from several threads."""

    def expect(self, files: int, size_bytes: int) -> None:
        """Add files that are to be done."""

    def advance(self, size_bytes: int) -> None:
        """Count bytes that are done."""

    def end_file(self, *, copied: bool) -> None:
        """Count a file that is done: copied, or there already."""

    def warn(self, text: str) -> None:
        """Tell of something that is not as it should be."""


class _Copied(Struct, frozen=True):
    """What became of a file."""

    file: BackupFile
    fault: str = ""


def save(source: BackupSource, place: BackupPlace, progress: Progress, *, verify: bool = False) -> Manifest:
    """Make a backup, and return its manifest once it is whole and durable.

    With `verify` files that are there already are read, and copied again where they are not what was written. Where
    this raises there is no new backup; what was copied stays, and the next one does not copy it again. Raise
    PlaceInUse, OSError of the place, SourceBroken.
    """
    with place.working() as working:
        there = {**place.sizes(DATA), **place.sizes(OBJECTS)}
        known = _hashes(place)
        begun = source.begin()
        try:
            manifest = _Saving(source, place, progress, working, there, known, begun, verify=verify).run()
            place.settle()
            write_manifest(place, manifest)
            return manifest
        finally:
            source.end(begun.id)


class _Saving:
    """A backup that is being made."""

    def __init__(
        self,
        source: BackupSource,
        place: BackupPlace,
        progress: Progress,
        working: Path,
        there: dict[str, int],
        known: dict[tuple[str, str, int], str],
        begun: BackupBegun,
        *,
        verify: bool,
    ) -> None:
        self._source = source
        self._place = place
        self._progress = progress
        self._working = working
        self._there = there
        self._known = known
        self._begun = begun
        self._verify = verify

    def run(self) -> Manifest:
        """Copy everything, and return the manifest."""
        begun = self._begun
        left_out = list(begun.left_out)
        saved = []
        with ThreadPoolExecutor(TRANSFERS, "tailrace-backup") as threads:
            for dataset in begun.datasets:
                try:
                    listing = self._source.listing(begun.id, dataset.name)
                    files, missing = self._copy_all(threads, dataset.name, listing.files)
                except SourceDropped as error:
                    left_out.append(LeftOut(dataset.name, str(error)))
                    continue
                saved.append(SavedDataset(dataset, files, missing))
            files, missing = self._copy_all(threads, "", begun.files)
        if missing:
            raise SourceBroken("; ".join(f"{name}: {fault}" for name, fault in missing.items()))
        return Manifest(
            FORMAT, begun.id, begun.created, begun.tailrace, begun.has_database, files, tuple(saved), tuple(left_out)
        )

    def _copy_all(
        self, threads: ThreadPoolExecutor, dataset: str, files: list[BackupFile]
    ) -> tuple[tuple[BackupFile, ...], dict[str, str]]:
        """Return the files of a dataset that are in the place then, and the others with the reasons."""
        check_names((dataset, file) for file in files)
        self._progress.expect(len(files), sum(file.bytes for file in files))
        done = [threads.submit(self._copy, dataset, file) for file in files]
        try:
            copied = [each.result() for each in done]
        except BaseException:
            for each in done:
                each.cancel()
            raise
        good = tuple(each.file for each in copied if not each.fault)
        missing = {each.file.name: each.fault for each in copied if each.fault}
        for name, fault in missing.items():
            self._progress.warn(f"dataset {dataset}: {name} is not in the backup: {fault}")
        return good, missing

    def _copy(self, dataset: str, file: BackupFile) -> _Copied:
        """Copy a file unless it is in the place already."""
        if not hash_in_name(file.name) and not file.hash:
            file = replace(file, hash=self._known.get((dataset, file.name, file.bytes), ""))
        if (file.hash or hash_in_name(file.name)) and self._has(dataset, file):
            self._progress.advance(file.bytes)
            self._progress.end_file(copied=False)
            return _Copied(file)
        fault = ""
        for attempt in range(1, ATTEMPTS + 1):
            path = self._working / uuid.uuid4().hex
            try:
                found = self._download(dataset, file, path)
                if found is not None:
                    self._place.put(stored_name(dataset, found), path)
                    self._progress.end_file(copied=True)
                    return _Copied(found)
                fault = "it is damaged: its content is not what was written"
            except SourceUnreadable as error:
                fault = str(error)
            except SourceBroken:
                if attempt == ATTEMPTS:
                    raise
            finally:
                path.unlink(missing_ok=True)
        return _Copied(file, fault)

    def _has(self, dataset: str, file: BackupFile) -> bool:
        name = stored_name(dataset, file)
        if self._there.get(name) != file.bytes:
            return False
        if not self._verify or not (fault := stored_fault(self._place, dataset, file)):
            return True
        self._progress.warn(f"{self._place.url}/{name} is copied again: {fault}")
        return False

    def _download(self, dataset: str, file: BackupFile, path: Path) -> BackupFile | None:
        """Write the content of a file; return the file with its hash, None where that is not what it should be."""
        named = hash_in_name(file.name) if not file.hash else ""
        due = file.hash or named
        digest = blake2b(digest_size=len(due) // 2 if due else HASH_BYTES)
        size = 0
        with self._source.content(self._begun.id, dataset, file.name) as chunks, path.open("xb") as target:
            for chunk in chunks:
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
                self._progress.advance(len(chunk))
        found = digest.hexdigest()
        if size != file.bytes or (due and found != due):
            self._progress.advance(-size)
            return None
        return file if due else replace(file, hash=found)


def stored_fault(place: BackupPlace, dataset: str, file: BackupFile) -> str:
    """Return what is wrong with a file in a place, empty where nothing is. Reads all of it."""
    due = file.hash or hash_in_name(file.name)
    digest = blake2b(digest_size=len(due) // 2)
    size = 0
    try:
        for chunk in place.chunks(stored_name(dataset, file)):
            digest.update(chunk)
            size += len(chunk)
    except FileNotFoundError:
        return "it is missing"
    return "" if (size, digest.hexdigest()) == (file.bytes, due) else "its content is not what was written"


def check_stored(place: BackupPlace, manifest: Manifest, progress: Progress) -> list[str]:
    """Read every file of a backup, and return what is wrong with those that are not what was written."""
    files = list(manifest.all_files())
    progress.expect(len(files), sum(file.bytes for _, file in files))

    def check(dataset: str, file: BackupFile) -> str:
        fault = stored_fault(place, dataset, file)
        progress.advance(file.bytes)
        progress.end_file(copied=False)
        return f"{place.url}/{stored_name(dataset, file)}: {fault}" if fault else ""

    with ThreadPoolExecutor(TRANSFERS, "tailrace-backup") as threads:
        done = [threads.submit(check, dataset, file) for dataset, file in files]
        return [fault for each in done if (fault := each.result())]


def _hashes(place: BackupPlace) -> dict[tuple[str, str, int], str]:
    """Return the hashes that earlier backups found of data files whose names have none; those never change."""
    known = {}
    for name in list(manifest_names(place).values())[-REMEMBERED_BACKUPS:]:
        try:
            manifest = read_manifest(place, name)
        except (BackupDamaged, ValueError):  # which a restore of it tells
            continue
        for dataset, file in manifest.all_files():
            if file.hash and file.name.endswith(".parquet") and "/" in file.name and not file.name.startswith("_delta"):
                known[dataset, file.name, file.bytes] = file.hash
    return known
