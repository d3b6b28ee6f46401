"""Values of every type written out as text."""

import sqlglot.expressions as exp

from tailrace.query.values.json_kinds import json_text
from tailrace.query.values.lambdas import bind
from tailrace.query.values.literals import literal, null, to_json
from tailrace.query.values.nodes import (
    and_,
    case,
    cast,
    coalesce,
    fn,
    in_range,
    null_node,
    number_node,
    text_node,
    try_cast,
)
from tailrace.query.values.timespans import timespan_text
from tailrace.query.values.types import STRING, Type, Value, string


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
    if parts is None or parts.incomplete:
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
