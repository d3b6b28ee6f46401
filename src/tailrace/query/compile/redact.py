"""redact: what regular expressions match in texts, replaced, and a column that says which of them did."""

import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.columns import define, everything, name_of
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.regex_parts import MAX_PARTS, spelled
from tailrace.query.compile.relation import Layer, Relation
from tailrace.query.functions.regexes import fault, groups
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
    list_transform,
    list_value,
    number_node,
    text_node,
)

_BEGIN, _END, _CUT = "\ufdd0", "\ufdd1", "\ufdd2"
"""Around a match, and around its groups: code points that Unicode keeps for use inside of a program."""


def redact(compiler: Compiler, relation: Relation, operator: tree.Redact) -> Relation:
    """Return the matches of regular expressions replaced, in the texts of the columns named, or else of all."""
    for regex in operator.regexes:
        problem = fault(regex.pattern)
        if problem is not None:
            raise AplError(f"{regex.pattern!r} is not a regular expression (RE2): {problem}", regex.at)
        if operator.groups and groups(regex.pattern) > MAX_PARTS:
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
            made = Value(DYNAMIC, case((is_text, fn("to_json", _redacted(text, operator))), otherwise=value.sql))
            hits += [text_node(name), case((is_text, _hits(text, operator)))]
        elif value.type is STRING:
            made = Value(STRING, _redacted(text, operator))
            hits += [text_node(name), _hits(text, operator)]
        else:
            continue
        define(compiler, layer, name, made)
    if operator.audit is not None:
        # Merging drops the fields in which nothing was found.
        found = fn("json_merge_patch", cast(text_node("{}"), "JSON"), fn("json_object", *hits))
        define(compiler, layer, operator.audit, Value(DYNAMIC, found))
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

    made = bind([text], named)
    return bind([made], lambda names: case((infix(exp.GT, fn("len", names), number_node(0)), fn("to_json", names))))


def _redacted(text: exp.Expr, operator: tree.Redact) -> exp.Expr:
    """Return a text after one regex after the other."""
    for regex in operator.regexes:
        text = bind([text], lambda t, regex=regex: _without(t, regex.pattern, operator))
    return text


def _without(text: exp.Expr, pattern: str, operator: tree.Redact) -> exp.Expr:
    """Return a text in which each match, or what its groups hold, is replaced."""
    parts = spelled(pattern) if operator.groups else None
    count = 0 if not operator.groups or parts is not None else groups(pattern)
    if parts is not None:
        pattern, are_groups = parts
        inner = "".join(f"{_CUT}\\{n}{_CUT}" if is_group else f"\\{n}" for n, is_group in enumerate(are_groups, 1))
    else:
        inner = "".join(["\\0", *(f"{_CUT}\\{n}" for n in range(1, min(count, MAX_PARTS) + 1))])

    def replaced(match: exp.Expr) -> exp.Expr:
        if operator.hashed:
            made = fn("md5", match)
        else:
            token = "*" if operator.token is None else operator.token
            if len(token) == 1:
                return fn("repeat", text_node(token), fn("length", match))
            made = text_node(token)
        return case((infix(exp.NEQ, match, text_node("")), made), otherwise=text_node(""))

    def of_parts(match: exp.Expr) -> exp.Expr:
        """Of the parts in turn each second one is a group."""
        cut = fn("string_split", match, text_node(_CUT))
        numbers = fn("range", number_node(1), infix(exp.Add, fn("len", cut), number_node(1)))

        def part(n: exp.Expr) -> exp.Expr:
            one = fn("list_extract", cut, n)
            is_group = infix(exp.EQ, infix(exp.Mod, n, number_node(2)), number_node(0))
            return case((is_group, replaced(one)), otherwise=one)

        return fn("array_to_string", list_transform(numbers, part), text_node(""))

    def of_groups(match: exp.Expr) -> exp.Expr:
        """Wherever in the match what a group holds stands."""
        made = fn("split_part", match, text_node(_CUT), number_node(1))
        for n in range(min(count, MAX_PARTS)):
            one = fn("split_part", match, text_node(_CUT), number_node(n + 2))
            there = infix(exp.NEQ, one, text_node(""))
            made = bind([made, one], lambda whole, group, there=there: case(
                (there, fn("replace", whole, group, replaced(group))), otherwise=whole))  # fmt: skip
        return made

    def rest(piece: exp.Expr) -> exp.Expr:
        """Return a match and what follows it."""
        match = fn("split_part", piece, text_node(_END), number_node(1))
        after = fn("split_part", piece, text_node(_END), number_node(2))
        shown = of_parts if parts is not None else of_groups if count else replaced
        return fn("concat", bind([match], shown), after)

    def joined(pieces: exp.Expr) -> exp.Expr:
        following = fn("list_slice", pieces, number_node(2), fn("len", pieces))
        return fn(
            "concat", fn("list_extract", pieces, number_node(1)),
            fn("array_to_string", list_transform(following, rest), text_node("")),
        )  # fmt: skip

    marked = fn(
        "regexp_replace", text, text_node(pattern), text_node(f"{_BEGIN}{inner}{_END}"), text_node("g")
    )  # fmt: skip
    made = bind([fn("string_split", marked, text_node(_BEGIN))], joined)
    # A text that has such a code point itself could not be told apart, and is replaced as a whole.
    doubtful = fn("regexp_matches", text, text_node(f"[{_BEGIN}{_END}{_CUT}]"))
    return case((doubtful, replaced(text)), (is_not_null(text), made))
