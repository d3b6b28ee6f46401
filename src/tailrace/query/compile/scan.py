"""Which rows of a dataset are read: a range of time, and what narrows it further."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile, HotTable, Snapshot
from tailrace.query.row_groups import RowGroups, RowRange
from tailrace.query.values import MAX_DATETIME_US, MIN_DATETIME_US, datetime_literal, infix

Mask = npt.NDArray[np.bool_]


class Scan(Struct, frozen=True, eq=False):
    """Which rows of one dataset a query reads: those of a range of time, files and a condition."""

    start_us: int | None = None
    end_us: int | None = None  # exclusive
    has_explicit_end: bool = False  # whether the request or the query gives the end
    files: tuple[DataFile, ...] | None = None  # None: all that can have rows of the range
    condition: exp.Expr | None = None  # on the columns as they are stored
    hot: bool = True  # whether the rows in memory are read, too
    ranges: Mapping[str, tuple[RowRange, ...]] = {}  # by name of a file, where not all of its rows are read
    known: pa.Table | None = None  # rows each of which stands for as many as its `sources.WEIGHT` says

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

    def bounds(self, time: exp.Expr, parts: Sequence[DataFile | HotTable]) -> exp.Expr | None:
        """Return the condition for rows of these parts in the range, over their time as it is stored; None where all
        are.
        """
        limits: list[exp.Expr] = []
        if self.start_us is not None and any(part.min_time_us < self.start_us for part in parts):
            limits.append(exp.GTE(this=time, expression=datetime_literal(_clamped(self.start_us)).sql))
        is_cut = self.end_us is not None and any(part.max_time_us >= self.end_us for part in parts)
        if self.end_us is not None and is_cut and self.end_us <= MAX_DATETIME_US:
            limits.append(exp.LT(this=time, expression=datetime_literal(_clamped(self.end_us)).sql))
        if self.condition is not None:
            limits.append(exp.Paren(this=self.condition))
        return functools.reduce(lambda left, right: infix(exp.And, left, right), limits) if limits else None

    def places(self, groups: RowGroups) -> tuple[Mask, Mask]:
        """Return which row groups of a file are in the range with all of their rows, and which with none."""
        is_within = np.ones(len(groups.rows), np.bool_)
        is_beyond = np.zeros(len(groups.rows), np.bool_)
        if self.start_us is not None:
            is_within &= groups.first_us >= self.start_us
            is_beyond |= groups.last_us < self.start_us
        if self.end_us is not None:
            is_within &= groups.last_us < self.end_us
            is_beyond |= groups.first_us >= self.end_us
        return is_within, is_beyond

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


def _clamped(us: int) -> int:
    return min(max(us, MIN_DATETIME_US), MAX_DATETIME_US)
