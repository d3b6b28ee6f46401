"""join and lookup: rows of two relations whose keys are equal."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import transform
from tailrace.query.compile.columns import define, everything, name_of
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.equality import comparable
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import (
    Emitter,
    Key,
    Layer,
    Relation,
    RelationColumn,
    identifier,
    nothing,
    reference,
    references,
)
from tailrace.query.values import (
    Value,
    as_dynamic,
    number_node,
)

_SIDES = {
    "inner": "INNER", "innerunique": "INNER", "leftouter": "LEFT", "rightouter": "RIGHT", "fullouter": "FULL",
    "leftanti": "ANTI", "leftantisemi": "ANTI", "anti": "ANTI", "rightanti": "ANTI", "rightantisemi": "ANTI",
    "leftsemi": "SEMI", "rightsemi": "SEMI",
}  # fmt: skip


class Joined(Relation):
    """Rows of the left side with those of the right that fit; the right's columns come last, under distinct names."""

    def __init__(
        self,
        left: Relation,
        right: Relation,
        kind: str,
        on: Sequence[tuple[exp.Expr, exp.Expr]],
        hidden: set[str],
        sides: tuple[Relation, Relation],
    ) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.sides = sides  # of whose rows left and right are made, of those with the same keys by themselves
        self.keys = [key for key, _ in on], [key for _, key in on]  # of both sides, columns of one type each
        self.events = left.events
        self.settled = left.settled
        self.limited = left.limited
        self.time = left.time
        self.order: tuple[Key, ...] = left.order
        self._kind = kind
        self._on: list[exp.Expr] = [exp.EQ(this=key, expression=other) for key, other in on]
        self._hidden = hidden  # columns of the right that are the same as the left's
        self._only_left = kind in ("ANTI", "SEMI")

    @property
    def only_matching(self) -> tuple[bool, bool]:
        """Whether rows of the left, and of the right, matter only where they have equal ones on the other side."""
        return self._kind in ("INNER", "SEMI", "RIGHT"), self._kind in ("INNER", "SEMI", "LEFT", "ANTI")

    def find(self, name: str) -> RelationColumn | None:
        column = self.left.find(name)
        if column is not None or self._only_left:
            return column
        if name.endswith("1") and name[:-1] not in self._hidden and self.left.find(name[:-1]) is not None:
            twin = self.right.find(name[:-1])
            if twin is not None:
                return twin.renamed(name)
        if name in self._hidden:
            return None
        return self.right.find(name)

    def listed(self) -> list[RelationColumn]:
        columns = self.left.listed()
        if self._only_left:
            return columns
        taken = {column.name for column in columns}
        for column in self.right.listed():
            if column.name in self._hidden:
                continue
            name = column.name
            while name in taken:
                name += "1"
            taken.add(name)
            columns.append(column if name == column.name else column.renamed(name))
        return columns

    def has(self, name: str) -> bool:
        return self.left.has(name) or (not self._only_left and self.right.has(name))

    @property
    def rest(self) -> RelationColumn | None:
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

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
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
    keys: list[tuple[exp.Expr, exp.Expr]] = []
    for left, other in pairs:
        a, b = comparable(left, other)
        keys.append((_as_column(compiler, left_layer, a), _as_column(compiler, right_layer, b)))
    right_rows: Relation = right_layer
    if kind == "innerunique":
        right_rows = _first_of_each(compiler, right_layer, [key for _, key in keys])
    side = _SIDES[kind]
    joined = Joined(left_layer, right_rows, side, keys, same, (left_layer, right_layer))
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


def _in_places(names: Sequence[str]) -> Callable[[list[RelationColumn]], list[RelationColumn]]:
    places = {name: n for n, name in enumerate(names)}
    return lambda columns: sorted(columns, key=lambda column: places.get(column.name, len(places)))


def _as_column(compiler: Compiler, layer: Layer, node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Column):
        return node
    target = compiler.ids.fresh()
    layer.defines[identifier(target)] = node
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
    numbered.defines[identifier(target)] = window
    first = Layer(numbered)
    first.where.append(exp.EQ(this=target, expression=number_node(1)))
    return first
