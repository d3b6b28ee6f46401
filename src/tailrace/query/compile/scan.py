"""Which rows of a dataset are read: a range of time, and what narrows it further."""

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile, Snapshot


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

    def may_have(self, file: DataFile) -> bool:
        """Whether a file can have rows of the range."""
        return (self.start_us is None or file.max_time_us >= self.start_us) and (
            self.end_us is None or file.min_time_us < self.end_us
        )

    def is_within(self, file: DataFile) -> bool:
        """Whether all rows of a file are in the range."""
        return (self.start_us is None or file.min_time_us >= self.start_us) and (
            self.end_us is None or file.max_time_us < self.end_us
        )

    def files_of(self, snapshot: Snapshot) -> tuple[DataFile, ...]:
        """Return the files to read."""
        if self.files is not None:
            return self.files
        if snapshot.primary_key:  # a newer state may lie outside of the range
            return snapshot.files
        return tuple(file for file in snapshot.files if self.may_have(file))


def extent_us(snapshot: Snapshot) -> tuple[int | None, int | None]:
    """Return the first and the last time of a dataset's events."""
    lows = [file.min_time_us for file in snapshot.files]
    highs = [file.max_time_us for file in snapshot.files]
    for part in snapshot.hot:
        if part.num_rows:
            bounds = pc.min_max(part["_time"].cast(pa.int64()))
            lows.append(bounds["min"].as_py())
            highs.append(bounds["max"].as_py())
    return min(lows, default=None), max(highs, default=None)
