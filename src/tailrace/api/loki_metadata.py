"""What Grafana asks of a Loki beside queries: how much a selector matches, and which labels and fields are there."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from starlette.requests import Request

from tailrace.access import Grant
from tailrace.api import execution
from tailrace.api.loki_parameters import Parameters, limit_of, matchers_of, query_of, range_of, selector_of
from tailrace.api.loki_routes import ANY_SELECTOR, END, LOGQL, SELECTOR, START, query_routes
from tailrace.api.loki_selection import Asker, Selection, answering, header_of, records_of, stream_of, text_of
from tailrace.api.services import Services
from tailrace.events import BadRequest
from tailrace.protocols.http import ParameterDoc
from tailrace.query import Interrupt
from tailrace.query.logql import compile as compiled
from tailrace.query.logql.fields import DATASET
from tailrace.query.logql.lines import ERROR, processed
from tailrace.query.logql.parser import duration_ns
from tailrace.query.logql.tree import Extraction, LogQuery

MAX_STREAMS = 100_000  # that statistics are told of
MAX_DETECTED_LABELS = 100  # whose values are counted
DEFAULT_LINES = 1000  # that fields are looked for in, the latest of the query
MAX_VALUES = 1000  # of a field
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_REAL = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")
_SIZE = re.compile(r"\d+(?:\.\d+)?(?i:[kmgt]i?b|b)")
_PARSERS = (Extraction("json"), Extraction("logfmt"))


class IndexStatistics(Struct, frozen=True):
    """How much a selector matches; a chunk is a stream here."""

    streams: int
    chunks: int
    entries: int
    bytes: int  # of the lines; 0 where the line is the event as a whole


class DetectedLabel(Struct, frozen=True):
    """A label, and about how many values it has."""

    label: str
    cardinality: int


class DetectedLabels(Struct, frozen=True, rename="camel"):
    """The labels of events that a selector matches."""

    detected_labels: list[DetectedLabel]


class DetectedField(Struct, frozen=True):
    """What lines have under a name: as fields of their events, or in their text, which one of the parsers reads."""

    label: str
    type: str  # string, int, float, boolean, duration, bytes
    cardinality: int  # among the lines that were looked into
    parsers: list[str] | None  # json, logfmt; none where it is a field of the events


class DetectedFields(Struct, frozen=True):
    """What the lines of a query have beside their labels."""

    fields: list[DetectedField]
    limit: int


class DetectedValues(Struct, frozen=True):
    """The values of a detected field."""

    values: list[str]
    limit: int


class _Found(Struct):
    """Values of a name in lines, and by which parsers they were found."""

    values: set[str]
    parsers: set[str]


@answering(enveloped=False)
async def index_stats(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return how many lines a selector matches, which Explore tells before a query is run."""
    start_ns, end_ns = range_of(parameters)
    selector = matchers_of(parameters.get("query", ""))

    def work(interrupt: Interrupt) -> IndexStatistics:
        asker = Asker(services, grant, interrupt)
        selection, matchers = asker.select(selector, header_of(request))
        program = compiled.volumes(selection.datasets, LogQuery(matchers), selection.fields, limit=MAX_STREAMS)
        rows = asker.rows(program, start_ns, end_ns, limit=MAX_STREAMS)
        entries = sum(rows[compiled.EVENTS].to_pylist())
        sizes = rows[compiled.VALUE].to_pylist() if compiled.VALUE in rows.column_names else []
        streams = rows.num_rows if entries else 0
        return IndexStatistics(streams, streams, entries, int(sum(size or 0 for size in sizes)))

    return await execution.run(request, services, grant, work)


@answering(enveloped=False)
async def detected_labels(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return the labels that events of a selector have, with how many values there are of each."""
    start_ns, end_ns = range_of(parameters)

    def work(interrupt: Interrupt) -> DetectedLabels:
        asker = Asker(services, grant, interrupt)
        try:
            selection, matchers = asker.select(selector_of(parameters), header_of(request))
        except BadRequest:
            if parameters.get("query"):
                raise
            return DetectedLabels([DetectedLabel(DATASET, len(asker.readable()))])  # first choose one
        found = [DetectedLabel(DATASET, len(selection.datasets))]
        labels = [label for label in selection.fields.labels if label != DATASET][:MAX_DETECTED_LABELS]
        if labels:
            program = compiled.cardinalities(selection.datasets, LogQuery(matchers), selection.fields, labels)
            [row] = records_of(asker.rows(program, start_ns, end_ns, limit=1))
            found += [DetectedLabel(label, int(row[label])) for label in labels if row[label]]
        return DetectedLabels(sorted(found, key=lambda each: each.label))

    return await execution.run(request, services, grant, work)


@answering(enveloped=False)
async def detected_fields(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return what the latest lines of a query have beside labels of streams, by names and types."""
    limit = limit_of(parameters.get("limit"), DEFAULT_LINES)
    found = await _detected(request, services, grant, parameters)
    fields = [
        DetectedField(label, _type_of(each.values), len(each.values), sorted(each.parsers) or None)
        for label, each in sorted(found.items())
    ]
    return DetectedFields(fields[:limit], limit)


@answering(enveloped=False)
async def detected_field_values(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Any:
    """Return the values that the latest lines of a query have of a detected field."""
    limit = limit_of(parameters.get("limit"), MAX_VALUES)
    found = await _detected(request, services, grant, parameters)
    field = found.get(request.path_params["label"])
    return DetectedValues(sorted(field.values)[:limit] if field else [], limit)


async def _detected(request: Request, services: Services, grant: Grant, parameters: Parameters) -> Mapping[str, _Found]:
    """Return what the latest lines of a query have beside the labels of streams, by label."""
    tree = query_of(parameters)
    if not isinstance(tree, LogQuery):
        raise BadRequest("fields are those of lines: query is a selector and stages, not a query of numbers")
    start_ns, end_ns = range_of(parameters)
    lines = limit_of(parameters.get("line_limit"), DEFAULT_LINES)

    def work(interrupt: Interrupt) -> Mapping[str, _Found]:
        asker = Asker(services, grant, interrupt)
        selection, matchers = asker.select(tree.matchers, header_of(request))
        whole = LogQuery(matchers, tree.stages)
        program = compiled.lines(selection.datasets, whole, selection.fields, limit=lines, is_forward=False)
        found: dict[str, _Found] = {}
        for label, value, parser in _values(
            selection, whole, records_of(asker.rows(program, start_ns, end_ns, limit=lines))
        ):
            each = found.setdefault(label, _Found(set(), set()))
            each.values.add(value)
            each.parsers |= {parser} if parser else set()
        return found

    return await execution.run(request, services, grant, work)


def _values(
    selection: Selection, tree: LogQuery, records: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """Yield what lines have beside the labels of streams: label, value, and the parser that reads it, if any."""
    own = {DATASET, *selection.fields.stream_labels(compiled.named_labels(tree))}
    for record in records:
        labels = stream_of(selection, record)
        yield from ((label, value, "") for label, value in labels.items() if label not in own)
        line = text_of(record.get(selection.fields.line)) if selection.fields.line else ""
        for parser in _PARSERS:
            _, parsed = processed(line, {}, (parser,))
            if ERROR not in parsed:
                yield from ((label, value, parser.kind) for label, value in parsed.items() if label not in labels)


def _type_of(values: Iterable[str]) -> str:
    """Return the type of values, as Loki names types: that of all of them, else string."""
    for name, is_one in _TYPES.items():
        if all(map(is_one, values)):
            return name
    return "string"


_TYPES: Mapping[str, Any] = {
    "int": _WHOLE.fullmatch,
    "float": _REAL.fullmatch,
    "boolean": ("true", "false").__contains__,
    "duration": lambda text: duration_ns(text) is not None,
    "bytes": _SIZE.fullmatch,
}


LIMIT = ParameterDoc("limit", "Fields, or values.", int)
LINES = ParameterDoc("line_limit", f"Lines to look into, {DEFAULT_LINES} where it is not given.", int)
OF_LINES = (LOGQL, START, END, LIMIT, LINES)

ROUTES = (
    *query_routes("index/stats", index_stats, IndexStatistics, (SELECTOR, START, END)),
    *query_routes("detected_labels", detected_labels, DetectedLabels, (ANY_SELECTOR, START, END)),
    *query_routes("detected_fields", detected_fields, DetectedFields, OF_LINES),
    *query_routes("detected_field/{label}/values", detected_field_values, DetectedValues, OF_LINES),
)
