"""Where the files of a table are, and how they are read and written: the interface of a directory and an object store.

Nothing else of the lake knows which of them it is. A name is that of a file beneath its table, with "/" between
directories.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from tailrace.lake.deltalog import DeltaLog
from tailrace.lake.hashes import HashingFile
from tailrace.lake.snapshot import DataFile

EPOCH = date(1970, 1, 1)


class SmallFiles(ABC):
    """Files that are read and written whole, and are durable once they are written. Thread-safe."""

    @abstractmethod
    def location(self, name: str) -> str:
        """Return the location of a file for people: a path or a URL."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file. Raise FileNotFoundError where there is none."""

    @abstractmethod
    def read_if_there(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""

    @abstractmethod
    def names(self, directory: str) -> list[str]:
        """Return the names of the files in a directory, unordered; none where there is no directory."""

    @abstractmethod
    def replace_durably(self, name: str, content: bytes) -> None:
        """Replace the content of a file atomically and durably."""

    @abstractmethod
    def create_durably(self, name: str, content: bytes) -> None:
        """Write a new file durably. Raise FileExistsError where there is one of this name with another content."""

    @abstractmethod
    def mark_damaged(self, name: str) -> None:
        """Rename a damaged file, if possible, so that it can be inspected."""


class NewDataFiles(Protocol):
    """Data files that are being written and are not part of their table yet."""

    def begin(self, day: int) -> AbstractContextManager[HashingFile]:
        """Yield a file for the events of a day (since the Unix epoch), to be written; it has its `name` at the end."""

    def name(self, file: HashingFile) -> str:
        """Give the file that was begun last its final name, which has its hash; return that."""


class TableStorage(SmallFiles):
    """The files of one table. Thread-safe, except for concurrent changes of the same file.

    What fails raises OSError, for a file that is not there FileNotFoundError.
    """

    def __str__(self) -> str:
        return self.uri

    @property
    @abstractmethod
    def uri(self) -> str:
        """The location of the table for engines."""

    @property
    @abstractmethod
    def delta_log(self) -> DeltaLog:
        """The versions of the table."""

    @abstractmethod
    def is_table(self) -> bool:
        """Return whether there is a table's log, as far as that can be told at once."""

    @abstractmethod
    def sort_directory(self) -> AbstractContextManager[Path]:
        """Yield a directory on this machine for files that need not survive a power cut, removed with them at the
        end.
        """

    # Data files

    @abstractmethod
    def readable(self, name: str) -> str:
        """Return the path by which readers open a data file."""

    @abstractmethod
    def new_data_files(self) -> AbstractContextManager[NewDataFiles]:
        """Yield what begins data files, all of which are durable at the end; none is left where it raises.

        Were they left, attempts on a full disk would use up whatever becomes free.
        """

    @abstractmethod
    def data_file_names(self) -> list[str]:
        """Return the names of all data files, whether they are part of the table or not."""

    @abstractmethod
    def remove_data_files(self, names: Iterable[str]) -> None:
        """Remove data files; missing ones are ignored."""

    @abstractmethod
    def remove_empty_days(self) -> None:
        """Remove the directories of days that have no file."""

    @abstractmethod
    def parquet(self, name: str) -> pq.ParquetFile:
        """Open a data file for reading, by which the checksums of its pages are verified; the caller closes it."""

    @abstractmethod
    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a data file. Raise FileNotFoundError, at the first, where there is none."""

    @abstractmethod
    def size_bytes(self, name: str) -> int:
        """Return the size of a file."""

    @abstractmethod
    def damage(self, file: DataFile, *, of_disk: bool = False) -> str:
        """Return why a data file is damaged, "" if it is not; see `hashes.damage`."""


def day_name(day: int) -> str:
    """Return the name of a day, given since the Unix epoch, in its directory and partition value."""
    return (EPOCH + timedelta(days=day)).isoformat()
