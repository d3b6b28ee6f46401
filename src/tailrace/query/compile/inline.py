"""Rows written into the query itself, which the engine gets as an Arrow table."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.times import datetime_ns
from tailrace.query.compile.columns import (
    define,
    everything,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import Emitter, Empty, Layer, Relation, RelationColumn, named, nothing, table_named
from tailrace.query.functions.math import MAX_CONSTANT_RANGE
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NS_PER_US,
    REAL,
    STRING,
    TIMESPAN,
    TYPE_NAMES,
    Type,
    Value,
    cast,
    to_json,
)


class Inline(Relation):
    """An Arrow table; its columns go by the names i0, i1, … there."""

    def __init__(self, table: str, columns: list[RelationColumn]) -> None:
        super().__init__()
        self._table = table
        self._columns = columns
        self._numbers = {column.id: n for n, column in enumerate(columns)}

    def find(self, name: str) -> RelationColumn | None:
        return next((column for column in self._columns if column.name == name), None)

    def listed(self) -> list[RelationColumn]:
        return list(self._columns)

    def has(self, name: str) -> bool:
        return name in self._numbers

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        cells: list[exp.Expr] = []
        for column in self._columns:
            if column.id in needed:
                value: exp.Expr = exp.column(f"i{self._numbers[column.id]}")
                cells.append(named(cast(value, "JSON") if column.value.type is DYNAMIC else value, column.id))
        cells = cells or [nothing()]
        return exp.Select(expressions=cells, from_=exp.From(this=table_named(self._table)))


def inline(compiler: Compiler, rows: pa.Table, kinds: Sequence[Type]) -> Relation:
    """Return a relation of these rows; a dynamic is JSON text, a timespan nanoseconds."""
    columns = [compiler.ids.column(name, kind) for name, kind in zip(rows.column_names, kinds, strict=True)]
    renamed = rows.rename_columns([f"i{n}" for n in range(rows.num_columns)])
    return Inline(compiler.inline_table(renamed), columns)


def getschema(compiler: Compiler, relation: Relation, operator: tree.Getschema) -> Relation:
    columns = everything(compiler, relation, most=None)
    rows = pa.table(
        {
            "ColumnName": pa.array([column.name for column in columns], pa.string()),
            "ColumnOrdinal": pa.array(range(len(columns)), pa.int64()),
            "ColumnType": pa.array([column.value.type.value for column in columns], pa.string()),
            "DataType": pa.array([_SYSTEM_TYPES[column.value.type] for column in columns], pa.string()),
        }
    )
    kinds = [TYPE_NAMES["string"], TYPE_NAMES["long"], TYPE_NAMES["string"], TYPE_NAMES["string"]]
    return inline(compiler, rows, kinds)


_SYSTEM_TYPES = {
    Type.BOOL: "System.SByte", Type.LONG: "System.Int64", Type.REAL: "System.Double", Type.STRING: "System.String",
    Type.DATETIME: "System.DateTime", Type.TIMESPAN: "System.TimeSpan", Type.DYNAMIC: "System.Object",
    Type.NULL: "System.Object",
}  # fmt: skip


def print_row(compiler: Compiler, source: tree.Print) -> Relation:
    expressions = Expressions(compiler, Empty())
    values = []
    taken: set[str] = set()
    for number, item in enumerate(source.values):
        name = item.name or f"print_{number}"
        if name in taken:
            raise AplError(f"the column {name!r} is there twice", item.at, kind="name")
        taken.add(name)
        values.append((name, expressions.value(item.value)))
    layer = Layer(expressions.relation, inherits=False)
    for name, value in values:
        define(compiler, layer, name, value)
    return layer


def datatable(compiler: Compiler, source: tree.Datatable) -> Relation:
    width = len(source.columns)
    names: set[str] = set()
    arrays, kinds = [], []
    for n, column in enumerate(source.columns):
        if column.name in names:
            raise AplError(f"the column {column.name!r} is there twice", column.at, kind="name")
        names.add(column.name)
        kind = TYPE_NAMES[column.type]
        kinds.append(kind)
        arrays.append(cells(kind, source.cells[n::width]))
    return inline(compiler, pa.table(arrays, names=[column.name for column in source.columns]), kinds)


def range_rows(compiler: Compiler, source: tree.Range) -> Relation:
    expressions = Expressions(compiler, Empty())
    nodes = {"the start": source.start, "the end": source.stop, "the step": source.step}
    start, stop, step = (expressions.constant(node, f"{what} of range") for what, node in nodes.items())
    kind, cells = _steps(start, stop, step, source.at)
    return inline(compiler, pa.table([cells], names=[source.name]), [kind])


def _steps(start: Value, stop: Value, step: Value, at: int) -> tuple[Type, pa.Array]:
    kinds = (start.type, stop.type, step.type)
    first, last, by = start.constant, stop.constant, step.constant
    if None in (first, last, by) or (Type.REAL in kinds and not all(map(math.isfinite, (first, last, by)))):
        raise AplError("range goes from, to and by numbers or times that are there", at, kind="type")
    if kinds == (Type.DATETIME, Type.DATETIME, Type.TIMESPAN):
        by //= NS_PER_US
    elif kinds != (Type.TIMESPAN,) * 3 and not {*kinds} <= {Type.LONG, Type.REAL}:
        raise AplError(
            f"range goes from a number to a number by a number, or from a time to a time by a timespan; met "
            f"{kinds[0].value}, {kinds[1].value} and {kinds[2].value}", at, kind="type"
        )  # fmt: skip
    if not by:
        raise AplError("the step of range is 0" if kinds[0] is not Type.DATETIME else
                       "the step of range is shorter than a microsecond", at, kind="type")  # fmt: skip
    steps = (last - first) / by if Type.REAL in kinds else (last - first) // by
    if steps >= MAX_CONSTANT_RANGE:
        raise AplError(f"range makes more than {MAX_CONSTANT_RANGE} rows, the limit", at, kind="limit")
    cells = [first + n * by for n in range(math.floor(max(steps, -1)) + 1)]
    if kinds[0] is Type.DATETIME:
        return Type.DATETIME, pa.array(cells, pa.timestamp("us", "UTC"))
    if Type.REAL in kinds:
        return Type.REAL, pa.array(map(float, cells), pa.float64())
    return kinds[0], pa.array(cells, pa.int64())


def cells(kind: Type, given: Sequence[tree.Constant]) -> pa.Array:
    """Return the literals of a column of a datatable, of which each is read as the column's type."""
    values = [_cell(kind, constant) for constant in given]
    return pa.array(values, _ARROW[kind])


_ARROW = {
    BOOL: pa.bool_(), LONG: pa.int64(), REAL: pa.float64(), STRING: pa.string(), TIMESPAN: pa.int64(),
    DATETIME: pa.timestamp("us", "UTC"), DYNAMIC: pa.string(),
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _cell(kind: Type, constant: tree.Constant) -> Any:
    value = constant.value
    if value is None:
        return None
    if kind is DYNAMIC:
        return to_json(value)
    if kind is DATETIME and constant.kind == "string":
        value = datetime_ns(value)
        if value is not None:
            return _EPOCH + timedelta(microseconds=value // 1000)
    elif kind is DATETIME and constant.kind == "datetime":
        return _EPOCH + timedelta(microseconds=value // 1000)
    elif kind is REAL and constant.kind in ("long", "real"):
        return float(value)
    elif TYPE_NAMES[constant.kind] is kind:
        return value
    raise AplError(f"a {kind.value} is expected in this column, met a {constant.kind}", constant.at, kind="type")
