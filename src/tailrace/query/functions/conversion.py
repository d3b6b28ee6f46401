"""Conversions between types."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlglot.expressions as exp

from tailrace.query.functions.parsed_json import json_or_null
from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NULL,
    REAL,
    STRING,
    TIMESPAN,
    TYPE_NAMES,
    Type,
    Value,
    as_bool,
    as_datetime,
    as_long,
    as_real,
    as_string,
    as_text,
    as_timespan,
    bind,
    bool_,
    case,
    cast,
    coalesce,
    coerce,
    constant_in,
    fn,
    infix,
    is_not_null,
    json_kind,
    literal,
    long,
    null,
    number_node,
    one_of,
    real,
    string,
    text_node,
    to_json,
    try_cast,
)

FUNCTIONS, _add = table("conversion")


def to_bool(value: Value) -> Value:
    """Return false for whatever does not mean true."""
    match value.type:
        case Type.BOOL:
            test = value.sql
        case Type.LONG | Type.REAL | Type.TIMESPAN:
            test = infix(exp.NEQ, value.sql, number_node(0))
        case Type.DATETIME:
            return bool_(is_not_null(value.sql))
        case Type.STRING:
            test = one_of(value.sql, "1", "t", "T", "TRUE", "true", "True")
        case Type.DYNAMIC:
            numbers = infix(exp.NEQ, as_real(value).sql, number_node(0))
            test = coalesce(as_bool(value).sql, numbers, to_bool(as_string(value)).sql)
        case _:
            return literal(False)
    return bool_(coalesce(test, exp.false()))


def to_long(value: Value) -> Value:
    """Whole numbers; strings that are numbers count, and lose their fraction."""
    match value.type:
        case Type.BOOL:
            return long(cast(value.sql, "BIGINT"))
        case Type.STRING:
            return long(_long_of_text(value.sql))
        case Type.DYNAMIC:
            return long(
                coalesce(as_long(value).sql, cast(as_bool(value).sql, "BIGINT"), _long_of_text(as_string(value).sql))
            )
        case Type.TIMESPAN:
            return Value(LONG, value.sql, value.constant)
        case Type.DATETIME:
            return long(
                try_cast(infix(exp.Mul, cast(fn("epoch_us", value.sql), "HUGEINT"), number_node(1000)), "BIGINT")
            )
    return as_long(value)


def _long_of_text(text: exp.Expr) -> exp.Expr:
    def parsed(t: exp.Expr) -> exp.Expr:
        whole = fn("regexp_full_match", t, text_node(r"\s*[-+]?(?:0[xX][0-9a-fA-F]+|[0-9]+)\s*"))
        return case((whole, try_cast(t, "BIGINT")), otherwise=try_cast(fn("trunc", _real_of_text(t)), "BIGINT"))

    return bind([text], parsed)


def _real_of_text(text: exp.Expr) -> exp.Expr:
    """Return finite numbers only, as DuckDB reads nan and inf too."""
    number = fn("regexp_full_match", text, text_node(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*"))
    return case((number, try_cast(text, "DOUBLE")))


def to_real(value: Value) -> Value:
    """Numbers; strings that are numbers count."""
    match value.type:
        case Type.BOOL:
            return real(cast(value.sql, "DOUBLE"))
        case Type.STRING:
            return real(bind([value.sql], _real_of_text))
        case Type.DYNAMIC:
            texts = bind([as_string(value).sql], _real_of_text)
            return real(coalesce(as_real(value).sql, cast(as_bool(value).sql, "DOUBLE"), texts))
        case Type.TIMESPAN | Type.DATETIME:
            return as_real(to_long(value))
    return as_real(value)


def to_string(value: Value) -> Value:
    """Any value written out; null is the empty string."""
    if value.type is NULL:
        return literal("")
    text = as_text(value)
    return text if isinstance(text.constant, str) else string(coalesce(text.sql, text_node("")))


@udf("apl_canonical_json", [DYNAMIC], STRING)
def _canonical(value: Any) -> str:
    try:
        return _SORTING.encode(value).decode()
    except (OverflowError, msgspec.MsgspecError):
        return to_json(_sorted(value))


_SORTING = msgspec.json.Encoder(order="sorted")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


@udf("apl_toarray", [DYNAMIC], DYNAMIC, nulls=True)
def _toarray(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []


def type_named(kind: Value, where: str, index: int) -> Type:
    """Return the type that an argument names. Raise CallInvalid."""
    named = TYPE_NAMES.get(str(kind.constant))
    if named is None:
        raise CallInvalid(f"{where} knows the types {', '.join(TYPE_NAMES)}, not {kind.constant!r}", index)
    return named


def converted(value: Value, kind: Type) -> Value:
    """Return what `tolong()` and the like make of a value; as a string it stays as it is."""
    return _CONVERSIONS[kind](value) if kind in _CONVERSIONS else value


_CONVERSIONS: Mapping[Type, Callable[[Value], Value]] = {
    BOOL: to_bool, LONG: to_long, REAL: to_real, DATETIME: as_datetime, TIMESPAN: as_timespan, DYNAMIC: json_or_null,
}  # fmt: skip


def _ensure_field(context: Context, name: Value, kind: Value) -> Value:
    field = constant_in(name, str)
    if field is None:
        raise CallInvalid("name of ensure_field() must be a string literal", 0)
    field_type = type_named(kind, "ensure_field()", 1)
    return coerce(context.columns[field], field_type) if field in context.columns else null(field_type)


def _typeof(kind: Value) -> Value:
    type_named(kind, "typeof()", 0)
    return kind


def _isbool(context: Context, value: Value) -> Value:
    if value.type is DYNAMIC:
        return bool_(coalesce(infix(exp.EQ, json_kind(value.sql), text_node("BOOLEAN")), exp.false()))
    return bool_(is_not_null(value.sql)) if value.type is BOOL else literal(False)


def _tohex(context: Context, value: Value, least: Value | None) -> Value:
    digits = fn("lower", fn("to_hex", value.sql))
    if least is None:
        return string(digits)

    def padded(d: exp.Expr, n: exp.Expr) -> exp.Expr:
        wider = infix(exp.GT, n, fn("length", d))
        return case(
            (wider, fn("lpad", d, cast(fn("least", n, number_node(64)), "INTEGER"), text_node("0"))), otherwise=d
        )

    return string(bind([digits, least.sql], padded))


def _alone(build: Callable[[Value], Value]) -> Callable[..., Value]:
    return lambda context, value: build(value)


# fmt: off
_add("dynamic_to_json", "value:value", STRING, lambda c, value: _canonical(value),
     "The value as JSON, the keys of dictionaries sorted.",
     'print dynamic_to_json(dynamic({"b": 1, "a": [1, 2]}))', '{"a":[1,2],"b":1}')
_add("ensure_field", "name:constant, type:constant", "the type", _ensure_field,
     "The field of a name as a type; null where there is no such field.",
     'print ensure_field("nobody_has_it", typeof(string))', None)
_add("typeof", "type:constant", STRING, lambda c, kind: _typeof(kind),
     "The name of a type, where a function wants one.", "print typeof(string)", "string")
_add("isbool", "value:any", BOOL, _isbool, "Whether the value is a bool.", "print isbool(true)", True)
_add("toarray", "value:value", DYNAMIC, lambda c, value: _toarray(value),
     "An array as it is, a dictionary's values, for anything else an empty array.",
     'print toarray(dynamic({"a": 1, "b": 2}))', [1, 2])
_add("tobool toboolean", "value:any", BOOL, _alone(to_bool),
     'True for true, for numbers but 0, and for 1, t, T, TRUE, true and True; false for everything else.',
     'print tobool("TRUE")', True, note="What cannot be converted is false, not null.")
_add("todatetime", "value:any", DATETIME, _alone(as_datetime),
     "The time that a string means, read as the `_time` of an event is, or a number of nanoseconds since 1970; null "
     "for anything else.",
     'print todatetime("Mon, 02 Jan 2006 15:04:05 +0000")', "2006-01-02T15:04:05Z")
_add("todouble toreal", "value:any", REAL, _alone(to_real), "The number that the value means; null for anything else.",
     'print todouble("1.5")', 1.5)
_add("todynamic toobject", "value:any", DYNAMIC, _alone(json_or_null),
     "The value that a JSON text means; null for a string that is no JSON.", "print todynamic('[1, 2]')", [1, 2])
_add("tohex", "value:long, length:long?", STRING, _tohex,
     "The number in hexadecimal, negative ones as 64 bits, with zeros before it up to a length.",
     "print tohex(255, 4)", "00ff")
_add("toint tolong", "value:any", LONG, _alone(to_long),
     "The whole number that the value means, of 64 bits; null for anything else.", 'print toint("42")', 42,
     note="Strings with a fraction, an exponent, spaces around or in hexadecimal count too: \"12.7\" is 12.")
_add("tostring", "value:any", STRING, _alone(to_string),
     "The value written out; a null is the empty string.", "print tostring(1.0)", "1")
_add("totimespan", "value:any", TIMESPAN, _alone(as_timespan),
     "The timespan that a string means, or a number of nanoseconds; null for anything else.",
     'print totimespan("1h30m")', "1h30m0s")
# fmt: on
