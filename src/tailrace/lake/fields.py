"""The field registry of a dataset: the physical column of each path and type."""

from collections import Counter
from collections.abc import Iterable, Mapping
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
MAX_COLUMN_DEPTH = 16
MAX_REST_PATHS = 10_000
MAX_NULL_PATHS = 1_000
RECENT_EVENTS = 50_000  # past this many, the counts that are compared with `density` are halved
SPARK_REFUSES = frozenset(" ,;{}()\n\t=")  # Spark cannot name these in a Parquet column without column mapping


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
        self.version = 0  # grows with every change of the columns or the null paths
        self.rest: dict[str, set[str]] = {path: set(types) for path, types in view.rest.items()}
        self.rest_overflow = view.rest_overflow
        self.nesting: dict[str, tuple[str, ...]] = dict(view.nesting)
        self.null_paths: set[tuple[str, ...]] = set()
        self._by_path_type: dict[tuple[str, str], PhysicalColumn] = {}
        self._keys_of: dict[str, tuple[str, ...]] = {}
        self._folded_names = {name.casefold() for name in SYSTEM_COLUMNS}
        self._folded_keys: dict[tuple[tuple[str, ...], str], str] = {}
        self._seen: Counter[tuple[tuple[str, ...], str]] = Counter()
        self._recent = 0
        for column in view.columns:
            self._add(column)

    @property
    def recent_events(self) -> int:
        """The number of recent events, of which `density` is a share."""
        return self._recent

    def view(self) -> FieldsView:
        """Return the present state, as an immutable value."""
        rest = {path: frozenset(types) for path, types in self.rest.items()}
        return FieldsView(tuple(self.columns), rest, self.rest_overflow, dict(self.nesting))

    def column(self, path: str, value_type: str) -> PhysicalColumn | None:
        """Return the column that holds values of this type at this path, or None if `_rest` does."""
        return self._by_path_type.get((path, value_type))

    def keys_of(self, path: str) -> tuple[str, ...] | None:
        """Return the nesting by which the columns of a path are read on the fast path."""
        return self._keys_of.get(path)

    def note_rest(self, path: str, value_type: str, keys: tuple[str, ...] = ()) -> None:
        """Record that `_rest` has a value of this type at this path, with this nesting of keys."""
        if any("." in key for key in keys) and len(self.nesting) < MAX_REST_PATHS:
            self.nesting.setdefault(path, keys)
        types = self.rest.get(path)
        if types is not None:
            types.add(value_type)
        elif len(self.rest) < MAX_REST_PATHS:
            self.rest[path] = {value_type}
        else:
            self.rest_overflow = True

    def note_nulls(self, paths: Iterable[tuple[str, ...]]) -> None:
        """Record paths that were null, so that events with a null there can take the fast path."""
        for keys in paths:
            if len(self.null_paths) >= MAX_NULL_PATHS:
                return
            # A null at the path of a column that is nested otherwise hides that column's value: not for the fast path.
            column_keys = self._keys_of.get(".".join(keys), keys)
            if keys not in self.null_paths and column_keys == keys and fits_fast_path(keys):
                self.null_paths.add(keys)
                self.version += 1

    def count_events(self, events: int) -> None:
        """Add to the number of recent events, of which `density` is a share; past `RECENT_EVENTS` halve all counts."""
        self._recent += events
        if self._recent > RECENT_EVENTS:
            self._recent //= 2
            self._seen = Counter({key: n // 2 for key, n in self._seen.items() if n > 1})

    def count_unplaced(self, seen: Mapping[tuple[tuple[str, ...], str], int]) -> None:
        """Count values that had no column: (keys, type) to the number of recent events that had one."""
        for key, n in seen.items():
            if key in self._seen or len(self._seen) < MAX_REST_PATHS:
                self._seen[key] += n

    def promote(
        self, sampled: Mapping[tuple[tuple[str, ...], str], int], *, sample: int, events: int
    ) -> list[PhysicalColumn]:
        """Give columns to what is dense enough, counting a sample of `sample` out of `events` new events.

        Returns the columns that are new.
        """
        total = self._recent + events
        scale = events / sample if sample else 0.0
        # Fields that were counted earlier are candidates too: a sample may miss those of every second event. Of two
        # fields of the same frequency, the one that came first gets its column first.
        candidates = dict.fromkeys((*self._seen, *sampled))
        shares = Counter({key: int(self._seen[key] + sampled.get(key, 0) * scale) for key in candidates})
        added = []
        for (keys, value_type), n in shares.most_common():
            if n < max(1.0, self.density * total):
                break
            column = self._add_column_for(keys, value_type)
            if column is not None:
                added.append(column)
                self._seen.pop((keys, value_type), None)
        return added

    def _add_column_for(self, keys: tuple[str, ...], value_type: str) -> PhysicalColumn | None:
        """Add a column for values of a type at a path and return it; None where there can be none, or is one."""
        path = ".".join(keys)
        if value_type not in get_args(ValueType) or (path, value_type) in self._by_path_type:
            return None
        if len(self.columns) >= self.max_columns:
            return None
        column_keys = self._keys_of.get(path)
        if column_keys is None and not self._reserve_path(path, keys):
            return None
        name = self._free_name(path, value_type)
        column = PhysicalColumn(name, path, column_keys or keys, cast(ValueType, value_type))
        self._add(column)
        if value_type == "float" and (path, "integer") not in self._by_path_type:
            # Clients write 3.0 as 3, so a float in one event may be an integer in the next.
            self._add(PhysicalColumn(self._free_name(path, "integer"), path, column.keys, "integer"))
        return column

    def _reserve_path(self, path: str, keys: tuple[str, ...]) -> bool:
        """Reserve the keys of a path without columns if a column can have its name; return whether one can."""
        return can_name_column(path, keys) and path.casefold() not in self._folded_names and self._reserve_keys(keys)

    def _free_name(self, path: str, value_type: str) -> str:
        name = f"{path}#{value_type}" if path in self._keys_of else path
        while name.casefold() in self._folded_names:
            name += "#"  # a field already has this name
        return name

    def _reserve_keys(self, keys: tuple[str, ...]) -> bool:
        """Reserve these keys if DuckDB can have them beside those reserved before; return whether it can.

        No two keys of one object may differ only in case.
        """
        steps = [((*keys[:depth],), key) for depth, key in enumerate(keys)]
        for parent, key in steps:
            if not key or self._folded_keys.get((parent, key.casefold()), key) != key:
                return False
        for parent, key in steps:
            self._folded_keys[parent, key.casefold()] = key
        return True

    def _add(self, column: PhysicalColumn) -> None:
        self.columns.append(column)
        self._by_path_type[column.path, column.type] = column
        self._keys_of.setdefault(column.path, column.keys)
        self.null_paths = {k for k in self.null_paths if k == column.keys or ".".join(k) != column.path}
        self._folded_names.add(column.name.casefold())
        self._reserve_keys(column.keys)
        self.version += 1


def can_name_column(name: str, keys: tuple[str, ...]) -> bool:
    """Return whether SQL, DuckDB's structures, Delta and Spark can all have a column of this name."""
    return (
        len(name.encode()) <= MAX_COLUMN_PATH_BYTES
        and fits_fast_path(keys)
        and name.isprintable()
        and not SPARK_REFUSES.intersection(name)
    )


def fits_fast_path(keys: tuple[str, ...]) -> bool:
    """Return whether msgspec's structs and DuckDB's structures can have these keys."""
    return len(keys) <= MAX_COLUMN_DEPTH and all(
        key and key.isprintable() and '"' not in key and "\\" not in key for key in keys
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
