"""The exact way from lines to columns, an event at a time in Python.

Slow and right: the way of every event where there is no compiled one, of the few lines that the compiled one refuses,
and what the tests hold the compiled one against.
"""

from collections import Counter
from typing import Any

import msgspec
import pyarrow as pa

from tailrace.lake.leaves import Leaf, PathsTooLong, leaves, value_of
from tailrace.native.shredder import PathValues, ReadLines

ARROW_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "array": pa.string(),
}
MAX_PATHS = 65_536  # remembered between two readings, beside those with a column
# An event with longer paths than that, which is a nesting of long names above many values, is kept as it came: what a
# client sends must not take a multiple of its size.
MIN_PATH_BYTES = 64 * 1024
MAX_PATH_SHARE = 8  # of the size of the event

_encode = msgspec.json.Encoder()


class ExactShredder:
    """A `LineShredder` in Python. Not thread-safe."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], int] = {}  # by path and type
        self._types: list[str] = []  # of the columns, by number
        self._keys: dict[str, tuple[str, ...]] = {}  # of the paths without a column: their first nesting
        self._recent: Counter[tuple[str, str]] = Counter()
        self._offered: set[tuple[str, str]] = set()  # by `unplaced`
        self._told: set[tuple[str, str]] = set()  # by `new_rest`
        self._new: dict[tuple[str, str], None] = {}  # what is to be told: an ordered set
        self._rows: list[dict[str, Leaf] | bytes] = []  # what was read last; the text of an event that is kept whole
        self._keeps_whole = False  # one of them at least

    def read(self, events: bytes | memoryview, count: int) -> ReadLines:
        """Read all `count` lines, and refuse none. Raise msgspec's errors where one is no JSON object."""
        if len(self._keys) > MAX_PATHS:
            self._forget()
        self._rows = [_values(line) for line in bytes(events).split(b"\n")[:-1]]
        if len(self._rows) != count:
            raise AssertionError(f"{count} events have {len(self._rows)} lines")
        for row in self._rows:
            if isinstance(row, bytes):
                continue
            for path, leaf in row.items():
                if (path, leaf.type) not in self._columns:
                    self._keys.setdefault(path, leaf.keys)
                    self._recent[path, leaf.type] += 1
        return ReadLines(count, len(events), [])

    def unplaced(self, least: int) -> list[PathValues]:
        """Return what has no column and is in `least` recent events or more, the most frequent first; each once."""
        frequent = [
            (count, known) for known, count in self._recent.items() if count >= least and known not in self._offered
        ]
        frequent.sort(key=lambda values: -values[0])
        self._offered.update(known for _, known in frequent)
        return [self._values_of(known, count) for count, known in frequent]

    def place(self, path: str, value_type: str) -> int:
        """Give the values of a type at a path a column; return its number."""
        self._recent.pop((path, value_type), None)
        self._types.append(value_type)
        self._columns[path, value_type] = len(self._types) - 1
        return len(self._types) - 1

    def columns(self) -> tuple[dict[int, pa.Array], pa.Array | None]:
        """Return the columns of what was read last, by number, and the rest where an event has one."""
        cells: dict[int, list[Any]] = {}
        rests: list[str | None] = []
        for at, row in enumerate(self._rows):
            if isinstance(row, bytes):
                self._keeps_whole = True
                rests.append(row.decode())
                continue
            rest: list[tuple[str, Leaf]] = []
            for path, leaf in row.items():
                number = self._columns.get((path, leaf.type))
                if number is None:
                    rest.append((path, leaf))
                    continue
                if number not in cells:
                    cells[number] = [None] * len(self._rows)
                cells[number][at] = value_of(leaf)
            rests.append(_rest(rest))
            for path, leaf in rest:
                if (path, leaf.type) not in self._told:
                    self._new[path, leaf.type] = None
        self._rows = []
        arrays = {number: pa.array(cells[number], ARROW_TYPES[self._types[number]]) for number in sorted(cells)}
        return arrays, pa.array(rests, pa.string()) if any(rests) else None

    def new_rest(self, most: int) -> tuple[list[PathValues], bool]:
        """Return what the rest has for the first time, at most so much; whether there is more.

        There is more than it can tell where an event was kept whole.
        """
        told = list(self._new)[:most]
        for known in told:
            del self._new[known]
        self._told.update(told)
        has_more = bool(self._new) or self._keeps_whole
        self._keeps_whole = False
        return [self._values_of(known, self._recent[known]) for known in told], has_more

    def halve(self) -> None:
        """Halve the counts of what recent events had."""
        for key, count in self._recent.items():
            self._recent[key] = count // 2

    def _forget(self) -> None:
        """Forget what has no column, which is too much to remember."""
        self._keys, self._recent = {}, Counter()
        self._offered, self._told, self._new = set(), set(), {}

    def _values_of(self, known: tuple[str, str], count: int) -> PathValues:
        path, value_type = known
        return PathValues(path, self._keys[path], value_type, count)


def _values(line: bytes) -> dict[str, Leaf] | bytes:
    """Return the values of a line that count, by path; the line itself where they take too much."""
    try:
        found = leaves(line, max_path_bytes=max(MIN_PATH_BYTES, MAX_PATH_SHARE * len(line)))
    except PathsTooLong:
        return line
    return {path: leaf for path, leaf in found.items() if leaf.type != "null"}


def _rest(values: list[tuple[str, Leaf]]) -> str | None:
    """Return the JSON object of values that have no column, with whole paths as keys; None for nothing."""
    if not values:
        return None
    members = [_encode.encode(path) + b":" + leaf.raw for path, leaf in values]
    return (b"{" + b",".join(members) + b"}").decode()
