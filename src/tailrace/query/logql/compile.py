"""LogQL compiled to the tree of an APL query; nothing of it becomes text of a query."""

import re
from collections.abc import Sequence
from itertools import product

from msgspec import Struct

from tailrace.query.apl.tree import (
    Binary,
    Call,
    Constant,
    Expression,
    LiteralKind,
    Member,
    Name,
    Named,
    Operator,
    Pattern,
    Program,
    Query,
    Sorted,
    Source,
    Summarize,
    Table,
    Take,
    Union,
    Where,
)
from tailrace.query.apl.tree import Order as Ordered
from tailrace.query.logql.fields import DATASET, LabelFields
from tailrace.query.logql.lines import ERROR, JSON_ERROR
from tailrace.query.logql.parser import LogqlError
from tailrace.query.logql.tree import (
    Comparison,
    Either,
    Extraction,
    LabelFilter,
    LineFilter,
    LogQuery,
    Matcher,
    RangeAggregation,
    Unwrap,
)

NOWHERE = 0  # the place of what no text of APL has written
TIME = "_time"
# Columns of our own, which no label can be called.
VALUE, SECOND_VALUE, BIN, EVENTS = "#value", "#values", "#bin", "#events"
SPLITTABLE = frozenset(
    {
        "count_over_time",
        "rate",
        "bytes_over_time",
        "bytes_rate",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
    }
)  # of which parts of a range may be put together
DEVIATIONS = frozenset({"stdvar_over_time", "stddev_over_time"})  # of all values, not of a sample
MAX_JOINTS = 4  # of a label, at which it may be keys of nested objects
_NAMES = re.compile(r"[\w.-]+(?:\|[\w.-]+)*")
"""A regular expression that lists names, as Grafana writes several values of a variable."""


class SelectedDatasets(Struct, frozen=True):
    """What a selector says of the datasets: their names, none where it says nothing, and its other conditions."""

    names: tuple[str, ...]
    matchers: tuple[Matcher, ...]


def split_datasets(matchers: Sequence[Matcher]) -> SelectedDatasets:
    """Return the datasets that a selector names by the label `dataset`. Raise LogqlError."""
    names: list[str] = []
    for matcher in matchers:
        if matcher.label != DATASET:
            continue
        if matcher.operator == "=":
            names.append(matcher.value)
        elif matcher.operator == "=~" and _NAMES.fullmatch(matcher.value):
            names += matcher.value.split("|")
        else:
            raise LogqlError('the label dataset takes = with a name, or =~ with names, such as {dataset=~"web|api"}')
    return SelectedDatasets(tuple(dict.fromkeys(names)), tuple(each for each in matchers if each.label != DATASET))


def lines(datasets: Sequence[str], query: LogQuery, fields: LabelFields, *, limit: int, is_forward: bool) -> Program:
    """Return the query for the events of a log query, of the end of its time or the beginning."""
    operators: list[Operator] = [
        *_filters(query, fields),
        Ordered(NOWHERE, (Sorted(NOWHERE, _name(TIME), not is_forward, False),)),
        Take(NOWHERE, _constant("long", limit)),
    ]
    return _program(datasets, operators)


def samples(
    datasets: Sequence[str], aggregation: RangeAggregation, fields: LabelFields, *, origin_ns: int, step_ns: int
) -> Program:
    """Return the query for parts of a range aggregation: a row for each step from the origin on, and labels.

    The column BIN has the times at which the parts begin, less what the origin is no multiple of the step by.
    """
    # Bins of APL begin at 1970: those of the times that are moved by what the origin lies behind such a beginning.
    moved = Binary(NOWHERE, "-", _name(TIME), _constant("timespan", origin_ns % step_ns))
    by = [Named(NOWHERE, BIN, Call(NOWHERE, "bin", (moved, _constant("timespan", step_ns))))]
    by += [Named(NOWHERE, label, value) for label, value in grouping(datasets, aggregation, fields).items()]
    filters = _filters(aggregation.query, fields)
    unwrap = _unwrap_of(aggregation)
    if unwrap is not None:
        filters.append(Where(NOWHERE, Call(NOWHERE, "isnotnull", (_number(unwrap.label, aggregation.query, fields),))))
    values = _values(aggregation, fields)
    return _program(datasets, [*filters, Summarize(NOWHERE, tuple(values), tuple(by))])


def grouping(datasets: Sequence[str], aggregation: RangeAggregation, fields: LabelFields) -> dict[str, Expression]:
    """Return what a range aggregation tells series apart by, by label: fields, the dataset, what the line has."""
    query = aggregation.query
    if aggregation.by is None:
        labels = [*fields.stream_labels(named_labels(query)), *aggregation.also]
    else:
        labels = list(aggregation.by)
    found: dict[str, Expression] = {}
    for label in labels:
        if label == DATASET and fields.field(label) is None:
            found[label] = _constant("string", datasets[0]) if len(datasets) == 1 else _text(DATASET)
        elif fields.field(label) is not None or any(isinstance(stage, Extraction) for stage in query.stages):
            found[label] = _label(label, query, fields)
    return found


def named_labels(query: LogQuery) -> set[str]:
    """Return the labels that a query has conditions on."""
    found = {matcher.label for matcher in query.matchers}
    waiting: list[object] = list(query.stages)
    while waiting:
        stage = waiting.pop()
        if isinstance(stage, (Matcher, Comparison)):
            found.add(stage.label)
        elif isinstance(stage, Either):
            waiting += stage.parts
    return found


def label_values(datasets: Sequence[str], query: LogQuery, fields: LabelFields, field: str, *, limit: int) -> Program:
    """Return the query for the values of a field, the most frequent first."""
    value = Named(NOWHERE, VALUE, _text(field))
    counted = Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))
    return _program(datasets, [
        *_filters(query, fields),
        Where(NOWHERE, Call(NOWHERE, "isnotempty", (_text(field),))),
        Summarize(NOWHERE, (counted,), (value,)),
        Ordered(NOWHERE, (Sorted(NOWHERE, _name(EVENTS), True, False),)),
        Take(NOWHERE, _constant("long", limit)),
    ])  # fmt: skip


def series(datasets: Sequence[str], query: LogQuery, fields: LabelFields, *, limit: int) -> Program:
    """Return the query for the different streams of a selector."""
    labels = fields.stream_labels(named_labels(query))
    counted = Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))
    by = tuple(Named(NOWHERE, label, _text(name)) for label, name in labels.items())
    operators = [*_filters(query, fields), Summarize(NOWHERE, (counted,), by), Take(NOWHERE, _constant("long", limit))]
    return _program(datasets, operators)


def volumes(datasets: Sequence[str], query: LogQuery, fields: LabelFields, *, limit: int) -> Program:
    """Return the query for the different streams of a selector, each with its lines and their bytes."""
    labels = fields.stream_labels(named_labels(query))
    values = [Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))]
    if fields.line is not None:
        values.append(Named(NOWHERE, VALUE, Call(NOWHERE, "sum", (Call(NOWHERE, "string_size", (_line(fields),)),))))
    by = tuple(Named(NOWHERE, label, _text(name)) for label, name in labels.items())
    take = Take(NOWHERE, _constant("long", limit))
    return _program(datasets, [*_filters(query, fields), Summarize(NOWHERE, tuple(values), by), take])


def cardinalities(datasets: Sequence[str], query: LogQuery, fields: LabelFields, labels: Sequence[str]) -> Program:
    """Return the query for how many values each of some labels has."""
    named = {label: name for label in labels if (name := fields.field(label)) is not None}
    values = tuple(Named(NOWHERE, label, Call(NOWHERE, "dcountif", _counted(name))) for label, name in named.items())
    return _program(datasets, [*_filters(query, fields), Summarize(NOWHERE, values, ())])


def _counted(name: str) -> tuple[Expression, Expression]:
    return _text(name), Call(NOWHERE, "isnotempty", (_text(name),))


def _program(datasets: Sequence[str], operators: Sequence[Operator]) -> Program:
    tables = [Table(NOWHERE, Pattern(NOWHERE, (name,))) for name in datasets]
    source: Source = tables[0] if len(tables) == 1 else Union(NOWHERE, tuple(tables), DATASET)
    return Program(NOWHERE, (), Query(NOWHERE, source, tuple(operators)))


def _values(aggregation: RangeAggregation, fields: LabelFields) -> list[Named]:
    """Return what is computed of each part: a value, and where that takes it how many numbers it is of."""
    function = aggregation.function
    unwrap = _unwrap_of(aggregation)
    if unwrap is None:
        if function.startswith("bytes"):
            return [Named(NOWHERE, VALUE, Call(NOWHERE, "sum", (Call(NOWHERE, "string_size", (_line(fields),)),)))]
        return [Named(NOWHERE, VALUE, Call(NOWHERE, "count", ()))]
    number = _number(unwrap.label, aggregation.query, fields)
    one_argument = {
        "sum_over_time": "sum", "rate": "sum", "min_over_time": "min", "max_over_time": "max", "avg_over_time": "sum",
        "stdvar_over_time": "variance", "stddev_over_time": "variance",
    }  # fmt: skip
    if function == "quantile_over_time":
        share = _constant("real", aggregation.quantile * 100)
        return [Named(NOWHERE, VALUE, Call(NOWHERE, "percentile", (number, share)))]
    values = [Named(NOWHERE, VALUE, Call(NOWHERE, one_argument[function], (number,)))]
    if function in ("avg_over_time", *DEVIATIONS):
        values.append(Named(NOWHERE, SECOND_VALUE, Call(NOWHERE, "count", ())))
    return values


def _unwrap_of(aggregation: RangeAggregation) -> Unwrap | None:
    return next((stage for stage in aggregation.query.stages if isinstance(stage, Unwrap)), None)


# Conditions


def _filters(query: LogQuery, fields: LabelFields) -> list[Operator]:
    conditions = [_matched(matcher, query, fields) for matcher in query.matchers]
    for stage in query.stages:
        if isinstance(stage, LineFilter):
            conditions.append(_line_condition(stage, fields))
        elif isinstance(stage, (Matcher, Comparison, Either)):
            conditions.append(_label_condition(stage, query, fields))
    return [Where(NOWHERE, condition) for condition in conditions]


def _label_condition(stage: LabelFilter, query: LogQuery, fields: LabelFields) -> Expression:
    if isinstance(stage, Matcher):
        return _matched(stage, query, fields)
    if isinstance(stage, Comparison):
        number = _number(stage.label, query, fields)
        return Binary(NOWHERE, stage.operator, number, _constant("real", stage.value))
    return _joined("and" if stage.every else "or", [_label_condition(part, query, fields) for part in stage.parts])


def _matched(matcher: Matcher, query: LogQuery, fields: LabelFields) -> Expression:
    """Return the condition of a matcher; a label that an event has not is empty, as in Loki."""
    is_for_some = matcher.value != "" if matcher.operator == "=" else not _may_be_empty(matcher.value)
    only_if_there = is_for_some and matcher.operator in ("=", "=~")
    text = _label(matcher.label, query, fields, only_if_there=only_if_there)
    if matcher.operator in ("=", "!="):
        return Binary(NOWHERE, "==" if matcher.operator == "=" else "!=", text, _constant("string", matcher.value))
    # The whole of the value, with "." for line feeds too, as Loki anchors them.
    pattern = _constant("string", f"^(?s:{matcher.value})$")
    matches = Binary(NOWHERE, "matches regex", text, pattern)
    return matches if matcher.operator == "=~" else Call(NOWHERE, "not", (matches,))


def _line_condition(stage: LineFilter, fields: LabelFields) -> Expression:
    is_for_some = all(stage.values) if stage.operator == "|=" else not any(map(_may_be_empty, stage.values))
    line = _line(fields, only_if_there=is_for_some and stage.operator in ("|=", "|~"))
    if stage.operator in ("|=", "!="):
        parts = [Binary(NOWHERE, "contains_cs", line, _constant("string", value)) for value in stage.values]
    else:
        parts = [Binary(NOWHERE, "matches regex", line, _constant("string", value)) for value in stage.values]
    either = _joined("or", list(parts))
    return either if stage.operator[0] == "|" else Call(NOWHERE, "not", (either,))


def _may_be_empty(pattern: str) -> bool:
    """Return whether a regular expression matches an empty text, also where that is not known."""
    try:
        return re.search(pattern, "") is not None
    except (re.error, OverflowError, RecursionError):  # RE2 knows what Python does not
        return True


def _joined(operator: str, parts: Sequence[Expression]) -> Expression:
    joined = parts[0]
    for part in parts[1:]:
        joined = Binary(NOWHERE, operator, joined, part)
    return joined


# Values


def _line(fields: LabelFields, *, only_if_there: bool = False) -> Expression:
    """Return the line of an event as text."""
    if fields.line is None:
        raise LogqlError("the dataset has no field with lines (message, msg, body, log, line, text) to look into")
    return _text(fields.line, fields if only_if_there else None)


def _label(label: str, query: LogQuery, fields: LabelFields, *, only_if_there: bool = False) -> Expression:
    """Return the text of a label: of its field, else of what the line has under its name where the query reads it."""
    field = fields.field(label)
    if field is not None:
        return _text(field, fields if only_if_there else None)
    kinds = [stage.kind for stage in query.stages if isinstance(stage, Extraction)]
    if not kinds or fields.line is None:
        return _constant("string", "")
    line = _text(fields.line)
    if label == ERROR and "json" in kinds:
        kind = Call(NOWHERE, "gettype", (Call(NOWHERE, "parse_json", (line,)),))
        is_read = Binary(NOWHERE, "==", kind, _constant("string", "dictionary"))
        return Call(NOWHERE, "iff", (is_read, _constant("string", ""), _constant("string", JSON_ERROR)))
    if kinds[-1] == "json":
        found = _of_json(Call(NOWHERE, "parse_json", (line,)), label)
    else:
        pattern = _constant("string", rf'(?:^|\s){re.escape(label)}=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
        groups = [Call(NOWHERE, "extract", (pattern, _constant("long", group), line)) for group in (1, 2)]
        found = Call(NOWHERE, "strcat", tuple(Call(NOWHERE, "tostring", (group,)) for group in groups))
    return Call(NOWHERE, "tostring", (found,))


def _of_json(value: Expression, label: str) -> Expression:
    """Return what a JSON value has under a label, whose keys are joined by _ where they are nested."""
    words = label.split("_")
    found: list[Expression] = []
    for joints in product((False, True), repeat=min(len(words) - 1, MAX_JOINTS)):
        keys = [words[0]]
        for number, word in enumerate(words[1:]):
            if number < len(joints) and joints[number]:
                keys.append(word)
            else:
                keys[-1] += f"_{word}"
        part = value
        for key in keys:
            part = Member(NOWHERE, part, key, bracketed=True)
        found.append(part)
    return found[0] if len(found) == 1 else Call(NOWHERE, "coalesce", tuple(found))


def _number(label: str, query: LogQuery, fields: LabelFields) -> Expression:
    return Call(NOWHERE, "todouble", (_label(label, query, fields),))


def _text(field: str, if_in: LabelFields | None = None) -> Expression:
    """Return the text of a field, empty where it is not there.

    With the fields it may be null there: so where it always is a text it is the field itself, of which files tell more.
    """
    is_text = if_in is not None and if_in.type(field) == "string"
    return _name(field) if is_text else Call(NOWHERE, "tostring", (_name(field),))


def _name(name: str) -> Name:
    return Name(NOWHERE, name, quoted=True)


def _constant(kind: LiteralKind, value: object) -> Constant:
    return Constant(NOWHERE, kind, value)
