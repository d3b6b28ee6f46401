"""Spans, log records and data points of an OTLP request as events, each with its resource and scope."""

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from tailrace.parsing.otlp_messages import DATA_POINT, LOG_RECORD, SPAN, AnyValue, OtlpMessage

Signal = Literal["traces", "logs", "metrics"]
Event = dict[str, Any]

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")  # of four severity numbers each, from 1
_TEMPORALITIES = ("unspecified", "delta", "cumulative")
_NS_PER_MS = 1_000_000


class OtlpEncoding(Struct, frozen=True):
    """How the messages of one encoding are read."""

    value: Callable[[Any], Any]
    id: Callable[[Any], str]
    items: Callable[[Any, msgspec.json.Decoder[Any]], Iterator[Any]]  # spans, log records or data points
    service_field: str

    def attributes(self, members: Sequence[Any]) -> Event:
        return {member.key: self.value(member.value) for member in members}


def protobuf_encoding(service_field: str) -> OtlpEncoding:
    """Return how protobuf is read; `service_field` is the field that gets the resource's `service.name`."""
    return OtlpEncoding(protobuf_value, bytes.hex, _iterate, service_field)


def json_encoding(service_field: str) -> OtlpEncoding:
    """Return how JSON is read; `service_field` is the field that gets the resource's `service.name`."""
    return OtlpEncoding(json_value, str.lower, _decode_each, service_field)


def _iterate(items: Sequence[Any], decoder: msgspec.json.Decoder[Any]) -> Iterator[Any]:
    return iter(items)


def _decode_each(items: Sequence[Raw], decoder: msgspec.json.Decoder[Any]) -> Iterator[Any]:
    return map(decoder.decode, items)


# Values.


def protobuf_value(value: Any) -> Any:
    """Return what an AnyValue in protobuf is: bytes are base64, and numbers that JSON has none for their names."""
    kind = value.WhichOneof("value")
    match kind:
        case "array_value":
            return [protobuf_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {member.key: protobuf_value(member.value) for member in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value":
            return json_number(value.double_value)
        case None:
            return None
    return getattr(value, kind)


def json_value(value: AnyValue | None) -> Any:
    """Return what an AnyValue in JSON is, as `protobuf_value` does."""
    if value is None:
        return None
    if value.array_value is not None:
        return [json_value(item) for item in value.array_value.values]
    if value.kvlist_value is not None:
        return {member.key: json_value(member.value) for member in value.kvlist_value.values}
    if value.double_value is not None:
        return json_number(value.double_value)
    for scalar in (value.string_value, value.bool_value, value.int_value):
        if scalar is not None:
            return scalar
    return value.bytes_value


def json_number(value: float) -> float | str:
    """Return a number, or its name where JSON has none for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _name_or_number(names: Sequence[str], number: int) -> str | int:
    return names[number] if 0 <= number < len(names) else number


def _without_empty(event: Event) -> Event:
    return {name: value for name, value in event.items() if value not in (None, "", [], {})}


# Events.


def events_of(request: Any, signal: Signal, encoding: OtlpEncoding) -> Iterator[Event]:
    """Yield the events of a request of a signal."""
    return _EVENTS[signal](request, encoding)


def _spans(request: Any, encoding: OtlpEncoding) -> Iterator[Event]:
    for resource_spans in request.resource_spans:
        resource = _resource(resource_spans, encoding)
        for scope_spans in resource_spans.scope_spans:
            context = {**resource, **_scope(scope_spans, encoding)}
            for span in encoding.items(scope_spans.spans, SPAN):
                yield {**_span(span, encoding), **context}


def _span(span: Any, encoding: OtlpEncoding) -> Event:
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    return _without_empty(
        {
            "timestamp": start_ns or None,
            "traceId": encoding.id(span.trace_id),
            "spanId": encoding.id(span.span_id),
            "parentSpanId": encoding.id(span.parent_span_id),
            "traceState": span.trace_state,
            "flags": span.flags or None,
            "name": span.name,
            "kind": _name_or_number(_KINDS, span.kind),
            "duration": (end_ns - start_ns) / _NS_PER_MS if end_ns else None,  # ms
            "endTimeUnixNano": end_ns or None,
            "status": _without_empty(
                {"code": _name_or_number(_STATUSES, span.status.code), "message": span.status.message}
            ),
            "attributes": encoding.attributes(span.attributes),
            "events": [
                _without_empty(
                    {
                        "timeUnixNano": event.time_unix_nano,
                        "name": event.name,
                        "attributes": encoding.attributes(event.attributes),
                    }
                )
                for event in span.events
            ],
            "links": [
                _without_empty(
                    {
                        "traceId": encoding.id(link.trace_id),
                        "spanId": encoding.id(link.span_id),
                        "traceState": link.trace_state,
                        "attributes": encoding.attributes(link.attributes),
                    }
                )
                for link in span.links
            ],
            "droppedAttributesCount": span.dropped_attributes_count or None,
            "droppedEventsCount": span.dropped_events_count or None,
            "droppedLinksCount": span.dropped_links_count or None,
        }
    )


def _log_records(request: Any, encoding: OtlpEncoding) -> Iterator[Event]:
    for resource_logs in request.resource_logs:
        resource = _resource(resource_logs, encoding)
        for scope_logs in resource_logs.scope_logs:
            context = {**resource, **_scope(scope_logs, encoding)}
            for record in encoding.items(scope_logs.log_records, LOG_RECORD):
                yield {**_log_record(record, encoding), **context}


def _log_record(record: Any, encoding: OtlpEncoding) -> Event:
    number = record.severity_number
    body = encoding.value(record.body)
    return _without_empty(
        {
            "timestamp": record.time_unix_nano or record.observed_time_unix_nano or None,
            "observedTimeUnixNano": record.observed_time_unix_nano or None,
            "level": record.severity_text or (_LEVELS[(number - 1) // 4] if 1 <= number <= 24 else ""),
            "severityNumber": number or None,
            "eventName": record.event_name,
            "message" if isinstance(body, str) else "body": body,
            "attributes": encoding.attributes(record.attributes),
            "droppedAttributesCount": record.dropped_attributes_count or None,
            "flags": record.flags or None,
            "traceId": encoding.id(record.trace_id),
            "spanId": encoding.id(record.span_id),
        }
    )


_METRIC_KINDS = (
    ("gauge", "gauge"),
    ("sum", "sum"),
    ("histogram", "histogram"),
    ("exponential_histogram", "exponentialHistogram"),
    ("summary", "summary"),
)


def _points(request: Any, encoding: OtlpEncoding) -> Iterator[Event]:
    for resource_metrics in request.resource_metrics:
        resource = _resource(resource_metrics, encoding)
        for scope_metrics in resource_metrics.scope_metrics:
            context = {**resource, **_scope(scope_metrics, encoding)}
            for metric in scope_metrics.metrics:
                for attribute, kind in _METRIC_KINDS:
                    if _has(metric, attribute):
                        data = getattr(metric, attribute)
                        description = _metric(metric, kind, data, encoding)
                        for point in encoding.items(data.data_points, DATA_POINT):
                            yield {**_POINTS[kind](point, encoding), **description, **context}


def _has(message: Any, field: str) -> bool:
    """Whether an optional field is set."""
    if isinstance(message, OtlpMessage):
        return getattr(message, field) is not None
    is_set: bool = message.HasField(field)
    return is_set


def _optional(message: Any, field: str) -> Any:
    if not _has(message, field):
        return None
    value = getattr(message, field)
    return json_number(value) if isinstance(value, float) else value


def _metric(metric: Any, kind: str, data: Any, encoding: OtlpEncoding) -> Event:
    about = {
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "type": kind,
        "metadata": encoding.attributes(metric.metadata),
    }
    if kind in ("sum", "histogram", "exponentialHistogram"):
        about["temporality"] = _name_or_number(_TEMPORALITIES, data.aggregation_temporality)
    if kind == "sum":
        about["isMonotonic"] = data.is_monotonic
    return _without_empty(about)


def _point(point: Any, encoding: OtlpEncoding) -> Event:
    return {
        "timestamp": point.time_unix_nano or None,
        "startTimeUnixNano": point.start_time_unix_nano or None,
        "attributes": encoding.attributes(point.attributes),
        "flags": point.flags or None,
    }


def _number_point(point: Any, encoding: OtlpEncoding) -> Event:
    value = _optional(point, "as_int")
    return _without_empty(
        {
            **_point(point, encoding),
            "value": _optional(point, "as_double") if value is None else value,
            "exemplars": _exemplars(point, encoding),
        }
    )


def _distribution(point: Any) -> Event:
    return {"count": point.count, **{name: _optional(point, name) for name in ("sum", "min", "max")}}


def _histogram_point(point: Any, encoding: OtlpEncoding) -> Event:
    return _without_empty(
        {
            **_point(point, encoding),
            **_distribution(point),
            "bucketCounts": list(point.bucket_counts),
            "explicitBounds": [json_number(bound) for bound in point.explicit_bounds],
            "exemplars": _exemplars(point, encoding),
        }
    )


def _exponential_point(point: Any, encoding: OtlpEncoding) -> Event:
    return _without_empty(
        {
            **_point(point, encoding),
            **_distribution(point),
            "scale": point.scale,
            "zeroCount": point.zero_count,
            "zeroThreshold": json_number(point.zero_threshold),
            "positive": {"offset": point.positive.offset, "bucketCounts": list(point.positive.bucket_counts)},
            "negative": {"offset": point.negative.offset, "bucketCounts": list(point.negative.bucket_counts)},
            "exemplars": _exemplars(point, encoding),
        }
    )


def _summary_point(point: Any, encoding: OtlpEncoding) -> Event:
    return _without_empty(
        {
            **_point(point, encoding),
            "count": point.count,
            "sum": None if point.sum is None else json_number(point.sum),
            "quantiles": [
                {"quantile": json_number(entry.quantile), "value": json_number(entry.value)}
                for entry in point.quantile_values
            ],
        }
    )


def _exemplars(point: Any, encoding: OtlpEncoding) -> list[Event]:
    exemplars = []
    for exemplar in point.exemplars:
        value = _optional(exemplar, "as_int")
        event = {
            "timeUnixNano": exemplar.time_unix_nano or None,
            "value": _optional(exemplar, "as_double") if value is None else value,
            "attributes": encoding.attributes(exemplar.filtered_attributes),
            "traceId": encoding.id(exemplar.trace_id),
            "spanId": encoding.id(exemplar.span_id),
        }
        exemplars.append(_without_empty(event))
    return exemplars


_POINTS: dict[str, Callable[[Any, OtlpEncoding], Event]] = {
    "gauge": _number_point,
    "sum": _number_point,
    "histogram": _histogram_point,
    "exponentialHistogram": _exponential_point,
    "summary": _summary_point,
}


def _resource(message: Any, encoding: OtlpEncoding) -> Event:
    attributes = encoding.attributes(message.resource.attributes)
    service = attributes.get("service.name")
    return _without_empty(
        {
            "resource": attributes,
            "resourceSchemaUrl": message.schema_url,
            encoding.service_field: service if isinstance(service, str) else None,
        }
    )


def _scope(message: Any, encoding: OtlpEncoding) -> Event:
    scope = message.scope
    fields = {"name": scope.name, "version": scope.version, "attributes": encoding.attributes(scope.attributes)}
    return _without_empty({"scope": _without_empty(fields), "schemaUrl": message.schema_url})


_EVENTS: dict[str, Callable[[Any, OtlpEncoding], Iterator[Event]]] = {
    "traces": _spans,
    "logs": _log_records,
    "metrics": _points,
}
