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
    found = match[0]
    if len(found) == 2:
        return found
    return "''" if found == "'" else "\\\\"


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
    made = ["select"]
    if model.get("distinct"):
        made.append("distinct")
    made.append(_comma(_column, model["columns"]))
    if "from" in model:
        made += ["from", _tables(model["from"])]
    made += _condition(model)
    if "group" in model:
        made += ["group by", _comma(_expression, model["group"])]
    if "having" in model:
        made += ["having", _expression(model["having"])]
    made += _ordering(model)
    if "lock" in model:
        made.append(str(model["lock"]))
    return " ".join(made)


def _condition(model: Node) -> list[str]:
    return ["where", _expression(model["where"])] if "where" in model else []


def _ordering(model: Node) -> list[str]:
    made = ["order by", _comma(_order, model["order"])] if "order" in model else []
    for key in ("limit", "offset"):
        if key in model:
            made += [key, _expression(model[key])]
    return made


def _order(node: Node) -> str:
    made = _expression(node["expr"])
    if node.get("direction") == "desc":
        made += " desc"
    return f"{made} nulls {node['nulls']}" if "nulls" in node else made


def _insert(model: Node) -> str:
    made = ["insert ignore into" if model.get("ignore") else "insert into", _comma(_path, model["into"])]
    if "columns" in model:
        made.append(f"({_comma(_path, model['columns'])})")
    if "values" in model:
        rows = _comma(lambda row: f"({_comma(_expression, row)})", model["values"])
        made.append(f"values {rows}")
    else:
        made.append(_select(model["select"]))
    if "on_duplicate" in model:
        made += ["on duplicate key update", _comma(_assignment, model["on_duplicate"])]
    if "on_conflict" in model:
        made += _conflict(model["on_conflict"])
    return " ".join(made + _returning(model))


def _conflict(node: Node) -> list[str]:
    made = ["on conflict"]
    if "columns" in node:
        made.append(f"({_comma(_path, node['columns'])})")
    if "set" not in node:
        return [*made, "do nothing"]
    return [*made, "do update set", _comma(_assignment, node["set"]), *_condition(node)]


def _update(model: Node) -> str:
    made = ["update", _tables(model["from"]), "set", _comma(_assignment, model["set"])]
    if "using" in model:
        made += ["from", _tables(model["using"])]
    return " ".join(made + _condition(model) + _ordering(model) + _returning(model))


def _delete(model: Node) -> str:
    made = ["delete from", _tables(model["from"])]
    if "using" in model:
        made += ["using", _tables(model["using"])]
    return " ".join(made + _condition(model) + _ordering(model) + _returning(model))


def _returning(model: Node) -> list[str]:
    return ["returning", _comma(_column, model["returning"])] if "returning" in model else []


def _assignment(node: Node) -> str:
    return f"{_path(node)} = {_expression(node['expr'])}"


_STATEMENTS = {"select": _select, "insert": _insert, "update": _update, "delete": _delete}


# Tables


def _tables(nodes: list[Node]) -> str:
    made = _table(nodes[0])
    for node in nodes[1:]:
        made += f" {node['join']} {_table(node)}" if "join" in node else f", {_table(node)}"
        if "on" in node:
            made += f" on {_expression(node['on'])}"
        if "using" in node:
            made += f" using ({_comma(_path, node['using'])})"
    return made


def _table(node: Node) -> str:
    made = f"({_select(node['subquery'])})" if "subquery" in node else _path(node)
    if "as" in node:
        made += f" as {_name(node, 'as')}"
    for hint in node.get("hints", ()):
        made += f" {hint['type']} index ({_comma(_as_name, hint['indexes'])})"
    return made


# Expressions


def _column(node: Node) -> str:
    made = _expression(node)
    return f"{made} as {_name(node, 'as')}" if "as" in node else made


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
        made = f"interval {_within(node['interval'], COMPARISON + 1)}"
        return f"{made} {node['unit']}" if "unit" in node else made
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
    made = ["case"]
    if "case" in node:
        made.append(_expression(node["case"]))
    for when in node["when"]:
        made.append(f"when {_expression(when['condition'])} then {_expression(when['result'])}")
    if "else" in node:
        made.append(f"else {_expression(node['else'])}")
    return " ".join([*made, "end"])


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
    made = f"{left} {operator} {first}"
    if operator in ("between", "not between"):
        made += f" and {_within(params[2], COMPARISON + 1)}"
    if "escape" in node:
        made += f" escape {_within(node['escape'], COMPARISON + 1)}"
    return made, COMPARISON
