"""A text in which what a regular expression matches is replaced."""

from collections.abc import Callable

import sqlglot.expressions as exp

from tailrace.query.compile.regex_parts import MAX_PARTS, spelled
from tailrace.query.functions.regexes import count_groups
from tailrace.query.values import (
    bind,
    case,
    fn,
    infix,
    is_not_null,
    list_transform,
    number_node,
    text_node,
)

_BEGIN, _END, _CUT = "\ufdd0", "\ufdd1", "\ufdd2"
"""Around a match, and around its groups: code points that Unicode keeps for use inside of a program."""

Replacement = Callable[[exp.Expr], exp.Expr]
"""What stands for a text that is matched."""


def redacted(text: exp.Expr, pattern: str, replacement: Replacement, *, only_groups: bool) -> exp.Expr:
    """Return a text in which each match of a regular expression, or what its groups hold, is replaced."""
    parts = spelled(pattern) if only_groups else None
    if parts is not None:
        pattern, are_groups = parts
        marks = "".join(f"{_CUT}\\{n}{_CUT}" if is_group else f"\\{n}" for n, is_group in enumerate(are_groups, 1))
        replaced = _in_parts(replacement)
    else:
        count = min(count_groups(pattern), MAX_PARTS) if only_groups else 0
        marks = "".join(["\\0", *(f"{_CUT}\\{n}" for n in range(1, count + 1))])
        replaced = _in_groups(replacement, count) if count else replacement

    def with_the_rest(piece: exp.Expr) -> exp.Expr:
        """Return a match, replaced, and what follows it."""
        match = fn("split_part", piece, text_node(_END), number_node(1))
        after = fn("split_part", piece, text_node(_END), number_node(2))
        return fn("concat", bind([match], replaced), after)

    def joined(pieces: exp.Expr) -> exp.Expr:
        following = fn("list_slice", pieces, number_node(2), fn("len", pieces))
        return fn(
            "concat",
            fn("list_extract", pieces, number_node(1)),
            fn("array_to_string", list_transform(following, with_the_rest), text_node("")),
        )

    marked = fn("regexp_replace", text, text_node(pattern), text_node(f"{_BEGIN}{marks}{_END}"), text_node("g"))
    whole = bind([fn("string_split", marked, text_node(_BEGIN))], joined)
    # A text that has such a code point itself could not be told apart, and is replaced as a whole.
    doubtful = fn("regexp_matches", text, text_node(f"[{_BEGIN}{_END}{_CUT}]"))
    return case((doubtful, replacement(text)), (is_not_null(text), whole))


def _in_parts(replacement: Replacement) -> Replacement:
    """Return what replaces the groups of a match of which every part is marked: each second one is a group."""

    def replaced(match: exp.Expr) -> exp.Expr:
        parts = fn("string_split", match, text_node(_CUT))
        numbers = fn("range", number_node(1), infix(exp.Add, fn("len", parts), number_node(1)))

        def part(n: exp.Expr) -> exp.Expr:
            text = fn("list_extract", parts, n)
            is_group = infix(exp.EQ, infix(exp.Mod, n, number_node(2)), number_node(0))
            return case((is_group, replacement(text)), otherwise=text)

        return fn("array_to_string", list_transform(numbers, part), text_node(""))

    return replaced


def _in_groups(replacement: Replacement, count: int) -> Replacement:
    """Return what replaces, wherever in a match it stands, what one of its groups holds."""

    def replaced(match: exp.Expr) -> exp.Expr:
        text = fn("split_part", match, text_node(_CUT), number_node(1))
        for n in range(count):
            held = fn("split_part", match, text_node(_CUT), number_node(n + 2))
            some = infix(exp.NEQ, held, text_node(""))
            text = bind([text, held], lambda whole, group, some=some: case(
                (some, fn("replace", whole, group, replacement(group))), otherwise=whole))  # fmt: skip
        return text

    return replaced
