"""Regular expressions, which are RE2's: checked when they are literals, harmless when they are not."""

import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp

from tailrace.query.functions.table import CallInvalid
from tailrace.query.values import Value, as_text, attempt, fn, opaque, text_node

_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
SPECIAL = r"[\\.+*?()|\[\]{}^$]"
"""A regex of those characters."""


def with_regex(value: Value, where: str, index: int | None, body: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Return what `body` makes of a regex; null in rows where it is none. Raise CallInvalid for a literal that is
    none.
    """
    if value.is_constant:
        return body(text_node(checked_regex(value, where, index)))
    return opaque(as_text(value).sql, lambda regex: attempt(body(regex)))


def checked_regex(value: Value, where: str, index: int | None) -> str:
    """Return the text of a literal. Raise CallInvalid for one that is no regex."""
    regex = value.constant if isinstance(value.constant, str) else ""
    problem = regex_error(regex)
    if problem is not None:
        raise CallInvalid(f"{where}: {regex!r} is not a regular expression (RE2): {problem}", index)
    return regex


def regex_error(regex: str) -> str | None:
    """Return what RE2 has against a regex; None for a good one."""
    try:
        pc.match_substring_regex(pa.array([""]), pattern=regex)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        return str(error).removeprefix("Invalid regular expression: ")
    return None


def rewrite_error(regex: str, rewrite: str) -> str | None:
    """Return what RE2 has against a replacement for a good regex, such as a group that there is not; None for a good
    one.
    """
    try:
        pc.replace_substring_regex(pa.array([""]), pattern=regex, replacement=rewrite)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        return str(error)
    return None


_PLACEHOLDER = re.compile(r"\$(?:(\$)|([0-9])|\{([0-9])\})")


def to_re2_rewrite(rewrite: str) -> str:
    """Return a replacement as RE2 writes it: `$1` or `${1}` is what the first group holds, `$0` the whole match, `$$` a
    dollar sign; RE2's own `\\1` stays."""
    return _PLACEHOLDER.sub(lambda found: "$" if found[1] else f"\\{found[2] or found[3]}", rewrite)


def count_groups(regex: str) -> int:
    """How many groups a regex has that capture."""
    count, n, in_class = 0, 0, False
    while n < len(regex):
        if regex.startswith(r"\Q", n):
            end = regex.find(r"\E", n)
            n = len(regex) if end < 0 else end + 2
            continue
        character = regex[n]
        if character == "\\":
            n += 1
        elif in_class:
            in_class = character != "]" or regex[n - 1] == "["
        elif character == "[":
            in_class = True
            if regex.startswith("[^]", n):
                n += 2
        elif character == "(" and (not regex.startswith("(?", n) or regex.startswith(("(?P<", "(?<"), n)):
            count += 1
        n += 1
    return count


def concat(*parts: str | exp.Expr) -> exp.Expr:
    """Join texts in one, a literal where all are: DuckDB compiles a regex that is no literal for each row again."""
    nodes = [text_node(part) if isinstance(part, str) else part for part in parts]
    if all(isinstance(node, exp.Literal) for node in nodes):
        return text_node("".join(node.this for node in nodes))
    return fn("concat", *nodes)


def escape(text: str) -> str:
    """Return a regex that matches just this text."""
    return "".join("\\" + character if character in _SPECIAL else character for character in text)
