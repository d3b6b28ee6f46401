"""The durable log: batches appended and flushed, read back in order, released once they are in a table."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tailrace.events import Batch, TailraceError
from tailrace.log.directory import LogWriteError
from tailrace.log.local import LocalLog
from tailrace.log.mark import MARK_BYTES, DurableMark
from tailrace.log.object_cursor import objects_of, read_behind
from tailrace.log.object_following import ObjectLogFollower
from tailrace.log.object_names import WriterFenced
from tailrace.log.object_probe import DishonestStore, require_conditional_put
from tailrace.log.object_release import delete_released
from tailrace.log.object_threads import ReaderThreads
from tailrace.log.objects import ObjectLog
from tailrace.log.positions import FIRST_WRITER, Positions, covers, furthest, same
from tailrace.log.reading import LogReader
from tailrace.log.segments import Damage, FileCalls, LogVersionError
from tailrace.log.settings import LogSettings
from tailrace.log.subscription import Subscription, deliver_nothing

__all__ = [
    "FIRST_WRITER",
    "MARK_BYTES",
    "Damage",
    "DishonestStore",
    "DurableMark",
    "FileCalls",
    "LocalLog",
    "Log",
    "LogReader",
    "LogSettings",
    "LogVersionError",
    "LogWriteError",
    "ObjectLog",
    "ObjectLogFollower",
    "Positions",
    "ReaderThreads",
    "Subscription",
    "WriterFenced",
    "covers",
    "delete_released",
    "deliver_nothing",
    "furthest",
    "objects_of",
    "read_behind",
    "require_conditional_put",
    "same",
]


class Log(Protocol):
    """A durable log, on whichever storage. Any thread may call its methods.

    Positions are int64 ≥ 1, one for each batch, strictly increasing, never used twice. A log is opened with the
    `Subscription` of its one subscriber: it delivers batches to that, uses no position up to its `floor`, and binds
    its own `release` to it.
    """

    @property
    def fault(self) -> str:
        """Why appends are refused now, empty while they are accepted."""
        ...

    @property
    def size_bytes(self) -> int:
        """The size of what is stored and not deleted yet."""
        ...

    @property
    def damage(self) -> Sequence[Damage]:
        """The ranges that cannot be read, as far as they were found; each once."""
        ...

    def append(self, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
        """Queue a batch; `done(position, None)` or `done(None, error)` is called once, in a thread of the log.

        `done` must be quick. Raises at once, without a call of `done`: Overloaded when too much waits, another
        TailraceError while nothing can be stored, ShuttingDown after `close`.
        """
        ...

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        """Yield the batches from a position on that were durable at the call, in order."""
        ...

    def release(self, upto: int) -> None:
        """Allow positions up to this one to be deleted, as they are stored elsewhere."""
        ...

    def close(self) -> None:
        """Write the queue, then stop; reading remains possible."""
        ...
