"""The rows of a summarize: groups, and the columns that rows are grouped by."""

import sqlglot.expressions as exp

from tailrace.query.compile.columns import (
    add_definition,
    define,
)
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.metadata_pushdown import from_metadata
from tailrace.query.compile.relation import Emitter, Key, Layer, Relation, RelationColumn, identifier
from tailrace.query.values import (
    DYNAMIC,
    NULL,
    Value,
    canonical,
    cast,
    from_parts,
    nan_as_null,
    null_node,
    order_keys,
)


class Groups(Layer):
    """The rows of a summarize; `by` are the groups' columns, `first_bin` tells that the first is a bin of time."""

    def __init__(self, parent: Relation) -> None:
        super().__init__(parent, inherits=False)
        self.events = False
        self.settled = False
        self.limited = False
        self.scan = None
        self.time = None
        self.order = ()
        self.grouped = True
        self.group = []
        self.by: list[RelationColumn] = []
        self.first_bin = False

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        if self.where or self.limit.count is not None:
            return super()._emit(needed, out)
        needed = needed | self.always
        by = {identifier(key) for key in self.group or ()} & self.defines.keys()
        keys = {name: node for name in by if isinstance(node := self.defines[name], exp.Expr)}
        if len(keys) < len(self.group or ()):
            return super()._emit(needed, out)
        aggregates = {name: self.defines[name] for name in needed - by}
        known = from_metadata(self.parent, keys, aggregates, out.reading)
        if known is None:
            return super()._emit(needed, out)
        return self._select(needed, {**self.defines, **known.defines}, out.scanning(known.hot_name, known.scan))


def group_by(
    compiler: Compiler, groups: Groups, name: str, value: Value, types: tuple[str, ...] = ()
) -> RelationColumn:
    """Return a column by which rows are grouped; one of several types is put together by `whole_groups`."""
    if value.type is NULL:
        value = Value(DYNAMIC, null_node("JSON"))
    if not types:
        value = nan_as_null(value)
    value = canonical(value)
    parts = value.parts
    if parts is not None and not parts.incomplete and parts.expressions():
        key = from_parts(parts.map(lambda part: group_key(compiler, groups, part)))
    else:
        key = Value(value.type, group_key(compiler, groups, value.sql))
    column = RelationColumn(name, key, types)
    groups.show(column)
    groups.by.append(column)
    return column


def group_key(compiler: Compiler, groups: Groups, node: exp.Expr) -> exp.Expr:
    target = compiler.ids.fresh()
    groups.defines[identifier(target)] = node
    groups.always.add(identifier(target))
    assert groups.group is not None
    groups.group.append(target)
    return target


def whole_groups(compiler: Compiler, groups: Groups, result: Layer) -> Layer:
    """Return the layer over the groups, or the groups themselves, with all columns that these are grouped by."""
    if all(column.value.type is not DYNAMIC for column in groups.by):
        return result
    layer = Layer(groups) if result is groups else result
    for n, column in enumerate(groups.by):
        groups.by[n] = define(compiler, layer, column.name, column.value, column.types)
    layer.grouped = True
    return layer


def keys_on(compiler: Compiler, layer: Layer, name: str, column: RelationColumn, *, descending: bool) -> list[Key]:
    columns = [
        value if isinstance(value.sql, exp.Column) else add_definition(compiler, layer, value)
        for value in order_keys(column.value)
    ]
    computed = not column.types
    return [Key(name if n == 0 else "", value, descending, False, computed=computed) for n, value in enumerate(columns)]


def note_matched_rows(compiler: Compiler, groups: Groups, relation: Relation) -> None:
    """Let the answer carry how many events there were."""
    if relation.events and compiler.notes.matched is None and compiler.is_outermost:
        target = compiler.ids.fresh()
        compiler.notes.matched = identifier(target)
        total: exp.Expr = exp.Count(this=exp.Star())
        if groups.group:
            total = exp.Window(this=exp.Anonymous(this="sum", expressions=[total]))
        groups.defines[compiler.notes.matched] = cast(total, "BIGINT")
