"""Strings that are JSON, as what they mean."""

import sqlglot.expressions as exp

from tailrace.query.values import (
    DYNAMIC,
    STRING,
    Value,
    as_dynamic,
    bind,
    case,
    dynamic,
    fn,
    is_null,
    json_kind,
    json_text,
    not_,
    try_cast,
)


def parse_json(value: Value) -> Value:
    """Return a string that is JSON as what it means; any other as it is."""
    return _json_of(value, "apl_parse_json")


def json_or_null(value: Value) -> Value:
    """Return a string that is JSON as what it means, null where it is none; other values as they are."""
    return _json_of(value, "apl_json")


def _json_of(value: Value, function: str) -> Value:
    # Never DuckDB's own reading: it takes NaN, Infinity and closing commas for JSON, and keeps keys that come twice.
    def parsed(text: exp.Expr) -> exp.Expr:
        return try_cast(fn(function, text), "JSON")

    if value.type is STRING:
        return dynamic(parsed(value.sql))
    if value.type is not DYNAMIC:
        return as_dynamic(value)
    if value.parts is not None:
        text = value.parts.text
        return value if text is None else dynamic(case((not_(is_null(text)), parsed(text)), otherwise=value.sql))
    return dynamic(bind([value.sql], lambda v: case((json_kind(v).eq("VARCHAR"), parsed(json_text(v))), otherwise=v)))
