"""Axiom's structured query (`POST /v1/datasets/{id}/query`), compiled into the tree of an APL query.

Names and values of the request become nodes of the tree; nothing of it is text of a query but the expressions that a
client writes in APL (virtual fields, predicates), which are parsed on their own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tailrace.query.apl.errors import AplError, suggestion
from tailrace.query.apl.parser import parse_expression
from tailrace.query.apl.times import timespan_ns
from tailrace.query.apl.tree import (
    Binary,
    Call,
    Constant,
    Expression,
    Extend,
    LiteralKind,
    Name,
    Named,
    Operator,
    Pattern,
    Program,
    Project,
    Query,
    Sorted,
    Summarize,
    Table,
    Take,
    Where,
)
from tailrace.query.apl.tree import Order as Ordered
from tailrace.query.apl_request import FieldOrder
from tailrace.query.apl_result import DEFAULT_ROWS, MAX_ROWS

MAX_FILTER_DEPTH = 50  # filters inside of each other
AUTO = "auto"
TIME = "_time"
EVERY_MATCH = (TIME, "_sysTime")  # what a match has beside its data
NOWHERE = 0  # the place of what no text has written


class LegacyQueryAggregation(Struct, frozen=True):
    """One aggregation: `argument` is what its function takes beside the field."""

    op: str
    field: str = ""
    alias: str | None = None
    argument: Any = None


class LegacyQueryFilter(Struct, frozen=True, rename="camel"):
    """A condition: `op` "" is none. `children` have a meaning under and, or, not only."""

    op: str = ""
    field: str = ""
    value: Any = None
    case_sensitive: bool = False  # of the ways to find a text in another
    children: "list[LegacyQueryFilter] | None" = None


class LegacyQueryVirtualField(Struct, frozen=True):
    """A field that an APL expression makes."""

    alias: str
    expr: str


class LegacyQueryProjection(Struct, frozen=True):
    """A field to answer with, under another name where it has an alias."""

    field: str
    alias: str | None = None


class LegacyQuery(Struct, frozen=True, rename="camel"):
    """The body of the request; Axiom's Go client sends null for a list that is not set."""

    start_time: str | None = None
    end_time: str | None = None
    resolution: str | None = AUTO
    aggregations: list[LegacyQueryAggregation] | None = None
    group_by: list[str] | None = None
    filter: LegacyQueryFilter | None = None
    order: list[FieldOrder] | None = None
    limit: int | None = None
    virtual_fields: list[LegacyQueryVirtualField] | None = None
    project: list[LegacyQueryProjection] | None = None
    cursor: str | None = None
    include_cursor: bool | None = None


class CompiledLegacyQuery(Struct, frozen=True, eq=False):
    """The tree, and by the column of each aggregation what the answer calls it."""

    program: Program
    ops: Mapping[str, str]


def compile_legacy(dataset: str, query: LegacyQuery) -> CompiledLegacyQuery:
    """Return the tree of a structured query over a dataset. Raise AplError for what it cannot mean."""
    operators: list[Operator] = []
    for number, field in enumerate(query.virtual_fields or ()):
        value = _parsed(field.expr, f"virtualFields[{number}].expr")
        operators.append(Extend(NOWHERE, (Named(NOWHERE, field.alias, value),)))
    condition = _condition(query.filter, "filter") if query.filter is not None else None
    if condition is not None:
        operators.append(Where(NOWHERE, condition))
    aggregations = query.aggregations or []
    # Names of our own: two aggregations may have the same alias, or that of a field.
    columns = [
        f"{'argument' if _is_other(each) else 'aggregation'} {number}" for number, each in enumerate(aggregations)
    ]
    if aggregations or query.group_by:
        operators += _summarized(query, aggregations, columns)
    else:
        operators += _matches(query)
    source = Query(NOWHERE, Table(NOWHERE, Pattern(NOWHERE, (dataset,))), tuple(operators))
    ops = {column: each.alias or each.op for column, each in zip(columns, aggregations, strict=True)}
    return CompiledLegacyQuery(Program(NOWHERE, (), source), ops)


def _summarized(
    query: LegacyQuery, aggregations: Sequence[LegacyQueryAggregation], names: Sequence[str]
) -> list[Operator]:
    others = tuple(
        Named(NOWHERE, name, _field(each.argument))
        for name, each in zip(names, aggregations, strict=True)
        if _is_other(each)
    )
    values = [
        Named(
            NOWHERE,
            f"aggregation {number}",
            _other(each, name) if _is_other(each) else _aggregation(each, f"aggregations[{number}]"),
        )
        for number, (name, each) in enumerate(zip(names, aggregations, strict=True))
    ]
    size = _resolution(query.resolution)
    time = _field(TIME)
    bin_call = Call(NOWHERE, "bin_auto", (time,)) if size is None else Call(NOWHERE, "bin", (time, size))
    groups = [name for name in query.group_by or () if name != TIME]
    by = [Named(NOWHERE, TIME, bin_call), *(Named(NOWHERE, name, _field(name)) for name in groups)]
    summarize = Summarize(NOWHERE, tuple(values), tuple(by))
    shown = {alias: name for each, name in zip(aggregations, names, strict=True) for alias in (each.alias or each.op,)}
    keys = [
        _sorted(shown.get(key.field, key.field), key.desc)
        for key in query.order or ()
        if key.field in shown or key.field in groups or key.field == TIME
    ]
    ordered = [Ordered(NOWHERE, tuple(keys))] if keys else []
    return [*([Extend(NOWHERE, others)] if others else []), summarize, *ordered]


def _matches(query: LegacyQuery) -> list[Operator]:
    operators: list[Operator] = []
    if query.order:
        operators.append(Ordered(NOWHERE, tuple(_sorted(key.field, key.desc) for key in query.order)))
    limit = query.limit or DEFAULT_ROWS
    if not 0 < limit <= MAX_ROWS:
        raise AplError(f"limit is {limit}, but it may be 1 to {MAX_ROWS}", kind="limit")
    operators.append(Take(NOWHERE, _constant("long", limit)))
    if query.project:
        chosen = [Named(NOWHERE, each.alias or each.field, _field(each.field)) for each in query.project]
        names = {each.name for each in chosen}
        system = [Named(NOWHERE, name, _field(name)) for name in EVERY_MATCH if name not in names]
        operators.append(Project(NOWHERE, (*system, *chosen)))
    return operators


def _sorted(name: str, descending: bool) -> Sorted:
    return Sorted(NOWHERE, _field(name), descending, nulls_first=not descending)


def _field(name: str) -> Name:
    return Name(NOWHERE, name, quoted=True)


def _constant(kind: LiteralKind, value: Any) -> Constant:
    return Constant(NOWHERE, kind, value)


def _parsed(text: str, where: str) -> Expression:
    try:
        return parse_expression(text)
    except AplError as error:
        raise AplError(f"{where}: {error.located(text).message}", kind=error.kind) from error


def _resolution(text: str | None) -> Constant | None:
    """Return the size of a bucket of time; None for one that is chosen to fit the range."""
    if not text or text == AUTO:
        return None
    size_ns = duration_ns(text)
    if not size_ns:
        raise AplError(f"resolution is {text!r}, but it is {AUTO!r} or a duration like '30s' or '1h0m0s'")
    return _constant("timespan", size_ns)


def duration_ns(text: str) -> int | None:
    """Return nanoseconds of a duration as Go writes it (`1h0m0s`) or APL (`1h`); None for what is none, or not above
    0.
    """
    total = 0
    rest = text.strip()
    while rest:
        number = len(rest) - len(rest.lstrip("0123456789."))
        unit = number
        while unit < len(rest) and rest[unit].isalpha():
            unit += 1
        if number == 0 or unit == number:
            return None
        part = timespan_ns(rest[:unit])
        if part is None:
            return None
        total += part
        rest = rest[unit:]
    return total or None


# Conditions

_COMPARISONS: Mapping[str, str] = {
    "==": "==", "eq": "==", "!=": "!=", "ne": "!=", ">": ">", "gt": ">", ">=": ">=", "gte": ">=",
    "<": "<", "lt": "<", "<=": "<=", "lte": "<=",
}  # fmt: skip
_TEXTS: Mapping[str, str] = {"starts-with": "startswith", "ends-with": "endswith", "contains": "contains"}
_OPS = (
    "and", "or", "not", *_COMPARISONS, "exists", "not-exists", *_TEXTS, *(f"not-{op}" for op in _TEXTS),
    "regexp", "not-regexp",
)  # fmt: skip


def _condition(filter: LegacyQueryFilter, where: str, depth: int = 1) -> Expression | None:
    """Return the predicate of a filter; None for one that takes every row."""
    op = filter.op.lower()
    if depth > MAX_FILTER_DEPTH:
        raise AplError(f"the filter is nested deeper than {MAX_FILTER_DEPTH} levels", kind="limit")
    if op in ("and", "or", "not"):
        children = [
            condition
            for number, child in enumerate(filter.children or ())
            if (condition := _condition(child, f"{where}.children[{number}]", depth + 1)) is not None
        ]
        if not children:
            return None
        joined = _joined("or" if op == "or" else "and", children)
        return _not(joined) if op == "not" else joined
    if not op:
        return None
    if op not in _OPS:
        raise AplError(f"{where}.op is {filter.op!r}, which is no filter{suggestion(op, _OPS)}", kind="name")
    if not filter.field:
        raise AplError(f"{where} has the op {filter.op!r} but no field")
    field = _field(filter.field)
    negated = op.startswith("not-")
    plain = op.removeprefix("not-")
    if plain == "exists":
        return Call(NOWHERE, "isnull" if negated else "isnotnull", (field,))
    if plain in _TEXTS:
        operator = ("!" if negated else "") + _TEXTS[plain] + ("_cs" if filter.case_sensitive else "")
        return Binary(NOWHERE, operator, field, _literal(filter.value, where, str))
    if plain == "regexp":
        operator = "!matches regex" if negated else "matches regex"
        return Binary(NOWHERE, operator, field, _literal(filter.value, where, str))
    comparison = _COMPARISONS[op]
    if filter.value is None and comparison in ("==", "!="):
        return Call(NOWHERE, "isnull" if comparison == "==" else "isnotnull", (field,))
    return Binary(NOWHERE, comparison, field, _literal(filter.value, where))


def _joined(operator: str, parts: Sequence[Expression]) -> Expression:
    """All of them with an operator between; balanced, as a long chain would be nested too deeply."""
    items = list(parts)
    while len(items) > 1:
        pairs = [items[n : n + 2] for n in range(0, len(items), 2)]
        items = [Binary(NOWHERE, operator, pair[0], pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
    return items[0]


def _not(value: Expression) -> Expression:
    return Call(NOWHERE, "not", (value,))


def _literal(value: Any, where: str, only: type | None = None) -> Constant:
    if only is not None and not isinstance(value, only):
        raise AplError(f"{where}.value is {value!r}, but it must be a text", kind="type")
    kinds: Sequence[tuple[type, LiteralKind]] = (
        (bool, "bool"),  # before int, which it is too
        (int, "long"),
        (float, "real"),
        (str, "string"),
    )
    for kind, name in kinds:
        if isinstance(value, kind):
            return _constant(name, value)
    if value is None:
        return _constant("null", None)
    return _constant("dynamic", value)


# Aggregations


def _aggregation(given: LegacyQueryAggregation, where: str) -> Expression:
    op = given.op.lower()
    conditional = op.endswith("if") and op in _CONDITIONAL
    build = _AGGREGATIONS.get(op.removesuffix("if") if conditional else op)
    if build is None:
        known = (*_AGGREGATIONS, *_CONDITIONAL)
        raise AplError(f"{where}.op is {given.op!r}, which is no aggregation{suggestion(op, known)}", kind="name")
    name, arguments = build(given, where, conditional)
    if not conditional:
        return Call(NOWHERE, name, tuple(arguments))
    return Call(NOWHERE, _CONDITIONAL[op], (*arguments, _predicate(given, where)))


def _predicate(given: LegacyQueryAggregation, where: str) -> Expression:
    """Return the argument of an aggregation under a condition: an APL predicate, or a filter."""
    argument = given.argument
    if isinstance(argument, list) and argument:
        argument = argument[-1]
    if isinstance(argument, str) and argument.strip():
        return _parsed(argument, f"{where}.argument")
    raise AplError(f"{where}.argument must be the predicate of {given.op}, in APL, like 'status >= 500'", kind="type")


_Arguments = tuple[str, list[Expression]]
_Build = Callable[[LegacyQueryAggregation, str, bool], _Arguments]


def _of_field(given: LegacyQueryAggregation, where: str) -> Name:
    if not given.field or given.field == "*":
        raise AplError(f"{where} has the op {given.op!r} but no field")
    return _field(given.field)


def _count(given: LegacyQueryAggregation, where: str, conditional: bool) -> _Arguments:
    return "count", []


def _simple(name: str) -> _Build:
    def build(given: LegacyQueryAggregation, where: str, conditional: bool) -> _Arguments:
        return name, [_of_field(given, where)]

    return build


def _numbered(name: str, default: int) -> _Build:
    """With a number beside the field: how many, or how many buckets."""

    def build(given: LegacyQueryAggregation, where: str, conditional: bool) -> _Arguments:
        number = given.argument
        if conditional and isinstance(number, list):
            number = number[0] if len(number) > 1 else None
        elif conditional:
            number = None
        if number is None or number == "":  # as the Python client has it
            number = default
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise AplError(f"{where}.argument is {given.argument!r}, but {given.op} takes a whole number above 0")
        return name, [_of_field(given, where), _constant("long", number)]

    return build


def _percentiles(given: LegacyQueryAggregation, where: str, conditional: bool) -> _Arguments:
    percentiles = given.argument
    if conditional and isinstance(percentiles, list):
        percentiles = percentiles[:-1]
    percentiles = percentiles if isinstance(percentiles, list) else [percentiles]
    if not percentiles or not all(isinstance(p, int | float) and not isinstance(p, bool) for p in percentiles):
        raise AplError(f"{where}.argument is {given.argument!r}, but {given.op} takes a list of numbers, 0 to 100")
    field = _of_field(given, where)
    if conditional:
        return "percentiles_array", [field, _constant("dynamic", percentiles)]
    return "percentiles_array", [field, *(_literal(p, where) for p in percentiles)]


def _is_other(given: LegacyQueryAggregation) -> bool:
    """Whether it asks for another field in the row where its own is the extreme."""
    return given.op.lower() in _EXTREMES and isinstance(given.argument, str) and bool(given.argument)


def _other(given: LegacyQueryAggregation, name: str) -> Expression:
    return Call(NOWHERE, _EXTREMES[given.op.lower()], (_of_field(given, "aggregations"), _field(name)))


_EXTREMES = {"argmin": "arg_min", "argmax": "arg_max"}
_AGGREGATIONS: Mapping[str, _Build] = {
    "count": _count,
    "distinct": _simple("dcount"),
    "sum": _simple("sum"),
    "avg": _simple("avg"),
    "min": _simple("min"),
    "max": _simple("max"),
    "topk": _numbered("topk", 10),
    "percentiles": _percentiles,
    "histogram": _numbered("histogram", 15),
    "stdev": _simple("stdev"),
    "variance": _simple("variance"),
    "argmin": _simple("arg_min"),
    "argmax": _simple("arg_max"),
    "makeset": _simple("make_set"),
    "makelist": _simple("make_list"),
    "rate": _simple("rate"),
}
_CONDITIONAL: Mapping[str, str] = {
    "countif": "countif",
    "distinctif": "dcountif",
    "sumif": "sumif",
    "avgif": "avgif",
    "minif": "minif",
    "maxif": "maxif",
    "topkif": "topkif",
    "percentilesif": "percentiles_arrayif",
    "histogramif": "histogramif",
    "stdevif": "stdevif",
    "varianceif": "varianceif",
    "makesetif": "make_set_if",
    "makelistif": "make_list_if",
}
