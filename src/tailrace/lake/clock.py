"""The time that is recorded with files and commits."""

import time


def time_ms() -> int:
    """Return the ms since the Unix epoch."""
    return time.time_ns() // 1_000_000
