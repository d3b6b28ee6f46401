"""Values as numbers: whole ones (LONG), others (REAL), or a DYNAMIC with both."""

import math
from collections.abc import Callable

import sqlglot.expressions as exp

from tailrace.query.values.dynamics import as_dynamic, from_numbers, from_parts, parts_of
from tailrace.query.values.lambdas import bind
from tailrace.query.values.literals import literal, null
from tailrace.query.values.nodes import case, cast, coalesce, fn, infix, is_null, number_node, or_, try_cast
from tailrace.query.values.types import DYNAMIC, LONG, NUMBERS, REAL, TIMESPAN, DynamicParts, Value, dynamic, long, real


def as_number(value: Value) -> Value:
    """Return the numbers of a value: LONG or REAL where all are of the one type, else a DYNAMIC of numbers alone.

    A timespan is its nanoseconds.
    """
    if value.type in NUMBERS:
        return value
    if value.type is TIMESPAN:
        return Value(LONG, value.sql, value.constant)
    if value.type is not DYNAMIC:
        return null(REAL)
    if value.is_constant:
        known = literal(value.constant)
        return known if known.type in NUMBERS else null(REAL)
    parts = parts_of(value)
    if parts.real is None:
        return null(REAL) if parts.whole is None else long(parts.whole)
    if parts.whole is None:
        return real(parts.real)
    if parts.is_number:
        return value
    numbers = DynamicParts(parts.whole, parts.real, number=parts.number)
    return from_parts(numbers)


def _whole_and_real(number: Value) -> tuple[Value, Value]:
    """Return the parts of a DYNAMIC of numbers of both types."""
    parts = parts_of(number)
    assert parts.whole is not None
    assert parts.real is not None
    return long(parts.whole), real(parts.real)


def all_doubles(parts: DynamicParts) -> exp.Expr:
    """All numbers, where there are both types."""
    if parts.number is not None:
        return parts.number
    assert parts.whole is not None
    assert parts.real is not None
    return coalesce(parts.real, cast(parts.whole, "DOUBLE"))


def as_real(value: Value) -> Value:
    """All numbers as doubles."""
    number = as_number(value)
    if number.type is REAL:
        return number
    if number.type is LONG:
        if number.is_constant and number.constant is not None:
            return literal(float(number.constant))
        return real(cast(number.sql, "DOUBLE"))
    if number.type is DYNAMIC:
        return real(all_doubles(parts_of(number)))
    return null(REAL)


def as_long(value: Value) -> Value:
    """Whole numbers; a real loses its fraction."""
    number = as_number(value)
    if number.type is LONG:
        return number
    if number.type is REAL:
        return long(try_cast(fn("trunc", number.sql), "BIGINT"))
    if number.type is DYNAMIC:
        whole, other = _whole_and_real(number)
        return long(coalesce(whole.sql, as_long(other).sql))
    return null(LONG)


def as_exact_long(number: Value) -> Value:
    """Return a LONG or a REAL as a LONG; null where it has a fraction or more than 64 bits."""
    if number.type is LONG:
        return number
    return long(bind([number.sql], lambda v: case((infix(exp.EQ, fn("trunc", v), v), try_cast(v, "BIGINT")))))


def nan_as_null(value: Value) -> Value:
    """Return the value, null where it is NaN, which answers show as null and DuckDB takes for the largest number."""
    if value.type is DYNAMIC and value.parts is not None and value.parts.is_number and value.parts.real is not None:
        return from_parts(DynamicParts(value.parts.whole, nan_as_null(real(value.parts.real)).sql))
    if value.type is not REAL or value.is_constant:
        return value
    return real(fn("nullif", value.sql, number_node(math.nan)))


def map_number(value: Value, build: Callable[[Value], Value]) -> Value:
    """Return `build` of a number as the LONG or the REAL that it is in its row; null where it is none.

    `build` makes null of null.
    """
    number = as_number(value)
    if number.type is not DYNAMIC:
        return build(number)
    whole, other = _whole_and_real(number)
    return merge_exclusive(build(whole), build(other))


def map_numbers(left: Value, right: Value, build: Callable[[Value, Value], Value]) -> Value:
    """Return `build` of two numbers: both LONG in rows where both are whole, else both REAL.

    It gets them as they are where neither is of both types.
    """
    a, b = as_number(left), as_number(right)
    if DYNAMIC not in (a.type, b.type):
        return build(a, b)
    one, other = parts_of(a), parts_of(b)
    if one.whole is None or other.whole is None:
        return build(as_real(a), as_real(b))
    wholes = build(_part(a, long(one.whole)), _part(b, long(other.whole)))
    if one.real is None or other.real is None:  # then a real one meets a whole one, or there is none
        x = as_real(a) if one.real is None else real(one.real)
        y = as_real(b) if other.real is None else real(other.real)
        return merge_exclusive(wholes, build(x, y))
    reals = build(as_real(a), as_real(b))
    mixed = or_(is_null(one.whole), is_null(other.whole))  # what whole numbers have no result for stays null
    return merge_exclusive(wholes, Value(reals.type, case((mixed, reals.sql))))


def _part(value: Value, part: Value) -> Value:
    return value if value.type is part.type else part


def merge_exclusive(first: Value, second: Value) -> Value:
    """Return two values of which no row has both, as one."""
    if first.type is second.type:
        return Value(first.type, coalesce(first.sql, second.sql))
    if (first.type, second.type) == (LONG, REAL):
        return from_numbers(first.sql, second.sql)
    return dynamic(coalesce(as_dynamic(first).sql, as_dynamic(second).sql))


def floor_divide(value: exp.Expr, by: int) -> exp.Expr:
    """Return the integer quotient rounded down, by a positive constant."""

    def divided(v: exp.Expr) -> exp.Expr:
        # `//` rounds towards zero, `%` has the sign of the dividend.
        below = infix(exp.LT, infix(exp.Mod, v, number_node(by)), number_node(0))
        return infix(exp.Sub, infix(exp.IntDiv, v, number_node(by)), cast(below, "BIGINT"))

    return bind([value], divided)
