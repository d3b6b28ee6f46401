"""Texts joined, cut, measured, and put into another case."""

import re

import sqlglot.expressions as exp

from tailrace.query.functions.table import Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import (
    DYNAMIC,
    LONG,
    STRING,
    Value,
    bind,
    case,
    cast,
    coalesce,
    dynamic,
    fn,
    infix,
    is_null,
    literal,
    long,
    null_node,
    number_node,
    or_,
    string,
    text_node,
)

FUNCTIONS, _add = table("string")

MAX_REPEATS = 1024
MAX_REPEATED_BYTES = 256 * 1024  # of strrep()'s result; more is null, as a block of rows has thousands of them
MAX_SUBSTRING_LENGTH = 2**32 - 1  # that substring() of DuckDB takes


def substring_offset(text: exp.Expr, start: exp.Expr) -> exp.Expr:
    """Return the zero-based offset that a start means, a negative one counting from the end."""
    size = fn("length", text)
    # LEAST and GREATEST pass over nulls, so a null start must not come to them.
    return case(
        (infix(exp.GTE, start, number_node(0)), fn("least", start, size)),
        (infix(exp.LT, start, infix(exp.Sub, number_node(0), size)), number_node(0)),
        (infix(exp.LT, start, number_node(0)), infix(exp.Add, size, start)),
    )


def substring(text: exp.Expr, start: exp.Expr, length: exp.Expr | None) -> exp.Expr:
    """Return `text` from a zero-based start; a length of None means all of it."""

    def bounded(n: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.LT, n, number_node(0)), number_node(0)),
            (infix(exp.GTE, n, number_node(0)), fn("least", n, number_node(MAX_SUBSTRING_LENGTH))),
        )

    def cut(t: exp.Expr, s: exp.Expr, n: exp.Expr) -> exp.Expr:
        first = infix(exp.Add, substring_offset(t, s), number_node(1))
        return fn("substring", t, first, bounded(n))

    return bind([text, start, length if length is not None else number_node(MAX_SUBSTRING_LENGTH)], cut)


def _strcat(context: Context, *arguments: Value) -> Value:
    return string(fn("concat", *(coalesce(each.sql, text_node("")) for each in arguments)))


def _strcat_delim(context: Context, delimiter: Value, *arguments: Value) -> Value:
    return string(fn("concat_ws", delimiter.sql, *(coalesce(each.sql, text_node("")) for each in arguments)))


def _strcmp(context: Context, left: Value, right: Value) -> Value:
    def compared(a: exp.Expr, b: exp.Expr) -> exp.Expr:
        return case(
            (infix(exp.LT, a, b), number_node(-1)),
            (infix(exp.EQ, a, b), number_node(0)),
            (infix(exp.GT, a, b), number_node(1)),
        )

    return long(cast(bind([left.sql, right.sql], compared), "BIGINT"))


def _strrep(context: Context, text: Value, count: Value, delimiter: Value | None) -> Value:
    def repeated(t: exp.Expr, times: exp.Expr, d: exp.Expr) -> exp.Expr:
        n = fn("least", times, number_node(MAX_REPEATS))
        size = infix(exp.Add, fn("strlen", t), fn("strlen", d))
        small = infix(exp.LTE, infix(exp.Mul, cast(size, "HUGEINT"), n), number_node(MAX_REPEATED_BYTES))
        fewer = infix(exp.Sub, n, number_node(1))
        result = fn("concat", fn("repeat", fn("concat", t, d), fewer), t)
        return case(
            (or_(is_null(t), is_null(times), is_null(d)), null_node("VARCHAR")),
            (infix(exp.LTE, times, number_node(0)), text_node("")),
            (small, result),
        )

    return string(bind([text.sql, count.sql, (delimiter or literal("")).sql], repeated))


def _substring(context: Context, text: Value, start: Value, length: Value | None) -> Value:
    return string(substring(text.sql, start.sql, length.sql if length is not None else None))


@udf("apl_totitle", [STRING], STRING)
def _totitle(text: str) -> str:
    return re.sub(r"\S+", lambda word: word[0][:1].upper() + word[0][1:].lower(), text)


# fmt: off
_add("reverse", "text:text", STRING, lambda c, text: string(fn("reverse", text.sql)),
     "The characters in reverse order.", 'print reverse("abc")', "cba")
_add("split", "text:text, delimiter:text", DYNAMIC,
     lambda c, text, delimiter: dynamic(fn("to_json", fn("string_split", text.sql, delimiter.sql))),
     "The parts of a text between delimiters; its characters, for an empty one.",
     'print split("a,b", ",")', ["a", "b"], note="There is no index as in Kusto: write split(text, delimiter)[n].")
_add("strcat", "values:text*", STRING, _strcat,
     "The values, written out, one after the other; a null adds nothing.",
     'print strcat("a", 1, true)', "a1true", least=1, most=64)
_add("strcat_delim", "delimiter:text, values:text*", STRING, _strcat_delim,
     "The values, written out, with a delimiter between them.",
     'print strcat_delim("-", "a", 1, true)', "a-1-true", least=1, most=64)
_add("strcmp", "left:text, right:text", LONG, _strcmp,
     "-1, 0 or 1, as the first text sorts before, like or after the second.", 'print strcmp("a", "b")', -1)
_add("strlen", "text:text", LONG, lambda c, text: long(fn("length", text.sql)),
     "Number of characters.", 'print strlen("héllo")', 5)
_add("string_size", "text:text", LONG, lambda c, text: long(fn("strlen", text.sql)),
     "Number of bytes in UTF-8.", 'print string_size("héllo")', 6)
_add("strrep", "text:text, count:long, delimiter:text?", STRING, _strrep,
     f"The text repeated, at most {MAX_REPEATS} times; null where the result is longer than 256 KiB.",
     'print strrep("ab", 3, "-")', "ab-ab-ab")
_add("substring", "text:text, start:long, length:long?", STRING, _substring,
     "Part of a text from a start counted from 0, or from the end if negative.", 'print substring("abcdef", 2, 3)',
     "cde")
_add("tolower", "text:text", STRING, lambda c, text: string(fn("lower", text.sql)),
     "The text in small letters.", 'print tolower("AÉ")', "aé")
_add("toupper", "text:text", STRING, lambda c, text: string(fn("upper", text.sql)),
     "The text in capitals.", 'print toupper("aé")', "AÉ")
_add("totitle", "text:text", STRING, lambda c, text: _totitle(text),
     "Each word with a capital first and small letters after.", 'print totitle("hello WORLD")', "Hello World")
# fmt: on
