"""The page docs/apl.md, made from the tables of the language: `python -m tailrace.query.reference`."""

import sys
from collections.abc import Callable

from tailrace.query.compile.reference import (
    aggregations_reference,
    deviations,
    operators_reference,
    queries_reference,
)
from tailrace.query.functions.reference import OPERATORS, cell, code, function_deviations, functions_reference

_HEAD = """\
# APL

<!-- Made by `make docs` from src/tailrace/query; edit there. -->

The query language of Axiom, as far as it is documented, over the datasets of this server. A field of several types is one
field, in which each row keeps its own type: arithmetic and comparison use the rows whose type fits, the others are null or
different. So 7 / 2 is 3 and 7.5 / 2 is 3.75 in one column, and whole numbers of 64 bits keep all their digits. Equal
values are one group, the real number 1.0 with the whole number 1. No row is lost and no query fails because of a value.

## Types

| Type | Also | Values |
| --- | --- | --- |
| `bool` | `boolean` | `true`, `false` |
| `long` | `int` | Whole numbers of 64 bits |
| `real` | `double` | Floating point of 64 bits |
| `string` | | UTF-8; of Axiom's rules, `tostring(null)` is `""`, `isnull("")` is false |
| `datetime` | `date` | Microseconds, UTC, of the years 1 to 9999; what would lie outside is null |
| `timespan` | `time` | Nanoseconds, up to 292 years either way, written like `1h30m0s`; a number where a timespan is wanted is one of nanoseconds, and a timespan where a number is wanted, or in an array or a dictionary, is its nanoseconds |
| `dynamic` | | Arrays, dictionaries, and fields of several types |

"""  # noqa: E501

DEVIATIONS: list[tuple[str, str]] = [
    ("`long` arithmetic", "What does not fit into 64 bits is null; Kusto wraps around."),
    ("`/` of two whole numbers", "Is a whole number, as in Kusto; Axiom does not document it."),
    ("`null == null`", "Is false of two fields that are both null, so that `not (a == b)` is true of them."),
    (
        "Comparison of different types",
        "A datetime beside a string reads it as a time, a timespan beside a number takes it for nanoseconds; a number "
        "beside a string is different from it.",
    ),
    ("String operators on other types", "See a value as it is written out."),
    ("`hasprefix`, `hassuffix`", "The start and the end of a term, as in Kusto, not of the string."),
    ("Datetimes", "Have microseconds; Kusto's and Axiom's have 100 ns and 1 ns."),
    ("`%`", "Has the sign of the number that is divided; Kusto's is never negative."),
    ("`between` of null", "Is false, and `!between` is true; both are null in Kusto."),
    (
        "Functions of null, or of what they are not defined for",
        "Are null, as is the average of no rows; Kusto has 0, NaN or infinity for some.",
    ),
    ("What `extract()` and `parse` do not find", "Is null; Kusto's are empty strings."),
    ("The hash of an empty string", "Is the hash of no bytes; Kusto's is empty."),
    (
        "`tostring()`",
        "Writes `3`, `true`, `2026-03-05T10:00:00.25Z`; Kusto's are `3.0` of a real, `True`, and seven decimals.",
    ),
    ("`gettype()`", "Tells `int` of whole numbers and `null` of null; Kusto's are those of the column."),
]
"""What differs from Axiom or Kusto, beside the notes of single functions."""


def _operators() -> str:
    return OPERATORS


def _deviations() -> str:
    rows = [*DEVIATIONS, *deviations(), *((code(f"{name}()"), note) for name, note in function_deviations())]
    return "## Deviations\n\n| What | How |\n| --- | --- |\n" + "".join(
        f"| {cell(what)} | {cell(how)} |\n" for what, how in rows
    )


CHAPTERS: list[Callable[[], str]] = [
    queries_reference, operators_reference, aggregations_reference, _operators, functions_reference, _deviations,
]  # fmt: skip
"""What makes the page's chapters, in order, each in Markdown that begins with its heading."""


def apl_reference() -> str:
    """Return the page."""
    return _HEAD + "\n".join(chapter() for chapter in CHAPTERS)


if __name__ == "__main__":
    sys.stdout.write(apl_reference())
