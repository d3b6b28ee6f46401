"""How many distinct values all rows have, as a count of the groups by value, which can be divided by it."""

from collections.abc import Sequence

import sqlglot.expressions as exp

from tailrace.query.compile.relation import Ids, Layer, identifier
from tailrace.query.spread.aggregates import partial_of, split
from tailrace.query.values import case, fn

MERGED_AGAIN = frozenset({"count", "sum", "min", "max", "any_value"})
"""Aggregates of which those of several groups are merged as those of several parts are."""


def by_value(groups: Layer, ids: Ids) -> tuple[Layer, Layer] | None:
    """Return groups by a value, and over them the aggregates of all rows that `groups` has, which are a number of
    distinct values and such that can be merged; None of others.
    """
    values = {name: node for name, node in groups.defines.items() if isinstance(node, exp.Expr)}
    steps = split({}, values) if len(values) == len(groups.defines) else None
    if steps is None:
        return None
    counted = [value for node in steps.aggregates if (value := _counted_value(node)) is not None]
    if len(counted) != 1:
        return None
    inner = Layer(groups.parent, inherits=False)
    inner.where = list(groups.where)
    [key] = inner.group = [ids.fresh()]
    inner.defines[identifier(key)] = counted[0]
    totals: list[exp.Expr] = []
    for node in steps.aggregates:
        if _counted_value(node) is not None:
            totals.append(fn("count", key))
            continue
        partial = partial_of(node)
        if partial is None or not _is_merged_again(node):
            return None
        of_value = ids.fresh()
        inner.defines[identifier(of_value)] = node
        totals.append(partial.finish(partial.merge([of_value]), ()))
    outer = Layer(inner, inherits=False)
    outer.group = []
    outer.defines = {name: _with_totals(node, totals) for name, node in steps.values.items()}
    return inner, outer


def _call(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Filter) else node


def _counted_value(node: exp.Expr) -> exp.Expr | None:
    """Return the value of which an aggregate counts the distinct ones, null where it passes over a row."""
    call = _call(node)
    if not isinstance(call, exp.Anonymous) or call.this != "count" or not isinstance(call.expressions[0], exp.Distinct):
        return None
    [value] = call.expressions[0].expressions
    return case((node.expression.this, value)) if isinstance(node, exp.Filter) else value


def _is_merged_again(node: exp.Expr) -> bool:
    call = _call(node)
    if isinstance(call, exp.Count):
        return True
    if not isinstance(call, exp.Anonymous) or call.this not in MERGED_AGAIN or len(call.expressions) != 1:
        return False
    return not isinstance(call.expressions[0], (exp.Distinct, exp.Order))


def _with_totals(node: exp.Expr, totals: Sequence[exp.Expr]) -> exp.Expr:
    """Return a value with aggregates in the places of `m0`, `m1`, …"""
    places = {f"m{number}": total for number, total in enumerate(totals)}

    def filled(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and identifier(part) in places:
            return places[identifier(part)].copy()
        return part

    return node.transform(filled)
