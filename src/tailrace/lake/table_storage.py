"""Where the files of a table are, and how they are read and written: a local directory.

Nothing else of the lake knows the first. A name is that of a file beneath its table, with "/" between directories.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from tailrace.lake.fields import DAY
from tailrace.lake.hashes import SUFFIX, HashingFile, damage
from tailrace.lake.snapshot import DataFile, TableRoot
from tailrace.storage.files import (
    flush,
    flush_all,
    make_directories,
    read_bytes,
    replace_durably,
    set_aside,
    write_flushed,
)

DELTA_LOG = "_delta_log"
OWN_DIRECTORY = "_tailrace"  # Delta readers skip names with an underscore
UNREADABLE_DIRECTORY = f"{OWN_DIRECTORY}/unreadable"  # what was set aside
SORT_PREFIX = f"{OWN_DIRECTORY}/sort-"  # of directories in which rows are sorted
EPOCH = date(1970, 1, 1)


class TableStorage:
    """The files of one table. Thread-safe, except for concurrent changes of the same file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._flushed_days: set[Path] = set()  # directories whose names are durable

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """The location of the table for engines."""
        return str(self._directory)

    def location(self, name: str) -> str:
        """Return the location of a file for readers: a path or a URL."""
        return str(self._directory / name)

    def beneath(self, name: str) -> "TableStorage":
        """Return the storage of a table in a directory of this one."""
        return TableStorage(self._directory / name)

    def is_table(self) -> bool:
        """Return whether there is a table's log."""
        return os.path.isdir(self._directory / DELTA_LOG)

    # Any file

    def exists(self, name: str) -> bool:
        """Return whether there is a file or a directory of a name."""
        return os.path.exists(self._directory / name)

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, unordered; none if it does not exist."""
        try:
            with os.scandir(self._directory / directory) as entries:
                return [f"{directory}/{entry.name}" for entry in entries]
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self._directory / name).read_bytes()

    def read_if_there(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        return read_bytes(self._directory / name)

    def write_flushed(self, name: str, content: bytes) -> None:
        """Write a new file and flush its content, not its name; remove it if that fails."""
        write_flushed(self._directory / name, content)

    def link(self, name: str, other: str) -> None:
        """Give a file a second name. Raise FileExistsError where that is taken."""
        os.link(self._directory / name, self._directory / other)

    def replace(self, name: str, other: str) -> None:
        """Rename a file, replacing the file of that name."""
        (self._directory / name).replace(self._directory / other)

    def replace_durably(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        """Replace the content of a file atomically and durably."""
        replace_durably(self._directory / name, content, mode=mode)

    def remove(self, name: str) -> None:
        """Remove a file. Raise FileNotFoundError where there is none."""
        (self._directory / name).unlink()

    def make_directories(self, name: str) -> None:
        """Create a directory and its parents, durably."""
        make_directories(self._directory / name)

    def make_scratch(self, name: str) -> None:
        """Create a directory and its parents, which need not survive a power cut."""
        (self._directory / name).mkdir(parents=True)

    @contextmanager
    def sort_directory(self) -> Iterator[Path]:
        """Yield a directory for files that need not survive a power cut, removed with them at the end."""
        name = f"{SORT_PREFIX}{uuid.uuid4()}"
        self.make_scratch(name)
        try:
            yield self._directory / name
        finally:
            self.remove_scratch(name)

    def remove_scratch(self, name: str) -> None:
        """Remove as much of a directory and its content as can be."""
        shutil.rmtree(self._directory / name, ignore_errors=True)

    def remove_directory(self, name: str) -> None:
        """Remove a directory and its content."""
        shutil.rmtree(self._directory / name)

    def flush(self, name: str) -> None:
        """Flush a file's content, or the names in a directory."""
        flush(self._directory / name)

    # Unreadable files

    def set_aside(self, name: str) -> str:
        """Move a file to the directory of unreadable files, durably; return its new name."""
        self.make_directories(UNREADABLE_DIRECTORY)
        path = self._directory / name
        aside = f"{UNREADABLE_DIRECTORY}/{path.name}.{time.time_ns()}"
        path.rename(self._directory / aside)
        self.flush(UNREADABLE_DIRECTORY)
        flush(path.parent)
        return aside

    def put_back(self, aside: str, name: str) -> None:
        """Move a file that was set aside back to its name."""
        (self._directory / aside).rename(self._directory / name)

    def mark_damaged(self, name: str) -> None:
        """Rename a damaged file, if possible, so that it can be inspected."""
        set_aside(self._directory / name)

    # Data files

    @contextmanager
    def new_data_files(self) -> Iterator["NewDataFiles"]:
        """Yield what begins data files, all of which are on the disk at the end; none where it raises.

        Were they left, attempts on a full disk would use up whatever becomes free.
        """
        new = NewDataFiles(self._directory, self._flushed_days)
        try:
            yield new
            new.flush()
        except BaseException:
            new.remove()
            raise

    def data_file_names(self) -> list[str]:
        """Return the names of all data files, whether they are part of the table or not."""
        return [name for day in self._days() for name in self.names(day) if name.endswith(".parquet")]

    def remove_data_files(self, names: Iterable[str]) -> None:
        """Remove data files; missing ones are ignored."""
        for name in names:
            (self._directory / name).unlink(missing_ok=True)

    def remove_empty_days(self) -> None:
        """Remove the directories of days that have no file."""
        for day in self._days():
            if not self.names(day):
                (self._directory / day).rmdir()

    def parquet(self, name: str) -> pq.ParquetFile:
        """Open a data file for reading, by which the checksums of its pages are verified; the caller closes it."""
        return pq.ParquetFile(self._directory / name, page_checksum_verification=True)

    def size_bytes(self, name: str) -> int:
        """Return the size of a file."""
        return (self._directory / name).stat().st_size

    def damage(self, file: DataFile, *, of_disk: bool = False) -> str:
        """Return why a data file is damaged, "" if it is not; see `hashes.damage`."""
        return damage(self._directory / file.name, file.bytes, of_disk=of_disk)

    def _days(self) -> list[str]:
        with os.scandir(self._directory) as entries:
            return [entry.name for entry in entries if entry.name.startswith(f"{DAY}=")]


class NewDataFiles:
    """Data files that are being written and are not part of their table yet."""

    def __init__(self, directory: Path, flushed_days: set[Path]) -> None:
        self._directory = directory
        self._flushed_days = flushed_days
        self._paths: list[Path] = []

    @contextmanager
    def begin(self, day: int) -> Iterator[HashingFile]:
        """Yield a file for the events of a day (since the Unix epoch), to be written; it has its `name` at the end."""
        path = self._directory / f"{DAY}={day_name(day)}" / f"part-{uuid.uuid4()}{SUFFIX}"
        if not path.parent.exists():
            path.parent.mkdir(exist_ok=True)
            self._flushed_days.discard(path.parent)
        self._paths.append(path)
        with path.open("wb") as opened:
            yield HashingFile(opened)

    def name(self, file: HashingFile) -> str:
        """Rename the file that was begun last to its final name, which has its hash; return that."""
        self._paths[-1] = path = file.name(self._paths[-1])
        return path.relative_to(self._directory).as_posix()

    def flush(self) -> None:
        """Flush all files and their names together: events of 10,000 days are as many files."""
        flush_all(self._paths)
        days = {path.parent for path in self._paths}
        flush_all(days)
        # A directory that exists may not have a durable name: an earlier flush may have failed.
        if not days <= self._flushed_days:
            flush(self._directory)
            self._flushed_days |= days

    def remove(self) -> None:
        """Remove the files, and new directories of days, whose names may not be durable."""
        for path in self._paths:
            path.unlink(missing_ok=True)
        for day in {path.parent for path in self._paths} - self._flushed_days:
            with suppress(OSError):
                day.rmdir()


def day_name(day: int) -> str:
    """Return the name of a day, given since the Unix epoch, in its directory and partition value."""
    return (EPOCH + timedelta(days=day)).isoformat()


def storage_of(directory: Path) -> TableStorage:
    """Return the storage of the table in a directory: the one place that decides what kind it is."""
    return TableStorage(directory)


def table_root(directory: Path) -> TableRoot:
    """Return the root of the tables in the subdirectories of a directory."""
    return TableRoot(f"{directory.resolve()}/")
