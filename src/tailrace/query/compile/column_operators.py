"""Operators that change which columns there are: extend and the kinds of project."""

from collections.abc import Sequence

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.columns import (
    check_known,
    default_name,
    define,
    distinct_name,
    matcher,
    name_of,
    names_in,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import Layer, Relation, RelationColumn
from tailrace.query.values import (
    DATETIME,
    REAL,
    TYPE_NAMES,
    Value,
    as_bool,
    case,
    cast,
    coalesce,
    fn,
    number_node,
    one_of,
    text_node,
    unify,
)


def extend(compiler: Compiler, relation: Relation, operator: tree.Extend) -> Relation:
    expressions = Expressions(compiler, relation)
    columns: list[tuple[str, Value, tree.Named]] = []
    for number, item in enumerate(operator.values, 1):
        new = {name for name, _, _ in columns}
        if new and any(name in new and expressions.relation.find(name) is None for name in names_in(item.value)):
            expressions = Expressions(compiler, _extended(compiler, expressions.relation, columns))
            columns = []
        value = expressions.value(item.value)
        name = item.name or default_name(item.value, number)
        if operator.only_valid:
            value = _valid_or_old(expressions, name, value)
        columns.append((name, value, item))
    return _extended(compiler, expressions.relation, columns)


def _extended(compiler: Compiler, relation: Relation, columns: Sequence[tuple[str, Value, tree.Named]]) -> Layer:
    layer = relation if isinstance(relation, Layer) and relation.is_plain else Layer(relation)
    for name, value, item in columns:
        source = relation.find(name_of(item.value) or "") if name_of(item.value) else None
        define(compiler, layer, name, value, source.types if source is not None else ())
    return layer


def _valid_or_old(expressions: Expressions, name: str, value: Value) -> Value:
    """Return the new value where it is valid, else what the column had."""
    column = expressions.relation.find(name)
    old = column.value if column is not None else Value(value.type, exp.null())
    kind, (new, before) = unify([value, old] if column is not None else [value, value])
    if column is None:
        return Value(kind, case((_is_valid(value), new.sql)))
    return Value(kind, case((_is_valid(value), new.sql), otherwise=before.sql))


def _is_valid(value: Value) -> exp.Expr:
    sql = value.sql
    if value.type is TYPE_NAMES["string"]:
        condition: exp.Expr = exp.NEQ(this=sql, expression=text_node(""))
    elif value.type is REAL:
        nonzero = exp.NEQ(this=sql, expression=number_node(0))
        condition = exp.And(this=fn("isfinite", sql), expression=nonzero)
    elif value.type in (TYPE_NAMES["long"], TYPE_NAMES["timespan"]):
        condition = exp.NEQ(this=sql, expression=number_node(0))
    elif value.type is TYPE_NAMES["bool"]:
        condition = as_bool(value).sql
    elif value.type is DATETIME:
        condition = exp.Not(this=exp.Is(this=sql, expression=exp.null()))
    else:
        blank = one_of(cast(sql, "VARCHAR"), "{}", "[]", '""', "0", "0.0", "false")
        condition = exp.Not(this=blank)
    return coalesce(exp.Paren(this=condition), exp.false())


def project(compiler: Compiler, relation: Relation, operator: tree.Project) -> Relation:
    expressions = Expressions(compiler, relation)
    columns = []
    taken: set[str] = set()
    for number, item in enumerate(operator.values, 1):
        if isinstance(item.value, tree.Star):
            raise AplError("project takes names, no '*'; project-keep takes patterns", item.at)
        value = expressions.value(item.value)
        name = item.name or default_name(item.value, number)
        if name in taken:
            if item.name is not None or name_of(item.value) is not None:
                raise AplError(f"the column {name!r} is there twice", item.at, kind="name")
            name = distinct_name(name, taken)
        taken.add(name)
        columns.append((name, value, item))
    layer = Layer(expressions.relation, inherits=False)
    for name, value, item in columns:
        source = relation.find(name_of(item.value) or "") if name_of(item.value) else None
        define(compiler, layer, name, value, source.types if source is not None else ())
    return layer


def project_away(compiler: Compiler, relation: Relation, operator: tree.ProjectAway) -> Relation:
    for pattern in operator.columns:
        check_known(relation, pattern)
    drops = matcher(operator.columns)
    layer = Layer(relation)
    layer.keeps = lambda name: not drops(name)
    return layer


def project_keep(compiler: Compiler, relation: Relation, operator: tree.ProjectKeep) -> Relation:
    for pattern in operator.columns:
        check_known(relation, pattern)
    layer = Layer(relation)
    layer.keeps = matcher(operator.columns)
    listed = {column.name for column in relation.listed()}
    for pattern in operator.columns:
        # One that only `_rest` has is asked for by its name.
        column = relation.find(pattern.text) if pattern.is_name and pattern.text not in listed else None
        if column is not None:
            layer.show(column)
    return layer


def project_rename(compiler: Compiler, relation: Relation, operator: tree.ProjectRename) -> Relation:
    layer = Layer(relation)
    expressions = Expressions(compiler, relation)
    listed = {column.name for column in relation.listed()}
    for item in operator.values:
        old = name_of(item.value)
        if old is None or item.name is None:
            raise AplError("project-rename takes new = old, where old is a column", item.at)
        column = relation.find(old)
        if column is None:
            column = RelationColumn(old, expressions.unknown(old, item.value.at))
            define(compiler, layer, item.name, column.value)
            continue
        renamed = column.renamed(item.name)
        layer.removed.add(old)
        layer.show(renamed)
        if old in listed:
            layer.renames[old] = renamed
    return layer


def project_reorder(compiler: Compiler, relation: Relation, operator: tree.ProjectReorder) -> Relation:
    for item in operator.columns:
        check_known(relation, item.column)

    def arranged(columns: list[RelationColumn]) -> list[RelationColumn]:
        left = list(columns)
        first: list[RelationColumn] = []
        for item in operator.columns:
            fits = matcher([item.column])
            fitting = [column for column in left if fits(column.name)]
            if item.order:
                natural = item.order.startswith("granny")
                fitting.sort(
                    key=lambda column: _natural(column.name) if natural else [(0, 0, column.name)],
                    reverse=item.order.endswith("desc"),
                )
            first += fitting
            left = [column for column in left if not fits(column.name)]
        return first + left

    layer = Layer(relation)
    for column in _unlisted(relation, [item.column for item in operator.columns]):
        layer.show(column)
    layer.arrange = arranged
    layer.reordered = True
    return layer


def _unlisted(relation: Relation, patterns: Sequence[tree.Pattern]) -> list[RelationColumn]:
    """Return the fields without a column that patterns mean; where not all are known, those that are named alone."""
    fits, names = matcher(patterns), relation.unlisted()
    if names is None:
        listed = {column.name for column in relation.listed()}
        names = [pattern.text for pattern in patterns if pattern.is_name and pattern.text not in listed]
    columns = (relation.find(name) for name in sorted(names, key=str.encode) if fits(name))
    return [column for column in columns if column is not None]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """So that a2 comes before a10."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for c in name + "\0":
        if c.isascii() and c.isdigit():
            digits += c
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        if c != "\0":
            parts.append((1, 0, c))
    return parts
