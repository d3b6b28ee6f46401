"""Both sides of an equality, brought to one type."""

import sqlglot.expressions as exp

from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NUMBERS,
    STRING,
    TIMESPAN,
    Value,
    as_dynamic,
    as_exact_long,
    as_real,
    canonical,
    coerce,
    map_number,
)


def comparable(left: Value, right: Value) -> tuple[exp.Expr, exp.Expr]:
    """Both sides of an equality that an engine can hash: of one SQL type, null where they can never be equal."""
    kinds = {left.type, right.type}
    for kind in (DATETIME, TIMESPAN):
        if kind in kinds and BOOL not in kinds:
            return coerce(left, kind).sql, coerce(right, kind).sql
    if kinds == {DYNAMIC}:
        return canonical(left).sql, canonical(right).sql
    if left.type is right.type:
        return left.sql, right.sql
    if kinds == {DYNAMIC, LONG}:
        return map_number(left, as_exact_long).sql, map_number(right, as_exact_long).sql
    if kinds <= {DYNAMIC, *NUMBERS}:
        return as_real(left).sql, as_real(right).sql
    for kind in (STRING, BOOL):
        if kinds == {DYNAMIC, kind}:
            return coerce(left, kind).sql, coerce(right, kind).sql
    return as_dynamic(left).sql, as_dynamic(right).sql
