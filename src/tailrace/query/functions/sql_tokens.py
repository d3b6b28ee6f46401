"""Tokens of SQL: which words are reserved, how tightly operators bind, and the tokens of a text."""

import re
from collections.abc import Iterable

from msgspec import Struct

COMPARISON, BITS_OR, UNARY, NOT = 6, 7, 13, 4
BINARY = {
    "or": 1, "xor": 2, "and": 3,
    "=": 6, "==": 6, "<=>": 6, "<>": 6, "!=": 6, "<": 6, "<=": 6, ">": 6, ">=": 6, "~": 6, "~*": 6, "!~": 6, "!~*": 6,
    "@>": 6, "<@": 6, "&&": 6,
    "|": 7, "&": 8, "<<": 9, ">>": 9, "||": 9,
    "+": 10, "-": 10, "*": 11, "/": 11, "%": 11, "div": 11, "mod": 11, "^": 12,
    "->": 14, "->>": 14, "#>": 14, "#>>": 14,
}  # fmt: skip
"""How tightly operators of two sides bind, after MySQL's manual."""
PATTERNS = frozenset({"like", "ilike", "rlike", "regexp"})
CHAINED = frozenset({"or", "and", "+", "*", "||"})
"""Operators of which a chain is one node of many params."""

RESERVED = frozenset({
    "all", "and", "any", "as", "asc", "between", "by", "case", "cross", "delete", "desc", "distinct", "div", "else",
    "end", "except", "exists", "fetch", "for", "from", "full", "group", "having", "ilike", "in", "inner", "insert",
    "intersect", "interval", "into", "is", "join", "left", "like", "limit", "lock", "mod", "natural", "not", "null",
    "offset", "on", "or", "order", "outer", "over", "regexp", "returning", "right", "rlike", "select", "set", "some",
    "straight_join", "then", "union", "update", "using", "values", "when", "where", "window", "with", "xor",
})  # fmt: skip
RESERVED_FUNCTIONS = frozenset({"any", "all", "some", "left", "right", "values", "mod", "insert", "replace"})
QUANTIFIERS = frozenset({"any", "all", "some"})
LITERAL_WORDS = {"null": "null", "true": "bool", "false": "bool", "default": "default"}
TYPED = frozenset({"date", "time", "timestamp"})
UNITS = frozenset({
    "day", "dow", "doy", "epoch", "hour", "isodow", "isoyear", "microsecond", "millisecond", "minute", "month",
    "quarter", "second", "week", "year",
})  # fmt: skip
SECOND_WORDS = {"double": "precision", "character": "varying", "signed": "integer", "unsigned": "integer"}
HINTS = frozenset({"use", "force", "ignore"})
JOINS = {
    ("join",): "join", ("inner", "join"): "inner join", ("cross", "join"): "cross join",
    ("left", "join"): "left join", ("left", "outer", "join"): "left join",
    ("right", "join"): "right join", ("right", "outer", "join"): "right join",
    ("full", "join"): "full join", ("full", "outer", "join"): "full join",
    ("natural", "join"): "natural join",
}  # fmt: skip

PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


class NotParsed(ValueError):
    """A text is no simple statement."""


class SqlToken(Struct, frozen=True):
    """`kind` is a word, a name in quotes, an operator, a placeholder, or a literal's type; `text` is as written, and
    that of a name in quotes without them.
    """

    kind: str
    text: str
    word: str = ""  # in small letters, of a word or an operator


END = SqlToken("end", "", "")
_TOKEN = re.compile(
    r"\s*(?:([^\W\d][\w$]*)|(\?|\$\d+|:\w+|@{1,2}[A-Za-z_]\w*|%s\b|%\(\w+\)s)"
    r"|(<=>|->>|#>>|!~\*|<>|!=|<=|>=|==|\|\||<<|>>|->|#>|@>|<@|&&|::|~\*|!~|[-+*/%^&|<>=~(),.;!]))"
)


def tokens(text: str) -> Iterable[SqlToken]:
    """Return the words and operators of a text without literals, comments and quoted names."""
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at, end)
        if match is None:
            raise NotParsed(f"{text[at : at + 20]!r} cannot be read")
        at = match.end()
        word, placeholder, operator = match.groups()
        if word:
            yield SqlToken("word", word, word.lower())
        elif placeholder:
            yield SqlToken("placeholder", placeholder)
        else:
            yield SqlToken("operator", operator, operator)
