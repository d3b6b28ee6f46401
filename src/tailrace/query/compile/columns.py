"""What several operators need: columns defined and named, patterns of names, rows cut in order."""

from collections.abc import Callable, Sequence

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError, suggestion
from tailrace.query.apl.walk import walk
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.relation import Derived, Key, Layer, Relation, RelationColumn, RowLimit, identifier
from tailrace.query.values import DUCKDB_TYPES, DYNAMIC, NULL, Value, null_node
from tailrace.query.wildcards import wildcard

NAMED_BY_ARGUMENT = ("bin", "bin_auto", "floor", "ceiling", "round", "tostring", "toint", "tolong", "toreal",
                     "todouble", "tobool", "todatetime", "totimespan", "todynamic", "parse_json")  # fmt: skip
"""Functions of a field that keep the field's name."""

MAX_UNLISTED = 500  # fields without columns that '*' stands for


def define(compiler: Compiler, layer: Layer, name: str, value: Value, types: tuple[str, ...] = ()) -> RelationColumn:
    """Return a column of this value, the last one of the layer; a mere reference is shown as it is."""
    if value.type is NULL:
        value = Value(DYNAMIC, null_node(DUCKDB_TYPES[DYNAMIC]))
    if isinstance(value.sql, exp.Column):
        column = RelationColumn(name, value, types)
        layer.show(column)
        return column
    parts = None
    if value.parts is not None:
        parts = value.parts.map_computed(lambda kind, node: add_definition(compiler, layer, Value(kind, node)).sql)
    return layer.define(RelationColumn(name, Value(value.type, compiler.ids.fresh(), parts=parts), types), value.sql)


def add_definition(compiler: Compiler, layer: Layer, value: Value | Derived, like: Value | None = None) -> Value:
    """Return a value of the layer that no name finds."""
    target = compiler.ids.fresh()
    definition = value if isinstance(value, Derived) else value.sql
    layer.defines[identifier(target)] = definition
    kind = value.type if isinstance(value, Value) else like.type if like is not None else DYNAMIC
    return Value(kind, target)


def name_of(node: tree.Expression) -> str | None:
    """Return the name of a bare field, however it is written."""
    if isinstance(node, tree.Name):
        return node.name
    if isinstance(node, tree.Member):
        base = name_of(node.of)
        return None if base is None else f"{base}.{node.key}"
    return None


def default_name(node: tree.Expression, number: int) -> str:
    """Return the name of a column that the query does not name: the field's, or the function's and the field's."""
    own = name_of(node)
    if own is not None:
        return own
    if isinstance(node, tree.Call):
        field = next((name for name in map(name_of, node.arguments) if name is not None), None)
        if field is None:
            return f"{node.name}_"
        return field if node.name in NAMED_BY_ARGUMENT else f"{node.name}_{field}"
    return f"Column{number}"


def distinct_name(name: str, taken: set[str]) -> str:
    """Return the name, or with the first number that makes it distinct."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}{number}"
    taken.add(candidate)
    return candidate


def names_in(node: tree.Expression) -> set[str]:
    """Return the plain names that an expression reads, sub-queries not looked into."""
    names: set[str] = set()
    for inner in walk(node, but=(tree.Subquery, tree.Named)):
        if isinstance(inner, (tree.Name, tree.Member)):
            name = name_of(inner)
            if name is not None:
                names.add(name)
    return names


def matcher(patterns: Sequence[tree.Pattern]) -> Callable[[str], bool]:
    """Whether a name is one of those that the patterns mean."""
    names = {pattern.text for pattern in patterns if pattern.is_name}
    wild = [wildcard(pattern.parts) for pattern in patterns if not pattern.is_name]
    return lambda name: name in names or any(regex.fullmatch(name) for regex in wild)


def check_known(relation: Relation, pattern: tree.Pattern) -> None:
    """Raise AplError for the name of a column that cannot be there."""
    if pattern.is_name and not relation.is_open and relation.find(pattern.text) is None:
        known = relation.known()
        raise AplError(
            f"there is no column {pattern.text!r} here{suggestion(pattern.text, known)}", pattern.at, kind="name"
        )


def first_rows(relation: Relation, count: int) -> Layer:
    """Return the first rows in the order of the relation."""
    layer = Layer(relation)
    layer.limit = RowLimit(count, relation.order)
    layer.limited = True
    layer.scan = None
    return layer


def everything(compiler: Compiler, relation: Relation, most: int | None = MAX_UNLISTED) -> list[RelationColumn]:
    """Return what `*` stands for: all columns, and the fields that have none as long as they are not more than
    `most`.
    """
    names = relation.unlisted()
    columns = relation.listed()
    if names is None and most is None:
        compiler.warn("fields_left_out", "of the fields that few events have, only the first are known by name")
        listed = {column.name for column in columns}
        names = [name for name in relation.known() if name not in listed]
    elif names is None or (most is not None and len(names) > most):
        compiler.warn(
            "fields_left_out", "of the fields that few events have, '*' holds only those that the query names"
        )
        names = []
    for name in sorted(names, key=str.encode):
        column = relation.find(name)
        if column is not None:
            later = (n for n, other in enumerate(columns) if other.name.encode() > name.encode())
            columns.insert(len(columns) if relation.reordered else next(later, len(columns)), column)
    return columns


def key_on(name: str, column: RelationColumn, *, descending: bool, nulls_first: bool = False) -> Key:
    return Key(name, column.value, descending, nulls_first, computed=not column.types)
