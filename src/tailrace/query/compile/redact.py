"""redact: what regular expressions match in texts, replaced, and a column that says which of them did."""

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.columns import define, everything, name_of
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.redaction import Replacement, redacted
from tailrace.query.compile.regex_parts import MAX_PARTS
from tailrace.query.compile.relation import Layer, Relation
from tailrace.query.functions.regexes import count_groups, regex_error
from tailrace.query.values import (
    DYNAMIC,
    STRING,
    Value,
    as_text,
    bind,
    case,
    cast,
    fn,
    infix,
    is_not_null,
    list_filter,
    list_value,
    number_node,
    text_node,
)


def redact(compiler: Compiler, relation: Relation, operator: tree.Redact) -> Relation:
    """Return the matches of regular expressions replaced, in the texts of the columns named, or else of all."""
    for regex in operator.regexes:
        problem = regex_error(regex.pattern)
        if problem is not None:
            raise AplError(f"{regex.pattern!r} is not a regular expression (RE2): {problem}", regex.at)
        if operator.groups and count_groups(regex.pattern) > MAX_PARTS:
            raise AplError(f"a regular expression with more than {MAX_PARTS} groups, the limit", regex.at, kind="limit")
    expressions = Expressions(compiler, relation)
    if operator.on is None:
        if relation.unlisted() is None:
            raise AplError("redact needs `on` here, as the events have fields that are not known", operator.at)
        chosen = [(c.name, c.value) for c in everything(compiler, relation) if c.value.type in (STRING, DYNAMIC)]
    else:
        chosen = [(_column_name(node), expressions.value(node)) for node in operator.on]
    layer = Layer(expressions.relation)
    places = [column.name for column in everything(compiler, relation)]
    if operator.on is None and relation.rest is not None:
        for column in everything(compiler, relation):
            layer.show(column)
        layer.without_rest = True
    hits: list[exp.Expr] = []
    for name, value in chosen:
        text = as_text(value).sql
        if value.type is DYNAMIC:
            is_text = fn("json_type", value.sql).eq("VARCHAR")
            replaced = Value(DYNAMIC, case((is_text, fn("to_json", _redacted(text, operator))), otherwise=value.sql))
            hits += [text_node(name), case((is_text, _hits(text, operator)))]
        elif value.type is STRING:
            replaced = Value(STRING, _redacted(text, operator))
            hits += [text_node(name), _hits(text, operator)]
        else:
            continue
        define(compiler, layer, name, replaced)
    if operator.audit is not None:
        # Merging drops the fields in which nothing was found.
        audit = fn("json_merge_patch", cast(text_node("{}"), "JSON"), fn("json_object", *hits))
        define(compiler, layer, operator.audit, Value(DYNAMIC, audit))
    order = {name: n for n, name in enumerate(places)}
    layer.arrange = lambda columns: sorted(columns, key=lambda column: order.get(column.name, len(order)))
    return layer


def _column_name(node: tree.Expression) -> str:
    name = name_of(node)
    if name is None:
        raise AplError("redact … on takes names of columns", node.at)
    return name


def _hits(text: exp.Expr, operator: tree.Redact) -> exp.Expr:
    """Return the names of the regexes that match more than nothing, as a JSON array; null where none does."""

    def named(t: exp.Expr) -> exp.Expr:
        names = []
        for regex in operator.regexes:
            matches = fn("regexp_extract_all", t, text_node(regex.pattern))
            some = list_filter(matches, lambda match: infix(exp.NEQ, match, text_node("")))
            there = infix(exp.GT, fn("len", some), number_node(0))
            names.append(case((there, text_node(regex.name or regex.pattern))))
        return list_filter(list_value(names), is_not_null)

    names_hit = bind([text], named)
    return bind(
        [names_hit], lambda names: case((infix(exp.GT, fn("len", names), number_node(0)), fn("to_json", names)))
    )


def _redacted(text: exp.Expr, operator: tree.Redact) -> exp.Expr:
    """Return a text after one regex after the other."""
    replacement = _replacement(operator)
    for regex in operator.regexes:
        text = bind([text], lambda t, regex=regex: redacted(
            t, regex.pattern, replacement, only_groups=operator.groups))  # fmt: skip
    return text


def _replacement(operator: tree.Redact) -> Replacement:
    """Return what stands for a match: its hash, a longer token, or each of its characters as a token of one."""
    token = "*" if operator.token is None else operator.token

    def replaced(match: exp.Expr) -> exp.Expr:
        if not operator.hashed and len(token) == 1:
            return fn("repeat", text_node(token), fn("length", match))
        whole = fn("md5", match) if operator.hashed else text_node(token)
        return case((infix(exp.NEQ, match, text_node("")), whole), otherwise=text_node(""))

    return replaced
