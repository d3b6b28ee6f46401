"""The pages of docs/apl.md on functions and on the operators of expressions, made from the tables."""

import json
from typing import Any

from tailrace.query.functions import FUNCTIONS, GROUPS, Function

HEADINGS = {
    "array": "Arrays and dictionaries",
    "conditional": "Conditions",
    "conversion": "Conversion",
    "datetime": "Datetimes",
    "genai": "Conversations with language models",
    "hash": "Hashes",
    "ip": "IP addresses",
    "math": "Mathematics",
    "metadata": "Metadata",
    "pair": "Pairs",
    "rounding": "Rounding",
    "series": "Series",
    "sql": "SQL",
    "string": "Strings",
    "type": "Types",
}

_HEAD = """\
## Functions

No function fails because of a value: an argument whose type does not fit a row, a result out of range or a domain error
is null in that row, unless said otherwise. An argument in brackets is optional. Strings are counted in characters,
from 0. Regular expressions are RE2's; a literal one that is invalid is an error, any other is null.
"""


def functions_reference() -> str:
    """Return the chapter of the scalar functions, in Markdown: a section for each group, a line for each function."""
    return _HEAD + "".join(_section(group, functions) for group, functions in GROUPS.items())


def _section(group: str, functions: Any) -> str:
    rows = "".join(_row(function) for function in sorted(functions, key=lambda each: each.name))
    return (
        f"\n### {HEADINGS[group]}\n\n"
        "| Function | Result | Meaning | Example | Its result |\n| --- | --- | --- | --- | --- |\n" + rows
    )


def _row(function: Function) -> str:
    meaning = function.doc + (f" {function.note}" if function.note else "")
    cells = (
        code(function.signature),
        function.result,
        meaning,
        code(function.example.removeprefix("print ")),
        code(json.dumps(function.example_result, ensure_ascii=False)),
    )
    return "| " + " | ".join(cell(each) for each in cells) + " |\n"


def code(text: str) -> str:
    """Text as code, whatever backticks it has."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def function_deviations() -> list[tuple[str, str]]:
    """Return function and how it differs from Kusto or from what Axiom documents, for the chapter on deviations."""
    return [(each.name, each.note) for each in sorted(FUNCTIONS.values(), key=lambda each: each.name) if each.note]


OPERATORS = """\
## Operators

| Operators | Meaning |
| --- | --- |
| `+` `-` `*` `/` `%` | Arithmetic of numbers; two whole numbers divide to a whole number. What does not fit into 64 bits, and a whole number divided by 0, is null |
| `+` `-` of a datetime and a timespan, `-` of two datetimes, `*` `/` of a timespan and a number, `/` `%` of two timespans | Arithmetic of times. A number beside a timespan or a datetime is one of nanoseconds |
| `==` `!=` `<>` | Equality. `null == x` is false and `null != x` true, for any x but null; of two nulls both are false. Values of different types are different |
| `<` `<=` `>` `>=` | Order of numbers, strings (by their bytes), datetimes, timespans; null beside a null or another type |
| `between (a .. b)` `!between (a .. b)` | From a to b, both included; beside a datetime, a timespan as b counts from a |
| `and` `or` | Logic of three values: true, false, null |
| `in (…)` `!in (…)` `in~ (…)` `!in~ (…)` | Equal to an element of a list; arrays in it stand for their elements; with `~` regardless of case |
| `=~` `!~` | Equality of strings regardless of case |
| `contains` `startswith` `endswith` | Part, start, end of a string regardless of case; with `_cs` by case, with `!` before it the opposite |
| `has` `hasprefix` `hassuffix` | A whole term, the start of a term, the end of a term regardless of case; with `_cs` by case, with `!` before it the opposite. A term is a run of letters and digits |
| `has_any (…)` `has_any_cs (…)` | Any of several terms |
| `matches regex` `!matches regex` | A match of an RE2 regex anywhere in the string |
| `value[key]` `value.key` | A dictionary's member, or an array's element, counted from 0, negative ones from the end |

The string operators see a value of another type as it is written out (a dictionary as JSON); a null has no text, so that
they are false of it, and the ones with `!` true.
"""  # noqa: E501
