"""The values of an answer's columns as JSON has them."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tailrace.query.apl_result import AplTable
from tailrace.query.arrow_json import is_json
from tailrace.query.results import shown
from tailrace.query.values import timespan_text

TIMESPAN = "timespan"  # the type of a field whose values are integers of nanoseconds

Column = Sequence[Any]

MAX_VALUES = 1_000_000  # that are objects at once
LEAST_ROWS = 250  # that are taken at once all the same, as each field costs some time


def columns(table: AplTable) -> Iterator[Column]:
    """Give the values of each field, of equal number, each ready to be encoded.

    Times are RFC 3339 texts, timespans are written out, dynamic values are raw JSON, what is no finite number is null.
    One at a time: as objects all of them may take ten times the memory of the answer.
    """
    for values, kind, field in zip(table.rows.columns, table.rows.schema, table.fields, strict=True):
        yield _column(values.combine_chunks(), kind, field.type)


def slices(table: AplTable) -> Iterator[AplTable]:
    """Cut a table into some rows at a time, of which all values may be objects at once."""
    count = max(LEAST_ROWS, MAX_VALUES // max(len(table.fields), 1))
    for start in range(0, table.rows.num_rows, count):
        yield msgspec.structs.replace(table, rows=table.rows.slice(start, count))


def encoded(value: Any) -> Any:
    """Return the JSON of a value, to be a part of an answer in its place."""
    return msgspec.Raw(msgspec.json.encode(value))


def _column(values: pa.Array, kind: pa.Field, shown_type: str) -> Column:
    if is_json(kind):
        return [None if text is None else msgspec.Raw(text.encode()) for text in values.to_pylist()]
    if shown_type == TIMESPAN:
        return [None if ns is None else timespan_text(ns) for ns in values.to_pylist()]
    listed: list[Any] = shown(values).to_pylist()
    return listed
