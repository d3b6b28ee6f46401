"""Functions of webhook templates: those of Go's text/template, and Axiom's own.

Each takes the list of its arguments. What a template makes of them has at most MAX_OUTPUT characters.
"""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from tailrace.events import BadRequest

MAX_OUTPUT = 1024 * 1024  # characters


def as_text(value: Any) -> str:
    """Return a value as text: texts as they are, numbers without a useless fraction, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def is_list(value: Any) -> bool:
    """Return whether a value is a list, which a text is not."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[list[Any]], bool]:
    def compared(arguments: list[Any]) -> bool:
        try:
            return compare(arguments[0], arguments[1])
        except TypeError:
            return False

    return compared


def _and(arguments: list[Any]) -> Any:
    return next((each for each in arguments if not each), arguments[-1])


def _or(arguments: list[Any]) -> Any:
    return next((each for each in arguments if each), arguments[-1])


def _index(arguments: list[Any]) -> Any:
    value = arguments[0]
    for key in arguments[1:]:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif is_list(value) and isinstance(key, int) and -1 < key < len(value):
            value = value[key]
        else:
            return None
    return value


def _print(arguments: list[Any]) -> str:
    parts: list[str] = []
    length = 0
    for each in arguments:
        parts.append(as_text(each))
        length += len(parts[-1])
        check_length(length)
    return "".join(parts)


def _spaced(arguments: list[Any]) -> str:
    return _bounded(" ".join(map(as_text, arguments)) + "\n")


_VERB = re.compile(r"%[-+# 0]*\d*(?:\.\d+)?([%a-zA-Z])")
_ZERO_WIDTH = 1_000  # the widest column and the most digits that a verb may ask for


def _printf(arguments: list[Any]) -> str:
    """Do as Go's Printf, for the verbs that a value of JSON has: https://pkg.go.dev/fmt"""
    format, values = as_text(arguments[0]), iter(arguments[1:])
    length = len(format)

    def written(match: re.Match[str]) -> str:
        nonlocal length
        verb = match[1]
        if verb == "%":
            return "%"
        value = next(values, _MISSING)
        if value is _MISSING:
            return f"%!{verb}(MISSING)"
        text = _formatted(match[0][:-1], verb, value)
        length += len(text)
        check_length(length)
        return text

    return _bounded(_VERB.sub(written, format))


_MISSING = object()


def _formatted(flags: str, verb: str, value: Any) -> str:
    if any(int(number) > _ZERO_WIDTH for number in re.findall(r"\d{1,9}", flags)):
        raise BadRequest(f"printf {flags}{verb} asks for more than {_ZERO_WIDTH} characters")
    if verb in "sv":
        return (flags + "s") % as_text(value)
    if verb == "q":
        return (flags + "s") % json.dumps(as_text(value), ensure_ascii=False)
    if verb in "dxXo" and isinstance(value, int | float) and float(value).is_integer():
        return (flags + verb) % int(value)
    if verb in "feEgG" and isinstance(value, int | float):
        return (flags + verb) % value
    if verb == "t" and isinstance(value, bool):
        return as_text(value)
    return f"%!{verb}({as_text(value)})"


def _json_of(kind: type, otherwise: str) -> Callable[[list[Any]], str]:
    """Write as JSON, and what stands for nothing; a template that pastes it in stays JSON."""

    def written(arguments: list[Any]) -> str:
        value = arguments[0]
        if value is None:
            return otherwise
        if not isinstance(value, kind) and not (kind is list and is_list(value)):
            return _bounded(json.dumps([value] if kind is list else value, ensure_ascii=False, default=str))
        return _bounded(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))

    return written


def _bounded(text: str) -> str:
    check_length(len(text))
    return text


def check_length(length: int) -> None:
    """Raise BadRequest where a text is longer than MAX_OUTPUT."""
    # Also of what is not written: blocks within blocks could double a text again and again.
    if length > MAX_OUTPUT:
        raise BadRequest(f"the template makes more than {MAX_OUTPUT} characters")


def _length(arguments: list[Any]) -> int:
    return len(arguments[0]) if isinstance(arguments[0], Mapping | str) or is_list(arguments[0]) else 0


FUNCTIONS: Mapping[str, tuple[int, Callable[[list[Any]], Any]]] = {
    # name: fewest arguments, what it does
    "eq": (2, lambda arguments: any(arguments[0] == each for each in arguments[1:])),
    "ne": (2, lambda arguments: arguments[0] != arguments[1]),
    "lt": (2, _ordered(lambda a, b: a < b)),
    "le": (2, _ordered(lambda a, b: a <= b)),
    "gt": (2, _ordered(lambda a, b: a > b)),
    "ge": (2, _ordered(lambda a, b: a >= b)),
    "and": (1, _and),
    "or": (1, _or),
    "not": (1, lambda arguments: not arguments[0]),
    "len": (1, _length),
    "index": (1, _index),
    "print": (1, _print),
    "printf": (1, _printf),
    "println": (0, _spaced),
    "html": (1, lambda arguments: _bounded(html.escape(_print(arguments)))),
    "urlquery": (1, lambda arguments: _bounded(quote_plus(_print(arguments)))),
    # Axiom's own, of its default body.
    "jsonObject": (1, _json_of(dict, "null")),
    "jsonArray": (1, _json_of(list, "[]")),
    "json": (1, lambda arguments: _bounded(json.dumps(arguments[0], ensure_ascii=False, default=str))),
    "lower": (1, lambda arguments: as_text(arguments[0]).lower()),
    "upper": (1, lambda arguments: as_text(arguments[0]).upper()),
}
