"""Which rows of a dataset are read: a range of time, and what narrows it further."""

import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile, HotTable, Snapshot


class Scan(Struct, frozen=True, eq=False):
    """Which rows of one dataset a query reads: those of a range of time, files and a condition."""

    start_us: int | None = None
    end_us: int | None = None  # exclusive
    has_explicit_end: bool = False  # whether the request or the query gives the end
    files: tuple[DataFile, ...] | None = None  # None: all that can have rows of the range
    condition: exp.Expr | None = None  # on the columns as they are stored
    hot: bool = True  # whether the rows in memory are read, too

    def narrowed(self, start_us: int | None, end_us: int | None) -> "Scan":
        """Return the scan without the rows outside of [start, end)."""
        if start_us is None:
            start_us = self.start_us
        elif self.start_us is not None:
            start_us = max(self.start_us, start_us)
        if end_us is None:
            return replace(self, start_us=start_us)
        end_us = end_us if self.end_us is None else min(self.end_us, end_us)
        return replace(self, start_us=start_us, end_us=end_us, has_explicit_end=True)

    def may_have(self, part: DataFile | HotTable) -> bool:
        """Whether a file, or rows in memory, can have rows of the range."""
        return (self.start_us is None or part.max_time_us >= self.start_us) and (
            self.end_us is None or part.min_time_us < self.end_us
        )

    def is_within(self, part: DataFile | HotTable) -> bool:
        """Whether all of its rows are in the range."""
        return (self.start_us is None or part.min_time_us >= self.start_us) and (
            self.end_us is None or part.max_time_us < self.end_us
        )

    def files_of(self, snapshot: Snapshot) -> tuple[DataFile, ...]:
        """Return the files to read."""
        if self.files is not None:
            return self.files
        if snapshot.primary_key:  # a newer state may lie outside of the range
            return snapshot.files
        return tuple(file for file in snapshot.files if self.may_have(file))

    def hot_of(self, snapshot: Snapshot) -> tuple[HotTable, ...]:
        """Return the rows in memory to read."""
        if not self.hot or snapshot.primary_key:
            return snapshot.hot if self.hot else ()
        return tuple(part for part in snapshot.hot if self.may_have(part))


def extent_us(snapshot: Snapshot) -> tuple[int | None, int | None]:
    """Return the first and the last time of a dataset's events."""
    parts: tuple[DataFile | HotTable, ...] = (*snapshot.files, *snapshot.hot)
    return min((part.min_time_us for part in parts), default=None), max(
        (part.max_time_us for part in parts), default=None
    )


def present_columns(snapshot: Snapshot) -> set[str]:
    """Return the names of the physical columns that have a value in a file or in a hot row."""
    names: set[str] = set()
    for file in snapshot.files:
        names |= file.columns
    for part in snapshot.hot:
        names |= part.columns
    return names
