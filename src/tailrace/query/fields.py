"""How a query reads one field: its columns and what `_rest` has of it, as one expression.

A field of one type is its column. A field of several types is a VARIANT, in which each row keeps its own type; where
such a field meets a number or a text, the rows whose type fits are used (DuckDB's own comparison of VARIANTs orders by
type first, so that 3.5 is not below the integer 4).
"""

import itertools
from typing import Literal

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.lake.snapshot import FieldsView, PhysicalColumn
from tailrace.query.values import REFUSAL

View = Literal["plain", "exact", "number", "text", "json", "sent", "group", "double", "whole", "real", "key"]
"""The form in which a field is read: `plain` for any use; `exact` with every digit, for output; `number` and `text` to
be compared with one; `json` always as JSON; `sent` with the type of each row; `group` like that, but with one type for
equal numbers; `double` as rounded numbers; `whole` and `real` as the whole and the other numbers; `key` to sort and
compare by value.
"""

EXACT_IN_A_DOUBLE = 2**53  # beyond it a double cannot represent every whole number

MAX_GUESSED_KEYS = 5  # of a dotted name: `_rest` is searched for every way to nest it

_NUMBERS = {"integer", "float", "number"}
_TYPES = {
    name: exp.DataType.build(name, dialect="duckdb")
    for name in ("BIGINT", "BOOLEAN", "DOUBLE", "JSON", "TIMESTAMPTZ", "VARCHAR", "VARIANT", "HUGEINT")
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
        """Whether `_rest` may have unknown paths."""
        return self._view.rest_overflow

    def knows(self, path: str) -> bool:
        """Return whether the dataset has, or may have, values at this path."""
        return path in self._columns or path in self._view.rest or self._view.rest_overflow

    def known(self) -> list[str]:
        """Return all known field names, for suggestions."""
        return sorted({*self._columns, *self._view.rest})

    def resolve(self, name: str) -> str | None:
        """Return the field of a name in SQL: the same name, else the only column that differs in case."""
        if name in self._columns or name in self._view.rest:
            return name
        folded = [path for path in self._columns if path.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        return name if self._view.rest_overflow else None

    def is_mixed(self, path: str) -> bool:
        """Return whether the field is more than one column of one type."""
        return len(self._columns.get(path, ())) != 1 or self._in_rest(path)

    def is_split(self, path: str) -> bool:
        """Return whether the field may have numbers and values of other types, or whole and other numbers."""
        types = self.types(path)
        if not self.is_mixed(path):
            return False
        if self._view.rest_overflow:
            return True
        return bool(types & _NUMBERS) and types != {"integer"} and not types <= {"float", "number"}

    def is_numeric(self, path: str) -> bool:
        """Return whether the field has only numbers."""
        return self.types(path) <= _NUMBERS and not self._view.rest_overflow

    def is_varied(self, path: str) -> bool:
        """Whether the field is known to have whole and other numbers and values besides, so that a VARIANT has no order
        by value.
        """
        types = self.types(path)
        return "integer" in types and bool(types & {"float", "number"}) and bool(types - _NUMBERS)

    def columns_read(self, path: str) -> list[PhysicalColumn]:
        return self._columns.get(path, [])

    def expression(self, path: str, view: View) -> exp.Expr:
        """Return the field over the dataset's physical columns."""
        columns = self._columns.get(path, [])
        if view == "json":
            values = [_as("JSON", column) for column in columns]
            return _first([*values, *self.rest_values(path)], "JSON")
        if view == "key":
            return self._key(path)
        if not self.is_mixed(path):
            value: exp.Expr = _column(columns[0])
            return cast(value, "JSON") if columns[0].type == "array" else value
        if view == "number" and self._has_only_whole(path):
            wholes = [_column(c) for c in columns if c.type == "integer"]
            return _first([*wholes, *(_number_in(value, "BIGINT") for value in self.rest_values(path))], "BIGINT")
        if view == "whole":
            wholes = [_column(c) for c in columns if c.type == "integer"]
            return _first([*wholes, *map(_whole_in, self.rest_values(path))], "BIGINT")
        if view == "real":
            reals = [_column(c) for c in columns if c.type == "float"]
            return _first([*reals, *map(_real_in, self.rest_values(path))], "DOUBLE")
        if view == "number" and self.is_split(path):
            return self._exact_double(path)
        if view in ("number", "double"):
            fitting = [cast(_column(c), "DOUBLE") for c in columns if c.type in ("integer", "float")]
            rest = [_number_in(value, "DOUBLE") for value in self.rest_values(path)]
            return _first([*fitting, *rest], "DOUBLE")
        if view == "text":
            texts = [_column(c) for c in columns if c.type == "string"]
            return _first([*texts, *(_text_in(value) for value in self.rest_values(path))], "VARCHAR")
        if view == "plain" and self.is_numeric(path):
            return self.expression(path, "number")
        if view == "group" and self.is_split(path):
            return self._canonical(path)
        # A VARIANT cannot have a number beyond 64 bits, alone or in an array.
        kind = "JSON" if view == "exact" and self.types(path) & {"number", "array"} else "VARIANT"
        values = [_as(kind, column) for column in columns]
        values += [value if kind == "JSON" else cast(value, "VARIANT") for value in self.rest_values(path)]
        return _first(values, kind)

    def _exact_double(self, path: str) -> exp.Expr:
        """Return all numbers as doubles; a whole number that no double represents fails the query."""
        whole, real = self.expression(path, "whole"), self.expression(path, "real")
        reason = (
            f"field {path!r} has whole numbers beyond 2^53 among numbers of other types, which are read in double "
            f"precision here and would lose digits: write TRY_CAST({_quoted(path)} AS HUGEINT) for its whole numbers, "
            f"or TRY_CAST({_quoted(path)} AS DOUBLE) to round them"
        )
        refused = exp.Anonymous(this="error", expressions=[exp.Literal.string(REFUSAL + reason)])
        as_double = exp.Case(
            ifs=[exp.If(this=exp.NEQ(this=_remainder(whole), expression=exp.Literal.number(0)), true=refused)],
            default=cast(whole.copy(), "DOUBLE"),
        )
        return exp.Coalesce(this=real, expressions=[as_double])

    def _canonical(self, path: str) -> exp.Expr:
        """Return the field as a VARIANT in which 2.0 is 2, so that equal numbers compare as equal."""
        whole, real = self.expression(path, "whole"), self.expression(path, "real")
        is_whole = exp.EQ(this=exp.Anonymous(this="trunc", expressions=[real.copy()]), expression=real.copy())
        of_real = exp.Case(ifs=[exp.If(this=is_whole, true=exp.TryCast(this=real.copy(), to=_TYPES["BIGINT"].copy()))])
        numbers = [exp.Coalesce(this=whole, expressions=[of_real]), real]
        return _first([*(cast(number, "VARIANT") for number in numbers), self.expression(path, "sent")], "VARIANT")

    def _key(self, path: str) -> exp.Expr:
        """Return a key that sorts numbers by value, then texts, then the rest; comparable with the key of any other
        field.

        A whole number is the double nearest to it, and what that differs from it by.
        """
        whole, real = self._part(path, "whole"), self._part(path, "real")
        text, other = self._part(path, "text"), self.expression(path, "json")
        number = exp.Coalesce(this=real, expressions=[cast(whole.copy(), "DOUBLE")])
        other_text = exp.Anonymous(this="json_extract_string", expressions=[other, exp.Literal.string("$")])
        return exp.Case(
            ifs=[
                exp.If(this=_is_there(number), true=_row(0, number.copy(), _remainder(whole), exp.Literal.string(""))),
                exp.If(this=_is_there(text), true=_row(1, _zero("DOUBLE"), _zero("BIGINT"), text.copy())),
                exp.If(this=_is_there(other_text), true=_row(2, _zero("DOUBLE"), _zero("BIGINT"), other_text.copy())),
            ]
        )

    def _part(self, path: str, view: View) -> exp.Expr:
        """Return the rows of one kind, also of a field of one type."""
        if self.is_mixed(path):
            return self.expression(path, view)
        kinds = {"whole": ("integer", "BIGINT"), "real": ("float", "DOUBLE"), "text": ("string", "VARCHAR")}
        column_type, kind = kinds[view]
        [column] = self._columns[path]
        return _column(column) if column.type == column_type else cast(exp.null(), kind)

    def types(self, path: str) -> set[str]:
        """Return the types that values at this path had; without those of an overflowing `_rest`, which are not
        known.
        """
        return {column.type for column in self._columns.get(path, [])} | set(self._view.rest.get(path, ()))

    def rest_types(self, path: str) -> frozenset[str] | None:
        """Return the types of the values that `_rest` may have at this path; None where it may be any."""
        return None if self._view.rest_overflow else frozenset(self._view.rest.get(path, ()))

    def _has_only_whole(self, path: str) -> bool:
        """Return whether all numbers are whole and within 64 bits."""
        types = self.types(path)
        return "integer" in types and not types & {"float", "number"} and not self._view.rest_overflow

    def _in_rest(self, path: str) -> bool:
        return path in self._view.rest or self._view.rest_overflow

    def rest_values(self, path: str) -> list[exp.Expr]:
        """Return what `_rest` has at this path as JSON, wherever it may be nested; of each row at most one has a
        value.
        """
        if not self._in_rest(path):
            return []
        rest = exp.column("_rest", quoted=True)
        return [
            exp.Anonymous(this="json_extract", expressions=[cast(rest.copy(), "JSON"), exp.Literal.string(pointer)])
            for pointer in _pointers(path)
        ]


def duckdb_type(column: PhysicalColumn) -> str:
    """Return the SQL type of a physical column as it is stored (arrays as text)."""
    return "VARCHAR" if column.type == "array" else _DUCKDB_TYPES[column.type]


def arrow_type(column: PhysicalColumn) -> pa.DataType:
    """Return the Arrow type of a physical column as it is stored (arrays as text)."""
    return _ARROW_TYPES.get(column.type, pa.string())


def cast(value: exp.Expr, kind: str) -> exp.Cast:
    """Return `CAST(value AS kind)`; unlike sqlglot's, it parses no type and copies nothing."""
    return exp.Cast(this=value, to=_TYPES[kind].copy())


def key_of(value: exp.Expr) -> exp.Expr:
    """Return the same key as a field has, of an expression of any type, which is moved into it."""
    element = exp.column("v")
    kind, written = _type_of(element), cast(element.copy(), "VARCHAR")
    text = exp.Anonymous(this="json_extract_string", expressions=[element.copy(), exp.Literal.string("$")])
    whole = exp.Case(
        ifs=[
            exp.If(
                this=kind.copy().isin("BIGINT", "UBIGINT"),
                true=exp.TryCast(this=written.copy(), to=_TYPES["BIGINT"].copy()),
            )
        ]
    )
    double = exp.TryCast(this=written, to=_TYPES["DOUBLE"].copy())
    key = exp.Case(
        ifs=[
            exp.If(
                this=kind.isin("BIGINT", "UBIGINT", "DOUBLE"),
                true=_row(0, double, _remainder(whole), exp.Literal.string("")),
            ),
            exp.If(this=kind.copy().eq("VARCHAR"), true=_row(1, _zero("DOUBLE"), _zero("BIGINT"), text)),
            exp.If(this=_is_there(text), true=_row(2, _zero("DOUBLE"), _zero("BIGINT"), text.copy())),
        ]
    )
    # A cast to a VARIANT would tell the type too, but not of every JSON value.
    values = exp.Anonymous(this="list_value", expressions=[exp.Anonymous(this="to_json", expressions=[value])])
    mapped = exp.Lambda(this=key, expressions=[exp.to_identifier("v")])
    keys = exp.Anonymous(this="list_transform", expressions=[values, mapped])
    return exp.Anonymous(this="list_extract", expressions=[keys, exp.Literal.number(1)])


def _row(rank: int, number: exp.Expr, remainder: exp.Expr, text: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="row", expressions=[cast(exp.Literal.number(rank), "BIGINT"), number, remainder, text])


def _zero(kind: str) -> exp.Expr:
    return cast(exp.Literal.number(0), kind)


def _is_there(value: exp.Expr) -> exp.Expr:
    return exp.Not(this=exp.Paren(this=exp.Is(this=exp.Paren(this=value.copy()), expression=exp.null())))


def _remainder(whole: exp.Expr) -> exp.Expr:
    """Return the difference between a whole number and the nearest double."""
    bound = exp.Literal.number(EXACT_IN_A_DOUBLE)
    is_far = exp.Not(this=exp.Paren(this=exp.Between(this=whole.copy(), low=exp.Neg(this=bound), high=bound.copy())))
    rounded = exp.TryCast(this=cast(whole.copy(), "DOUBLE"), to=_TYPES["HUGEINT"].copy())
    off = exp.Paren(this=exp.Sub(this=cast(whole.copy(), "HUGEINT"), expression=rounded))
    return exp.Coalesce(
        this=exp.Case(ifs=[exp.If(this=is_far, true=exp.TryCast(this=off, to=_TYPES["BIGINT"].copy()))]),
        expressions=[_zero("BIGINT")],
    )


def _quoted(path: str) -> str:
    return exp.to_identifier(path).sql("duckdb")


def _column(column: PhysicalColumn) -> exp.Column:
    return exp.column(column.name, quoted=True)


def _as(kind: str, column: PhysicalColumn) -> exp.Expr:
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


def _whole_in(value: exp.Expr) -> exp.Expr:
    whole = _type_of(value).isin("BIGINT", "UBIGINT")
    return exp.Case(ifs=[exp.If(this=whole, true=exp.TryCast(this=value.copy(), to=_TYPES["BIGINT"].copy()))])


def _real_in(value: exp.Expr) -> exp.Expr:
    real = exp.And(
        this=_type_of(value).isin("UBIGINT", "DOUBLE"),
        expression=exp.Is(this=exp.Paren(this=_whole_in(value)), expression=exp.null()),
    )
    return exp.Case(ifs=[exp.If(this=real, true=exp.TryCast(this=value.copy(), to=_TYPES["DOUBLE"].copy()))])


def _text_in(value: exp.Expr) -> exp.Expr:
    text = exp.Anonymous(this="json_extract_string", expressions=[value.copy(), exp.Literal.string("$")])
    return exp.Case(ifs=[exp.If(this=_type_of(value).eq("VARCHAR"), true=text)])


def _pointers(path: str) -> list[str]:
    """Return JSON pointers to a path in `_rest`: as one key, and nested in every way that its dots allow."""
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
