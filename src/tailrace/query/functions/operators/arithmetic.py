"""Sums, differences, products, quotients and remainders; null in a row whose types do not fit."""

import sqlglot.expressions as exp

from tailrace.query.functions.table import CallInvalid
from tailrace.query.values import (
    DATETIME,
    LONG,
    MAX_LONG,
    MIN_LONG,
    NS_PER_US,
    NUMBERS,
    STRING,
    TIMESPAN,
    Value,
    as_datetime,
    as_real,
    as_timespan,
    cast,
    datetime_from_us,
    datetime_literal,
    floor_divide,
    fn,
    infix,
    literal,
    long,
    map_number,
    map_numbers,
    null,
    number_node,
    real,
    timespan_literal,
    try_cast,
)

ARITHMETIC = ("+", "-", "*", "/", "%")
_ARITHMETIC_NODES: dict[str, type[exp.Binary]] = {
    "+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div, "%": exp.Mod,
}  # fmt: skip


def calculate(operator: str, left: Value, right: Value) -> Value:
    """Return sums, differences, products, quotients and remainders of numbers, datetimes and timespans.

    What leaves 64 bits, and a whole number divided by zero, is null. Whole numbers divide to whole numbers.
    """
    if operator == "+":
        for side in (left, right):
            if side.type is STRING and side.is_constant:
                raise CallInvalid("+ adds numbers, datetimes and timespans; strcat() joins strings")
    kinds = {left.type, right.type}
    if DATETIME in kinds and operator in ("+", "-"):
        return _datetime_arithmetic(operator, left, right)
    if TIMESPAN in kinds:
        return _timespan_arithmetic(operator, left, right)

    def computed(a: Value, b: Value) -> Value:
        if a.type is LONG and b.type is LONG:
            return _whole_arithmetic(operator, a, b)
        return _real_arithmetic(operator, as_real(a), as_real(b))

    return map_numbers(left, right, computed)


def negate(number: Value) -> Value:
    if number.type is LONG:
        return calculate("-", literal(0), number)
    if isinstance(number.constant, float):
        return literal(-number.constant)
    return real(exp.Paren(this=exp.Neg(this=exp.Paren(this=number.sql))))


def _whole_arithmetic(operator: str, left: Value, right: Value) -> Value:
    if isinstance(left.constant, int) and isinstance(right.constant, int):
        folded = _fold(operator, left.constant, right.constant)
        return null(LONG) if folded is None or not MIN_LONG <= folded <= MAX_LONG else literal(folded)
    node = exp.IntDiv if operator == "/" else _ARITHMETIC_NODES[operator]
    divisor = right.sql
    if operator in "/%" and isinstance(right.constant, int) and right.constant not in (0, -1):
        return long(infix(node, left.sql, divisor))
    if operator in "/%" and not right.constant:
        divisor = fn("nullif", divisor, number_node(0))
    # In 128 bits nothing overflows, and what comes back to 64 is checked.
    return long(try_cast(infix(node, cast(left.sql, "HUGEINT"), divisor), "BIGINT"))


def _fold(operator: str, left: int, right: int) -> int | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    if right == 0:
        return None
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return quotient if operator == "/" else left - quotient * right


def _real_arithmetic(operator: str, left: Value, right: Value) -> Value:
    number = infix(_ARITHMETIC_NODES[operator], left.sql, right.sql)
    if operator == "%":
        number = fn("nullif", number, number_node(float("nan")))
    return real(number)


def _datetime_arithmetic(operator: str, left: Value, right: Value) -> Value:
    if operator == "-" and left.type is not TIMESPAN and right.type not in (TIMESPAN, *NUMBERS):
        return datetime_difference(as_datetime(left), as_datetime(right))
    if operator == "+" and right.type is DATETIME and left.type is not DATETIME:
        left, right = right, left
    if left.type is not DATETIME or right.type is DATETIME:
        raise CallInvalid(f"a {left.type} {operator} a {right.type} has no meaning")
    return shift(left, as_timespan(right), -1 if operator == "-" else 1)


def datetime_difference(left: Value, right: Value) -> Value:
    """Return the timespan from right to left; null beyond 292 years."""
    if isinstance(left.constant, int) and isinstance(right.constant, int):
        return timespan_literal((left.constant - right.constant) * NS_PER_US)
    us = infix(exp.Sub, cast(fn("epoch_us", left.sql), "HUGEINT"), fn("epoch_us", right.sql))
    return Value(TIMESPAN, try_cast(infix(exp.Mul, us, number_node(NS_PER_US)), "BIGINT"))


def shift(moment: Value, by: Value, sign: int = 1) -> Value:
    """Return a datetime moved by a timespan."""
    if isinstance(moment.constant, int) and isinstance(by.constant, int):
        return datetime_literal(moment.constant + sign * (by.constant // NS_PER_US))
    us = floor_divide(by.sql, NS_PER_US) if not isinstance(by.constant, int) else number_node(by.constant // NS_PER_US)
    node = exp.Add if sign > 0 else exp.Sub
    return datetime_from_us(infix(node, cast(fn("epoch_us", moment.sql), "HUGEINT"), us))


def _timespan_arithmetic(operator: str, left: Value, right: Value) -> Value:
    if operator == "*" or (operator == "/" and right.type is not TIMESPAN):
        span, factor = (left, right) if left.type is TIMESPAN else (right, left)
        if factor.type is TIMESPAN:
            raise CallInvalid("a timespan * a timespan has no meaning")
        return map_number(factor, lambda number: _scale_timespan(operator, span, number))
    a, b = as_timespan(left), as_timespan(right)
    a, b = Value(LONG, a.sql, a.constant), Value(LONG, b.sql, b.constant)
    if operator == "/":
        quotient = infix(exp.Div, cast(a.sql, "DOUBLE"), fn("nullif", cast(b.sql, "DOUBLE"), number_node(0)))
        return real(quotient)
    number = _whole_arithmetic(operator, a, b)
    return Value(TIMESPAN, number.sql, number.constant)


def _scale_timespan(operator: str, span: Value, number: Value) -> Value:
    if number.type is LONG:
        scaled = _whole_arithmetic(operator, Value(LONG, span.sql, span.constant), number)
        return Value(TIMESPAN, scaled.sql, scaled.constant)
    product = _real_arithmetic(operator, as_real(Value(LONG, span.sql, span.constant)), number)
    if isinstance(span.constant, int) and isinstance(number.constant, float):
        folded = _fold_real(operator, span.constant, number.constant)
        if folded is not None:
            return timespan_literal(folded)
    return Value(TIMESPAN, try_cast(fn("trunc", product.sql), "BIGINT"))


def _fold_real(operator: str, span: int, factor: float) -> int | None:
    try:
        return int(span * factor if operator == "*" else span / factor)
    except (ArithmeticError, ValueError):
        return None
