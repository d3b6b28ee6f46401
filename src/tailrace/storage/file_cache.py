"""Files of an object store on this machine: downloaded whole and once, for those that read files by their path.

What is in the directory may be deleted at any moment, and several processes may share it. A file has its final name
only once it is whole and on the disk. That it is in use is known to this process, and to others by a lock on one byte
of a file, whose place follows from the name; the system lets go of it when a process ends.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from tailrace.events import Overloaded, QueryFailed
from tailrace.storage.faults import ObjectStoreFault
from tailrace.storage.files import make_directories
from tailrace.storage.object_files import TRANSFERS, ObjectFiles

CHECK_S = 0.2  # between looks at whether whoever waits for a file has given up
RETRY_AFTER_S = 5
PARTIAL, SCRATCH, LOCKS = "partial", "scratch", "locks"
PLACES = 2**62  # of bytes that can be locked

logger = logging.getLogger(__name__)


class FileCache:
    """A directory of files of one store. Thread-safe; once in a process for each directory.

    `damage(path, size)` says what is wrong with a file that was downloaded, "" where nothing is.
    """

    def __init__(self, directory: Path, store: ObjectFiles, max_bytes: int, damage: Callable[[Path, int], str]) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._store = store
        self._damage = damage
        self._directory = directory
        self.root = directory / blake2b(store.url.encode(), digest_size=8).hexdigest()  # of each store its own
        self._lock = threading.RLock()
        self._held: Counter[str] = Counter()
        self._downloads: dict[str, Future[None]] = {}
        self._reserved_bytes = 0  # of files that are being downloaded
        self._threads = ThreadPoolExecutor(TRANSFERS, "tailrace-download")
        make_directories(self.root)
        self._locks = (directory / LOCKS).open("ab+")  # never closed while somebody may hold a file
        self._remove_leftovers()

    def close(self) -> None:
        """End the downloads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def path(self, name: str) -> Path:
        """Return where a file is while it is held."""
        return self.root / name

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(size for _, _, size in self._files())

    @contextmanager
    def hold(self, names: Iterable[str], check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Have files at their paths, and keep them there; missing ones are downloaded.

        `check` is called now and then, and raises to give up. Raise QueryFailed for more bytes than `cache_bytes`,
        Overloaded where other files in use leave no space; FileNotFoundError and ObjectStoreFault.
        """
        names = list(dict.fromkeys(names))
        for name in names:
            self._acquire(name)
        try:
            self._fetch(names, check)
            yield
        finally:
            for name in names:
                self._release(name)

    def missing(self, names: Iterable[str]) -> bool:
        """Return whether one of the files is not there: somebody may have deleted the directory."""
        return any(not self.path(name).exists() for name in names)

    def adopt(self, path: Path, name: str) -> None:
        """Move a file in, whose content the store has; drop it where there is no space."""
        try:
            size = path.stat().st_size
            self._make_space(size)
            target = self.path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _flush(path)
            path.replace(target)
            self._give_back(size)
        except (OSError, QueryFailed, Overloaded) as error:
            logger.info("%s is not kept in the cache: %s", name, error)
            path.unlink(missing_ok=True)

    def forget(self, names: Iterable[str]) -> None:
        """Delete files that the store has no more."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def forget_directory(self, name: str) -> None:
        """Delete all files of a directory."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a directory on the same disk, which is deleted at the end."""
        above = self._directory / SCRATCH
        above.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=above, ignore_cleanup_errors=True) as made:
            yield Path(made)

    # Files in use

    def _acquire(self, name: str) -> None:
        with self._lock:
            self._held[name] += 1
            if self._held[name] == 1:
                fcntl.lockf(self._locks, fcntl.LOCK_SH, 1, _place(name))

    def _release(self, name: str) -> None:
        with self._lock:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
                fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _place(name))

    # Downloads

    def _fetch(self, names: list[str], check: Callable[[], None]) -> None:
        waiting: list[Future[None]] = []
        with self._lock:
            for name in names:
                path = self.path(name)
                try:
                    # The time of its last use; that of its content stays, by which readers know it again.
                    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                    self.hits += 1
                    continue
                except FileNotFoundError:
                    self.misses += 1
                future = self._downloads.get(name)
                if future is None:
                    future = self._downloads[name] = self._threads.submit(self._download, name)
                waiting.append(future)
        pending = set(waiting)
        while pending:
            check()
            _, pending = wait(pending, CHECK_S)
        for future in waiting:
            future.result()

    def _download(self, name: str) -> None:
        try:
            size = self._store.size_bytes(name)
            self._make_space(size)
            try:
                self._download_whole(name, size)
            except ObjectStoreFault as error:
                # An answer that breaks off is not begun again by the library.
                logger.warning("%s is downloaded again: %s", name, error)
                self._download_whole(name, size)
            finally:
                self._give_back(size)
        finally:
            with self._lock:
                self._downloads.pop(name, None)

    def _download_whole(self, name: str, size: int) -> None:
        target = self.path(name)
        partial = self._directory / PARTIAL / f"{os.getpid()}-{uuid.uuid4()}-{target.name}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                self._store.download(name, file)
                file.flush()
                # Before it has its name: after a power cut it may have the size, and zeros.
                os.fsync(file.fileno())
            if reason := self._damage(partial, size):
                raise ObjectStoreFault(f"{target.name} is damaged in the object store: {reason}")
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    # Space

    def _make_space(self, size: int) -> None:
        """Reserve bytes, and delete the files that were not used for the longest time, as far as needed."""
        with self._lock:
            if size > self.max_bytes:
                raise QueryFailed(f"a file has {size} bytes, more than cache_bytes = {self.max_bytes}")
            files = sorted(self._files())
            total = sum(each for _, _, each in files) + self._reserved_bytes + size
            for _, name, each in files:
                if total <= self.max_bytes:
                    break
                if self._evict(name):
                    total -= each
            if total > self.max_bytes:
                in_use = sum(each for _, name, each in files if self._held[name])
                raise Overloaded(
                    f"the files of the running queries have {in_use + size} bytes or more, beyond cache_bytes = "
                    f"{self.max_bytes}: read less, or have fewer queries at a time",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._reserved_bytes += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._reserved_bytes -= size

    def _evict(self, name: str) -> bool:
        """Delete a file, unless it is in use; return whether it is gone. The lock is held."""
        if self._held.get(name):
            return False
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except OSError:
            return False  # another process has it
        try:
            self.path(name).unlink(missing_ok=True)
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _place(name))
        return True

    def _files(self) -> Iterator[tuple[int, str, int]]:
        """Yield the time of last use (ns since the Unix epoch), the name and the size of each file."""
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = Path(directory, name)
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                yield found.st_atime_ns, path.relative_to(self.root).as_posix(), found.st_size

    def _remove_leftovers(self) -> None:
        """Delete what processes that have ended left of their downloads."""
        for above in (PARTIAL, SCRATCH):
            for path in (self._directory / above).glob("*"):
                if not _is_alive(int(path.name.partition("-")[0])):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _place(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % PLACES


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # of an earlier process with this number
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
