"""Functions of SQL statements, as logs of databases have them.

The statements of a log are few but for their literals. So a statement is read without them, once, and what that gives
is a template, which the literals of each row fill.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec
from msgspec import Struct

from tailrace.query.functions import sql_parser, sql_tokens, sql_writer
from tailrace.query.functions.sql_tokens import NotParsed, SqlToken
from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, STRING, cast, string, to_json

FUNCTIONS, _add = table("sql")

MAX_SQL_CHARACTERS = 10_000  # longer statements are null
MAX_MODEL_CHARACTERS = 40 * MAX_SQL_CHARACTERS
MAX_TEMPLATES = 512  # of statements, and as many of models
MAX_LONG_TEMPLATES = 8  # of those that are long
LONG_CHARACTERS = 2000

_PART = re.compile(
    r"""(['"`0-9.\#/-](?:
      (?<=')(?:[^'\\]++|\\.|'')*+(?:'|\Z)
    | (?<=")(?:[^"]++|"")*+(?:"|\Z)
    | (?<=`)(?:[^`]++|``)*+(?:`|\Z)
    | (?<=[0-9])(?<![\w$.@:][0-9])(?:(?<=0)[xX][0-9a-fA-F]++|[0-9]*+(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]++)?)(?![\w$.])
    | (?<=\.)(?<![\w$.@:)"`]\.)[0-9]++(?:[eE][+-]?[0-9]++)?(?![\w$.])
    | (?<=/)\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)
    | (?<=-)-[^\n]*+
    | (?<=\#)(?!>)[^\n]*+
    ))""",
    re.DOTALL | re.VERBOSE,
)
"""Literals, names in quotes, and comments; those that nothing closes go on to the end."""


class _Template(Struct, frozen=True, gc=False):
    """A text with places for literals."""

    parts: tuple[str, ...]  # before, between and after the places
    numbers: tuple[int, ...]  # of the literals, in the order of the places

    def filled(self, literals: list[str]) -> str:
        parts = self.parts
        if len(parts) == 2:
            return f"{parts[0]}{literals[self.numbers[0]]}{parts[1]}"
        pieces = [""] * (2 * len(parts) - 1)
        pieces[::2] = parts
        pieces[1::2] = [literals[n] for n in self.numbers]
        return "".join(pieces)


def _template(text: str, mark: "re.Pattern[str]") -> _Template:
    parts = mark.split(text)
    return _Template(tuple(parts[::2]), tuple(map(int, parts[1::2])))


# Parsing


@udf("apl_parse_sql", [STRING], DYNAMIC, returns_json=True)
def _parse_sql(text: str) -> str | None:
    if len(text) > MAX_SQL_CHARACTERS:
        return None
    parts = _PART.split(text + "\n")
    literals = []
    for n in range(1, len(parts), 2):
        part = parts[n]
        first = part[0]
        if first == "'":
            literals.append(_json_of_literal(part))
            parts[n] = "'"
        elif first in "0123456789.":
            literals.append(part)
            parts[n] = "0" if part.isdigit() else "0x" if part[1:2] in ("x", "X") else "0."
        elif first in "-/#":
            parts[n] = ""
    if not parts[-1]:
        return None  # quotes or a comment that nothing closes
    template = _parsed_template(tuple(parts), len(text))
    return None if template is None else template.filled(literals)


def _json_of_literal(literal: str) -> str:
    """Return the text of a literal in single quotes, escaped as in JSON. Only an escaped quote is resolved: what else a
    backslash means, the databases disagree on.
    """
    text = literal[1:-1]
    if "'" in text:
        text = re.sub(r"\\'|''|(\\.)", lambda match: match[1] or "'", text, flags=re.DOTALL)
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return to_json(text)[1:-1]


_KINDS = {"'": "string", "0": "integer", "0.": "float", "0x": "hex"}
_MARK_IN_JSON = re.compile(r"\\u0000(\d+)\\u0000")
_MARK = re.compile("\0(\\d+)\0")


def _cached(
    build: Callable[[tuple[str, ...]], _Template | None],
) -> Callable[[tuple[str, ...], int], _Template | None]:
    """Return templates by what they are built of, so many that they take little memory."""
    short, long = lru_cache(MAX_TEMPLATES)(build), lru_cache(MAX_LONG_TEMPLATES)(build)
    return lambda parts, size: long(parts) if size > LONG_CHARACTERS else short(parts)


@_cached
def _parsed_template(parts: tuple[str, ...]) -> _Template | None:
    """Return the template of the JSON for statements that differ only in literals; None for what is no simple
    statement.
    """
    try:
        return _template(to_json(sql_parser.parse(_tokens(parts))), _MARK_IN_JSON)
    except (NotParsed, RecursionError):
        return None


def _tokens(parts: tuple[str, ...]) -> list[SqlToken]:
    tokens: list[SqlToken] = []
    literals = 0
    for n, part in enumerate(parts):
        if n % 2 == 0:
            tokens += sql_tokens.tokens(part)
        elif part in _KINDS:
            tokens.append(SqlToken(_KINDS[part], f"\0{literals}\0"))
            literals += 1
        elif part:
            quote = part[0]
            name = part[1:-1].replace(quote * 2, quote)
            if not name or "\0" in name:
                raise NotParsed("a name has characters, and no NUL")
            tokens.append(SqlToken(quote, name))
    return tokens


# Writing

_VALUE = '"value":"'


@udf("apl_format_sql", [STRING], STRING)
def _format_sql(model: str) -> str | None:
    if len(model) > MAX_MODEL_CHARACTERS:
        return None
    first, *others = model.split(_VALUE)
    shape, values = [first], []
    for part in others:
        value, quote, rest = part.partition('"')
        if not quote or shape[-1].endswith("\\"):
            return _written(model)
        shape.append(quote + rest)
        values.append(value)
    if "\\" in "".join(values) or "\\u0000" in model:
        return _written(model)
    template = _written_template(tuple(shape), len(model))
    return None if template is None else template.filled([each.replace("'", "''") for each in values])


def _written(model: str) -> str | None:
    try:
        return sql_writer.write(msgspec.json.decode(model))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None


@_cached
def _written_template(shape: tuple[str, ...]) -> _Template | None:
    """Return the template of the statement for models that differ only in values."""
    first, *others = shape
    marked = first + "".join(f"{_VALUE}\\u0000{n}\\u0000{part}" for n, part in enumerate(others))
    written = _written(marked)
    return None if written is None else _template(written, _MARK)


# fmt: off
_add("parse_sql", "text:text", DYNAMIC, lambda c, text: _parse_sql(text),
     "A dictionary of the parts of a simple SELECT, INSERT, UPDATE or DELETE; null for any other text, among them "
     "statements with common table expressions, window functions or UNION.",
     "print parse_sql(\"SELECT id FROM users WHERE age > 21\")[\"where\"]",
     {"operator": ">", "params": [{"colname": "age"}, {"value": "21", "valtype": "integer"}]})
_add("format_sql", "model:dynamic", STRING, lambda c, model: _format_sql(string(cast(model.sql, "VARCHAR"))),
     "The SQL statement of a dictionary as parse_sql() gives it, its keywords in small letters.",
     "print format_sql(parse_sql(\"SELECT  id FROM users WHERE age > 21\"))", "select id from users where age > 21")
# fmt: on
