"""Backups that are being copied off a running server: what is in each, and that its files stay until it is done."""

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from msgspec import Struct

from tailrace import __version__
from tailrace.backup.content import (
    BackupBegun,
    BackupDataset,
    BackupFile,
    BackupListing,
    DroppedMeanwhile,
    FileUnreadable,
    LeftOut,
    hash_of,
)
from tailrace.events import Conflict, DatasetNotFound, NotFound, StorageUnavailable, TailraceError
from tailrace.events.times import rfc3339
from tailrace.lake import DatasetStore
from tailrace.lake.delta import DeltaError
from tailrace.lake.table_copy import TableCopy
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import Database
from tailrace.storage.faults import disk_fault, reason_of
from tailrace.storage.files import make_directories

MAX_BACKUPS = 4  # at the same time
AT_ONCE = 4  # datasets that are committed for one
LEASE_S = 600.0  # after which one that nobody copies any more ends
NS_PER_S, NS_PER_US = 1_000_000_000, 1_000
OF_SERVER = ""  # in place of a dataset: the files of the data directory

logger = logging.getLogger(__name__)


class BackupSources(Struct, frozen=True, eq=False):
    """What a backup is made of."""

    lake: DatasetStore
    names: Callable[[], Sequence[str]]  # of all its datasets
    database: Database
    directory: Path  # for copies of small files, which is made and removed
    small_files: Callable[[], dict[str, bytes]]  # further files of the data directory, by name


class _KeptFile(Struct, frozen=True):
    """A copy of a small file."""

    path: Path
    file: BackupFile


class _RunningBackup(Struct, eq=False):
    """A backup that is being copied."""

    begun: BackupBegun
    directory: Path
    copies: dict[str, TableCopy]
    kept: dict[str, dict[str, _KeptFile]]  # by dataset and name
    used_s: float  # monotonic seconds when something was asked of it
    timer: threading.Timer | None = None  # that ends it
    sizes: dict[str, dict[str, int]] = {}  # of data files, by dataset and name, once they are asked for


class Backups:
    """The backups under way. Thread-safe; their calls read and write files."""

    def __init__(self, sources: BackupSources, *, lease_s: float = LEASE_S) -> None:
        self._sources = sources
        self._lease_s = lease_s
        self._lock = threading.Lock()
        self._running: dict[str, _RunningBackup] = {}
        self._beginning = 0

    def begin(self) -> BackupBegun:
        """Begin a backup of everything that was acknowledged before this call, and return what is to be copied.

        Raise Conflict where too many are under way, and DiskFull.
        """
        with self._lock:
            if len(self._running) + self._beginning >= MAX_BACKUPS:
                raise Conflict(f"{MAX_BACKUPS} backups are under way; wait for one, or {self._lease_s:g} s")
            self._beginning += 1
        try:
            running = self._begin()
        finally:
            with self._lock:
                self._beginning -= 1
        with self._lock:
            self._running[running.begun.id] = running
        self._watch(running)
        return running.begun

    def listing(self, backup_id: str, dataset: str) -> BackupListing:
        """Return the files of a dataset. Raise NotFound."""
        running = self._find(backup_id)
        copy = running.copies.get(dataset)
        if copy is None:
            raise NotFound(f"backup {backup_id!r} has no dataset {dataset!r}")
        _check_there(copy)
        data = [BackupFile(file.name, file.bytes) for file in copy.files]
        return BackupListing([*data, *(kept.file for kept in running.kept[dataset].values())])

    def content(self, backup_id: str, dataset: str, name: str) -> tuple[int, Iterator[bytes]]:
        """Return the size of a file and its content; of the data directory's with "" as dataset.

        Raise NotFound, DroppedMeanwhile, FileUnreadable.
        """
        running = self._find(backup_id)
        kept = running.kept.get(dataset, {}).get(name)
        if kept is not None:
            return kept.file.bytes, _chunks_of(kept.path)
        copy = running.copies.get(dataset)
        if copy is not None and dataset not in running.sizes:
            running.sizes[dataset] = {file.name: file.bytes for file in copy.files}
        size = running.sizes.get(dataset, {}).get(name)
        if copy is None or size is None:
            raise NotFound(f"backup {backup_id!r} has no file {name[:200]!r} of dataset {dataset!r}")
        _check_there(copy)
        try:
            there = copy.storage.size_bytes(name)
        except OSError as error:
            raise FileUnreadable(f"{name} cannot be read: {reason_of(error)}") from error
        if there != size:
            raise FileUnreadable(f"{name} has {there} bytes, but {size} were written")
        return size, copy.storage.chunks(name)

    def end(self, backup_id: str) -> None:
        """End a backup: its files need not stay any more. Raise NotFound."""
        running = self._find(backup_id)
        with self._lock:
            if self._running.pop(backup_id, None) is None:
                return
        _release(running)

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            running = list(self._running.values())
            self._running.clear()
        for each in running:
            _release(each)

    def _find(self, backup_id: str) -> _RunningBackup:
        with self._lock:
            running = self._running.get(backup_id)
            if running is None:
                raise NotFound(
                    f"no backup {backup_id[:100]!r} is under way: it has ended, the server was restarted, or nothing "
                    f"was asked of it for {self._lease_s:g} s; begin it again"
                )
            running.used_s = time.monotonic()
            return running

    def _watch(self, running: _RunningBackup) -> None:
        """End a backup once its lease is over."""
        left_s = running.used_s + self._lease_s - time.monotonic()
        with self._lock:
            if running.begun.id not in self._running:
                return
            if left_s <= 0:
                del self._running[running.begun.id]
        if left_s <= 0:
            logger.warning("backup %s has ended: nobody copied of it for %g s", running.begun.id, self._lease_s)
            _release(running)
            return
        running.timer = threading.Timer(left_s, self._watch, [running])
        running.timer.daemon = True
        running.timer.start()

    def _begin(self) -> _RunningBackup:
        created_ns = time.time_ns()
        seconds, fraction = divmod(created_ns, NS_PER_S)
        # Which sorts as their times do.
        moment = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}{fraction // NS_PER_US:06}Z"
        backup_id = f"{moment}-{uuid.uuid4().hex[:8]}"
        directory = self._sources.directory / backup_id
        make_directories(directory)
        copies: dict[str, TableCopy] = {}
        kept: dict[str, dict[str, _KeptFile]] = {}
        try:
            # Before the tables: a key whose batch is not in a table would have it refused as a repetition.
            for name, content in self._sources.small_files().items():
                _keep(directory, kept, OF_SERVER, name, content)
            names = self._sources.names()
            failed = self._copy_tables(names, directory, kept, copies)
            for error in failed.values():
                if (fault := disk_fault(error)) is not None:
                    raise fault from error
            copies = {name: copies[name] for name in names if name in copies}  # in order
            for name in set(names) - copies.keys():
                kept.pop(name, None)
            left_out = [LeftOut(name, reason_of(failed[name])) for name in names if name in failed]
            has_database = self._copy_database(directory, kept)
        except BaseException:
            for copy in copies.values():
                copy.release()
            shutil.rmtree(directory, ignore_errors=True)
            raise
        begun = BackupBegun(
            id=backup_id,
            created=rfc3339(created_ns),
            tailrace=__version__,
            files=[each.file for each in kept.get(OF_SERVER, {}).values()],
            datasets=[BackupDataset(copy.dataset, copy.version, copy.rows, copy.fault) for copy in copies.values()],
            left_out=left_out,
            has_database=has_database,
        )
        return _RunningBackup(begun, directory, copies, kept, time.monotonic())

    def _copy_tables(
        self,
        names: Sequence[str],
        directory: Path,
        kept: dict[str, dict[str, _KeptFile]],
        copies: dict[str, TableCopy],
    ) -> dict[str, Exception]:
        """Add the table of each dataset, to be copied; return what is wrong with others than those that were dropped.

        Where this raises, `copies` has those that are to be released.
        """
        failed: dict[str, Exception] = {}

        def copy(name: str) -> None:
            try:
                copies[name] = self._sources.lake.copy(name, partial(_keep, directory, kept, name))
            except DatasetNotFound:
                pass
            except (TailraceError, OSError, DeltaError) as error:
                failed[name] = error

        with ThreadPoolExecutor(AT_ONCE, "tailrace-backup") as threads:
            for _ in threads.map(copy, names):
                pass
        return failed

    def _copy_database(self, directory: Path, kept: dict[str, dict[str, _KeptFile]]) -> bool:
        """Copy the database; return whether it is a file. Raise StorageUnavailable, DiskFull."""
        path = directory / DATABASE_FILE
        if not self._sources.database.copy_to(path):
            return False
        file = BackupFile(DATABASE_FILE, path.stat().st_size, hash_of(_chunks_of(path)))
        kept.setdefault(OF_SERVER, {})[DATABASE_FILE] = _KeptFile(path, file)
        return True


def _keep(directory: Path, kept: dict[str, dict[str, _KeptFile]], dataset: str, name: str, content: bytes) -> None:
    """Keep a copy of a small file of a dataset."""
    files = kept.setdefault(dataset, {})
    path = directory / uuid.uuid4().hex
    try:
        path.write_bytes(content)
    except OSError as error:
        raise disk_fault(error) or StorageUnavailable(f"the backup cannot be begun: {reason_of(error)}") from error
    files[name] = _KeptFile(path, BackupFile(name, len(content), hash_of([content])))


def _check_there(copy: TableCopy) -> None:
    if copy.is_dropped():
        raise DroppedMeanwhile(f"dataset {copy.dataset!r} was dropped after the backup had begun")


def _chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            yield chunk


def _release(running: _RunningBackup) -> None:
    if running.timer is not None:
        running.timer.cancel()
    for copy in running.copies.values():
        copy.release()
    shutil.rmtree(running.directory, ignore_errors=True)
