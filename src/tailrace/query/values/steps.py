"""Expressions over a time that have one value for all times of a step, such as the hour in which it lies."""

from datetime import UTC, datetime, timedelta

import sqlglot.expressions as exp
from msgspec import Struct

_STEP = "step"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class Step(Struct, frozen=True, eq=False):
    """How far a time can go without a change: to the next multiple of a size."""

    of: exp.Expr  # the TIMESTAMPTZ
    size_us: int
    is_start: bool = False  # whether its value is the time at which a step begins


def stepped(node: exp.Expr, of: exp.Expr, size_us: int, *, is_start: bool = False) -> exp.Expr:
    """Note that an expression has one value for all times between two multiples of a size; it reads nothing else."""
    node.meta[_STEP] = Step(of, size_us, is_start)
    return node


def step_of(node: exp.Expr) -> Step | None:
    """Return what is noted of an expression."""
    step = node.meta.get(_STEP) if node._meta else None
    return step if isinstance(step, Step) else None


def constant_us(node: object) -> int | None:
    """Return the microseconds since 1970 of a literal that `datetime_literal` made; None of anything else."""
    if not (isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.is_string):
        return None
    if not node.to.is_type("TIMESTAMPTZ"):
        return None
    return (datetime.fromisoformat(node.this.this) - _EPOCH) // _US
