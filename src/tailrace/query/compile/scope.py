"""What is in force at one place of a query: names, datasets that may be read, and rules."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from tailrace.lake.snapshot import Snapshot
from tailrace.query.apl import tree
from tailrace.query.values import Value


class TabularLet(Struct, frozen=True, eq=False):
    """A table that `let` names, with the names that were there before it."""

    query: tree.Query
    lets: "Lets"


Lets = Mapping[str, Value | tree.Expression | TabularLet]


class Scope(Struct, frozen=True, eq=False):
    """What names mean at one place of a query, and which rules hold there."""

    snapshot: Callable[[str], Snapshot]
    datasets: Callable[[], Sequence[str]]  # the names of those that may be read
    variables: Mapping[str, str | int | float | bool | None]  # of the request
    lets: Lets
    declared: frozenset[str] = frozenset()  # which of the names the query has declared itself
    is_strict: bool = False  # whether values of different types are refused beside each other
    is_inner: bool = False  # a query inside of the query
    in_view: bool = False
    in_virtual: bool = False  # the expression of a virtual field
