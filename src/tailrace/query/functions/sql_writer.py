"""The SQL statement of a tree that `sql_parser` makes: keywords in small letters, operators spelled out."""

import re
from collections.abc import Callable
from typing import Any

from tailrace.query.functions.sql_parser import Node
from tailrace.query.functions.sql_tokens import (
    BINARY,
    CHAINED,
    COMPARISON,
    NOT,
    PATTERNS,
    QUANTIFIERS,
    RESERVED,
    TYPED,
    UNARY,
)

_NAME = re.compile(r"[^\W\d][\w$]*")
_ATOM = 20  # what needs no parentheses
_WORDS = frozenset({"is", "is not", "in", "not in", "between", "not between"})
_LIKES = PATTERNS | {f"not {each}" for each in PATTERNS}
_NUMERIC = ("integer", "float")


def write(model: Node) -> str:
    """Return the statement of a model; raise TypeError, LookupError or ValueError for what is no model."""
    return _STATEMENTS[model["type"]](model)


def quoted(text: str) -> str:
    """Return a text as a literal that is read as this text, whether a backslash escapes or not."""
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return "'" + re.sub(r"\\[^']|\\|'", _escaped, text, flags=re.DOTALL) + "'"


def _escaped(match: "re.Match[str]") -> str:
    part = match[0]
    if len(part) == 2:
        return part
    return "''" if part == "'" else "\\\\"


def _name(node: Node, key: str) -> str:
    name = node[key]
    if not isinstance(name, str):
        raise TypeError("a name is a string")
    quote = node["quoted"].get(key) if "quoted" in node else None
    return _as_name(name, quote)


def _as_name(name: str, quote: str | None = None) -> str:
    if quote is None:
        if name == "*" or (_NAME.fullmatch(name) and name.lower() not in RESERVED):
            return name
        quote = '"'
    if quote not in ('"', "`"):
        raise ValueError("a name is in double quotes or backticks")
    return f"{quote}{name.replace(quote, quote * 2)}{quote}"


def _path(node: Node) -> str:
    return ".".join(_name(node, key) for key in ("catalog", "schema", "table", "colname") if key in node)


def _comma(write_one: Callable[[Any], str], nodes: list[Any]) -> str:
    return ", ".join(map(write_one, nodes))


# Statements


def _select(model: Node) -> str:
    words = ["select"]
    if model.get("distinct"):
        words.append("distinct")
    words.append(_comma(_column, model["columns"]))
    if "from" in model:
        words += ["from", _tables(model["from"])]
    words += _condition(model)
    if "group" in model:
        words += ["group by", _comma(_expression, model["group"])]
    if "having" in model:
        words += ["having", _expression(model["having"])]
    words += _ordering(model)
    if "lock" in model:
        words.append(str(model["lock"]))
    return " ".join(words)


def _condition(model: Node) -> list[str]:
    return ["where", _expression(model["where"])] if "where" in model else []


def _ordering(model: Node) -> list[str]:
    words = ["order by", _comma(_order, model["order"])] if "order" in model else []
    for key in ("limit", "offset"):
        if key in model:
            words += [key, _expression(model[key])]
    return words


def _order(node: Node) -> str:
    text = _expression(node["expr"])
    if node.get("direction") == "desc":
        text += " desc"
    return f"{text} nulls {node['nulls']}" if "nulls" in node else text


def _insert(model: Node) -> str:
    words = ["insert ignore into" if model.get("ignore") else "insert into", _comma(_path, model["into"])]
    if "columns" in model:
        words.append(f"({_comma(_path, model['columns'])})")
    if "values" in model:
        rows = _comma(lambda row: f"({_comma(_expression, row)})", model["values"])
        words.append(f"values {rows}")
    else:
        words.append(_select(model["select"]))
    if "on_duplicate" in model:
        words += ["on duplicate key update", _comma(_assignment, model["on_duplicate"])]
    if "on_conflict" in model:
        words += _conflict(model["on_conflict"])
    return " ".join(words + _returning(model))


def _conflict(node: Node) -> list[str]:
    words = ["on conflict"]
    if "columns" in node:
        words.append(f"({_comma(_path, node['columns'])})")
    if "set" not in node:
        return [*words, "do nothing"]
    return [*words, "do update set", _comma(_assignment, node["set"]), *_condition(node)]


def _update(model: Node) -> str:
    words = ["update", _tables(model["from"]), "set", _comma(_assignment, model["set"])]
    if "using" in model:
        words += ["from", _tables(model["using"])]
    return " ".join(words + _condition(model) + _ordering(model) + _returning(model))


def _delete(model: Node) -> str:
    words = ["delete from", _tables(model["from"])]
    if "using" in model:
        words += ["using", _tables(model["using"])]
    return " ".join(words + _condition(model) + _ordering(model) + _returning(model))


def _returning(model: Node) -> list[str]:
    return ["returning", _comma(_column, model["returning"])] if "returning" in model else []


def _assignment(node: Node) -> str:
    return f"{_path(node)} = {_expression(node['expr'])}"


_STATEMENTS = {"select": _select, "insert": _insert, "update": _update, "delete": _delete}


# Tables


def _tables(nodes: list[Node]) -> str:
    text = _table(nodes[0])
    for node in nodes[1:]:
        text += f" {node['join']} {_table(node)}" if "join" in node else f", {_table(node)}"
        if "on" in node:
            text += f" on {_expression(node['on'])}"
        if "using" in node:
            text += f" using ({_comma(_path, node['using'])})"
    return text


def _table(node: Node) -> str:
    text = f"({_select(node['subquery'])})" if "subquery" in node else _path(node)
    if "as" in node:
        text += f" as {_name(node, 'as')}"
    for hint in node.get("hints", ()):
        text += f" {hint['type']} index ({_comma(_as_name, hint['indexes'])})"
    return text


# Expressions


def _column(node: Node) -> str:
    text = _expression(node)
    return f"{text} as {_name(node, 'as')}" if "as" in node else text


def _expression(node: Node) -> str:
    return _written(node)[0]


def _within(node: Node, least: int) -> str:
    """Return an operand of an operator, in parentheses where it binds less tightly."""
    text, power = _written(node)
    return text if power >= least else f"({text})"


def _written(node: Node) -> tuple[str, int]:
    """Return an expression, and how tightly it binds."""
    if "operator" in node:
        return _operation(node)
    return _atom(node), _ATOM


def _atom(node: Node) -> str:
    if "valtype" in node or "value" in node:
        return _value(node)
    if "colname" in node:
        return _path(node)
    if "subquery" in node:
        return f"({_select(node['subquery'])})"
    if "list" in node:
        return f"({_comma(_expression, node['list'])})"
    if "when" in node:
        return _case(node)
    if "interval" in node:
        text = f"interval {_within(node['interval'], COMPARISON + 1)}"
        return f"{text} {node['unit']}" if "unit" in node else text
    return _function(node)


def _value(node: Node) -> str:
    value, kind = node["value"], node.get("valtype")
    text = value if isinstance(value, str) else str(value)
    if kind == "string" or (kind is None and isinstance(value, str)):
        return quoted(text)
    return f"{kind} {quoted(text)}" if kind in TYPED else text


def _function(node: Node) -> str:
    name, params = node["function"], node["params"]
    if name.lower() in QUANTIFIERS:
        return f"{name}{_comma(_expression, params)}" if "subquery" in params[0] else f"{name}({_params(node)})"
    unit = f"{node['unit']} from " if "unit" in node else ""
    kind = f" as {node['totype']}" if "totype" in node else ""
    return f"{name}({unit}{_params(node)}{kind})"


def _params(node: Node) -> str:
    return ("distinct " if node.get("distinct") else "") + _comma(_expression, node["params"])


def _case(node: Node) -> str:
    words = ["case"]
    if "case" in node:
        words.append(_expression(node["case"]))
    for when in node["when"]:
        words.append(f"when {_expression(when['condition'])} then {_expression(when['result'])}")
    if "else" in node:
        words.append(f"else {_expression(node['else'])}")
    return " ".join([*words, "end"])


def _operation(node: Node) -> tuple[str, int]:
    operator, params = node["operator"], node["params"]
    if len(params) == 1:
        return _prefixed(operator, params[0])
    if operator in _WORDS or operator in _LIKES:
        return _compared(node)
    power = BINARY[operator]
    # A chain is one node, so an operand with the same operator was in parentheses, also on the left.
    first = power + 1 if operator in CHAINED else power
    operands = [_within(params[0], first), *(_within(each, power + 1) for each in params[1:])]
    return f" {operator} ".join(operands), power


def _prefixed(operator: str, operand: Node) -> tuple[str, int]:
    if operator == "exists":
        return f"exists {_expression(operand)}", _ATOM
    if operator == "not":
        return f"not {_within(operand, NOT)}", NOT
    if operator not in ("-", "~", "!"):
        raise LookupError(f"{operator!r} is no operator")
    apart = " " if operand.get("valtype") in _NUMERIC or operand.get("operator") == "-" else ""
    return f"{operator}{apart}{_within(operand, UNARY)}", UNARY


def _compared(node: Node) -> tuple[str, int]:
    operator, params = node["operator"], node["params"]
    left = _within(params[0], COMPARISON)
    first = _within(params[1], COMPARISON + 1)
    text = f"{left} {operator} {first}"
    if operator in ("between", "not between"):
        text += f" and {_within(params[2], COMPARISON + 1)}"
    if "escape" in node:
        text += f" escape {_within(node['escape'], COMPARISON + 1)}"
    return text, COMPARISON
