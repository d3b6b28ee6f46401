"""What a JSON value holds, by kind: each function is null in rows of another kind."""

import sqlglot.expressions as exp

from tailrace.query.values.lambdas import bind
from tailrace.query.values.nodes import and_, case, cast, fn, is_not_null, null_node, text_node, try_cast


def json_kind(value: exp.Expr) -> exp.Expr:
    """Return the kind: ARRAY, OBJECT, VARCHAR, BOOLEAN, BIGINT, UBIGINT, DOUBLE or NULL."""
    return fn("json_type", value)


def json_text(value: exp.Expr) -> exp.Expr:
    """Return a JSON string's text; of anything else its JSON text; of the JSON null NULL."""
    return fn("json_extract_string", value, text_node("$"))


def not_json_null(value: exp.Expr) -> exp.Expr:
    return fn("nullif", value, cast(text_node("null"), "JSON"))


_SURELY_WHOLE, _MAYBE_WHOLE = "-?[0-9]{1,18}", "-?[0-9]{19}"  # the last of which may be beyond 64 bits


def whole_of_json(value: exp.Expr) -> exp.Expr:
    """Return the whole numbers of 64 bits as BIGINT."""

    def read(v: exp.Expr) -> exp.Expr:
        # Many times faster than to parse the JSON, which cannot tell 1 from 1.0 but by its text merge_exclusive.
        text = cast(v, "VARCHAR")
        digits = fn("regexp_full_match", text, text_node("-?[0-9]{1,19}"))
        return case((digits, try_cast(text, "BIGINT")))

    return bind([value], read)


def real_of_json(value: exp.Expr) -> exp.Expr:
    """All other numbers as DOUBLE."""

    def read(v: exp.Expr) -> exp.Expr:
        text = cast(v, "VARCHAR")
        fits = is_not_null(try_cast(text, "BIGINT"))
        return case(
            (fn("regexp_full_match", text, text_node(_SURELY_WHOLE)), null_node("DOUBLE")),
            (and_(fn("regexp_full_match", text, text_node(_MAYBE_WHOLE)), fits), null_node("DOUBLE")),
            otherwise=try_cast(text, "DOUBLE"),
        )

    return bind([value], read)


def number_of_json(value: exp.Expr) -> exp.Expr:
    """All numbers as DOUBLE."""
    return try_cast(cast(value, "VARCHAR"), "DOUBLE")  # a string has its quotes


def text_of_json(value: exp.Expr) -> exp.Expr:
    """Return the strings."""

    def read(v: exp.Expr) -> exp.Expr:
        return case((fn("starts_with", cast(v, "VARCHAR"), text_node('"')), json_text(v)))

    return bind([value], read)


def flag_of_json(value: exp.Expr) -> exp.Expr:
    """Return the booleans."""
    return exp.Case(
        this=cast(value, "VARCHAR"),
        ifs=[exp.If(this=text_node("true"), true=exp.true()), exp.If(this=text_node("false"), true=exp.false())],
    )
