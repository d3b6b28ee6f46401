"""A value of one type as one of another; null in rows where it does not fit."""

import math
from collections.abc import Callable, Sequence

import sqlglot.expressions as exp

from tailrace.query.apl.times import datetime_ns
from tailrace.query.values.dynamics import as_dynamic, parts_of
from tailrace.query.values.lambdas import bind
from tailrace.query.values.literals import datetime_literal, null, timespan_literal
from tailrace.query.values.nodes import case, coalesce, fn, in_range, infix, number_node, try_cast
from tailrace.query.values.numbers import as_long, as_real, floor_divide
from tailrace.query.values.timespans import parse_timespan
from tailrace.query.values.types import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    MAX_DATETIME_US,
    MIN_DATETIME_US,
    NS_PER_US,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
    bool_,
    string,
)


def as_bool(value: Value) -> Value:
    if value.type is BOOL:
        return value
    if value.type is DYNAMIC:
        flag = parts_of(value).flag
        return null(BOOL) if flag is None else bool_(flag)
    return null(BOOL)


def as_predicate(value: Value) -> exp.Expr:
    """Return a condition for WHERE, where null means false: without what only tells the two apart, so that files
    prune.
    """
    return _predicate(as_bool(value).sql)


def _predicate(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Paren):
        inner = _predicate(node.this)
        return node if inner is node.this else exp.Paren(this=inner)
    if isinstance(node, (exp.And, exp.Or)):
        return type(node)(this=_predicate(node.this), expression=_predicate(node.expression))
    if isinstance(node, exp.Coalesce) and len(node.expressions) == 1:
        [default] = node.expressions
        if isinstance(default, exp.Boolean) and not default.this:
            return _predicate(node.this)
    return node


def as_string(value: Value) -> Value:
    """Convert strings only."""
    if value.type is STRING:
        return value
    if value.type is DYNAMIC:
        text = parts_of(value).text
        return null(STRING) if text is None else string(text)
    return null(STRING)


def as_datetime(value: Value) -> Value:
    """Convert: numbers are nanoseconds since 1970, strings are read as ingest reads them."""
    if value.type is DATETIME:
        return value
    if value.type in NUMBERS:
        if value.is_constant and value.constant is not None and math.isfinite(value.constant):
            return datetime_literal(
                math.floor(value.constant / NS_PER_US) if value.type is REAL else value.constant // NS_PER_US
            )
        return datetime_from_us(_microseconds(value))
    if value.type is STRING:
        if isinstance(value.constant, str):
            ns = datetime_ns(value.constant)
            return datetime_literal(None if ns is None else ns // NS_PER_US)
        return Value(DATETIME, fn("apl_timestamp", value.sql))
    if value.type is DYNAMIC:
        # Never a cast of DuckDB's: that reads other texts, and `epoch` and `infinity` as times.
        texts, numbers = fn("apl_timestamp", as_string(value).sql), as_datetime(as_long(value))
        return Value(DATETIME, coalesce(texts, numbers.sql))
    return null(DATETIME)


def _microseconds(ns: Value) -> exp.Expr:
    if ns.type is REAL:
        return try_cast(fn("floor", infix(exp.Div, ns.sql, number_node(1000.0))), "BIGINT")
    return floor_divide(ns.sql, NS_PER_US)


def datetime_from_us(us: exp.Expr) -> Value:
    """Of microseconds since 1970, a BIGINT or HUGEINT; null outside of the years 1 to 9999."""

    def guarded(v: exp.Expr) -> exp.Expr:
        return case((in_range(v, MIN_DATETIME_US, MAX_DATETIME_US), fn("make_timestamptz", try_cast(v, "BIGINT"))))

    return Value(DATETIME, bind([us], guarded))


def as_timespan(value: Value) -> Value:
    """Convert: numbers are nanoseconds, strings are durations such as 1.5h, 1d2h or 1.02:30:00."""
    if value.type is TIMESPAN:
        return value
    if value.type is STRING:
        if isinstance(value.constant, str):
            return timespan_literal(parse_timespan(value.constant))
        return Value(TIMESPAN, fn("apl_timespan", value.sql))
    if value.type in NUMBERS:
        whole = as_long(value)
        return Value(TIMESPAN, whole.sql, whole.constant)
    if value.type is DYNAMIC:
        return Value(TIMESPAN, coalesce(as_long(value).sql, fn("apl_timespan", as_string(value).sql)))
    return null(TIMESPAN)


_COERCIONS: dict[Type, Callable[[Value], Value]] = {
    BOOL: as_bool,
    LONG: as_long,
    REAL: as_real,
    STRING: as_string,
    DATETIME: as_datetime,
    TIMESPAN: as_timespan,
    DYNAMIC: as_dynamic,
}


def coerce(value: Value, kind: Type) -> Value:
    """Return the value as one of a type; null in rows where it does not fit."""
    if value.type is NULL:
        return null(kind)
    return _COERCIONS[kind](value) if kind is not NULL else value


def unify(values: Sequence[Value]) -> tuple[Type, list[Value]]:
    """Return values that take each other's place, as the branches of iff() do, as values of one type.

    A whole number beside timespans is one of nanoseconds.
    """
    kinds = {value.type for value in values} - {NULL}
    if not kinds:
        return NULL, list(values)
    if len(kinds) == 1:
        [kind] = kinds
    elif kinds == {TIMESPAN, LONG}:
        kind = TIMESPAN
    elif kinds <= {TIMESPAN, *NUMBERS}:
        kind = REAL
    else:
        kind = DYNAMIC
    return kind, [coerce(value, kind) for value in values]
