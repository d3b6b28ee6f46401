"""Rounding functions, bins of time among them."""

import math
from collections.abc import Callable

import sqlglot.expressions as exp

from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.values import (
    DATETIME,
    LONG,
    MAX_LONG,
    MIN_DATETIME_US,
    NS_PER_S,
    NS_PER_US,
    NUMBERS,
    TIMESPAN,
    Value,
    as_datetime,
    as_real,
    as_timespan,
    bind,
    case,
    cast,
    datetime_from_us,
    datetime_literal,
    fn,
    infix,
    map_numbers,
    number_node,
    real,
    stepped,
    timespan_literal,
    try_cast,
)

FUNCTIONS, _add = table("rounding")

DEFAULT_BINS = 100  # of bin_auto() where the request names no limit
_NICE_S = (
    *(1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400),
)


def bin_auto_ns(context: Context) -> int:
    """Return the bin of bin_auto(), in nanoseconds: a round one that cuts the query's range into no more bins than
    allowed.
    """
    if context.bin_auto_ns is not None:
        return context.bin_auto_ns
    if context.start_ns is None:
        return 3600 * NS_PER_S
    end_ns = context.end_ns if context.end_ns is not None else context.now_ns
    wanted = max(end_ns - context.start_ns, 1) / max(context.max_bin_auto_groups or DEFAULT_BINS, 1)
    for size_s in _NICE_S:
        if size_s * NS_PER_S >= wanted:
            return size_s * NS_PER_S
    return math.ceil(wanted / (_NICE_S[-1] * NS_PER_S)) * _NICE_S[-1] * NS_PER_S


def bin_of(value: Value, size: Value) -> Value:
    """Return the greatest multiple of the size that is not above the value; datetimes count from 1970."""
    if isinstance(size.constant, (int, float)) and size.constant <= 0:
        raise CallInvalid("the size of bin() must be above 0", 1)
    if value.type is DATETIME or (size.type is TIMESPAN and value.type not in (TIMESPAN, *NUMBERS)):
        return _bin_datetime(as_datetime(value), as_timespan(size))
    if TIMESPAN in (value.type, size.type):
        span, step = as_timespan(value), as_timespan(size)
        if isinstance(span.constant, int) and isinstance(step.constant, int):
            return timespan_literal(span.constant // step.constant * step.constant)
        return Value(TIMESPAN, try_cast(_floored(span.sql, step), "BIGINT"))
    return map_numbers(value, size, _bin_number)


def _bin_number(number: Value, step: Value) -> Value:
    if number.type is LONG and step.type is LONG:
        return Value(LONG, try_cast(_floored(number.sql, step), "BIGINT"))

    def floored(v: exp.Expr, s: exp.Expr) -> exp.Expr:
        return infix(exp.Mul, fn("floor", infix(exp.Div, v, s)), s)

    steps = as_real(step).sql
    positive = steps if step.is_constant else bind([steps], lambda s: case((infix(exp.GT, s, number_node(0)), s)))
    return real(bind([as_real(number).sql, positive], floored))


def _floored(value: exp.Expr, size: Value) -> exp.Expr:
    """In 128 bits; null where the size is not above 0."""

    def floored(v: exp.Expr, s: exp.Expr) -> exp.Expr:
        rest = infix(exp.Mod, infix(exp.Add, infix(exp.Mod, v, s), s), s)
        return infix(exp.Sub, cast(v, "HUGEINT"), rest)

    if isinstance(size.constant, int) and size.constant < MAX_LONG // 2:
        return bind([value], lambda v: floored(v, size.sql))
    wide = cast(size.sql, "HUGEINT")
    return bind([value, bind([wide], lambda s: case((infix(exp.GT, s, number_node(0)), s)))], floored)


def _bin_datetime(value: Value, size: Value) -> Value:
    if isinstance(size.constant, int):
        if isinstance(value.constant, int):
            return datetime_literal(value.constant * NS_PER_US // size.constant * size.constant // NS_PER_US)
        if size.constant % NS_PER_US == 0:
            us = size.constant // NS_PER_US

            def fast(v: exp.Expr) -> exp.Expr:
                rest = infix(exp.Mod, v, number_node(us))
                # Before 1970 the remainder is negative.
                below = infix(exp.Mod, infix(exp.Add, rest, number_node(us)), number_node(us))
                floored = infix(exp.Sub, v, below)
                return case((infix(exp.GTE, floored, number_node(MIN_DATETIME_US)), fn("make_timestamptz", floored)))

            floored = bind([fn("epoch_us", value.sql)], fast)
            return Value(DATETIME, stepped(floored, value.sql, us, is_start=True))
    ns = infix(exp.Mul, cast(fn("epoch_us", value.sql), "HUGEINT"), number_node(NS_PER_US))
    floored_ns = _floored(ns, size)

    def to_us(v: exp.Expr) -> exp.Expr:
        below = cast(infix(exp.LT, infix(exp.Mod, v, number_node(NS_PER_US)), number_node(0)), "BIGINT")
        return infix(exp.Sub, infix(exp.IntDiv, v, number_node(NS_PER_US)), below)

    return datetime_from_us(bind([floored_ns], to_us))


def _bin_auto(context: Context, value: Value) -> Value:
    return _bin_datetime(as_datetime(value), timespan_literal(bin_auto_ns(context)))


def _whole(function: str) -> Callable[..., Value]:
    def build(context: Context, value: Value) -> Value:
        return value if value.type is LONG else real(fn(function, value.sql))

    return build


# fmt: off
_add("bin", "value:any, size:any", "type of the value", lambda c, value, size: bin_of(value, size),
     "The greatest multiple of a size that is not above the value; datetimes count from 1970-01-01.",
     "print bin(datetime(2021-03-04 05:06:07), 1h)", "2021-03-04T05:00:00Z")
_add("bin_auto", "time:datetime", "datetime", _bin_auto,
     "A time rounded down by a size that fits the query's range and `maxBinAutoGroups`.",
     "print gettype(bin_auto(datetime(2021-03-04)))", "datetime")
_add("ceiling", "value:number", "type of the value", _whole("ceil"),
     "The least whole number that is not below.", "print ceiling(1.2)", 2.0)
_add("floor", "value:number", "type of the value", _whole("floor"),
     "The greatest whole number that is not above.", "print floor(-1.2)", -2.0)
# fmt: on
