"""Whether a value is in a list: `in`, `!in`, `in~`, `!in~`."""

import math
from collections.abc import Iterable, Iterator, Sequence

import sqlglot.expressions as exp

from tailrace.query.functions.operators.comparison import compare, string_key
from tailrace.query.functions.table import CallInvalid
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    Type,
    Value,
    as_dynamic,
    bind,
    bool_,
    case,
    coalesce,
    coerce,
    dynamic,
    fn,
    infix,
    list_filter,
    literal,
    not_,
    number_node,
    or_,
    parts_of,
    try_cast,
)

MEMBERSHIP = ("in", "!in", "in~", "!in~")


def membership(operator: str, value: Value, items: Sequence[Value]) -> Value:
    """Return `in`, `!in`, `in~`, `!in~` of a list; arrays in the list stand for their elements. Raise CallInvalid."""
    if operator not in MEMBERSHIP:
        raise CallInvalid(f"there is no operator {operator!r}")
    folded = operator.endswith("~")
    alike: dict[Type, list[exp.Expr]] = {}
    numbers: dict[Type, list[str]] = {}
    tests: list[exp.Expr] = []
    for item in flatten_arrays(items):
        if item.type is NULL:
            continue
        if item.type is DYNAMIC and not item.is_constant:
            tests.append(_in_array(value, item, folded=folded))
        elif item.is_constant and item.constant is not None and _is_plain(value, item):
            if item.type in NUMBERS and not folded:
                numbers.setdefault(item.type, []).append(_digits(item.constant))
            else:
                alike.setdefault(item.type, []).append(string_key(item).sql if folded else item.sql)
        elif folded:
            tests.append(compare("==", string_key(value), string_key(item)).sql)
        else:
            tests.append(compare("==", value, item).sql)
    for kind, digits in numbers.items():
        alike[kind] = [exp.Var(this=", ".join(digits))]  # as one node, of which a long list would be too many
    for kind, constants in alike.items():
        if folded and kind is not STRING:
            continue
        subjects = [string_key(value).sql] if folded else _subjects(value, kind)
        tests[:0] = [exp.Paren(this=exp.In(this=subject, expressions=constants)) for subject in subjects]
    is_member = coalesce(any_of(tests), exp.false()) if tests else exp.false()
    return bool_(not_(is_member) if operator.startswith("!") else is_member)


def _is_plain(value: Value, item: Value) -> bool:
    """Whether IN of SQL compares a value with a literal as `==` does."""
    if item.type is REAL and not math.isfinite(item.constant):
        return False
    if item.type in NUMBERS:
        return value.type in (*NUMBERS, DYNAMIC)
    return item.type in (STRING, BOOL) and value.type in (item.type, DYNAMIC)


def _subjects(value: Value, kind: Type) -> list[exp.Expr]:
    """Return the values that may be equal to literals of a type."""
    if kind not in NUMBERS:
        return [coerce(value, kind).sql]
    if value.type is not DYNAMIC:
        return [value.sql]
    parts = parts_of(value)
    return [part for part in (parts.whole, parts.real) if part is not None]


def _digits(number: float) -> str:
    """Return a number in a list, without its type, which a long list would take longer to bind than all else."""
    text = repr(number)
    return text if isinstance(number, int) or "e" in text else f"{text}e0"  # with an exponent it is a DOUBLE


def any_of(tests: list[exp.Expr]) -> exp.Expr:
    """Return a balanced OR, as a long list would be nested too deeply for DuckDB."""
    while len(tests) > 2:
        tests = [infix(exp.Or, *tests[n : n + 2]) if n + 1 < len(tests) else tests[n] for n in range(0, len(tests), 2)]
    return or_(*tests)


def flatten_arrays(items: Iterable[Value]) -> Iterator[Value]:
    """Yield the items, the elements of literal arrays in place of these."""
    for item in items:
        if item.type is DYNAMIC and isinstance(item.constant, list):
            yield from flatten_arrays(map(literal, item.constant))
        else:
            yield item


def _in_array(value: Value, array: Value, *, folded: bool) -> exp.Expr:
    def has_equal(subject: exp.Expr, array: exp.Expr) -> exp.Expr:
        def is_equal(element: exp.Expr) -> exp.Expr:
            if folded:
                return compare("==", string_key(dynamic(element)), string_key(dynamic(subject))).sql
            return compare("==", dynamic(element), dynamic(subject)).sql

        # A single value stands for itself.
        items = coalesce(try_cast(case((fn("json_type", array).eq("ARRAY"), array)), "JSON[]"), fn("list_value", array))
        return infix(exp.GT, fn("len", list_filter(items, is_equal)), number_node(0))

    return bind([as_dynamic(value).sql, array.sql], has_equal)
