"""What expressions make of the time of an event: where along time their values may change."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.compile.relation import identifier
from tailrace.query.values import constant_us, step_of

_ORDERED = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_EQUAL = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
_CHANGING = (exp.Query, exp.Subquery, exp.Window, exp.AggFunc, exp.Unnest)
_CHANGING_CALLS = ("random", "unnest", "uuid", "gen_random_uuid")

Integers = npt.NDArray[np.int64]


class TimeSteps(Struct, frozen=True):
    """Where the values of some expressions may change along the time that they read."""

    sizes_us: frozenset[int] = frozenset()  # at every multiple of these
    cuts_us: frozenset[int] = frozenset()  # at these moments: the first of the new value

    def are_within_one(self, first_us: Integers, last_us: Integers) -> npt.NDArray[np.bool_]:
        """Return for each span of time, both ends included, whether no value changes within it."""
        within = np.ones(len(first_us), np.bool_)
        for size in self.sizes_us:
            within &= first_us // size == last_us // size
        for cut in self.cuts_us:
            within &= (last_us < cut) | (first_us >= cut)
        return within


def time_steps(nodes: Iterable[exp.Expr], time: str) -> TimeSteps | None:
    """Return the steps of expressions over rows whose time is the identifier `time`.

    None where they may have a value for each time, where they may differ for the same row, or make several of it.
    """
    sizes: set[int] = set()
    cuts: set[int] = set()
    stack: list[object] = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
            continue
        if not isinstance(node, exp.Expr):
            continue
        if isinstance(node, _CHANGING) or (isinstance(node, exp.Anonymous) and node.this in _CHANGING_CALLS):
            return None
        if _is_time(node, time):
            return None
        step = step_of(node)
        if step is not None and _is_time(step.of, time):
            sizes.add(step.size_us)
            continue
        found = _cuts(node, time)
        if found is None:
            stack.extend(node.args.values())
        cuts.update(found or ())
    return TimeSteps(frozenset(sizes), frozenset(cuts))


def _cuts(node: exp.Expr, time: str) -> tuple[int, ...] | None:
    """Return where the comparison of the time with a constant changes; None where it is none."""
    if not isinstance(node, (*_ORDERED, *_EQUAL)):
        return None
    left, right = node.this, node.expression
    is_mirrored = _is_time(right, time)
    if is_mirrored:
        left, right = right, left
    moment = constant_us(right) if _is_time(left, time) else None
    if moment is None:
        return None
    if isinstance(node, _EQUAL):
        return moment, moment + 1
    changes_at = isinstance(node, (exp.LT, exp.GTE)) is not is_mirrored
    return (moment,) if changes_at else (moment + 1,)


def _is_time(node: object, time: str) -> bool:
    return isinstance(node, exp.Column) and identifier(node) == time
