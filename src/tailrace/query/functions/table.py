"""What a function is: its name, parameters, result, documentation with an example, and how to build it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from tailrace.query.apl.errors import AplError, suggestion
from tailrace.query.values import (
    DYNAMIC,
    NULL,
    TYPE_NAMES,
    Type,
    Value,
    as_dynamic,
    as_number,
    as_text,
    coerce,
    map_number,
    null,
)


class CallInvalid(AplError):
    """A call that cannot be compiled; `argument` is the index of the argument at fault, None for the whole call."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message, kind="type")
        self.argument = argument


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """What a language model costs, in US dollars a million tokens."""

    input: Annotated[float, Meta(ge=0)]
    output: Annotated[float, Meta(ge=0)]
    currency: str = "USD"


class Context(Struct, frozen=True):
    """What a function may need to know of the query."""

    now_ns: int = 0  # since 1970; one instant for the whole query
    start_ns: int | None = None  # of the query's time range
    end_ns: int | None = None
    max_bin_auto_groups: int | None = None
    bin_auto_ns: int | None = None  # the size that bin_auto() uses; worked out from the range where not given
    columns: Mapping[str, Value] = field(default_factory=dict)  # in scope, by name
    cursor: Value | None = None  # the row's cursor, where rows have one
    prices: Mapping[str, Price] = field(default_factory=dict)  # of language models, by name
    metadata: Callable[[str, str | None], Mapping[str, str] | None] = lambda field, dataset: None
    """What is known of a field of a dataset, or without one of the query's; None of what is no field."""
    geo: bool = False  # whether a database of IP addresses is registered


class Parameter(Struct, frozen=True):
    """One parameter.

    `kind` says as what the argument comes: a type; `text`, anything written out; `number`, a LONG or a REAL (for which
    a call whose argument may be either in each row is built twice; there is but one such parameter); `any`, as it is;
    `value`, any as dynamic; `constant`, a literal of any type.
    """

    name: str
    kind: str
    optional: bool = False
    many: bool = False  # any number of further arguments, only as the last


Builder = Callable[..., Value]
"""Takes the context and the coerced arguments; an optional one that is not given is None."""


class Function(Struct, frozen=True):
    name: str
    group: str
    parameters: tuple[Parameter, ...]
    result: str  # a type's name, or words for a rule
    build: Builder
    doc: str  # one sentence
    example: str  # a query
    example_result: Any  # of its first column, JSON-able; the example's text where it has no one result
    note: str = ""  # where this differs from Kusto, or from what Axiom's documentation says
    least: int = 0  # of the arguments for the last parameter, where it is `many`
    most: int | None = None
    star: str = "values"  # what `*` gives for each column: its value, or with `pairs` its name and its value

    @property
    def signature(self) -> str:
        text = ", ".join(each.name + (", …" if each.many else "") for each in self.parameters if not each.optional)
        optional = [each.name for each in self.parameters if each.optional]
        for name in optional:
            text += f"[, {name}" if text else f"[{name}"
        return f"{self.name}({text}{']' * len(optional)})"


_PARAMETER = re.compile(r"(?P<name>\w+):(?P<kind>\w+)(?P<mark>[?*]?)")
KINDS = {"text", "number", "any", "value", "constant", *TYPE_NAMES}


def parameters(text: str) -> tuple[Parameter, ...]:
    """Read `text:string, start:long, length:long?` as parameters; `?` is optional, `*` any number of them."""
    result = []
    for part in text.split(",") if text else ():
        match = _PARAMETER.fullmatch(part.strip())
        if match is None or match["kind"] not in KINDS:
            raise ValueError(f"not a parameter: {part!r}")
        result.append(Parameter(match["name"], match["kind"], match["mark"] == "?", match["mark"] == "*"))
    return tuple(result)


def table(group: str) -> tuple[list[Function], Callable[..., None]]:
    """Return an empty table of a group, and what adds to it: name, parameters, result, builder, doc, example, its
    result.
    """
    functions: list[Function] = []

    def add(
        names: str,
        shape: str,
        result: Type | str,
        build: Builder,
        doc: str,
        example: str,
        example_result: Any,
        **more: Any,
    ) -> None:
        first, *_ = names.split()
        for name in names.split():
            own_example = example.replace(f"{first}(", f"{name}(")
            functions.append(
                Function(name, group, parameters(shape), str(result), build, doc, own_example, example_result, **more)
            )

    return functions, add


def invoke(function: Function, arguments: Sequence[Value], context: Context) -> Value:
    """Return the call as a value. Raise CallInvalid for a wrong number of arguments, or one that can never fit."""
    _check_count(function, len(arguments))
    values: list[Value | None] = []
    for index, parameter in enumerate(function.parameters):
        if parameter.many:
            values += [
                _coerce_argument(function, parameter, each, n) for n, each in enumerate(arguments[index:], index)
            ]
        elif index < len(arguments):
            values.append(_coerce_argument(function, parameter, arguments[index], index))
        else:
            values.append(None)
    number = next((n for n, each in enumerate(function.parameters) if each.kind == "number"), len(values))
    before, rest = values[:number], values[number:]
    value = rest[0] if rest else None
    if value is None or value.type is not DYNAMIC:
        return function.build(context, *values)
    return map_number(value, lambda part: function.build(context, *before, part, *rest[1:]))


def _check_count(function: Function, count: int) -> None:
    single = [each for each in function.parameters if not each.many]
    least = sum(not each.optional for each in single) + function.least
    many = len(single) < len(function.parameters)
    most = function.most if many else len(single)
    if count < least or (most is not None and count > most):
        expected = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        noun = "argument" if expected == "1" else "arguments"
        raise CallInvalid(f"{function.name}() takes {expected} {noun}, not {count}: {function.signature}")


def _coerce_argument(function: Function, parameter: Parameter, value: Value, index: int) -> Value:
    kind = parameter.kind
    if kind == "any":
        return value
    if kind == "constant":
        if not value.is_constant:
            raise CallInvalid(f"{parameter.name} of {function.name}() must be a literal", index)
        return value
    if value.type is NULL:
        return null(
            TYPE_NAMES.get(kind, Type.STRING if kind == "text" else Type.LONG if kind == "number" else Type.DYNAMIC)
        )
    if kind == "text":
        return as_text(value)
    if kind == "number":
        return as_number(value)
    if kind == "value":
        return as_dynamic(value)
    return coerce(value, TYPE_NAMES[kind])


def find(functions: Mapping[str, Function], name: str) -> Function:
    """Return the function of a name. Raise CallInvalid with the nearest name there is."""
    if name in functions:
        return functions[name]
    raise CallInvalid(f"there is no function {name}()" + suggestion(name, functions))


def constant_text(function: str, value: Value | None, index: int, accepted: Sequence[str]) -> str:
    """Return a string literal among those accepted. Raise CallInvalid."""
    given = value.constant if value is not None else None
    if isinstance(given, str) and given.lower() in accepted:
        return given.lower()
    raise CallInvalid(f"{function}() does not know {given!r}; it knows {', '.join(accepted)}", index)
