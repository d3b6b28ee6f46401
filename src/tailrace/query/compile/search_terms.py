"""Terms of a search: a word, the beginning or the end of one, or any part of a text."""

import re

from tailrace.query import functions
from tailrace.query.values import Value, as_text, literal


def has_term(value: Value, pattern: str, suffix: str) -> Value:
    """Return whether a text has a term, in which `*` and `?` stand for others; `suffix` is that of the operators."""
    inner = pattern.strip("*")
    if "*" in inner or "?" in inner:
        body = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in inner)
        starts = "" if pattern.startswith("*") else r"\b"
        ends = "" if pattern.endswith("*") else r"\b"
        regex = f"(?s{'' if suffix else 'i'}){starts}{body}{ends}"
        return functions.binary("matches regex", as_text(value), literal(regex))
    before, after = pattern.startswith("*"), pattern.endswith("*")
    operator = "contains" if before and after else "hassuffix" if before else "hasprefix" if after else "has"
    return functions.binary(operator + suffix, value, literal(inner))
