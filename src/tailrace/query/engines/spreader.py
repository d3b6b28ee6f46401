"""What runs the parts of a query elsewhere."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import pyarrow as pa
from msgspec import Struct

from tailrace.query.engines.interrupt import Interrupt


class SpreadUnavailable(Exception):
    """Parts cannot be run elsewhere now; the message is why, in words."""


class DividedRows(Struct, frozen=True, eq=False):
    """Rows that are divided into buckets: those that parts answered, and those of the node itself."""

    name: str  # by which the query of a bucket reads them
    parts: Sequence[int]  # the numbers of the parts
    own: pa.Table


class BucketQuery(Struct, frozen=True, eq=False):
    """A query that is asked of each bucket of rows."""

    text: str
    buckets: int  # a power of two
    rows: Sequence[DividedRows]


class RunningParts(ABC):
    """Parts of a query that are running.

    Each method raises what a part raises, QueryFailed where the query is stopped, SpreadUnavailable where nothing runs
    them or they answer too much.
    """

    @abstractmethod
    def sizes(self) -> list[int]:
        """Return the bytes of their answers, in order, once all are there."""

    @abstractmethod
    def tables(self, numbers: Sequence[int]) -> list[pa.Table]:
        """Return the answers of the parts of these numbers."""

    @abstractmethod
    def of_buckets(self, queries: Sequence[BucketQuery]) -> list[list[pa.Table]]:
        """Return for each query its answers of all buckets, for which the rows do not pass through this node.

        The parts whose rows these are have no other answer afterwards.
        """


class Spreader(ABC):
    """Runs parts of queries elsewhere. Thread-safe."""

    spread_bytes: int  # of files; a query that reads no more runs on this node alone
    gather_bytes: int  # of answers of parts; what can be divided by keys is from there on

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
