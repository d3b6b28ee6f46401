"""What values are compared, sorted and grouped by."""

import sqlglot.expressions as exp

from tailrace.query.values.dynamics import as_dynamic, from_parts, parts_of, value_is_null
from tailrace.query.values.json_kinds import json_text
from tailrace.query.values.literals import null
from tailrace.query.values.nodes import (
    and_,
    case,
    cast,
    coalesce,
    infix,
    is_not_null,
    is_null,
    not_,
    number_node,
    or_,
    text_node,
    try_cast,
)
from tailrace.query.values.numbers import all_doubles, as_exact_long
from tailrace.query.values.types import (
    BOOL,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    DynamicParts,
    Value,
    dynamic,
    long,
    real,
    string,
)


def canonical(value: Value) -> Value:
    """Return a value of which equal ones are the same in SQL too: the real number 1.0 of a DYNAMIC is the whole number
    1.
    """
    if value.type is not DYNAMIC:
        return value
    parts = parts_of(value)
    if parts.real is None:
        return value
    whole = as_exact_long(real(parts.real)).sql
    if parts.incomplete:
        return dynamic(coalesce(as_dynamic(long(whole)).sql, value.sql))
    rest = case((is_null(whole), parts.real))
    wholes = whole if parts.whole is None else coalesce(parts.whole, whole)
    return from_parts(DynamicParts(wholes, rest, parts.text, parts.flag))


def order_keys(value: Value) -> list[Value]:
    """Return what a value is sorted by, in turn: a DYNAMIC by its numbers, then its texts, then the rest."""
    if value.type is not DYNAMIC:
        return [value]
    parts = parts_of(value)
    numbers = _number_keys(parts)
    if parts.is_number and numbers:
        return numbers
    texts = [] if parts.text is None else [parts.text]
    texts += [] if parts.flag is None else [cast(parts.flag, "VARCHAR")]
    if parts.incomplete:
        texts = [json_text(value.sql)]
    text = [string(coalesce(*texts))] if texts else []
    if not numbers:
        return text or [null(STRING)]
    is_number = or_(*(is_not_null(part) for part in (parts.whole, parts.real) if part is not None))
    rank = case((is_number, number_node(0)), (not_(value_is_null(value)), number_node(1)))
    return [long(cast(rank, "BIGINT")), *numbers, *text]


def _number_keys(parts: DynamicParts) -> list[Value]:
    if parts.whole is None or parts.real is None:
        return [Value(kind, part) for kind, part in ((LONG, parts.whole), (REAL, parts.real)) if part is not None]
    # What a double cannot tell apart are whole numbers.
    beyond = case(
        (infix(exp.LT, parts.real, number_node(0)), _HUGE_ENDS[0]), (is_not_null(parts.real), _HUGE_ENDS[1])
    )  # fmt: skip
    wholes = coalesce(cast(parts.whole, "HUGEINT"), try_cast(parts.real, "HUGEINT"), beyond)
    return [real(all_doubles(parts)), long(wholes)]


_HUGE_ENDS = [cast(text_node(str(sign * (2**127 - 1))), "HUGEINT") for sign in (-1, 1)]
EXACT_IN_A_DOUBLE = 2**53 - 1  # the largest of the whole numbers that a double tells from their neighbours


def extreme_of(parts: DynamicParts, *, largest: bool) -> Value:
    """Of the extreme whole number, real number, text and boolean the extreme number, or where there is none the text,
    or else the boolean.
    """
    whole, real, text, flag = parts.whole, parts.real, parts.text, parts.flag
    if whole is not None and real is not None:
        node = exp.GTE if largest else exp.LTE
        is_whole = or_(is_null(real), coalesce(infix(node, whole, real), exp.false()))
        whole, real = case((is_whole, whole)), case((not_(is_whole), real))
    numbers = [is_null(part) for part in (parts.whole, parts.real) if part is not None]
    if text is not None and numbers:
        text = case((and_(*numbers), text))
    before = [*numbers, *([] if parts.text is None else [is_null(parts.text)])]
    if flag is not None and before:
        flag = case((and_(*before), flag))
    kinds = {LONG: whole, REAL: real, STRING: text, BOOL: flag}
    there = [Value(kind, part) for kind, part in kinds.items() if part is not None]
    if len(there) == 1:
        return there[0]
    return from_parts(DynamicParts(whole, real, text, flag))
