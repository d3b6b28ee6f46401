"""A dataset as a query sees it: the files of its table, the rows that are in none of them yet, and its fields."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from tailrace.lake.fields import FieldsView

US_PER_DAY = 86_400_000_000

RowNumbers = npt.NDArray[np.int64]
"""Numbers of rows of a file, from 0, in the file's order."""


class DataFile(Struct, frozen=True):
    """One committed Parquet file."""

    name: str  # beneath its table, with "/" between directories
    location: str  # what a reader opens: a path or a URL
    bytes: int
    rows: int
    min_time_us: int
    max_time_us: int
    columns: frozenset[str]  # those that have a value in it
    written_ms: int = 0  # since the Unix epoch
    damage: str = ""  # why what it holds is not to be believed

    @property
    def day(self) -> int:
        """Of its events, in UTC, since the Unix epoch."""
        return self.min_time_us // US_PER_DAY

    @property
    def base_name(self) -> str:
        """Its name without that of its day's directory."""
        return self.name.rpartition("/")[2]


class Received(Struct, frozen=True):
    """What was received: events, and their bytes as lines of JSON, before any compression."""

    events: int = 0
    bytes: int = 0

    def __add__(self, other: "Received") -> "Received":
        return Received(self.events + other.events, self.bytes + other.bytes)


class Snapshot(Struct, frozen=True, eq=False):
    """Every event of a dataset that was acknowledged before, each once."""

    dataset: str
    files: tuple[DataFile, ...]
    hot: tuple[pa.Table, ...]  # rows that are in no file yet
    fields: FieldsView
    primary_key: str = ""  # the id field of a dataset of current states
    received: Received = Received()  # since the dataset was made


RowFilter = Callable[[DataFile, FieldsView], RowNumbers]
"""Gives the rows of a file that are meant."""
