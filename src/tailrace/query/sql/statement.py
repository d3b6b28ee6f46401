"""One SELECT as people send it, parsed; what cannot be read is refused with the word at fault."""

import difflib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import sqlglot
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import ParseError, SqlglotError, TokenError

from tailrace.events import QueryInvalid
from tailrace.query.sql.catalog import LIST_TABLES

DIALECT = "duckdb"
MAX_SQL_BYTES = 256 * 1024  # parsing takes some seconds for each megabyte
MAX_WORD_CHARACTERS = 40  # of a word in a message

# It would write what is sent here into the server's log, to say that it takes it for a command.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
_FIRST_WORDS = ("SELECT", "WITH", "FROM", "VALUES")
_OTHER_WORDS = ("SHOW", "DESCRIBE", "DESC", "EXPLAIN")
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)\b", re.DOTALL)
_SHOW_TABLES = re.compile(r"\s+(?:ALL\s+)?TABLES\s*;?\s*", re.IGNORECASE)
_QUOTES = ' (a name with other characters than letters, digits and _ is written in double quotes: "my-dataset")'

_STATEMENTS = (exp.Select, exp.SetOperation, exp.Subquery)


class Question(Struct, frozen=True, eq=False):
    """What is asked of a SELECT."""

    kind: Literal["rows", "columns", "plan"]
    select: exp.Expr


def parse(text: str) -> Question:
    """Return what `text` asks: one SELECT, or SHOW TABLES, or DESCRIBE or EXPLAIN of one. Raise QueryInvalid.

    What the SELECT may read and call is for the engine to judge.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise QueryInvalid("the SQL is not valid Unicode") from error
    if size > MAX_SQL_BYTES:
        raise QueryInvalid(f"the SQL is longer than {MAX_SQL_BYTES} bytes")
    found = _FIRST_WORD.match(text)
    word = found[1].upper() if found else ""
    if found is None or word not in _OTHER_WORDS:
        return Question("rows", _select(text))
    behind = " " * found.end() + text[found.end() :]  # so that a message names the place in the whole
    if word == "EXPLAIN":
        if behind.split(maxsplit=1)[:1] and behind.split(maxsplit=1)[0].upper() == "ANALYZE":
            raise QueryInvalid("SQL: EXPLAIN ANALYZE cannot be sent; EXPLAIN shows the plan without running it")
        return Question("plan", _select(behind))
    if word == "SHOW" and _SHOW_TABLES.fullmatch(behind):
        return Question("rows", _select(LIST_TABLES))
    if _is_select(behind):
        return Question("columns", _select(behind))
    return Question("columns", _select("SELECT * FROM " + behind.strip()))


def _is_select(text: str) -> bool:
    return text.lstrip().startswith("(") or _first_word(text).upper() in _FIRST_WORDS


def _select(text: str) -> exp.Expr:
    """Return the one SELECT of a text."""
    with as_query_invalid(text):
        statements = [each for each in sqlglot.parse(text, read=DIALECT) if each is not None]
    if len(statements) != 1:
        raise QueryInvalid(f"SQL: one statement is expected, {len(statements)} were sent")
    statement = statements[0]
    if not isinstance(statement, _STATEMENTS):
        word = _first_word(text).upper()
        raise QueryInvalid(f"SQL: only SELECT, SHOW TABLES, DESCRIBE and EXPLAIN may be sent, this is {word}")
    return statement


@contextmanager
def as_query_invalid(text: str = "") -> Iterator[None]:
    """Raise QueryInvalid, with the word at fault, for what sqlglot cannot read."""
    try:
        yield
    except ParseError as error:
        raise QueryInvalid(f"SQL: {_wrong_word(error, text)}") from error
    except TokenError as error:
        raise QueryInvalid("SQL: the text cannot be read to its end: is a quote or a comment not closed?") from error
    except SqlglotError as error:
        raise QueryInvalid(f"SQL: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error


def _wrong_word(error: ParseError, text: str) -> str:
    first = _first_word(text)
    if first and first.upper() not in _FIRST_WORDS:
        near = difflib.get_close_matches(first.upper(), _FIRST_WORDS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"met {first[:MAX_WORD_CHARACTERS]!r}, where a query begins with SELECT or WITH{meant}"
    if not error.errors:
        return "the statement cannot be read"
    details = error.errors[0]
    word, description = str(details["highlight"]), str(details["description"])
    column = max(int(details["col"]) - len(word) + 1, 1)  # sqlglot gives where the word ends
    expected = description.removeprefix("Expecting ")
    problem = "which does not belong there, or lacks something" if expected == description else f"expected {expected}"
    quotes = _QUOTES if "-" in text or "." in text else ""
    return f"line {details['line']}, column {column}: met {word[:MAX_WORD_CHARACTERS]!r}, {problem}{quotes}"


def _first_word(text: str) -> str:
    found = re.match(r"\s*(\w+)", text)
    return found[1] if found else ""
