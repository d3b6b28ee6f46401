"""What the footers of data files say of their row groups: rows, times, and which columns have one value throughout.

Each footer is read once for a column and remembered. Files never change, so that what is remembered is never wrong;
that of files that are gone makes way for others.
"""

import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from tailrace.lake.snapshot import DataFile

TIME = "_time"
MICROSECONDS = "timeUnit=microseconds"
ENTRY_BYTES = 500  # of what is remembered of a file, in addition to its arrays and values

logger = logging.getLogger(__name__)

Integers = npt.NDArray[np.int64]

RowRange = tuple[int, int]
"""Numbers of rows of a file, from 0: of the first, and of the one after the last."""


class ColumnValues(Struct, frozen=True, eq=False):
    """One column in each row group of a file."""

    is_constant: npt.NDArray[np.bool_]  # whether all of its rows have the same value, or all have none
    values: tuple[Any, ...]  # that value; None where there is none, or more than one


class RowGroups(Struct, frozen=True, eq=False):
    """The row groups of a file, in order."""

    rows: Integers
    first_us: Integers
    last_us: Integers
    columns: Mapping[str, ColumnValues]

    def ranges(self, chosen: npt.NDArray[np.bool_]) -> tuple[RowRange, ...]:
        """Return the rows of the row groups that are chosen, those of neighbours as one range."""
        stops = np.cumsum(self.rows)
        ranges: list[RowRange] = []
        for n in np.flatnonzero(chosen & (self.rows > 0)).tolist():
            stop = int(stops[n])
            start = stop - int(self.rows[n])
            if ranges and ranges[-1][1] == start:
                start = ranges.pop()[0]
            ranges.append((start, stop))
        return tuple(ranges)


class RowGroupCache:
    """The row groups of files that were asked for, within a limit of bytes. Thread-safe."""

    def __init__(
        self, max_bytes: int, hold: Callable[[str], AbstractContextManager[None]] = lambda location: nullcontext()
    ) -> None:
        self.max_bytes = max_bytes
        self._hold = hold  # has a file at its location for a while
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[RowGroups | None, int]] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def of(self, file: DataFile, kinds: Mapping[str, pa.DataType]) -> RowGroups | None:
        """Return the row groups of a file with at least the columns of `kinds`; None where its footer does not tell."""
        with self._lock:
            entry = self._entries.get(file.location)
            if entry is not None:
                self._entries.move_to_end(file.location)
                known = entry[0]
                if known is None or kinds.keys() <= known.columns.keys():
                    self.hits += 1
                    return known
            self.misses += 1
        with self._hold(file.location):
            groups = _read(file, kinds)
        if entry is not None and groups is not None and entry[0] is not None:
            groups = RowGroups(groups.rows, groups.first_us, groups.last_us, {**entry[0].columns, **groups.columns})
        self._remember(file.location, groups)
        return groups

    def _remember(self, location: str, groups: RowGroups | None) -> None:
        size = ENTRY_BYTES + (0 if groups is None else _bytes_of(groups))
        with self._lock:
            _, old = self._entries.pop(location, (None, 0))
            self.bytes += size - old
            self._entries[location] = groups, size
            while self.bytes > self.max_bytes and self._entries:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed


def _bytes_of(groups: RowGroups) -> int:
    arrays = 3 * groups.rows.nbytes
    columns = sum(
        column.is_constant.nbytes + sum(map(sys.getsizeof, column.values)) + 8 * len(column.values)
        for column in groups.columns.values()
    )
    return arrays + columns + 200 * len(groups.columns)


def _read(file: DataFile, kinds: Mapping[str, pa.DataType]) -> RowGroups | None:
    try:
        metadata = pq.read_metadata(file.location)
    except (OSError, pa.ArrowException) as error:
        logger.warning("the footer of %s cannot be read: %s", file.location, error)
        return None
    rows = np.array([metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)], np.int64)
    places = {metadata.schema.column(n).name: n for n in range(metadata.num_columns)}
    times = _bounds_of(metadata, places.get(TIME))
    if times is None or int(rows.sum()) != file.rows:
        return None
    columns = {name: _values(metadata, places.get(name), kind) for name, kind in kinds.items()}
    return RowGroups(rows, np.array(times[0], np.int64), np.array(times[1], np.int64), columns)


def _bounds_of(metadata: pq.FileMetaData, place: int | None) -> tuple[list[int], list[int]] | None:
    """Return the first and the last time of each row group, in microseconds; None where one is not known."""
    if place is None or not _is_flat(metadata, place, pa.timestamp("us")):
        return None
    first, last = [], []
    for _, found in _statistics(metadata, place):
        if found is None or not found.has_min_max or not found.has_null_count or found.null_count:
            return None
        first.append(found.min_raw)
        last.append(found.max_raw)
    return first, last


def _values(metadata: pq.FileMetaData, place: int | None, kind: pa.DataType) -> ColumnValues:
    """Return what a column has in each row group: bounds that are equal leave room for one value only."""
    count = metadata.num_row_groups
    is_constant = np.zeros(count, np.bool_)
    values: list[Any] = [None] * count
    decode = _decoder(kind)
    if place is not None and _is_flat(metadata, place, kind):
        for n, (rows, found) in enumerate(_statistics(metadata, place)):
            if found is None or not found.has_null_count:
                continue
            if found.null_count == rows:
                is_constant[n] = True
            elif not found.null_count and decode is not None and found.has_min_max:
                value = decode(found.min_raw) if found.min_raw == found.max_raw else None
                is_constant[n] = value is not None
                values[n] = value
    return ColumnValues(is_constant, tuple(values))


def _statistics(metadata: pq.FileMetaData, place: int) -> Iterator[tuple[int, pq.Statistics | None]]:
    """Yield for each row group its rows, and what its footer says of a column."""
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        yield group.num_rows, group.column(place).statistics


def _is_flat(metadata: pq.FileMetaData, place: int, kind: pa.DataType) -> bool:
    """Return whether a column is stored as the type that Tailrace writes, at the top of the schema."""
    column = metadata.schema.column(place)
    if column.path != column.name or column.max_repetition_level or column.max_definition_level > 1:
        return False
    if pa.types.is_timestamp(kind) and MICROSECONDS not in str(column.logical_type):
        return False
    return bool(column.physical_type == _PHYSICAL.get(kind.id))


def _decoder(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Return what makes a value of a bound; None for numbers whose bounds say nothing of -0 and NaN."""
    if pa.types.is_floating(kind):
        return None
    return _text if pa.types.is_string(kind) else lambda value: value


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


_PHYSICAL = {
    pa.bool_().id: "BOOLEAN",
    pa.int64().id: "INT64",
    pa.float64().id: "DOUBLE",
    pa.string().id: "BYTE_ARRAY",
    pa.timestamp("us").id: "INT64",
}
