"""A reserve of disk space, set aside while there is enough, so that what frees space works on a full disk."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RESERVE_BYTES = 8 * 1024 * 1024  # commits of a table's log, and what a database writes beside itself
SHARE = 32  # of a small disk at most one part in so many
FREE_FACTOR = 4  # times the size of the reserve must be free before it is set aside again

logger = logging.getLogger(__name__)


class Reserve:
    """A file in the data directory that takes up space and has no content. Thread-safe."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        stat = os.statvfs(path.parent)
        self._size_bytes = min(size_bytes, stat.f_blocks * stat.f_frsize // SHARE)
        self._lock = threading.Lock()
        self._lent = 0

    @property
    def is_short(self) -> bool:
        """Whether less is free on the disk than the reserve is large."""
        return self._free_bytes() < self._size_bytes

    def keep(self) -> None:
        """Set the space aside, unless that is done, it is lent, or the disk has little more."""
        with self._lock:
            if self._lent or self._free_bytes() < FREE_FACTOR * self._size_bytes or self._exists():
                return
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, self._size_bytes)
                finally:
                    os.close(descriptor)
            except OSError as error:
                logger.warning("no space could be set aside for a full disk: %s", error)
                with suppress(OSError):  # what is no file of ours stays
                    self._path.unlink()

    @contextmanager
    def lent(self) -> Iterator[bool]:
        """Free the reserve for what runs within, where the disk is short of space; yield whether it is."""
        with self._lock:
            short = self._release()
            self._lent += 1
        try:
            yield short
        finally:
            with self._lock:
                self._lent -= 1
            self.keep()

    def release(self) -> None:
        """Free the reserve until `keep` finds enough space again, where the disk is short of it: for a start."""
        with self._lock:
            self._release()

    def _release(self) -> bool:
        short = self.is_short
        if short and self._path.exists():
            logger.warning("the disk is full: the space that was set aside is used")
            self._path.unlink(missing_ok=True)
        return short

    def _exists(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size_bytes
        except FileNotFoundError:
            return False

    def _free_bytes(self) -> int:
        stat = os.statvfs(self._path.parent)
        return stat.f_bavail * stat.f_frsize
