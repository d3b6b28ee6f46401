"""A table in a local directory: its data files, by day."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from tailrace.lake.fields import DAY
from tailrace.lake.hashes import CHUNK_BYTES, SUFFIX, HashingFile, damage
from tailrace.lake.local_deltalog import LocalDeltaLog
from tailrace.lake.local_files import LocalFiles
from tailrace.lake.snapshot import DataFile
from tailrace.lake.table_storage import TableStorage, day_name
from tailrace.storage.files import flush, flush_all


class LocalTable(LocalFiles, TableStorage):
    """The files of one table in a directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._flushed_days: set[Path] = set()  # directories whose names are durable

    @cached_property
    def delta_log(self) -> LocalDeltaLog:
        """The versions of the table."""
        return LocalDeltaLog(self)

    def readable(self, name: str) -> str:
        """Return the path of a data file."""
        return str(self.directory / name)

    @contextmanager
    def new_data_files(self) -> Iterator["NewLocalFiles"]:
        """Yield what begins data files, all of which are on the disk at the end; none where it raises.

        Were they left, attempts on a full disk would use up whatever becomes free.
        """
        new = NewLocalFiles(self.directory, self._flushed_days)
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
            (self.directory / name).unlink(missing_ok=True)

    def remove_empty_days(self) -> None:
        """Remove the directories of days that have no file."""
        for day in self._days():
            if not self.names(day):
                (self.directory / day).rmdir()

    def parquet(self, name: str) -> pq.ParquetFile:
        """Open a data file for reading, by which the checksums of its pages are verified; the caller closes it."""
        return pq.ParquetFile(self.directory / name, page_checksum_verification=True)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a data file."""
        with (self.directory / name).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def size_bytes(self, name: str) -> int:
        """Return the size of a file."""
        return (self.directory / name).stat().st_size

    def damage(self, file: DataFile, *, of_disk: bool = False) -> str:
        """Return why a data file is damaged, "" if it is not; see `hashes.damage`."""
        return damage(self.directory / file.name, file.bytes, of_disk=of_disk)

    def _days(self) -> list[str]:
        with os.scandir(self.directory) as entries:
            return [entry.name for entry in entries if entry.name.startswith(f"{DAY}=")]


class NewLocalFiles:
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
