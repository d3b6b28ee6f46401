"""Operators that take texts apart: parse, parse-where, parse-kv."""

import re
from typing import Any

import msgspec
import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError, one_of
from tailrace.query.compile.columns import add_definition, define
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import Empty, Layer, Relation
from tailrace.query.functions import CallInvalid, Context, call, converted
from tailrace.query.functions.keyvalues import KeyValueRule
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    TYPE_NAMES,
    Value,
    and_,
    as_text,
    case,
    coalesce,
    fn,
    is_not_null,
    list_value,
    literal,
    number_node,
    text_node,
)

_SHAPES = {LONG: r"[+-]?\d+", REAL: r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"}
_QUANTIFIER = re.compile(r"(?<!\()[+*?]\??(?!-)")
_KV_OPTIONS = ("pair_delimiter", "kv_delimiter", "quote", "escape", "greedy")
MAX_COLUMNS = 100  # of one parse


def parse(compiler: Compiler, relation: Relation, operator: tree.Parse) -> Relation:
    """Return the pattern as one regular expression, of which each column is a group."""
    expressions = Expressions(compiler, relation)
    text = as_text(expressions.value(operator.value))
    captured = [part for part in operator.parts if isinstance(part, tree.Captured)]
    if len(captured) > MAX_COLUMNS:
        raise AplError(f"parse has {len(captured)} columns, the limit is {MAX_COLUMNS}", operator.at, kind="limit")
    pattern = _pattern(operator)
    _check_regex(pattern, operator.at)
    layer = Layer(expressions.relation)
    source = add_definition(compiler, layer, text)
    matching = Layer(layer)
    names = list_value([text_node(f"g{n}") for n in range(len(captured))])
    groups: Value | None = None
    if captured:
        extracted = fn("regexp_extract", source.sql, text_node(pattern), names)
        groups = add_definition(compiler, matching, Value(DYNAMIC, extracted))
    hit = fn("regexp_matches", source.sql, text_node(pattern))
    matched = add_definition(compiler, matching, Value(BOOL, coalesce(hit, exp.false())))
    typed = Layer(matching)
    values: list[tuple[str, Value]] = []
    for n, part in enumerate(captured):
        assert groups is not None
        cell = Value(STRING, case((matched.sql, fn("struct_extract", groups.sql, text_node(f"g{n}")))))
        values.append((part.name, converted(cell, TYPE_NAMES[part.type])))
    strict = [value for _, value in values if value.type not in (STRING, DYNAMIC, BOOL)]
    everything = matched.sql
    if operator.kind != "relaxed" and strict:
        targets = {id(value): add_definition(compiler, typed, value) for value in strict}
        values = [(name, targets.get(id(value), value)) for name, value in values]
        fits = and_(matched.sql, *(is_not_null(target.sql) for target in targets.values()))
        result = Layer(typed)
        whole = add_definition(compiler, result, Value(BOOL, fits))
        everything = whole.sql
        last = Layer(result)
        values = [(name, Value(value.type, case((everything, value.sql)))) for name, value in values]
    else:
        last = typed
    for name, value in values:
        define(compiler, last, name, value)
    if not operator.only_matching:
        return last
    compiler.notes.filtered = True
    kept = Layer(last)
    kept.where.append(everything)
    return kept


def _pattern(operator: tree.Parse) -> str:
    simple = operator.kind != "regex"
    flags = "s" + "".join(flag for flag in operator.flags if flag in "imU") if simple else operator.flags
    if not set(flags) <= set("imsU"):
        raise AplError(f"unknown flags {operator.flags!r}, expected some of i, m, s, U", operator.at)
    regex = f"(?{flags})" if flags else ""
    parts = operator.parts
    lazily, greedily = (".*", ".*?") if "U" in flags else (".*?", ".*")  # U swaps them
    if simple and not isinstance(parts[0], tree.Skipped):
        regex += "^"
    for n, part in enumerate(parts):
        is_last = n + 1 == len(parts)
        if isinstance(part, tree.Skipped):
            regex += "" if is_last and simple else lazily
        elif isinstance(part, tree.Constant):
            regex += _escaped(part.value) if simple else _ungrouped(part.value)
        else:
            shape = _SHAPES.get(TYPE_NAMES[part.type])
            if shape is not None and "U" in flags:
                shape = _QUANTIFIER.sub(lambda quantifier: f"{quantifier[0]}?", shape)
            # In regex mode a text goes as far as it can, unless U says otherwise; the last one always does.
            text = greedily if is_last else ".*" if operator.kind == "regex" else lazily
            typed = f"{shape}|{text}" if operator.kind == "relaxed" else shape
            regex += f"({text if shape is None else typed})"
    if simple and not isinstance(parts[-1], tree.Skipped):
        regex += "$"
    return regex


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_ " or not c.isascii() else f"\\x{{{ord(c):x}}}" for c in text)


_GROUP = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?:\?P?<\w+>|(?!\?))", re.DOTALL)


def _ungrouped(regex: str) -> str:
    """Return the regular expression with groups that capture nothing."""
    return _GROUP.sub(lambda match: "(?:" if match[0].startswith("(") else match[0], regex)


def _check_regex(pattern: str, at: int) -> None:
    """Raise AplError for what is no regular expression."""
    try:
        call("extract", [literal(pattern), literal(0), literal("")], Context())
    except CallInvalid as error:
        raise AplError(error.plain.removeprefix("extract(): "), at) from error


def parse_kv(compiler: Compiler, relation: Relation, operator: tree.ParseKv) -> Relation:
    expressions = Expressions(compiler, relation)
    text = as_text(expressions.value(operator.value))
    rule = _kv_rule(compiler, operator)
    layer = Layer(expressions.relation)
    source = add_definition(compiler, layer, text)
    parsed = Layer(layer)
    written = text_node(msgspec.json.encode(rule).decode())
    values = add_definition(compiler, parsed, Value(DYNAMIC, fn("apl_parse_kv", source.sql, written)))
    result = Layer(parsed)
    for number, column in enumerate(operator.columns, start=1):
        kind = TYPE_NAMES[column.type]
        cell = Value(STRING, fn("list_extract", values.sql, number_node(number)))
        value = converted(cell, kind)
        if kind is STRING:
            value = Value(STRING, coalesce(value.sql, case((is_not_null(source.sql), text_node("")))))
        define(compiler, result, column.name, value)
    return result


def _kv_rule(compiler: Compiler, operator: tree.ParseKv) -> KeyValueRule:
    given: dict[str, list[Any]] = {}
    for option in operator.options:
        if option.name not in _KV_OPTIONS:
            raise AplError(
                f"unknown option {option.name or ''!r}, expected {one_of(_KV_OPTIONS)}", option.at, kind="name"
            )
        value = Expressions(compiler, Empty()).constant(option.value, option.name).constant
        kind = bool if option.name == "greedy" else str
        if not isinstance(value, kind) or value == "":
            raise AplError(
                f"{option.name} must be {'true or false' if kind is bool else 'a text'}", option.at, kind="type"
            )
        longest = {"quote": 2, "escape": 1}.get(option.name)
        if longest is not None and len(str(value)) > longest:
            expected = "one character" if longest == 1 else "one character, or an opening and a closing one"
            raise AplError(f"{option.name} must be {expected}, not {value!r}", option.at)
        given.setdefault(option.name, []).append(value)
    keys = tuple(column.name for column in operator.columns)
    rule = KeyValueRule(
        keys,
        pair_delimiter=given.get("pair_delimiter", [""])[-1],
        kv_delimiter=given.get("kv_delimiter", [""])[-1],
        escapes=tuple(given.get("escape", ())),
        greedy=given.get("greedy", [False])[-1],
    )
    return msgspec.structs.replace(rule, quotes=tuple(given["quote"])) if "quote" in given else rule
