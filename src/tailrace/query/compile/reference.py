"""The chapters of docs/apl.md on queries, tabular operators and aggregations, made from tables."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from tailrace.query.compile.aggregations import AGGREGATIONS, DATA


class Documented(Struct, frozen=True, eq=False):
    """A tabular operator as the page shows it; the example's result is the list of its rows."""

    syntax: str
    doc: str
    example: str
    result: list[list[Any]]
    note: str = ""  # where it differs from Kusto, or from what Axiom's documentation says


QUERIES = """\
## Queries

A query is a source and operators, with `|` between them: `['http-logs'] | where status >= 500 | summarize count()
by uri`. Statements before it end in `;`. Comments begin with `//`.

| Source | Rows |
| --- | --- |
| `['http-logs']` or `logs` | A dataset's events within the range of the request, newest first unless sorted |
| `print a = 1, b = now()` | One row |
| `datatable (s: string, n: long) ["a", 1, "b", 2]` | The rows written there |
| `range n from 1 to 9 step 2` | One row for each number, or each time by a timespan, both ends included |
| `table("logs")` | A dataset's events, its name given by a string, a `let` or a parameter |
| `union a, b*`, `search in (a, b) "text"` | Rows of several datasets; a `*` in a name stands for any characters |
| `(query)` | A query in parentheses |
| a name that `let` gave to a query | The rows of that query |

`let name = value;` and `let name = query;` name a value or a query for what follows; the members of `variables` in
a request are such values. `declare query_parameters (name: type = default, …);` says which of them a query takes, as
what type, and what stands for one that the request does not give. `set stricttypes;` makes an error of an operator
between values of different types. `x in (query)` looks into the first column of a query, `toscalar(query)` is the first
value of its first row. `now()` is the same instant wherever it stands.

A name is letters, digits and `_`. Any other is written `['my name']`; a name with dots may go without. `a.b` is the
field `a.b`, or where there is none the member `b` of the field `a`. A field that no event has had so far is null,
and the answer says so in its messages; after `project` or `summarize` a name that is not there is an error, as is
an unknown dataset.

Strings stand in `"` or `'` with `\\` escapes, in which an unknown escape stands for itself, or raw as `@"…"`.
Other literals: `1`, `0xff`, `1.5`, `true`, `null`, `2h` (`w d h m s ms microsecond tick` and their longer names),
`datetime(2026-03-01 10:00)`, `timespan(1.02:03:04)`, `long(null)`, `dynamic({"a": [1]})`,
in which expressions may stand.

Raw events come newest first, 1,000 of them unless the query says how many, 50,000 at most.
"""


def _operator(syntax: str, doc: str, example: str, result: list[list[Any]], note: str = "") -> Documented:
    return Documented(syntax, doc, example, result, note)


_ABC = DATA.replace("x:", "n:")

# fmt: off
OPERATORS: Mapping[str, Documented] = MappingProxyType({
    "count": _operator("count", "One row with the number of rows.", f"{_ABC} | count", [[3]],
                       "The column is called `count`; Kusto's is `Count`."),
    "distinct": _operator("distinct column, …", "The different combinations of the columns, or with `*` of all.",
                          f"{_ABC} | distinct s", [["a"], ["b"]]),
    "extend": _operator("extend name = value, …", "Adds columns at the end; one that is there already moves there.",
                        f"{_ABC} | extend n = n * 2 | take 1", [["a", 2]],
                        "A value may use a column that the same extend has added before."),
    "extend-valid": _operator(
        "extend-valid name = value, …",
        "Like extend, but keeps the old value where the new one is null, empty, 0, not finite or false.",
        f'{_ABC} | extend-valid s = iff(n > 2, "x", "") | project s', [["a"], ["x"], ["x"]]),
    "externaldata": _operator("externaldata …", "Is refused: it would read from the network.", "", [],
                              "Not supported."),
    "filter": _operator("filter condition", "The same as where.", f"{_ABC} | filter n > 5", [["b", 8]]),
    "getschema": _operator("getschema", "A row for each column: name, number, type.", f"{_ABC} | getschema | take 1",
                           [["s", 0, "string", "System.String"]]),
    "join": _operator(
        "join [kind=inner] (query) on column, $left.a == $right.b, …",
        "Rows of both sides whose keys are equal. Kinds: inner, innerunique (the first fitting row of the right), "
        "leftouter, rightouter, fullouter, leftsemi, leftanti, rightsemi, rightanti. A key of the same name is "
        "shown once, "
        "any other name that is on both sides gets a `1` on the right.",
        f'{_ABC} | join (datatable (s: string, t: string) ["b", "y"]) on s', [["b", 8, "y"]],
        "inner is the default; Kusto's is innerunique, which chooses on the left."),
    "limit": _operator("limit count", "The same as take.", f"{_ABC} | limit 1", [["a", 1]]),
    "lookup": _operator(
        "lookup [kind=leftouter] query on column, …",
        "Columns of the right side for rows whose keys are equal; leftouter or inner. The right's keys are not shown.",
        f'{_ABC} | lookup (datatable (s: string, t: string) ["b", "y"]) on s | sort by n',
        [["b", 8, "y"], ["a", 3, None], ["a", 1, None]]),
    "make-series": _operator(
        "make-series name = aggregation [default=value], … on axis [from start to stop] step size [by column, …]",
        "An array of each aggregation over steps of the axis, and one of the axis; 0 where there is no row. "
        "Without a range "
        "it reaches from the first to the last row. The range may be written `axis in range(start, stop, size)`.",
        f"{_ABC} | make-series c = count() on n from 0 to 9 step 3", [[[1, 1, 1], [0, 3, 6]]]),
    "mv-expand": _operator(
        "mv-expand [kind=array] [with_itemindex=name] [name =] array [to typeof(type)], … [limit=count]",
        "A row for each element of an array, or each pair of a dictionary (`kind=bag` keeps it a dictionary). An empty "
        "array gives no row, anything else one. Several arrays go side by side.",
        "print a = dynamic([1, 2]) | mv-expand a", [[1], [2]], "kind is array by default; Kusto's is bag."),
    "order": _operator("order by value [asc|desc] [nulls first|last], …",
                       "Sorts; descending where nothing is said, nulls first if ascending, else last.",
                       f"{_ABC} | order by n", [["b", 8], ["a", 3], ["a", 1]]),
    "parse": _operator(
        "parse [kind=simple] text with [*] \"literal\" name[:type] …",
        "Fills columns with what stands between the literals; `*` skips. kind is simple (where a value does not "
        "fit its type, "
        "all are null), relaxed (only that one is) or regex (the literals are regexes, `flags=` some of i, m, s, U).",
        'print s = "id=7 ok" | parse s with "id=" id:long " " rest | project id, rest', [[7, "ok"]]),
    "parse-kv": _operator(
        "parse-kv text as (name: type, …) [with (pair_delimiter=\",\", kv_delimiter=\"=\", quote=\"'\", "
        "escape=\"\\\\\", greedy=true)]",
        "Fills columns with the values of keys, of which the first one counts; a string whose key is missing is empty, "
        "anything else null. A quote is one character, or an opening and a closing one.",
        'print s = "a=1 b=x" | parse-kv s as (a: long, b: string) | project a, b', [[1, "x"]]),
    "parse-where": _operator("parse-where …", "Like parse, but drops the rows that the pattern does not fit.",
                             'datatable (s: string) ["a=1", "b"] | parse-where s with "a=" a:long | project a', [[1]]),
    "project": _operator("project column, name = value, …", "The columns named, in this order.",
                         f"{_ABC} | project m = n + 1, s | take 1", [[2, "a"]]),
    "project-away": _operator("project-away column, prefix*, …", "All columns but these.",
                              f"{_ABC} | project-away n* | take 1", [["a"]]),
    "project-keep": _operator("project-keep column, prefix*, …", "These columns, in the order they had.",
                              f"{_ABC} | project-keep n | take 1", [[1]]),
    "project-rename": _operator("project-rename new = old, …", "Other names, in the same places.",
                                f"{_ABC} | project-rename m = n | project m | take 1", [[1]]),
    "project-reorder": _operator(
        "project-reorder column [asc|desc|granny-asc|granny-desc], …",
        "These columns first. What a pattern fits may be sorted by name, granny- with numbers by their value.",
        f"{_ABC} | project-reorder n | take 1", [[1, "a"]]),
    "redact": _operator(
        "redact [replaceToken=\"*\"] [replaceHash=true] [redactGroups=true] [auditField=name] [name=]\"regex\", … "
        "[on column, …]",
        "Replaces what the regexes match, or only their groups: each character by a token of one character, the "
        "whole by a longer one, or by a hash. Without `on`, in all texts. The audit is a dictionary by field of the "
        "names of the regexes that matched, or of the regexes.",
        'print s = "call 5551" | redact @"\\d+"', [["call ****"]]),
    "sample": _operator("sample share", "A random part of the rows, such as 0.1 of them.",
                        f"{_ABC} | sample 0.999999999 | summarize ok = count() <= 3", [[True]],
                        "Takes a share; Kusto's takes a number of rows."),
    "sample-distinct": _operator("sample-distinct count [of column, …]",
                                 "So many of the different combinations of the columns, or of all, chosen at random.",
                                 f"{_ABC} | sample-distinct 5 of s | sort by s asc", [["a"], ["b"]]),
    "search": _operator(
        "search [kind=case_sensitive] [in (dataset, …)] \"term\" and name:\"term\" …",
        "Rows that have the terms, in any column or in the one named: `\"x\"` a whole term, `\"x*\"` the start of one, "
        "`\"*x\"` the end, `\"*x*\"` any part; conditions, and, or, not() may be mixed in.",
        f'{_ABC} | search "b"', [["b", 8]]),
    "sort": _operator("sort by …", "The same as order.", f"{_ABC} | sort by n asc | take 1", [["a", 1]]),
    "sort-by": _operator("sort-by value [asc|desc], …", "Sorts like order, ascending where nothing is said.",
                         f"{_ABC} | sort-by n | take 1", [["a", 1]]),
    "summarize": _operator(
        "summarize name = aggregation, … [by column, bin(_time, 1h), …]",
        "A row for each group; without `by` one row. Unless sorted, bins of time come in order, then the largest "
        "of the first "
        "aggregate. Names left out: `count_`, `avg_x`, the field for `bin()`.",
        f"{_ABC} | summarize c = count() by s", [["a", 2], ["b", 1]]),
    "take": _operator(
        "take count",
        "The first rows. Right after a summarize whose first group is a bin of time, the rows of the groups that "
        "are largest "
        "over all bins.",
        f"{_ABC} | take 1", [["a", 1]], "After a summarize by a bin of time, counts groups and not rows."),
    "top": _operator("top count by value [asc|desc], …", "The first rows in an order.", f"{_ABC} | top 1 by n",
                     [["b", 8]]),
    "union": _operator(
        "union [kind=outer] [withsource=name] query, dataset*, …",
        "The rows of all; columns of the same name become one, of several types if need be. kind=inner keeps the "
        "common ones.",
        f"{_ABC} | union (print n = 9) | summarize sum(n)", [[21]]),
    "where": _operator(
        "where condition",
        "The rows for which the condition is true; `*` on the left of an operator means any column.",
        f'{_ABC} | where s == "a" and n > 1', [["a", 3]]),
})
"""By name."""
# fmt: on


def queries_reference() -> str:
    """Return the chapter on what a query is made of."""
    return QUERIES


def operators_reference() -> str:
    """Return the chapter of the tabular operators, in Markdown: a line for each, its example with the rows it gives."""
    head = (
        f"## Tabular operators\n\nIn the examples T is `{_cell(_ABC)}`.\n\n"
        "| Operator | Meaning | Example | Its rows |\n| --- | --- | --- | --- |\n"
    )
    rows = ""
    for each in OPERATORS.values():
        example = f"`{_cell(each.example.replace(_ABC, 'T'))}`" if each.example else ""
        result = f"`{_cell(json.dumps(each.result, ensure_ascii=False))}`" if each.example else ""
        rows += f"| `{_cell(each.syntax)}` | {_cell(each.doc)} | {example} | {result} |\n"
    return head + rows


def aggregations_reference() -> str:
    """Return the chapter of the aggregations, in Markdown: a line for each, with an example over the rows shown
    before.
    """
    head = (
        "## Aggregations\n\nThey stand in summarize and make-series, alone or in arithmetic. Nulls, and values "
        "whose type does "
        f"not fit, do not count.\nThe examples are over `{_cell(DATA)}`.\n\n"
        "| Aggregation | Meaning | Example | Its result |\n| --- | --- | --- | --- |\n"
    )
    rows = ""
    for each in AGGREGATIONS.values():
        example = each.example.partition("| summarize ")[2]
        result = f"`{_cell(json.dumps(each.result, ensure_ascii=False))}`" if each.result is not None else ""
        meaning = each.doc + (f" {each.note}" if each.note else "")
        rows += f"| `{_cell(each.signature)}` | {_cell(meaning)} | `{_cell(example)}` | {result} |\n"
    return head + rows


def deviations() -> list[tuple[str, str]]:
    """Return operators and how they differ from Kusto or from what Axiom documents, for the chapter on deviations."""
    return [(f"`{name}`", each.note) for name, each in OPERATORS.items() if each.note]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
