"""What holds for any column of a relation, the fields without columns included."""

from collections.abc import Callable

import sqlglot.expressions as exp

from tailrace.query.apl.errors import AplError
from tailrace.query.compile.relation import Relation
from tailrace.query.values import (
    DYNAMIC,
    Value,
    as_bool,
    as_text,
    bool_,
    coalesce,
    fn,
    infix,
    list_filter,
    literal,
    not_,
    number_node,
    text_node,
)

MAX_ANY_COLUMNS = 2_000  # that `*` stands for
SEPARATOR = "\x1f"  # no part of a term
_PASSED_OVER = ("_time", "_sysTime", "$table")


def holds_for_any(relation: Relation, test: Callable[[Value], Value], *, negated: bool) -> Value:
    """Return whether a test holds for any column."""
    tests = [coalesce(as_bool(test(value)).sql, exp.false()) for value in _columns(relation)]
    rest = relation.rest
    if rest is not None:
        leaves = fn("json_extract", rest.value.sql, text_node("$.*"))
        hits = list_filter(leaves, lambda v: coalesce(as_bool(test(Value(DYNAMIC, v))).sql, exp.false()))
        some = infix(exp.GT, fn("len", hits), number_node(0))
        tests.append(coalesce(some, exp.false()))
    if not tests:
        return literal(negated)
    while len(tests) > 1:
        pairs = [tests[n : n + 2] for n in range(0, len(tests), 2)]
        tests = [infix(exp.Or, *pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return bool_(not_(tests[0]) if negated else tests[0])


def joined_texts(relation: Relation) -> exp.Expr | None:
    """Return the texts of all columns together, with separators between them; None where there is no column."""
    texts = [as_text(value).sql for value in _columns(relation)]
    rest = relation.rest
    if rest is not None:
        leaves = fn("json_extract_string", rest.value.sql, text_node("$.*"))
        texts.append(fn("array_to_string", leaves, text_node(SEPARATOR)))
    return fn("concat_ws", text_node(SEPARATOR), *texts) if texts else None


def _columns(relation: Relation) -> list[Value]:
    columns = [column.value for column in relation.listed() if column.name not in _PASSED_OVER]
    if len(columns) > MAX_ANY_COLUMNS:
        raise AplError(f"'*' stands for {len(columns)} columns, the limit is {MAX_ANY_COLUMNS}", kind="limit")
    return columns
