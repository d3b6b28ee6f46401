"""Python values as literals of APL, and as JSON text."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlglot.expressions as exp

from tailrace.query.values.nodes import cast, null_node, number_node, text_node
from tailrace.query.values.types import (
    BOOL,
    DATETIME,
    DUCKDB_TYPES,
    DYNAMIC,
    LONG,
    MAX_DATETIME_US,
    MAX_LONG,
    MIN_DATETIME_US,
    MIN_LONG,
    NULL,
    REAL,
    STRING,
    TIMESPAN,
    Type,
    Value,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
