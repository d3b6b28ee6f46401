"""Objects that were taken apart when they were ingested, put together again from their fields."""

from collections.abc import Mapping, Sequence

import sqlglot.expressions as exp

from tailrace.query.values import (
    case,
    cast,
    fn,
    text_node,
)

NO_MEMBERS = cast(text_node("{}"), "JSON")


def unless_empty(value: exp.Expr) -> exp.Expr:
    return case((exp.Not(this=exp.Paren(this=value.eq(NO_MEMBERS.copy()))), value))


def nested(leaves: Mapping[tuple[str, ...], exp.Expr]) -> exp.Expr:
    """Return an object of values by their keys, less what is null."""
    within: dict[str, dict[tuple[str, ...], exp.Expr]] = {}
    for keys, value in leaves.items():
        within.setdefault(keys[0], {})[keys[1:]] = value
    pairs: list[exp.Expr] = []
    for key, below in within.items():
        own = below.pop((), None)
        values = [*([own] if own is not None else []), *([unless_empty(nested(below))] if below else [])]
        pairs += [
            text_node(key),
            values[0] if len(values) == 1 else exp.Coalesce(this=values[0], expressions=values[1:]),
        ]
    # A merge patch leaves out what is null.
    return fn("json_merge_patch", NO_MEMBERS.copy(), fn("json_object", *pairs))


def keys_within(name: str, keys: Sequence[str]) -> tuple[str, ...] | None:
    """Return the keys below the object of this name; None where keys with dots let no such object be."""
    for count in range(1, len(keys)):
        if ".".join(keys[:count]) == name:
            return tuple(keys[count:])
    return None
