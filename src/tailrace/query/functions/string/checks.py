"""Whether values are null, empty, or ASCII, and the first that is not empty."""

import sqlglot.expressions as exp

from tailrace.query.functions.table import Context, table
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    STRING,
    Value,
    as_text,
    bind,
    bool_,
    cast,
    coalesce,
    fn,
    infix,
    is_null,
    nan_as_null,
    not_,
    text_node,
    unify,
)

FUNCTIONS, _add = table("string")


def _is_empty(value: Value) -> exp.Expr:
    """Whether a value is null or the empty string."""
    if value.type is STRING:
        return coalesce(infix(exp.EQ, value.sql, text_node("")), exp.true())
    if value.type is DYNAMIC:
        return coalesce(infix(exp.EQ, as_text(value).sql, text_node("")), exp.true())
    return is_null(nan_as_null(value).sql)


def _coalesce(context: Context, *arguments: Value) -> Value:
    kind, values = unify(arguments)
    if kind is STRING:
        filled = [fn("nullif", each.sql, text_node("")) for each in values[:-1]]
    elif kind is DYNAMIC:
        filled = [fn("nullif", each.sql, cast(text_node('""'), "JSON")) for each in values[:-1]]
    else:
        filled = [nan_as_null(each).sql for each in values[:-1]]
    return Value(kind, coalesce(*filled, values[-1].sql))


# fmt: off
_add("coalesce", "values:any*", "type of the values", _coalesce,
     "The first value that is neither null nor the empty string, else the last.",
     'print coalesce("", "b", "c")', "b", least=2, most=64)
_add("isempty", "value:any", BOOL, lambda c, value: bool_(_is_empty(value)),
     "Whether the value is null or the empty string.", 'print isempty("")', True)
_add("isnotempty notempty", "value:any", BOOL, lambda c, value: bool_(not_(_is_empty(value))),
     "Whether the value is neither null nor the empty string.", 'print isnotempty("")', False)
_add("isnull", "value:any", BOOL, lambda c, value: bool_(is_null(nan_as_null(value).sql)),
     "Whether the value is null; the empty string is not.", 'print isnull("")', False)
_add("isnotnull notnull", "value:any", BOOL, lambda c, value: bool_(not_(is_null(nan_as_null(value).sql))),
     "Whether the value is not null.", "print isnotnull(0)", True)
_add("isascii", "text:text", BOOL,
     lambda c, text: bool_(bind([text.sql], lambda t: infix(exp.EQ, fn("strlen", t), fn("length", t)))),
     "Whether all characters are ASCII.", 'print isascii("aé")', False)
# fmt: on
