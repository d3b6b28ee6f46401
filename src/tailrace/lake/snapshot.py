"""A dataset as a query sees it: the files of its table, the rows that are in none of them yet, and its fields.

Queries know of the lake what is here and nothing else.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

US_PER_DAY = 86_400_000_000
MS_PER_DAY = 86_400_000
REVISION = "_revision"  # of the row of a dataset of current states; it rises for each id

ValueType = Literal["boolean", "integer", "float", "string", "array"]
"""Types that a column can hold. `array` is JSON text."""

RowNumbers = npt.NDArray[np.int64]
"""Numbers of rows of a file, from 0, in the file's order."""


class PhysicalColumn(Struct, frozen=True):
    """One physical column: the values of one type at one path."""

    name: str  # in Parquet and Delta
    path: str  # the keys joined by dots
    keys: tuple[str, ...]  # as they are nested in the JSON
    type: ValueType


class FieldsView(Struct, frozen=True):
    """What the registry knew at one moment; safe to share between threads."""

    columns: tuple[PhysicalColumn, ...] = ()
    rest: Mapping[str, frozenset[str]] = {}  # path to the types its values in `_rest` had
    rest_overflow: bool = False  # `_rest` has paths that are not in `rest`
    nesting: Mapping[str, tuple[str, ...]] = {}  # of paths in `_rest` whose keys have dots: how they are nested

    def by_path(self) -> dict[str, list[PhysicalColumn]]:
        """Return columns of each path, the owner of the plain name first."""
        paths: dict[str, list[PhysicalColumn]] = {}
        for column in self.columns:
            paths.setdefault(column.path, []).append(column)
        return paths


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


class HotTable(Struct, frozen=True, eq=False, weakref=True):
    """Rows that are in no file yet, at least one, and what queries ask about them before they read them."""

    rows: pa.Table
    min_time_us: int
    max_time_us: int
    columns: frozenset[str]  # those that have a value

    @classmethod
    def of(cls, rows: pa.Table) -> "HotTable":
        """Return rows, which have `_time`, with what is asked about them."""
        bounds = pc.min_max(rows["_time"].cast(pa.int64()))
        columns = zip(rows.column_names, rows.columns, strict=True)
        present = frozenset(name for name, values in columns if values.null_count < rows.num_rows)
        return cls(rows, bounds["min"].as_py(), bounds["max"].as_py(), present)


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
    hot: tuple[HotTable, ...]  # rows that are in no file yet
    fields: FieldsView
    primary_key: str = ""  # the id field of a dataset of current states
    received: Received = Received()  # since the dataset was made
    timespans: frozenset[str] = frozenset()  # fields whose whole numbers are nanoseconds of a timespan

    def is_timespan(self, path: str, types: Collection[str]) -> bool:
        """Return whether all values of a field, whose types are these, are timespans."""
        return path in self.timespans and set(types) == {"integer"}


Check = Callable[[], None]
"""Raises where something is not to go on."""


def no_check() -> None:
    """Let something go on."""


class SnapshotSource(Protocol):
    """What has datasets to be queried, wherever they are. Thread-safe."""

    def knows(self, name: str) -> bool:
        """Whether there is a dataset of this name, one that cannot be opened included."""

    def names(self) -> Sequence[str]:
        """Return the names of all datasets, in order, those that cannot be opened included."""

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        """Return a dataset as it is once what was acknowledged before this call is in it.

        `check` is called now and then while that is waited for, and raises to give up. Raise
        DatasetNotFound, DatasetUnavailable, Overloaded where that takes longer.
        """


RowFilter = Callable[[DataFile, FieldsView], RowNumbers]
"""Gives the rows of a file that are meant."""


class TableRoot(Struct, frozen=True):
    """Where the files of all tables are, as a reader opens them."""

    location: str  # with "/" at its end: the location of every file begins with it
    url: str = ""  # of the object store that has them, where they are there only while they are held

    @property
    def place(self) -> str:
        """What is the same for all who read the same tables."""
        return self.url or self.location

    def names_in(self, query: str) -> set[str]:
        """Return the names, beneath the root, of the files that a query reads: its text has locations as literals."""
        return {_unquoted(name) for name in self._literals.findall(query)}

    def moved(self, query: str, other: "TableRoot") -> str:
        """Return a query that reads the same files where another root has them."""
        if other.location == self.location:
            return query
        return self._literals.sub(lambda found: f"'{_quoted(other.location)}{found[1]}'", query)

    @property
    def _literals(self) -> re.Pattern[str]:
        return re.compile(f"'{re.escape(_quoted(self.location))}((?:[^']|'')+)'")

    def dataset_in(self, text: str) -> str | None:
        """Return the dataset whose file a text names, such as the message of an error; None where it names none."""
        found = re.search(re.escape(self.location) + "([^/]+)/", text)
        return found[1] if found is not None else None


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _unquoted(text: str) -> str:
    return text.replace("''", "'")
