"""The types of APL, and a value: a DuckDB expression with its type."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import sqlglot.expressions as exp
from msgspec import UNSET, Struct

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
MIN_DATETIME_US, MAX_DATETIME_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999


class Type(StrEnum):
    """The types of APL."""

    BOOL = "bool"
    LONG = "long"
    REAL = "real"
    STRING = "string"
    DATETIME = "datetime"
    TIMESPAN = "timespan"
    DYNAMIC = "dynamic"
    NULL = "null"


BOOL, LONG, REAL, STRING = Type.BOOL, Type.LONG, Type.REAL, Type.STRING
DATETIME, TIMESPAN, DYNAMIC, NULL = Type.DATETIME, Type.TIMESPAN, Type.DYNAMIC, Type.NULL
NUMBERS = (LONG, REAL)
TYPE_NAMES = {
    "bool": BOOL, "boolean": BOOL, "int": LONG, "long": LONG, "real": REAL, "double": REAL, "string": STRING,
    "datetime": DATETIME, "date": DATETIME, "timespan": TIMESPAN, "time": TIMESPAN, "dynamic": DYNAMIC,
}  # fmt: skip
"""Types by the names that APL has for them."""

DUCKDB_TYPES = {
    BOOL: "BOOLEAN", LONG: "BIGINT", REAL: "DOUBLE", STRING: "VARCHAR", DATETIME: "TIMESTAMPTZ", TIMESPAN: "BIGINT",
    DYNAMIC: "JSON", NULL: "JSON",
}  # fmt: skip


class DynamicParts(Struct, frozen=True, eq=False):
    """The values of a DYNAMIC by kind, so that each row keeps its own type: of each kind an expression that is null in
    rows of another, None where no row is of that kind.
    """

    whole: exp.Expr | None = None  # BIGINT
    real: exp.Expr | None = None  # DOUBLE; whole numbers beyond 64 bits are here
    text: exp.Expr | None = None  # VARCHAR
    flag: exp.Expr | None = None  # BOOLEAN
    incomplete: bool = False  # whether rows may hold more than these: an array, a dictionary, a number of more digits
    number: exp.Expr | None = None  # all numbers as DOUBLE, where that is cheaper than to put them together

    def expressions(self) -> list[exp.Expr]:
        parts = (self.whole, self.real, self.text, self.flag, self.number)
        return [part for part in parts if part is not None]

    def map(self, build: Callable[[exp.Expr], exp.Expr]) -> "DynamicParts":
        """Return of each kind what `build` makes of it."""
        return self._map(lambda kind, node: build(node), incomplete=False)

    def map_computed(self, build: Callable[[Type, exp.Expr], exp.Expr]) -> "DynamicParts":
        """Return the parts with what `build` makes of each that is not a column yet."""
        return self._map(
            lambda kind, node: node if isinstance(node, exp.Column) else build(kind, node), incomplete=self.incomplete
        )

    def _map(self, build: Callable[[Type, exp.Expr], exp.Expr], *, incomplete: bool) -> "DynamicParts":
        return DynamicParts(
            None if self.whole is None else build(LONG, self.whole),
            None if self.real is None else build(REAL, self.real),
            None if self.text is None else build(STRING, self.text),
            None if self.flag is None else build(BOOL, self.flag),
            incomplete=incomplete,
        )

    @property
    def has_numbers(self) -> bool:
        return self.whole is not None or self.real is not None

    @property
    def is_number(self) -> bool:
        """Whether there is nothing but numbers."""
        return self.text is None and self.flag is None and not self.incomplete


class Value(Struct, frozen=True, eq=False):
    """An expression of one type.

    `constant` is the Python value where the expression is a literal: bool, int, float, str, None, a datetime as int
    microseconds since 1970, a timespan as int nanoseconds, a dynamic as JSON-able. `parts` are cheaper ways to read the
    values of a DYNAMIC than its JSON.
    """

    type: Type
    sql: exp.Expr
    constant: Any = UNSET
    parts: DynamicParts | None = None

    @property
    def is_constant(self) -> bool:
        return self.constant is not UNSET


def constant_in(value: Value | None, kind: type) -> Any:
    """Return the Python value of a literal of a kind, or None."""
    constant = value.constant if value is not None else None
    return constant if isinstance(constant, kind) else None


def bool_(sql: exp.Expr) -> Value:
    return Value(BOOL, sql)


def long(sql: exp.Expr) -> Value:
    return Value(LONG, sql)


def real(sql: exp.Expr) -> Value:
    return Value(REAL, sql)


def string(sql: exp.Expr) -> Value:
    return Value(STRING, sql)


def dynamic(sql: exp.Expr) -> Value:
    return Value(DYNAMIC, sql)
