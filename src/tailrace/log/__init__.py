"""The durable log: batches appended, flushed, read back in order, released once they are in a table."""

from collections.abc import Callable, Iterator
from typing import Protocol

from tailrace.events import Batch, TailraceError
from tailrace.log.local import LocalLog, LogWriteError
from tailrace.log.segments import Damage, FileCalls, LogVersionError

__all__ = ["Damage", "FileCalls", "LocalLog", "Log", "LogVersionError", "LogWriteError"]


class Log(Protocol):
    """What the rest of the server needs of a log, wherever it is kept.

    Positions are int64 ≥ 1, one a batch, strictly increasing, never given out twice.
    """

    @property
    def durable_position(self) -> int:
        """The highest position known to be durable; 0 when nothing ever was."""
        ...

    def append(self, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
        """Queue a batch; `done(position, None)` or `done(None, error)` is called in a thread of the log."""
        ...

    def append_now(self, batch: Batch) -> int:
        """Append a batch, wait until it is durable, give its position."""
        ...

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """The durable batches from a position on, in order."""
        ...

    def release(self, upto: int) -> None:
        """Positions up to this one are kept elsewhere now; their room may be freed."""
        ...

    def close(self) -> None:
        """Write what waits, then stop."""
        ...
