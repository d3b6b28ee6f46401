"""OTLP requests in protobuf in the shape of those in JSON; one span, log record or data point is decoded at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tailrace.events import TooLarge
from tailrace.parsing import otlp_messages
from tailrace.parsing.limits import Limits
from tailrace.parsing.otlp_events import Signal
from tailrace.parsing.otlp_wire import LEVELS, PROTOBUF
from tailrace.parsing.protobuf import read_message

# Groups and scopes whose messages are iterators: what reads a request does so once, from its begin to its end.
_GROUPS: dict[Signal, Any] = {
    "traces": otlp_messages.ResourceSpans,
    "logs": otlp_messages.ResourceLogs,
    "metrics": otlp_messages.ResourceMetrics,
}
_SCOPES: dict[Signal, Any] = {
    "traces": otlp_messages.ScopeSpans,
    "logs": otlp_messages.ScopeLogs,
    "metrics": otlp_messages.ScopeMetrics,
}
_DATA_POINTS: Any = otlp_messages.DataPoints
_METRIC: Any = otlp_messages.Metric
_REQUEST: Any = otlp_messages.ExportRequest
_POINTS: dict[str, tuple[str, Any]] = {
    "gauge": ("Gauge", metrics.NumberDataPoint),
    "sum": ("Sum", metrics.NumberDataPoint),
    "histogram": ("Histogram", metrics.HistogramDataPoint),
    "exponential_histogram": ("ExponentialHistogram", metrics.ExponentialHistogramDataPoint),
    "summary": ("Summary", metrics.SummaryDataPoint),
}  # by the field of a metric: the message that holds the points, and the class of one


def read_protobuf_request(body: bytes, signal: Signal, limits: Limits) -> Any:
    """Return a request whose messages are decoded as they are read.

    Raise, then too, DecodeError for what is broken, TooManyFields, and TooLarge.
    """
    levels = LEVELS[signal]
    count = _GroupCount(limits)

    def read_group(raw: bytes) -> Any:
        group = PROTOBUF.read[levels.group](raw)
        scopes = map(read_scope, count.each(getattr(group, levels.scopes)))
        resource = read_message(Resource, group.resource)
        return _GROUPS[signal](resource=resource, schema_url=group.schema_url, **{levels.scopes: scopes})

    def read_scope(raw: bytes) -> Any:
        sent = PROTOBUF.read[levels.scope](raw)
        items = map(_ITEMS[signal], getattr(sent, levels.items))
        scope = read_message(InstrumentationScope, sent.scope)
        return _SCOPES[signal](scope=scope, schema_url=sent.schema_url, **{levels.items: items})

    request = PROTOBUF.read[levels.request](body)
    return _REQUEST(**{levels.groups: map(read_group, count.each(getattr(request, levels.groups)))})


class _GroupCount:
    """Counts resources and scopes: empty ones cost time too."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0

    def each(self, raws: Sequence[bytes]) -> Iterable[bytes]:
        """Return messages that are counted; raise TooLarge for more than there may be events, twice."""
        self._count += len(raws)
        check_group_count(self._count, self._limits)
        return raws


def check_group_count(count: int, limits: Limits) -> None:
    """Raise TooLarge for more resources and scopes than there may be events, twice."""
    if count > 2 * limits.max_events:
        raise TooLarge(
            f"the request holds {count} resources and scopes; with max_events = {limits.max_events} at most "
            f"{2 * limits.max_events} are taken"
        )


def _read_metric(raw: bytes) -> Any:
    metric = PROTOBUF.read["Metric"](raw)
    metadata = tuple(map(partial(read_message, KeyValue), metric.metadata))
    data = {field: _read_points(field, getattr(metric, field)) for field in _POINTS if metric.HasField(field)}
    return _METRIC(name=metric.name, description=metric.description, unit=metric.unit, metadata=metadata, **data)


def _read_points(field: str, raw: bytes) -> Any:
    message, point = _POINTS[field]
    data = PROTOBUF.read[message](raw)
    points: Iterator[Any] = map(partial(read_message, point), data.data_points)
    about = {
        known: getattr(data, known) for known in ("aggregation_temporality", "is_monotonic") if hasattr(data, known)
    }
    return _DATA_POINTS(data_points=points, **about)


_ITEMS: dict[Signal, Callable[[bytes], Any]] = {
    "traces": partial(read_message, Span),
    "logs": partial(read_message, LogRecord),
    "metrics": _read_metric,
}
