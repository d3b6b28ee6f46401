"""Terms of a text, as `has` and its relatives look for them: maximal runs of letters and digits."""

import functools
import re
from collections.abc import Iterator, Sequence

import sqlglot.expressions as exp

from tailrace.query.functions.regexes import escape
from tailrace.query.functions.udf import udf
from tailrace.query.values import BOOL, STRING, bind, case, fn, text_node

OUTSIDE = r"[^\pL\pN]"
"""A regex of what is beside a term. RE2 takes some 4 ms to compile it, each time a query reads a part of its rows."""

_ASCII_OUTSIDE = r"[\x00-/:-@\[-`{-\x7F]"
_NO_ASCII_TERM = "[^0-9A-Za-z]"  # beside a term of ASCII, or any other character
MAX_ALTERNATIVES_LENGTH = 4096  # of a regex, for which RE2 has 8 MiB


def term_pattern(term: str, *, starts: bool, ends: bool, outside: str = OUTSIDE) -> str:
    """Return the regex of a term that begins and/or ends where a term of the text does.

    At a side where the sought text has another character than a letter or digit, there is nothing to check.
    """
    before = f"(?:^|{outside})" if starts and term[:1].isalnum() else ""
    after = f"(?:$|{outside})" if ends and term[-1:].isalnum() else ""
    return f"{before}{escape(term)}{after}"


def patterns_of_any(terms: Sequence[str]) -> Iterator[str]:
    """Yield regexes of which one matches where any of the terms is in the text."""
    alike: dict[tuple[bool, bool], list[str]] = {}
    for term in terms:
        alike.setdefault((term[0].isalnum(), term[-1].isalnum()), []).append(escape(term))
    for (starts, ends), patterns in alike.items():
        before = f"(?:^|{OUTSIDE})" if starts else ""
        after = f"(?:$|{OUTSIDE})" if ends else ""
        some: list[str] = []
        length = 0
        for pattern in patterns:
            if some and length + len(pattern) > MAX_ALTERNATIVES_LENGTH:
                yield f"{before}(?:{'|'.join(some)}){after}"
                some, length = [], 0
            some.append(pattern)
            length += len(pattern)
        yield f"{before}(?:{'|'.join(some)}){after}"


def term_in(text: exp.Expr, term: str, *, starts: bool, ends: bool, cased: bool) -> exp.Expr:
    """Whether a text has the term. Null texts give null or false."""
    flags = "" if cased else "(?i)"

    def matches(text: exp.Expr, outside: str) -> exp.Expr:
        pattern = term_pattern(term, starts=starts, ends=ends, outside=outside)
        return fn("regexp_matches", text, text_node(flags + pattern))

    if not term or not term.isascii():
        return matches(text, OUTSIDE)

    def quickly(text: exp.Expr) -> exp.Expr:
        # The search for a part is many times faster than a regex, and a regex of ASCII alone is compiled in no time.
        part = text_node(term if cased else term.lower())
        possible = fn("contains", text if cased else fn("lower", text), part)
        if term_pattern(term, starts=starts, ends=ends) == escape(term):
            return case((possible, matches(text, OUTSIDE)), otherwise=exp.false())
        sides = f"{'s' if starts else ''}{'e' if ends else ''}{'c' if cased else ''}"
        exactly = fn(has_term.name, text, text_node(term), text_node(sides))
        decided = case(
            (matches(text, _ASCII_OUTSIDE), exp.true()), (matches(text, _NO_ASCII_TERM), exactly), otherwise=exp.false()
        )
        return case((possible, decided), otherwise=exp.false())

    return bind([text], quickly)


@udf("apl_has_term", [STRING, STRING, STRING], BOOL)
def has_term(text: str, term: str, sides: str) -> bool:
    """Whether a text has a term of ASCII; `sides` are some of s (it starts a term), e (it ends one), c (cased)."""
    return _compiled(term, sides).search(text) is not None


@functools.lru_cache(maxsize=64)
def _compiled(term: str, sides: str) -> re.Pattern[str]:
    letters = [re.escape(each) if "c" in sides else _either_case(each) for each in term]
    before = r"(?<![^\W_])" if "s" in sides and term[0].isalnum() else ""
    after = r"(?![^\W_])" if "e" in sides and term[-1].isalnum() else ""
    return re.compile(f"{before}{''.join(letters)}{after}")


def _either_case(letter: str) -> str:
    """Fold as RE2 does, which Python does otherwise: it takes an i without its dot for an i."""
    if not letter.isalpha():
        return re.escape(letter)
    lower = letter.lower()
    return f"[{lower}{lower.upper()}{_FOLDED.get(lower, '')}]"


_FOLDED = {"k": "\u212a", "s": "\u017f"}
"""Letters beyond ASCII whose other case is one of ASCII."""
