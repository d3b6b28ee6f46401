"""Templates of webhook bodies: a part of Go's text/template.

Sources: https://pkg.go.dev/text/template, whose parser names the nodes of the tree, and Axiom's page on custom webhooks
for the variables. Two things differ from Go: a value within a JSON string is escaped, so that no value can break the
JSON around it, and objects, lists and null are written as JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tailrace.events import BadRequest
from tailrace.monitors.template_functions import FUNCTIONS, as_text, check_length, is_list

MAX_DEPTH = 32  # of nested blocks and parentheses, and pipes of an expression
MAX_DIGITS = 300  # of a number
MAX_STEPS = 100_000  # pieces written and arguments looked at, so that ranges within ranges come to an end

_TRIMMED_LEFT = re.compile(r"-\s")
_TRIMMED_RIGHT = re.compile(r"\s-\Z")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>[-+]?\d+(?:\.\d+)?)
      | (?P<field>(?:\.[A-Za-z_]\w*)+|\.)
      | (?P<root>\$(?:\.[A-Za-z_]\w*)*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>[()|])
    )""",
    re.VERBOSE,
)

Data = Mapping[str, Any]


class ConstantNode(Struct, frozen=True):
    value: Any


class FieldNode(Struct, frozen=True):
    path: tuple[str, ...]
    rooted: bool  # of the whole data, not of the item of a range or the value of a with


class CallNode(Struct, frozen=True):
    name: str
    arguments: "tuple[Expression, ...]"


Expression = ConstantNode | FieldNode | CallNode


class TextNode(Struct, frozen=True):
    text: str


class ActionNode(Struct, frozen=True):
    value: Expression


class BranchNode(Struct, frozen=True):
    """`if`, `with` or `range`, with what comes where its value is empty."""

    kind: str
    value: Expression
    body: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]"


Node = TextNode | ActionNode | BranchNode
Template = tuple[Node, ...]


def parse(text: str) -> Template:
    """Return the tree of a template; raise BadRequest that names the line and what is known."""
    parser = _TemplateParser(text)
    nodes, ended = parser.nodes(0)
    if ended:
        raise parser.error(f"{{{{{ended}}}}} ends nothing")
    return nodes


def render(template: Template, data: Data) -> str:
    """Return the text that a template makes of the data. Raise BadRequest past MAX_OUTPUT or MAX_STEPS."""
    writer = _Writer()
    _write(template, data, data, writer)
    return "".join(writer.parts)


class _TemplateParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = list(_pieces(text))
        self._next = 0
        self._line = 1

    def error(self, message: str) -> BadRequest:
        return BadRequest(f"body, line {self._line}: {message}")

    def nodes(self, depth: int) -> tuple[Template, str]:
        """Return the nodes up to an `else` or `end`, which comes with them; "" at the end of the text."""
        if depth > MAX_DEPTH:
            raise self.error(f"blocks are nested more than {MAX_DEPTH} deep")
        nodes: list[Node] = []
        while self._next < len(self._pieces):
            text, action, self._line = self._pieces[self._next]
            self._next += 1
            if action is None:
                if "{{" in text:
                    raise self.error("'{{' is not closed by '}}'")
                nodes.append(TextNode(text))
                continue
            stripped = action.strip()
            if stripped.startswith("/*") and stripped.endswith("*/"):
                continue
            word, _, rest = stripped.partition(" ")
            if word in ("else", "end"):
                return tuple(nodes), stripped
            if word in ("if", "with", "range"):
                nodes.append(self._branch(word, rest, depth))
            elif word in ("define", "template", "block", "break", "continue") or ":=" in stripped:
                raise self.error(f"{stripped!r} is not known here; there are values, if, with, range, else and end")
            else:
                nodes.append(ActionNode(self._expression(stripped)))
        return tuple(nodes), ""

    def _branch(self, kind: str, condition: str, depth: int) -> BranchNode:
        value = self._expression(condition)
        line = self._line
        body, ended = self.nodes(depth + 1)
        otherwise: Template = ()
        if ended.startswith("else"):
            word, _, rest = ended.removeprefix("else").strip().partition(" ")
            if word in ("if", "with"):
                return BranchNode(kind, value, body, (self._branch(word, rest, depth + 1),))
            if word:
                raise self.error(f"{ended!r} is not known; there are else, else if and else with")
            otherwise, ended = self.nodes(depth + 1)
        if ended != "end":
            self._line = line
            raise self.error(f"{{{{{kind}}}}} is not closed by {{{{end}}}}")
        return BranchNode(kind, value, body, otherwise)

    def _expression(self, text: str) -> Expression:
        tokens = self._tokens(text)
        if tokens.count(("sign", "|")) > MAX_DEPTH:
            raise self.error(f"an expression has more than {MAX_DEPTH} pipes")
        value, rest = self._pipeline(tokens, 0)
        if rest:
            raise self.error(f"unexpected {rest[0][1]!r} in {text!r}")
        return value

    def _tokens(self, text: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self.error(f"{text[at:].strip()[:50]!r} is not understood in {text[:100]!r}")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return tokens

    def _pipeline(self, tokens: list[tuple[str, str]], depth: int) -> tuple[Expression, list[tuple[str, str]]]:
        if depth > MAX_DEPTH:
            raise self.error(f"parentheses are nested more than {MAX_DEPTH} deep")
        value, tokens = self._command(tokens, None, depth)
        while tokens and tokens[0] == ("sign", "|"):
            value, tokens = self._command(tokens[1:], value, depth)
        return value, tokens

    def _command(
        self, tokens: list[tuple[str, str]], piped: Expression | None, depth: int
    ) -> tuple[Expression, list[tuple[str, str]]]:
        if not tokens:
            raise self.error("a value is missing")
        kind, name = tokens[0]
        if kind == "word" and name not in _CONSTANTS:
            if name not in FUNCTIONS:
                raise self.error(f"unknown function {name!r}; known are {', '.join(FUNCTIONS)}")
            arguments: list[Expression] = []
            tokens = tokens[1:]
            while tokens and tokens[0] not in (("sign", "|"), ("sign", ")")):
                argument, tokens = self._operand(tokens, depth)
                arguments.append(argument)
            if piped is not None:
                arguments.append(piped)
            least = FUNCTIONS[name][0]
            if len(arguments) < least:
                raise self.error(f"{name} takes at least {least} arguments, but it has {len(arguments)}")
            return CallNode(name, tuple(arguments)), tokens
        if piped is not None:
            raise self.error(f"{name!r} is no function, so that nothing can be piped into it")
        return self._operand(tokens, depth)

    def _operand(self, tokens: list[tuple[str, str]], depth: int) -> tuple[Expression, list[tuple[str, str]]]:
        (kind, text), rest = tokens[0], tokens[1:]
        if (kind, text) == ("sign", "("):
            value, rest = self._pipeline(rest, depth + 1)
            if not rest or rest[0] != ("sign", ")"):
                raise self.error("'(' is not closed by ')'")
            return value, rest[1:]
        if kind == "string":
            return ConstantNode(self._string(text)), rest
        if kind == "number":
            if len(text) > MAX_DIGITS:
                raise self.error(f"the number {text[:20]}… has more than {MAX_DIGITS} digits")
            return ConstantNode(float(text) if "." in text else int(text)), rest
        if kind in ("field", "root"):
            return FieldNode(tuple(part for part in text.lstrip("$").split(".") if part), kind == "root"), rest
        if kind == "word" and text in _CONSTANTS:
            return ConstantNode(_CONSTANTS[text]), rest
        raise self.error(f"unexpected {text!r}")

    def _string(self, text: str) -> str:
        if text.startswith("`"):
            return text[1:-1]
        try:
            value: str = json.loads(text, strict=False)
        except ValueError:
            raise self.error(f"{text[:100]} is not a string as JSON has it") from None
        return value


_CONSTANTS = {"true": True, "false": False, "nil": None}


def _pieces(text: str) -> Iterator[tuple[str, str | None, int]]:
    """Texts, and actions (the second member) with the line on which they begin."""
    at = 0
    trim = False
    line = 1
    # With `find`: a regular expression takes quadratic time where nothing closes what opens.
    while (start := text.find("{{", at)) >= 0 and (end := text.find("}}", start + 2)) >= 0:
        line += text.count("\n", at, start)
        action = text[start + 2 : end]
        left = _TRIMMED_LEFT.match(action)
        action = action[2:] if left else action
        right = _TRIMMED_RIGHT.search(action[-2:])
        before = text[at:start]
        before = before.lstrip() if trim else before
        if before:
            yield before.rstrip() if left else before, None, line
        yield "", action[:-2] if right else action, line
        line += text.count("\n", start, end)
        trim = right is not None
        at = end + 2
    rest = text[at:].lstrip() if trim else text[at:]
    if rest:
        yield rest, None, line


class _Writer:
    """The text written so far, and whether it ends within a JSON string."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._length = 0
        self._steps = 0
        self._quoted = False

    def step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise BadRequest(f"the template takes more than {MAX_STEPS} steps")

    def literal(self, text: str) -> None:
        escaped = False
        for character in text:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = self._quoted
            elif character == '"':
                self._quoted = not self._quoted
        self._add(text)

    def value(self, value: Any) -> None:
        text = as_text(value)
        self._add(json.dumps(text, ensure_ascii=False)[1:-1] if self._quoted else text)

    def _add(self, text: str) -> None:
        self._length += len(text)
        check_length(self._length)
        self.parts.append(text)


def _write(nodes: Template, root: Data, dot: Any, writer: _Writer) -> None:
    for node in nodes:
        writer.step()
        match node:
            case TextNode(text):
                writer.literal(text)
            case ActionNode(value):
                writer.value(_value(value, root, dot, writer))
            case BranchNode(kind, condition, body, otherwise):
                value = _value(condition, root, dot, writer)
                if not value:
                    _write(otherwise, root, dot, writer)
                elif kind == "range":
                    items = value.values() if isinstance(value, Mapping) else value if is_list(value) else ()
                    for item in items:
                        writer.step()
                        _write(body, root, item, writer)
                else:
                    _write(body, root, value if kind == "with" else dot, writer)


def _value(expression: Expression, root: Data, dot: Any, writer: _Writer) -> Any:
    match expression:
        case ConstantNode(value):
            return value
        case FieldNode(path, rooted):
            member: Any = root if rooted else dot
            for key in path:
                member = member.get(key) if isinstance(member, Mapping) else None
            return member
        case CallNode(name, arguments):
            values = []
            for argument in arguments:
                writer.step()
                values.append(_value(argument, root, dot, writer))
            return FUNCTIONS[name][1](values)
