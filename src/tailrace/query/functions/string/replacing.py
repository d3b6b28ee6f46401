"""Texts with parts of them replaced or trimmed."""

from typing import Any

import sqlglot.expressions as exp

from tailrace.query.functions import regexes
from tailrace.query.functions.regexes import with_regex
from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    STRING,
    Value,
    as_text,
    attempt,
    bind,
    case,
    cast,
    coalesce,
    fn,
    infix,
    literal,
    number_node,
    opaque,
    string,
    text_node,
)

FUNCTIONS, _add = table("string")


@udf("apl_rewrite", [STRING], STRING)
def _rewrite_udf(rewrite: str) -> str:
    return regexes.to_re2_rewrite(rewrite)


def _replace_regex(context: Context, regex: Value, rewrite: Value, text: Value) -> Value:
    given = rewrite.constant
    known = literal(regexes.to_re2_rewrite(given)) if isinstance(given, str) else _rewrite_udf(rewrite)

    def replaced(r: exp.Expr) -> exp.Expr:
        return fn("regexp_replace", text.sql, r, known.sql, text_node("g"))

    if regex.is_constant and isinstance(known.constant, str):
        pattern = regexes.checked_regex(regex, "replace_regex()", 0)
        problem = regexes.rewrite_error(pattern, known.constant)
        if problem is not None:
            hint = "; a dollar sign itself is written $$" if "$" in given else ""
            raise CallInvalid(f"replace_regex(): {given!r} cannot replace {pattern!r}: {problem}{hint}", 1)
        return string(replaced(text_node(pattern)))
    if rewrite.is_constant:
        return string(with_regex(regex, "replace_regex()", 0, replaced))
    if regex.is_constant:
        regexes.checked_regex(regex, "replace_regex()", 0)
    return string(opaque(as_text(regex).sql, lambda r: attempt(replaced(r))))


def _translate(context: Context, old: Value, new: Value, text: Value) -> Value:
    def translated(o: exp.Expr, n: exp.Expr, t: exp.Expr) -> exp.Expr:
        last = coalesce(fn("nullif", fn("right", n, number_node(1)), text_node("")), text_node(" "))
        padded = fn("rpad", n, cast(fn("length", o), "INTEGER"), last)
        empty = infix(exp.EQ, n, text_node(""))
        return case((empty, fn("translate", t, o, n)), otherwise=fn("translate", t, o, padded))

    return string(bind([old.sql, new.sql, text.sql], translated))


def _trim_regex(name: str, before: bool, after: bool) -> Any:
    def build(context: Context, regex: Value, text: Value) -> Value:
        if regex.is_constant:
            regexes.checked_regex(regex, f"{name}()", 0)

        def trimmed(r: exp.Expr) -> exp.Expr:
            result = text.sql
            if before:
                result = fn("regexp_replace", result, regexes.concat("^(?:", r, ")"), text_node(""))
            if after:
                result = fn("regexp_replace", result, regexes.concat("(?:", r, ")$"), text_node(""))
            return result

        return string(with_regex(regex, f"{name}()", 0, trimmed))

    return build


_SPACE = r"^[\s\v\pZ]+|[\s\v\pZ]+$"


# fmt: off
_add("replace_regex replace", "regex:text, rewrite:text, text:text", STRING, _replace_regex,
     "The text with all matches of a regex replaced; \\1 in the replacement is the first group, \\0 the match.",
     'print replace_regex("([a-z])([0-9])", @"\\2\\1", "a1 b2")', "1a 2b",
     note="Kusto has the text first.")
_add("replace_string", "search:text, replacement:text, text:text", STRING,
     lambda c, old, new, text: string(fn("replace", text.sql, old.sql, new.sql)),
     "The text with all occurrences of another replaced.", 'print replace_string("a", "o", "banana")', "bonono",
     note="Kusto has the text first.")
_add("translate", "from:text, to:text, text:text", STRING, _translate,
     "The text with each character of `from` replaced by that of `to` in its place; the last one serves for the rest.",
     'print translate("abc", "xy", "aabbcc")', "xxyyyy")
for _name, _function, _where, _shown in (
    ("trim", "trim", "both ends", "value"), ("trim_start", "ltrim", "the start", "value--"),
    ("trim_end", "rtrim", "the end", "--value"),
):
    _add(_name, "characters:text, text:text", STRING,
         lambda c, characters, text, _function=_function: string(fn(_function, text.sql, characters.sql)),
         f"The text without any of these characters at {_where}.", f'print {_name}("-", "--value--")', _shown,
         note="The first argument is a set of characters; Kusto's is a regex.")
for _name, _before, _after, _where, _shown in (
    ("trim_regex", True, True, "both ends", "x"), ("trim_start_regex", True, False, "the start", "x22"),
    ("trim_end_regex", False, True, "the end", "11x"),
):
    _add(_name, "regex:text, text:text", STRING, _trim_regex(_name, _before, _after),
         f"The text without the match of a regex at {_where}.", f'print {_name}("[0-9]+", "11x22")', _shown)
_add("trim_space", "text:text", STRING,
     lambda c, text: string(fn("regexp_replace", text.sql, text_node(_SPACE), text_node(""), text_node("g"))),
     "The text without white space at both ends.", 'print trim_space("  a b ")', "a b")
_add("regex_quote", "text:text", STRING, lambda c, text: string(
         fn("regexp_replace", text.sql, text_node(regexes.SPECIAL), text_node(r"\\\0"), text_node("g"))
     ),
     "A regex that matches just this text.", 'print regex_quote("a.b")', "a\\.b")
# fmt: on
