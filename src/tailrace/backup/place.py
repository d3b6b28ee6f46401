"""Where backups are kept: a directory, or the objects beneath a URL `s3://bucket/prefix`."""

import fcntl
import os
import tempfile
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.lake.hashes import CHUNK_BYTES
from tailrace.storage.files import flush, flush_all, make_directories, write_flushed

if TYPE_CHECKING:
    from tailrace.storage.object_files import ObjectFiles

OBJECT_SCHEME = "s3://"
FILE_SCHEME = "file://"
UNFINISHED = ".unfinished"  # a directory of files that are being copied
LOCK = ".lock"


class PlaceInUse(Exception):
    """Another backup, or an export, is being written to the same place."""


class BackupPlace(ABC):
    """Files by name, with "/" between directories. What has a name is whole. Thread-safe; what fails raises OSError."""

    url: str

    @abstractmethod
    def sizes(self, directory: str) -> dict[str, int]:
        """Return the size of each file in a directory and those beneath it, by name; none where it is not there."""

    @abstractmethod
    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file. Raise FileNotFoundError, at the first."""

    @abstractmethod
    def put(self, name: str, path: Path) -> None:
        """Give a file of `working` its name, in place of one that has it."""

    @abstractmethod
    def settle(self) -> None:
        """Make sure that all that was put is durable."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> None:
        """Write a new file, durable when this returns."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; a missing one is ignored."""

    @abstractmethod
    def working(self) -> AbstractContextManager[Path]:
        """Yield a directory for files that are to be put. Raise PlaceInUse."""

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raise FileNotFoundError."""
        return b"".join(self.chunks(name))


class DirectoryPlace(BackupPlace):
    """A directory on this machine, made with the first file."""

    def __init__(self, directory: Path) -> None:
        self.url = str(directory)
        self.directory = directory
        self._written: set[Path] = set()  # directories with names that may not be durable yet
        self._lock = threading.Lock()

    def sizes(self, directory: str) -> dict[str, int]:
        """Return the size of each file, by name."""
        found = {}
        for parent, _, names in os.walk(self.directory / directory, onerror=_unless_missing):
            for name in names:
                path = Path(parent, name)
                found[path.relative_to(self.directory).as_posix()] = path.stat().st_size
        return found

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        with (self.directory / name).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def put(self, name: str, path: Path) -> None:
        """Flush a file, and rename it."""
        target = self.directory / name
        flush(path)
        missing = [each for each in target.parents if not each.exists()]
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(target)
        with self._lock:
            self._written |= {target.parent, *(each.parent for each in missing)}

    def settle(self) -> None:
        """Flush the names."""
        written, self._written = self._written, set()
        flush_all(written)

    def create(self, name: str, content: bytes) -> None:
        """Write a new file in one step."""
        target = self.directory / name
        make_directories(target.parent)
        temporary = target.parent / f".{uuid.uuid4()}"
        write_flushed(temporary, content, mode=0o600)
        temporary.replace(target)
        flush(target.parent)

    def remove(self, name: str) -> None:
        """Remove a file; a missing one is ignored."""
        (self.directory / name).unlink(missing_ok=True)

    def flush(self, directory: str) -> None:
        """Make it durable that files of a directory are removed."""
        if (self.directory / directory).is_dir():
            flush(self.directory / directory)

    def remove_empty_directories(self) -> None:
        """Remove directories that have nothing in them."""
        for parent, _, _ in os.walk(self.directory, topdown=False):
            if Path(parent) != self.directory and not os.listdir(parent) and Path(parent).name != UNFINISHED:
                Path(parent).rmdir()

    @contextmanager
    def working(self) -> Iterator[Path]:
        """Yield a directory of its own, emptied of what a backup that was killed has left."""
        make_directories(self.directory)
        with (self.directory / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PlaceInUse(f"another backup or export is being written to {self.url}") from error
            unfinished = self.directory / UNFINISHED
            unfinished.mkdir(mode=0o700, exist_ok=True)
            _empty(unfinished)
            try:
                yield unfinished
            finally:
                _empty(unfinished)
                unfinished.rmdir()


class StorePlace(BackupPlace):
    """The objects beneath a URL of an object store."""

    def __init__(self, files: "ObjectFiles") -> None:
        self.url = files.url
        self._files = files

    def sizes(self, directory: str) -> dict[str, int]:
        """Return the size of each object, by name."""
        return self._files.sizes(directory)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an object."""
        return self._files.chunks(name)

    def put(self, name: str, path: Path) -> None:
        """Put a file as an object, which is durable then."""
        self._files.write(name, path)

    def settle(self) -> None:
        """Do nothing: each object is durable."""

    def create(self, name: str, content: bytes) -> None:
        """Put an object."""
        self._files.write(name, content)

    def remove(self, name: str) -> None:
        """Delete an object; a missing one is ignored."""
        self._files.delete([name])

    @contextmanager
    def working(self) -> Iterator[Path]:
        """Yield a temporary directory. Several backups may write to one store: all that they have in common is files
        whose content is the same.
        """
        with tempfile.TemporaryDirectory(prefix="tailrace-backup-") as directory:
            yield Path(directory)


def open_place(target: str) -> BackupPlace:
    """Return the place that a person names: a directory, or s3://bucket/prefix. Raise ValueError for another URL."""
    if target.startswith(OBJECT_SCHEME):
        from tailrace.storage.object_files import open_s3  # takes 30 ms

        return StorePlace(open_s3(target))
    path = target.removeprefix(FILE_SCHEME)
    if "://" in path or not path:  # as where the variable of a script is not set
        raise ValueError(f"{target!r} is no place for files: give a directory, or s3://bucket/prefix")
    return DirectoryPlace(Path(path).absolute())


def _unless_missing(error: OSError) -> None:
    """Raise the error, unless it is of a directory that is not there."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
