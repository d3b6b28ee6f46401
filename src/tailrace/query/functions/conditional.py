"""Conditional functions."""

from collections.abc import Sequence

import sqlglot.expressions as exp

from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.values import DYNAMIC, Value, as_bool, case, choose_parts, unify

FUNCTIONS, _add = table("conditional")


def _case(context: Context, *arguments: Value) -> Value:
    if len(arguments) % 2 == 0:
        raise CallInvalid("case() takes pairs of a condition and a result, and a last result for all other rows")
    kind, results = unify([*arguments[1::2], arguments[-1]])
    conditions = [as_bool(each).sql for each in arguments[:-1:2]]

    def chosen(found: Sequence[exp.Expr]) -> exp.Expr:
        return case(*zip(conditions, found, strict=False), otherwise=found[-1])

    whole = chosen([each.sql for each in results])
    return choose_parts(results, chosen, whole) if kind is DYNAMIC else Value(kind, whole)


# fmt: off
_add(
    "case", "branches:any*", "type of the results", _case,
    "The result that follows the first true condition, else the last argument.",
    'print case(5 > 9, "high", 5 > 3, "middle", "low")', "middle", least=3,
)
_add(
    "iff iif", "condition:bool, then:any, else:any", "type of the results",
    lambda context, condition, then, otherwise: _case(context, condition, then, otherwise),
    "`then` where the condition is true, else `else`.",
    'print iff(2 > 1, "yes", "no")', "yes",
)
# fmt: on
