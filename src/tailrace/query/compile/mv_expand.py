"""mv-expand: a row for each element of an array or each pair of a dictionary."""

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.compile.columns import add_definition, default_name, define, name_of
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import Empty, Layer, Relation, identifier
from tailrace.query.functions import converted
from tailrace.query.values import (
    DYNAMIC,
    LONG,
    STRING,
    TYPE_NAMES,
    Value,
    as_dynamic,
    as_text,
    bind,
    case,
    cast,
    coalesce,
    dynamic,
    fn,
    is_not_null,
    json_kind,
    list_transform,
    list_value,
    not_json_null,
    null_node,
    number_node,
    text_node,
    try_cast,
)

MAX_ELEMENTS = 2_147_483_647


def mv_expand(compiler: Compiler, relation: Relation, operator: tree.MvExpand) -> Relation:
    """Expand several columns at once: expanded side by side, the shorter ones filled with null."""
    expressions = Expressions(compiler, relation)
    limit = MAX_ELEMENTS
    if operator.limit is not None:
        limit = Expressions(compiler, Empty()).whole_number(operator.limit, "the limit", most=MAX_ELEMENTS)
    columns = []
    for number, item in enumerate(operator.values, 1):
        value = expressions.value(item.value.value)
        name = item.value.name or default_name(item.value.value, number)
        source = relation.find(name_of(item.value.value) or "")
        lists = elements_of(as_dynamic(value), operator.kind)
        columns.append((name, source, fn("list_slice", lists, number_node(1), number_node(limit)), item.type))
    lists_layer = Layer(expressions.relation)
    targets = []
    for _, _, lists, _ in columns:
        target = compiler.ids.fresh()
        lists_layer.defines[identifier(target)] = lists
        targets.append(target)
    rows = Layer(lists_layer)
    rows.scan = None
    elements = []
    for target in targets:
        element = compiler.ids.fresh()
        name = identifier(element)
        rows.defines[name] = exp.Anonymous(this="unnest", expressions=[target])
        rows.always.add(name)
        elements.append(element)
    index = None
    if operator.index is not None:
        longest = fn("greatest", *(coalesce(fn("len", target), number_node(0)) for target in targets))
        index = compiler.ids.column(operator.index, LONG)
        rows.defines[index.id] = exp.Anonymous(this="unnest", expressions=[fn("range", longest)])
        rows.always.add(index.id)
    there = Layer(rows)
    values = [add_definition(compiler, there, dynamic(not_json_null(element))) for element in elements]
    result = Layer(there)
    places = [column.name for column in expressions.relation.listed()]
    for (name, _, _, kind), value in zip(columns, values, strict=True):
        define(compiler, result, name, _element(value, kind))
    if index is not None:
        result.show(index)
    order = {name: n for n, name in enumerate(places)}
    result.arrange = lambda columns: sorted(columns, key=lambda column: order.get(column.name, len(order)))
    if index is not None:
        result.order = relation.order
    return result


def _element(value: Value, type_name: str | None) -> Value:
    """Return an element as a type, as tolong() and the like convert it; null stays null."""
    kind = DYNAMIC if type_name is None else TYPE_NAMES[type_name]
    if kind is DYNAMIC:
        return value
    converted_value = as_text(value) if kind is STRING else converted(value, kind)
    return Value(kind, case((is_not_null(value.sql), converted_value.sql)))


def elements_of(value: Value, kind: str) -> exp.Expr:
    """JSON[]: the elements of an array; of a dictionary its pairs; else the value alone, null as one null."""

    def expanded(v: exp.Expr) -> exp.Expr:
        def pair(key: exp.Expr) -> exp.Expr:
            escaped = fn(
                "replace", fn("replace", key, text_node("~"), text_node("~0")), text_node("/"), text_node("~1")
            )
            member = fn("json_extract", v, fn("concat", text_node("/"), escaped))
            json_pair = fn("json_object", key, member) if kind == "bag" else fn("json_array", key, member)
            return cast(json_pair, "JSON")

        single = list_value([v])
        return case(
            (json_kind(v).eq("ARRAY"), try_cast(v, "JSON[]")),
            (json_kind(v).eq("OBJECT"), list_transform(fn("json_keys", v), pair)),
            otherwise=single,
        )

    elements = bind([value.sql], expanded)
    return coalesce(elements, list_value([null_node("JSON")]))
