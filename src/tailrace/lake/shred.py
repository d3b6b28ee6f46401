"""Shredding of NDJSON to Arrow columns: exact, with the type of every value, at any mix of types."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailrace.events import Batch
from tailrace.lake.exact import ExactShredder
from tailrace.lake.fields import REST, Fields
from tailrace.lake.lines import line_ends, pieces_of, times_of
from tailrace.lake.snapshot import PhysicalColumn
from tailrace.native import load
from tailrace.native.shredder import NativeShredder, PathValues, ReadLines

NEW_PATHS = 1_000  # of `_rest` that the registry is told at a time


class LineShredder(Protocol):
    """Turns the lines of one dataset into columns by path and type. Not thread-safe.

    `read`, then `place` for what gets a column, then `columns`, then `new_rest`. Values are those of `leaves`, nulls
    aside.
    """

    def read(self, events: bytes | memoryview, count: int) -> ReadLines:
        """Read lines, each a JSON object ended by "\\n": all `count` of them, or as many as the tables have space for.

        What has no column is counted among what recent events had.
        """

    def unplaced(self, least: int) -> list[PathValues]:
        """Return what has no column and is in `least` recent events or more, the most frequent first, then the first.

        Each is returned once, to be placed then or never, and only so many at a time.
        """

    def place(self, path: str, value_type: str, /) -> int:
        """Give the values of a type at a path a column from now on; return its number."""

    def columns(self) -> tuple[dict[int, pa.Array], pa.Array | None]:
        """Return the columns that have a value in what was read, by number, and the `_rest` where any event has one."""

    def new_rest(self, most: int) -> tuple[list[PathValues], bool]:
        """Return what the rests have for the first time, at most so much; whether there is more."""

    def halve(self) -> None:
        """Halve the counts of what recent events had."""


def line_shredder() -> LineShredder:
    """Return the compiled one, or where that cannot be loaded the exact one."""
    return NativeShredder() if load() is not None else ExactShredder()


class Shredder:
    """Shreds the batches of one dataset, and lets its registry judge what gets a column. Not thread-safe."""

    def __init__(self, fields: Fields, lines: LineShredder | None = None) -> None:
        self._fields = fields
        self._lines = lines or line_shredder()
        self._exact = ExactShredder()  # for the lines that the other one refuses
        self._columns: list[PhysicalColumn] = []  # by the numbers that both give them
        for column in fields.columns:
            self._place(column)

    def shred(self, batches: Sequence[Batch]) -> pa.Table:
        """Return the events of the batches, in order, as one table.

        Columns: `_time` and `_sysTime` (UTC microseconds), the registry's columns that have a value here, and `_rest`
        (JSON text or null) where any event has one.
        """
        times = times_of(batches)
        tables: list[pa.Table] = []
        first = 0
        for columns, rows in self._parts(batches):
            tables.append(pa.table({**{name: values.slice(first, rows) for name, values in times.items()}, **columns}))
            first += rows
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")

    def _parts(self, batches: Sequence[Batch]) -> Iterator[tuple[dict[str, pa.Array], int]]:
        """Yield the columns of the events in order, usually of all at once, and how many events they are of."""
        for piece in pieces_of(batches):
            events, count = memoryview(piece.events), piece.count
            while True:
                read = self._lines.read(events, count)
                yield self._columns_of(events, read), read.rows
                count -= read.rows
                if not count:
                    break
                events = events[read.bytes :]

    def _columns_of(self, events: memoryview, read: ReadLines) -> dict[str, pa.Array]:
        """Return the columns of the lines that were read, by name."""
        if read.refused:
            ends = line_ends(events)
            starts = [int(ends[row - 1]) if row else 0 for row in read.refused]
            refused = [events[start : int(ends[row])] for row, start in zip(read.refused, starts, strict=True)]
            self._exact.read(b"".join(refused), len(refused))
        self._give_columns(read)
        columns, rest = self._lines.columns()
        self._note_rest(self._lines)
        if read.refused:
            columns, rest = self._with_refused(columns, rest, read)
        named = {self._columns[number].name: columns[number] for number in sorted(columns)}
        return named if rest is None else {**named, REST: rest}

    def _give_columns(self, read: ReadLines) -> None:
        """Give columns to what is dense enough in the recent events, those that were read among them."""
        fields = self._fields
        least = fields.least_count(read.rows)
        for lines in (self._lines, self._exact) if read.refused else (self._lines,):
            while not fields.is_full and (dense := lines.unplaced(least)):
                for values in dense:
                    for column in fields.add(values.path, values.type, values.keys):
                        self._place(column)
        if fields.count_events(read.rows):
            self._lines.halve()
            self._exact.halve()

    def _place(self, column: PhysicalColumn) -> None:
        number = self._lines.place(column.path, column.type)
        if (self._exact.place(column.path, column.type), len(self._columns)) != (number, number):
            raise AssertionError(f"column {column.name!r} has several numbers")
        self._columns.append(column)

    def _note_rest(self, lines: LineShredder) -> None:
        """Have the registry note what rests had for the first time; what it cannot hold is not asked for."""
        fields = self._fields
        has_more = True
        while has_more:
            new, has_more = lines.new_rest(NEW_PATHS)
            for values in new:
                fields.note_rest(values.path, values.type, values.keys)
            if not new and has_more:
                fields.note_rest_overflow()
            if fields.rest_overflow:
                return

    def _with_refused(
        self, columns: dict[int, pa.Array], rest: pa.Array | None, read: ReadLines
    ) -> tuple[dict[int, pa.Array], pa.Array | None]:
        """Return the columns with the values of the lines that took the exact way in their places."""
        exact_columns, exact_rest = self._exact.columns()
        self._note_rest(self._exact)
        mask = np.zeros(read.rows, np.bool_)
        mask[read.refused] = True

        def merged(values: pa.Array | None, exact: pa.Array) -> pa.Array:
            return pc.replace_with_mask(pa.nulls(read.rows, exact.type) if values is None else values, mask, exact)

        columns = columns | {number: merged(columns.get(number), exact) for number, exact in exact_columns.items()}
        return columns, rest if exact_rest is None else merged(rest, exact_rest)
