"""The values of an answer's columns as JSON has them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tailrace.query.results import is_json, shown
from tailrace.query.run import AplTable
from tailrace.query.values import timespan_text

TIMESPAN = "timespan"  # the type of a field whose values are integers of nanoseconds

Column = Sequence[Any]


def columns(table: AplTable) -> list[Column]:
    """The values of each field, of equal number, each ready to be encoded.

    Times are RFC 3339 texts, timespans are written out, dynamic values are raw JSON, what is no finite number is null.
    """
    return [
        _column(values.combine_chunks(), kind, field.type)
        for values, kind, field in zip(table.rows.columns, table.rows.schema, table.fields, strict=True)
    ]


def _column(values: pa.Array, kind: pa.Field, shown_type: str) -> Column:
    if is_json(kind):
        return [None if text is None else msgspec.Raw(text.encode()) for text in values.to_pylist()]
    if shown_type == TIMESPAN:
        return [None if ns is None else timespan_text(ns) for ns in values.to_pylist()]
    listed: list[Any] = shown(values).to_pylist()
    return listed
