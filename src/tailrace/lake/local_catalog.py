"""The datasets in the subdirectories of a local directory."""

import logging
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from tailrace.lake.catalog import NAME, Catalog, T
from tailrace.lake.deltalog import OWN_DIRECTORY
from tailrace.lake.local_files import LocalFiles
from tailrace.lake.local_table import LocalTable
from tailrace.lake.snapshot import TableRoot
from tailrace.lake.table_storage import TableStorage
from tailrace.storage.files import flush, make_directories

DROPPED_PREFIX = "_dropped-"
NEW_PREFIX = "_new-"

logger = logging.getLogger(__name__)


class LocalCatalog(Catalog):
    """The datasets of a directory, which is made if missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = LocalFiles(root)
        make_directories(root)
        # A process that was killed may have created it, or a dataset in it, without flushing the names.
        flush(root.parent)
        flush(root)

    def names(self, is_own: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Return the datasets by name; remove what an interrupted creation or drop left: a directory has one server."""
        found = []
        for directory in sorted(self.root.iterdir()):
            if directory.name.startswith((DROPPED_PREFIX, NEW_PREFIX)):
                try:
                    shutil.rmtree(directory)
                except OSError:
                    logger.exception("%s is no dataset any more and cannot be removed", directory)
            elif NAME.fullmatch(directory.name):
                found.append(directory.name)
            elif directory.name != OWN_DIRECTORY:
                logger.warning("%s is no dataset and is passed over", directory)
        return found

    def storage(self, name: str) -> LocalTable:
        """Return the storage of a dataset's table."""
        return LocalTable(self.root / name)

    def create(self, name: str, make: Callable[[TableStorage], None], read: Callable[[TableStorage], T]) -> T:
        """Create a dataset under another name, and rename it once it is complete."""
        new = self.root / f"{NEW_PREFIX}{name}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            make(LocalTable(new))
            new.rename(self.root / name)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        try:
            flush(self.root)
            return read(self.storage(name))
        except BaseException:
            # Otherwise the name would be taken by a dataset whose creation was answered with an error. And the next
            # start would open it and take events into it, though its name, whose flush failed, may never be durable.
            try:
                self.remove(name, or_keep=False)
            except OSError:
                logger.exception("dataset %r, which could not be made, may be there again after a power cut", name)
            raise

    def remove(self, name: str, *, or_keep: bool = True) -> None:
        """Rename a dataset, then delete it."""
        directory = self.root / name
        tombstone = self.root / f"{DROPPED_PREFIX}{uuid.uuid4()}"
        try:
            directory.rename(tombstone)
        except FileNotFoundError:
            return
        try:
            flush(self.root)
        except BaseException:
            if or_keep:
                # So that it is renamed again the next time: this name may not be durable.
                tombstone.rename(directory)
            raise
        try:
            shutil.rmtree(tombstone)
        except OSError as error:
            logger.error("%s cannot be removed (%s); the next start will", tombstone, error)


def table_root(directory: Path) -> TableRoot:
    """Return the root of the tables in the subdirectories of a directory."""
    return TableRoot(f"{directory.resolve()}/")
