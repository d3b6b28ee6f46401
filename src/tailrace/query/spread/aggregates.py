"""Aggregates as partial ones, which each part of a query computes of its rows, and what merges them.

Counts, sums of integers, extremes, sets and frequencies come out as over all rows at once. A sum or mean of floats
adds them in another order, which is never that of one node twice either.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.compile.relation import references
from tailrace.query.values import case, cast, coalesce, fn, infix, list_transform, number_node, text_node

NAMES = frozenset({
    "sum", "avg", "min", "max", "count", "list", "histogram", "any_value", "arg_max", "arg_min", "stddev_samp",
    "var_samp", "quantile_disc",
})  # fmt: skip
"""The aggregates of DuckDB that a compiled query may call."""

WHOLE_TYPES = ("HUGEINT", "BIGINT", "INTEGER", "UBIGINT")
_EXTREMES = ("min", "max")

Nodes = Sequence[exp.Expr]


class PartialAggregate(Struct, frozen=True, eq=False):
    """One aggregate of a query, in parts."""

    partials: tuple[exp.Expr, ...]  # of the rows of a part
    merge: Callable[[Nodes], Nodes]  # aggregates of those of all parts, given references to the partial ones
    finish: Callable[[Nodes, Sequence[str]], exp.Expr]  # the value, given references to those, and the partials' types


class SplitGroups(Struct, frozen=True, eq=False):
    """The SELECT of groups in three steps: aggregates of each part, the same of all parts, and values made of them."""

    keys: dict[str, exp.Expr]
    aggregates: tuple[exp.Expr, ...]  # as they are in the query
    values: dict[str, exp.Expr]  # over the keys and, as `m0`, `m1`, …, the values of the aggregates
    partials: tuple[PartialAggregate | None, ...]  # of the aggregates, None for one that needs all rows of a group

    @property
    def whole(self) -> exp.Expr | None:
        """Return an aggregate that needs all rows of a group, if there is one."""
        pairs = zip(self.aggregates, self.partials, strict=True)
        return next((node for node, partial in pairs if partial is None), None)


def split(keys: dict[str, exp.Expr], values: dict[str, exp.Expr]) -> SplitGroups | None:
    """Return the steps of a SELECT of `values` in groups by `keys`; None of one that calls what is not known here."""
    collected = _AggregateCollector()
    over = {name: collected.without_aggregates(node) for name, node in values.items()}
    if references(over.values()) - keys.keys():
        return None
    aggregates = tuple(collected.aggregates.values())
    return SplitGroups(keys, aggregates, over, tuple(map(partial_of, aggregates)))


class _AggregateCollector:
    """Takes the aggregates out of expressions."""

    def __init__(self) -> None:
        self.aggregates: dict[str, exp.Expr] = {}  # by their text

    def without_aggregates(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.without_aggregates(item) for item in node]
        if not isinstance(node, exp.Expr):
            return node
        if isinstance(node, exp.Window):  # its function is over groups, its arguments are of them
            args = {name: self.without_aggregates(value) for name, value in node.args.items() if name != "this"}
            return exp.Window(this=self._rebuilt(node.this), **args)
        if is_aggregate(node.this if isinstance(node, exp.Filter) else node):
            names = list(self.aggregates)
            text = node.sql("duckdb")
            self.aggregates.setdefault(text, node)
            return _reference("m", names.index(text) if text in names else len(names))
        return self._rebuilt(node)

    def _rebuilt(self, node: exp.Expr) -> exp.Expr:
        return type(node)(**{name: self.without_aggregates(value) for name, value in node.args.items()})


def is_aggregate(node: object) -> bool:
    """Return whether a node calls an aggregate of DuckDB."""
    return isinstance(node, exp.Count) or (isinstance(node, exp.Anonymous) and node.this in NAMES)


def partial_of(node: exp.Expr) -> PartialAggregate | None:
    """Return how an aggregate is computed in parts; None of one that needs all rows of a group at once."""
    condition = node.expression if isinstance(node, exp.Filter) else None
    call = node.this if isinstance(node, exp.Filter) else node

    def filtered(aggregate: exp.Expr) -> exp.Expr:
        return aggregate if condition is None else exp.Filter(this=aggregate, expression=condition)

    if isinstance(call, exp.Count):
        return _same(node, "sum", _whole_or_zero)
    name: str = call.this
    first, *others = call.expressions
    if isinstance(first, exp.Distinct):
        return _distinct(node if name == "list" else filtered(fn("list", first)), counted=name == "count")
    if isinstance(first, exp.Order):  # of the rows of a group
        return None
    if name in _EXTREMES and others:
        return _first_values(node, name, others[0])
    if name in ("arg_max", "arg_min"):
        row, key = filtered(call), filtered(fn(name.removeprefix("arg_"), others[0]))
        return PartialAggregate((row, key), lambda given: [fn(name, given[0], given[1])], _as_it_is)
    if name == "count":
        return _same(node, "sum", _whole_or_zero)
    if name in (*_EXTREMES, "sum", "any_value"):
        return _same(node, name)
    if name == "avg":
        parts = filtered(fn("sum", first)), filtered(fn("count", first))
        return PartialAggregate(parts, lambda given: [fn("sum", one) for one in given], _mean)
    if name in ("stddev_samp", "var_samp"):
        return _spread(name, first, filtered)
    if name == "list":
        return PartialAggregate((node,), lambda given: [fn("flatten", fn("list", given[0]))], _as_it_is)
    if name == "quantile_disc":
        return _quantile(filtered(fn("list", first)), others[0])
    if name == "histogram":
        merged = lambda given: [fn("flatten", fn("list", fn("map_entries", given[0])))]  # noqa: E731
        return PartialAggregate((node,), merged, _frequencies)
    return None


def _reference(prefix: str, number: int) -> exp.Expr:
    return exp.column(f"{prefix}{number}")


def _as_it_is(merged: Nodes, types: Sequence[str]) -> exp.Expr:
    return merged[0]


def _whole_or_zero(merged: Nodes, types: Sequence[str]) -> exp.Expr:
    return cast(coalesce(merged[0], number_node(0)), "BIGINT")


def _same(
    node: exp.Expr, merge: str, finish: Callable[[Nodes, Sequence[str]], exp.Expr] = _as_it_is
) -> PartialAggregate:
    return PartialAggregate((node,), lambda given: [fn(merge, given[0])], finish)


def _distinct(node: exp.Expr, *, counted: bool) -> PartialAggregate:
    """Return the distinct values of a group, or how many they are; null is none of them."""

    def finish(merged: Nodes, types: Sequence[str]) -> exp.Expr:
        values = fn("list_distinct", merged[0])
        return coalesce(cast(fn("len", values), "BIGINT"), number_node(0)) if counted else values

    return PartialAggregate((node,), lambda given: [fn("flatten", fn("list", given[0]))], finish)


def _first_values(node: exp.Expr, name: str, count: exp.Expr) -> PartialAggregate:
    """Return the `count` smallest or largest values."""

    def finish(merged: Nodes, types: Sequence[str]) -> exp.Expr:
        ordered = fn("list_sort", merged[0], text_node("DESC" if name == "max" else "ASC"))
        return fn("list_slice", ordered, number_node(1), count)

    return PartialAggregate((node,), lambda given: [fn("flatten", fn("list", given[0]))], finish)


def _quantile(values: exp.Expr, share: exp.Expr) -> PartialAggregate:
    """Return a quantile, for which all values are gathered."""

    def finish(merged: Nodes, types: Sequence[str]) -> exp.Expr:
        return fn("list_aggregate", merged[0], text_node("quantile_disc"), share)

    return PartialAggregate((values,), lambda given: [fn("flatten", fn("list", given[0]))], finish)


def _mean(merged: Nodes, types: Sequence[str]) -> exp.Expr:
    """Return the mean of a sum; of integers without rounding the sum first."""
    total, count = merged
    rows = fn("nullif", count, number_node(0))
    if not types[0].startswith(WHOLE_TYPES):
        return infix(exp.Div, total, rows)
    quotient = cast(fn("divide", total, rows), "DOUBLE")
    rest = infix(exp.Div, cast(infix(exp.Mod, total, rows), "DOUBLE"), cast(rows, "DOUBLE"))
    return infix(exp.Add, quotient, rest)


def _spread(name: str, value: exp.Expr, filtered: Callable[[exp.Expr], exp.Expr]) -> PartialAggregate:
    """Return variance or standard deviation, of the count, the mean and the squares of each part.

    By Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """
    count, mean, variance = (filtered(fn(aggregate, value)) for aggregate in ("count", "avg", "var_pop"))
    pairs = ("rows", "mean")

    def merge(given: Nodes) -> Nodes:
        rows, part_mean, part_variance = given
        entry = fn(
            "struct_pack",
            *(
                exp.PropertyEQ(this=exp.to_identifier(key), expression=node)
                for key, node in zip(pairs, (rows, part_mean), strict=True)
            ),
        )
        weighted = [fn("sum", infix(exp.Mul, rows, one)) for one in (part_mean, part_variance)]
        return [fn("sum", rows), *weighted, fn("list", entry)]

    def finish(merged: Nodes, types: Sequence[str]) -> exp.Expr:
        rows, total, squares, parts = merged
        whole_mean = infix(exp.Div, total, rows)

        def between(entry: exp.Expr) -> exp.Expr:
            part_rows, part_mean = (fn("struct_extract", entry, text_node(key)) for key in pairs)
            distance = infix(exp.Sub, part_mean, whole_mean)
            return coalesce(infix(exp.Mul, part_rows, infix(exp.Mul, distance, distance)), number_node(0.0))

        all_squares = infix(exp.Add, squares, fn("list_sum", list_transform(parts, between)))
        sample = infix(exp.Div, all_squares, infix(exp.Sub, rows, number_node(1)))
        value = fn("sqrt", sample) if name == "stddev_samp" else sample
        return case((infix(exp.GT, rows, number_node(1)), value))

    return PartialAggregate((count, mean, variance), merge, finish)


def _frequencies(merged: Nodes, types: Sequence[str]) -> exp.Expr:
    """Return the map of values to how often they are, of the entries of several."""
    entries = exp.Select(expressions=[_named(fn("unnest", merged[0]), "entry")])
    key, count = (fn("struct_extract", exp.column("entry"), text_node(part)) for part in ("key", "value"))
    total = cast(fn("sum", count), "UBIGINT")
    by_key = exp.Select(
        expressions=[_named(key, "k"), _named(total, "n")],
        from_=exp.From(this=exp.Subquery(this=entries)),
        group=exp.Group(expressions=[exp.column("k")]),
    )
    pair = fn(
        "struct_pack",
        exp.PropertyEQ(this=exp.to_identifier("key"), expression=exp.column("k")),
        exp.PropertyEQ(this=exp.to_identifier("value"), expression=exp.column("n")),
    )
    whole = exp.Select(
        expressions=[fn("map_from_entries", fn("list", pair))], from_=exp.From(this=exp.Subquery(this=by_key))
    )
    return exp.Subquery(this=whole)


def _named(node: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=node, alias=exp.to_identifier(name))
