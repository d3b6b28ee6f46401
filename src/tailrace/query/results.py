"""Results in the formats of clients: JSON, NDJSON, CSV, Arrow, Parquet."""

import atexit
import functools
import io
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.arrow_json import is_json
from tailrace.query.fields import cast
from tailrace.query.sql import DIALECT

PART_ROWS = 8_192
PARQUET_PART_ROWS = 131_072
ARROW_PART_BYTES = 1024 * 1024  # of more than one row: clients take messages of a few MB

_json = msgspec.json.Encoder()


class Column(Struct, frozen=True):
    """A column of an answer."""

    name: str
    type: str


class Answer(Struct, frozen=True, rename="camel"):
    """An answer as JSON."""

    fields: list[Column]
    rows: msgspec.Raw  # an array of objects
    row_count: int
    elapsed_ms: float


class Result(Struct, frozen=True, eq=False):
    """A query's answer; timestamps are UTC microseconds, JSON columns carry Arrow's `arrow.json` type."""

    table: pa.Table
    elapsed_ms: float

    @property
    def fields(self) -> list[Column]:
        """Names of the columns, and types: datetime, timespan, integer, float, boolean, string, dynamic."""
        return [
            Column(field.name, "dynamic" if is_json(field) else type_name(field.type)) for field in self.table.schema
        ]


def type_name(kind: pa.DataType) -> str:
    """Return the name that the API gives to an Arrow type."""
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


def to_json(result: Result) -> bytes:
    """Return `{"fields": […], "rows": [{…}], "rowCount", "elapsedMs"}`."""
    lines = [line for part in _parts(result.table, PART_ROWS) for line in _objects(part)]
    rows = msgspec.Raw(b"[" + b",".join(lines) + b"]")
    return _json.encode(Answer(result.fields, rows, len(lines), round(result.elapsed_ms, 3)))


# The others are made in parts, so that beside the table there is never more than one of them in memory.


def to_ndjson(result: Result) -> Iterator[bytes]:
    """One object a line."""
    for part in _parts(result.table, PART_ROWS):
        yield b"".join(line + b"\n" for line in _objects(part))


def to_csv(result: Result) -> Iterator[bytes]:
    """RFC 4180 with a header row; times as RFC 3339, lists and objects as JSON text."""
    options = pyarrow.csv.WriteOptions(include_header=True)
    for part in _parts(result.table, PART_ROWS):
        sink = io.BytesIO()
        columns = [shown(column.combine_chunks()) for column in part.columns]
        nested = [n for n, column in enumerate(columns) if pa.types.is_nested(column.type)]
        if nested:
            cells: list[exp.Expr] = [exp.Anonymous(this="to_json", expressions=[_column(n)]) for n in nested]
            for n, texts in zip(nested, _select(cells, columns), strict=True):
                columns[n] = texts
        pyarrow.csv.write_csv(pa.Table.from_arrays(columns, names=part.column_names), sink, options)
        options = pyarrow.csv.WriteOptions(include_header=False)
        yield sink.getvalue()


def to_arrow(result: Result) -> Iterator[bytes]:
    """Return an Arrow IPC stream."""
    sink = _Drained()
    with pa.ipc.new_stream(sink, result.table.schema) as writer:
        for part in _parts(result.table, PART_ROWS):
            for piece in _pieces(part, ARROW_PART_BYTES):
                writer.write_table(piece)
                yield sink.drain()
    yield sink.drain()


def to_parquet(result: Result) -> Iterator[bytes]:
    """Return a Parquet file, a row group a part; what Parquet has no type for is JSON text."""
    table = result.table
    for n, field in enumerate(table.schema):
        try:
            pq.write_table(pa.table({field.name: table.column(n).slice(0, 0)}), io.BytesIO())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # an interval of months, an object without members
            text = exp.Anonymous(this="to_json", expressions=[_column(0)])
            [texts] = _select([text], [shown(table.column(n).combine_chunks())])
            table = table.set_column(n, field.name, texts)
    sink = _Drained()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for part in _parts(table, PARQUET_PART_ROWS):
            writer.write_table(part)
            yield sink.drain()
    yield sink.drain()


def _parts(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield a table in parts, one without rows where it has none."""
    if table.num_rows <= rows:
        yield table
        return
    nested = any(pa.types.is_nested(kind) for kind in table.schema.types)
    for start in range(0, table.num_rows, rows):
        part = table.slice(start, rows)
        # A slice of a column of lists refers to the values of all lists, which would be looked at for each part.
        yield part.take(pa.array(range(part.num_rows))) if nested else part


def _pieces(part: pa.Table, most_bytes: int) -> Iterator[pa.Table]:
    """Yield a part of a table in halves of halves, none of more bytes unless it is a row."""
    if part.nbytes <= most_bytes or part.num_rows < 2:
        yield part
        return
    half = part.num_rows // 2
    yield from _pieces(part.slice(0, half), most_bytes)
    yield from _pieces(part.slice(half), most_bytes)


class _Drained(io.RawIOBase):
    """A file that is written to, and gives what it got since the last time."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content)
        self._written += view
        self._position += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        """Return it."""
        written, self._written = bytes(self._written), bytearray()
        return written


def _objects(table: pa.Table) -> list[bytes]:
    """Return each row as a JSON object."""
    cells: list[exp.Expr] = []
    for n, field in enumerate(table.schema):
        cell: exp.Expr = _column(n)
        cells += [exp.Literal.string(field.name), cast(cell, "JSON") if is_json(field) else cell]
    row = exp.Anonymous(this="json_object", expressions=cells)
    [lines] = _select([row], [shown(column.combine_chunks()) for column in table.columns])
    return [line.encode() for line in lines.to_pylist()]


def shown(values: pa.Array) -> pa.Array:
    """Return the values as JSON has them: times as RFC 3339 texts, null for what is not a number."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        return _rfc3339(values)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, kind))
    if pa.types.is_dictionary(kind):
        return shown(values.dictionary_decode())
    if pa.types.is_fixed_size_list(kind):
        return shown(values.cast(pa.list_(kind.value_type)))
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(values.offsets, shown(values.values), mask=values.is_null())
    if pa.types.is_map(kind):
        return pa.MapArray.from_arrays(values.offsets, shown(values.keys), shown(values.items), mask=values.is_null())
    if pa.types.is_struct(kind) and kind.num_fields:
        members = [shown(values.field(n)) for n in range(kind.num_fields)]
        return pa.StructArray.from_arrays(members, [member.name for member in kind], mask=values.is_null())
    return values


def _rfc3339(times: pa.Array) -> pa.Array:
    """Write as Go prints times, which clients compare with: no more digits of the fraction than there are."""
    texts = times.cast(pa.timestamp(times.type.unit)).cast(pa.string())
    texts = pc.if_else(pc.starts_with(texts, "<"), pa.scalar(None, pa.string()), texts)  # infinity
    texts = pc.replace_substring(texts, " ", "T")
    texts = pc.replace_substring_regex(texts, r"\.?0*$", "") if times.type.unit != "s" else texts
    return pc.binary_join_element_wise(texts, "Z", "")


def _column(number: int) -> exp.Column:
    return exp.column(f"c{number}")


def _select(cells: list[exp.Expr], columns: list[pa.Array]) -> list[pa.Array]:
    """Return the SQL expression of each cell over the columns c0, c1, …"""
    named = [exp.alias_(cast(cell, "VARCHAR"), f"t{n}") for n, cell in enumerate(cells)]
    with _renderer().cursor() as connection:
        connection.register("answer", pa.table({f"c{n}": column for n, column in enumerate(columns)}))
        table = connection.sql(exp.select(*named).from_("answer").sql(DIALECT)).to_arrow_table()
    return [column.combine_chunks() for column in table.columns]


@functools.cache
def _renderer() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"enable_external_access": False})
    # Left to the interpreter's end it is reported as leaked.
    atexit.register(_renderer.cache_clear)
    return connection
