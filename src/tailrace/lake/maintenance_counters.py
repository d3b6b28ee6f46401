"""What the maintenance of tables did: counters since the start."""

import threading


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
