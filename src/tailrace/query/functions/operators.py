"""The operators of APL: logical, arithmetic, comparison, membership, strings.

A comparison of a row whose types do not fit is false (`!=` and the negated ones: true), arithmetic on it null.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions.regexes import with_regex
from tailrace.query.functions.table import CallInvalid
from tailrace.query.functions.terms import OUTSIDE, patterns_of_any, term_in
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    MAX_LONG,
    MIN_LONG,
    NS_PER_US,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
    and_,
    as_bool,
    as_datetime,
    as_dynamic,
    as_long,
    as_number,
    as_real,
    as_string,
    as_text,
    as_timespan,
    attempt,
    bind,
    bool_,
    case,
    cast,
    coalesce,
    coerce,
    datetime_from_us,
    datetime_literal,
    dynamic,
    elements,
    floor_divide,
    fn,
    infix,
    list_filter,
    literal,
    long,
    map_number,
    map_numbers,
    not_,
    not_json_null,
    null,
    number_node,
    opaque,
    or_,
    parts_of,
    real,
    text_node,
    timespan_literal,
    try_cast,
    value_is_null,
)

FEW_TERMS = 8  # that are looked for one by one; DuckDB takes some 20 ms to compile the regex of each

ARITHMETIC = ("+", "-", "*", "/", "%")
COMPARISONS = ("==", "!=", "<>", "<", "<=", ">", ">=")
LOGICAL = ("and", "or")
MEMBERSHIP = ("in", "!in", "in~", "!in~")


def binary(operator: str, left: Value, right: Value) -> Value:
    """`left operator right`, for every operator but the membership ones and between. Raise CallInvalid."""
    if operator in LOGICAL:
        node = exp.And if operator == "and" else exp.Or
        return bool_(infix(node, as_bool(left).sql, as_bool(right).sql))
    if operator in ARITHMETIC:
        return arithmetic(operator, left, right)
    if operator in COMPARISONS:
        return compare("!=" if operator == "<>" else operator, left, right)
    if operator in STRING_OPERATORS:
        return string_operator(operator, left, right)
    raise CallInvalid(f"there is no operator {operator!r}")


def unary(operator: str, value: Value) -> Value:
    """`-value`, `+value` or `not value`. Raise CallInvalid."""
    if operator == "not":
        return bool_(not_(as_bool(value).sql))
    if operator not in ("-", "+"):
        raise CallInvalid(f"there is no operator {operator!r}")
    if value.type is TIMESPAN:
        negated = arithmetic("-", literal(0), Value(LONG, value.sql, value.constant))
        return value if operator == "+" else Value(TIMESPAN, negated.sql, negated.constant)
    return as_number(value) if operator == "+" else map_number(value, _negative)


def _negative(number: Value) -> Value:
    if number.type is LONG:
        return arithmetic("-", literal(0), number)
    if isinstance(number.constant, float):
        return literal(-number.constant)
    return real(exp.Paren(this=exp.Neg(this=exp.Paren(this=number.sql))))


# Arithmetic


def arithmetic(operator: str, left: Value, right: Value) -> Value:
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


_NODES: dict[str, type[exp.Binary]] = {
    "+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div, "%": exp.Mod,
    "==": exp.EQ, "!=": exp.NEQ, "<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE,
}  # fmt: skip


def _whole_arithmetic(operator: str, left: Value, right: Value) -> Value:
    if isinstance(left.constant, int) and isinstance(right.constant, int):
        folded = _fold(operator, left.constant, right.constant)
        return null(LONG) if folded is None or not MIN_LONG <= folded <= MAX_LONG else literal(folded)
    node = exp.IntDiv if operator == "/" else _NODES[operator]
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
    made = infix(_NODES[operator], left.sql, right.sql)
    if operator == "%":
        made = fn("nullif", made, number_node(float("nan")))
    return real(made)


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
        return map_number(factor, lambda number: _scaled(operator, span, number))
    a, b = as_timespan(left), as_timespan(right)
    a, b = Value(LONG, a.sql, a.constant), Value(LONG, b.sql, b.constant)
    if operator == "/":
        quotient = infix(exp.Div, cast(a.sql, "DOUBLE"), fn("nullif", cast(b.sql, "DOUBLE"), number_node(0)))
        return real(quotient)
    made = _whole_arithmetic(operator, a, b)
    return Value(TIMESPAN, made.sql, made.constant)


def _scaled(operator: str, span: Value, number: Value) -> Value:
    if number.type is LONG:
        made = _whole_arithmetic(operator, Value(LONG, span.sql, span.constant), number)
        return Value(TIMESPAN, made.sql, made.constant)
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


# Comparison


def compare(operator: str, left: Value, right: Value) -> Value:
    """`==`, `!=`, `<`, `<=`, `>`, `>=`. A null equals nothing; the order of a null and anything is null."""
    if left.type is NULL or right.type is NULL:
        return _compare_to_null(operator, right if left.type is NULL else left)
    if operator == "!=":
        return _differ(left, right)
    made = _compared(operator, left, right)
    if operator == "==":
        return literal(False) if made is None else bool_(coalesce(made, exp.false()))
    return null(BOOL) if made is None else bool_(made)


def _compare_to_null(operator: str, value: Value) -> Value:
    if operator == "!=" and value.type is not NULL:
        return bool_(not_(value_is_null(value)))
    return literal(False) if operator in ("==", "!=") else null(BOOL)


def _differ(left: Value, right: Value) -> Value:
    """Whether two values are not equal; false of two nulls."""
    pair = _typed_alike(left, right)
    if pair is not None and DYNAMIC not in (left.type, right.type):
        return bool_(exp.Paren(this=exp.NullSafeNEQ(this=pair[0].sql, expression=pair[1].sql)))
    made = _compared("==", left, right)
    if any(value.is_constant and value.constant is not None for value in (left, right)):
        return literal(True) if made is None else bool_(not_(coalesce(made, exp.false())))
    some = not_(and_(value_is_null(left), value_is_null(right)))
    return bool_(some if made is None else and_(not_(coalesce(made, exp.false())), some))


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
    made = infix(_NODES[operator], a.sql, b.sql)
    # To DuckDB a NaN is the largest number, and equals itself.
    larger = {">": a, ">=": a, "<": b, "<=": b}.get(operator)
    if larger is None or larger.type is not REAL or larger.is_constant:
        return bool_(made)

    def ordered(x: exp.Expr, y: exp.Expr) -> exp.Expr:
        return infix(exp.And, infix(_NODES[operator], x, y), not_(fn("isnan", x if larger is a else y)))

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
    """Numbers as numbers, texts as texts, booleans as such; anything else is equal where its JSON is."""
    node = _NODES[operator]
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
    """`value between (low .. high)`, both ends included; beside a datetime, a timespan as the end counts from low."""
    if high.type is TIMESPAN and DATETIME in (value.type, low.type):
        high = shift(as_datetime(low), high)
    inside = coalesce(and_(compare(">=", value, low).sql, compare("<=", value, high).sql), exp.false())
    return bool_(not_(inside) if negated else inside)


# Membership


def membership(operator: str, value: Value, items: Sequence[Value]) -> Value:
    """`in`, `!in`, `in~`, `!in~` of a list; arrays in the list stand for their elements. Raise CallInvalid."""
    if operator not in MEMBERSHIP:
        raise CallInvalid(f"there is no operator {operator!r}")
    folded = operator.endswith("~")
    alike: dict[Type, list[exp.Expr]] = {}
    numbers: dict[Type, list[str]] = {}
    tests: list[exp.Expr] = []
    for item in _flattened(items):
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
    found = coalesce(_any(tests), exp.false()) if tests else exp.false()
    return bool_(not_(found) if operator.startswith("!") else found)


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


def _any(tests: list[exp.Expr]) -> exp.Expr:
    """Return a balanced OR, as a long list would be nested too deeply for DuckDB."""
    while len(tests) > 2:
        tests = [infix(exp.Or, *tests[n : n + 2]) if n + 1 < len(tests) else tests[n] for n in range(0, len(tests), 2)]
    return or_(*tests)


def string_key(value: Value) -> Value:
    """Return what strings that differ only in case have in common."""
    return Value(STRING, fn("lower", as_string(value).sql))


def _flattened(items: Sequence[Value]) -> Any:
    for item in items:
        if item.type is DYNAMIC and isinstance(item.constant, list):
            yield from _flattened([literal(each) for each in item.constant])
        else:
            yield item


def _in_array(value: Value, array: Value, *, folded: bool) -> exp.Expr:
    wanted = as_dynamic(value).sql

    def found(subject: exp.Expr, array: exp.Expr) -> exp.Expr:
        def same(element: exp.Expr) -> exp.Expr:
            if folded:
                return compare("==", string_key(dynamic(element)), string_key(dynamic(subject))).sql
            return compare("==", dynamic(element), dynamic(subject)).sql

        # A single value stands for itself.
        items = coalesce(try_cast(case((fn("json_type", array).eq("ARRAY"), array)), "JSON[]"), fn("list_value", array))
        hits = list_filter(items, same)
        return infix(exp.GT, fn("len", hits), number_node(0))

    return bind([wanted, array.sql], found)


# Strings


def _contains(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("contains", text, part)


def _starts(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("starts_with", text, part)


def _ends(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("ends_with", text, part)


_TERM_ENDS = {"has": (True, True), "hasprefix": (True, False), "hassuffix": (False, True)}
_PARTS: dict[str, Callable[[exp.Expr, exp.Expr], exp.Expr]] = {
    "contains": _contains, "startswith": _starts, "endswith": _ends,
}  # fmt: skip

STRING_OPERATORS = (
    "=~", "!~", "matches regex", "!matches regex", "has_any", "has_any_cs",
    *(f"{no}{name}{cs}" for name in (*_PARTS, *_TERM_ENDS) for no in ("", "!") for cs in ("", "_cs")),
)  # fmt: skip


def string_operator(operator: str, left: Value, right: Value) -> Value:
    """One of STRING_OPERATORS; negated, a null on the left gives true. Raise CallInvalid for an invalid regex."""
    if operator in ("has_any", "has_any_cs"):
        return has_any(left, [right], cased=operator.endswith("_cs"))
    if operator in ("=~", "!~"):
        return compare("==" if operator == "=~" else "!=", string_key(left), string_key(right))
    negated = operator.startswith("!")
    name = operator.removeprefix("!")
    if name == "matches regex":
        found = _matches(left, right)
    else:
        found = _part(name.removesuffix("_cs"), left, right, cased=name.endswith("_cs"))
    answer = coalesce(found, exp.false())
    return bool_(not_(answer) if negated else answer)


def _matches(left: Value, right: Value) -> exp.Expr:
    return with_regex(right, "matches regex", 1, lambda regex: fn("regexp_matches", as_text(left).sql, regex))


def _part(name: str, left: Value, right: Value, *, cased: bool) -> exp.Expr:
    text, part = as_text(left).sql, as_text(right)
    if name in _PARTS:
        return _PARTS[name](text, part.sql) if cased else _PARTS[name](fn("lower", text), fn("lower", part.sql))
    starts, ends = _TERM_ENDS[name]
    if isinstance(part.constant, str):
        return term_in(text, part.constant, starts=starts, ends=ends, cased=cased)
    return bind([text, part.sql], lambda t, p: _term_at_run_time(t, p, starts=starts, ends=ends, cased=cased))


def _term_at_run_time(text: exp.Expr, part: exp.Expr, *, starts: bool, ends: bool, cased: bool) -> exp.Expr:
    def side(regex: str, bounds: str) -> exp.Expr:
        return case((fn("regexp_matches", part, text_node(regex)), text_node(bounds)), otherwise=text_node(""))

    pieces = [text_node("" if cased else "(?i)")]
    if starts:
        pieces.append(side(r"^[\pL\pN]", f"(?:^|{OUTSIDE})"))
    pieces.append(fn("regexp_escape", part))
    if ends:
        pieces.append(side(r"[\pL\pN]$", f"(?:$|{OUTSIDE})"))
    return opaque(fn("concat", *pieces), lambda regex: attempt(fn("regexp_matches", text, regex)))


def has_any(left: Value, items: Sequence[Value], *, cased: bool = False) -> Value:
    """Whether any of the terms, given alone or as arrays, is in the text."""
    tests = []
    flat = list(_flattened(items))
    terms = list(dict.fromkeys(item.constant for item in flat if isinstance(item.constant, str) and item.constant))
    if len(terms) > FEW_TERMS:
        flat = [item for item in flat if not (isinstance(item.constant, str) and item.constant)]
        text = as_text(left).sql
        prefix = "" if cased else "(?i)"
        tests = [fn("regexp_matches", text, text_node(prefix + pattern)) for pattern in patterns_of_any(terms)]
    for item in flat:
        if item.type is DYNAMIC:

            def found(text: exp.Expr, array: exp.Expr) -> exp.Expr:
                def hit(element: exp.Expr) -> exp.Expr:
                    return _part("has", Value(STRING, text), as_string(dynamic(element)), cased=cased)

                whole = coalesce(elements(dynamic(array)), fn("list_value", array))
                return infix(exp.GT, fn("len", list_filter(whole, hit)), number_node(0))

            tests.append(bind([as_text(left).sql, item.sql], found))
        elif item.type is not NULL:
            tests.append(_part("has", left, item, cased=cased))
    return bool_(coalesce(_any(tests), exp.false()) if tests else exp.false())


# Members


def index(value: Value, key: Value) -> Value:
    """`value[key]`: a dictionary's member by name, an array's element by number, negative ones from the end."""
    if value.type is not DYNAMIC:
        return null(DYNAMIC)
    if isinstance(key.constant, str):
        return dynamic(not_json_null(fn("json_extract", value.sql, text_node(pointer(key.constant)))))
    if key.type is DYNAMIC:

        def either(of: exp.Expr, by: exp.Expr) -> exp.Expr:
            at = Value(DYNAMIC, by)
            found = [index(dynamic(of), as_string(at)), index(dynamic(of), as_long(at))]
            return coalesce(*(each.sql for each in found))

        return dynamic(bind([value.sql, key.sql], either))
    if key.type in NUMBERS:
        return dynamic(not_json_null(fn("json_extract", value.sql, as_long(key).sql)))
    escaped_key = fn("replace", as_text(key).sql, text_node("~"), text_node("~0"))
    path = fn("concat", text_node("/"), fn("replace", escaped_key, text_node("/"), text_node("~1")))
    return dynamic(not_json_null(fn("json_extract", value.sql, path)))


def pointer(key: str) -> str:
    """Return the JSON pointer to a member of this name."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
