"""How tables are maintained, and what was done."""

import threading

from msgspec import Struct


class MaintenanceSettings(Struct, frozen=True):
    compact_files: int = 16  # of about the same size and of one day, that are made one; 0 for no compaction
    compact_bytes: int = 128 * 1024 * 1024  # a file of this size is left as it is, none is made larger
    compact_bytes_per_s: int = 32 * 1024 * 1024  # written by compaction
    verify_bytes_per_s: int = 1024 * 1024  # of files read to see whether they are as they were written; 0 for none
    keep_removed_s: float = 3600.0  # how long a file stays on disk once it is no part of its table
    every_s: float = 60.0


class MaintenanceCounters:
    """Counters since the start. Thread-safe."""

    def __init__(self) -> None:
        self.compactions = 0
        self.files_before = 0  # of compactions
        self.files_after = 0
        self.bytes_rewritten = 0  # written by compactions and deletions
        self.rows_expired = 0  # by retention
        self.rows_deleted = 0  # by trimming and deleting
        self.files_removed = 0  # from the disk
        self.files_verified = 0  # against the hash in their name
        self.failures = 0
        self._lock = threading.Lock()

    def add(self, **amounts: int) -> None:
        """Count: each name is one of the counters."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)
