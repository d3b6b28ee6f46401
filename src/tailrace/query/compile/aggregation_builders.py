"""How aggregations are built of the aggregates of SQL."""

import functools
from collections.abc import Callable
from typing import Any

import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.apl.errors import AplError
from tailrace.query.compile.relation import Key
from tailrace.query.functions import reports
from tailrace.query.functions.array import merged
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NS_PER_S,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    TIMESPAN,
    Value,
    as_dynamic,
    as_number,
    as_predicate,
    as_real,
    as_text,
    bind,
    canonical,
    case,
    cast,
    coalesce,
    dictionary,
    extreme_of,
    fn,
    from_numbers,
    infix,
    is_not_null,
    is_null,
    list_filter,
    list_transform,
    literal,
    not_,
    number_node,
    order_keys,
    pack_struct,
    parts_of,
    text_node,
    try_cast,
    unpack_struct,
)

MAX_ELEMENTS = 1_048_576  # of make_list and make_set
DEFAULT_SET = 128
DEFAULT_PHRASES = 10
MAX_TOP = 10_000
MAX_BINS = 1_000  # of a histogram


def _no_literal(index: int, what: str) -> Value:
    raise AplError(f"{what} must be a literal", kind="type")


class AggregationCall(Struct, frozen=True, eq=False):
    """An aggregation as it is called in one place."""

    name: str
    arguments: tuple[Value, ...]  # without the predicate
    names: tuple[str, ...]  # what they are called, "" for what is no plain field
    settle: Callable[[int, str], Value] = _no_literal
    """An argument as a literal, where it has one value before any row is read. Raises AplError."""
    predicate: exp.Expr | None = None
    order: tuple[Key, ...] = ()  # of the rows, where the query settled it
    seconds: exp.Expr | None = None  # that a group covers
    extremes: Callable[[exp.Expr, exp.Expr | None], tuple[exp.Expr, exp.Expr]] | None = None
    """The least and the greatest of a number over the rows of all groups, or those of a predicate."""

    def constant(self, index: int, what: str) -> Any:
        value = self.arguments[index]
        if not value.is_constant:
            value = self.settle(index, f"{what} of {self.name}()")
        return value.constant

    def whole(self, index: int, what: str, *, most: int) -> int:
        number = self.constant(index, what)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
            raise AplError(f"{what} of {self.name}() must be a whole number of 1 to {most}", kind="type")
        return number

    def aggregate(self, function: str, *arguments: exp.Expr, distinct: bool = False) -> exp.Expr:
        """Return a SQL aggregate over the rows of the predicate."""
        given = [exp.Distinct(expressions=list(arguments))] if distinct else list(arguments)
        return self.filtered(exp.Anonymous(this=function, expressions=given))

    def filtered(self, aggregate: exp.Expr, condition: exp.Expr | None = None) -> exp.Expr:
        conditions = [one for one in (self.predicate, condition) if one is not None]
        if not conditions:
            return aggregate
        both = conditions[0] if len(conditions) == 1 else infix(exp.And, *conditions)
        return exp.Filter(this=aggregate, expression=exp.Where(this=both))

    def collected(self, value: exp.Expr) -> exp.Expr:
        """Return `list(value)` without nulls, in the order of the rows where there is one."""
        item: exp.Expr = value
        if self.order:
            item = exp.Order(this=value, expressions=[key.ordered() for key in self.order])
        return self.filtered(exp.Anonymous(this="list", expressions=[item]), is_not_null(value))


def _count(call: AggregationCall) -> Value:
    return Value(LONG, call.filtered(exp.Count(this=exp.Star())))


def _dcount(call: AggregationCall) -> Value:
    value = canonical(call.arguments[0])
    parts = value.parts
    if parts is None or parts.incomplete:
        return Value(LONG, call.aggregate("count", value.sql, distinct=True))
    counts = [call.aggregate("count", part, distinct=True) for part in parts.expressions()]
    return Value(LONG, functools.reduce(functools.partial(infix, exp.Add), counts, number_node(0)))


def _sum(call: AggregationCall) -> Value:
    value = call.arguments[0]
    if value.type is TIMESPAN:
        return Value(TIMESPAN, coalesce(try_cast(call.aggregate("sum", value.sql), "BIGINT"), number_node(0)))
    number = as_number(value)
    if number.type is LONG:
        return Value(LONG, _whole_sum(call, number.sql))
    if number.type is REAL:
        return Value(REAL, coalesce(call.aggregate("sum", number.sql), number_node(0.0)))
    whole, other = _parts(number)
    only_whole = infix(exp.EQ, call.aggregate("count", other), number_node(0))
    total = infix(exp.Add, call.aggregate("sum", other), coalesce(call.aggregate("sum", whole), number_node(0)))
    return from_numbers(case((only_whole, _whole_sum(call, whole))), total)


def _whole_sum(call: AggregationCall, whole: exp.Expr) -> exp.Expr:
    return try_cast(coalesce(call.aggregate("sum", whole), number_node(0)), "BIGINT")


def _parts(number: Value) -> tuple[exp.Expr, exp.Expr]:
    """Return the whole and the other numbers of a DYNAMIC that has both."""
    parts = parts_of(number)
    assert parts.whole is not None
    assert parts.real is not None
    return parts.whole, parts.real


def _avg(call: AggregationCall) -> Value:
    value = call.arguments[0]
    if value.type is TIMESPAN:
        return Value(TIMESPAN, try_cast(fn("trunc", call.aggregate("avg", value.sql)), "BIGINT"))
    if value.type is DATETIME:
        mean = fn("trunc", call.aggregate("avg", fn("epoch_us", value.sql)))
        return Value(DATETIME, fn("make_timestamptz", try_cast(mean, "BIGINT")))
    number = as_number(value)
    if number.type is not DYNAMIC:
        return Value(REAL, call.aggregate("avg", number.sql))
    whole, other = _parts(number)
    only_whole = infix(exp.EQ, call.aggregate("count", other), number_node(0))
    mean = call.aggregate("avg", as_real(number).sql)
    return Value(REAL, case((only_whole, call.aggregate("avg", whole)), otherwise=mean))


def _extreme(function: str) -> Callable[[AggregationCall], Value]:
    def build(call: AggregationCall) -> Value:
        value = call.arguments[0]
        if value.type is DYNAMIC:
            extremes = parts_of(value).map(lambda part: call.aggregate(function, part))
            return extreme_of(extremes, largest=function == "max")
        return Value(value.type, call.aggregate(function, value.sql))

    return build


def _spread(function: str) -> Callable[[AggregationCall], Value]:
    def build(call: AggregationCall) -> Value:
        # Of numbers whose squares are beyond a double there is no spread, and DuckDB would refuse the query.
        value = call.arguments[0]
        number = as_real(value).sql
        usable = bind([number], lambda v: case((exp.LT(this=fn("abs", v), expression=_SQUARABLE), v)))
        largest = call.aggregate("max", fn("abs", number))
        spread = case((exp.LT(this=largest, expression=_SQUARABLE), call.aggregate(function, usable)))
        if value.type is TIMESPAN and function == "stddev_samp":
            return Value(TIMESPAN, try_cast(fn("trunc", spread), "BIGINT"))
        return Value(REAL, spread)

    return build


_SQUARABLE = number_node(1e150)


def _quantile(call: AggregationCall, share: float) -> Value:
    value = call.arguments[0]
    if value.type not in (*NUMBERS, DATETIME, TIMESPAN):
        value = as_number(value)
    if value.type is not DYNAMIC:
        return Value(value.type, call.aggregate("quantile_disc", value.sql, number_node(share)))
    # Both are of the same row's number, as both are in the order of the numbers.
    doubles, wholes = (call.aggregate("quantile_disc", key.sql, number_node(share)) for key in order_keys(value))
    whole = case((infix(exp.EQ, fn("trunc", doubles), doubles), try_cast(wholes, "BIGINT")))
    return from_numbers(whole, case((is_null(whole), doubles)))


def _percentile(call: AggregationCall) -> Value:
    return _quantile(call, _share(call, call.constant(1, "the percentile")))


def _share(call: AggregationCall, percent: Any) -> float:
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
        raise AplError(f"a percentile of {call.name}() must be a number of 0 to 100", kind="type")
    return float(percent) / 100


def _percentiles(call: AggregationCall) -> Value:
    percents: list[Any] = []
    for index in range(1, len(call.arguments)):
        given = call.constant(index, "a percentile")
        percents += given if isinstance(given, list) else [given]
    if not percents:
        raise AplError(f"{call.name}() takes at least one percentile", kind="type")
    values = [as_dynamic(_quantile(call, _share(call, percent))).sql for percent in percents]
    return Value(DYNAMIC, fn("json_array", *values))


def _histogram(call: AggregationCall) -> Value:
    """Return this many bins of one width between the extremes of all rows, so that the groups of a query have the
    same.
    """
    bins = call.whole(1, "the number of bins", most=MAX_BINS)
    value = call.arguments[0]
    is_span = value.type is TIMESPAN
    number = as_real(value).sql
    finite = bind([number], lambda v: case((fn("isfinite", v), v)))
    assert call.extremes is not None
    low, high = call.extremes(finite, call.predicate)
    width = infix(exp.Div, infix(exp.Sub, high, low), number_node(float(bins)))

    def place(v: exp.Expr, w: exp.Expr) -> exp.Expr:
        # The largest number belongs to the last bin; where all are the same there is only one. The condition is needed
        # as least() passes over a null.
        numbered = cast(fn("floor", infix(exp.Div, infix(exp.Sub, v, low), w)), "BIGINT")
        inside = fn("least", numbered, number_node(bins - 1))
        return case((is_not_null(v), case((infix(exp.GT, w, number_node(0)), inside), otherwise=number_node(0))))

    counts = call.aggregate("histogram", bind([finite, width], place))
    edges = [exp.Anonymous(this="any_value", expressions=[edge]) for edge in (low, width)]

    def buckets(table: exp.Expr, first: exp.Expr, step: exp.Expr) -> exp.Expr:
        def edge(n: exp.Expr) -> Value:
            at = infix(exp.Add, first, infix(exp.Mul, n, step))
            return Value(TIMESPAN, try_cast(fn("round", at), "BIGINT")) if is_span else Value(REAL, at)

        def bucket(n: exp.Expr) -> exp.Expr:
            counted = fn("list_extract", fn("map_extract", table, n), number_node(1))
            count = Value(LONG, cast(coalesce(counted, number_node(0)), "BIGINT"))
            following = infix(exp.Add, n, number_node(1))
            return dictionary([("from", edge(n)), ("to", edge(following)), ("count", count)]).sql

        last = case((infix(exp.GT, step, number_node(0)), number_node(bins)), otherwise=number_node(1))
        numbers = fn("range", number_node(0), last)
        there = infix(exp.GT, fn("cardinality", table), number_node(0))
        return case((there, fn("to_json", list_transform(numbers, bucket))))

    return Value(DYNAMIC, coalesce(bind([counts, *edges], buckets), cast(text_node("[]"), "JSON")))


def _json_list(items: exp.Expr) -> exp.Expr:
    """Return a list of JSON values as one, `[]` where there is none."""
    return coalesce(fn("to_json", items), cast(text_node("[]"), "JSON"))


def _list(call: AggregationCall) -> Value:
    most = call.whole(1, "the size", most=MAX_ELEMENTS) if len(call.arguments) > 1 else MAX_ELEMENTS
    items = call.collected(as_dynamic(call.arguments[0]).sql)
    return Value(DYNAMIC, _json_list(_first(items, most)))


def _merged(call: AggregationCall) -> Value:
    return merged(Value(DYNAMIC, _json_list(call.collected(as_dynamic(call.arguments[0]).sql))))


def _set(default: int) -> Callable[[AggregationCall], Value]:
    def build(call: AggregationCall) -> Value:
        most = call.whole(1, "the size", most=MAX_ELEMENTS) if len(call.arguments) > 1 else default
        value = call.arguments[0]
        if value.type is DYNAMIC:
            distinct = call.aggregate("list", canonical(value).sql, distinct=True)
            present = list_filter(distinct, is_not_null)
            keyed = fn("list_sort", list_transform(present, lambda v: pack_struct([*_keys(v), v])))
            last = len(_keys(exp.null()))
            return Value(
                DYNAMIC, _json_list(list_transform(_first(keyed, most), lambda entry: unpack_struct(entry, last)))
            )
        # The values are sorted as what they are, not as texts.
        distinct = call.aggregate("list", value.sql, distinct=True)
        present = fn("list_sort", list_filter(distinct, is_not_null))
        kind = value.type
        return Value(
            DYNAMIC, _json_list(list_transform(_first(present, most), lambda v: as_dynamic(Value(kind, v)).sql))
        )

    return build


def _keys(value: exp.Expr) -> list[exp.Expr]:
    """Return what a JSON value is sorted by."""
    return [key.sql for key in order_keys(Value(DYNAMIC, value))]


def _first(items: exp.Expr, count: int) -> exp.Expr:
    return fn("list_slice", items, number_node(1), number_node(count))


def _topk(call: AggregationCall) -> Value:
    """Return the most frequent values, each with its exact count; of two as frequent the smaller first."""
    most = call.whole(1, "the number of values", most=MAX_TOP)
    value = canonical(call.arguments[0])
    counts = call.filtered(fn("histogram", value.sql), is_not_null(value.sql))

    def turned(entry: exp.Expr) -> exp.Expr:
        count = cast(fn("struct_extract", entry, text_node("value")), "BIGINT")
        key = fn("struct_extract", entry, text_node("key"))
        keys = _keys(key) if value.type is DYNAMIC else []
        return pack_struct([exp.Neg(this=count), *keys, key])

    last = 1 + (len(_keys(exp.null())) if value.type is DYNAMIC else 0)

    def frequency(entry: exp.Expr) -> exp.Expr:
        key = Value(value.type, unpack_struct(entry, last))
        count = Value(LONG, exp.Neg(this=unpack_struct(entry, 0)))
        return dictionary([("key", key), ("count", count), ("error", literal(0))]).sql

    best = _first(fn("list_sort", list_transform(fn("map_entries", counts), turned)), most)
    return Value(DYNAMIC, _json_list(list_transform(best, frequency)))


def _any(call: AggregationCall) -> Value:
    value = call.arguments[0]
    if value.type is not DYNAMIC:
        return Value(value.type, call.aggregate("min", value.sql))
    return Value(DYNAMIC, cast(call.aggregate("min", cast(canonical(value).sql, "VARCHAR")), "JSON"))


def _rate(call: AggregationCall) -> Value:
    number = as_real(call.arguments[0]).sql
    if call.seconds is None:
        raise AplError("rate() needs a time range: by the request, or by `where _time …`", kind="type")
    rate = infix(exp.Div, coalesce(call.aggregate("sum", number), number_node(0.0)), call.seconds)
    if len(call.arguments) == 1:
        return Value(REAL, rate)
    unit = call.settle(1, "the interval of rate()")
    if unit.type is not TIMESPAN or not isinstance(unit.constant, int) or unit.constant <= 0:
        raise AplError("the interval of rate() must be a timespan above 0 such as 1m", kind="type")
    return Value(REAL, infix(exp.Mul, rate, number_node(unit.constant / NS_PER_S)))


def _phrases(call: AggregationCall) -> Value:
    most = call.whole(1, "the number of phrases", most=MAX_TOP) if len(call.arguments) > 1 else DEFAULT_PHRASES
    text = as_text(call.arguments[0]).sql
    counts = call.filtered(fn("histogram", text), is_not_null(text))
    return reports.phrases(Value(DYNAMIC, fn("to_json", counts)), literal(most))


def _spotlight(call: AggregationCall) -> Value:
    """For each field how its values are spread among the rows of the predicate and among the others."""
    if not call.arguments:
        raise AplError("spotlight() takes a predicate and at least one field", kind="type")
    assert call.predicate is not None
    selected = call.predicate
    others = not_(coalesce(selected, exp.false()))
    parts: list[exp.Expr] = []
    for name, value in zip(call.names, call.arguments, strict=True):
        is_number = value.type in (*NUMBERS, TIMESPAN)
        key = as_text(as_number(value) if value.type is TIMESPAN else value).sql
        pair = [
            _only(fn("histogram", key), infix(exp.And, rows, is_not_null(key))) for rows in (selected, others)
        ]  # fmt: skip
        parts.append(
            fn("json_object", text_node("field"), text_node(name), text_node("numeric"),
               exp.true() if is_number else exp.false(), text_node("selected"), fn("to_json", pair[0]),
               text_node("baseline"), fn("to_json", pair[1]))
        )  # fmt: skip
    totals = [_only(exp.Count(this=exp.Star()), rows) for rows in (selected, others)]
    counts = [Value(LONG, total) for total in totals]
    return reports.spotlight(Value(DYNAMIC, fn("json_array", *parts)), *counts)


def _only(aggregate: exp.Expr, condition: exp.Expr) -> exp.Expr:
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def predicate_of(value: Value) -> exp.Expr:
    if value.type not in (BOOL, DYNAMIC, NULL):
        raise AplError(f"the predicate is expected to be a condition, this is a {value.type.value}", kind="type")
    return as_predicate(value)


def seconds_of(ns: int) -> exp.Expr:
    return number_node(max(ns, 1) / NS_PER_S)


def sortable(value: Value) -> bool:
    if value.type is DYNAMIC:
        return value.parts is not None and value.parts.is_number
    return value.type in (LONG, REAL, STRING, DATETIME, TIMESPAN, BOOL)
