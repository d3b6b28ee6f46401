"""arg_max and arg_min: the row of an extreme value as one structure, of which the columns are taken afterwards."""

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.aggregation_calls import AggregateColumn, AggregationCalls
from tailrace.query.compile.aggregations import (
    AGGREGATIONS,
    check_arguments,
)
from tailrace.query.compile.columns import (
    add_definition,
    default_name,
    distinct_name,
    everything,
    name_of,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.notes import AggregateNote
from tailrace.query.values import (
    DYNAMIC,
    EXACT_IN_A_DOUBLE,
    NULL,
    Value,
    as_number,
    case,
    fn,
    infix,
    null_node,
    number_node,
    order_keys,
    parts_of,
    text_node,
)


def extreme_row(
    compiler: Compiler, aggregating: AggregationCalls, node: tree.Call, given: str | None, taken: set[str]
) -> list[AggregateColumn]:
    """Return the columns of the row of an extreme value."""
    inner = aggregating.inner
    check_arguments(AGGREGATIONS[node.name], len(node.arguments))
    if isinstance(node.arguments[0], tree.Star):
        raise AplError(f"{node.name}() takes a value first", node.arguments[0].at)
    names = [argument.name if isinstance(argument, tree.Named) else None for argument in node.arguments]
    first, *others = (argument.value if isinstance(argument, tree.Named) else argument for argument in node.arguments)
    given = names[0] or given
    extreme = inner.operand(first)
    members: list[tuple[str, Value]] = [(given or name_of(first) or default_name(first, 1), extreme)]
    for number, argument in enumerate(others, 1):
        if isinstance(argument, tree.Star):
            by = {column.name for column in getattr(aggregating.groups, "by", ())}
            members += [
                (column.name, column.value)
                for column in everything(compiler, inner.relation)
                if column.name != members[0][0] and column.name not in by
            ]
        else:
            members.append((names[number] or default_name(argument, number), inner.value(argument)))
    pairs = [
        exp.PropertyEQ(this=exp.to_identifier(f"f{n}"), expression=value.sql) for n, (_, value) in enumerate(members)
    ]
    row = _extreme_of(node.name, fn("struct_pack", *pairs), extreme)
    target = add_definition(compiler, aggregating.groups, Value(DYNAMIC, row))
    fields = tuple(name for name in map(name_of, (first, *others)) if name is not None)
    note = AggregateNote("argmax" if node.name == "arg_max" else "argmin", fields)
    columns = []
    for n, (name, value) in enumerate(members):
        kind = DYNAMIC if value.type is NULL else value.type
        part = Value(kind, fn("struct_extract", target.sql, text_node(f"f{n}")))
        columns.append(AggregateColumn(distinct_name(name, taken), part, note))
    return columns


def _extreme_of(function: str, row: exp.Expr, value: Value) -> exp.Expr:
    """Return the row of the extreme value; of a DYNAMIC a number comes before a text, a text before a boolean."""
    if value.type is not DYNAMIC:
        return fn(function, row, value.sql)
    parts = parts_of(value)
    choices: list[tuple[exp.Expr, exp.Expr]] = []
    if parts.has_numbers:
        keys = [key.sql for key in order_keys(as_number(value))]
        rows = [fn(function, row, key) for key in keys]
        if len(keys) > 1:
            extreme = fn(function.removeprefix("arg_"), keys[0])
            told_apart = infix(exp.LTE, fn("abs", extreme), number_node(EXACT_IN_A_DOUBLE))
            rows = [case((told_apart, rows[0]), otherwise=rows[1])]
        choices.append((fn("count", keys[0]), rows[0]))
    choices += [(fn("count", part), fn(function, row, part)) for part in (parts.text, parts.flag) if part is not None]
    if not choices:
        return fn(function, row, null_node("BIGINT"))
    *first, (_, last) = choices
    return (
        case(*((infix(exp.GT, count, number_node(0)), row) for count, row in first), otherwise=last) if first else last
    )
