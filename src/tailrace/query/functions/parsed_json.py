"""Strings that are JSON, as what they mean."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.functions.udf import FAILURES, column_udf
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
    to_json,
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


@column_udf("apl_json", ["VARCHAR"], "VARCHAR")
def _jsons(texts: pa.Array) -> pa.Array:
    """JSON texts written anew: the same value is the same text; null for what is no JSON, and for null."""
    return _all_json(texts, otherwise=lambda text: None)


@column_udf("apl_parse_json", ["VARCHAR"], "VARCHAR")
def _jsons_or_texts(texts: pa.Array) -> pa.Array:
    """Do as `apl_json` does, but what is no JSON is a JSON string."""
    return _all_json(texts, otherwise=to_json)


def _all_json(texts: pa.Array, otherwise: Callable[[str], str | None]) -> pa.Array:
    known: dict[str | None, str | None] = {None: None}
    jsons: list[str | None] = []
    for text in texts.to_pylist():
        if text not in known:
            try:
                written = to_json(_strict_json(text))
                known[text] = None if written == "null" else written
            except FAILURES:
                known[text] = otherwise(text)
        jsons.append(known[text])
    return pa.array(jsons, pa.string())


def _strict_json(text: str) -> Any:
    """JSON text as Python values; of a key that comes twice the last is kept, as on ingest.

    Raise ValueError (msgspec's errors are some) or RecursionError for what is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:  # a number beyond the doubles
        return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
