"""The operators of APL: logical, arithmetic, comparison, membership, text.

A comparison of a row whose types do not fit is false (`!=` and the negated ones: true), arithmetic on it null.
"""

import sqlglot.expressions as exp

from tailrace.query.functions.operators.arithmetic import ARITHMETIC, calculate, negate
from tailrace.query.functions.operators.comparison import COMPARISONS, between, compare
from tailrace.query.functions.operators.lists import MEMBERSHIP, membership
from tailrace.query.functions.operators.members import index
from tailrace.query.functions.operators.text import STRING_OPERATORS, has_any, string_operator
from tailrace.query.functions.table import CallInvalid
from tailrace.query.values import LONG, TIMESPAN, Value, as_bool, as_number, bool_, infix, literal, map_number, not_

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "LOGICAL",
    "MEMBERSHIP",
    "STRING_OPERATORS",
    "between",
    "binary",
    "has_any",
    "index",
    "membership",
    "unary",
]

LOGICAL = ("and", "or")


def binary(operator: str, left: Value, right: Value) -> Value:
    """Return `left operator right`, for every operator but the membership ones and between. Raise CallInvalid."""
    if operator in LOGICAL:
        node = exp.And if operator == "and" else exp.Or
        return bool_(infix(node, as_bool(left).sql, as_bool(right).sql))
    if operator in ARITHMETIC:
        return calculate(operator, left, right)
    if operator in COMPARISONS:
        return compare("!=" if operator == "<>" else operator, left, right)
    if operator in STRING_OPERATORS:
        return string_operator(operator, left, right)
    raise CallInvalid(f"there is no operator {operator!r}")


def unary(operator: str, value: Value) -> Value:
    """Return `-value`, `+value` or `not value`. Raise CallInvalid."""
    if operator == "not":
        return bool_(not_(as_bool(value).sql))
    if operator not in ("-", "+"):
        raise CallInvalid(f"there is no operator {operator!r}")
    if value.type is TIMESPAN:
        negated = calculate("-", literal(0), Value(LONG, value.sql, value.constant))
        return value if operator == "+" else Value(TIMESPAN, negated.sql, negated.constant)
    return as_number(value) if operator == "+" else map_number(value, negate)
