"""make-series: arrays of aggregations over the steps of an axis."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.aggregation_calls import AggregationCalls, aggregation_of, has_aggregation, refuse_nested
from tailrace.query.compile.columns import (
    add_definition,
    default_name,
    define,
    distinct_name,
    name_of,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.groups import Groups, group_by, keys_on, whole_groups
from tailrace.query.compile.notes import AggregateNote
from tailrace.query.compile.relation import Layer, Relation, RelationColumn
from tailrace.query.values import (
    DATETIME,
    DYNAMIC,
    LONG,
    NS_PER_US,
    NUMBERS,
    REAL,
    TIMESPAN,
    Type,
    Value,
    as_dynamic,
    as_number,
    as_real,
    case,
    cast,
    coalesce,
    datetime_from_us,
    datetime_text,
    floor_divide,
    fn,
    infix,
    is_not_null,
    list_transform,
    literal,
    number_node,
    refusal,
    text_node,
    try_cast,
)

MAX_POINTS = 1_048_576  # of a series

Number = int | float


class Axis(Struct, frozen=True, eq=False):
    """What the points of a series lie on: times in microseconds since 1970, or numbers."""

    value: Value  # of each row
    step: Number
    start: Number | None  # None: where the first row is
    stop: Number | None  # exclusive; None: after the last row

    @property
    def is_time(self) -> bool:
        return self.value.type is DATETIME

    @property
    def low(self) -> Number:
        """Where step 0 begins."""
        return 0 if self.start is None else self.start

    @property
    def position(self) -> exp.Expr:
        return fn("epoch_us", self.value.sql) if self.is_time else self.value.sql

    def step_number(self) -> exp.Expr:
        """Return the number of the step in which a row is."""
        position = self.position
        wide = cast(position, "HUGEINT") if self.value.type is LONG else position
        offset = infix(exp.Sub, wide, number_node(self.low)) if self.low else position
        if self.value.type is not REAL and isinstance(self.step, int):
            return floor_divide(offset, self.step)
        return fn("floor", infix(exp.Div, offset, number_node(float(self.step))))

    def conditions(self) -> list[exp.Expr]:
        """Return the conditions of a row that lies on the axis."""
        position = self.position
        conditions = [is_not_null(position)]
        if self.start is not None:
            conditions.append(exp.GTE(this=position, expression=number_node(self.start)))
        if self.stop is not None:
            conditions.append(exp.LT(this=position, expression=number_node(self.stop)))
        return conditions

    def ends(self) -> tuple[exp.Expr, exp.Expr] | None:
        """Return the first and the last number of a step; None where only the rows tell."""
        if self.start is None or self.stop is None:
            return None
        points = max(-(-(self.stop - self.start) // self.step), 0)
        return number_node(0), number_node(int(points) - 1)

    def moment(self, n: exp.Expr) -> exp.Expr:
        """Return where a step begins, as JSON."""
        wide = cast(n, "HUGEINT") if self.value.type is LONG else n
        at = infix(exp.Add, infix(exp.Mul, wide, number_node(self.step)), number_node(self.low))
        if self.value.type is LONG and isinstance(self.step, int):
            at = try_cast(at, "BIGINT")
        return fn("to_json", datetime_text(datetime_from_us(at).sql) if self.is_time else at)


class Series(Struct, frozen=True, eq=False):
    """An aggregation over the steps."""

    name: str
    value: Value
    default: Value | None
    note: AggregateNote


def make_series(compiler: Compiler, relation: Relation, operator: tree.MakeSeries) -> Relation:
    """Return an array of each aggregation by group, made of the points that have rows."""
    inner = Expressions(compiler, relation, refuse_nested)
    axis = _axis(compiler, inner, operator)
    step_number = axis.step_number()
    points = Groups(inner.relation)
    points.where += axis.conditions()
    taken: set[str] = set()
    for n, key in enumerate(operator.by, 1):
        name = distinct_name(key.name or default_name(key.value, n), taken)
        group_by(compiler, points, name, inner.stored(inner.value(key.value)))
    by = list(points.by)
    index = group_by(compiler, points, "", Value(LONG, try_cast(step_number, "BIGINT"))).value.sql
    seconds = number_node(axis.step / 1_000_000) if axis.is_time else None
    calls = AggregationCalls(compiler, inner, points, seconds)
    outer = Expressions(compiler, points, calls)
    series = [_series(calls, outer, value, n, taken) for n, value in enumerate(operator.values, 1)]
    points.parent = inner.relation
    axis_name = distinct_name(name_of(operator.on) or default_name(operator.on, 1), taken)
    return _arrays(compiler, outer.relation, by, index, series, axis, axis_name)


def _axis(compiler: Compiler, inner: Expressions, operator: tree.MakeSeries) -> Axis:
    value = inner.operand(operator.on)
    if value.type is not DATETIME:
        value = as_number(value)
    if value.type is DYNAMIC:
        value = as_real(value)
    step = _axis_number(inner.constant(operator.step, "the step"), value.type, as_step=True)
    if step is None or step <= 0:
        raise AplError("the step must be a timespan above 0 on times, a number above 0 on numbers", operator.step.at)
    start, stop = _range(compiler, inner, operator, value.type, step)
    return Axis(value, step, start, stop)


def _axis_number(value: Value, kind: Type, *, as_step: bool) -> Number | None:
    """Return a constant on the axis: microseconds on times, else the number."""
    number = value.constant
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    if kind is DATETIME:
        if as_step:
            return number // NS_PER_US if value.type is TIMESPAN else None
        return number if value.type is DATETIME else None
    return number if value.type in NUMBERS else None


def _range(
    compiler: Compiler, inner: Expressions, operator: tree.MakeSeries, kind: Type, step: Number
) -> tuple[Number | None, Number | None]:
    """Return start and stop on the axis where they are known: from the query, or on times from the request."""
    ends: list[Number | None] = []
    for node, what in ((operator.start, "from"), (operator.stop, "to")):
        if node is None:
            ends.append(None)
            continue
        end = _axis_number(inner.constant(node, what), kind, as_step=False)
        if end is None:
            raise AplError(f"{what!r} must be a datetime on times, a number on numbers", node.at, kind="type")
        ends.append(end)
    start, stop = ends
    if kind is DATETIME and compiler.request.start_ns is not None and start is None:
        start = compiler.request.start_ns // NS_PER_US // step * step
    if kind is DATETIME and compiler.request.end_ns is not None and stop is None and start is not None:
        stop = -(-compiler.request.end_ns // NS_PER_US)
    if start is not None and stop is not None and (stop - start) / step > MAX_POINTS:
        raise AplError(f"the series would have more than {MAX_POINTS} points, the limit", operator.at, kind="limit")
    return start, stop


def _series(
    calls: AggregationCalls, outer: Expressions, item: tree.SeriesValue, number: int, taken: set[str]
) -> Series:
    node = item.value.value
    if not has_aggregation(node):
        calls.inner.value(node)
        raise AplError("an aggregation is expected here, such as count()", node.at)
    if isinstance(node, tree.Call) and node.name in ("arg_max", "arg_min"):
        raise AplError(f"{node.name}() gives a row and makes no series", node.at)
    value = outer.value(node)
    note = AggregateNote("computed")
    name = item.value.name
    aggregation = aggregation_of(node)
    if aggregation is not None and isinstance(node, tree.Call):
        fields = tuple(field for field in map(name_of, node.arguments) if field is not None)
        note = AggregateNote(aggregation.shown_as, fields)
        name = name or f"{node.name}_{fields[0] if fields else ''}"
    default = outer.constant(item.default, "the default") if item.default is not None else None
    return Series(distinct_name(name or f"Column{number}", taken), value, default, note)


def _arrays(
    compiler: Compiler,
    points: Relation,
    by: Sequence[RelationColumn],
    index: exp.Expr,
    series: Sequence[Series],
    axis: Axis,
    axis_name: str,
) -> Relation:
    """Return a row of each group, with its points in arrays."""
    spread = Layer(points)
    ends = axis.ends()
    first, last = ends or (
        add_definition(compiler, spread, Value(LONG, exp.Window(this=fn(name, index)))).sql for name in ("min", "max")
    )
    groups = Groups(spread)
    for column in by:
        group_by(compiler, groups, column.name, column.value, column.types)
    # Numbers of the steps as a column, so that a lambda may read them.
    steps = _steps(first, last) if ends else _steps_of_rows(first, last)
    numbers = add_definition(compiler, groups, Value(DYNAMIC, steps)).sql
    there = infix(exp.And, is_not_null(index), exp.true())
    maps = []
    for one in series:
        pair = [exp.Filter(this=fn("list", node), expression=exp.Where(this=there)) for node in (index, one.value.sql)]
        by_step = fn("map", coalesce(pair[0], cast(fn("list_value"), "BIGINT[]")), coalesce(pair[1], fn("list_value")))
        maps.append(add_definition(compiler, groups, Value(DYNAMIC, by_step)).sql)
    result = whole_groups(compiler, groups, Layer(groups))
    for one, by_step in zip(series, maps, strict=True):
        array = define(compiler, result, one.name, Value(DYNAMIC, _json_array(numbers, _point_of(one, by_step))))
        compiler.note_aggregate(array, one.note)
    define(compiler, result, axis_name, Value(DYNAMIC, _json_array(numbers, axis.moment)))
    result.order = tuple(key for column in groups.by for key in keys_on(compiler, result, "", column, descending=False))
    compiler.note_groups(tuple(column.name for column in groups.by))
    return result


def _steps(first: exp.Expr, last: exp.Expr) -> exp.Expr:
    return fn("range", first, infix(exp.Add, last, number_node(1)))


def _steps_of_rows(first: exp.Expr, last: exp.Expr) -> exp.Expr:
    """Return the numbers of the steps between those of rows; more than there may be are refused."""
    first, last = fn("any_value", first), fn("any_value", last)
    points = infix(exp.Sub, cast(last, "HUGEINT"), first)
    too_many = infix(exp.GTE, points, number_node(MAX_POINTS))
    reason = f"the series would have more than {MAX_POINTS} points, the limit"
    return case((too_many, refusal(reason)), otherwise=_steps(first, last))


def _point_of(series: Series, by_step: exp.Expr) -> Callable[[exp.Expr], exp.Expr]:
    """Return what makes the point of a step of its number, given a map of the points that have rows."""
    default = as_dynamic(series.default if series.default is not None else _neutral(series.value)).sql

    def point(n: exp.Expr) -> exp.Expr:
        value = Value(series.value.type, fn("list_extract", fn("map_extract", by_step, n), number_node(1)))
        return coalesce(as_dynamic(value).sql, default)

    return point


def _json_array(numbers: exp.Expr, element: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    return coalesce(fn("to_json", list_transform(numbers, element)), cast(text_node("[]"), "JSON"))


def _neutral(value: Value) -> Value:
    """Return what a point without rows has: 0 for numbers and timespans, null for anything else."""
    if value.type in (LONG, TIMESPAN) or (value.parts is not None and value.parts.is_number):
        return literal(0)
    return literal(0.0) if value.type is REAL else literal(None)
