"""The first table of an answer as a plain result, for CSV, NDJSON and Arrow."""

import pyarrow as pa

from tailrace.query.answers.cells import TIMESPAN
from tailrace.query.apl_result import AplResult
from tailrace.query.results import Result
from tailrace.query.values import timespan_text


def to_result(result: AplResult) -> Result:
    """Return its rows; timespans are written out."""
    table = result.tables[0]
    rows = table.rows
    for number, field in enumerate(table.fields):
        if field.type == TIMESPAN:
            texts = [None if ns is None else timespan_text(ns) for ns in rows.column(number).to_pylist()]
            rows = rows.set_column(number, pa.field(field.name, pa.string()), pa.array(texts, pa.string()))
    return Result(rows, result.status.elapsed_us / 1000)
