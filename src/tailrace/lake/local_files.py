"""Files beneath a local directory, flushed with their names where they are to survive a power cut."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailrace.lake.deltalog import DELTA_LOG, OWN_DIRECTORY, UNREADABLE_DIRECTORY
from tailrace.lake.table_storage import SmallFiles
from tailrace.storage.files import (
    flush,
    make_directories,
    read_bytes,
    replace_durably,
    set_aside,
    write_flushed,
)

SORT_PREFIX = f"{OWN_DIRECTORY}/sort-"  # of directories in which rows are sorted


class LocalFiles(SmallFiles):
    """The files beneath a directory. A name has "/" between directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """The location of the directory for engines."""
        return str(self.directory)

    def location(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.directory / name)

    def beneath(self, name: str) -> "LocalFiles":
        """Return the files of a directory of this one."""
        return LocalFiles(self.directory / name)

    def is_table(self) -> bool:
        """Return whether there is a table's log."""
        return os.path.isdir(self.directory / DELTA_LOG)

    def exists(self, name: str) -> bool:
        """Return whether there is a file or a directory of a name."""
        return os.path.exists(self.directory / name)

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, unordered; none if it does not exist."""
        try:
            with os.scandir(self.directory / directory) as entries:
                return [f"{directory}/{entry.name}" for entry in entries]
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self.directory / name).read_bytes()

    def read_if_there(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        return read_bytes(self.directory / name)

    def write_flushed(self, name: str, content: bytes) -> None:
        """Write a new file and flush its content, not its name; remove it if that fails."""
        write_flushed(self.directory / name, content)

    def link(self, name: str, other: str) -> None:
        """Give a file a second name. Raise FileExistsError where that is taken."""
        os.link(self.directory / name, self.directory / other)

    def replace(self, name: str, other: str) -> None:
        """Rename a file, replacing the file of that name."""
        (self.directory / name).replace(self.directory / other)

    def replace_durably(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        """Replace the content of a file atomically and durably."""
        replace_durably(self.directory / name, content, mode=mode)

    def create_durably(self, name: str, content: bytes) -> None:
        """Write a new file durably. Raise FileExistsError where there is one of this name."""
        path = self.directory / name
        make_directories(path.parent)
        write_flushed(path, content)
        flush(path.parent)

    def remove(self, name: str) -> None:
        """Remove a file. Raise FileNotFoundError where there is none."""
        (self.directory / name).unlink()

    def make_directories(self, name: str) -> None:
        """Create a directory and its parents, durably."""
        make_directories(self.directory / name)

    def make_scratch(self, name: str) -> None:
        """Create a directory and its parents, which need not survive a power cut."""
        (self.directory / name).mkdir(parents=True)

    @contextmanager
    def sort_directory(self) -> Iterator[Path]:
        """Yield a directory for files that need not survive a power cut, removed with them at the end."""
        name = f"{SORT_PREFIX}{uuid.uuid4()}"
        self.make_scratch(name)
        try:
            yield self.directory / name
        finally:
            self.remove_scratch(name)

    def remove_scratch(self, name: str) -> None:
        """Remove as much of a directory and its content as can be."""
        shutil.rmtree(self.directory / name, ignore_errors=True)

    def remove_directory(self, name: str) -> None:
        """Remove a directory and its content."""
        shutil.rmtree(self.directory / name)

    def flush(self, name: str) -> None:
        """Flush a file's content, or the names in a directory."""
        flush(self.directory / name)

    # Unreadable files

    def set_aside(self, name: str) -> str:
        """Move a file to the directory of unreadable files, durably; return its new name."""
        self.make_directories(UNREADABLE_DIRECTORY)
        path = self.directory / name
        aside = f"{UNREADABLE_DIRECTORY}/{path.name}.{time.time_ns()}"
        path.rename(self.directory / aside)
        self.flush(UNREADABLE_DIRECTORY)
        flush(path.parent)
        return aside

    def put_back(self, aside: str, name: str) -> None:
        """Move a file that was set aside back to its name."""
        (self.directory / aside).rename(self.directory / name)

    def mark_damaged(self, name: str) -> None:
        """Rename a damaged file, if possible, so that it can be inspected."""
        set_aside(self.directory / name)
