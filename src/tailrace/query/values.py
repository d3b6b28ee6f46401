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
from tailrace.query.fields import REFUSAL

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


class Parts(Struct, frozen=True, eq=False):
    """The values of a DYNAMIC by kind, so that each row keeps its own type: of each kind an expression that is null in
    rows of another, None where no row is of that kind.
    """

    whole: exp.Expr | None = None  # BIGINT
    real: exp.Expr | None = None  # DOUBLE; whole numbers beyond 64 bits are here
    text: exp.Expr | None = None  # VARCHAR
    flag: exp.Expr | None = None  # BOOLEAN
    others: bool = False  # whether a row may hold what these do not tell in full: an array, a dictionary, more digits
    number: exp.Expr | None = None  # all numbers as DOUBLE, where that is cheaper than to put them together

    def expressions(self) -> list[exp.Expr]:
        found = (self.whole, self.real, self.text, self.flag, self.number)
        return [each for each in found if each is not None]

    def each(self, build: Callable[[exp.Expr], exp.Expr]) -> "Parts":
        """Of each kind what `build` makes of it."""
        return self._each(lambda kind, node: build(node), others=False)

    def replaced(self, replace: Callable[[Type, exp.Expr], exp.Expr]) -> "Parts":
        """Return the parts with other expressions for what no column is yet."""
        return self._each(
            lambda kind, node: node if isinstance(node, exp.Column) else replace(kind, node), others=self.others
        )

    def _each(self, build: Callable[[Type, exp.Expr], exp.Expr], *, others: bool) -> "Parts":
        return Parts(
            None if self.whole is None else build(LONG, self.whole),
            None if self.real is None else build(REAL, self.real),
            None if self.text is None else build(STRING, self.text),
            None if self.flag is None else build(BOOL, self.flag),
            others=others,
        )

    @property
    def has_numbers(self) -> bool:
        return self.whole is not None or self.real is not None

    @property
    def is_number(self) -> bool:
        """Whether there is nothing but numbers."""
        return self.text is None and self.flag is None and not self.others


class Value(Struct, frozen=True, eq=False):
    """An expression of one type.

    `constant` is the Python value where the expression is a literal: bool, int, float, str, None, a datetime as int
    microseconds since 1970, a timespan as int nanoseconds, a dynamic as JSON-able. `parts` are cheaper ways to read the
    values of a DYNAMIC than its JSON.
    """

    type: Type
    sql: exp.Expr
    constant: Any = UNSET
    parts: Parts | None = None

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
    """Return a call of a DuckDB function, by exactly this name."""
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
    """Return a number; an integer within 64 bits, or a finite double, which is written so that DuckDB reads a
    DOUBLE.
    """
    if isinstance(value, float):
        return cast(text_node(repr(value)), "DOUBLE")
    digits = exp.Literal(this=str(abs(value)), is_string=False)
    return exp.Paren(this=exp.Neg(this=digits)) if value < 0 else digits


def null_node(kind: str) -> exp.Expr:
    return cast(exp.null(), kind)


def infix(node: type[exp.Binary], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Return a binary operation in parentheses, which sqlglot does not add by itself."""
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
    """Return the Python value of a literal of a kind, or None."""
    constant = value.constant if value is not None else None
    return constant if isinstance(constant, kind) else None


def in_range(value: exp.Expr, low: int, high: int) -> exp.Expr:
    """`low <= value AND value <= high`, for integers."""
    return exp.Paren(this=exp.Between(this=value, low=number_node(low), high=number_node(high)))


def case(*branches: tuple[exp.Expr, exp.Expr], otherwise: exp.Expr | None = None) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value) for condition, value in branches], default=otherwise)


def refusal(reason: str) -> exp.Expr:
    """End the query with this reason once it is reached."""
    return fn("error", text_node(REFUSAL + reason))


def listed(items: Iterable[exp.Expr]) -> exp.Expr:
    """Return `[a, b, …]`; of one type."""
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
    """Return a Python value as a literal: None, bool, int, float, str; anything else is dynamic.

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
    """Return a null of a type, as `long(null)` is."""
    return Value(kind, null_node(DUCKDB_TYPES[kind]), None)


def datetime_literal(us: int | None) -> Value:
    """Return a datetime, in microseconds since 1970; null outside of the years 1 to 9999."""
    if us is None or not MIN_DATETIME_US <= us <= MAX_DATETIME_US:
        return null(DATETIME)
    moment = _EPOCH + timedelta(microseconds=us)
    text = f"{moment.year:04}-{moment:%m-%d %H:%M:%S}.{moment.microsecond:06}+00"
    return Value(DATETIME, cast(text_node(text), "TIMESTAMPTZ"), us)


def timespan_literal(ns: int | None) -> Value:
    """Return a timespan of nanoseconds; null beyond 64 bits."""
    if ns is None or not MIN_LONG <= ns <= MAX_LONG:
        return null(TIMESPAN)
    return Value(TIMESPAN, cast(number_node(ns), "BIGINT"), ns)


def dynamic_literal(value: Any) -> Value:
    """Return a JSON-able Python value as a dynamic."""
    if value is None:
        return null(DYNAMIC)
    return Value(DYNAMIC, cast(text_node(to_json(value)), "JSON"), value)


_ENCODER = msgspec.json.Encoder()


def to_json(value: Any) -> str:
    """JSON text; integers of any size; what is not finite is null."""
    try:
        return _ENCODER.encode(value).decode()
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
    """Return a dictionary of the given keys, in order."""
    items = [part for key, value in pairs for part in (text_node(key), as_dynamic(value).sql)]
    return dynamic(fn("json_object", *items))


def array(values: Sequence[Value]) -> Value:
    """Return an array of values of any types."""
    return dynamic(fn("json_array", *(as_dynamic(value).sql for value in values)))


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


# Reading a dynamic


def json_kind(value: exp.Expr) -> exp.Expr:
    """ARRAY, OBJECT, VARCHAR, BOOLEAN, BIGINT, UBIGINT, DOUBLE or NULL."""
    return fn("json_type", value)


def json_text(value: exp.Expr) -> exp.Expr:
    """Return a JSON string's text; of anything else its JSON text; of the JSON null NULL."""
    return fn("json_extract_string", value, text_node("$"))


def not_json_null(value: exp.Expr) -> exp.Expr:
    return fn("nullif", value, cast(text_node("null"), "JSON"))


def elements(value: Value) -> exp.Expr:
    """Return a dynamic's elements as JSON[]; NULL where it is no array."""
    return try_cast(_as_array(value).sql, "JSON[]")


_SURELY_WHOLE, _MAYBE_WHOLE = "-?[0-9]{1,18}", "-?[0-9]{19}"  # the last of which may be beyond 64 bits


def whole_of_json(value: exp.Expr) -> exp.Expr:
    """Return the whole numbers of 64 bits as BIGINT."""

    def read(v: exp.Expr) -> exp.Expr:
        # Many times faster than to parse the JSON, which cannot tell 1 from 1.0 but by its text either.
        text = cast(v, "VARCHAR")
        digits = fn("regexp_full_match", text, text_node("-?[0-9]{1,19}"))
        return case((digits, try_cast(text, "BIGINT")))

    return bind([value], read)


def real_of_json(value: exp.Expr) -> exp.Expr:
    """All other numbers as DOUBLE."""

    def read(v: exp.Expr) -> exp.Expr:
        text = cast(v, "VARCHAR")
        fits = is_not_null(try_cast(text, "BIGINT"))
        return case(
            (fn("regexp_full_match", text, text_node(_SURELY_WHOLE)), null_node("DOUBLE")),
            (and_(fn("regexp_full_match", text, text_node(_MAYBE_WHOLE)), fits), null_node("DOUBLE")),
            otherwise=try_cast(text, "DOUBLE"),
        )

    return bind([value], read)


def number_of_json(value: exp.Expr) -> exp.Expr:
    """All numbers as DOUBLE."""
    return try_cast(cast(value, "VARCHAR"), "DOUBLE")  # a string has its quotes


def text_of_json(value: exp.Expr) -> exp.Expr:
    """Return the strings."""

    def read(v: exp.Expr) -> exp.Expr:
        return case((fn("starts_with", cast(v, "VARCHAR"), text_node('"')), json_text(v)))

    return bind([value], read)


def flag_of_json(value: exp.Expr) -> exp.Expr:
    """Return the booleans."""
    return exp.Case(
        this=cast(value, "VARCHAR"),
        ifs=[exp.If(this=text_node("true"), true=exp.true()), exp.If(this=text_node("false"), true=exp.false())],
    )


def parts_of(value: Value) -> Parts:
    """Return a value of any type by kinds; times and timespans are the texts that they are written as."""
    match value.type:
        case Type.LONG:
            return Parts(whole=value.sql)
        case Type.REAL:
            return Parts(real=value.sql)
        case Type.STRING | Type.DATETIME | Type.TIMESPAN:
            return Parts(text=as_text(value).sql)
        case Type.BOOL:
            return Parts(flag=value.sql)
        case Type.NULL:
            return Parts()
    if value.parts is not None:
        return value.parts
    if value.is_constant:
        known = literal(value.constant)
        return Parts(others=True) if known.type is DYNAMIC else parts_of(known)
    sql = value.sql
    return Parts(
        whole_of_json(sql), real_of_json(sql), text_of_json(sql), flag_of_json(sql),
        others=True, number=number_of_json(sql),
    )  # fmt: skip


def of_numbers(whole: exp.Expr, real: exp.Expr) -> Value:
    """Whole numbers (BIGINT) and others (DOUBLE), no row with both, as one DYNAMIC."""
    sql = coalesce(as_dynamic(Value(LONG, whole)).sql, as_dynamic(Value(REAL, real)).sql)
    return Value(DYNAMIC, sql, parts=Parts(whole, real))


def of_parts(parts: Parts, sql: exp.Expr | None = None) -> Value:
    """Return a DYNAMIC of these parts; `sql` is its JSON where there is more to it."""
    if sql is None:
        kinds = ((LONG, parts.whole), (REAL, parts.real), (STRING, parts.text), (BOOL, parts.flag))
        there = [as_dynamic(Value(kind, part)).sql for kind, part in kinds if part is not None]
        sql = coalesce(*there) if there else null_node("JSON")
    return Value(DYNAMIC, sql, parts=parts)


_PARTS = (("whole", "BIGINT"), ("real", "DOUBLE"), ("text", "VARCHAR"), ("flag", "BOOLEAN"))


def chosen_parts(values: Sequence[Value], choose: Callable[[Sequence[exp.Expr]], exp.Expr], sql: exp.Expr) -> Value:
    """One of several DYNAMICs, which `choose` builds of what each has; `sql` is its JSON."""
    parts = [parts_of(value) for value in values]
    made: dict[str, exp.Expr] = {}
    for name, kind in _PARTS:
        found = [getattr(each, name) for each in parts]
        if any(each is not None for each in found):
            made[name] = choose([null_node(kind) if each is None else each for each in found])
    return Value(DYNAMIC, sql, parts=Parts(**made, others=any(each.others for each in parts)))


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
        flag = parts_of(value).flag
        return null(BOOL) if flag is None else bool_(flag)
    return null(BOOL)


def as_number(value: Value) -> Value:
    """Return the numbers of a value: LONG or REAL where all are of the one type, else a DYNAMIC of numbers alone."""
    if value.type in NUMBERS:
        return value
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
    numbers = Parts(parts.whole, parts.real, number=parts.number)
    return of_parts(numbers)


def _whole_and_real(number: Value) -> tuple[Value, Value]:
    """Return the parts of a DYNAMIC of numbers of both types."""
    parts = parts_of(number)
    assert parts.whole is not None
    assert parts.real is not None
    return long(parts.whole), real(parts.real)


def _doubles(parts: Parts) -> exp.Expr:
    """All numbers, where there are both types."""
    if parts.number is not None:
        return parts.number
    assert parts.whole is not None
    assert parts.real is not None
    return coalesce(parts.real, cast(parts.whole, "DOUBLE"))


def as_real(value: Value) -> Value:
    """All numbers as doubles."""
    number = as_number(value) if value.type is DYNAMIC else value
    if number.type is REAL:
        return number
    if number.type is LONG:
        if number.is_constant and number.constant is not None:
            return literal(float(number.constant))
        return real(cast(number.sql, "DOUBLE"))
    if number.type is DYNAMIC:
        return real(_doubles(parts_of(number)))
    return null(REAL)


def as_long(value: Value) -> Value:
    """Whole numbers; a real loses its fraction."""
    number = as_number(value) if value.type is DYNAMIC else value
    if number.type is LONG:
        return number
    if number.type is REAL:
        return long(try_cast(fn("trunc", number.sql), "BIGINT"))
    if number.type is DYNAMIC:
        whole, other = _whole_and_real(number)
        return long(coalesce(whole.sql, as_long(other).sql))
    return null(LONG)


def nan_as_null(value: Value) -> Value:
    """Return the value, null where it is NaN, which answers show as null and DuckDB takes for the largest number."""
    if value.type is DYNAMIC and value.parts is not None and value.parts.is_number and value.parts.real is not None:
        return of_parts(Parts(value.parts.whole, nan_as_null(real(value.parts.real)).sql))
    if value.type is not REAL or value.is_constant:
        return value
    return real(fn("nullif", value.sql, number_node(math.nan)))


def by_number(value: Value, build: Callable[[Value], Value]) -> Value:
    """`build` of a number as the LONG or the REAL that it is in its row; null where it is none.

    `build` makes null of null.
    """
    number = as_number(value)
    if number.type is not DYNAMIC:
        return build(number)
    whole, other = _whole_and_real(number)
    return either(build(whole), build(other))


def by_numbers(left: Value, right: Value, build: Callable[[Value, Value], Value]) -> Value:
    """`build` of two numbers: both LONG in rows where both are whole, else both REAL.

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
        return either(wholes, build(x, y))
    reals = build(as_real(a), as_real(b))
    mixed = or_(is_null(one.whole), is_null(other.whole))  # what whole numbers have no result for stays null
    return either(wholes, Value(reals.type, case((mixed, reals.sql))))


def _part(value: Value, part: Value) -> Value:
    return value if value.type is part.type else part


def either(first: Value, second: Value) -> Value:
    """Two values of which no row has both, as one."""
    if first.type is second.type:
        return Value(first.type, coalesce(first.sql, second.sql))
    if (first.type, second.type) == (LONG, REAL):
        return of_numbers(first.sql, second.sql)
    return dynamic(coalesce(as_dynamic(first).sql, as_dynamic(second).sql))


def is_absent(value: Value) -> exp.Expr:
    """Whether a value is null."""
    parts = value.parts
    if parts is None or parts.others:
        return is_null(value.sql)
    there = [part for part in (parts.whole, parts.real, parts.text, parts.flag) if part is not None]
    return and_(*map(is_null, there)) if there else exp.true()


def extreme_of(parts: Parts, *, largest: bool) -> Value:
    """Of the extreme whole number, real number, text and boolean the extreme number, or where there is none the text,
    or else the boolean.
    """
    whole, real, text, flag = parts.whole, parts.real, parts.text, parts.flag
    if whole is not None and real is not None:
        node = exp.GTE if largest else exp.LTE
        is_whole = or_(is_null(real), coalesce(infix(node, whole, real), exp.false()))
        whole, real = case((is_whole, whole)), case((not_(is_whole), real))
    numbers = [is_null(part) for part in (parts.whole, parts.real) if part is not None]
    if text is not None and numbers:
        text = case((and_(*numbers), text))
    before = [*numbers, *([] if parts.text is None else [is_null(parts.text)])]
    if flag is not None and before:
        flag = case((and_(*before), flag))
    kinds = {LONG: whole, REAL: real, STRING: text, BOOL: flag}
    there = [Value(kind, part) for kind, part in kinds.items() if part is not None]
    if len(there) == 1:
        return there[0]
    return of_parts(Parts(whole, real, text, flag))


def as_whole(number: Value) -> Value:
    """Return a LONG or a REAL as a LONG; null where it has a fraction or more than 64 bits."""
    if number.type is LONG:
        return number
    return long(bind([number.sql], lambda v: case((infix(exp.EQ, fn("trunc", v), v), try_cast(v, "BIGINT")))))


def canonical(value: Value) -> Value:
    """Return a value of which equal ones are the same in SQL too: the real number 1.0 of a DYNAMIC is the whole number
    1.
    """
    if value.type is not DYNAMIC:
        return value
    parts = parts_of(value)
    if parts.real is None:
        return value
    whole = as_whole(real(parts.real)).sql
    if parts.others:
        return dynamic(coalesce(as_dynamic(long(whole)).sql, value.sql))
    rest = case((is_null(whole), parts.real))
    wholes = whole if parts.whole is None else coalesce(parts.whole, whole)
    return of_parts(Parts(wholes, rest, parts.text, parts.flag))


def order_keys(value: Value) -> list[Value]:
    """Return what a value is sorted by, in turn: a DYNAMIC by its numbers, then its texts, then the rest."""
    if value.type is not DYNAMIC:
        return [value]
    parts = parts_of(value)
    numbers = _number_keys(parts)
    if parts.is_number and numbers:
        return numbers
    texts = [] if parts.text is None else [parts.text]
    texts += [] if parts.flag is None else [cast(parts.flag, "VARCHAR")]
    if parts.others:
        texts = [json_text(value.sql)]
    text = [string(coalesce(*texts))] if texts else []
    if not numbers:
        return text or [null(STRING)]
    is_number = or_(*(is_not_null(part) for part in (parts.whole, parts.real) if part is not None))
    rank = case((is_number, number_node(0)), (not_(is_absent(value)), number_node(1)))
    return [long(cast(rank, "BIGINT")), *numbers, *text]


def _number_keys(parts: Parts) -> list[Value]:
    if parts.whole is None or parts.real is None:
        return [Value(kind, part) for kind, part in ((LONG, parts.whole), (REAL, parts.real)) if part is not None]
    # What a double cannot tell apart are whole numbers.
    beyond = case(
        (infix(exp.LT, parts.real, number_node(0)), _HUGE_ENDS[0]), (is_not_null(parts.real), _HUGE_ENDS[1])
    )  # fmt: skip
    wholes = coalesce(cast(parts.whole, "HUGEINT"), try_cast(parts.real, "HUGEINT"), beyond)
    return [real(_doubles(parts)), long(wholes)]


_HUGE_ENDS = [cast(text_node(str(sign * (2**127 - 1))), "HUGEINT") for sign in (-1, 1)]
EXACT_IN_A_DOUBLE = 2**53 - 1  # the largest of the whole numbers that a double tells from their neighbours


def packed(nodes: Iterable[exp.Expr]) -> exp.Expr:
    """Return a structure with the fields k0, k1, …, which is compared by them in turn."""
    return fn(
        "struct_pack",
        *(exp.PropertyEQ(this=exp.to_identifier(f"k{n}"), expression=node) for n, node in enumerate(nodes)),
    )


def unpacked(structure: exp.Expr, number: int) -> exp.Expr:
    return fn("struct_extract", structure, text_node(f"k{number}"))


def as_string(value: Value) -> Value:
    """Strings only."""
    if value.type is STRING:
        return value
    if value.type is DYNAMIC:
        text = parts_of(value).text
        return null(STRING) if text is None else string(text)
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
            return string(_dynamic_text(value))
    return null(STRING)


def _dynamic_text(value: Value) -> exp.Expr:
    if value.is_constant and isinstance(value.constant, (str, int, float)):
        return as_text(literal(value.constant)).sql
    parts = value.parts
    if parts is None or parts.others:
        return bind([value.sql], _json_as_text)
    texts = [] if parts.text is None else [parts.text]
    texts += [cast(part, "VARCHAR") for part in (parts.whole, parts.flag) if part is not None]
    texts += [] if parts.real is None else [real_text(parts.real)]
    return coalesce(*texts) if texts else null_node("VARCHAR")


def _json_as_text(value: exp.Expr) -> exp.Expr:
    written = cast(value, "VARCHAR")
    is_number = in_range(fn("ascii", written), ord("-"), ord("9"))
    is_real = and_(is_number, fn("regexp_matches", written, text_node("[.eE]")))
    number = try_cast(written, "DOUBLE")
    return case((and_(is_real, fn("isfinite", number)), real_text(number)), otherwise=json_text(value))


def real_text(value: exp.Expr) -> exp.Expr:
    """Return the shortest decimal that means this double; whole numbers without a fraction."""

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
    """Return the integer quotient rounded down, by a positive constant."""

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
    """Return the value as one of a type; null in rows where it does not fit."""
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
_PART = re.compile(r"(\s*([0-9]*)(\.[0-9]*|)\s*([a-zµμ]+)\s*)")
_CLOCK = re.compile(r"(?:([0-9]+)\.)?([0-9]+):([0-9]+)(?::([0-9]+)(?:\.([0-9]{1,9})[0-9]*)?)?")
_MAX_TIMESPAN_CHARACTERS = 100


def parse_timespan(text: str) -> int | None:
    """Nanoseconds of `1.5h`, `1d2h`, `100ms`, `10min`, or of `[d.]hh:mm[:ss[.fffffff]]`; None for anything else."""
    text = text.strip()
    if len(text) > _MAX_TIMESPAN_CHARACTERS:
        return None
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if ":" in rest and (clock := _CLOCK.fullmatch(rest)):
        days, hours, minutes, seconds, fraction = clock.groups("0")
        whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
        return _in_64_bits(sign * (whole * NS_PER_S + int(fraction.ljust(9, "0"))))
    if rest == "0":
        return 0
    total = size = 0
    for part, digits, decimals, unit in _PART.findall(rest):
        unit_ns = _UNITS_NS.get(unit)
        if unit_ns is None or not (digits or len(decimals) > 1):
            return None
        total += int(digits or "0") * unit_ns
        if len(decimals) > 1:
            total += int(decimals[1:]) * unit_ns // 10 ** (len(decimals) - 1)
        size += len(part)
    return _in_64_bits(sign * total) if size and size == len(rest) else None


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
