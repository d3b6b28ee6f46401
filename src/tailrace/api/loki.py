"""Loki's query API, for Grafana's Loki data source and whatever else asks a Loki: LogQL's subset over datasets."""

import math
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api import execution
from tailrace.api.loki_parameters import (
    DEFAULT_RANGE_NS,
    MAX_LIMIT,
    Parameters,
    limit_of,
    matchers_of,
    query_of,
    range_of,
    selector_of,
    step_of,
    time_of,
)
from tailrace.api.loki_routes import ANY_SELECTOR, END, EXAMPLE, LOGQL, PREFIX, SELECTOR, START, query_routes
from tailrace.api.loki_selection import Asker, Selection, answering, header_of, records_of, stream_of, text_of
from tailrace.api.route import ANY_TOKEN, ApiRoute
from tailrace.api.services import Services, json_response
from tailrace.events import BadRequest
from tailrace.protocols.http import ParameterDoc
from tailrace.query import Interrupt
from tailrace.query.logql import compile as compiled
from tailrace.query.logql.evaluate import EvaluationTimes, LabelSet, RangePart, RangeParts, SeriesSet, evaluate
from tailrace.query.logql.fields import DATASET, DETECTED_LEVEL
from tailrace.query.logql.lines import processed
from tailrace.query.logql.parser import NS_PER_S
from tailrace.query.logql.tree import (
    Grouping,
    JoinedSeries,
    LabelFormat,
    LogQuery,
    Metric,
    RangeAggregation,
    Rename,
    Vector,
    VectorAggregation,
)

MAX_SERIES = 500  # of a metric query, as in Loki
MAX_SAMPLES = 1_000_000  # parts of series
MAX_VALUES = 1000  # of a label
MAX_CHARACTERS = 256 * 1024 * 1024  # of lines and labels of an answer
NS_PER_US = 1000
ENCODING_FLAGS = "x-loki-response-encoding-flags"
CATEGORIZE = "categorize-labels"
INFINITIES = {math.inf: "+Inf", -math.inf: "-Inf"}


@answering()
async def query_range(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Answer a LogQL query over a time: lines, or numbers at each step."""
    tree = query_of(parameters)
    start_ns, end_ns = range_of(parameters)
    if isinstance(tree, LogQuery):
        return await _lines(request, services, grant, tree, parameters, start_ns, end_ns)
    step_ns = step_of(parameters.get("step"), start_ns, end_ns)
    # As Loki, so that the points of one refresh are those of the next.
    times = EvaluationTimes(start_ns - start_ns % step_ns, end_ns - end_ns % step_ns, step_ns)
    found = await _numbers(request, services, grant, tree, times)
    result = [
        {
            "metric": dict(labels),
            "values": [[times.at_ns(number) / NS_PER_S, _number(points[number])] for number in sorted(points)],
        }
        for labels, points in sorted(found.items())
    ]
    return {"resultType": "matrix", "result": result, "stats": {}}


@answering()
async def query(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Answer a LogQL query at one time: numbers, or the lines of the hour before it."""
    tree = query_of(parameters)
    at_ns = time_of("time", parameters.get("time"))
    if at_ns is None:
        at_ns = time.time_ns()
    if isinstance(tree, LogQuery):
        return await _lines(request, services, grant, tree, parameters, at_ns - DEFAULT_RANGE_NS, at_ns)
    found = await _numbers(request, services, grant, tree, EvaluationTimes(at_ns, at_ns, NS_PER_S))
    result = [
        {"metric": dict(labels), "value": [at_ns / NS_PER_S, _number(points[0])]}
        for labels, points in sorted(found.items())
        if points
    ]
    return {"resultType": "vector", "result": result, "stats": {}}


@answering()
async def labels(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return the names of labels: the scalar fields of the dataset, and `dataset`."""

    def work(interrupt: Interrupt) -> list[str]:
        asker = Asker(services, grant, interrupt)
        try:
            selection, _ = asker.select(selector_of(parameters), header_of(request))
        except BadRequest:
            if parameters.get("query"):
                raise
            return [DATASET]  # no dataset is named: first choose one
        return selection.fields.labels

    return await execution.run(request, services, grant, work)


@answering()
async def label_values(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return the most frequent values of a label, in order; of `dataset` those that the token may query."""
    label = request.path_params["label"]
    start_ns, end_ns = range_of(parameters)

    def work(interrupt: Interrupt) -> list[str]:
        asker = Asker(services, grant, interrupt)
        if label == DATASET:
            return asker.readable()
        selection, matchers = asker.select(selector_of(parameters), header_of(request))
        field = selection.fields.field(label)
        if field is None:
            return []
        program = compiled.label_values(
            selection.datasets, LogQuery(matchers), selection.fields, field, limit=MAX_VALUES
        )
        return sorted(asker.rows(program, start_ns, end_ns, limit=MAX_VALUES)[compiled.VALUE].to_pylist())

    return await execution.run(request, services, grant, work)


@answering()
async def series(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return the label sets of the streams that selectors (`match[]`) choose."""
    start_ns, end_ns = range_of(parameters)
    given = [value for name, value in parameters.multi_items() if name in ("match[]", "match")]
    selectors = [matchers_of(text) for text in given or [""]]

    def work(interrupt: Interrupt) -> list[dict[str, str]]:
        asker = Asker(services, grant, interrupt)
        found: list[dict[str, str]] = []
        for selector in selectors:
            selection, matchers = asker.select(selector, header_of(request))
            program = compiled.series(selection.datasets, LogQuery(matchers), selection.fields, limit=MAX_VALUES)
            for row in records_of(asker.rows(program, start_ns, end_ns, limit=MAX_VALUES)):
                found.append(stream_of(selection, row))
        return found

    return await execution.run(request, services, grant, work)


async def build_info(request: Request, services: Services, grant: Grant) -> Response:
    """Say what Loki this is like, by which Grafana decides what it asks."""
    return json_response(
        {"version": "2.9.0", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""}
    )


# Lines


async def _lines(
    request: Request,
    services: Services,
    grant: Grant,
    tree: LogQuery,
    parameters: Parameters,
    start_ns: int,
    end_ns: int,
) -> Any:
    limit = limit_of(parameters.get("limit"))
    direction = parameters.get("direction", "backward").lower()
    if direction not in ("forward", "backward"):
        raise BadRequest(f"direction is {direction[:40]!r}, but it may be forward or backward")
    is_categorized = CATEGORIZE in request.headers.get(ENCODING_FLAGS, "")

    def work(interrupt: Interrupt) -> dict[str, Any]:
        asker = Asker(services, grant, interrupt)
        selection, matchers = asker.select(tree.matchers, header_of(request))
        whole = LogQuery(matchers, tree.stages)
        program = compiled.lines(
            selection.datasets, whole, selection.fields, limit=limit, is_forward=direction == "forward"
        )
        rows = asker.rows(program, start_ns, end_ns, limit=limit)
        streams = _streams(selection, whole, rows, is_categorized=is_categorized)
        flags = {"encodingFlags": [CATEGORIZE]} if is_categorized else {}
        return {"resultType": "streams", "result": streams, **flags, "stats": {}}

    return await execution.run(request, services, grant, work)


def _streams(selection: Selection, tree: LogQuery, rows: pa.Table, *, is_categorized: bool) -> list[dict[str, Any]]:
    """Return the rows as streams, each with its lines in the order of the rows."""
    fields = selection.fields
    own = {DATASET, *fields.stream_labels(compiled.named_labels(tree))}
    for stage in tree.stages:
        if isinstance(stage, LabelFormat):
            own |= {each.label for each in stage.formats if isinstance(each, Rename) and each.source in own}
    found: dict[LabelSet, list[list[Any]]] = {}
    size = 0
    level = fields.field(DETECTED_LEVEL)
    times = rows["_time"].cast(pa.int64()).to_pylist()
    for time_us, record in zip(times, records_of(rows), strict=True):
        line = text_of(record.get(fields.line)) if fields.line else msgspec.json.encode(_sent(record)).decode()
        known = stream_of(selection, record)
        hidden = {DETECTED_LEVEL: text_of(record.get(level))} if level is not None else {}
        line, shown = processed(line, known, tree.stages, hidden)
        size += len(line) + sum(map(len, shown.values()))
        if size > MAX_CHARACTERS:
            raise BadRequest(
                f"the lines and their labels have more than {MAX_CHARACTERS} characters: take a smaller limit"
            )
        stream = {name: value for name, value in shown.items() if not is_categorized or name in own}
        value: list[Any] = [str(time_us * NS_PER_US), line]
        if is_categorized:
            rest = {name: value for name, value in shown.items() if name not in stream}
            parsed = {name: rest.pop(name) for name in list(rest) if name not in known}
            value.append(
                {
                    **({"structuredMetadata": rest} if rest else {}),
                    **({"parsed": parsed} if parsed else {}),
                }
            )
        found.setdefault(tuple(sorted(stream.items())), []).append(value)
    return [{"stream": dict(labels), "values": values} for labels, values in found.items()]


def _sent(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None and not name.startswith("_")}


# Numbers


async def _numbers(
    request: Request, services: Services, grant: Grant, tree: Metric, times: EvaluationTimes
) -> SeriesSet:
    def work(interrupt: Interrupt) -> SeriesSet:
        sample = partial(_samples, Asker(services, grant, interrupt), header_of(request), times)
        found = evaluate(_narrowed(tree), times, sample)
        if len(found) > MAX_SERIES:
            raise BadRequest(
                f"the query has {len(found)} series, but at most {MAX_SERIES}: aggregate it, as in sum by (level) (…)"
            )
        return found

    return await execution.run(request, services, grant, work)


def _narrowed(metric: Metric, also: tuple[str, ...] = ()) -> Metric:
    """Return a query whose ranges are grouped by the labels of the sum over them, where that gives the same, or else
    by those beside the labels of streams (`also`).
    """
    if isinstance(metric, VectorAggregation):
        of, grouping = metric.of, metric.grouping
        passed = also if grouping.is_without or metric.function in ("topk", "bottomk") else ()
        if not grouping.is_without:
            passed = (*passed, *grouping.labels)
        is_whole = isinstance(of, RangeAggregation) and of.grouping == Grouping(is_without=True) and _adds_up(of)
        if metric.function == "sum" and isinstance(of, RangeAggregation) and is_whole:
            return replace(metric, of=replace(of, grouping=grouping, also=passed))
        return replace(metric, of=_narrowed(of, passed))
    if isinstance(metric, RangeAggregation):
        return replace(metric, also=also)
    if isinstance(metric, Vector):
        return metric
    if isinstance(metric, JoinedSeries):
        return replace(metric, left=_narrowed(metric.left, also), right=_narrowed(metric.right, also))
    return replace(metric, of=_narrowed(metric.of, also))


def _adds_up(aggregation: RangeAggregation) -> bool:
    return aggregation.function in ("count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time")


def _samples(
    asker: Asker, header: str, times: EvaluationTimes, aggregation: RangeAggregation, parts: RangeParts
) -> Iterable[RangePart]:
    selection, matchers = asker.select(aggregation.query.matchers, header)
    narrowed = replace(aggregation, query=LogQuery(matchers, aggregation.query.stages))
    program = compiled.samples(
        selection.datasets, narrowed, selection.fields, origin_ns=parts.origin_ns, step_ns=parts.step_ns
    )
    end_ns = times.at_ns(times.count - 1) - aggregation.offset_ns
    rows = asker.rows(program, parts.origin_ns, end_ns, limit=MAX_SAMPLES)
    if rows.num_rows == MAX_SAMPLES:
        raise BadRequest(
            f"the query counts more than {MAX_SAMPLES} times and streams: make the step longer, or sum by a label"
        )
    names = compiled.grouping(selection.datasets, narrowed, selection.fields)
    bins = rows[compiled.BIN].cast(pa.int64()).to_pylist()
    for bin_us, record in zip(bins, records_of(rows), strict=True):
        value = record[compiled.VALUE]
        if value is None and aggregation.function not in compiled.DEVIATIONS:
            continue
        labels = tuple(sorted((name, text) for name in names if (text := text_of(record[name]))))
        number = bin_us * NS_PER_US // parts.step_ns - parts.origin_ns // parts.step_ns
        yield RangePart(labels, number, float(value or 0), float(record.get(compiled.SECOND_VALUE) or 0))


def _number(value: float) -> str:
    """Return a number as Prometheus and Loki write it."""
    if math.isnan(value):
        return "NaN"
    return INFINITIES.get(value) or (str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value))


LIMIT = ParameterDoc("limit", f"Lines, at most {MAX_LIMIT}.", int)
STEP = ParameterDoc("step", "Seconds, or a duration, between two numbers.")
DIRECTION = ParameterDoc("direction", "backward, or forward for the oldest lines.")
TIME = ParameterDoc("time", "As start; now where it is not given.")
MATCH = ParameterDoc("match[]", "A selector; repeatable.", required=True, example=EXAMPLE)

ROUTES = (
    *query_routes("query_range", query_range, dict[str, Any], (LOGQL, START, END, STEP, LIMIT, DIRECTION)),
    *query_routes("query", query, dict[str, Any], (LOGQL, TIME, LIMIT, DIRECTION)),
    *query_routes("labels", labels, dict[str, Any], (ANY_SELECTOR, START, END)),
    *query_routes("label/{label}/values", label_values, dict[str, Any], (SELECTOR, START, END)),
    *query_routes("series", series, dict[str, Any], (MATCH, START, END)),
    ApiRoute("GET", f"{PREFIX}/status/buildinfo", build_info, ANY_TOKEN, answer=dict[str, str]),
)
