"""Nodes of DuckDB's SQL, built and never pasted from text."""

from collections.abc import Iterable, Sequence

import sqlglot.expressions as exp

_TYPES = {
    name: exp.DataType.build(name, dialect="duckdb")
    for name in (
        "BIGINT", "BOOLEAN", "DOUBLE", "HUGEINT", "INTEGER", "JSON", "JSON[]", "TIMESTAMPTZ", "TIMESTAMP", "VARCHAR",
        "DOUBLE[]", "VARCHAR[]", "BIGINT[]", "BOOLEAN[]", "BLOB", "UBIGINT", "UHUGEINT", "VARIANT", "INTERVAL",
    )
}  # fmt: skip


REFUSAL = "refused: "
"""Begins the message of an error that a query raises itself."""


def fn(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Return a call of a DuckDB function, by exactly this name."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def cast(value: exp.Expr, kind: str) -> exp.Expr:
    """Return `CAST(value AS kind)`; only where no value can fail."""
    return exp.Cast(this=value, to=_TYPES[kind])


def try_cast(value: exp.Expr, kind: str) -> exp.Expr:
    """Return `TRY_CAST(value AS kind)`: null where it fails."""
    return exp.TryCast(this=value, to=_TYPES[kind])


def text_node(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def number_node(value: float) -> exp.Expr:
    """Return a number; an integer within 64 bits, or a finite double, which is written so that DuckDB reads a
    DOUBLE.
    """
    if isinstance(value, float):
        return cast(text_node(repr(value)), "DOUBLE")
    digits = exp.Literal(this=str(abs(value)), is_string=False)
    return exp.Paren(this=exp.Neg(this=digits)) if value < 0 else digits


def null_node(kind: str) -> exp.Expr:
    return cast(exp.null(), kind)


def infix(node: type[exp.Binary], left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """Return a binary operation in parentheses, which sqlglot does not add by itself."""
    return exp.Paren(this=node(this=left, expression=right))


def and_(*conditions: exp.Expr) -> exp.Expr:
    return _chain(exp.And, conditions)


def or_(*conditions: exp.Expr) -> exp.Expr:
    return _chain(exp.Or, conditions)


def _chain(node: type[exp.Binary], items: Sequence[exp.Expr]) -> exp.Expr:
    result = items[0]
    for item in items[1:]:
        result = infix(node, result, item)
    return result


def not_(condition: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Not(this=exp.Paren(this=condition)))


def is_null(value: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Is(this=value, expression=exp.null()))


def is_not_null(value: exp.Expr) -> exp.Expr:
    return not_(is_null(value))


def coalesce(value: exp.Expr, *others: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=value, expressions=list(others)) if others else value


def one_of(value: exp.Expr, *texts: str) -> exp.Expr:
    return exp.Paren(this=exp.In(this=value, expressions=[text_node(each) for each in texts]))


def in_range(value: exp.Expr, low: int, high: int) -> exp.Expr:
    """Return `low <= value AND value <= high`, for integers."""
    return exp.Paren(this=exp.Between(this=value, low=number_node(low), high=number_node(high)))


def case(*branches: tuple[exp.Expr, exp.Expr], otherwise: exp.Expr | None = None) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value) for condition, value in branches], default=otherwise)


def refusal(reason: str) -> exp.Expr:
    """End the query with this reason once it is reached."""
    return fn("error", text_node(REFUSAL + reason))


def list_value(items: Iterable[exp.Expr]) -> exp.Expr:
    """Return `[a, b, …]`; of one type."""
    return fn("list_value", *items)


def pack_struct(nodes: Iterable[exp.Expr]) -> exp.Expr:
    """Return a structure with the fields k0, k1, …, which is compared by them in turn."""
    return fn(
        "struct_pack",
        *(exp.PropertyEQ(this=exp.to_identifier(f"k{n}"), expression=node) for n, node in enumerate(nodes)),
    )


def unpack_struct(structure: exp.Expr, number: int) -> exp.Expr:
    return fn("struct_extract", structure, text_node(f"k{number}"))
