"""Operators that make groups: summarize, count, distinct, make-series."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.walk import walk
from tailrace.query.compile.aggregations import (
    AGGREGATIONS,
    Aggregation,
    Call,
    check_arguments,
    predicate_of,
    seconds_of,
    sortable,
)
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
from tailrace.query.compile.known import from_metadata
from tailrace.query.compile.relation import Column, Derived, Emitter, Key, Layer, Relation, identifier, references
from tailrace.query.functions import FUNCTIONS
from tailrace.query.values import (
    DATETIME,
    DYNAMIC,
    EXACT_IN_A_DOUBLE,
    LONG,
    NS_PER_US,
    NULL,
    NUMBERS,
    REAL,
    TIMESPAN,
    Type,
    Value,
    as_dynamic,
    as_number,
    as_real,
    canonical,
    case,
    cast,
    coalesce,
    datetime_from_us,
    datetime_text,
    floor_divide,
    fn,
    from_parts,
    infix,
    is_not_null,
    list_transform,
    literal,
    nan_as_null,
    null_node,
    number_node,
    order_keys,
    parts_of,
    refusal,
    text_node,
    try_cast,
)

MAX_POINTS = 1_048_576  # of a series


class Groups(Layer):
    """The rows of a summarize; `by` are the groups' columns, `first_bin` tells that the first is a bin of time."""

    def __init__(self, parent: Relation) -> None:
        super().__init__(parent, inherits=False)
        self.events = False
        self.settled = False
        self.limited = False
        self.scan = None
        self.time = None
        self.order = ()
        self.grouped = True
        self.group = []
        self.by: list[Column] = []
        self.first_bin = False

    def emit(self, needed: set[str], out: Emitter) -> exp.Query:
        if self.group or self.where or self.limit.count is not None:
            return super().emit(needed, out)
        needed = needed | self.always
        known = from_metadata(self.parent, {name: self.defines[name] for name in needed}, out.reading)
        if known is None:
            return super().emit(needed, out)
        return self._select(needed, {**self.defines, **known.defines}, out.scanning(known.hot_name, known.scan))


def count(compiler: Compiler, relation: Relation, operator: tree.Count) -> Relation:
    groups = Groups(relation)
    column = compiler.ids.column("count", LONG)
    groups.define(column, exp.Count(this=exp.Star()))
    compiler.note_aggregate(column, "count", (), ())
    compiler.note_groups(())
    _count_rows(compiler, groups, relation)
    return groups


def distinct(compiler: Compiler, relation: Relation, operator: tree.Distinct) -> Relation:
    expressions = Expressions(compiler, relation)
    made = []
    taken: set[str] = set()
    for number, each_ in enumerate(operator.values, 1):
        if isinstance(each_.value, tree.Star):
            made += [(column.name, column.value, column.types) for column in everything(compiler, relation)]
            continue
        name = distinct_name(each_.name or default_name(each_.value, number), taken)
        value = expressions.value(each_.value)
        source = relation.find(name_of(each_.value) or "")
        made.append((name, value, source.types if source is not None else ()))
    made = [(name, expressions.stored(value), types) for name, value, types in made]
    groups = Groups(expressions.relation)
    for name, value, types in made:
        _group(compiler, groups, name, value, types)
    result = _settled(compiler, groups, groups)
    result.order = tuple(
        key for column in groups.by for key in _keys_on(compiler, result, "", column, descending=False)
    )
    compiler.note_groups(())
    return result


def _group(compiler: Compiler, groups: Groups, name: str, value: Value, types: tuple[str, ...] = ()) -> Column:
    """Return a column by which rows are grouped; one of several types is put together by `_settled`."""
    if value.type is NULL:
        value = Value(DYNAMIC, null_node("JSON"))
    if not types:
        value = nan_as_null(value)
    value = canonical(value)
    parts = value.parts
    if parts is not None and not parts.incomplete and parts.expressions():
        made = from_parts(parts.map(lambda part: _key(compiler, groups, part)))
    else:
        made = Value(value.type, _key(compiler, groups, value.sql))
    column = Column(name, made, types)
    groups.show(column)
    groups.by.append(column)
    return column


def _key(compiler: Compiler, groups: Groups, node: exp.Expr) -> exp.Expr:
    target = compiler.ids.fresh()
    groups.defines[identifier(target)] = node
    groups.always.add(identifier(target))
    assert groups.group is not None
    groups.group.append(target)
    return target


def _settled(compiler: Compiler, groups: Groups, result: Layer) -> Layer:
    """Return the layer over the groups, or the groups themselves, with all columns that these are grouped by."""
    if all(column.value.type is not DYNAMIC for column in groups.by):
        return result
    layer = Layer(groups) if result is groups else result
    for n, column in enumerate(groups.by):
        groups.by[n] = define(compiler, layer, column.name, column.value, column.types)
    layer.grouped = True
    return layer


def _keys_on(compiler: Compiler, layer: Layer, name: str, column: Column, *, descending: bool) -> list[Key]:
    columns = [
        each if isinstance(each.sql, exp.Column) else add_definition(compiler, layer, each)
        for each in order_keys(column.value)
    ]
    computed = not column.types
    return [Key(name if n == 0 else "", each, descending, False, computed=computed) for n, each in enumerate(columns)]


def _count_rows(compiler: Compiler, groups: Groups, relation: Relation) -> None:
    """Let the answer carry how many events there were."""
    if relation.events and compiler.notes.matched is None and compiler.is_outermost:
        target = compiler.ids.fresh()
        compiler.notes.matched = target.args["this"].args["this"]
        total: exp.Expr = exp.Count(this=exp.Star())
        if groups.group:
            total = exp.Window(this=exp.Anonymous(this="sum", expressions=[total]))
        groups.defines[compiler.notes.matched] = cast(total, "BIGINT")


class _Aggregating:
    """Compiles the aggregations of one summarize into its layer."""

    def __init__(self, compiler: Compiler, inner: Expressions, groups: Layer, seconds: exp.Expr | None) -> None:
        self.compiler = compiler
        self.inner = inner
        self.groups = groups
        self.seconds = seconds
        self.inside = False

    def __call__(self, node: tree.Call) -> Value | None:
        aggregation = _aggregation(node)
        if aggregation is None:
            return None
        made = self.made(aggregation, node)
        if made.parts is not None and not made.parts.incomplete:
            return from_parts(made.parts.map_computed(self._add))
        return Value(made.type, self._add(made.type, made.sql))

    def _add(self, kind: Type, node: exp.Expr) -> exp.Expr:
        return add_definition(self.compiler, self.groups, Value(kind, node)).sql

    def made(self, aggregation: Aggregation, node: tree.Call) -> Value:
        check_arguments(aggregation, len(node.arguments))
        try:
            return aggregation.build(self.call(aggregation, node))
        except AplError as error:
            error.at = node.at if error.at is None else error.at
            raise

    def call(self, aggregation: Aggregation, node: tree.Call) -> Call:
        predicate: exp.Expr | None = None
        arguments: list[Value] = []
        nodes: list[tree.Expression] = []
        names: list[str] = []
        for index, argument in enumerate(node.arguments):
            if index == aggregation.predicate:
                predicate = predicate_of(self.value(argument))
            elif isinstance(argument, tree.Star):
                for column in everything(self.compiler, self.inner.relation):
                    arguments.append(column.value)
                    nodes.append(argument)
                    names.append(column.name)
            else:
                name = name_of(argument) or ""
                source = self.inner.relation.find(name)
                value = self.value(argument)
                arguments.append(value if source is not None and source.types else nan_as_null(value))
                nodes.append(argument)
                names.append(name)
        order = self.inner.relation.order if self.inner.relation.settled else ()
        seconds = self.seconds if aggregation.name == "rate" else None

        def settle(index: int, what: str) -> Value:
            return self.inner.constant(nodes[index], what)

        return Call(aggregation.name, tuple(arguments), tuple(names), settle, predicate, order, seconds, self.extremes)

    def value(self, node: tree.Expression) -> Value:
        return self.inner.operand(node)

    def extremes(self, number: exp.Expr, predicate: exp.Expr | None) -> tuple[exp.Expr, exp.Expr]:
        """Return the least and the greatest of a number over all rows, which are read once more for them."""
        rows = self.inner.relation

        def found(function: str) -> exp.Expr:
            def build(out: Emitter) -> exp.Expr:
                source = out.table(rows.emit(references([number, predicate]), out))
                cell = exp.Alias(this=fn(function, number), alias=exp.to_identifier("value"))
                select = exp.Select(expressions=[cell], from_=exp.From(this=source))
                if predicate is not None:
                    select.set("where", exp.Where(this=predicate))
                return exp.Subquery(this=select)

            return self.inner.add(REAL, Derived((), build)).sql

        return found("min"), found("max")


def summarize(compiler: Compiler, relation: Relation, operator: tree.Summarize) -> Relation:
    inner = Expressions(compiler, relation, _no_nesting)
    groups = Groups(relation)
    taken: set[str] = set()
    bin_ns: int | None = None
    shown_groups: list[str] = []
    for number, each_ in enumerate(map(_key_as_bin, operator.by), 1):
        if isinstance(each_.value, tree.Star):
            raise AplError("by takes names and expressions, no '*'", each_.at)
        name = distinct_name(each_.name or default_name(each_.value, number), taken)
        value = inner.stored(inner.value(each_.value))
        source = relation.find(name_of(each_.value) or "") if name_of(each_.value) else None
        column = _group(compiler, groups, name, value, source.types if source is not None else ())
        shown_groups.append(name)
        size = _bin_size(compiler, inner, each_.value)
        if size is not None:
            compiler.notes.bins[column.id] = size
            bin_ns = size if bin_ns is None else bin_ns
            groups.first_bin = groups.first_bin or number == 1
    aggregating = _Aggregating(compiler, inner, groups, _seconds(compiler, operator, bin_ns))
    outer = Expressions(compiler, groups, aggregating)
    computed: list[tuple[str, Value | tuple[str, str], Any]] = []
    for number, each_ in enumerate(_each_percentile(operator.values), 1):
        computed += _aggregates(compiler, aggregating, outer, each_, number, taken)
    groups.parent = inner.relation
    result: Layer = groups
    if outer.relation is not groups or any(not _is_plain(made) for _, made, _ in computed):
        result = Layer(outer.relation)
        result.grouped = True
    result = _settled(compiler, groups, result)
    aggregate_columns = []
    for name, made, noted in computed:
        value = _extracted(made) if isinstance(made, tuple) else made
        column = define(compiler, result, name, value)
        compiler.note_aggregate(column, *noted)
        aggregate_columns.append(column)
    groups.order = result.order = _default_order(compiler, groups, result, aggregate_columns)
    compiler.note_groups(tuple(shown_groups))
    _count_rows(compiler, groups, relation)
    return result


def _aggregation(node: object) -> Aggregation | None:
    """Return the aggregation that is called; a name that is a function's too means it with one argument."""
    if not isinstance(node, tree.Call) or (node.name in FUNCTIONS and len(node.arguments) != 1):
        return None
    return AGGREGATIONS.get(node.name)


def _key_as_bin(key: tree.Named) -> tree.Named:
    """After `by`, `histogram(value, size)` is `bin(value, size)`."""
    node = key.value
    if isinstance(node, tree.Call) and node.name == "histogram":
        return tree.Named(key.at, key.name, tree.Call(node.at, "bin", node.arguments))
    return key


def _each_percentile(values: Sequence[tree.Named]) -> Iterator[tree.Named]:
    """`percentile(value, 50, 95)` as a column for each of them, percentile_value_50 and percentile_value_95."""
    for each_ in values:
        node = each_.value
        if not (isinstance(node, tree.Call) and node.name == "percentile" and len(node.arguments) > 2):
            yield each_
            continue
        if each_.name is not None:
            raise AplError("several percentiles are several columns, which take no name", each_.at)
        value, *percents = node.arguments
        for percent in percents:
            if not isinstance(percent, tree.Constant) or percent.kind not in ("long", "real"):
                raise AplError("of several percentiles each is a number", percent.at, kind="type")
            name = f"{default_name(node, 0)}_{percent.value}"
            yield tree.Named(each_.at, name, tree.Call(node.at, "percentile", (value, percent)))


def _no_nesting(node: tree.Call) -> Value | None:
    if _aggregation(node) is not None and node.name not in FUNCTIONS:
        raise AplError(f"{node.name}() cannot stand inside of another aggregation, nor after by", node.at)
    return None


def _is_plain(made: Any) -> bool:
    return isinstance(made, Value) and isinstance(made.sql, exp.Column)


def _extracted(made: tuple[str, str]) -> Value:
    raise AssertionError(made)


def _aggregates(
    compiler: Compiler, aggregating: _Aggregating, outer: Expressions, each_: tree.Named, number: int, taken: set[str]
) -> list[tuple[str, Any, tuple[str, tuple[str, ...], tuple[Any, ...]]]]:
    """Return the columns that one item of a summarize gives: name, value, and how it is noted."""
    node = each_.value
    if isinstance(node, tree.Call) and node.name in ("arg_max", "arg_min"):
        return _extreme_row(compiler, aggregating, node, each_.name, taken)
    if not _has_aggregation(node):
        aggregating.inner.value(node)  # whose names may be wrong besides
        raise AplError("an aggregation is expected here, such as count(); groups stand after by", node.at)
    value = outer.value(node)
    aggregation = _aggregation(node)
    if aggregation is None or not isinstance(node, tree.Call):
        name = distinct_name(each_.name or f"Column{number}", taken)
        return [(name, value, ("computed", (), ()))]
    plain = [argument for n, argument in enumerate(node.arguments) if n != aggregation.predicate]
    fields = tuple(name for name in map(name_of, plain) if name is not None)
    name = distinct_name(each_.name or f"{node.name}_{fields[0] if fields else ''}", taken)
    args = tuple(a.value for a in node.arguments if isinstance(a, tree.Constant) and a.kind not in ("null", "datetime"))
    return [(name, value, (aggregation.shown_as, fields, args))]


def _has_aggregation(node: tree.Expression) -> bool:
    return any(_aggregation(inner) is not None for inner in walk(node))


def _extreme_row(
    compiler: Compiler, aggregating: _Aggregating, node: tree.Call, given: str | None, taken: set[str]
) -> list[tuple[str, Any, tuple[str, tuple[str, ...], tuple[Any, ...]]]]:
    """arg_max and arg_min: the row as one structure, of which the columns are taken afterwards."""
    inner = aggregating.inner
    check_arguments(AGGREGATIONS[node.name], len(node.arguments))
    if isinstance(node.arguments[0], tree.Star):
        raise AplError(f"{node.name}() takes a value first", node.arguments[0].at)
    names = [argument.name if isinstance(argument, tree.Named) else None for argument in node.arguments]
    first, *others = (each_.value if isinstance(each_, tree.Named) else each_ for each_ in node.arguments)
    given = names[0] or given
    extreme = inner.operand(first)
    wanted: list[tuple[str, Value]] = [(given or name_of(first) or default_name(first, 1), extreme)]
    for number, argument in enumerate(others, 1):
        if isinstance(argument, tree.Star):
            by = {column.name for column in getattr(aggregating.groups, "by", ())}
            wanted += [
                (column.name, column.value)
                for column in everything(compiler, inner.relation)
                if column.name != wanted[0][0] and column.name not in by
            ]
        else:
            wanted.append((names[number] or default_name(argument, number), inner.value(argument)))
    pairs = [
        exp.PropertyEQ(this=exp.to_identifier(f"f{n}"), expression=value.sql) for n, (_, value) in enumerate(wanted)
    ]
    made = _extreme_of(node.name, fn("struct_pack", *pairs), extreme)
    target = add_definition(compiler, aggregating.groups, Value(DYNAMIC, made))
    fields = tuple(name for name in map(name_of, (first, *others)) if name is not None)
    noted = ("argmax" if node.name == "arg_max" else "argmin", fields, ())
    found = []
    for n, (name, value) in enumerate(wanted):
        kind = DYNAMIC if value.type is NULL else value.type
        part = Value(kind, fn("struct_extract", target.sql, text_node(f"f{n}")))
        found.append((distinct_name(name, taken), part, noted))
    return found


def _extreme_of(function: str, row: exp.Expr, value: Value) -> exp.Expr:
    """Return the row of the extreme value; of a DYNAMIC a number comes before a text, a text before a boolean."""
    if value.type is not DYNAMIC:
        return fn(function, row, value.sql)
    parts = parts_of(value)
    choices: list[tuple[exp.Expr, exp.Expr]] = []
    if parts.has_numbers:
        keys = [key.sql for key in order_keys(as_number(value))]
        rows = [fn(function, row, key) for key in keys]
        if len(keys) > 1:
            extreme = fn(function.removeprefix("arg_"), keys[0])
            told_apart = infix(exp.LTE, fn("abs", extreme), number_node(EXACT_IN_A_DOUBLE))
            rows = [case((told_apart, rows[0]), otherwise=rows[1])]
        choices.append((fn("count", keys[0]), rows[0]))
    choices += [(fn("count", part), fn(function, row, part)) for part in (parts.text, parts.flag) if part is not None]
    if not choices:
        return fn(function, row, null_node("BIGINT"))
    *first, (_, last) = choices
    return (
        case(*((infix(exp.GT, count, number_node(0)), row) for count, row in first), otherwise=last) if first else last
    )


def _bin_size(compiler: Compiler, expressions: Expressions, node: tree.Expression) -> int | None:
    """Nanoseconds of a bin of the event's time; None for any other group."""
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


def _seconds(compiler: Compiler, operator: tree.Summarize, bin_ns: int | None) -> exp.Expr | None:
    """Return what rate() divides by: the bin, or the whole range."""
    if bin_ns is not None:
        return seconds_of(bin_ns)
    if not compiler.datasets:
        return None
    start, end = compiler.range_ns()
    return seconds_of(end - start)


def _default_order(compiler: Compiler, groups: Groups, result: Layer, aggregates: Sequence[Column]) -> tuple[Key, ...]:
    """Bins of time first, then the largest of the first aggregate, then the groups."""
    keys: list[Key] = []
    for column in groups.by:
        if column.id in compiler.notes.bins:
            keys.append(key_on(column.name, column, descending=False))
    for column in aggregates[:1]:
        if sortable(column.value) and groups.by:
            keys += _keys_on(compiler, result, column.name, column, descending=True)
    for column in groups.by:
        if column.id not in compiler.notes.bins:
            keys += _keys_on(compiler, result, "", column, descending=False)
    return tuple(keys)


def take_groups(compiler: Compiler, relation: Layer, count_: int) -> Relation:
    """After a summarize whose first group is a bin of time, the top groups over all bins; else the first rows."""
    groups: Relation = relation
    while isinstance(groups, Layer) and not isinstance(groups, Groups):
        groups = groups.parent
    if not isinstance(groups, Groups) or not groups.first_bin or len(groups.by) < 2 or relation.settled:
        return first_rows(relation, count_)
    others = [column for column in groups.by if column.id not in compiler.notes.bins]
    ranked = next((key.value for key in relation.order if key.descending), None)
    if not others or ranked is None or ranked.type not in NUMBERS:
        return first_rows(relation, count_)
    layer = Layer(relation)
    partition = [column.value.sql for column in others]
    total = exp.Window(this=exp.Anonymous(this="sum", expressions=[ranked.sql]), partition_by=partition)
    summed = add_definition(compiler, layer, Value(REAL, total))
    place = Layer(layer)
    ordered: list[exp.Expr] = [exp.Ordered(this=summed.sql, desc=True, nulls_first=False)]
    ordered += [exp.Ordered(this=column.value.sql, desc=False, nulls_first=False) for column in others]
    rank = exp.Window(this=exp.Anonymous(this="dense_rank"), order=exp.Order(expressions=ordered))
    ranks = add_definition(compiler, place, Value(LONG, rank))
    kept = Layer(place)
    kept.limited = True
    kept.where.append(exp.LTE(this=ranks.sql, expression=number_node(count_)))
    return kept


# make-series


def make_series(compiler: Compiler, relation: Relation, operator: tree.MakeSeries) -> Relation:
    """First the points that have rows, by group and number of the step; then an array of each group."""
    inner = Expressions(compiler, relation, _no_nesting)
    axis = inner.operand(operator.on)
    if axis.type is not DATETIME:
        axis = as_number(axis)
    if axis.type is DYNAMIC:
        axis = as_real(axis)
    whole = axis.type is not REAL
    step_value = inner.constant(operator.step, "the step")
    step = _axis_number(step_value, axis.type, as_step=True)
    if step is None or step <= 0:
        raise AplError("the step must be a timespan above 0 on times, a number above 0 on numbers", operator.step.at)
    position = fn("epoch_us", axis.sql) if axis.type is DATETIME else axis.sql
    start, stop = _series_range(compiler, inner, operator, axis, step)
    low = 0 if start is None else start
    wide = cast(position, "HUGEINT") if axis.type is LONG else position
    offset = infix(exp.Sub, wide, number_node(low)) if low else position
    if whole and isinstance(step, int):
        number = floor_divide(offset, step)
    else:
        number = fn("floor", infix(exp.Div, offset, number_node(float(step))))
    points = Groups(inner.relation)
    points.where.append(is_not_null(position))
    if start is not None:
        points.where.append(exp.GTE(this=position, expression=number_node(start)))
    if stop is not None:
        points.where.append(exp.LT(this=position, expression=number_node(stop)))
    taken: set[str] = set()
    for n, each_ in enumerate(operator.by, 1):
        name = distinct_name(each_.name or default_name(each_.value, n), taken)
        _group(compiler, points, name, inner.stored(inner.value(each_.value)))
    by = list(points.by)
    index = _group(compiler, points, "", Value(LONG, try_cast(number, "BIGINT")))
    seconds = number_node(step / 1_000_000) if axis.type is DATETIME else None
    aggregating = _Aggregating(compiler, inner, points, seconds)
    outer = Expressions(compiler, points, aggregating)
    series = []
    for n, each_value in enumerate(operator.values, 1):
        series.append(_series_value(aggregating, outer, each_value, n, taken))
    points.parent = inner.relation
    first, last = _series_ends(start, stop, step, index.value.sql)
    spread = Layer(outer.relation)
    if first is None:
        bounds = [
            add_definition(compiler, spread, Value(LONG, exp.Window(this=fn(name, index.value.sql))))
            for name in ("min", "max")
        ]
        first, last = bounds[0].sql, bounds[1].sql
    return _arrays(compiler, spread, by, index, series, operator, axis, low, step, first, last, taken)


def _axis_number(value: Value, kind: Any, *, as_step: bool) -> Any:
    """Return a constant on the axis: microseconds on times, else the number."""
    found = value.constant
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    if kind is DATETIME:
        if as_step:
            return found // NS_PER_US if value.type is TIMESPAN else None
        return found if value.type is DATETIME else None
    return found if value.type in NUMBERS else None


def _series_range(
    compiler: Compiler, inner: Expressions, operator: tree.MakeSeries, axis: Value, step: Any
) -> tuple[Any, Any]:
    """Start and stop on the axis where they are known: from the query, or on the events' time from its range."""
    ends: list[Any] = []
    for node, what in ((operator.start, "from"), (operator.stop, "to")):
        if node is None:
            ends.append(None)
            continue
        found = _axis_number(inner.constant(node, what), axis.type, as_step=False)
        if found is None:
            raise AplError(f"{what!r} must be a datetime on times, a number on numbers", node.at, kind="type")
        ends.append(found)
    start, stop = ends
    if axis.type is DATETIME and compiler.request.start_ns is not None and start is None:
        start = compiler.request.start_ns // NS_PER_US // step * step
    if axis.type is DATETIME and compiler.request.end_ns is not None and stop is None and start is not None:
        stop = -(-compiler.request.end_ns // NS_PER_US)
    if start is not None and stop is not None and (stop - start) / step > MAX_POINTS:
        raise AplError(f"the series would have more than {MAX_POINTS} points, the limit", operator.at, kind="limit")
    return start, stop


def _series_ends(start: Any, stop: Any, step: Any, index: exp.Expr) -> tuple[exp.Expr | None, exp.Expr | None]:
    """First and last number of a step; None where only the rows tell."""
    if start is None or stop is None:
        return None, None
    points = max(-(-(stop - start) // step), 0)
    return number_node(0), number_node(int(points) - 1)


def _series_value(
    aggregating: _Aggregating, outer: Expressions, each_: tree.SeriesValue, number: int, taken: set[str]
) -> tuple[str, Value, Value | None, Any]:
    node = each_.value.value
    if not _has_aggregation(node):
        aggregating.inner.value(node)
        raise AplError("an aggregation is expected here, such as count()", node.at)
    if isinstance(node, tree.Call) and node.name in ("arg_max", "arg_min"):
        raise AplError(f"{node.name}() gives a row and makes no series", node.at)
    value = outer.value(node)
    fields: tuple[str, ...] = ()
    shown_as = "computed"
    name = each_.value.name
    aggregation = _aggregation(node)
    if aggregation is not None and isinstance(node, tree.Call):
        fields = tuple(each_ for each_ in map(name_of, node.arguments) if each_ is not None)
        shown_as = aggregation.shown_as
        name = name or f"{node.name}_{fields[0] if fields else ''}"
    default = outer.constant(each_.default, "the default") if each_.default is not None else None
    return distinct_name(name or f"Column{number}", taken), value, default, (shown_as, fields, ())


def _arrays(
    compiler: Compiler, spread: Layer, by: Sequence[Column], index: Column,
    series: Sequence[tuple[str, Value, Value | None, Any]], operator: tree.MakeSeries, axis: Value,
    low: Any, step: Any, first: exp.Expr, last: exp.Expr | None, taken: set[str],
) -> Relation:  # fmt: skip
    assert last is not None
    made = Groups(spread)
    for column in by:
        _group(compiler, made, column.name, column.value, column.types)
    fixed = isinstance(first, (exp.Literal, exp.Paren))

    def bound(node: exp.Expr) -> exp.Expr:
        return node if fixed else fn("any_value", node)

    # Numbers of the steps as a column, so that a lambda may read them.
    steps = fn("range", bound(first), infix(exp.Add, bound(last), number_node(1)))
    if not fixed:
        points = infix(exp.Sub, cast(bound(last), "HUGEINT"), bound(first))
        too_many = infix(exp.GTE, points, number_node(MAX_POINTS))
        reason = f"the series would have more than {MAX_POINTS} points, the limit"
        steps = case((too_many, refusal(reason)), otherwise=steps)
    numbers = add_definition(compiler, made, Value(DYNAMIC, steps))
    maps = []
    for _, value, _, _ in series:
        there = infix(exp.And, is_not_null(index.value.sql), exp.true())
        pair = [
            exp.Filter(this=fn("list", node), expression=exp.Where(this=there))
            for node in (index.value.sql, value.sql)
        ]  # fmt: skip
        table = fn("map", coalesce(pair[0], _empty_list("BIGINT[]")), coalesce(pair[1], fn("list_value")))
        maps.append(add_definition(compiler, made, Value(DYNAMIC, table)))
    result = _settled(compiler, made, Layer(made))
    for (name, value, default, noted), table_value in zip(series, maps, strict=True):
        fallback = as_dynamic(default if default is not None else _neutral(value)).sql

        def point(
            n: exp.Expr, table: exp.Expr = table_value.sql, kind: Any = value.type, other: exp.Expr = fallback
        ) -> exp.Expr:
            found = Value(kind, fn("list_extract", fn("map_extract", table, n), number_node(1)))
            return coalesce(as_dynamic(found).sql, other)

        array = Value(
            DYNAMIC, coalesce(fn("to_json", list_transform(numbers.sql, point)), cast(text_node("[]"), "JSON"))
        )
        column = define(compiler, result, name, array)
        compiler.note_aggregate(column, *noted)
    axis_name = distinct_name(name_of(operator.on) or default_name(operator.on, 1), taken)

    def moment(n: exp.Expr) -> exp.Expr:
        wide = cast(n, "HUGEINT") if axis.type is LONG else n
        at = infix(exp.Add, infix(exp.Mul, wide, number_node(step)), number_node(low))
        if axis.type is LONG and isinstance(step, int):
            at = try_cast(at, "BIGINT")
        if axis.type is DATETIME:
            return fn("to_json", datetime_text(datetime_from_us(at).sql))
        return fn("to_json", at)

    axis_array = coalesce(fn("to_json", list_transform(numbers.sql, moment)), cast(text_node("[]"), "JSON"))
    define(compiler, result, axis_name, Value(DYNAMIC, axis_array))
    result.order = tuple(key for column in made.by for key in _keys_on(compiler, result, "", column, descending=False))
    compiler.note_groups(tuple(column.name for column in made.by))
    return result


def _empty_list(kind: str) -> exp.Expr:
    return cast(fn("list_value"), kind)


def _neutral(value: Value) -> Value:
    """Return what a point without rows has: 0 for numbers, null for anything else."""
    if value.type is LONG or (value.parts is not None and value.parts.is_number):
        return literal(0)
    return literal(0.0) if value.type is REAL else literal(None)
