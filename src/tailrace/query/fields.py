"""How a query reads one field: its columns and what `_rest` has of it, as one expression.

A field of one type is its column. A field of several types is a VARIANT, in which each row keeps its own type; where
such a field meets a number or a text, the rows whose type fits are used (DuckDB's own comparison of VARIANTs orders by
type first, so that 3.5 is not below the integer 4).
"""

import itertools
from typing import Literal

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.lake import Column, FieldsView

View = Literal["plain", "exact", "number", "text", "json"]
"""As what a field is wanted: for any use; digit by digit, for output; by a number; by a text; always as JSON."""

MAX_GUESSED_KEYS = 5  # of a dotted name: `_rest` is searched for every way to nest it

_TYPES = {
    name: exp.DataType.build(name, dialect="duckdb")
    for name in ("BIGINT", "BOOLEAN", "DOUBLE", "JSON", "TIMESTAMPTZ", "VARCHAR", "VARIANT")
}
_ARROW_TYPES = {"boolean": pa.bool_(), "integer": pa.int64(), "float": pa.float64()}
_DUCKDB_TYPES = {"boolean": "BOOLEAN", "integer": "BIGINT", "float": "DOUBLE", "string": "VARCHAR", "array": "JSON"}


class FieldReader:
    """Expressions for the fields of one dataset, in the state of its registry that a snapshot holds."""

    def __init__(self, view: FieldsView) -> None:
        self._view = view
        self._columns = view.by_path()

    @property
    def paths(self) -> list[str]:
        """Fields with columns of their own, by name."""
        return sorted(self._columns)

    @property
    def overflows(self) -> bool:
        """Whether `_rest` has paths that are not known."""
        return self._view.rest_overflow

    def knows(self, path: str) -> bool:
        """Whether the dataset has, or may have, values at this path."""
        return path in self._columns or path in self._view.rest or self._view.rest_overflow

    def known(self) -> list[str]:
        """All field names that are known, for suggestions."""
        return sorted({*self._columns, *self._view.rest})

    def resolve(self, name: str) -> str | None:
        """The field that a name in SQL means: the same name, else the one column that differs only in case."""
        if name in self._columns or name in self._view.rest:
            return name
        folded = [path for path in self._columns if path.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        return name if self._view.rest_overflow else None

    def is_mixed(self, path: str) -> bool:
        """Whether one column of one type does not hold all of the field."""
        return len(self._columns.get(path, ())) != 1 or self._in_rest(path)

    def columns_read(self, path: str) -> list[Column]:
        return self._columns.get(path, [])

    def expression(self, path: str, view: View) -> exp.Expr:
        """The field over the dataset's physical columns."""
        columns = self._columns.get(path, [])
        if view == "json":
            values = [_as("JSON", column) for column in columns]
            return _first([*values, *self.rest_values(path)], "JSON")
        if not self.is_mixed(path):
            value: exp.Expr = _column(columns[0])
            return cast(value, "JSON") if columns[0].type == "array" else value
        if view == "number" and self._has_only_whole(path):
            wholes = [_column(c) for c in columns if c.type == "integer"]
            return _first([*wholes, *(_number_in(each, "BIGINT") for each in self.rest_values(path))], "BIGINT")
        if view == "number":
            fitting = [cast(_column(c), "DOUBLE") for c in columns if c.type in ("integer", "float")]
            rest = [_number_in(each, "DOUBLE") for each in self.rest_values(path)]
            return _first([*fitting, *rest], "DOUBLE")
        if view == "text":
            texts = [_column(c) for c in columns if c.type == "string"]
            return _first([*texts, *(_text_in(each) for each in self.rest_values(path))], "VARCHAR")
        if view == "plain" and self._is_numeric(path):
            return self.expression(path, "number")
        # A VARIANT has no number beyond 64 bits, alone or in an array.
        kind = "JSON" if view == "exact" and self.types(path) & {"number", "array"} else "VARIANT"
        values = [_as(kind, column) for column in columns]
        values += [each if kind == "JSON" else cast(each, "VARIANT") for each in self.rest_values(path)]
        return _first(values, kind)

    def types(self, path: str) -> set[str]:
        """The types that values at this path had; without those of an overflowing `_rest`, which are not known."""
        return {column.type for column in self._columns.get(path, [])} | set(self._view.rest.get(path, ()))

    def rest_types(self, path: str) -> frozenset[str] | None:
        """The types of the values that `_rest` may have at this path; None where it may be any."""
        return None if self._view.rest_overflow else frozenset(self._view.rest.get(path, ()))

    def _is_numeric(self, path: str) -> bool:
        return self.types(path) <= {"integer", "float", "number"} and not self._view.rest_overflow

    def _has_only_whole(self, path: str) -> bool:
        """Whether all numbers are whole and of 64 bits."""
        types = self.types(path)
        return "integer" in types and not types & {"float", "number"} and not self._view.rest_overflow

    def _in_rest(self, path: str) -> bool:
        return path in self._view.rest or self._view.rest_overflow

    def rest_values(self, path: str) -> list[exp.Expr]:
        """What `_rest` has at this path as JSON, wherever it may be nested; of each row at most one has a value."""
        if not self._in_rest(path):
            return []
        rest = exp.column("_rest", quoted=True)
        return [
            exp.Anonymous(this="json_extract", expressions=[cast(rest.copy(), "JSON"), exp.Literal.string(pointer)])
            for pointer in _pointers(path)
        ]


def duckdb_type(column: Column) -> str:
    """The SQL type of a physical column as it is stored (arrays as text)."""
    return "VARCHAR" if column.type == "array" else _DUCKDB_TYPES[column.type]


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a physical column as it is stored (arrays as text)."""
    return _ARROW_TYPES.get(column.type, pa.string())


def cast(value: exp.Expr, kind: str) -> exp.Cast:
    """`CAST(value AS kind)`; unlike sqlglot's, it parses no type and copies nothing."""
    return exp.Cast(this=value, to=_TYPES[kind].copy())


def _column(column: Column) -> exp.Column:
    return exp.column(column.name, quoted=True)


def _as(kind: str, column: Column) -> exp.Expr:
    if column.type == "array":
        value = cast(_column(column), "JSON")
        return value if kind == "JSON" else cast(value, "VARIANT")
    return (
        exp.Anonymous(this="to_json", expressions=[_column(column)]) if kind == "JSON" else cast(_column(column), kind)
    )


def _first(values: list[exp.Expr], kind: str) -> exp.Expr:
    if not values:
        return cast(exp.null(), kind)
    return values[0] if len(values) == 1 else exp.Coalesce(this=values[0], expressions=values[1:])


def _type_of(value: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="json_type", expressions=[value.copy()])


def _number_in(value: exp.Expr, kind: str) -> exp.Expr:
    numeric = _type_of(value).isin("BIGINT", "UBIGINT", "DOUBLE")
    number = exp.TryCast(this=value.copy(), to=_TYPES[kind].copy())
    return exp.Case(ifs=[exp.If(this=numeric, true=number)])


def _text_in(value: exp.Expr) -> exp.Expr:
    text = exp.Anonymous(this="json_extract_string", expressions=[value.copy(), exp.Literal.string("$")])
    return exp.Case(ifs=[exp.If(this=_type_of(value).eq("VARCHAR"), true=text)])


def _pointers(path: str) -> list[str]:
    """JSON pointers to where `_rest` may have a path: whole as one key, and nested in every way its dots allow."""
    parts = path.split(".")
    if len(parts) > MAX_GUESSED_KEYS:
        ways = [[path], parts]
    else:
        ways = []
        for cuts in itertools.product((False, True), repeat=len(parts) - 1):
            way = [parts[0]]
            for cut, part in zip(cuts, parts[1:], strict=True):
                if cut:
                    way.append(part)
                else:
                    way[-1] += "." + part
            ways.append(way)
    return ["".join("/" + key.replace("~", "~0").replace("/", "~1") for key in way) for way in ways]
