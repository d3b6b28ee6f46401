"""The field registry of a dataset: the physical column of each path and type."""

import math
from typing import cast, get_args

import msgspec
from msgspec import Struct

from tailrace.lake.snapshot import FieldsView, PhysicalColumn, ValueType

TIME = "_time"
SYSTEM_TIME = "_sysTime"
REST = "_rest"
DAY = "_day"
SYSTEM_COLUMNS = (TIME, SYSTEM_TIME, REST, DAY)

MAX_COLUMN_PATH_BYTES = 200  # without the `#type` of a further column of the path
MAX_COLUMN_DEPTH = 16  # as deep nests the expression of a query that makes an object of columns again
MAX_REST_PATHS = 10_000
RECENT_EVENTS = 50_000  # past this many, the counts that are compared with `density` are halved
SPARK_REFUSES = frozenset(" ,;{}()\n\t=")  # Spark cannot name these in a Parquet column without column mapping
READERS_MISTAKE = frozenset('"\\')  # engines differ in how these are escaped in a name


class StoredFields(Struct):
    """The registry in its file."""

    columns: list[PhysicalColumn]
    rest: dict[str, list[str]]
    rest_overflow: bool
    nesting: dict[str, tuple[str, ...]] = {}


class Fields:
    """The registry itself, which only ever grows. Only the shredding thread writes it.

    A path gets a column once the share of recent events that have it reaches `density`, while there are fewer than
    `max_columns`; the first type of a path gets the plain name, another gets `path#type` beside it.
    """

    def __init__(
        self,
        view: FieldsView | None = None,
        *,
        max_columns: int = 256,
        density: float = 0.01,
    ) -> None:
        view = view or FieldsView()
        self.max_columns = max_columns
        self.density = density
        self.columns: list[PhysicalColumn] = []
        self._rest: dict[str, set[str]] = {path: set(types) for path, types in view.rest.items()}
        self._rest_overflow = view.rest_overflow
        self._nesting: dict[str, tuple[str, ...]] = dict(view.nesting)
        self._view: FieldsView | None = None  # of the present state, where it was made already
        self._by_path_type: dict[tuple[str, str], PhysicalColumn] = {}
        self._keys: dict[str, tuple[str, ...]] = {}  # of the paths that have a column
        self._folded_names = {name.casefold() for name in SYSTEM_COLUMNS}
        self._recent = 0
        for column in view.columns:
            self._append(column)

    def view(self) -> FieldsView:
        """Return the present state, as an immutable value."""
        if self._view is None:
            rest = {path: frozenset(types) for path, types in self._rest.items()}
            self._view = FieldsView(tuple(self.columns), rest, self._rest_overflow, dict(self._nesting))
        return self._view

    def column(self, path: str, value_type: str) -> PhysicalColumn | None:
        """Return the column that holds values of this type at this path, or None if `_rest` does."""
        return self._by_path_type.get((path, value_type))

    # What has no column

    @property
    def rest_overflow(self) -> bool:
        """Whether `_rest` may have paths that are not known."""
        return self._rest_overflow

    def note_rest(self, path: str, value_type: str, keys: tuple[str, ...] = ()) -> None:
        """Record that `_rest` has a value of this type at this path, with this nesting of keys."""
        if any("." in key for key in keys) and path not in self._nesting and len(self._nesting) < MAX_REST_PATHS:
            self._nesting[path] = keys
            self._view = None
        types = self._rest.get(path)
        if types is None and len(self._rest) >= MAX_REST_PATHS:
            self.note_rest_overflow()
        elif types is None:
            self._rest[path] = {value_type}
            self._view = None
        elif value_type not in types:
            types.add(value_type)
            self._view = None

    def note_rest_overflow(self) -> None:
        """Record that `_rest` has paths that are not known."""
        if not self._rest_overflow:
            self._rest_overflow = True
            self._view = None

    # What gets one

    @property
    def is_full(self) -> bool:
        """Whether no path can get a column any more."""
        return len(self.columns) >= self.max_columns

    def least_count(self, events: int) -> int:
        """Return how many of the recent events, with so many new ones, must have a field for it to get a column."""
        return max(1, math.ceil(self.density * (self._recent + events)))

    def count_events(self, events: int) -> bool:
        """Add to the number of recent events. Past `RECENT_EVENTS` halve it and return true: so are all counts of what
        they had.
        """
        self._recent += events
        if self._recent <= RECENT_EVENTS:
            return False
        self._recent //= 2
        return True

    def add(self, path: str, value_type: str, keys: tuple[str, ...]) -> list[PhysicalColumn]:
        """Return the columns that values of a type at a path get: none where there is one or can be none."""
        if value_type not in get_args(ValueType) or self.column(path, value_type) is not None or self.is_full:
            return []
        if path not in self._keys and (not can_name_column(path, keys) or path.casefold() in self._folded_names):
            return []
        added = [self._add(path, value_type, keys)]
        if value_type == "float" and self.column(path, "integer") is None:
            # Clients write 3.0 as 3, so a float in one event may be an integer in the next.
            added.append(self._add(path, "integer", keys))
        return added

    def _add(self, path: str, value_type: str, keys: tuple[str, ...]) -> PhysicalColumn:
        name = f"{path}#{value_type}" if path in self._keys else path
        while name.casefold() in self._folded_names:
            name += "#"  # a field already has this name
        column = PhysicalColumn(name, path, self._keys.get(path, keys), cast(ValueType, value_type))
        self._append(column)
        return column

    def _append(self, column: PhysicalColumn) -> None:
        self._view = None
        self.columns.append(column)
        self._by_path_type[column.path, column.type] = column
        self._keys.setdefault(column.path, column.keys)
        self._folded_names.add(column.name.casefold())


def can_name_column(path: str, keys: tuple[str, ...]) -> bool:
    """Return whether Delta, Spark and SQL can all have a column named as this path, and queries nest its keys."""
    return (
        0 < len(path.encode()) <= MAX_COLUMN_PATH_BYTES
        and len(keys) <= MAX_COLUMN_DEPTH
        and path.isprintable()
        and not (SPARK_REFUSES | READERS_MISTAKE).intersection(path)
    )


def decode_fields(raw: bytes) -> FieldsView:
    """Return the registry in a file's content. Raise msgspec's errors if it is invalid."""
    stored = msgspec.json.decode(raw, type=StoredFields)
    rest = {name: frozenset(types) for name, types in stored.rest.items()}
    return FieldsView(tuple(stored.columns), rest, stored.rest_overflow, stored.nesting)


def encode_fields(view: FieldsView) -> bytes:
    """Return the registry as the content of a file."""
    rest = {name: sorted(types) for name, types in view.rest.items()}
    return msgspec.json.encode(StoredFields(list(view.columns), rest, view.rest_overflow, dict(view.nesting)))
