"""The tree of an APL query: frozen nodes, each with the offset in the text where it begins."""

from typing import Any, Literal

from msgspec import Struct

VIRTUAL_ALONE = "a virtual field looks at the event alone: it has no sub-query"
LiteralKind = Literal["bool", "long", "real", "string", "datetime", "timespan", "dynamic", "null"]


class Node(Struct, frozen=True, eq=False):
    at: int  # offset of its first character


# Expressions


class Constant(Node, frozen=True, eq=False):
    """A literal. A datetime is in Unix nanoseconds, a timespan in nanoseconds, a dynamic a JSON-like value; None is a
    null of that kind."""

    kind: LiteralKind
    value: Any


class Name(Node, frozen=True, eq=False):
    """A name in an expression: a column, a `let`, or the dataset of a sub-query."""

    name: str
    quoted: bool = False  # written as ['…']: never cut at its dots


class Star(Node, frozen=True, eq=False):
    """`*`: any column, or all of them."""


class Member(Node, frozen=True, eq=False):
    """`of.key`, or `of['key']` (bracketed)."""

    of: "Expression"
    key: str
    bracketed: bool = False


class Index(Node, frozen=True, eq=False):
    """`of[index]` with an index that is no string literal."""

    of: "Expression"
    index: "Expression"


class Call(Node, frozen=True, eq=False):
    name: str
    arguments: "tuple[Expression, ...]"


class Unary(Node, frozen=True, eq=False):
    operator: str  # - or +
    of: "Expression"


class Binary(Node, frozen=True, eq=False):
    """`at` is the place of the operator."""

    operator: str  # as written, lower case: +, ==, has_cs, !contains, matches regex, and, or, :, …
    left: "Expression"
    right: "Expression"


class Between(Node, frozen=True, eq=False):
    of: "Expression"
    low: "Expression"
    high: "Expression"
    negated: bool


class Membership(Node, frozen=True, eq=False):
    """`of in (items)`, and the others that take a list: has_any, has_all, !in, in~, …"""

    operator: str
    of: "Expression"
    items: "tuple[Expression, ...]"


class Subquery(Node, frozen=True, eq=False):
    """A query where values are expected."""

    query: "Query"


class Named(Node, frozen=True, eq=False):
    """`name = value`, or a value alone."""

    name: str | None
    value: "Expression"


Expression = (
    Constant | Name | Star | Member | Index | Call | Unary | Binary | Between | Membership | Subquery | Named
)  # fmt: skip
"""Named only as an argument of those aggregations that give several columns."""


class Typed(Node, frozen=True, eq=False):
    """`name: type`."""

    name: str
    type: str


class Pattern(Node, frozen=True, eq=False):
    """The name of a column or dataset, with `*` for any characters where it is not quoted."""

    parts: tuple[str, ...]  # what stands between the stars; one part: a name

    @property
    def is_name(self) -> bool:
        return len(self.parts) == 1

    @property
    def text(self) -> str:
        return "*".join(self.parts)


class Sorted(Node, frozen=True, eq=False):
    value: Expression
    descending: bool
    nulls_first: bool


# Where rows come from


class Table(Node, frozen=True, eq=False):
    """A dataset or a tabular `let`, or all datasets that a pattern fits."""

    pattern: Pattern


class TableCall(Node, frozen=True, eq=False):
    """`table(name)`: what the value of an expression names."""

    named: Expression


class Print(Node, frozen=True, eq=False):
    values: tuple[Named, ...]


class Datatable(Node, frozen=True, eq=False):
    columns: tuple[Typed, ...]
    cells: tuple[Constant, ...]


class Range(Node, frozen=True, eq=False):
    name: str
    start: Expression
    stop: Expression
    step: Expression


class Query(Node, frozen=True, eq=False):
    source: "Source"
    operators: "tuple[Operator, ...]" = ()


# Operators


class Count(Node, frozen=True, eq=False):
    pass


class Distinct(Node, frozen=True, eq=False):
    values: tuple[Named, ...]  # of Star: all columns


class Extend(Node, frozen=True, eq=False):
    values: tuple[Named, ...]
    only_valid: bool = False


class Getschema(Node, frozen=True, eq=False):
    pass


class Join(Node, frozen=True, eq=False):
    kind: str
    right: "Source"
    on: tuple[Expression, ...]
    lookup: bool = False


class Take(Node, frozen=True, eq=False):
    count: Expression


class SeriesValue(Node, frozen=True, eq=False):
    value: Named
    default: Expression | None


class MakeSeries(Node, frozen=True, eq=False):
    values: tuple[SeriesValue, ...]
    on: Expression
    start: Expression | None
    stop: Expression | None
    step: Expression
    by: tuple[Named, ...]


class Expanded(Node, frozen=True, eq=False):
    value: Named
    type: str | None


class MvExpand(Node, frozen=True, eq=False):
    kind: Literal["bag", "array"]
    index: str | None
    values: tuple[Expanded, ...]
    limit: Expression | None


class Order(Node, frozen=True, eq=False):
    keys: tuple[Sorted, ...]


class Captured(Node, frozen=True, eq=False):
    """A column that a `parse` fills."""

    name: str
    type: str


class Skipped(Node, frozen=True, eq=False):
    """`*` in a `parse`: any text."""


class Parse(Node, frozen=True, eq=False):
    kind: Literal["simple", "regex", "relaxed"]
    flags: str
    value: Expression
    parts: "tuple[Constant | Captured | Skipped, ...]"
    only_matching: bool = False  # parse-where


class ParseKv(Node, frozen=True, eq=False):
    value: Expression
    columns: tuple[Typed, ...]
    options: "tuple[Named, ...]"


class Project(Node, frozen=True, eq=False):
    values: tuple[Named, ...]


class ProjectAway(Node, frozen=True, eq=False):
    columns: tuple[Pattern, ...]


class ProjectKeep(Node, frozen=True, eq=False):
    columns: tuple[Pattern, ...]


class ProjectRename(Node, frozen=True, eq=False):
    values: tuple[Named, ...]


class Reordered(Node, frozen=True, eq=False):
    column: Pattern
    order: str | None  # asc, desc, granny-asc, granny-desc


class ProjectReorder(Node, frozen=True, eq=False):
    columns: tuple[Reordered, ...]


class Labelled(Node, frozen=True, eq=False):
    """A regular expression of `redact`, with the name that it is audited by."""

    name: str | None
    pattern: str


class Redact(Node, frozen=True, eq=False):
    regexes: tuple[Labelled, ...]
    audit: str | None
    token: str | None
    hashed: bool
    groups: bool
    on: "tuple[Expression, ...] | None"


class Sample(Node, frozen=True, eq=False):
    share: Expression


class SampleDistinct(Node, frozen=True, eq=False):
    count: Expression
    values: tuple[Named, ...] | None  # None: all columns


class Search(Node, frozen=True, eq=False):
    """As a source: `tables` is what `in (…)` lists."""

    predicate: Expression
    case_sensitive: bool
    tables: tuple[Pattern, ...] | None = None


class Summarize(Node, frozen=True, eq=False):
    values: tuple[Named, ...]
    by: tuple[Named, ...]


class Top(Node, frozen=True, eq=False):
    count: Expression
    keys: tuple[Sorted, ...]


class Union(Node, frozen=True, eq=False):
    """As a source, or of what comes before it with others."""

    tables: "tuple[Source, ...]"
    source_column: str | None
    inner: bool = False


class Where(Node, frozen=True, eq=False):
    predicate: Expression


Source = Table | TableCall | Query | Union | Search | Print | Datatable | Range

Operator = (
    Count | Distinct | Extend | Getschema | Join | MakeSeries | MvExpand | Order | Parse | ParseKv | Project
    | ProjectAway | ProjectKeep | ProjectRename | ProjectReorder | Redact | Sample | SampleDistinct | Search | Summarize
    | Take | Top | Union | Where
)  # fmt: skip


class Let(Node, frozen=True, eq=False):
    """A name for a value or a table; with a type a parameter, whose value the request may give."""

    name: str
    value: "Expression | Query | None"  # None: of a parameter without a default
    type: str | None = None


class Program(Node, frozen=True, eq=False):
    lets: tuple[Let, ...]
    query: Query
    is_strict: bool = False  # whether values of different types are refused beside each other
