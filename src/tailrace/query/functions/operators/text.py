"""Operators over texts: a text in another, at an end of it, or as a term, and matches of regexes."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp

from tailrace.query.functions.operators.comparison import compare, string_key
from tailrace.query.functions.operators.lists import any_of, flatten_arrays
from tailrace.query.functions.regexes import with_regex
from tailrace.query.functions.terms import OUTSIDE, patterns_of_any, term_in
from tailrace.query.values import (
    DYNAMIC,
    NULL,
    STRING,
    Value,
    as_string,
    as_text,
    attempt,
    bind,
    bool_,
    case,
    coalesce,
    dynamic,
    elements,
    fn,
    infix,
    list_filter,
    not_,
    number_node,
    opaque,
    text_node,
)

FEW_TERMS = 8  # that are looked for one by one; DuckDB takes some 20 ms to compile the regex of each


def _contains(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("contains", text, part)


def _starts(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("starts_with", text, part)


def _ends(text: exp.Expr, part: exp.Expr) -> exp.Expr:
    return fn("ends_with", text, part)


_TERM_ENDS = {"has": (True, True), "hasprefix": (True, False), "hassuffix": (False, True)}
_PARTS: dict[str, Callable[[exp.Expr, exp.Expr], exp.Expr]] = {
    "contains": _contains, "startswith": _starts, "endswith": _ends,
}  # fmt: skip
STRING_OPERATORS = (
    "=~", "!~", "matches regex", "!matches regex", "has_any", "has_any_cs",
    *(f"{no}{name}{cs}" for name in (*_PARTS, *_TERM_ENDS) for no in ("", "!") for cs in ("", "_cs")),
)  # fmt: skip


def string_operator(operator: str, left: Value, right: Value) -> Value:
    """One of STRING_OPERATORS; negated, a null on the left gives true. Raise CallInvalid for an invalid regex."""
    if operator in ("has_any", "has_any_cs"):
        return has_any(left, [right], cased=operator.endswith("_cs"))
    if operator in ("=~", "!~"):
        return compare("==" if operator == "=~" else "!=", string_key(left), string_key(right))
    negated = operator.startswith("!")
    name = operator.removeprefix("!")
    if name == "matches regex":
        test = _matches(left, right)
    else:
        test = _part(name.removesuffix("_cs"), left, right, cased=name.endswith("_cs"))
    is_true = coalesce(test, exp.false())
    return bool_(not_(is_true) if negated else is_true)


def _matches(left: Value, right: Value) -> exp.Expr:
    return with_regex(right, "matches regex", 1, lambda regex: fn("regexp_matches", as_text(left).sql, regex))


def _part(name: str, left: Value, right: Value, *, cased: bool) -> exp.Expr:
    text, part = as_text(left).sql, as_text(right)
    if name in _PARTS:
        return _PARTS[name](text, part.sql) if cased else _PARTS[name](fn("lower", text), fn("lower", part.sql))
    starts, ends = _TERM_ENDS[name]
    if isinstance(part.constant, str):
        return term_in(text, part.constant, starts=starts, ends=ends, cased=cased)
    return bind([text, part.sql], lambda t, p: _term_at_run_time(t, p, starts=starts, ends=ends, cased=cased))


def _term_at_run_time(text: exp.Expr, part: exp.Expr, *, starts: bool, ends: bool, cased: bool) -> exp.Expr:
    def side(regex: str, bounds: str) -> exp.Expr:
        return case((fn("regexp_matches", part, text_node(regex)), text_node(bounds)), otherwise=text_node(""))

    pieces = [text_node("" if cased else "(?i)")]
    if starts:
        pieces.append(side(r"^[\pL\pN]", f"(?:^|{OUTSIDE})"))
    pieces.append(fn("regexp_escape", part))
    if ends:
        pieces.append(side(r"[\pL\pN]$", f"(?:$|{OUTSIDE})"))
    return opaque(fn("concat", *pieces), lambda regex: attempt(fn("regexp_matches", text, regex)))


def has_any(left: Value, items: Sequence[Value], *, cased: bool = False) -> Value:
    """Whether any of the terms, given alone or as arrays, is in the text."""
    tests = []
    flat = list(flatten_arrays(items))
    terms = list(dict.fromkeys(item.constant for item in flat if isinstance(item.constant, str) and item.constant))
    if len(terms) > FEW_TERMS:
        flat = [item for item in flat if not (isinstance(item.constant, str) and item.constant)]
        text = as_text(left).sql
        prefix = "" if cased else "(?i)"
        tests = [fn("regexp_matches", text, text_node(prefix + pattern)) for pattern in patterns_of_any(terms)]
    for item in flat:
        if item.type is DYNAMIC:
            tests.append(bind([as_text(left).sql, item.sql], lambda t, array: _any_term_of(t, array, cased=cased)))
        elif item.type is not NULL:
            tests.append(_part("has", left, item, cased=cased))
    return bool_(coalesce(any_of(tests), exp.false()) if tests else exp.false())


def _any_term_of(text: exp.Expr, array: exp.Expr, *, cased: bool) -> exp.Expr:
    """Whether a text has one of the terms in an array; a single value stands for itself."""

    def is_in_text(element: exp.Expr) -> exp.Expr:
        return _part("has", Value(STRING, text), as_string(dynamic(element)), cased=cased)

    terms = coalesce(elements(dynamic(array)), fn("list_value", array))
    return infix(exp.GT, fn("len", list_filter(terms, is_in_text)), number_node(0))
