"""A dataset as a relation: its fields by path, each of one type or several, read from the files of a scan."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.lake.snapshot import DataFile, FieldsView, HotTable, Snapshot
from tailrace.query import sources
from tailrace.query.compile.objects import NO_MEMBERS, keys_within, nested, unless_empty
from tailrace.query.compile.relation import (
    Emitter,
    Ids,
    Key,
    Reading,
    Relation,
    RelationColumn,
    identifier,
    named,
    nothing,
    reference,
    references,
)
from tailrace.query.compile.scan import Scan, present_columns
from tailrace.query.fields import FieldReader
from tailrace.query.functions.rest_objects import rest_object
from tailrace.query.functions.udf import CELL_HASH
from tailrace.query.row_groups import RowGroupCache
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    TIMESPAN,
    DynamicParts,
    Type,
    Value,
    cast,
    coalesce,
    flag_of_json,
    fn,
    json_text,
    literal,
    null_node,
    real_of_json,
    text_node,
    text_of_json,
    try_cast,
    whole_of_json,
)

TIME, SYSTEM_TIME, REST = "_time", "_sysTime", "_rest"
MAX_CHILDREN = 500  # of an object that is put together again from its fields

TYPE_OF = {"boolean": BOOL, "integer": LONG, "float": REAL, "string": STRING, "array": DYNAMIC}
PARTS = ("whole", "real", "text", "flag")  # of a field of several types: integers, floats, strings, booleans
_PARTS: dict[str, tuple[frozenset[str], Callable[[exp.Expr], exp.Expr]]] = {
    "whole": (frozenset({"integer"}), whole_of_json),
    "real": (frozenset({"float", "number"}), real_of_json),
    "text": (frozenset({"string"}), text_of_json),
    "flag": (frozenset({"boolean"}), flag_of_json),
}
"""For each part the types of stored values that it holds, and what reads it from JSON."""
_WITHOUT_PART = {"array", "map", "number"}  # types of values that no part holds, or not in full

Virtual = Callable[["Dataset", str], Value]
"""Compiles the expression of a virtual field."""


class StoredReads(Struct, frozen=True, eq=False):
    """What identifiers of a dataset are made of."""

    nodes: dict[str, exp.Expr]  # those over the stored columns, by identifier
    computed: dict[str, exp.Expr]  # those over other identifiers
    physical: set[str]  # the names of the stored columns


class Dataset(Relation):
    """The events of a dataset within a range of time, which can only be narrowed."""

    events = True

    def __init__(
        self,
        snapshot: Snapshot,
        ids: Ids,
        *,
        hot_name: str,
        scan: Scan,
        virtual: Sequence[tuple[str, str]] = (),
        compile_virtual: Virtual | None = None,
        maps: Sequence[str] = (),
        row_groups: RowGroupCache | None = None,
    ) -> None:
        super().__init__()
        self.snapshot = snapshot
        self.row_groups = row_groups  # what the files' footers say; None where it is not asked for
        self.name = snapshot.dataset
        self.hot_name = hot_name
        self.scanned = scan  # the widest range that is read; a rendering may read less
        self._ids = ids
        self._all = FieldReader(snapshot.fields)
        self._present = present_columns(snapshot)
        self._reader = FieldReader(_restricted(snapshot.fields, self._present))
        self._columns: dict[str, RelationColumn | None] = {}
        self._stored: dict[str, exp.Expr | Callable[[], exp.Expr]] = {}  # by identifier, over physical columns
        self._computed: dict[str, exp.Expr] = {}  # by identifier, over other identifiers
        self._virtual = {name: text for name, text in virtual if name not in (TIME, SYSTEM_TIME)}
        self._compile_virtual = compile_virtual
        self._maps = frozenset(maps)  # fields whose objects are shown as one column each
        self._compiling: set[str] = set()  # virtual fields whose expressions are being compiled
        self._rest: RelationColumn | None = None
        self._row_hash: RelationColumn | None = None
        self._beside_fields: dict[str, RelationColumn] = {}  # what rows have beside fields, by the names of columns
        self.event_time = self.time = self._system(TIME)
        self.system_time = self._system(SYSTEM_TIME)
        self.scan = self
        self.order = (Key(TIME, self.time.value, True, False), Key("", self.system_time.value, True, False))

    # Columns

    def _system(self, name: str) -> RelationColumn:
        column = self._ids.column(name, DATETIME, types=("datetime",))
        self._columns[name] = column
        self._define(column.value.sql, exp.column(name, quoted=True))
        return column

    def _define(self, target: exp.Expr, node: exp.Expr | Callable[[], exp.Expr]) -> exp.Expr:
        """Set the expression of an identifier over the stored columns, or what makes it; return the identifier."""
        self._stored[identifier(target)] = node
        return target

    def _node(self, name: str) -> exp.Expr:
        """Return the expression of an identifier over the stored columns; it is made at the first call."""
        node = self._stored[name]
        if not isinstance(node, exp.Expr):
            node = self._stored[name] = node()
        return node

    def find(self, name: str) -> RelationColumn | None:
        if name in self._compiling:
            return self._compile_column(name)
        if name not in self._columns:
            self._columns[name] = self._compile_column(name)
        return self._columns[name]

    def _compile_column(self, name: str) -> RelationColumn | None:
        if name in self._virtual and name not in self._compiling and self._compile_virtual is not None:
            self._compiling.add(name)  # so that it does not find itself
            value = self._compile_virtual(self, self._virtual[name])
            self._compiling.discard(name)
            parts = value.parts.map_computed(self._computed_part) if value.parts is not None else None
            column = RelationColumn(name, Value(value.type, self._ids.fresh(), parts=parts))
            self._computed[column.id] = value.sql
            return column
        reader = self._reader
        if name in self._maps:
            mapped = self._map(name)
            if mapped is not None:
                return mapped
        if reader.knows(name):
            return self._field(name)
        if self._all.knows(name):
            types: list[str] = [column.type for column in self._all.columns_read(name)]
            types = types or sorted(self._all.types(name))
            kind = self._type_of(name, types) if types else DYNAMIC
            column = self._ids.column(name, kind, types=tuple(types))
            self._define(column.value.sql, null_node(_DUCKDB[kind]))
            return column
        return self._object(name)

    def _type_of(self, name: str, types: Sequence[str]) -> Type:
        """Return the type of a field whose values have these types; of several that of the first."""
        return TIMESPAN if self.snapshot.is_timespan(name, types) else TYPE_OF.get(types[0], DYNAMIC)

    def compute(self, name: str, definition: exp.Expr) -> None:
        """Set the expression of an identifier over other identifiers."""
        self._computed[name] = definition

    def _computed_part(self, kind: Type, definition: exp.Expr) -> exp.Expr:
        target = self._ids.fresh()
        self.compute(identifier(target), definition)
        return target

    def _field(self, name: str) -> RelationColumn:
        reader = self._reader
        types = reader.types(name)
        names = tuple(sorted(types))
        if len(types) == 1 and not reader.overflows and types <= TYPE_OF.keys():
            kind = self._type_of(name, names)
            column = self._ids.column(name, kind, types=names)
            if reader.is_mixed(name):  # all of it is in `_rest`
                self._define(column.value.sql, lambda: _from_json(kind, reader.expression(name, "json")))
            else:
                self._define(column.value.sql, lambda: reader.expression(name, "plain"))
            return column

        rest = [self._define(self._ids.fresh(), node) for node in reader.rest_values(name)]
        parts = {part: self._part(name, part, rest) for part in PARTS}
        in_rest = reader.rest_types(name)
        incomplete = in_rest is None or bool((types | in_rest) & _WITHOUT_PART)
        as_json = self._define(self._ids.fresh(), lambda: reader.expression(name, "json"))
        return RelationColumn(name, Value(DYNAMIC, as_json, parts=DynamicParts(**parts, incomplete=incomplete)), names)

    def _part(self, name: str, part: str, rest: Sequence[exp.Expr]) -> exp.Expr | None:
        """Return one part of a field of several types, whose values in `_rest` are `rest`; None where it has none."""
        kinds, read = _PARTS[part]
        columns = [column for column in self._reader.columns_read(name) if column.type in kinds]
        in_rest = self._reader.rest_types(name)
        read_rest = [read(value) for value in rest] if in_rest is None or in_rest & kinds else []
        own = [self._define(self._ids.fresh(), exp.column(column.name, quoted=True)) for column in columns]
        if not own and not read_rest:
            return None
        if len(own) == 1 and not read_rest:
            return own[0]
        target = self._ids.fresh()
        self.compute(identifier(target), coalesce(*own, *read_rest))
        return target

    def _object(self, name: str) -> RelationColumn | None:
        """Return an object as it was ingested, put together again from the fields inside it; None without any."""
        build_object = self._object_builder(name)
        if build_object is None:
            return None
        column = self._ids.column(name, DYNAMIC, types=("map",))
        self._define(column.value.sql, build_object)
        return column

    def _map(self, name: str) -> RelationColumn | None:
        """Return the objects of a map field, and other values at its path; None where no field can be inside of it."""
        build_object = self._object_builder(name)
        if build_object is None:
            return None
        reader, has_values = self._reader, self._reader.knows(name)

        def object_or_value() -> exp.Expr:
            return exp.Coalesce(this=build_object(), expressions=[reader.expression(name, "json")])

        types = {"map", *reader.types(name)} if has_values else {"map"}
        column = self._ids.column(name, DYNAMIC, types=tuple(sorted(types)))
        self._define(column.value.sql, object_or_value if has_values else build_object)
        return column

    def _object_builder(self, name: str) -> Callable[[], exp.Expr] | None:
        """Return a function that makes the expression of the object at a path, nested as it was sent.

        None where no field can be inside of it.
        """
        prefix = name + "."
        known = [path for path in self._reader.known() if path.startswith(prefix)]
        inside = [path for path in known if self._reader.columns_read(path)][:MAX_CHILDREN]
        in_rest = len(inside) < len(known) or any(self._reader.is_mixed(path) for path in inside)
        in_rest = in_rest or (self._reader.overflows and name in self._maps)
        if not name or not (inside or in_rest):
            return None

        def build_object() -> exp.Expr:
            leaves = {}
            for path in inside:
                keys = self._reader.columns_read(path)[0].keys
                leaves[keys_within(name, keys) or (path.removeprefix(prefix),)] = self._reader.expression(path, "json")
            rest: exp.Expr = NO_MEMBERS.copy()
            if in_rest:
                nesting = {
                    path: within
                    for path, keys in self.snapshot.fields.nesting.items()
                    if path.startswith(prefix) and (within := keys_within(name, keys))
                }
                text = msgspec.json.encode(nesting).decode()
                members = rest_object(Value(STRING, exp.column(REST, quoted=True)), literal(name), literal(text))
                rest = exp.Coalesce(this=cast(members.sql, "JSON"), expressions=[rest])
            return unless_empty(fn("json_merge_patch", rest, nested(leaves)))

        return build_object

    def may_find(self, name: str) -> bool:
        return self._all.overflows or name in self._names

    @functools.cached_property
    def _names(self) -> set[str]:
        """The names of all fields, and of the objects in which they are."""
        names = {*self.known(), *self._maps}
        for name in list(names):
            end = name.find(".")
            while end >= 0:
                names.add(name[:end])
                end = name.find(".", end + 1)
        return names

    def listed(self) -> list[RelationColumn]:
        paths = {path for path in self._reader.paths if not self._is_mapped(path)}
        names = sorted({TIME, SYSTEM_TIME, *paths, *self._maps} - set(self._virtual), key=str.encode)
        columns = [self.find(name) for name in [*names, *self._virtual]]
        return [column for column in columns if column is not None]

    def known(self) -> list[str]:
        return [TIME, SYSTEM_TIME, *self._all.known(), *self._virtual]

    def has(self, name: str) -> bool:
        return name in self._stored or name in self._computed

    @property
    def is_open(self) -> bool:
        return True

    @property
    def rest(self) -> RelationColumn | None:
        if self._rest is None and REST in self._present:
            self._rest = self._ids.column(REST, DYNAMIC)
            self._define(self._rest.value.sql, cast(exp.column(REST, quoted=True), "JSON"))
        return self._rest

    @property
    def row_hash(self) -> RelationColumn:
        """A number made of all that a row holds, wherever it is stored: columns without a value do not count."""
        if self._row_hash is None:
            names = [column.name for column in self.snapshot.fields.columns if column.name in self._present]
            parts = [_cell_hash(name) for name in (*names, *({REST} & self._present))]
            self._row_hash = self._ids.column("", DYNAMIC)
            self._define(self._row_hash.value.sql, fn("list_bit_xor", fn("list_value", _no_hash(), *parts)))
        return self._row_hash

    @property
    def row_number(self) -> RelationColumn:
        """The place of a row in its file, from 0; the hot rows have none."""
        return self._beside(sources.ROW_NUMBER)

    @property
    def weight(self) -> RelationColumn:
        """How many rows a row stands for: itself, or those of a row group in which all that is read is the same."""
        return self._beside(sources.WEIGHT)

    def _beside(self, name: str) -> RelationColumn:
        if name not in self._beside_fields:
            column = self._beside_fields[name] = self._ids.column("", LONG)
            self._define(column.value.sql, exp.column(name, quoted=True))
        return self._beside_fields[name]

    def definition(self, column: RelationColumn) -> exp.Expr:
        """Return the expression over the stored columns of a column that is no virtual field."""
        return self._node(column.id)

    def unlisted(self) -> list[str] | None:
        if self._reader.overflows:
            return None
        listed = {TIME, SYSTEM_TIME, *self._reader.paths, *self._virtual, *self._maps}
        return [name for name in self._reader.known() if name not in listed and not self._is_mapped(name)]

    def hides(self, name: str) -> bool:
        """Return whether another column already shows this field, so that `_rest` must not show it too."""
        return name in self._reader.paths or name in self._virtual or name in self._maps or self._is_mapped(name)

    def _is_mapped(self, path: str) -> bool:
        """Return whether a field is inside of a map field."""
        return bool(self._maps) and any(path[:at] in self._maps for at in range(len(path)) if path[at] == ".")

    # Time

    def narrow(self, start_us: int | None, end_us: int | None) -> None:
        """Drop the rows outside of [start, end), for every reader of them."""
        self.scanned = self.scanned.narrowed(start_us, end_us)

    def scan_of(self, reading: Reading) -> Scan:
        """Return what a rendering reads of these rows."""
        return reading.scans.get(self.hot_name, self.scanned)

    # Rendering

    def reads(self, needed: set[str]) -> StoredReads:
        """Return what these identifiers are made of, those that they read included."""
        names = self._with_dependencies(needed & self._computed.keys())
        computed = {name: self._computed[name] for name in names}
        own = sorted((needed | references(computed.values())) & self._stored.keys())
        nodes = {name: self._node(name) for name in own}
        physical = {column.name for node in nodes.values() for column in node.find_all(exp.Column)}
        return StoredReads(nodes, computed, physical)

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        scan = self.scan_of(out.reading)
        reads = self.reads(needed)
        nodes, computed, physical = reads.nodes, set(reads.computed), reads.physical | {TIME}
        if scan.condition is not None:
            physical |= {column.name for column in scan.condition.find_all(exp.Column)}
        by = self.snapshot.primary_key
        if by:
            physical |= {column.name for column in sources.current_columns(self._all, by)}
        columns = [column for column in self.snapshot.fields.columns if column.name in physical]
        system = [name for name in sources.SYSTEM_TYPES if name in physical]
        hot = scan.hot_of(self.snapshot)
        if hot:
            out.reads_hot(self.hot_name, physical)
        kinds = sources.duckdb_types(columns, system)
        kinds |= {name: "BIGINT" for name in self._beside_fields if name in physical}
        known = None if scan.known is None else out.reads_known(scan.known, kinds)
        bounds = self.bounds(scan)
        files = scan.files_of(self.snapshot)
        parts: tuple[DataFile | HotTable, ...] = (*files, *hot)
        rows: exp.Query
        if bounds is None or by or scan.condition is not None or not any(map(scan.is_within, parts)):
            hot_name = self.hot_name if hot else None
            rows = sources.rows(files, hot_name, kinds, ranges=scan.ranges, known=known)
        else:  # of most parts not even the times must be read
            rows, bounds = self._bounded(scan, bounds, kinds, known), None
        if by:
            newest = sources.newest(self._all, by)
            rows = exp.Select(expressions=[exp.Star()], from_=exp.From(this=out.table(rows)), qualify=newest)
        cells = [named(node, name) for name, node in nodes.items()]
        source = rows.args["from_"] if _is_plain(rows) else exp.From(this=out.table(rows))
        select: exp.Query = exp.Select(expressions=cells or [nothing()], from_=source)
        if bounds is not None:
            select.set("where", exp.Where(this=bounds))
        available = set(nodes)  # identifiers of the innermost select
        while computed:  # those that read no other of them first
            ready = sorted(name for name in computed if references([self._computed[name]]) <= available)
            cells = [reference(name) for name in sorted(available)]
            cells += [named(self._computed[name], name) for name in ready]
            select = exp.Select(expressions=cells, from_=exp.From(this=out.table(select)))
            available |= set(ready)
            computed -= set(ready)
        return select

    def _with_dependencies(self, computed: set[str]) -> set[str]:
        """Return the computed identifiers, and those computed ones that they read, directly or not."""
        names = set(computed)
        new = names
        while new:
            new = (references([self._computed[name] for name in new]) & self._computed.keys()) - names
            names |= new
        return names

    def _bounded(self, scan: Scan, bounds: exp.Expr, kinds: Mapping[str, str], known: exp.Expr | None) -> exp.Query:
        """Return the rows that are in the range of a scan, where `bounds` says which of a part that only reaches into
        it.
        """
        files, hot = scan.files_of(self.snapshot), scan.hot_of(self.snapshot)
        hot_name = self.hot_name if hot else None
        is_hot_within = all(map(scan.is_within, hot))
        within = [file for file in files if scan.is_within(file)]
        inside = hot_name if is_hot_within else None
        parts = sources.parts_of(within, inside, kinds, ranges=scan.ranges, known=known)
        others = [file for file in files if not scan.is_within(file)]
        for part in sources.parts_of(others, None if is_hot_within else hot_name, kinds, ranges=scan.ranges):
            part.where(bounds.copy(), copy=False)
            parts.append(part)
        return sources.united(parts, kinds)

    def bounds(self, scan: Scan) -> exp.Expr | None:
        """Return the condition on the stored columns for rows of a scan; None where all that it reads are."""
        parts: tuple[DataFile | HotTable, ...] = (*scan.files_of(self.snapshot), *scan.hot_of(self.snapshot))
        return scan.bounds(exp.column(TIME, quoted=True), parts)

    def hot_rows(self, names: Collection[str]) -> sources.HotRows | None:
        """Return the rows in memory with the physical columns of these names; None where there are none."""
        columns = [column for column in self.snapshot.fields.columns if column.name in names]
        system = [name for name in sources.SYSTEM_TYPES if name in names]
        return sources.hot_rows(self.scanned.hot_of(self.snapshot), sources.arrow_types(columns, system))


_DUCKDB: dict[Type, str] = {
    BOOL: "BOOLEAN", LONG: "BIGINT", REAL: "DOUBLE", STRING: "VARCHAR", TIMESPAN: "BIGINT", DYNAMIC: "JSON",
}  # fmt: skip


def _cell_hash(name: str) -> exp.Expr:
    return fn(CELL_HASH, text_node(name), exp.column(name, quoted=True))


def _no_hash() -> exp.Expr:
    return cast(exp.Literal.number(0), "UBIGINT")


def _is_plain(rows: exp.Query) -> bool:
    """Return whether a query names columns of one table, and does nothing else."""
    return (
        isinstance(rows, exp.Select)
        and not rows.args.keys() - {"expressions", "from_"}
        and all(isinstance(cell, exp.Column) for cell in rows.expressions)
    )


def _from_json(kind: Type, value: exp.Expr) -> exp.Expr:
    if kind is STRING:
        return json_text(value)
    return value if kind is DYNAMIC else try_cast(cast(value, "VARCHAR"), _DUCKDB[kind])


def _restricted(view: FieldsView, present: set[str]) -> FieldsView:
    """Return the registry without the columns that are not `present`."""
    columns = tuple(column for column in view.columns if column.name in present)
    if REST not in present:
        return FieldsView(columns)
    return FieldsView(columns, view.rest, view.rest_overflow, view.nesting)
