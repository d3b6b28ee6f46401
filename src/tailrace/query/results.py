"""Answers as clients read them: JSON, NDJSON, CSV, Arrow."""

import io
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.csv
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.sql import DIALECT

_json = msgspec.json.Encoder()


class Result(Struct, frozen=True, eq=False):
    """A query's answer; timestamps are UTC microseconds, JSON columns carry Arrow's `arrow.json` type."""

    table: pa.Table
    elapsed_ms: float

    @property
    def fields(self) -> list[dict[str, str]]:
        """Names of the columns, and types: datetime, timespan, integer, float, boolean, string, dynamic."""
        return [
            {"name": field.name, "type": "dynamic" if is_json(field) else type_name(field.type)}
            for field in self.table.schema
        ]


def type_name(kind: pa.DataType) -> str:
    """The name that the API gives to an Arrow type."""
    if pa.types.is_nested(kind):
        return "dynamic"
    if pa.types.is_temporal(kind):
        return "timespan" if pa.types.is_duration(kind) or pa.types.is_interval(kind) else "datetime"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    return "string"


def is_json(field: pa.Field) -> bool:
    """Whether the values of a column are JSON texts."""
    return (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.json"


def to_json(result: Result) -> bytes:
    """`{"fields": […], "rows": [{…}], "rowCount", "elapsedMs"}`."""
    lines = _objects(result.table)
    head: dict[str, Any] = {
        "fields": result.fields,
        "rows": msgspec.Raw(b"[" + b",".join(lines) + b"]"),
        "rowCount": len(lines),
        "elapsedMs": round(result.elapsed_ms, 3),
    }
    return _json.encode(head)


def to_ndjson(result: Result) -> bytes:
    """One object a line."""
    return b"".join(line + b"\n" for line in _objects(result.table))


def to_csv(result: Result) -> bytes:
    """RFC 4180 with a header row; times as RFC 3339, lists and objects as JSON text."""
    sink = io.BytesIO()
    pyarrow.csv.write_csv(_readable(result.table), sink)
    return sink.getvalue()


def to_arrow(result: Result) -> bytes:
    """An Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, result.table.schema) as writer:
        writer.write_table(result.table)
    return sink.getvalue()


def _objects(table: pa.Table) -> list[bytes]:
    """Each row as a JSON object."""
    cells = []
    for field in table.schema:
        cells += [exp.Literal.string(field.name), _cell(field, json=True)]
    row: exp.Expr = exp.Anonymous(this="json_object", expressions=cells)
    lines = _select([exp.alias_(exp.cast(row, "VARCHAR"), "line")], table)
    return [line.encode() for line in lines["line"].to_pylist()]


def _readable(table: pa.Table) -> pa.Table:
    return _select([exp.alias_(_cell(field, json=False), field.name, quoted=True) for field in table.schema], table)


def _cell(field: pa.Field, *, json: bool) -> exp.Expr:
    cell: exp.Expr = exp.column(field.name, quoted=True)
    kind = field.type
    if pa.types.is_timestamp(kind):
        # As Go prints times, which clients compare with: no more digits of the fraction than there are.
        text = exp.func("strftime", cell, exp.Literal.string("%Y-%m-%dT%H:%M:%S.%f"), dialect=DIALECT)
        for digits in ("0", "."):
            text = exp.Anonymous(this="rtrim", expressions=[text, exp.Literal.string(digits)])
        return exp.DPipe(this=text, expression=exp.Literal.string("Z"))
    if pa.types.is_floating(kind):
        finite = exp.Anonymous(this="isfinite", expressions=[cell])
        return exp.Case(ifs=[exp.If(this=finite, true=cell.copy())])
    if is_json(field):
        return exp.cast(cell, "JSON") if json else cell
    if pa.types.is_nested(kind) and not json:
        return exp.cast(exp.Anonymous(this="to_json", expressions=[cell]), "VARCHAR")
    return cell


def _select(cells: list[exp.Expr], table: pa.Table) -> pa.Table:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("answer", table)
        return connection.sql(exp.select(*cells).from_("answer").sql(DIALECT)).to_arrow_table()
