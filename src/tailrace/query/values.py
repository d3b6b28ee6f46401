"""Typed expressions: a DuckDB expression with its APL type, and how a value of one type becomes one of another.

How each type stands in DuckDB:

| Type | DuckDB | |
| --- | --- | --- |
| BOOL | BOOLEAN | |
| LONG | BIGINT | what does not fit is null |
| REAL | DOUBLE | |
| STRING | VARCHAR | |
| DATETIME | TIMESTAMPTZ | microseconds, UTC, years 1 to 9999; what lies outside is null |
| TIMESPAN | BIGINT | nanoseconds, so 292 years either way: a plain integer sorts, divides and bins exactly, and a number that stands for a timespan is one of nanoseconds (as Axiom documents for totimespan) |
| DYNAMIC | JSON | the JSON null at the top is SQL's NULL |
| NULL | any | only ever null |

No expression here may fail for any row: a value that does not fit is null. Trees are never changed once built and may share
nodes. They may not hold sub-queries, because neither TRY nor a lambda of DuckDB allows one: the result of a sub-query comes
in as a column.
"""  # noqa: E501

import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlglot.expressions as exp
from msgspec import UNSET, Struct

from tailrace.query.apl.times import datetime_ns

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
MIN_DATETIME_US, MAX_DATETIME_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Type(StrEnum):
    """The types of APL."""

    BOOL = "bool"
    LONG = "long"
    REAL = "real"
    STRING = "string"
    DATETIME = "datetime"
    TIMESPAN = "timespan"
    DYNAMIC = "dynamic"
    NULL = "null"


BOOL, LONG, REAL, STRING = Type.BOOL, Type.LONG, Type.REAL, Type.STRING
DATETIME, TIMESPAN, DYNAMIC, NULL = Type.DATETIME, Type.TIMESPAN, Type.DYNAMIC, Type.NULL
NUMBERS = (LONG, REAL)

TYPE_NAMES = {
    "bool": BOOL, "boolean": BOOL, "int": LONG, "long": LONG, "real": REAL, "double": REAL, "string": STRING,
    "datetime": DATETIME, "date": DATETIME, "timespan": TIMESPAN, "time": TIMESPAN, "dynamic": DYNAMIC,
}  # fmt: skip
"""Types by the names that APL has for them."""


class Value(Struct, frozen=True, eq=False):
    """An expression of one type.

    `constant` is the Python value where the expression is a literal: bool, int, float, str, None, a datetime as int
    microseconds since 1970, a timespan as int nanoseconds, a dynamic as JSON-able. `number` and `text` are cheaper ways
    to read the numbers or the strings of a DYNAMIC: a DOUBLE and a VARCHAR, null in rows of other types.
    """

    type: Type
    sql: exp.Expr
    constant: Any = UNSET
    number: exp.Expr | None = None
    text: exp.Expr | None = None

    @property
    def is_constant(self) -> bool:
        return self.constant is not UNSET


# Nodes


_TYPES = {
    name: exp.DataType.build(name, dialect="duckdb")
    for name in (
        "BIGINT", "BOOLEAN", "DOUBLE", "HUGEINT", "INTEGER", "JSON", "JSON[]", "TIMESTAMPTZ", "TIMESTAMP", "VARCHAR",
        "DOUBLE[]", "VARCHAR[]", "BIGINT[]", "BOOLEAN[]", "BLOB", "UBIGINT", "UHUGEINT", "VARIANT", "INTERVAL",
    )
}  # fmt: skip
DUCKDB_TYPES = {
    BOOL: "BOOLEAN", LONG: "BIGINT", REAL: "DOUBLE", STRING: "VARCHAR", DATETIME: "TIMESTAMPTZ", TIMESPAN: "BIGINT",
    DYNAMIC: "JSON", NULL: "JSON",
}  # fmt: skip


def fn(name: str, *arguments: exp.Expr) -> exp.Expr:
    """A call of a DuckDB function, by exactly this name."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def cast(value: exp.Expr, kind: str) -> exp.Expr:
    """`CAST(value AS kind)`; only where no value can fail."""
    return exp.Cast(this=value, to=_TYPES[kind])


def try_cast(value: exp.Expr, kind: str) -> exp.Expr:
    """`TRY_CAST(value AS kind)`: null where it fails."""
    return exp.TryCast(this=value, to=_TYPES[kind])


def text_node(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def number_node(value: float) -> exp.Expr:
    """A number; an integer within 64 bits, or a finite double, which is written so that DuckDB reads a DOUBLE."""
    if isinstance(value, float):
        return cast(text_node(repr(value)), "DOUBLE")
    digits = exp.Literal(this=str(abs(value)), is_string=False)
    return exp.Paren(this=exp.Neg(this=digits)) if value < 0 else digits


def null_node(kind: str) -> exp.Expr:
    return cast(exp.null(), kind)


def infix(node: type[exp.Binary], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """A binary operation in parentheses, which sqlglot does not add by itself."""
    return exp.Paren(this=node(this=left, expression=right))


def and_(*conditions: exp.Expr) -> exp.Expr:
    return _chain(exp.And, conditions)


def or_(*conditions: exp.Expr) -> exp.Expr:
    return _chain(exp.Or, conditions)


def _chain(node: type[exp.Binary], items: Sequence[exp.Expr]) -> exp.Expr:
    result = items[0]
    for item in items[1:]:
        result = infix(node, result, item)
    return result


def not_(condition: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Not(this=exp.Paren(this=condition)))


def is_null(value: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Is(this=value, expression=exp.null()))


def is_not_null(value: exp.Expr) -> exp.Expr:
    return not_(is_null(value))


def coalesce(value: exp.Expr, *others: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=value, expressions=list(others)) if others else value


def one_of(value: exp.Expr, *texts: str) -> exp.Expr:
    return exp.Paren(this=exp.In(this=value, expressions=[text_node(each) for each in texts]))


def constant_in(value: Value | None, kind: type) -> Any:
    """The Python value of a literal of a kind, or None."""
    constant = value.constant if value is not None else None
    return constant if isinstance(constant, kind) else None


def in_range(value: exp.Expr, low: int, high: int) -> exp.Expr:
    """`low <= value AND value <= high`, for integers."""
    return exp.Paren(this=exp.Between(this=value, low=number_node(low), high=number_node(high)))


def case(*branches: tuple[exp.Expr, exp.Expr], otherwise: exp.Expr | None = None) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value) for condition, value in branches], default=otherwise)


REFUSAL = "refused: "
"""Begins the message of an error that a compiled query raises itself."""


def refusal(reason: str) -> exp.Expr:
    """Ends the query with this reason once it is reached."""
    return fn("error", text_node(REFUSAL + reason))


def listed(items: Iterable[exp.Expr]) -> exp.Expr:
    """`[a, b, …]`; of one type."""
    return fn("list_value", *items)


_nesting = threading.local()


@contextmanager
def _deeper() -> Iterator[int]:
    depth = getattr(_nesting, "depth", 0)
    _nesting.depth = depth + 1
    try:
        yield depth
    finally:
        _nesting.depth = depth


def each(values: exp.Expr, body: Callable[[exp.Expr], exp.Expr], *, function: str = "list_transform") -> exp.Expr:
    """`list_transform(values, v -> body)`, or list_filter."""
    with _deeper() as depth:
        name = f"v{depth}"
        shown = exp.Lambda(this=body(exp.column(name)), expressions=[exp.to_identifier(name)])
    return fn(function, values, shown)


def bind(arguments: Sequence[exp.Expr], body: Callable[..., exp.Expr]) -> exp.Expr:
    """`body(*arguments)` where each argument is computed once, however often the body names it.

    Without it, expressions grow exponentially with the depth of the query's. The body may name columns besides, but no
    long expression.
    """
    if all(_is_simple(argument) for argument in arguments):
        return body(*arguments)
    long = [n for n, argument in enumerate(arguments) if not _is_simple(argument)]
    if len(long) == 1:
        source = arguments[long[0]]

        def filled(value: exp.Expr) -> exp.Expr:
            return body(*(value if n == long[0] else argument for n, argument in enumerate(arguments)))

    else:
        names = {n: f"a{n}" for n in long}
        pairs = [
            exp.PropertyEQ(this=exp.to_identifier(name), expression=arguments[n]) for n, name in names.items()
        ]  # fmt: skip
        source = exp.Struct(expressions=pairs)

        def filled(value: exp.Expr) -> exp.Expr:
            return body(
                *(
                    fn("struct_extract", value, text_node(names[n])) if n in names else argument
                    for n, argument in enumerate(arguments)
                )
            )

    return fn("list_extract", each(listed([source]), filled), number_node(1))


def opaque(value: exp.Expr, body: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """`body(value)`, where DuckDB does not see a constant: a constant regex that is none would fail the whole query."""
    return fn("list_extract", each(listed([value]), body), number_node(1))


def _is_simple(value: exp.Expr) -> bool:
    # epoch_us() costs less than a lambda, and DuckDB computes equal expressions once.
    while isinstance(value, (exp.Cast, exp.Paren, exp.Neg, exp.Anonymous)):
        if isinstance(value, exp.Anonymous):
            if value.this not in ("struct_extract", "epoch_us"):
                return False
            value = value.expressions[0]
        else:
            value = value.this
    return isinstance(value, (exp.Column, exp.Literal, exp.Null, exp.Boolean))


def attempt(value: exp.Expr) -> exp.Expr:
    """`TRY(value)`: null where it fails in a row. A block with one such row is slow: guard what fails often."""
    volatile = [node for node in value.find_all(exp.Anonymous) if node.this == "random"]
    if not volatile:
        return fn("try", value)
    # TRY refuses a volatile function, but not a parameter.
    with _deeper() as depth:
        name = f"v{depth}"
        inner = value.transform(
            lambda node: exp.column(name) if isinstance(node, exp.Anonymous) and node.this == "random" else node
        )
        shown = exp.Lambda(this=fn("try", inner), expressions=[exp.to_identifier(name)])
    return fn("list_extract", fn("list_transform", listed([fn("random")]), shown), number_node(1))


# Values


def bool_(sql: exp.Expr) -> Value:
    return Value(BOOL, sql)


def long(sql: exp.Expr) -> Value:
    return Value(LONG, sql)


def real(sql: exp.Expr) -> Value:
    return Value(REAL, sql)


def string(sql: exp.Expr) -> Value:
    return Value(STRING, sql)


def dynamic(sql: exp.Expr) -> Value:
    return Value(DYNAMIC, sql)


def literal(value: Any) -> Value:
    """A Python value as a literal: None, bool, int, float, str; anything else is dynamic.

    An integer beyond 64 bits is a real; a real that is not finite is itself.
    """
    if value is None:
        return Value(NULL, exp.null(), None)
    if isinstance(value, bool):
        return Value(BOOL, exp.true() if value else exp.false(), value)
    if isinstance(value, int) and MIN_LONG <= value <= MAX_LONG:
        return Value(LONG, cast(number_node(value), "BIGINT"), value)
    if isinstance(value, int):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    if isinstance(value, float):
        return Value(REAL, number_node(value), value)
    if isinstance(value, str):
        return Value(STRING, text_node(value), value)
    return dynamic_literal(value)


def null(kind: Type) -> Value:
    """A null of a type, as `long(null)` is."""
    return Value(kind, null_node(DUCKDB_TYPES[kind]), None)


def datetime_literal(us: int | None) -> Value:
    """A datetime, in microseconds since 1970; null outside of the years 1 to 9999."""
    if us is None or not MIN_DATETIME_US <= us <= MAX_DATETIME_US:
        return null(DATETIME)
    moment = _EPOCH + timedelta(microseconds=us)
    text = f"{moment.year:04}-{moment:%m-%d %H:%M:%S}.{moment.microsecond:06}+00"
    return Value(DATETIME, cast(text_node(text), "TIMESTAMPTZ"), us)


def timespan_literal(ns: int | None) -> Value:
    """A timespan of nanoseconds; null beyond 64 bits."""
    if ns is None or not MIN_LONG <= ns <= MAX_LONG:
        return null(TIMESPAN)
    return Value(TIMESPAN, cast(number_node(ns), "BIGINT"), ns)


def dynamic_literal(value: Any) -> Value:
    """A JSON-able Python value as a dynamic."""
    if value is None:
        return null(DYNAMIC)
    return Value(DYNAMIC, cast(text_node(to_json(value)), "JSON"), value)


def to_json(value: Any) -> str:
    """JSON text; integers of any size; what is not finite is null."""
    try:
        return msgspec.json.encode(value).decode()
    except (OverflowError, msgspec.MsgspecError):
        return _big_json(value)


def _big_json(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{to_json(str(key))}:{_big_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_big_json(item) for item in value) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return msgspec.json.encode(value).decode()


def dictionary(pairs: Iterable[tuple[str, Value]]) -> Value:
    """A dictionary of the given keys, in order."""
    items = [part for key, value in pairs for part in (text_node(key), as_dynamic(value).sql)]
    return dynamic(fn("json_object", *items))


def array(values: Sequence[Value]) -> Value:
    """An array of values of any types."""
    return dynamic(fn("json_array", *(as_dynamic(value).sql for value in values)))


def as_predicate(value: Value) -> exp.Expr:
    """A condition for WHERE, where null means false: without what only tells the two apart, so that files prune."""
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


# Reading a dynamic


def json_kind(value: exp.Expr) -> exp.Expr:
    """ARRAY, OBJECT, VARCHAR, BOOLEAN, BIGINT, UBIGINT, DOUBLE or NULL."""
    return fn("json_type", value)


def json_text(value: exp.Expr) -> exp.Expr:
    """A JSON string's text; of anything else its JSON text; of the JSON null NULL."""
    return fn("json_extract_string", value, text_node("$"))


def not_json_null(value: exp.Expr) -> exp.Expr:
    return fn("nullif", value, cast(text_node("null"), "JSON"))


def elements(value: Value) -> exp.Expr:
    """A dynamic's elements as JSON[]; NULL where it is no array."""
    return try_cast(_as_array(value).sql, "JSON[]")


def _of_kind(value: Value, *kinds: str) -> Value:
    sql = bind([value.sql], lambda v: case((one_of(json_kind(v), *kinds), v)))
    return Value(DYNAMIC, sql)


def _as_array(value: Value) -> Value:
    if value.is_constant and isinstance(value.constant, list):
        return value
    return _of_kind(value, "ARRAY")


# Coercions. Where the type of a row does not fit, the result is null.


def as_bool(value: Value) -> Value:
    if value.type is BOOL:
        return value
    if value.type is DYNAMIC:
        return bool_(bind([value.sql], lambda v: case((json_kind(v).eq("BOOLEAN"), json_text(v).eq("true")))))
    return null(BOOL)


def as_number(value: Value) -> Value:
    """A LONG or a REAL, whichever the value is; a dynamic's numbers are REAL."""
    if value.type in NUMBERS:
        return value
    return as_real(value)


def as_real(value: Value) -> Value:
    if value.type is REAL:
        return value
    if value.type is LONG:
        if value.is_constant and value.constant is not None:
            return literal(float(value.constant))
        return real(cast(value.sql, "DOUBLE"))
    if value.type is DYNAMIC:
        if value.number is not None:
            return real(value.number)
        return real(bind([value.sql], lambda v: case((_is_number(v), try_cast(v, "DOUBLE")))))
    return null(REAL)


def as_long(value: Value) -> Value:
    """Whole numbers; a real loses its fraction."""
    if value.type is LONG:
        return value
    if value.type is REAL:
        return long(try_cast(fn("trunc", value.sql), "BIGINT"))
    if value.type is DYNAMIC:
        # Not by way of `number`: a double does not hold all whole numbers.
        return long(
            bind(
                [value.sql],
                lambda v: exp.Case(
                    this=json_kind(v),
                    ifs=[
                        *(exp.If(this=text_node(kind), true=try_cast(v, "BIGINT")) for kind in ("BIGINT", "UBIGINT")),
                        exp.If(
                            this=text_node("DOUBLE"),
                            true=try_cast(fn("trunc", try_cast(v, "DOUBLE")), "BIGINT"),
                        ),
                    ],
                ),
            )
        )
    return null(LONG)


def nan_as_null(value: Value) -> Value:
    """The value, null where it is NaN, which answers show as null and DuckDB takes for the largest number."""
    if value.type is not REAL or value.is_constant:
        return value
    return real(fn("nullif", value.sql, number_node(math.nan)))


def _is_number(value: exp.Expr) -> exp.Expr:
    return one_of(json_kind(value), "BIGINT", "UBIGINT", "DOUBLE")


def as_string(value: Value) -> Value:
    """Strings only."""
    if value.type is STRING:
        return value
    if value.type is DYNAMIC:
        if value.text is not None:
            return string(value.text)
        return string(bind([value.sql], lambda v: case((json_kind(v).eq("VARCHAR"), json_text(v)))))
    return null(STRING)


def as_text(value: Value) -> Value:
    """Any value written out, as tostring() does, but null stays null."""
    match value.type:
        case Type.STRING:
            return value
        case Type.BOOL | Type.LONG:
            if value.is_constant and value.constant is not None:
                return literal(to_json(value.constant))
            return string(cast(value.sql, "VARCHAR"))
        case Type.REAL:
            return string(real_text(value.sql))
        case Type.DATETIME:
            return string(datetime_text(value.sql))
        case Type.TIMESPAN:
            return (
                literal(timespan_text(value.constant))
                if isinstance(value.constant, int)
                else string(fn("apl_timespan_text", value.sql))
            )
        case Type.DYNAMIC:
            return string(bind([value.sql], _dynamic_text))
    return null(STRING)


def _dynamic_text(value: exp.Expr) -> exp.Expr:
    reals = fn("regexp_replace", json_text(value), text_node(r"\.0$"), text_node(""))
    return case((json_kind(value).eq("DOUBLE"), reals), otherwise=json_text(value))


def real_text(value: exp.Expr) -> exp.Expr:
    """The shortest decimal that means this double; whole numbers without a fraction."""

    def shown(v: exp.Expr) -> exp.Expr:
        digits = fn("regexp_replace", cast(v, "VARCHAR"), text_node(r"\.0$"), text_node(""))
        return case((fn("isnan", v), text_node("NaN")), otherwise=digits)

    return bind([value], shown)


def datetime_text(value: exp.Expr) -> exp.Expr:
    """RFC 3339 in UTC, the fraction without closing zeros."""
    # Of a TIMESTAMPTZ, strftime would show the session's time zone.
    shown = fn("strftime", fn("make_timestamp", fn("epoch_us", value)), text_node("%Y-%m-%dT%H:%M:%S.%fZ"))
    return fn(
        "regexp_replace", fn("lpad", shown, number_node(27), text_node("0")), text_node(r"\.?0*Z$"), text_node("Z")
    )


def as_datetime(value: Value) -> Value:
    """Numbers are nanoseconds since 1970, strings are read as ingest reads them."""
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


def floor_divide(value: exp.Expr, by: int) -> exp.Expr:
    """The integer quotient rounded down, by a positive constant."""

    def divided(v: exp.Expr) -> exp.Expr:
        # `//` rounds towards zero, `%` has the sign of the dividend.
        below = infix(exp.LT, infix(exp.Mod, v, number_node(by)), number_node(0))
        return infix(exp.Sub, infix(exp.IntDiv, v, number_node(by)), cast(below, "BIGINT"))

    return bind([value], divided)


def datetime_from_us(us: exp.Expr) -> Value:
    """Of microseconds since 1970, a BIGINT or HUGEINT; null outside of the years 1 to 9999."""

    def guarded(v: exp.Expr) -> exp.Expr:
        return case((in_range(v, MIN_DATETIME_US, MAX_DATETIME_US), fn("make_timestamptz", try_cast(v, "BIGINT"))))

    return Value(DATETIME, bind([us], guarded))


def as_timespan(value: Value) -> Value:
    """Numbers are nanoseconds, strings are durations such as 1.5h, 1d2h or 1.02:30:00."""
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


def as_dynamic(value: Value) -> Value:
    """Any value in an array or a dictionary; datetimes and timespans are written out; what is not finite is null."""
    match value.type:
        case Type.DYNAMIC:
            return value
        case Type.NULL:
            return null(DYNAMIC)
        case Type.REAL:
            # JSON has no infinity.
            finite = bind([value.sql], lambda v: case((fn("isfinite", v), fn("to_json", v))))
            return Value(DYNAMIC, finite, value.constant)
        case Type.DATETIME | Type.TIMESPAN:
            return dynamic(fn("to_json", as_text(value).sql))
    return Value(DYNAMIC, fn("to_json", value.sql), value.constant)


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
    """The value as one of a type; null in rows where it does not fit."""
    if value.type is NULL:
        return null(kind)
    return _COERCIONS[kind](value) if kind is not NULL else value


def unified(values: Sequence[Value]) -> tuple[Type, list[Value]]:
    """Values that take each other's place, as the branches of iff() do, as values of one type."""
    kinds = {value.type for value in values} - {NULL}
    if not kinds:
        return NULL, list(values)
    if len(kinds) == 1:
        [kind] = kinds
    elif kinds <= set(NUMBERS):
        kind = REAL
    else:
        kind = DYNAMIC
    return kind, [coerce(value, kind) for value in values]


# Timespans as text


_UNITS_NS = {
    "w": 604_800 * NS_PER_S, "week": 604_800 * NS_PER_S, "weeks": 604_800 * NS_PER_S,
    "d": 86_400 * NS_PER_S, "day": 86_400 * NS_PER_S, "days": 86_400 * NS_PER_S,
    "h": 3_600 * NS_PER_S, "hr": 3_600 * NS_PER_S, "hrs": 3_600 * NS_PER_S,
    "hour": 3_600 * NS_PER_S, "hours": 3_600 * NS_PER_S,
    "m": 60 * NS_PER_S, "min": 60 * NS_PER_S, "mins": 60 * NS_PER_S, "minute": 60 * NS_PER_S, "minutes": 60 * NS_PER_S,
    "s": NS_PER_S, "sec": NS_PER_S, "secs": NS_PER_S, "second": NS_PER_S, "seconds": NS_PER_S,
    "ms": 1_000_000, "milli": 1_000_000, "millis": 1_000_000, "millisecond": 1_000_000, "milliseconds": 1_000_000,
    "us": 1_000, "µs": 1_000, "μs": 1_000, "micro": 1_000, "micros": 1_000, "microsecond": 1_000, "microseconds": 1_000,
    "tick": 100, "ticks": 100, "ns": 1, "nano": 1, "nanos": 1, "nanosecond": 1, "nanoseconds": 1,
}  # fmt: skip
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zµμ]+)\s*")
_CLOCK = re.compile(r"(?:([0-9]+)\.)?([0-9]+):([0-9]+)(?::([0-9]+)(?:\.([0-9]{1,9})[0-9]*)?)?")
_MAX_TIMESPAN_CHARACTERS = 100


def parse_timespan(text: str) -> int | None:
    """Nanoseconds of `1.5h`, `1d2h`, `100ms`, `10min`, or of `[d.]hh:mm[:ss[.fffffff]]`; None for anything else."""
    text = text.strip()
    if len(text) > _MAX_TIMESPAN_CHARACTERS:
        return None
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if clock := _CLOCK.fullmatch(rest):
        days, hours, minutes, seconds, fraction = clock.groups("0")
        whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
        return _in_64_bits(sign * (whole * NS_PER_S + int(fraction.ljust(9, "0"))))
    if rest == "0":
        return 0
    total, end = 0, 0
    while end < len(rest):
        part = _PART.match(rest, end)
        if part is None or part[2] not in _UNITS_NS:
            return None
        digits, _, decimals = part[1].partition(".")
        unit_ns = _UNITS_NS[part[2]]
        total += int(digits or "0") * unit_ns + int(decimals or "0") * unit_ns // 10 ** len(decimals)
        end = part.end()
    return _in_64_bits(sign * total) if end else None


def _in_64_bits(number: int) -> int | None:
    return number if MIN_LONG <= number <= MAX_LONG else None


def timespan_text(ns: int) -> str:
    """Nanoseconds as Go writes a duration: `1h30m0s`, `1.5s`, `100ms`, `0s`."""
    sign, rest = ("-", -ns) if ns < 0 else ("", ns)
    if rest < NS_PER_S:
        for unit_ns, name in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if rest >= unit_ns:
                return f"{sign}{_decimal(rest, unit_ns)}{name}"
        return "0s"
    minutes, below = divmod(rest, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{shown}{_decimal(below, NS_PER_S)}s"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if fraction else str(whole)
