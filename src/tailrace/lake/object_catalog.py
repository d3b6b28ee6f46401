"""The datasets in the directories of an object store.

A store has no step that makes, or removes, several objects at once. So a mark says beforehand that a dataset is being
made or dropped, and goes last: what has a mark is no dataset.
"""

import logging
from collections.abc import Callable

from tailrace.lake.catalog import NAME, Catalog, T
from tailrace.lake.deltalog import OWN_DIRECTORY
from tailrace.lake.object_table import ObjectSmallFiles, ObjectTable
from tailrace.lake.snapshot import TableRoot
from tailrace.lake.table_storage import TableStorage
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles

INCOMPLETE = f"{OWN_DIRECTORY}/incomplete"  # a directory of marks

logger = logging.getLogger(__name__)


class ObjectCatalog(Catalog):
    """The datasets beneath a URL, whose data files are read through a cache."""

    opening_threads = 32  # as opening is waiting for answers

    def __init__(self, store: ObjectFiles, cache: FileCache) -> None:
        self.files = ObjectSmallFiles(store, "")
        self.root = cache.root
        self.cache = self._cache = cache
        self._store = store

    @property
    def tables(self) -> TableRoot:
        """The root of the files of tables, in the cache."""
        return TableRoot(super().tables.location, self._store.url)

    def names(self, is_own: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Return the datasets by name; remove what an interrupted creation or drop left of names that are own."""
        incomplete = {mark.rpartition("/")[2] for mark in self._store.names(INCOMPLETE)}
        for name in sorted(filter(is_own, incomplete)):
            self._try_purge(name)
        found = []
        for name in self._store.directories():
            if name in incomplete or name == OWN_DIRECTORY:
                continue
            if NAME.fullmatch(name):
                found.append(name)
            else:
                logger.warning("%s is no dataset and is passed over", self._store.location(name))
        return found

    def has_files(self, name: str) -> bool:
        """Return whether there is any object: some stores show a directory for a while that has none any more."""
        try:
            return bool(self._store.names(name))
        except OSError:
            return True  # as far as is known

    def storage(self, name: str) -> ObjectTable:
        """Return the storage of a dataset's table."""
        return ObjectTable(self._store, name, self._cache)

    def create(self, name: str, make: Callable[[TableStorage], None], read: Callable[[TableStorage], T]) -> T:
        """Create a dataset beside a mark, which is deleted once it is complete."""
        mark = _mark(name)
        if self._store.exists(mark):
            self._purge(name)
        self._store.write(mark, b"")
        try:
            self._store.delete(self._store.names(name))  # what a server wrote late that had one of this name before
            make(self.storage(name))
            found = read(self.storage(name))
            self._store.delete([mark])
        except BaseException:
            self._try_purge(name)
            raise
        return found

    def remove(self, name: str, *, or_keep: bool = True) -> None:
        """Mark a dataset, then delete it."""
        self._store.write(_mark(name), b"")
        self._try_purge(name)

    def _try_purge(self, name: str) -> None:
        try:
            self._purge(name)
        except OSError as error:
            logger.error("%s cannot be removed (%s); the next start will", self._store.location(name), error)

    def _purge(self, name: str) -> None:
        """Delete all objects of a name, and its mark last."""
        self._store.delete(self._store.names(name))
        self._store.delete([_mark(name)])
        self._cache.forget_directory(name)


def _mark(name: str) -> str:
    return f"{INCOMPLETE}/{name}"
