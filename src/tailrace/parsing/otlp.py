"""OTLP requests parsed into events: one a span, a log record, or a data point of a metric, with its resource and scope.

Both encodings of the OpenTelemetry protocol 1.x over HTTP are read: protobuf and JSON, in which ids are hexadecimal
and 64-bit integers may be strings. Nothing that a request holds is left out.
"""

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from google.protobuf.message import DecodeError
from msgspec import Raw, Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing.array import ArrayFields, parse_array
from tailrace.parsing.limits import Limits
from tailrace.parsing.prefilter import has_more_than

Signal = Literal["traces", "logs", "metrics"]
Event = dict[str, Any]

_REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_RESPONSES: dict[str, tuple[Any, str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")  # of four severity numbers each, from 1
_TEMPORALITIES = ("unspecified", "delta", "cumulative")
_NS_PER_MS = 1_000_000
_MESSAGE_BYTES = 10  # that a message takes at least, on the average of a large request that says something
_FREE_MESSAGES = 10_000  # of a request that are not counted
_FIELDS = ArrayFields(times=("timestamp",))


def parse_otlp(
    body: bytes,
    *,
    signal: Signal,
    protobuf: bool,
    service_field: str,
    limits: Limits,
    max_event_bytes: int,
    received_ns: int,
) -> tuple[Signal, ParsedBatch]:
    """Parse a decoded OTLP request into events, and tell what it holds; JSON says so itself, protobuf is of `signal`.

    `service_field` is the field that gets the resource's `service.name`. An event larger than `max_event_bytes`, as
    JSON, is a rejection.

    Raise BadRequest for a body that is no such request, TooLarge (`max_events`).
    """
    _check_density(body, protobuf=protobuf)
    if protobuf:
        request: Any = _REQUESTS[signal]()
        try:
            request.ParseFromString(body)
        except DecodeError as error:
            raise BadRequest(f"the body is no OTLP request of {signal} in protobuf: {error}") from None
        reading = _Reading(_protobuf_value, bytes.hex, _each, service_field)
    else:
        try:
            request = _JSON.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"the body is no OTLP request in JSON: {error}") from None
        signal = _signal_of(request)
        reading = _Reading(_json_value, str.lower, _decoded, service_field)
    _check_groups(request, signal, limits)
    lines: list[bytes] = []
    size = 0
    try:
        for event in _WALKS[signal](request, reading):
            lines.append(_ENCODER.encode(event))
            size += len(lines[-1]) + 1
            if len(lines) > limits.max_events:
                raise TooLarge(f"the request holds more than max_events = {limits.max_events} events")
            # A resource and a scope are written once in a request, and stand in each of their events.
            if size >= limits.max_body_bytes:
                raise TooLarge(f"the events of the request have more than max_body_bytes = {limits.max_body_bytes}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no OTLP request in JSON: {error}") from None
    except RecursionError:
        raise BadRequest("a value in the OTLP request is nested too deep to be read") from None
    found = parse_array(
        b"[" + b",".join(lines) + b"]",
        fields=_FIELDS,
        limits=limits,
        max_event_bytes=max_event_bytes,
        received_ns=received_ns,
    )
    return signal, msgspec.structs.replace(found, processed_bytes=len(body))


def otlp_answer(signal: Signal, *, protobuf: bool, rejected: int, reason: str) -> bytes:
    """Return the body of the answer to a request that was taken, but for `rejected` of its events."""
    if not rejected:
        return b"" if protobuf else b"{}"
    response, counter = _RESPONSES[signal]
    if protobuf:
        message = response()
        setattr(message.partial_success, counter, rejected)
        message.partial_success.error_message = reason
        encoded: bytes = message.SerializeToString()
        return encoded
    first, *rest = counter.split("_")
    name = first + "".join(map(str.capitalize, rest))
    return _ENCODER.encode({"partialSuccess": {name: str(rejected), "errorMessage": reason}})


_ENCODER = msgspec.json.Encoder()


# The JSON encoding, in the shape and with the names of the protobuf messages.


class _Message(Struct, rename="camel", gc=False, frozen=True):
    pass


class _Value(_Message, frozen=True):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: "_Values | None" = None
    kvlist_value: "_Members | None" = None
    bytes_value: str | None = None  # base64


class _Values(_Message, frozen=True):
    values: tuple[_Value, ...] = ()


class _Member(_Message, frozen=True):
    key: str = ""
    value: _Value | None = None


class _Members(_Message, frozen=True):
    values: tuple[_Member, ...] = ()


class _Resource(_Message, frozen=True):
    attributes: tuple[_Member, ...] = ()


class _Scope(_Message, frozen=True):
    name: str = ""
    version: str = ""
    attributes: tuple[_Member, ...] = ()


class _SpanEvent(_Message, frozen=True):
    time_unix_nano: int = 0
    name: str = ""
    attributes: tuple[_Member, ...] = ()


class _Link(_Message, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    attributes: tuple[_Member, ...] = ()


class _Status(_Message, frozen=True):
    message: str = ""
    code: int = 0


class _Span(_Message, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    parent_span_id: str = ""
    flags: int = 0
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: tuple[_Member, ...] = ()
    dropped_attributes_count: int = 0
    events: tuple[_SpanEvent, ...] = ()
    dropped_events_count: int = 0
    links: tuple[_Link, ...] = ()
    dropped_links_count: int = 0
    status: _Status = _Status()


class _LogRecord(_Message, frozen=True):
    time_unix_nano: int = 0
    observed_time_unix_nano: int = 0
    severity_number: int = 0
    severity_text: str = ""
    body: _Value | None = None
    attributes: tuple[_Member, ...] = ()
    dropped_attributes_count: int = 0
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class _Exemplar(_Message, frozen=True):
    filtered_attributes: tuple[_Member, ...] = ()
    time_unix_nano: int = 0
    as_double: float | None = None
    as_int: int | None = None
    span_id: str = ""
    trace_id: str = ""


class _Buckets(_Message, frozen=True):
    offset: int = 0
    bucket_counts: tuple[int, ...] = ()


class _Quantile(_Message, frozen=True):
    quantile: float = 0.0
    value: float = 0.0


class _Point(_Message, frozen=True):
    """A data point of any kind of metric."""

    attributes: tuple[_Member, ...] = ()
    start_time_unix_nano: int = 0
    time_unix_nano: int = 0
    as_double: float | None = None
    as_int: int | None = None
    count: int = 0
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bucket_counts: tuple[int, ...] = ()
    explicit_bounds: tuple[float, ...] = ()
    scale: int = 0
    zero_count: int = 0
    zero_threshold: float = 0.0
    positive: _Buckets = _Buckets()
    negative: _Buckets = _Buckets()
    quantile_values: tuple[_Quantile, ...] = ()
    exemplars: tuple[_Exemplar, ...] = ()
    flags: int = 0


class _Data(_Message, frozen=True):
    data_points: tuple[Raw, ...] = ()  # of _Point: decoded one at a time, for they take many times their bytes
    aggregation_temporality: int = 0
    is_monotonic: bool = False


class _Metric(_Message, frozen=True):
    name: str = ""
    description: str = ""
    unit: str = ""
    gauge: _Data | None = None
    sum: _Data | None = None
    histogram: _Data | None = None
    exponential_histogram: _Data | None = None
    summary: _Data | None = None
    metadata: tuple[_Member, ...] = ()


class _ScopeSpans(_Message, frozen=True):
    scope: _Scope = _Scope()
    spans: tuple[Raw, ...] = ()  # of _Span
    schema_url: str = ""


class _ScopeLogs(_Message, frozen=True):
    scope: _Scope = _Scope()
    log_records: tuple[Raw, ...] = ()  # of _LogRecord
    schema_url: str = ""


class _ScopeMetrics(_Message, frozen=True):
    scope: _Scope = _Scope()
    metrics: tuple[_Metric, ...] = ()
    schema_url: str = ""


class _ResourceSpans(_Message, frozen=True):
    resource: _Resource = _Resource()
    scope_spans: tuple[_ScopeSpans, ...] = ()
    schema_url: str = ""


class _ResourceLogs(_Message, frozen=True):
    resource: _Resource = _Resource()
    scope_logs: tuple[_ScopeLogs, ...] = ()
    schema_url: str = ""


class _ResourceMetrics(_Message, frozen=True):
    resource: _Resource = _Resource()
    scope_metrics: tuple[_ScopeMetrics, ...] = ()
    schema_url: str = ""


class _Request(_Message, frozen=True):
    resource_spans: tuple[_ResourceSpans, ...] | None = None
    resource_logs: tuple[_ResourceLogs, ...] | None = None
    resource_metrics: tuple[_ResourceMetrics, ...] | None = None


_JSON = msgspec.json.Decoder(_Request, strict=False)  # 64-bit integers may be strings
_SPAN = msgspec.json.Decoder(_Span, strict=False)
_LOG_RECORD = msgspec.json.Decoder(_LogRecord, strict=False)
_POINT = msgspec.json.Decoder(_Point, strict=False)


def _decoded(items: Sequence[Raw], decoder: msgspec.json.Decoder[Any]) -> Iterator[Any]:
    return map(decoder.decode, items)


def _each(items: Sequence[Any], decoder: msgspec.json.Decoder[Any]) -> Iterator[Any]:
    return iter(items)


def _check_density(body: bytes, *, protobuf: bool) -> None:
    """Raise TooLarge for a body of almost nothing but empty messages, each of which takes many times its bytes."""
    most = _FREE_MESSAGES + len(body) // _MESSAGE_BYTES
    if protobuf:
        # A field with a length that is zero: a tag of the wire type 2, and the length. Other data may look like it.
        codes = np.frombuffer(body, dtype=np.uint8)
        many = int(np.count_nonzero((codes[1:] == 0) & (codes[:-1] & 7 == 2))) > most
    else:
        many = has_more_than(body, most, b"{")
    if many:
        raise TooLarge(f"of the {len(body)} bytes of the request too many are those of empty messages")


def _signal_of(request: _Request) -> Signal:
    found: list[Signal] = []
    if request.resource_spans is not None:
        found.append("traces")
    if request.resource_logs is not None:
        found.append("logs")
    if request.resource_metrics is not None:
        found.append("metrics")
    if len(found) != 1:
        raise BadRequest("an OTLP request in JSON has one of resourceSpans, resourceLogs and resourceMetrics")
    return found[0]


# Values.


class _Reading(Struct, frozen=True):
    """How one encoding is read."""

    value: Callable[[Any], Any]
    id: Callable[[Any], str]
    items: Callable[[Any, msgspec.json.Decoder[Any]], Iterator[Any]]  # spans, log records or data points
    service_field: str

    def attributes(self, members: Sequence[Any]) -> Event:
        return {member.key: self.value(member.value) for member in members}


def _protobuf_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case "array_value":
            return [_protobuf_value(one) for one in value.array_value.values]
        case "kvlist_value":
            return {member.key: _protobuf_value(member.value) for member in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value":
            return _number(value.double_value)
        case None:
            return None
    return getattr(value, kind)


def _json_value(value: _Value | None) -> Any:
    if value is None:
        return None
    if value.array_value is not None:
        return [_json_value(one) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return {member.key: _json_value(member.value) for member in value.kvlist_value.values}
    if value.double_value is not None:
        return _number(value.double_value)
    for one in (value.string_value, value.bool_value, value.int_value):
        if one is not None:
            return one
    return value.bytes_value


def _number(value: float) -> float | str:
    """Return a number, or its name where JSON has none for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _named(names: Sequence[str], number: int) -> str | int:
    return names[number] if 0 <= number < len(names) else number


def _without_empty(event: Event) -> Event:
    return {name: value for name, value in event.items() if value not in (None, "", [], {})}


# Walking through a request.

_GROUPS = {
    "traces": ("resource_spans", "scope_spans"),
    "logs": ("resource_logs", "scope_logs"),
    "metrics": ("resource_metrics", "scope_metrics"),
}


def _check_groups(request: Any, signal: Signal, limits: Limits) -> None:
    """Raise TooLarge for more resources and scopes than there may be events: empty ones cost time too."""
    resources, scopes = _GROUPS[signal]
    groups = getattr(request, resources)
    count = len(groups)
    if count <= 2 * limits.max_events:
        count += sum(len(getattr(group, scopes)) for group in groups)
    if count > 2 * limits.max_events:
        raise TooLarge(
            f"the request holds {count} resources and scopes; with max_events = {limits.max_events} at most "
            f"{2 * limits.max_events} are taken"
        )


def _spans(request: Any, reading: _Reading) -> Iterator[Event]:
    for resource_spans in request.resource_spans:
        origin = _origin(resource_spans, reading)
        for scope_spans in resource_spans.scope_spans:
            around = {**origin, **_scope(scope_spans, reading)}
            for span in reading.items(scope_spans.spans, _SPAN):
                yield {**_span(span, reading), **around}


def _span(span: Any, reading: _Reading) -> Event:
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    return _without_empty(
        {
            "timestamp": start_ns or None,
            "traceId": reading.id(span.trace_id),
            "spanId": reading.id(span.span_id),
            "parentSpanId": reading.id(span.parent_span_id),
            "traceState": span.trace_state,
            "flags": span.flags or None,
            "name": span.name,
            "kind": _named(_KINDS, span.kind),
            "duration": (end_ns - start_ns) / _NS_PER_MS if end_ns else None,  # ms
            "endTimeUnixNano": end_ns or None,
            "status": _without_empty({"code": _named(_STATUSES, span.status.code), "message": span.status.message}),
            "attributes": reading.attributes(span.attributes),
            "events": [
                _without_empty(
                    {
                        "timeUnixNano": event.time_unix_nano,
                        "name": event.name,
                        "attributes": reading.attributes(event.attributes),
                    }
                )
                for event in span.events
            ],
            "links": [
                _without_empty(
                    {
                        "traceId": reading.id(link.trace_id),
                        "spanId": reading.id(link.span_id),
                        "traceState": link.trace_state,
                        "attributes": reading.attributes(link.attributes),
                    }
                )
                for link in span.links
            ],
            "droppedAttributesCount": span.dropped_attributes_count or None,
            "droppedEventsCount": span.dropped_events_count or None,
            "droppedLinksCount": span.dropped_links_count or None,
        }
    )


def _log_records(request: Any, reading: _Reading) -> Iterator[Event]:
    for resource_logs in request.resource_logs:
        origin = _origin(resource_logs, reading)
        for scope_logs in resource_logs.scope_logs:
            around = {**origin, **_scope(scope_logs, reading)}
            for record in reading.items(scope_logs.log_records, _LOG_RECORD):
                yield {**_log_record(record, reading), **around}


def _log_record(record: Any, reading: _Reading) -> Event:
    number = record.severity_number
    body = reading.value(record.body)
    return _without_empty(
        {
            "timestamp": record.time_unix_nano or record.observed_time_unix_nano or None,
            "observedTimeUnixNano": record.observed_time_unix_nano or None,
            "level": record.severity_text or (_LEVELS[(number - 1) // 4] if 1 <= number <= 24 else ""),
            "severityNumber": number or None,
            "eventName": record.event_name,
            "message" if isinstance(body, str) else "body": body,
            "attributes": reading.attributes(record.attributes),
            "droppedAttributesCount": record.dropped_attributes_count or None,
            "flags": record.flags or None,
            "traceId": reading.id(record.trace_id),
            "spanId": reading.id(record.span_id),
        }
    )


_METRICS = (
    ("gauge", "gauge"),
    ("sum", "sum"),
    ("histogram", "histogram"),
    ("exponential_histogram", "exponentialHistogram"),
    ("summary", "summary"),
)


def _points(request: Any, reading: _Reading) -> Iterator[Event]:
    for resource_metrics in request.resource_metrics:
        origin = _origin(resource_metrics, reading)
        for scope_metrics in resource_metrics.scope_metrics:
            around = {**origin, **_scope(scope_metrics, reading)}
            for metric in scope_metrics.metrics:
                for attribute, kind in _METRICS:
                    if _has(metric, attribute):
                        data = getattr(metric, attribute)
                        about = _metric(metric, kind, data, reading)
                        for point in reading.items(data.data_points, _POINT):
                            yield {**_POINTS[kind](point, reading), **about, **around}


def _has(message: Any, field: str) -> bool:
    """Whether a field that may be absent is there."""
    if isinstance(message, _Message):
        return getattr(message, field) is not None
    there: bool = message.HasField(field)
    return there


def _optional(message: Any, field: str) -> Any:
    if not _has(message, field):
        return None
    value = getattr(message, field)
    return _number(value) if isinstance(value, float) else value


def _metric(metric: Any, kind: str, data: Any, reading: _Reading) -> Event:
    about = {
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "type": kind,
        "metadata": reading.attributes(metric.metadata),
    }
    if kind in ("sum", "histogram", "exponentialHistogram"):
        about["temporality"] = _named(_TEMPORALITIES, data.aggregation_temporality)
    if kind == "sum":
        about["isMonotonic"] = data.is_monotonic
    return _without_empty(about)


def _point(point: Any, reading: _Reading) -> Event:
    return {
        "timestamp": point.time_unix_nano or None,
        "startTimeUnixNano": point.start_time_unix_nano or None,
        "attributes": reading.attributes(point.attributes),
        "flags": point.flags or None,
    }


def _number_point(point: Any, reading: _Reading) -> Event:
    value = _optional(point, "as_int")
    return _without_empty(
        {
            **_point(point, reading),
            "value": _optional(point, "as_double") if value is None else value,
            "exemplars": _exemplars(point, reading),
        }
    )


def _distribution(point: Any) -> Event:
    return {"count": point.count, **{name: _optional(point, name) for name in ("sum", "min", "max")}}


def _histogram_point(point: Any, reading: _Reading) -> Event:
    return _without_empty(
        {
            **_point(point, reading),
            **_distribution(point),
            "bucketCounts": list(point.bucket_counts),
            "explicitBounds": [_number(bound) for bound in point.explicit_bounds],
            "exemplars": _exemplars(point, reading),
        }
    )


def _exponential_point(point: Any, reading: _Reading) -> Event:
    return _without_empty(
        {
            **_point(point, reading),
            **_distribution(point),
            "scale": point.scale,
            "zeroCount": point.zero_count,
            "zeroThreshold": _number(point.zero_threshold),
            "positive": {"offset": point.positive.offset, "bucketCounts": list(point.positive.bucket_counts)},
            "negative": {"offset": point.negative.offset, "bucketCounts": list(point.negative.bucket_counts)},
            "exemplars": _exemplars(point, reading),
        }
    )


def _summary_point(point: Any, reading: _Reading) -> Event:
    return _without_empty(
        {
            **_point(point, reading),
            "count": point.count,
            "sum": None if point.sum is None else _number(point.sum),
            "quantiles": [
                {"quantile": _number(one.quantile), "value": _number(one.value)} for one in point.quantile_values
            ],
        }
    )


def _exemplars(point: Any, reading: _Reading) -> list[Event]:
    found = []
    for exemplar in point.exemplars:
        value = _optional(exemplar, "as_int")
        one = {
            "timeUnixNano": exemplar.time_unix_nano or None,
            "value": _optional(exemplar, "as_double") if value is None else value,
            "attributes": reading.attributes(exemplar.filtered_attributes),
            "traceId": reading.id(exemplar.trace_id),
            "spanId": reading.id(exemplar.span_id),
        }
        found.append(_without_empty(one))
    return found


_POINTS: dict[str, Callable[[Any, _Reading], Event]] = {
    "gauge": _number_point,
    "sum": _number_point,
    "histogram": _histogram_point,
    "exponentialHistogram": _exponential_point,
    "summary": _summary_point,
}


def _origin(message: Any, reading: _Reading) -> Event:
    attributes = reading.attributes(message.resource.attributes)
    service = attributes.get("service.name")
    return _without_empty(
        {
            "resource": attributes,
            "resourceSchemaUrl": message.schema_url,
            reading.service_field: service if isinstance(service, str) else None,
        }
    )


def _scope(message: Any, reading: _Reading) -> Event:
    scope = message.scope
    found = {"name": scope.name, "version": scope.version, "attributes": reading.attributes(scope.attributes)}
    return _without_empty({"scope": _without_empty(found), "schemaUrl": message.schema_url})


_WALKS: dict[str, Callable[[Any, _Reading], Iterator[Event]]] = {
    "traces": _spans,
    "logs": _log_records,
    "metrics": _points,
}
