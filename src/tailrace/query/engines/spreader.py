"""What runs the parts of a query elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import pyarrow as pa

from tailrace.query.engines.interrupt import Interrupt


class SpreadUnavailable(Exception):
    """Parts cannot be run elsewhere now; the message is why, in words."""


class RunningParts(ABC):
    """Parts of a query that are running."""

    @abstractmethod
    def tables(self) -> list[pa.Table]:
        """Return their answers, in order, once all are there.

        Raise what a part raises, QueryFailed where the query is stopped, SpreadUnavailable where nothing runs them.
        """


class Spreader(ABC):
    """Runs parts of queries elsewhere. Thread-safe."""

    spread_bytes: int  # of files; a query that reads no more runs on this node alone

    @abstractmethod
    def width(self) -> int:
        """Return how many parts run at the same time. Raise SpreadUnavailable."""

    @abstractmethod
    def started(self, parts: Sequence[str], interrupt: Interrupt) -> AbstractContextManager[RunningParts]:
        """Run queries over files alone, each by its SQL; leaving it stops those that still run.

        Raise SpreadUnavailable.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop what runs."""
