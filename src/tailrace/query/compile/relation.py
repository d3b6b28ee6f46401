"""Rows with columns, on their way through the operators of a query; rendered at the end with the columns in use.

Each column has an identifier that is unique in the query (`c7`), so that names, which APL lets be anything, are never
part of the SQL.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.query import sources
from tailrace.query.compile.scan import Scan
from tailrace.query.values import Type, Value, nan_as_null

MAX_WRITTEN_CELLS = 32  # of rows that stand for others, and become a part of the query


class RelationColumn(Struct, frozen=True, eq=False):
    """A named value of each row. Its SQL is a reference to an identifier."""

    name: str
    value: Value
    types: tuple[str, ...] = ()  # of a dataset's field: what the registry knows of its values

    @property
    def id(self) -> str:
        return identifier(self.value.sql)

    def renamed(self, name: str) -> "RelationColumn":
        return RelationColumn(name, self.value, self.types)


class Key(Struct, frozen=True, eq=False):
    """One key of an order."""

    name: str  # as answers show it; "" for one that only breaks ties
    value: Value  # a reference to an identifier
    descending: bool
    nulls_first: bool
    computed: bool = False  # so that it may be NaN, which sorts as null

    def ordered(self) -> exp.Expr:
        value = nan_as_null(self.value) if self.computed else self.value
        return exp.Ordered(this=value.sql, desc=self.descending, nulls_first=self.nulls_first)


class RowLimit(Struct, frozen=True, eq=False):
    """So many rows in an order, after some that are left out."""

    count: int | None = None
    by: tuple[Key, ...] = ()
    offset: int = 0

    @property
    def is_all(self) -> bool:
        return self.count is None and not self.by and not self.offset


class Derived(Struct, frozen=True, eq=False):
    """A column's expression that is built when the query is rendered, as it holds a sub-query."""

    reads: tuple[exp.Expr, ...]
    build: "Callable[[Emitter], exp.Expr]"
    aggregate: "tuple[Relation, exp.Expr] | None" = None  # the rows and the number of which it is one, if it is


Definition = exp.Expr | Derived


def identifier(node: exp.Expr) -> str:
    name: str = node.args["this"].args["this"]
    return name


def reference(name: str) -> exp.Expr:
    return exp.Column(this=exp.Identifier(this=name, quoted=False))


def references(nodes: Iterable[Definition | None]) -> set[str]:
    """Return the identifiers that expressions name."""
    names: set[str] = set()
    stack: list[object] = []
    for definition in nodes:
        stack.extend(definition.reads if isinstance(definition, Derived) else (definition,))
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Column):
            name = identifier(node)
            if name[0] == "c" and name[1:].isdigit():  # others are parameters of a lambda
                names.add(name)
        elif isinstance(node, exp.Expr):
            stack.extend(node.args.values())
        elif isinstance(node, list):
            stack.extend(node)
    return names


def table_named(name: str) -> exp.Table:
    """Unlike sqlglot's `to_table` this parses nothing."""
    return exp.Table(this=exp.Identifier(this=name, quoted=False))


def nothing() -> exp.Expr:
    """Return the only column of a SELECT from which none is read."""
    return exp.Alias(this=exp.Literal.number(1), alias=exp.Identifier(this="c0", quoted=False))


class Reading(Struct, frozen=True, eq=False):
    """Where one rendering of a query reads other rows than the query says."""

    scans: Mapping[str, Scan] = {}  # of datasets, by the names of their hot rows
    limits: "Mapping[Relation, RowLimit]" = {}  # of layers
    members: "Mapping[Relation, Collection[int]]" = {}  # of unions: the numbers of those that are read
    stand_ins: "Mapping[Relation, Relation]" = {}  # what has the rows of others
    values: Mapping[Derived, exp.Expr] = {}  # those that are known


class RenderedQuery(Struct, frozen=True, eq=False):
    """A query as an engine takes it, and what it reads beside files."""

    sql: exp.Query
    hot_columns: Mapping[str, Collection[str]] = {}  # of the rows in memory, by their names
    known: Mapping[str, pa.Table] = {}  # rows that stand for others, by a name that no other rows have


class Emitter:
    """Collects the SELECTs of one rendering as common table expressions, so that none is nested in another."""

    def __init__(self, reading: Reading = Reading()) -> None:
        self.reading = reading
        self._ctes: list[exp.CTE] = []
        self._hot_columns: dict[str, set[str]] = {}
        self._known: dict[str, pa.Table] = {}

    def scanning(self, hot_name: str, scan: Scan) -> "Emitter":
        """Return an emitter of the same rendering that reads this of a dataset."""
        other = Emitter(replace(self.reading, scans={**self.reading.scans, hot_name: scan}))
        other._ctes, other._hot_columns, other._known = self._ctes, self._hot_columns, self._known
        return other

    def reads_known(self, rows: pa.Table, kinds: Mapping[str, str]) -> exp.Expr:
        """Return what a FROM names to read the columns of `kinds` (name to SQL type) of rows which stand for others.

        Where these are not few, note that they are read, by a name which is made of all that they hold.
        """
        if rows.num_rows * len(kinds) <= MAX_WRITTEN_CELLS:
            return sources.written(rows, kinds)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        name = f"known_{hashlib.blake2b(sink.getvalue(), digest_size=12).hexdigest()}"
        self._known[name] = rows
        return table_named(name)

    def reads_registered(self, name: str, rows: pa.Table) -> exp.Expr:
        """Return what a FROM names to read rows that the engine is to be told of by this name."""
        self._known[name] = rows
        return table_named(name)

    def reads_hot(self, hot_name: str, columns: Iterable[str]) -> None:
        """Note that rows in memory are read."""
        self._hot_columns.setdefault(hot_name, set()).update(columns)

    def table(self, query: exp.Query) -> exp.Table:
        """Return what a FROM names to read a SELECT."""
        name = f"r{len(self._ctes)}"
        alias = exp.TableAlias(this=exp.Identifier(this=name, quoted=False))
        self._ctes.append(exp.CTE(this=query, alias=alias, materialized=False))
        return table_named(name)

    def finished(self, query: exp.Query) -> RenderedQuery:
        """Return the last SELECT with all that it reads."""
        if self._ctes:
            query.set("with_", exp.With(expressions=self._ctes))
        return RenderedQuery(query, self._hot_columns, self._known)


def named(definition: Definition, name: str, out: "Emitter | None" = None) -> exp.Expr:
    node = definition
    if isinstance(node, Derived):
        out = out or Emitter()
        known = out.reading.values.get(node)
        node = node.build(out) if known is None else known
    return exp.Alias(this=node, alias=exp.Identifier(this=name, quoted=False))


class Relation:
    """What an operator reads and makes.

    `events` tells rows that are events from groups and the like. `order` is how the rows are to be shown and cut; it is
    `settled` once the query says so. `time` is the column by which events are in order.
    """

    events = False
    settled = False
    reordered = False  # whether the query says in which order columns come
    limited = False  # whether the query says how many rows it wants
    time: RelationColumn | None = None
    scan: "Relation | None" = None  # the dataset whose rows these are, if a condition on them may reach its files

    def __init__(self) -> None:
        self.order: tuple[Key, ...] = ()

    def find(self, name: str) -> RelationColumn | None:
        """Return the column of this name, if there is one."""
        raise NotImplementedError

    def may_find(self, name: str) -> bool:
        """Whether it is worth asking for this name; sooner told than what the column is."""
        return True

    def listed(self) -> list[RelationColumn]:
        """All columns, in order, but those that only `_rest` knows."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Whether this identifier is one of a column here, shown or not."""
        raise NotImplementedError

    def emit(self, needed: set[str], out: "Emitter") -> exp.Query:
        """Return a SELECT of the identifiers asked for, all of which it has; of what stands in for it, if anything."""
        stand_in = out.reading.stand_ins.get(self)
        return self._emit(needed, out) if stand_in is None else stand_in.emit(needed, out)

    def _emit(self, needed: set[str], out: "Emitter") -> exp.Query:
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether columns may come that are not known yet."""
        return False

    @property
    def rest(self) -> RelationColumn | None:
        """A JSON object with the fields that have no column."""
        return None

    def unlisted(self) -> list[str] | None:
        """Return fields that only `rest` has, by name; None where some are not known."""
        return []

    def hides(self, name: str) -> bool:
        """Return whether a field of `rest` is not shown."""
        return False

    def known(self) -> list[str]:
        """Return names for suggestions."""
        return [column.name for column in self.listed()]


class Layer(Relation):
    """A SELECT over one relation.

    Names that the layer neither defines nor removes are looked up in what it reads, if it `inherits`.
    """

    def __init__(self, parent: Relation, *, inherits: bool = True) -> None:
        super().__init__()
        self.parent = parent
        self.inherits = inherits
        self.events = parent.events
        self.settled = parent.settled
        self.limited = parent.limited
        self.reordered = parent.reordered
        self.time = parent.time
        self.order = parent.order
        self.scan = parent.scan
        self.own: dict[str, RelationColumn] = {}
        self.removed: set[str] = set()
        self.keeps: Callable[[str], bool] | None = None  # which of the inherited names
        self.without_rest = False  # as all of it has become columns
        self.defines: dict[str, Definition] = {}
        self.always: set[str] = set()  # identifiers that change the number of rows
        self.where: list[exp.Expr] = []
        self.group: list[exp.Expr] | None = None
        self.grouped = False  # whether its rows are the groups of a summarize
        self.limit = RowLimit()
        self.renames: dict[str, RelationColumn] = {}  # by the old name, in its place
        self.arrange: Callable[[list[RelationColumn]], list[RelationColumn]] | None = None

    def define(self, column: RelationColumn, definition: Definition) -> RelationColumn:
        """Add a column at the end; one of the same name that was there gives way."""
        self.defines[column.id] = definition
        self.show(column)
        return column

    def show(self, column: RelationColumn) -> None:
        self.own.pop(column.name, None)
        self.own[column.name] = column

    def find(self, name: str) -> RelationColumn | None:
        if name in self.own:
            return self.own[name]
        if self.inherits and self._passes(name):
            return self.parent.find(name)
        return None

    def may_find(self, name: str) -> bool:
        return name in self.own or (self.inherits and self.parent.may_find(name))

    def _passes(self, name: str) -> bool:
        return name not in self.removed and (self.keeps is None or self.keeps(name))

    def listed(self) -> list[RelationColumn]:
        columns = []
        for column in self.parent.listed() if self.inherits else ():
            if column.name in self.renames:
                columns.append(self.renames[column.name])
            elif column.name not in self.own and self._passes(column.name):
                columns.append(column)
        columns += [column for column in self.own.values() if column.name not in self._new_names()]
        return self.arrange(columns) if self.arrange else columns

    def _new_names(self) -> set[str]:
        return {column.name for column in self.renames.values()}

    def has(self, name: str) -> bool:
        return name in self.defines or (self.group is None and self.parent.has(name))

    @property
    def rest(self) -> RelationColumn | None:
        return self.parent.rest if self.inherits and not self.without_rest else None

    def unlisted(self) -> list[str] | None:
        if not self.inherits or self.without_rest:
            return []
        names = self.parent.unlisted()
        return None if names is None else [name for name in names if name not in self.own and self._passes(name)]

    @property
    def is_open(self) -> bool:
        return self.inherits and self.parent.is_open

    def hides(self, name: str) -> bool:
        return name in self.own or not self.inherits or not self._passes(name) or self.parent.hides(name)

    def known(self) -> list[str]:
        inherited = [name for name in self.parent.known() if self._passes(name)] if self.inherits else []
        return [*self.own, *inherited]

    @property
    def is_plain(self) -> bool:
        """Whether it only filters, so that more can be done in the same SELECT."""
        return not self.defines and self.group is None and self.limit.is_all and not self.own

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        return self._select(needed | self.always, self.defines, out)

    def _select(self, needed: set[str], defines: Mapping[str, Definition], out: Emitter) -> exp.Query:
        limit = out.reading.limits.get(self, self.limit)
        if not self.where and self.group is None and limit.is_all and needed.isdisjoint(defines):
            return self.parent.emit(needed, out)
        cells: list[exp.Expr] = []
        read: set[str] = set()
        for name in sorted(needed, key=_number):
            definition = defines.get(name)
            if definition is None:
                cells.append(reference(name))
                read.add(name)
            else:
                cells.append(named(definition, name, out))
        used = [defines[name] for name in needed if name in defines]
        keys = [key.value.sql for key in limit.by]
        read |= references([*used, *self.where, *keys])
        read |= references(self.group or ()) - defines.keys()
        if not cells:
            cells.append(nothing())
        select = exp.Select(expressions=cells, from_=exp.From(this=out.table(self.parent.emit(read, out))))
        if self.where:
            select.set("where", exp.Where(this=conjunction(self.where)))
        if self.group:
            select.set("group", exp.Group(expressions=list(self.group)))
        if limit.by:
            select.set("order", exp.Order(expressions=[key.ordered() for key in limit.by]))
        if limit.count is not None:
            select.set("limit", exp.Limit(expression=exp.Literal.number(limit.count)))
        if limit.offset:
            select.set("offset", exp.Offset(expression=exp.Literal.number(limit.offset)))
        return select


def conjunction(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """All of them; balanced, as a long chain would be nested too deeply."""
    items = list(conditions)
    while len(items) > 1:
        pairs = [items[n : n + 2] for n in range(0, len(items), 2)]
        items = [exp.Paren(this=exp.And(this=p[0], expression=p[1])) if len(p) > 1 else p[0] for p in pairs]
    return items[0]


def _number(name: str) -> int:
    return int(name[1:])


class Columns(Mapping[str, Value]):
    """The columns of a relation as the mapping that functions see."""

    def __init__(self, relation: Relation) -> None:
        self._relation = relation

    def __getitem__(self, name: str) -> Value:
        column = self._relation.find(name)
        if column is None:
            raise KeyError(name)
        return column.value

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in self._relation.listed())

    def __len__(self) -> int:
        return len(self._relation.listed())


class Empty(Relation):
    """One row without columns, as `print` and `let` have it."""

    def find(self, name: str) -> RelationColumn | None:
        return None

    def listed(self) -> list[RelationColumn]:
        return []

    def has(self, name: str) -> bool:
        return False

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        return exp.Select(expressions=[nothing()])


class Ids:
    """Hands out the identifiers of one query."""

    def __init__(self) -> None:
        self._last = 0

    def fresh(self) -> exp.Expr:
        self._last += 1
        return reference(f"c{self._last}")

    def column(self, name: str, kind: Type, *, types: tuple[str, ...] = ()) -> RelationColumn:
        """Return a new column, not yet defined."""
        return RelationColumn(name, Value(kind, self.fresh()), types)
