"""Dynamics: values of every type as JSON, arrays and dictionaries of them, and their parts by kind."""

from collections.abc import Callable, Iterable, Sequence

import sqlglot.expressions as exp

from tailrace.query.values.json_kinds import (
    flag_of_json,
    json_kind,
    number_of_json,
    real_of_json,
    text_of_json,
    whole_of_json,
)
from tailrace.query.values.lambdas import bind
from tailrace.query.values.literals import literal, null
from tailrace.query.values.nodes import and_, case, coalesce, fn, is_null, null_node, one_of, text_node, try_cast
from tailrace.query.values.texts import as_text
from tailrace.query.values.types import BOOL, DYNAMIC, LONG, REAL, STRING, DynamicParts, Type, Value, dynamic


def as_dynamic(value: Value) -> Value:
    """Return a value as a DYNAMIC: datetimes as texts, timespans as nanoseconds, reals that are not finite as null."""
    match value.type:
        case Type.DYNAMIC:
            return value
        case Type.NULL:
            return null(DYNAMIC)
        case Type.REAL:
            # JSON has no infinity.
            finite = bind([value.sql], lambda v: case((fn("isfinite", v), fn("to_json", v))))
            return Value(DYNAMIC, finite, value.constant)
        case Type.DATETIME:
            return dynamic(fn("to_json", as_text(value).sql))
    return Value(DYNAMIC, fn("to_json", value.sql), value.constant)


def dictionary(pairs: Iterable[tuple[str, Value]]) -> Value:
    """Return a dictionary of the given keys, in order."""
    items = [part for key, value in pairs for part in (text_node(key), as_dynamic(value).sql)]
    return dynamic(fn("json_object", *items))


def array(values: Sequence[Value]) -> Value:
    """Return an array of values of any types."""
    return dynamic(fn("json_array", *(as_dynamic(value).sql for value in values)))


def elements(value: Value) -> exp.Expr:
    """Return a dynamic's elements as JSON[]; NULL where it is no array."""
    return try_cast(_as_array(value).sql, "JSON[]")


def _of_kind(value: Value, *kinds: str) -> Value:
    """Return a dynamic where it is of one of these JSON kinds, else NULL."""
    sql = bind([value.sql], lambda v: case((one_of(json_kind(v), *kinds), v)))
    return Value(DYNAMIC, sql)


def _as_array(value: Value) -> Value:
    if value.is_constant and isinstance(value.constant, list):
        return value
    return _of_kind(value, "ARRAY")


def parts_of(value: Value) -> DynamicParts:
    """Return the parts of a value of any type; datetimes are in the part of texts, timespans in that of integers."""
    match value.type:
        case Type.LONG | Type.TIMESPAN:
            return DynamicParts(whole=value.sql)
        case Type.REAL:
            return DynamicParts(real=value.sql)
        case Type.STRING | Type.DATETIME:
            return DynamicParts(text=as_text(value).sql)
        case Type.BOOL:
            return DynamicParts(flag=value.sql)
        case Type.NULL:
            return DynamicParts()
    if value.parts is not None:
        return value.parts
    if value.is_constant:
        known = literal(value.constant)
        return DynamicParts(incomplete=True) if known.type is DYNAMIC else parts_of(known)
    sql = value.sql
    return DynamicParts(
        whole_of_json(sql), real_of_json(sql), text_of_json(sql), flag_of_json(sql),
        incomplete=True, number=number_of_json(sql),
    )  # fmt: skip


def from_numbers(whole: exp.Expr, real: exp.Expr) -> Value:
    """Return whole numbers (BIGINT) and others (DOUBLE), of which a row has at most one, as one DYNAMIC."""
    sql = coalesce(as_dynamic(Value(LONG, whole)).sql, as_dynamic(Value(REAL, real)).sql)
    return Value(DYNAMIC, sql, parts=DynamicParts(whole, real))


def from_parts(parts: DynamicParts, sql: exp.Expr | None = None) -> Value:
    """Return a DYNAMIC of these parts; `sql` is its JSON, needed where it has more than its parts."""
    if sql is None:
        kinds = ((LONG, parts.whole), (REAL, parts.real), (STRING, parts.text), (BOOL, parts.flag))
        present = [as_dynamic(Value(kind, part)).sql for kind, part in kinds if part is not None]
        sql = coalesce(*present) if present else null_node("JSON")
    return Value(DYNAMIC, sql, parts=parts)


# The parts of a dynamic, with DuckDB's type of each.
_PARTS = (("whole", "BIGINT"), ("real", "DOUBLE"), ("text", "VARCHAR"), ("flag", "BOOLEAN"))


def choose_parts(values: Sequence[Value], choose: Callable[[Sequence[exp.Expr]], exp.Expr], sql: exp.Expr) -> Value:
    """Return one of several values as a DYNAMIC: `choose` makes each part from that part of all; `sql` is its JSON."""
    all_parts = [parts_of(value) for value in values]
    chosen: dict[str, exp.Expr] = {}
    for name, kind in _PARTS:
        nodes = [getattr(parts, name) for parts in all_parts]
        if any(node is not None for node in nodes):
            chosen[name] = choose([null_node(kind) if node is None else node for node in nodes])
    incomplete = any(parts.incomplete for parts in all_parts)
    return Value(DYNAMIC, sql, parts=DynamicParts(**chosen, incomplete=incomplete))


def value_is_null(value: Value) -> exp.Expr:
    """Return the condition that a value is null."""
    parts = value.parts
    if parts is None or parts.incomplete:
        return is_null(value.sql)
    present = [part for part in (parts.whole, parts.real, parts.text, parts.flag) if part is not None]
    return and_(*map(is_null, present)) if present else exp.true()
