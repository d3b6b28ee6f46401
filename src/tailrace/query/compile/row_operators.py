"""Operators that choose or sort rows: where, take, top, order, sample."""

from collections.abc import Sequence
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import walk
from tailrace.query.compile.columns import (
    add_definition,
    first_rows,
    name_of,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.relation import Empty, Key, Layer, Relation
from tailrace.query.compile.summarize import distinct, take_groups
from tailrace.query.values import (
    DATETIME,
    Type,
    Value,
    fn,
    number_node,
    order_keys,
)

ALWAYS_TRUE = "where clause always evaluates to TRUE, which will include all data"
MAX_TAKE = 2**53
MAX_KEYS = 32  # of an order, those that only break ties included


def where(compiler: Compiler, relation: Relation, operator: tree.Where) -> Relation:
    expressions = Expressions(compiler, relation)
    predicate = expressions.value(operator.predicate)
    if predicate.constant is True:
        compiler.warn(message_code(ALWAYS_TRUE), ALWAYS_TRUE)
        return expressions.relation
    condition = expressions.condition(predicate, operator.predicate)
    if _narrow(expressions, operator.predicate):
        return expressions.relation
    compiler.notes.filtered = True
    return filtered(expressions.relation, condition)


def filtered(relation: Relation, condition: exp.Expr) -> Layer:
    layer = relation if isinstance(relation, Layer) and relation.is_plain else Layer(relation)
    layer.where.append(condition)
    return layer


def _narrow(expressions: Expressions, predicate: tree.Expression) -> bool:
    """Narrow the scan by the conditions on the time, all of which must hold; return whether there are no others."""
    scan: Any = expressions.relation.scan
    if scan is None:
        return False
    dataset: Dataset = scan
    only_times = True
    stack: list[tree.Expression] = [predicate]
    while stack:
        node = stack.pop()
        if isinstance(node, tree.Binary) and node.operator == "and":
            stack += [node.left, node.right]
        elif isinstance(node, tree.Between) and not node.negated and _is_time(expressions, dataset, node.of):
            low, high = _time_constant(expressions, node.low), _time_constant(expressions, node.high)
            dataset.narrow(low, None if high is None else high + 1)
            only_times = only_times and low is not None and high is not None
        elif isinstance(node, tree.Binary) and node.operator in _MIRRORED:
            operator, left, right = node.operator, node.left, node.right
            if _is_time(expressions, dataset, right):
                operator, left, right = _MIRRORED[operator], right, left
            bound = _time_constant(expressions, right) if _is_time(expressions, dataset, left) else None
            if bound is None:
                only_times = False
                continue
            start = {">": bound + 1, ">=": bound, "==": bound}.get(operator)
            end = {"<": bound, "<=": bound + 1, "==": bound + 1}.get(operator)
            dataset.narrow(start, end)
        else:
            only_times = False
    return only_times


_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "=="}


def _is_time(expressions: Expressions, dataset: Dataset, node: tree.Expression) -> bool:
    if not isinstance(node, tree.Name):
        return False
    column = expressions.relation.find(node.name)
    return column is not None and dataset.time is not None and column.value.sql is dataset.time.value.sql


def _time_constant(expressions: Expressions, node: tree.Expression) -> int | None:
    """Return microseconds since 1970, of what is the same for every row."""
    if not _is_fixed(expressions.compiler, node):
        return None
    value = expressions.value(node)
    if value.type is not DATETIME:
        return None
    settled = expressions.compiler.settled(value, Empty())
    return settled.constant if isinstance(settled.constant, int) else None


def _is_fixed(compiler: Compiler, node: tree.Expression) -> bool:
    """Whether it is made of literals and of values that `let` names."""

    def is_fixed(inner: tree.Node) -> bool:
        if isinstance(inner, tree.Name):
            return isinstance(compiler.scalar(inner.name), Value)
        return isinstance(inner, (tree.Call, tree.Binary, tree.Unary, tree.Constant))

    return all(map(is_fixed, walk(node)))


def take(compiler: Compiler, relation: Relation, operator: tree.Take) -> Relation:
    count = _count_of(compiler, relation, operator.count, "the number of rows")
    if isinstance(relation, Layer) and relation.grouped:
        return take_groups(compiler, relation, count)
    return first_rows(relation, count)


def _count_of(compiler: Compiler, relation: Relation, node: tree.Expression, what: str) -> int:
    return Expressions(compiler, Empty()).whole_number(node, what, most=MAX_TAKE)


def sample(compiler: Compiler, relation: Relation, operator: tree.Sample) -> Relation:
    share = Expressions(compiler, Empty()).constant(operator.share, "the share of rows").constant
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise AplError("sample takes the share of rows, a number between 0 and 1, such as 0.1", operator.share.at)
    compiler.notes.filtered = True
    layer = Layer(relation)
    layer.where.append(exp.LT(this=fn("random"), expression=number_node(float(share))))
    layer.scan = None
    return layer


def sample_distinct(compiler: Compiler, relation: Relation, operator: tree.SampleDistinct) -> Relation:
    count = _count_of(compiler, relation, operator.count, "the number of rows")
    values = operator.values or (tree.Named(operator.at, None, tree.Star(operator.at)),)
    shuffled = Layer(distinct(compiler, relation, tree.Distinct(operator.at, values)))
    shuffled.order = (Key("", add_definition(compiler, shuffled, Value(Type.REAL, fn("random"))), False, False),)
    return first_rows(shuffled, count)


def order(compiler: Compiler, relation: Relation, operator: tree.Order) -> Relation:
    return _sorted(compiler, relation, operator.keys)


def _sorted(compiler: Compiler, relation: Relation, keys: Sequence[tree.Sorted]) -> Layer:
    expressions = Expressions(compiler, relation)
    values = [(key, expressions.operand(key.value)) for key in keys]
    layer = Layer(expressions.relation)
    sort_keys = []
    for key, value in values:
        name = name_of(key.value) or ""
        columns = [
            column if isinstance(column.sql, exp.Column) else add_definition(compiler, layer, column)
            for column in order_keys(value)
        ]
        source = relation.find(name)
        computed = source is None or not source.types
        sort_keys += [
            Key(name if n == 0 else "", column, key.descending, key.nulls_first, computed=computed)
            for n, column in enumerate(columns)
        ]
    ties = [Key("", column.value, column.descending, column.nulls_first, column.computed) for column in relation.order]
    layer.order = (*sort_keys, *ties)[:MAX_KEYS]
    layer.settled = True
    return layer


def top(compiler: Compiler, relation: Relation, operator: tree.Top) -> Relation:
    count = _count_of(compiler, relation, operator.count, "the number of rows")
    return first_rows(_sorted(compiler, relation, operator.keys), count)
