"""summarize, count and distinct, and a take of their groups."""

from collections.abc import Iterator, Sequence

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.aggregation_builders import seconds_of, sortable
from tailrace.query.compile.aggregation_calls import (
    AggregateColumn,
    AggregationCalls,
    aggregation_of,
    has_aggregation,
    refuse_nested,
)
from tailrace.query.compile.arg_extremes import extreme_row
from tailrace.query.compile.columns import (
    add_definition,
    default_name,
    define,
    distinct_name,
    everything,
    first_rows,
    key_on,
    name_of,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.groups import Groups, group_by, keys_on, note_matched_rows, whole_groups
from tailrace.query.compile.notes import AggregateNote
from tailrace.query.compile.relation import Key, Layer, Relation, RelationColumn
from tailrace.query.values import (
    DATETIME,
    LONG,
    NUMBERS,
    REAL,
    TIMESPAN,
    Value,
    number_node,
)


def count(compiler: Compiler, relation: Relation, operator: tree.Count) -> Relation:
    groups = Groups(relation)
    column = compiler.ids.column("count", LONG)
    groups.define(column, exp.Count(this=exp.Star()))
    compiler.note_aggregate(column, AggregateNote("count"))
    compiler.note_groups(())
    note_matched_rows(compiler, groups, relation)
    return groups


def distinct(compiler: Compiler, relation: Relation, operator: tree.Distinct) -> Relation:
    expressions = Expressions(compiler, relation)
    columns = []
    taken: set[str] = set()
    for number, item in enumerate(operator.values, 1):
        if isinstance(item.value, tree.Star):
            columns += [(column.name, column.value, column.types) for column in everything(compiler, relation)]
            continue
        name = distinct_name(item.name or default_name(item.value, number), taken)
        value = expressions.value(item.value)
        source = relation.find(name_of(item.value) or "")
        columns.append((name, value, source.types if source is not None else ()))
    columns = [(name, expressions.stored(value), types) for name, value, types in columns]
    groups = Groups(expressions.relation)
    for name, value, types in columns:
        group_by(compiler, groups, name, value, types)
    result = whole_groups(compiler, groups, groups)
    result.order = tuple(key for column in groups.by for key in keys_on(compiler, result, "", column, descending=False))
    compiler.note_groups(())
    return result


def summarize(compiler: Compiler, relation: Relation, operator: tree.Summarize) -> Relation:
    inner = Expressions(compiler, relation, refuse_nested)
    groups = Groups(relation)
    taken: set[str] = set()
    bin_ns: int | None = None
    shown_groups: list[str] = []
    for number, item in enumerate(map(_key_as_bin, operator.by), 1):
        if isinstance(item.value, tree.Star):
            raise AplError("by takes names and expressions, no '*'", item.at)
        name = distinct_name(item.name or default_name(item.value, number), taken)
        value = inner.stored(inner.value(item.value))
        source = relation.find(name_of(item.value) or "") if name_of(item.value) else None
        column = group_by(compiler, groups, name, value, source.types if source is not None else ())
        shown_groups.append(name)
        size = _bin_size(compiler, inner, item.value)
        if size is not None:
            compiler.notes.bins[column.id] = size
            bin_ns = size if bin_ns is None else bin_ns
            groups.first_bin = groups.first_bin or number == 1
    aggregating = AggregationCalls(compiler, inner, groups, _rate_seconds(compiler, operator, bin_ns))
    outer = Expressions(compiler, groups, aggregating)
    aggregates: list[AggregateColumn] = []
    for number, item in enumerate(_percentile_columns(operator.values), 1):
        aggregates += _aggregates(compiler, aggregating, outer, item, number, taken)
    groups.parent = inner.relation
    result: Layer = groups
    if outer.relation is not groups or any(not isinstance(aggregate.value.sql, exp.Column) for aggregate in aggregates):
        result = Layer(outer.relation)
        result.grouped = True
    result = whole_groups(compiler, groups, result)
    columns = []
    for aggregate in aggregates:
        column = define(compiler, result, aggregate.name, aggregate.value)
        compiler.note_aggregate(column, aggregate.note)
        columns.append(column)
    groups.order = result.order = _default_order(compiler, groups, result, columns)
    compiler.note_groups(tuple(shown_groups))
    note_matched_rows(compiler, groups, relation)
    return result


def _key_as_bin(key: tree.Named) -> tree.Named:
    """Return a group key with `histogram(value, size)`, which means the same, written as `bin(value, size)`."""
    node = key.value
    if isinstance(node, tree.Call) and node.name == "histogram":
        return tree.Named(key.at, key.name, tree.Call(node.at, "bin", node.arguments))
    return key


def _percentile_columns(values: Sequence[tree.Named]) -> Iterator[tree.Named]:
    """Yield the items, with `percentile(value, 50, 95)` split into `percentile_value_50` and `percentile_value_95`."""
    for item in values:
        node = item.value
        if not (isinstance(node, tree.Call) and node.name == "percentile" and len(node.arguments) > 2):
            yield item
            continue
        if item.name is not None:
            raise AplError("several percentiles are several columns, which take no name", item.at)
        value, *percents = node.arguments
        for percent in percents:
            if not isinstance(percent, tree.Constant) or percent.kind not in ("long", "real"):
                raise AplError("of several percentiles each is a number", percent.at, kind="type")
            name = f"{default_name(node, 0)}_{percent.value}"
            yield tree.Named(item.at, name, tree.Call(node.at, "percentile", (value, percent)))


def _aggregates(
    compiler: Compiler,
    aggregating: AggregationCalls,
    outer: Expressions,
    item: tree.Named,
    number: int,
    taken: set[str],
) -> list[AggregateColumn]:
    """Return the columns that one item of a summarize gives."""
    node = item.value
    if isinstance(node, tree.Call) and node.name in ("arg_max", "arg_min"):
        return extreme_row(compiler, aggregating, node, item.name, taken)
    if not has_aggregation(node):
        aggregating.inner.value(node)  # reports a name that does not exist first
        raise AplError("an aggregation is expected here, such as count(); groups stand after by", node.at)
    value = outer.value(node)
    aggregation = aggregation_of(node)
    if aggregation is None or not isinstance(node, tree.Call):
        name = distinct_name(item.name or f"Column{number}", taken)
        return [AggregateColumn(name, value, AggregateNote("computed"))]
    plain = [argument for n, argument in enumerate(node.arguments) if n != aggregation.predicate]
    fields = tuple(name for name in map(name_of, plain) if name is not None)
    name = distinct_name(item.name or f"{node.name}_{fields[0] if fields else ''}", taken)
    args = tuple(a.value for a in node.arguments if isinstance(a, tree.Constant) and a.kind not in ("null", "datetime"))
    return [AggregateColumn(name, value, AggregateNote(aggregation.shown_as, fields, args))]


def _bin_size(compiler: Compiler, expressions: Expressions, node: tree.Expression) -> int | None:
    """Return the nanoseconds of a bin of the event's time; None for any other group."""
    if not (isinstance(node, tree.Call) and node.name in ("bin", "bin_auto") and node.arguments):
        return None
    field = node.arguments[0]
    column = expressions.relation.find(name_of(field) or "")
    if column is None or column.value.type is not DATETIME:
        return None
    if node.name == "bin_auto":
        return compiler.bin_auto_ns()
    size = expressions.value(node.arguments[1]) if len(node.arguments) > 1 else None
    if size is None or size.type is not TIMESPAN or not isinstance(size.constant, int):
        return None
    return size.constant


def _rate_seconds(compiler: Compiler, operator: tree.Summarize, bin_ns: int | None) -> exp.Expr | None:
    """Return the seconds that rate() divides by: of a bin of time, else of the range of the query; None without one."""
    if bin_ns is not None:
        return seconds_of(bin_ns)
    if not compiler.datasets:
        return None
    start, end = compiler.range_ns()
    return seconds_of(end - start)


def _default_order(
    compiler: Compiler, groups: Groups, result: Layer, aggregates: Sequence[RelationColumn]
) -> tuple[Key, ...]:
    """Return bins of time first, then the largest of the first aggregate, then the groups."""
    keys: list[Key] = []
    for column in groups.by:
        if column.id in compiler.notes.bins:
            keys.append(key_on(column.name, column, descending=False))
    for column in aggregates[:1]:
        if sortable(column.value) and groups.by:
            keys += keys_on(compiler, result, column.name, column, descending=True)
    for column in groups.by:
        if column.id not in compiler.notes.bins:
            keys += keys_on(compiler, result, "", column, descending=False)
    return tuple(keys)


def take_groups(compiler: Compiler, relation: Layer, most: int) -> Relation:
    """Return the top groups over all bins after a summarize whose first group is a bin of time, else the first rows."""
    groups: Relation = relation
    while isinstance(groups, Layer) and not isinstance(groups, Groups):
        groups = groups.parent
    if not isinstance(groups, Groups) or not groups.first_bin or len(groups.by) < 2 or relation.settled:
        return first_rows(relation, most)
    others = [column for column in groups.by if column.id not in compiler.notes.bins]
    ranked = next((key.value for key in relation.order if key.descending), None)
    if not others or ranked is None or ranked.type not in (*NUMBERS, TIMESPAN):
        return first_rows(relation, most)
    layer = Layer(relation)
    partition = [column.value.sql for column in others]
    total = exp.Window(this=exp.Anonymous(this="sum", expressions=[ranked.sql]), partition_by=partition)
    summed = add_definition(compiler, layer, Value(REAL, total))
    ranked_layer = Layer(layer)
    ordered: list[exp.Expr] = [exp.Ordered(this=summed.sql, desc=True, nulls_first=False)]
    ordered += [exp.Ordered(this=column.value.sql, desc=False, nulls_first=False) for column in others]
    rank = exp.Window(this=exp.Anonymous(this="dense_rank"), order=exp.Order(expressions=ordered))
    ranks = add_definition(compiler, ranked_layer, Value(LONG, rank))
    result = Layer(ranked_layer)
    result.limited = True
    result.where.append(exp.LTE(this=ranks.sql, expression=number_node(most)))
    return result
