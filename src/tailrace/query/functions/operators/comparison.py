"""Comparisons: `==`, `!=`, `<`, `<=`, `>`, `>=` and `between`.

That of a row whose types do not fit is false (`!=`: true).
"""

import sqlglot.expressions as exp

from tailrace.query.functions.operators.arithmetic import shift
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    TIMESPAN,
    Value,
    and_,
    as_datetime,
    as_string,
    as_timespan,
    bind,
    bool_,
    coalesce,
    coerce,
    fn,
    infix,
    literal,
    map_numbers,
    not_,
    null,
    parts_of,
    value_is_null,
)

COMPARISONS = ("==", "!=", "<>", "<", "<=", ">", ">=")
_COMPARISON_NODES: dict[str, type[exp.Binary]] = {
    "==": exp.EQ, "!=": exp.NEQ, "<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE,
}  # fmt: skip


def compare(operator: str, left: Value, right: Value) -> Value:
    """Compare by `==`, `!=`, `<`, `<=`, `>`, `>=`. A null equals nothing; the order of a null and anything is null."""
    if left.type is NULL or right.type is NULL:
        return _compare_to_null(operator, right if left.type is NULL else left)
    if operator == "!=":
        return _compare_unequal(left, right)
    test = _compared(operator, left, right)
    if operator == "==":
        return literal(False) if test is None else bool_(coalesce(test, exp.false()))
    return null(BOOL) if test is None else bool_(test)


def _compare_to_null(operator: str, value: Value) -> Value:
    if operator == "!=" and value.type is not NULL:
        return bool_(not_(value_is_null(value)))
    return literal(False) if operator in ("==", "!=") else null(BOOL)


def _compare_unequal(left: Value, right: Value) -> Value:
    """Whether two values are not equal; false of two nulls."""
    pair = _typed_alike(left, right)
    if pair is not None and DYNAMIC not in (left.type, right.type):
        return bool_(exp.Paren(this=exp.NullSafeNEQ(this=pair[0].sql, expression=pair[1].sql)))
    equal = _compared("==", left, right)
    if any(value.is_constant and value.constant is not None for value in (left, right)):
        return literal(True) if equal is None else bool_(not_(coalesce(equal, exp.false())))
    some = not_(and_(value_is_null(left), value_is_null(right)))
    return bool_(some if equal is None else and_(not_(coalesce(equal, exp.false())), some))


def _compared(operator: str, left: Value, right: Value) -> exp.Expr | None:
    """Return the comparison in SQL, null where the two have no order; None where no two values have one."""
    kinds = {left.type, right.type}
    pair = _typed_alike(left, right)
    if pair is not None:
        return _compare_typed(operator, *pair).sql
    if DYNAMIC not in kinds:
        return None
    if kinds & set(NUMBERS):
        return map_numbers(left, right, lambda a, b: _compare_typed(operator, a, b)).sql
    return _compare_dynamics(operator, left, right)


def _compare_typed(operator: str, a: Value, b: Value) -> Value:
    test = infix(_COMPARISON_NODES[operator], a.sql, b.sql)
    # To DuckDB a NaN is the largest number, and equals itself.
    larger = {">": a, ">=": a, "<": b, "<=": b}.get(operator)
    if larger is None or larger.type is not REAL or larger.is_constant:
        return bool_(test)

    def ordered(x: exp.Expr, y: exp.Expr) -> exp.Expr:
        return infix(exp.And, infix(_COMPARISON_NODES[operator], x, y), not_(fn("isnan", x if larger is a else y)))

    return bool_(bind([a.sql, b.sql], ordered))


def _typed_alike(left: Value, right: Value) -> tuple[Value, Value] | None:
    """Both sides as one type that is not DYNAMIC, or both as numbers; None where there is no such."""
    kinds = {left.type, right.type}
    if DATETIME in kinds or TIMESPAN in kinds:
        convert = as_datetime if DATETIME in kinds else as_timespan
        return None if BOOL in kinds else (convert(left), convert(right))
    if kinds <= set(NUMBERS):
        return left, right
    if left.type is right.type:
        return None if left.type is DYNAMIC else (left, right)
    for kind in (STRING, BOOL):
        if kinds == {DYNAMIC, kind}:
            return coerce(left, kind), coerce(right, kind)
    return None


def _compare_dynamics(operator: str, left: Value, right: Value) -> exp.Expr | None:
    """Compare numbers as numbers, texts as texts, booleans as such; anything else is equal where its JSON is."""
    node = _COMPARISON_NODES[operator]
    a, b = parts_of(left), parts_of(right)
    tests = []
    if a.has_numbers and b.has_numbers:
        tests.append(map_numbers(left, right, lambda x, y: _compare_typed(operator, x, y)).sql)
    if operator == "==" and a.incomplete and b.incomplete:
        tests.append(infix(exp.EQ, left.sql, right.sql))
    else:
        pairs = ((a.text, b.text), (a.flag, b.flag))
        tests += [infix(node, x, y) for x, y in pairs if x is not None and y is not None]
    return coalesce(*tests) if tests else None


def between(value: Value, low: Value, high: Value, *, negated: bool = False) -> Value:
    """Return `value between (low .. high)`, both ends included; beside a datetime, a timespan as the end counts from
    low.
    """
    if high.type is TIMESPAN and DATETIME in (value.type, low.type):
        high = shift(as_datetime(low), high)
    inside = coalesce(and_(compare(">=", value, low).sql, compare("<=", value, high).sql), exp.false())
    return bool_(not_(inside) if negated else inside)


def string_key(value: Value) -> Value:
    """Return what strings that differ only in case have in common."""
    return Value(STRING, fn("lower", as_string(value).sql))
