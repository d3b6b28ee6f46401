"""Mathematical functions; outside of its domain one is NaN, shown as null; what no double can hold is null."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions.operators import membership
from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NS_PER_US,
    NULL,
    REAL,
    TIMESPAN,
    DynamicParts,
    Value,
    as_datetime,
    as_number,
    as_real,
    as_timespan,
    bind,
    bool_,
    case,
    cast,
    coalesce,
    datetime_text,
    dynamic,
    extreme_of,
    fn,
    in_range,
    infix,
    list_transform,
    literal,
    long,
    map_number,
    nan_as_null,
    not_,
    null,
    null_node,
    number_node,
    one_of,
    parts_of,
    real,
    try_cast,
    unify,
)

FUNCTIONS, _add = table("math")

MAX_RANGE = 10_000  # elements of range() over values of rows: a block of rows holds thousands of such arrays
MAX_CONSTANT_RANGE = 1_000_000


def finite(value: exp.Expr) -> Value:
    """Return a REAL; null where it is infinite."""
    return real(bind([value], lambda v: case((not_(fn("isinf", v)), v))))


def _unary(function: str) -> Callable[..., Value]:
    return lambda context, value: finite(fn(function, value.sql))


# fmt: off
for _name, _function, _doc, _example, _result in (
    ("acos", "acos", "The angle in radians whose cosine this is.", "acos(1)", 0.0),
    ("acosh", "acosh", "The number, at least 0, whose hyperbolic cosine this is.", "acosh(1)", 0.0),
    ("asin", "asin", "The angle in radians whose sine this is.", "asin(0)", 0.0),
    ("asinh", "asinh", "The number whose hyperbolic sine this is.", "asinh(0)", 0.0),
    ("atan", "atan", "The angle in radians whose tangent this is.", "atan(0)", 0.0),
    ("atanh", "atanh", "The number whose hyperbolic tangent this is.", "round(atanh(0.5), 3)", 0.549),
    ("cos", "cos", "The cosine of an angle in radians.", "cos(0)", 1.0),
    ("cosh", "cosh", "The hyperbolic cosine.", "cosh(0)", 1.0),
    ("cot", "cot", "The cotangent of an angle in radians.", "round(cot(1), 3)", 0.642),
    ("degrees", "degrees", "Radians as degrees.", "degrees(pi())", 180.0),
    ("exp", "exp", "e to this power.", "exp(0)", 1.0),
    ("gamma", "gamma", "The gamma function.", "gamma(5)", 24.0),
    ("log", "ln", "The natural logarithm.", "log(1)", 0.0),
    ("log2", "log2", "The logarithm to base 2.", "log2(8)", 3.0),
    ("log10", "log10", "The logarithm to base 10.", "log10(1000)", 3.0),
    ("loggamma", "lgamma", "The natural logarithm of the gamma function's absolute value.", "loggamma(1)", 0.0),
    ("radians", "radians", "Degrees as radians.", "radians(180) == pi()", True),
    ("sin", "sin", "The sine of an angle in radians.", "sin(0)", 0.0),
    ("sinh", "sinh", "The hyperbolic sine.", "sinh(0)", 0.0),
    ("sqrt", "sqrt", "The square root.", "sqrt(9)", 3.0),
    ("tan", "tan", "The tangent of an angle in radians.", "tan(0)", 0.0),
    ("tanh", "tanh", "The hyperbolic tangent.", "tanh(0)", 0.0),
):
    _add(_name, "value:real", REAL, _unary(_function), _doc, f"print {_example}", _result)
# fmt: on


def _abs(context: Context, value: Value) -> Value:
    if value.type is TIMESPAN:
        return Value(TIMESPAN, try_cast(fn("abs", cast(value.sql, "HUGEINT")), "BIGINT"))
    return map_number(value, _magnitude)


def _magnitude(number: Value) -> Value:
    if number.type is LONG:
        return long(try_cast(fn("abs", cast(number.sql, "HUGEINT")), "BIGINT"))
    return real(fn("abs", number.sql))


def _power(base: float) -> Callable[..., Value]:
    return lambda context, value: finite(fn("pow", number_node(base), value.sql))


def _isint(context: Context, value: Value) -> Value:
    if value.type is DYNAMIC:
        kinds = one_of(fn("json_type", value.sql), "BIGINT", "UBIGINT")
        return bool_(coalesce(infix(exp.Or, kinds, _is_whole(as_real(value).sql)), exp.false()))
    if value.type is REAL:
        return bool_(coalesce(_is_whole(value.sql), exp.false()))
    return bool_(not_(exp.Is(this=value.sql, expression=exp.null()))) if value.type is LONG else literal(False)


def _is_whole(value: exp.Expr) -> exp.Expr:
    # Beyond 2**53 every double is whole; an infinite one is none.
    return bind([value], lambda v: infix(exp.And, fn("isfinite", v), infix(exp.EQ, fn("trunc", v), v)))


def _extreme(name: str, function: str) -> Callable[..., Value]:
    def build(context: Context, *arguments: Value) -> Value:
        kind, values = unify(arguments)
        if kind is DYNAMIC:
            return _extreme_of_kinds(function, arguments)
        if kind is NULL:
            return null(REAL)
        return Value(kind, fn(function, *(nan_as_null(each).sql for each in values)))

    return build


def _extreme_of_kinds(function: str, arguments: Sequence[Value]) -> Value:
    parts = [parts_of(each) for each in arguments]

    def among(found: Iterable[exp.Expr | None]) -> exp.Expr | None:
        there = [each for each in found if each is not None]
        return fn(function, *there) if there else None

    extremes = DynamicParts(
        among(each.whole for each in parts),
        among(each.real for each in parts),
        among(each.text for each in parts),
        among(each.flag for each in parts),
    )
    return extreme_of(extremes, largest=function == "greatest")


def _sign(context: Context, value: Value) -> Value:
    if value.type is LONG:
        return long(cast(fn("sign", value.sql), "BIGINT"))
    return real(cast(bind([value.sql], lambda v: case((not_(fn("isnan", v)), fn("sign", v)))), "DOUBLE"))


def _rand(context: Context, limit: Value | None) -> Value:
    if limit is None:
        return real(fn("random"))
    # Not TRY, which refuses random(); the product of a factor below 1 stays within 64 bits.
    number = fn("floor", infix(exp.Mul, fn("random"), cast(limit.sql, "DOUBLE")))
    positive = infix(exp.GT, limit.sql, number_node(0))
    return long(case((positive, try_cast(number, "BIGINT"))))


def _round(context: Context, value: Value, precision: Value | None) -> Value:
    if precision is None:
        return value if value.type is LONG else real(fn("round", value.sql))
    if value.type is REAL:
        return real(fn("round", value.sql, precision_of(precision)))

    def whole(v: exp.Expr, p: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.GTE, p, number_node(0)), v),
            (in_range(p, -18, -1), try_cast(fn("round", cast(v, "HUGEINT"), p), "BIGINT")),
            (infix(exp.LT, p, number_node(-18)), cast(number_node(0), "BIGINT")),
        )

    return long(bind([value.sql, precision_of(precision)], whole))


def precision_of(value: Value) -> exp.Expr:
    """Return a number of digits as an INTEGER, within what any number has; null stays null."""

    def bounded(v: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.LT, v, number_node(-400)), number_node(-400)),
            (infix(exp.GT, v, number_node(400)), number_node(400)),
            (in_range(v, -400, 400), v),
        )

    return cast(bind([value.sql], bounded), "INTEGER")


def _range(context: Context, start: Value, stop: Value, step: Value | None) -> Value:
    kinds = {start.type, stop.type}
    if DATETIME in kinds:
        if step is None:
            raise CallInvalid("range() over datetimes needs a step, a timespan such as 1h")
        return _datetime_range(as_datetime(start), as_datetime(stop), as_timespan(step))
    if TIMESPAN in kinds:
        if step is None:
            raise CallInvalid("range() over timespans needs a step, a timespan such as 1h")
        spans = [as_timespan(each) for each in (start, stop, step)]
        return _timespan_range(*spans)
    given = [as_number(each) for each in (start, stop, step or literal(1))]
    limit = MAX_CONSTANT_RANGE if all(each.is_constant for each in given) else MAX_RANGE
    if all(each.type is LONG for each in given):
        first, last, by = (each.sql for each in given)
        return dynamic(fn("to_json", _series(first, last, by, limit)))
    if DYNAMIC in (each.type for each in given):
        a, b, s = (null_node("BIGINT") if (w := parts_of(each).whole) is None else w for each in given)
        return dynamic(coalesce(fn("to_json", _series(a, b, s, limit)), _real_range(given, limit)))
    return dynamic(_real_range(given, limit))


def _real_range(given: Sequence[Value], limit: int) -> exp.Expr:
    first, last, by = (as_real(each).sql for each in given)

    def reals(a: exp.Expr, b: exp.Expr, s: exp.Expr) -> exp.Expr:
        count = try_cast(fn("floor", infix(exp.Div, infix(exp.Sub, b, a), fn("nullif", s, number_node(0)))), "BIGINT")
        indices = _series(cast(number_node(0), "BIGINT"), count, cast(number_node(1), "BIGINT"), limit)
        return fn("to_json", list_transform(indices, lambda n: infix(exp.Add, a, infix(exp.Mul, n, s))))

    sane = [case((fn("isfinite", v), v)) for v in (first, last, by)]
    return bind(sane, reals)


def _series(first: exp.Expr, last: exp.Expr, step: exp.Expr, limit: int) -> exp.Expr:
    """Return the whole numbers from first to last; null where there are too many."""

    def numbers(a: exp.Expr, b: exp.Expr, s: exp.Expr) -> exp.Expr:
        span = infix(exp.Sub, cast(b, "HUGEINT"), a)
        count = infix(exp.IntDiv, span, fn("nullif", s, number_node(0)))
        return case((infix(exp.LT, count, number_node(limit)), fn("generate_series", a, b, s)))

    return bind([first, last, step], numbers)


def _datetime_range(start: Value, stop: Value, step: Value) -> Value:
    first, last = fn("epoch_us", start.sql), fn("epoch_us", stop.sql)
    constant = start.is_constant and stop.is_constant and step.is_constant
    limit = MAX_CONSTANT_RANGE if constant else MAX_RANGE
    moments = _series(first, last, infix(exp.IntDiv, step.sql, number_node(NS_PER_US)), limit)
    return dynamic(fn("to_json", list_transform(moments, _moment_text)))


def _moment_text(us: exp.Expr) -> exp.Expr:
    return datetime_text(fn("make_timestamptz", us))


def _timespan_range(start: Value, stop: Value, step: Value) -> Value:
    constant = start.is_constant and stop.is_constant and step.is_constant
    spans = _series(start.sql, stop.sql, step.sql, MAX_CONSTANT_RANGE if constant else MAX_RANGE)
    return dynamic(fn("to_json", list_transform(spans, lambda span: fn("apl_timespan_text", span))))


# fmt: off
_add("abs", "value:any", "type of the value", _abs, "The absolute value of a number or a timespan.", "print abs(-5)", 5)
_add("atan2", "y:real, x:real", REAL, lambda c, y, x: finite(fn("atan2", y.sql, x.sql)),
     "The angle in radians between the positive x-axis and the ray to (x, y).", "print atan2(0, 1)", 0.0)
_add("exp2", "value:real", REAL, _power(2.0), "2 to this power.", "print exp2(10)", 1024.0)
_add("exp10", "value:real", REAL, _power(10.0), "10 to this power.", "print exp10(3)", 1000.0)
_add("isfinite", "value:real", BOOL, lambda c, value: bool_(fn("isfinite", value.sql)),
     "Whether a number is neither infinite nor NaN.", "print isfinite(1.0 / 0)", False)
_add("isinf", "value:real", BOOL, lambda c, value: bool_(fn("isinf", value.sql)),
     "Whether a number is infinite.", "print isinf(1.0 / 0)", True)
_add("isint", "value:any", BOOL, _isint, "Whether the value is a number without a fraction.", "print isint(1.0)", True)
_add("isnan", "value:real", BOOL, lambda c, value: bool_(fn("isnan", value.sql)),
     "Whether a number is NaN, as a function outside of its domain is.", "print isnan(sqrt(-1))", True)
_add("max_of", "values:any*", "type of the values", _extreme("max_of", "greatest"),
     "The greatest of the arguments; nulls are passed over.", "print max_of(1, 5, 3)", 5, least=1, most=64)
_add("min_of", "values:any*", "type of the values", _extreme("min_of", "least"),
     "The least of the arguments; nulls are passed over.", "print min_of(1, 5, 3)", 1, least=1, most=64)
_add("not", "condition:bool", BOOL, lambda c, value: bool_(not_(value.sql)),
     "True where the condition is false; null stays null.", "print not(1 > 2)", True)
_add("pi", "", REAL, lambda c: literal(math.pi), "The ratio of a circle's circumference to its diameter.",
     "print pi()", math.pi)
_add("pow", "base:real, exponent:real", REAL, lambda c, base, exponent: finite(fn("pow", base.sql, exponent.sql)),
     "The base to the power of the exponent.", "print pow(2, 10)", 1024.0)
_add("rand", "limit:long?", "real, with a limit long", _rand,
     "A random number from 0 to 1, 1 excluded; with a limit a whole number from 0 to the limit, excluded.",
     "print rand(1)", 0)
_add("range", "start:any, stop:any, step:any?", DYNAMIC, _range,
     "The numbers, datetimes or timespans from start to stop, both included; null for more than "
     f"{MAX_CONSTANT_RANGE} of them, or {MAX_RANGE} where an argument is no literal.",
     "print range(1, 8, 3)", [1, 4, 7])
_add("round", "value:number, precision:long?", "type of the value", _round,
     "The number rounded to this many digits after the point, 0 if not given; halves away from zero.",
     "print round(2.675, 1)", 2.7)
_add("sign", "value:number", "type of the value", _sign, "-1, 0 or 1.", "print sign(-3)", -1)
# fmt: on


# Sets


def _key(value: Any) -> Any:
    """Return what equal JSON values have in common: 1 and 1.0 are equal, true and 1 are not."""
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, _key(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("array", tuple(_key(item) for item in value))
    return (isinstance(value, bool), value)


def _distinct(values: list[Any]) -> list[Any]:
    distinct: dict[Any, Any] = {}
    for value in values:
        distinct.setdefault(_key(value), value)
    return list(distinct.values())


def _sets(arrays: Any) -> list[list[Any]]:
    if not all(isinstance(array, list) for array in arrays):
        raise TypeError("a set is an array")
    return [_distinct(array) for array in arrays]


@udf("apl_set_union", [DYNAMIC], DYNAMIC)
def _set_union(arrays: Any) -> list[Any]:
    return _distinct([value for array in _sets(arrays) for value in array])


@udf("apl_set_intersect", [DYNAMIC], DYNAMIC)
def _set_intersect(arrays: Any) -> list[Any]:
    first, *others = _sets(arrays)
    keys = [{_key(value) for value in array} for array in others]
    return [value for value in first if all(_key(value) in each for each in keys)]


@udf("apl_set_difference", [DYNAMIC], DYNAMIC)
def _set_difference(arrays: Any) -> list[Any]:
    first, *others = _sets(arrays)
    gone = {_key(value) for array in others for value in array}
    return [value for value in first if _key(value) not in gone]


def _has_element(array: exp.Expr, value: Value) -> exp.Expr:
    return case((fn("json_type", array).eq("ARRAY"), membership("in", value, [dynamic(array)]).sql))


def _of_arrays(function: Any) -> Callable[..., Value]:
    return lambda context, *arrays: function(dynamic(fn("json_array", *(array.sql for array in arrays))))


# fmt: off
_add("set_difference", "arrays:dynamic*", DYNAMIC, _of_arrays(_set_difference),
     "The distinct elements of the first array that are in none of the others.",
     "print set_difference(dynamic([1, 2, 2, 3]), dynamic([2]))", [1, 3], least=2)
_add("set_has_element", "array:dynamic, value:any", BOOL,
     lambda c, array, value: bool_(bind([array.sql], lambda a: _has_element(a, value))),
     "Whether an array has an element.", "print set_has_element(dynamic([1, 2]), 2)", True)
_add("set_intersect", "arrays:dynamic*", DYNAMIC, _of_arrays(_set_intersect),
     "The distinct elements of the first array that are in all of the others.",
     "print set_intersect(dynamic([1, 2, 3]), dynamic([3, 2, 4]))", [2, 3], least=2)
_add("set_union", "arrays:dynamic*", DYNAMIC, _of_arrays(_set_union),
     "The distinct elements of all arrays, in the order in which they come.",
     "print set_union(dynamic([1, 2]), dynamic([2, 3]))", [1, 2, 3], least=2)
# fmt: on
