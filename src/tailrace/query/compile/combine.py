"""Operators that bring several relations together: join, lookup, union."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import transform
from tailrace.query.compile.columns import define, everything, name_of
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions, comparable
from tailrace.query.compile.relation import (
    Column,
    Definition,
    Emitter,
    Key,
    Layer,
    Reading,
    Relation,
    RenderedQuery,
    identifier,
    named,
    nothing,
    reference,
    references,
)
from tailrace.query.values import (
    DUCKDB_TYPES,
    DYNAMIC,
    NULL,
    STRING,
    Value,
    as_dynamic,
    choose_parts,
    fn,
    null_node,
    number_node,
    text_node,
)

_SIDES = {
    "inner": "INNER", "innerunique": "INNER", "leftouter": "LEFT", "rightouter": "RIGHT", "fullouter": "FULL",
    "leftanti": "ANTI", "leftantisemi": "ANTI", "anti": "ANTI", "rightanti": "ANTI", "rightantisemi": "ANTI",
    "leftsemi": "SEMI", "rightsemi": "SEMI",
}  # fmt: skip


LAST_TIMES = 1_000  # that are looked for where it is not known yet how many rows an answer has


class Joined(Relation):
    """Rows of the left side with those of the right that fit; the right's columns come last, under distinct names."""

    def __init__(self, left: Relation, right: Relation, kind: str, on: Sequence[exp.Expr], hidden: set[str]) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.events = left.events
        self.settled = left.settled
        self.limited = left.limited
        self.time = left.time
        self.order: tuple[Key, ...] = left.order
        self._kind = kind
        self._on = list(on)
        self._hidden = hidden  # columns of the right that are the same as the left's
        self._only_left = kind in ("ANTI", "SEMI")

    def find(self, name: str) -> Column | None:
        found = self.left.find(name)
        if found is not None or self._only_left:
            return found
        if name.endswith("1") and name[:-1] not in self._hidden and self.left.find(name[:-1]) is not None:
            twin = self.right.find(name[:-1])
            if twin is not None:
                return twin.renamed(name)
        if name in self._hidden:
            return None
        return self.right.find(name)

    def listed(self) -> list[Column]:
        found = self.left.listed()
        if self._only_left:
            return found
        taken = {column.name for column in found}
        for column in self.right.listed():
            if column.name in self._hidden:
                continue
            name = column.name
            while name in taken:
                name += "1"
            taken.add(name)
            found.append(column if name == column.name else column.renamed(name))
        return found

    def has(self, name: str) -> bool:
        return self.left.has(name) or (not self._only_left and self.right.has(name))

    @property
    def rest(self) -> Column | None:
        return self.left.rest

    @property
    def is_open(self) -> bool:
        return self.left.is_open or (not self._only_left and self.right.is_open)

    def unlisted(self) -> list[str] | None:
        return self.left.unlisted()

    def hides(self, name: str) -> bool:
        return self.left.hides(name)

    def known(self) -> list[str]:
        return self.left.known() if self._only_left else [*self.left.known(), *self.right.known()]

    def emit(self, needed: set[str], out: Emitter) -> exp.Query:
        all_needed = needed | references(self._on)
        lefts = {name for name in all_needed if self.left.has(name)}
        left = out.table(self.left.emit(lefts, out))
        right = out.table(self.right.emit(all_needed - lefts, out))
        cells: list[exp.Expr] = [reference(name) for name in sorted(needed)]
        cells = cells or [nothing()]
        on = self._on[0]
        for condition in self._on[1:]:
            on = exp.And(this=on, expression=condition)
        join = exp.Join(this=right, on=on, **_side(self._kind))
        return exp.Select(expressions=cells, from_=exp.From(this=left), joins=[join])


def _side(kind: str) -> dict[str, str]:
    return {"side": kind, "kind": "OUTER"} if kind in ("LEFT", "RIGHT", "FULL") else {"kind": kind}


def join(compiler: Compiler, relation: Relation, operator: tree.Join) -> Relation:
    right = compiler.inner().source(operator.right)
    kind = operator.kind
    if kind in ("rightanti", "rightantisemi", "rightsemi"):
        mirrored = tuple(_mirrored(condition) for condition in operator.on)
        return _join(compiler, right, relation, kind, mirrored)
    return _join(compiler, relation, right, kind, operator.on, lookup=operator.lookup)


def _join(
    compiler: Compiler, relation: Relation, right: Relation, kind: str, on: Sequence[tree.Expression], *,
    lookup: bool = False,
) -> Relation:  # fmt: skip
    left_side = Expressions(compiler, relation)
    right_side = Expressions(compiler, right)
    pairs: list[tuple[Value, Value]] = []
    same: set[str] = set()
    shared: list[tuple[str, Value, Value]] = []
    for condition in on:
        left_node, right_node = _sides_of(condition)
        left, other = left_side.value(left_node), right_side.value(right_node)
        pairs.append((left, other))
        name = name_of(right_node)
        if name is not None and (name == name_of(left_node) or lookup):
            same.add(name)
            if name == name_of(left_node):
                shared.append((name, left, other))
    left_layer, right_layer = Layer(left_side.relation), Layer(right_side.relation)
    if _SIDES[kind] not in ("ANTI", "SEMI"):
        # Fields without columns become some, so that each side keeps its own.
        for layer, side_ in ((left_layer, relation), (right_layer, right)):
            for column in everything(compiler, side_):
                layer.show(column)
    conditions: list[exp.Expr] = []
    keys: list[exp.Expr] = []
    for left, other in pairs:
        a, b = comparable(left, other)
        a = _as_column(compiler, left_layer, a)
        b = _as_column(compiler, right_layer, b)
        keys.append(b)
        conditions.append(exp.EQ(this=a, expression=b))
    right_rows: Relation = right_layer
    if kind == "innerunique":
        right_rows = _first_of_each(compiler, right_layer, keys)
    side = _SIDES[kind]
    joined = Joined(left_layer, right_rows, side, conditions, same)
    if side not in ("RIGHT", "FULL"):
        return joined
    # Where the left has no row, the right's key is the key.
    result = Layer(joined)
    result.order = ()
    for name, left, other in shared:
        own, others = (as_dynamic(left), as_dynamic(other)) if left.type is not other.type else (left, other)
        define(compiler, result, name, Value(own.type, exp.Coalesce(this=own.sql, expressions=[others.sql])))
    result.arrange = _in_places([column.name for column in joined.listed()])
    return result


def _in_places(names: Sequence[str]) -> Callable[[list[Column]], list[Column]]:
    places = {name: n for n, name in enumerate(names)}
    return lambda columns: sorted(columns, key=lambda column: places.get(column.name, len(places)))


def _as_column(compiler: Compiler, layer: Layer, node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Column):
        return node
    target = compiler.ids.fresh()
    layer.defines[target.args["this"].args["this"]] = node
    return target


def _sides_of(condition: tree.Expression) -> tuple[tree.Expression, tree.Expression]:
    """Return what is compared on the left and on the right."""
    if isinstance(condition, tree.Binary) and condition.operator == "and":
        raise AplError("conditions of a join are separated by ',', not by and", condition.at)
    if isinstance(condition, tree.Binary) and condition.operator == "==":
        left, right = condition.left, condition.right
        if _side_named(left) == "$right" or _side_named(right) == "$left":
            left, right = right, left
        return transform(left, _unsided), transform(right, _unsided)
    if name_of(condition) is not None:
        return condition, condition
    raise AplError(
        "a condition of a join is a column, or an equality such as a == b or $left.a == $right.b", condition.at
    )


def _mirrored(condition: tree.Expression) -> tree.Expression:
    left, right = _sides_of(condition)
    return tree.Binary(condition.at, "==", right, left)


def _side_named(node: tree.Expression) -> str | None:
    while isinstance(node, (tree.Member, tree.Index)):
        node = node.of
    return node.name if isinstance(node, tree.Name) and node.name in ("$left", "$right") else None


def _unsided(node: tree.Expression) -> tree.Expression | None:
    """Return a field without `$left.` or `$right.`, None for what may have such a field inside."""
    if isinstance(node, tree.Member) and isinstance(node.of, tree.Name) and node.of.name in ("$left", "$right"):
        return tree.Name(node.at, node.key, quoted=node.bracketed)
    return None if isinstance(node, (tree.Member, tree.Index, tree.Call, tree.Binary, tree.Unary)) else node


def _first_of_each(compiler: Compiler, relation: Layer, keys: Sequence[exp.Expr]) -> Relation:
    numbered = Layer(relation)
    target = compiler.ids.fresh()
    order = exp.Order(expressions=[key.ordered() for key in relation.order]) if relation.order else None
    window = exp.Window(this=exp.Anonymous(this="row_number"), partition_by=list(keys), order=order)
    numbered.defines[target.args["this"].args["this"]] = window
    first = Layer(numbered)
    first.where.append(exp.EQ(this=target, expression=number_node(1)))
    return first


# Union


class Found(Struct, frozen=True, eq=False):
    """The rows of one relation of several: how many, and the times of the last of them, where they have times."""

    rows: int
    last_us: NDArray[np.int64]  # in no order


class United(Relation):
    """The rows of several relations, their columns brought together by name.

    With `only_occupied` those of relations without rows are left out, once it matters which columns there are.
    """

    def __init__(
        self,
        compiler: Compiler,
        members: Sequence[tuple[str, Relation]],
        source_column: str | None,
        *,
        only_occupied: bool = False,
    ) -> None:
        super().__init__()
        self._compiler = compiler
        self._members = [relation for _, relation in members]
        self._names = [name for name, _ in members]
        self._only_occupied = only_occupied
        self.found: Mapping[int, Found] | None = None  # by number, once that was asked for `only_occupied`
        self._made: dict[str, Column | None] = {}
        self._values: dict[str, list[Definition]] = {}  # of an identifier, one of each member
        self._source_column = source_column
        self.events = any(relation.events for relation in self._members)
        if source_column is not None:
            column = compiler.ids.column(source_column, STRING)
            self._made[source_column] = column
            self._values[column.id] = [text_node(name) for name in self._names]
        self._number = compiler.ids.fresh()
        self._values[identifier(self._number)] = [number_node(n) for n in range(len(members))]
        times = [relation.time for relation in self._members]
        if self.events and all(times):
            self.time = self._from("", [column.value for column in times if column is not None])
            self.order = (Key("_time", self.time.value, True, False),)
        rests = [relation.rest for relation in self._members]
        self._rest: Column | None = None
        if any(rests):
            self._rest = compiler.ids.column("_rest", DYNAMIC)
            self._values[self._rest.id] = [null_node("JSON") if each is None else each.value.sql for each in rests]

    @property
    def members(self) -> Sequence[Relation]:
        """The relations."""
        return self._members

    @property
    def number(self) -> exp.Expr:
        """A reference to the number of the relation that a row is of."""
        return self._number

    def of_members(self, reference: exp.Expr) -> list[Definition]:
        """Return what a reference means in each of the relations."""
        return self._values[identifier(reference)]

    def _settle(self) -> None:
        """Leave out the relations without rows."""
        if not self._only_occupied:
            return
        self._only_occupied = False
        answer = self._compiler.evaluated(tally(self, self._number, LAST_TIMES))
        if answer is None:
            return
        found = tallied(answer)
        there = sorted(found) or [0]
        self.found = {n: found[number] for n, number in enumerate(there) if number in found}
        self._members = [self._members[number] for number in there]
        self._names = [self._names[number] for number in there]
        self._values = {name: [values[number] for number in there] for name, values in self._values.items()}
        self._values[identifier(self._number)] = [number_node(n) for n in range(len(there))]
        if self._rest is not None and all(map(_is_absent, self._values[self._rest.id])):
            self._rest = None

    def find(self, name: str) -> Column | None:
        if name not in self._made:
            self._settle()
            found = [relation.find(name) if relation.may_find(name) else None for relation in self._members]
            self._made[name] = None
            if any(found):
                values = [column.value if column is not None else Value(NULL, exp.null()) for column in found]
                types = sorted({kind for column in found if column is not None for kind in column.types})
                column = self._from(name, values)
                self._made[name] = Column(name, column.value, tuple(types))
        return self._made[name]

    def _from(self, name: str, values: Sequence[Value]) -> Column:
        kinds = {value.type for value in values} - {NULL}
        ids = self._compiler.ids
        if len(kinds) == 1 and DYNAMIC not in kinds:
            [kind] = kinds
            column = ids.column(name, kind)
            null = null_node(DUCKDB_TYPES[kind])
            self._values[column.id] = [null if value.type is NULL else value.sql for value in values]
            return column
        whole = ids.fresh()
        self._values[identifier(whole)] = [
            null_node("JSON") if value.type is NULL else as_dynamic(value).sql for value in values
        ]

        def chosen(found: Sequence[exp.Expr]) -> exp.Expr:
            target = ids.fresh()
            self._values[identifier(target)] = list(found)
            return target

        return Column(name, choose_parts(values, chosen, whole))

    def listed(self) -> list[Column]:
        self._settle()
        names = dict.fromkeys(column.name for relation in self._members for column in relation.listed())
        if self._source_column is not None:
            names = {self._source_column: None, **names}
        return [column for column in map(self.find, names) if column is not None]

    def known(self) -> list[str]:
        return list(dict.fromkeys(name for relation in self._members for name in relation.known()))

    def has(self, name: str) -> bool:
        return name in self._values

    @property
    def is_open(self) -> bool:
        return any(relation.is_open for relation in self._members)

    @property
    def rest(self) -> Column | None:
        self._settle()
        return self._rest

    def unlisted(self) -> list[str] | None:
        found: dict[str, None] = {}
        listed = {column.name for column in self.listed()}
        for relation in self._members:
            names = relation.unlisted()
            if names is None:
                return None
            found.update(dict.fromkeys(name for name in names if name not in listed))
        return list(found)

    def hides(self, name: str) -> bool:
        return all(relation.hides(name) for relation in self._members)

    def emit(self, needed: set[str], out: Emitter) -> exp.Query:
        selects: list[exp.Query] = []
        given: set[str] = set()
        read = out.reading.members.get(self)
        numbers = [n for n in range(len(self._members)) if read is None or n in read] or [0]
        for n in numbers:
            relation = self._members[n]
            parts = {name: self._values[name][n] for name in sorted(needed)}
            parts = {name: part for name, part in parts.items() if not _is_absent(part)}
            given |= parts.keys()
            rows = out.table(relation.emit(references(parts.values()), out))
            cells = [named(part, name, out) for name, part in parts.items()]
            selects.append(exp.Select(expressions=cells or [nothing()], from_=exp.From(this=rows)))
        absent = [named(self._values[name][numbers[0]], name, out) for name in sorted(needed - given)]
        selects[0].set("expressions", [*selects[0].args["expressions"], *absent])
        # By name, as many datasets have few columns in common.
        union = selects[0]
        for select in selects[1:]:
            union = exp.Union(this=union, expression=select, distinct=False, by_name=True)
        return union


def _is_absent(part: Definition) -> bool:
    return isinstance(part, exp.Cast) and isinstance(part.this, exp.Null)


def union(compiler: Compiler, relation: Relation | None, operator: tree.Union) -> Relation:
    members: list[tuple[str, Relation]] = [] if relation is None else [("union_arg0", relation)]
    for number, table in enumerate(map(compiler.resolved, operator.tables), len(members)):
        if isinstance(table, tree.Table):
            members += compiler.inner().tables(table.pattern)
        else:
            members.append((f"union_arg{number}", compiler.inner().source(table)))
    found: Relation = united(compiler, members, operator.source_column)
    if operator.inner:
        common = set.intersection(*({column.name for column in member.listed()} for _, member in members))
        layer = Layer(found)
        layer.keeps = lambda name: name in common or name == operator.source_column
        found = layer
    return found


def united(
    compiler: Compiler,
    members: Sequence[tuple[str, Relation]],
    source_column: str | None,
    *,
    only_occupied: bool = False,
) -> Relation:
    return United(compiler, members, source_column, only_occupied=only_occupied)


def tally(
    relation: Relation, number: exp.Expr, count: int, *, descending: bool = True, reading: Reading | None = None
) -> RenderedQuery:
    """Return the query for how many rows each number has, and the times of its first `count` in the order of time."""
    cells = {"n": number, "rows": exp.Count(this=exp.Star())}
    if relation.time is not None:
        last = "max" if descending else "min"
        cells["times"] = fn(last, fn("epoch_us", relation.time.value.sql), number_node(count))
    out = Emitter(reading or Reading())
    rows = out.table(relation.emit(references([number, *cells.values()]), out))
    named_cells = [exp.Alias(this=cell, alias=exp.to_identifier(name)) for name, cell in cells.items()]
    query = exp.Select(expressions=named_cells, from_=exp.From(this=rows), group=exp.Group(expressions=[number]))
    return out.finished(query)


def tallied(answer: pa.Table) -> dict[int, Found]:
    """Return what the answer to a `tally` says, by number."""
    # Never as Python's numbers: there may be as many times of each relation as an answer may have rows.
    times = [np.zeros(0, np.int64)] * answer.num_rows
    if "times" in answer.column_names:
        times = [cell.values.to_numpy() for cell in answer["times"]]
    rows = zip(answer["n"].to_pylist(), answer["rows"].to_pylist(), times, strict=True)
    return {n: Found(count, last_us) for n, count, last_us in rows}
