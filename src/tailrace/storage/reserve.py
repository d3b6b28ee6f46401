"""Room on the disk that is set aside while there is some, so that what makes room works when there is none."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RESERVE_BYTES = 8 * 1024 * 1024  # commits of a table's log, and what a database writes beside itself
SHARE = 32  # of a small disk no more than one part of so many is taken
ROOM_FACTOR = 4  # times its size must be free before it is set aside again

logger = logging.getLogger(__name__)


class Reserve:
    """A file of the data directory that holds nothing. Thread-safe."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        found = os.statvfs(path.parent)
        self._size_bytes = min(size_bytes, found.f_blocks * found.f_frsize // SHARE)
        self._lock = threading.Lock()
        self._lent = 0

    @property
    def is_short(self) -> bool:
        """Whether less is free on the disk than the reserve is large."""
        return self._free_bytes() < self._size_bytes

    def keep(self) -> None:
        """Set the room aside, where that is not done, it is not lent, and the disk has much more."""
        with self._lock:
            if self._lent or self._free_bytes() < ROOM_FACTOR * self._size_bytes or self._is_kept():
                return
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, self._size_bytes)
                finally:
                    os.close(descriptor)
            except OSError as error:
                logger.warning("no room could be set aside for a full disk: %s", error)
                with suppress(OSError):  # what is no file of ours stays
                    self._path.unlink()

    @contextmanager
    def lent(self) -> Iterator[bool]:
        """Where the disk is short of room, give the reserve to what is done meanwhile; tells whether that is so."""
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
        """Where the disk is short of room, free the reserve until `keep` finds room again: for a start."""
        with self._lock:
            self._release()

    def _release(self) -> bool:
        short = self.is_short
        if short and self._path.exists():
            logger.warning("the disk is full: the room that was set aside is used")
            self._path.unlink(missing_ok=True)
        return short

    def _is_kept(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size_bytes
        except FileNotFoundError:
            return False

    def _free_bytes(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize
