"""Tabular operators: each takes a relation and gives the next one."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import walk
from tailrace.query.compile import aggregate, combine, expand, texts
from tailrace.query.compile.columns import (
    add_definition,
    check_known,
    default_name,
    define,
    distinct_name,
    everything,
    first_rows,
    matcher,
    name_of,
    names_in,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.inline import inline
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.redact import redact
from tailrace.query.compile.relation import Column, Empty, Key, Layer, Relation
from tailrace.query.functions.math import MAX_CONSTANT_RANGE
from tailrace.query.values import (
    DATETIME,
    NS_PER_US,
    REAL,
    TYPE_NAMES,
    Type,
    Value,
    as_bool,
    case,
    cast,
    coalesce,
    fn,
    number_node,
    one_of,
    order_keys,
    text_node,
    unified,
)

ALWAYS_TRUE = "where clause always evaluates to TRUE, which will include all data"
MAX_TAKE = 2**53
MAX_KEYS = 32  # of an order, those that only break ties included


def apply(compiler: Compiler, relation: Relation, operator: tree.Operator) -> Relation:
    """Raise AplError."""
    return _OPERATORS[type(operator)](compiler, relation, operator)


def from_source(compiler: Compiler, source: tree.Source) -> Relation:
    if isinstance(source, tree.Print):
        return _print(compiler, source)
    if isinstance(source, tree.Datatable):
        return _datatable(compiler, source)
    if isinstance(source, tree.Range):
        return _range(compiler, source)
    if isinstance(source, tree.Union):
        return combine.union(compiler, None, source)
    assert isinstance(source, tree.Search)
    return texts.search_source(compiler, source)


def united(compiler: Compiler, members: Sequence[tuple[str, Relation]], source_column: str | None) -> Relation:
    return combine.united(compiler, members, source_column)


# Rows


def where(compiler: Compiler, relation: Relation, operator: tree.Where) -> Relation:
    expressions = Expressions(compiler, relation)
    found = expressions.value(operator.predicate)
    if found.constant is True:
        compiler.warn(message_code(ALWAYS_TRUE), ALWAYS_TRUE)
        return expressions.relation
    condition = expressions.condition(found, operator.predicate)
    if _narrow(expressions, operator.predicate):
        return expressions.relation
    compiler.notes.filtered = True
    return filtered(expressions.relation, condition)


def filtered(relation: Relation, condition: exp.Expr) -> Layer:
    layer = relation if isinstance(relation, Layer) and relation.is_plain else Layer(relation)
    layer.where.append(condition)
    return layer


def _narrow(expressions: Expressions, predicate: tree.Expression) -> bool:
    """Conditions on the time, all of which must hold, say which files matter; tells whether there are no others."""
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
    """Microseconds since 1970, of what is the same for every row."""
    if not _is_fixed(expressions.compiler, node):
        return None
    found = expressions.value(node)
    if found.type is not DATETIME:
        return None
    settled = expressions.compiler.settled(found, Empty())
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
        return aggregate.take_groups(compiler, relation, count)
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
    shuffled = Layer(aggregate.distinct(compiler, relation, tree.Distinct(operator.at, values)))
    shuffled.order = (Key("", add_definition(compiler, shuffled, Value(Type.REAL, fn("random"))), False, False),)
    return first_rows(shuffled, count)


def order(compiler: Compiler, relation: Relation, operator: tree.Order) -> Relation:
    return _sorted(compiler, relation, operator.keys)


def _sorted(compiler: Compiler, relation: Relation, keys: Sequence[tree.Sorted]) -> Layer:
    expressions = Expressions(compiler, relation)
    values = [(key, expressions.operand(key.value)) for key in keys]
    layer = Layer(expressions.relation)
    found = []
    for key, value in values:
        name = name_of(key.value) or ""
        columns = [
            each if isinstance(each.sql, exp.Column) else add_definition(compiler, layer, each)
            for each in order_keys(value)
        ]
        source = relation.find(name)
        computed = source is None or not source.types
        found += [
            Key(name if n == 0 else "", each, key.descending, key.nulls_first, computed=computed)
            for n, each in enumerate(columns)
        ]
    ties = [Key("", each.value, each.descending, each.nulls_first, each.computed) for each in relation.order]
    layer.order = (*found, *ties)[:MAX_KEYS]
    layer.settled = True
    return layer


def top(compiler: Compiler, relation: Relation, operator: tree.Top) -> Relation:
    count = _count_of(compiler, relation, operator.count, "the number of rows")
    return first_rows(_sorted(compiler, relation, operator.keys), count)


# Columns


def extend(compiler: Compiler, relation: Relation, operator: tree.Extend) -> Relation:
    expressions = Expressions(compiler, relation)
    made: list[tuple[str, Value, tree.Named]] = []
    for number, each in enumerate(operator.values, 1):
        new = {name for name, _, _ in made}
        if new and any(name in new and expressions.relation.find(name) is None for name in names_in(each.value)):
            expressions = Expressions(compiler, _extended(compiler, expressions.relation, made))
            made = []
        value = expressions.value(each.value)
        name = each.name or default_name(each.value, number)
        if operator.only_valid:
            value = _valid_or_old(expressions, name, value)
        made.append((name, value, each))
    return _extended(compiler, expressions.relation, made)


def _extended(compiler: Compiler, relation: Relation, made: Sequence[tuple[str, Value, tree.Named]]) -> Layer:
    layer = relation if isinstance(relation, Layer) and relation.is_plain else Layer(relation)
    for name, value, each in made:
        source = relation.find(name_of(each.value) or "") if name_of(each.value) else None
        define(compiler, layer, name, value, source.types if source is not None else ())
    return layer


def _valid_or_old(expressions: Expressions, name: str, value: Value) -> Value:
    """Return the new value where it is valid, else what the column had."""
    column = expressions.relation.find(name)
    old = column.value if column is not None else Value(value.type, exp.null())
    kind, (new, before) = unified([value, old] if column is not None else [value, value])
    if column is None:
        return Value(kind, case((_is_valid(value), new.sql)))
    return Value(kind, case((_is_valid(value), new.sql), otherwise=before.sql))


def _is_valid(value: Value) -> exp.Expr:
    sql = value.sql
    if value.type is TYPE_NAMES["string"]:
        found: exp.Expr = exp.NEQ(this=sql, expression=text_node(""))
    elif value.type is REAL:
        nonzero = exp.NEQ(this=sql, expression=number_node(0))
        found = exp.And(this=fn("isfinite", sql), expression=nonzero)
    elif value.type in (TYPE_NAMES["long"], TYPE_NAMES["timespan"]):
        found = exp.NEQ(this=sql, expression=number_node(0))
    elif value.type is TYPE_NAMES["bool"]:
        found = as_bool(value).sql
    elif value.type is DATETIME:
        found = exp.Not(this=exp.Is(this=sql, expression=exp.null()))
    else:
        blank = one_of(cast(sql, "VARCHAR"), "{}", "[]", '""', "0", "0.0", "false")
        found = exp.Not(this=blank)
    return coalesce(exp.Paren(this=found), exp.false())


def project(compiler: Compiler, relation: Relation, operator: tree.Project) -> Relation:
    expressions = Expressions(compiler, relation)
    made = []
    taken: set[str] = set()
    for number, each in enumerate(operator.values, 1):
        if isinstance(each.value, tree.Star):
            raise AplError("project takes names, no '*'; project-keep takes patterns", each.at)
        value = expressions.value(each.value)
        name = each.name or default_name(each.value, number)
        if name in taken:
            if each.name is not None or name_of(each.value) is not None:
                raise AplError(f"the column {name!r} is there twice", each.at, kind="name")
            name = distinct_name(name, taken)
        taken.add(name)
        made.append((name, value, each))
    layer = Layer(expressions.relation, inherits=False)
    for name, value, each in made:
        source = relation.find(name_of(each.value) or "") if name_of(each.value) else None
        define(compiler, layer, name, value, source.types if source is not None else ())
    return layer


def project_away(compiler: Compiler, relation: Relation, operator: tree.ProjectAway) -> Relation:
    for pattern in operator.columns:
        check_known(relation, pattern)
    drops = matcher(operator.columns)
    layer = Layer(relation)
    layer.keeps = lambda name: not drops(name)
    return layer


def project_keep(compiler: Compiler, relation: Relation, operator: tree.ProjectKeep) -> Relation:
    for pattern in operator.columns:
        check_known(relation, pattern)
    layer = Layer(relation)
    layer.keeps = matcher(operator.columns)
    listed = {column.name for column in relation.listed()}
    for pattern in operator.columns:
        # One that only `_rest` has is asked for by its name.
        column = relation.find(pattern.text) if pattern.is_name and pattern.text not in listed else None
        if column is not None:
            layer.show(column)
    return layer


def project_rename(compiler: Compiler, relation: Relation, operator: tree.ProjectRename) -> Relation:
    layer = Layer(relation)
    expressions = Expressions(compiler, relation)
    listed = {column.name for column in relation.listed()}
    for each in operator.values:
        old = name_of(each.value)
        if old is None or each.name is None:
            raise AplError("project-rename takes new = old, where old is a column", each.at)
        column = relation.find(old)
        if column is None:
            column = Column(old, expressions.unknown(old, each.value.at))
            define(compiler, layer, each.name, column.value)
            continue
        renamed = column.renamed(each.name)
        layer.removed.add(old)
        layer.show(renamed)
        if old in listed:
            layer.renames[old] = renamed
    return layer


def project_reorder(compiler: Compiler, relation: Relation, operator: tree.ProjectReorder) -> Relation:
    for each in operator.columns:
        check_known(relation, each.column)

    def arranged(columns: list[Column]) -> list[Column]:
        left = list(columns)
        first: list[Column] = []
        for each in operator.columns:
            fits = matcher([each.column])
            found = [column for column in left if fits(column.name)]
            if each.order:
                natural = each.order.startswith("granny")
                found.sort(
                    key=lambda column: _natural(column.name) if natural else [(0, 0, column.name)],
                    reverse=each.order.endswith("desc"),
                )
            first += found
            left = [column for column in left if not fits(column.name)]
        return first + left

    layer = Layer(relation)
    for column in _unlisted(relation, [each.column for each in operator.columns]):
        layer.show(column)
    layer.arrange = arranged
    layer.reordered = True
    return layer


def _unlisted(relation: Relation, patterns: Sequence[tree.Pattern]) -> list[Column]:
    """Return the fields without a column that patterns mean; where not all are known, those that are named alone."""
    fits, names = matcher(patterns), relation.unlisted()
    if names is None:
        shown = {column.name for column in relation.listed()}
        names = [pattern.text for pattern in patterns if pattern.is_name and pattern.text not in shown]
    found = (relation.find(name) for name in sorted(names, key=str.encode) if fits(name))
    return [column for column in found if column is not None]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """So that a2 comes before a10."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for c in name + "\0":
        if c.isascii() and c.isdigit():
            digits += c
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        if c != "\0":
            parts.append((1, 0, c))
    return parts


def getschema(compiler: Compiler, relation: Relation, operator: tree.Getschema) -> Relation:
    columns = everything(compiler, relation, most=None)
    rows = pa.table(
        {
            "ColumnName": pa.array([column.name for column in columns], pa.string()),
            "ColumnOrdinal": pa.array(range(len(columns)), pa.int64()),
            "ColumnType": pa.array([column.value.type.value for column in columns], pa.string()),
            "DataType": pa.array([_SYSTEM_TYPES[column.value.type] for column in columns], pa.string()),
        }
    )
    kinds = [TYPE_NAMES["string"], TYPE_NAMES["long"], TYPE_NAMES["string"], TYPE_NAMES["string"]]
    return inline(compiler, rows, kinds)


_SYSTEM_TYPES = {
    Type.BOOL: "System.SByte", Type.LONG: "System.Int64", Type.REAL: "System.Double", Type.STRING: "System.String",
    Type.DATETIME: "System.DateTime", Type.TIMESPAN: "System.TimeSpan", Type.DYNAMIC: "System.Object",
    Type.NULL: "System.Object",
}  # fmt: skip


# Sources


def _print(compiler: Compiler, source: tree.Print) -> Relation:
    expressions = Expressions(compiler, Empty())
    values = []
    taken: set[str] = set()
    for number, each in enumerate(source.values):
        name = each.name or f"print_{number}"
        if name in taken:
            raise AplError(f"the column {name!r} is there twice", each.at, kind="name")
        taken.add(name)
        values.append((name, expressions.value(each.value)))
    layer = Layer(expressions.relation, inherits=False)
    for name, value in values:
        define(compiler, layer, name, value)
    return layer


def _datatable(compiler: Compiler, source: tree.Datatable) -> Relation:
    width = len(source.columns)
    names: set[str] = set()
    arrays, kinds = [], []
    for n, column in enumerate(source.columns):
        if column.name in names:
            raise AplError(f"the column {column.name!r} is there twice", column.at, kind="name")
        names.add(column.name)
        kind = TYPE_NAMES[column.type]
        kinds.append(kind)
        arrays.append(texts.cells(kind, source.cells[n::width]))
    return inline(compiler, pa.table(arrays, names=[column.name for column in source.columns]), kinds)


def _range(compiler: Compiler, source: tree.Range) -> Relation:
    expressions = Expressions(compiler, Empty())
    nodes = {"the start": source.start, "the end": source.stop, "the step": source.step}
    start, stop, step = (expressions.constant(node, f"{what} of range") for what, node in nodes.items())
    kind, cells = _steps(start, stop, step, source.at)
    return inline(compiler, pa.table([cells], names=[source.name]), [kind])


def _steps(start: Value, stop: Value, step: Value, at: int) -> tuple[Type, pa.Array]:
    kinds = (start.type, stop.type, step.type)
    first, last, by = start.constant, stop.constant, step.constant
    if None in (first, last, by) or (Type.REAL in kinds and not all(map(math.isfinite, (first, last, by)))):
        raise AplError("range goes from, to and by numbers or times that are there", at, kind="type")
    if kinds == (Type.DATETIME, Type.DATETIME, Type.TIMESPAN):
        by //= NS_PER_US
    elif kinds != (Type.TIMESPAN,) * 3 and not {*kinds} <= {Type.LONG, Type.REAL}:
        raise AplError(
            f"range goes from a number to a number by a number, or from a time to a time by a timespan; met "
            f"{kinds[0].value}, {kinds[1].value} and {kinds[2].value}", at, kind="type"
        )  # fmt: skip
    if not by:
        raise AplError("the step of range is 0" if kinds[0] is not Type.DATETIME else
                       "the step of range is shorter than a microsecond", at, kind="type")  # fmt: skip
    steps = (last - first) / by if Type.REAL in kinds else (last - first) // by
    if steps >= MAX_CONSTANT_RANGE:
        raise AplError(f"range makes more than {MAX_CONSTANT_RANGE} rows, the limit", at, kind="limit")
    cells = [first + n * by for n in range(math.floor(max(steps, -1)) + 1)]
    if kinds[0] is Type.DATETIME:
        return Type.DATETIME, pa.array(cells, pa.timestamp("us", "UTC"))
    if Type.REAL in kinds:
        return Type.REAL, pa.array(map(float, cells), pa.float64())
    return kinds[0], pa.array(cells, pa.int64())


_OPERATORS: dict[type, Callable[[Compiler, Relation, Any], Relation]] = {
    tree.Count: aggregate.count,
    tree.Distinct: aggregate.distinct,
    tree.Extend: extend,
    tree.Getschema: getschema,
    tree.Join: combine.join,
    tree.MakeSeries: aggregate.make_series,
    tree.MvExpand: expand.mv_expand,
    tree.Order: order,
    tree.Parse: texts.parse,
    tree.ParseKv: texts.parse_kv,
    tree.Project: project,
    tree.ProjectAway: project_away,
    tree.ProjectKeep: project_keep,
    tree.ProjectRename: project_rename,
    tree.ProjectReorder: project_reorder,
    tree.Redact: redact,
    tree.Sample: sample,
    tree.SampleDistinct: sample_distinct,
    tree.Search: texts.search,
    tree.Summarize: aggregate.summarize,
    tree.Take: take,
    tree.Top: top,
    tree.Union: combine.union,
    tree.Where: where,
}
"""Compiles each operator."""
