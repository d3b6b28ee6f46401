"""LogQL compiled to the tree of an APL query; nothing of it becomes text of a query."""

import re
from collections.abc import Sequence

from msgspec import Struct

from tailrace.query.apl.tree import (
    Binary,
    Call,
    Expression,
    Extend,
    Named,
    Operator,
    Pattern,
    Program,
    ProjectAway,
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
from tailrace.query.logql.parser import LogqlError
from tailrace.query.logql.pipeline import NOWHERE, Pipeline, constant, named, text
from tailrace.query.logql.tree import Comparison, Either, LogQuery, Matcher, RangeAggregation, Unwrap

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
        *_pipeline(datasets, query, fields).operators,
        Ordered(NOWHERE, (Sorted(NOWHERE, named(TIME), not is_forward, False),)),
        Take(NOWHERE, constant("long", limit)),
    ]
    formatted = tuple(
        Pattern(NOWHERE, (value.name,))
        for each in operators
        if isinstance(each, Extend)
        for value in each.values
        if value.name
    )
    return _program(datasets, [*operators, ProjectAway(NOWHERE, formatted)] if formatted else operators)


def samples(
    datasets: Sequence[str], aggregation: RangeAggregation, fields: LabelFields, *, origin_ns: int, step_ns: int
) -> Program:
    """Return the query for parts of a range aggregation: a row for each step from the origin on, and labels.

    The column BIN has the times at which the parts begin, less what the origin is no multiple of the step by.
    """
    # Bins of APL begin at 1970: those of the times that are moved by what the origin lies behind such a beginning.
    moved = Binary(NOWHERE, "-", named(TIME), constant("timespan", origin_ns % step_ns))
    by = [Named(NOWHERE, BIN, Call(NOWHERE, "bin", (moved, constant("timespan", step_ns))))]
    pipeline = _pipeline(datasets, aggregation.query, fields)
    by += [Named(NOWHERE, label, value) for label, value in _grouping(aggregation, pipeline, fields).items()]
    values = _values(aggregation, pipeline)
    operators = pipeline.operators
    if pipeline.unwrapped is not None:
        operators.append(Where(NOWHERE, Call(NOWHERE, "isnotnull", (pipeline.unwrapped,))))
    return _program(datasets, [*operators, Summarize(NOWHERE, tuple(values), tuple(by))])


def grouping(datasets: Sequence[str], aggregation: RangeAggregation, fields: LabelFields) -> list[str]:
    """Return the labels that a range aggregation tells series apart by: fields, the dataset, what stages make."""
    return list(_grouping(aggregation, _pipeline(datasets, aggregation.query, fields), fields))


def _grouping(aggregation: RangeAggregation, pipeline: Pipeline, fields: LabelFields) -> dict[str, Expression]:
    labels = list(aggregation.grouping.labels)
    if aggregation.grouping.is_without:
        own = [*fields.stream_labels(named_labels(aggregation.query)), *pipeline.formatted]
        number = {stage.label for stage in aggregation.query.stages if isinstance(stage, Unwrap)}
        labels = [label for label in own if label not in number]
        labels += aggregation.also
        labels = [label for label in labels if aggregation.grouping.has(label)]
    return {label: value for label in labels if (value := pipeline.label(label)) is not None}


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
    value = Named(NOWHERE, VALUE, text(field))
    counted = Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))
    return _program(datasets, [
        *_pipeline(datasets, query, fields).operators,
        Where(NOWHERE, Call(NOWHERE, "isnotempty", (text(field),))),
        Summarize(NOWHERE, (counted,), (value,)),
        Ordered(NOWHERE, (Sorted(NOWHERE, named(EVENTS), True, False),)),
        Take(NOWHERE, constant("long", limit)),
    ])  # fmt: skip


def series(datasets: Sequence[str], query: LogQuery, fields: LabelFields, *, limit: int) -> Program:
    """Return the query for the different streams of a selector."""
    labels = fields.stream_labels(named_labels(query))
    counted = Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))
    by = tuple(Named(NOWHERE, label, text(name)) for label, name in labels.items())
    operators = [
        *_pipeline(datasets, query, fields).operators,
        Summarize(NOWHERE, (counted,), by),
        Take(NOWHERE, constant("long", limit)),
    ]
    return _program(datasets, operators)


def volumes(datasets: Sequence[str], query: LogQuery, fields: LabelFields, *, limit: int) -> Program:
    """Return the query for the different streams of a selector, each with its lines and their bytes."""
    labels = fields.stream_labels(named_labels(query))
    values = [Named(NOWHERE, EVENTS, Call(NOWHERE, "count", ()))]
    if fields.line is not None:
        values.append(
            Named(NOWHERE, VALUE, Call(NOWHERE, "sum", (Call(NOWHERE, "string_size", (text(fields.line),)),)))
        )
    by = tuple(Named(NOWHERE, label, text(name)) for label, name in labels.items())
    take = Take(NOWHERE, constant("long", limit))
    return _program(
        datasets, [*_pipeline(datasets, query, fields).operators, Summarize(NOWHERE, tuple(values), by), take]
    )


def cardinalities(datasets: Sequence[str], query: LogQuery, fields: LabelFields, labels: Sequence[str]) -> Program:
    """Return the query for how many values each of some labels has."""
    known = {label: name for label in labels if (name := fields.field(label)) is not None}
    values = tuple(Named(NOWHERE, label, Call(NOWHERE, "dcountif", _counted(name))) for label, name in known.items())
    return _program(datasets, [*_pipeline(datasets, query, fields).operators, Summarize(NOWHERE, values, ())])


def _pipeline(datasets: Sequence[str], query: LogQuery, fields: LabelFields) -> Pipeline:
    return Pipeline(query, fields, constant("string", datasets[0]) if len(datasets) == 1 else text(DATASET))


def _counted(name: str) -> tuple[Expression, Expression]:
    return text(name), Call(NOWHERE, "isnotempty", (text(name),))


def _program(datasets: Sequence[str], operators: Sequence[Operator]) -> Program:
    tables = [Table(NOWHERE, Pattern(NOWHERE, (name,))) for name in datasets]
    source: Source = tables[0] if len(tables) == 1 else Union(NOWHERE, tuple(tables), DATASET)
    return Program(NOWHERE, (), Query(NOWHERE, source, tuple(operators)))


def _values(aggregation: RangeAggregation, pipeline: Pipeline) -> list[Named]:
    """Return what is computed of each part: a value, and where that takes it how many numbers it is of."""
    function = aggregation.function
    number = pipeline.unwrapped
    if number is None:
        if function.startswith("bytes"):
            return [Named(NOWHERE, VALUE, Call(NOWHERE, "sum", (Call(NOWHERE, "string_size", (pipeline.line(),)),)))]
        return [Named(NOWHERE, VALUE, Call(NOWHERE, "count", ()))]
    one_argument = {
        "sum_over_time": "sum", "rate": "sum", "min_over_time": "min", "max_over_time": "max", "avg_over_time": "sum",
        "stdvar_over_time": "variance", "stddev_over_time": "variance",
    }  # fmt: skip
    if function == "quantile_over_time":
        share = constant("real", aggregation.quantile * 100)
        return [Named(NOWHERE, VALUE, Call(NOWHERE, "percentile", (number, share)))]
    values = [Named(NOWHERE, VALUE, Call(NOWHERE, one_argument[function], (number,)))]
    if function in ("avg_over_time", *DEVIATIONS):
        values.append(Named(NOWHERE, SECOND_VALUE, Call(NOWHERE, "count", ())))
    return values
