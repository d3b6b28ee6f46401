"""A table in an object store: its data files, which are read and written through a cache on this machine."""

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq

from tailrace.lake.fields import DAY
from tailrace.lake.hashes import MISSING, SUFFIX, HashingFile
from tailrace.lake.object_deltalog import ObjectDeltaLog
from tailrace.lake.snapshot import DataFile
from tailrace.lake.table_storage import SmallFiles, TableStorage, day_name
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles

logger = logging.getLogger(__name__)


class ObjectSmallFiles(SmallFiles):
    """Objects beneath a name, or with "" all of a store: a put object is whole and durable."""

    def __init__(self, store: ObjectFiles, beneath: str) -> None:
        self.store = store
        self._prefix = f"{beneath}/" if beneath else ""

    def name(self, name: str) -> str:
        """Return the name of a file in the store."""
        return self._prefix + name

    def location(self, name: str) -> str:
        """Return the URL of a file."""
        return self.store.location(self.name(name))

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raise FileNotFoundError where there is none."""
        return self.store.read(self.name(name))

    def read_if_there(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        return self.store.read_if_there(self.name(name))

    def names(self, directory: str) -> list[str]:
        """Return the names of the files in a directory, and beneath it."""
        return [name.removeprefix(self._prefix) for name in self.store.names(self.name(directory))]

    def replace_durably(self, name: str, content: bytes) -> None:
        """Replace the content of a file."""
        self.store.write(self.name(name), content)

    def create_durably(self, name: str, content: bytes) -> None:
        """Put a new file. Raise FileExistsError where there is one of this name with another content."""
        self.store.create(self.name(name), content)

    def mark_damaged(self, name: str) -> None:
        """Rename a damaged file, if possible, so that it can be inspected."""
        try:
            self.store.rename(self.name(name), f"{self.name(name)}.damaged")
        except OSError:
            logger.exception("%s cannot be set aside", self.location(name))


class ObjectTable(ObjectSmallFiles, TableStorage):
    """The files of one table in an object store."""

    def __init__(self, store: ObjectFiles, dataset: str, cache: FileCache) -> None:
        super().__init__(store, dataset)
        self._dataset = dataset
        self._cache = cache

    @property
    def uri(self) -> str:
        """The URL of the table."""
        return self.store.location(self._dataset)

    @cached_property
    def delta_log(self) -> ObjectDeltaLog:
        """The versions of the table."""
        return ObjectDeltaLog(self.store, self._dataset)

    def is_table(self) -> bool:
        """Return True: to ask the store at each query would cost more than it tells."""
        return True

    def sort_directory(self) -> AbstractContextManager[Path]:
        """Yield a directory beside the cache."""
        return self._cache.scratch()

    def readable(self, name: str) -> str:
        """Return the path of a data file in the cache, where it is while it is held."""
        return str(self._cache.path(self.name(name)))

    @contextmanager
    def new_data_files(self) -> Iterator["NewObjects"]:
        """Yield what begins data files, all of which are in the store at the end."""
        with self._cache.scratch() as scratch:
            new = NewObjects(scratch)
            yield new
            named = {self.name(name): path for name, path in new.paths.items()}
            try:
                self.store.write_all(named.items())
            except BaseException:
                self._delete_unused(list(named))
                raise
            for name, path in named.items():
                self._cache.adopt(path, name)

    def _delete_unused(self, names: list[str]) -> None:
        try:
            self.store.delete(names)
        except OSError as error:
            logger.warning("files of %s that no commit has stay until they are swept: %s", self, error)

    def data_file_names(self) -> list[str]:
        """Return the names of all data files, whether they are part of the table or not."""
        names = (name.removeprefix(self._prefix) for name in self.store.names(self._dataset))
        return [name for name in names if name.startswith(f"{DAY}=") and name.endswith(".parquet")]

    def remove_data_files(self, names: Iterable[str]) -> None:
        """Remove data files; missing ones are ignored."""
        named = [self.name(name) for name in names]
        self.store.delete(named)
        self._cache.forget(named)

    def remove_empty_days(self) -> None:
        """Do nothing: a store has no directories."""

    def parquet(self, name: str) -> pq.ParquetFile:
        """Open a data file, which may be evicted once it is open."""
        with self._cache.hold([self.name(name)]):
            return pq.ParquetFile(self._cache.path(self.name(name)), page_checksum_verification=True)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a data file as the store has it, which takes nothing out of the cache."""
        return self.store.chunks(self.name(name))

    def size_bytes(self, name: str) -> int:
        """Return the size of a file."""
        return self.store.size_bytes(self.name(name))

    def damage(self, file: DataFile, *, of_disk: bool = False) -> str:
        """Return why a data file is damaged, as far as its size tells: the store verifies what it holds, and the cache
        what it downloads. Raise OSError where the store does not answer.
        """
        try:
            there = self.size_bytes(file.name)
        except FileNotFoundError:
            return MISSING
        return "" if there == file.bytes else f"it has {there} bytes, but {file.bytes} were written"


class NewObjects:
    """Data files that are written on this machine and are not in the store yet."""

    def __init__(self, scratch: Path) -> None:
        self.paths: dict[str, Path] = {}  # of those that have a name
        self._scratch = scratch
        self._day = ""
        self._path = scratch

    @contextmanager
    def begin(self, day: int) -> Iterator[HashingFile]:
        """Yield a file for the events of a day (since the Unix epoch), to be written; it has its `name` at the end."""
        self._day = f"{DAY}={day_name(day)}"
        self._path = self._scratch / f"part-{uuid.uuid4()}{SUFFIX}"
        with self._path.open("wb") as opened:
            yield HashingFile(opened)

    def name(self, file: HashingFile) -> str:
        """Rename the file that was begun last to its final name, which has its hash; return that."""
        file.flush()
        self._path = file.name(self._path)
        name = f"{self._day}/{self._path.name}"
        self.paths[name] = self._path
        return name
