"""Rows written into the query itself, which the engine gets as an Arrow table."""

from collections.abc import Sequence

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.relation import Column, Emitter, Relation, named, nothing, table_named
from tailrace.query.values import DYNAMIC, Type, cast


class Inline(Relation):
    """An Arrow table; its columns go by the names i0, i1, … there."""

    def __init__(self, table: str, columns: list[Column]) -> None:
        super().__init__()
        self._table = table
        self._columns = columns
        self._numbers = {column.id: n for n, column in enumerate(columns)}

    def find(self, name: str) -> Column | None:
        return next((column for column in self._columns if column.name == name), None)

    def listed(self) -> list[Column]:
        return list(self._columns)

    def has(self, name: str) -> bool:
        return name in self._numbers

    def emit(self, needed: set[str], out: Emitter) -> exp.Query:
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
