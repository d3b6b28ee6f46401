"""Spans, log records and data points as events with Axiom's names: a line of JSON each, without its first brace."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tailrace.protocols.doors.otlp_fields import (
    OtlpFields,
    enumerated,
    enumeration,
    number_text,
    optional_number,
    optional_text,
    text_of,
    texts,
    time_fields,
)

_KINDS = enumeration(("unspecified", "internal", "server", "client", "producer", "consumer"), "SPAN_KIND_")
_TEMPORALITIES = enumeration(("unspecified", "delta", "cumulative"), "AGGREGATION_TEMPORALITY_")


# Spans.


def span_line(fields: OtlpFields, raw: bytes, context: str) -> str:
    """Return a span as an event, with what is common to its scope; raise one of UNREADABLE."""
    wire = fields.wire
    span = wire.read["Span"](raw)
    start, end = span.start_time_unix_nano or 0, span.end_time_unix_nano or 0
    trace_id, span_id, parent = wire.id(span.trace_id), wire.id(span.span_id), wire.id(span.parent_span_id)
    line = time_fields("start_time_unix_nano", start)
    if trace_id:
        line += f',"trace_id":"{trace_id}"'
    if span_id:
        line += f',"span_id":"{span_id}"'
    if parent:
        line += f',"parent_span_id":"{parent}"'
    name, kind = texts[span.name or ""], enumerated(_KINDS, span.kind)
    line += f',"name":{name},"kind":{kind}{fields.statuses[wire.raw(span.status)]}{fields.attributes_of(span)}'
    if end:
        line += f',"duration":{end - start}' if start else f',"end_time_unix_nano":{end}'
    if span.events:
        line += f',"events":[{",".join([_span_event(fields, each) for each in wire.raws(span.events)])}]'
    if span.links:
        line += f',"links":[{",".join([_link(fields, each) for each in wire.raws(span.links)])}]'
    return line + _rare_of_span(span) + context


def _rare_of_span(span: Any) -> str:
    state, flags = span.trace_state, span.flags
    dropped = span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count
    if not (state or flags or any(dropped)):
        return ""
    names = ("dropped_attributes_count", "dropped_events_count", "dropped_links_count")
    counts = "".join([optional_number(name, count) for name, count in zip(names, dropped, strict=True)])
    return optional_text("trace_state", state) + optional_number("flags", flags) + counts


def _span_event(fields: OtlpFields, raw: bytes) -> str:
    event = fields.wire.read["Event"](raw)
    return (
        f'{{"name":{texts[event.name or ""]}{optional_number("timestamp", event.time_unix_nano)}'
        f"{fields.optional_object('attributes', event.attributes)}"
        f"{optional_number('dropped_attributes_count', event.dropped_attributes_count)}}}"
    )


def _link(fields: OtlpFields, raw: bytes) -> str:
    link = fields.wire.read["Link"](raw)
    members = (
        f"{fields.ids(link, 'trace_id', 'span_id')}{optional_text('trace_state', link.trace_state)}"
        f"{fields.optional_object('attributes', link.attributes)}{optional_number('flags', link.flags)}"
        f"{optional_number('dropped_attributes_count', link.dropped_attributes_count)}"
    )
    return f"{{{members[1:]}}}"


# Log records.


def log_line(fields: OtlpFields, raw: bytes, context: str) -> str:
    """Return a log record as an event, with what is common to its scope; raise one of UNREADABLE."""
    wire = fields.wire
    record = wire.read["LogRecord"](raw)
    time_ns, observed_ns = record.time_unix_nano or 0, record.observed_time_unix_nano or 0
    body = wire.raw(record.body)
    line = time_fields("time_unix_nano", time_ns) if time_ns else time_fields("observed_time_unix_nano", observed_ns)
    if time_ns and observed_ns:
        line += f',"observed_time_unix_nano":{observed_ns}'
    if body:
        line += f',"body":{text_of(wire.value(body))}'
    return (
        f"{line}{optional_text('severity_text', record.severity_text)}{_severity(record.severity_number)}"
        f"{fields.ids(record, 'trace_id', 'span_id')}{fields.attributes_of(record)}"
        f"{optional_text('event_name', record.event_name)}{optional_number('flags', record.flags)}"
        f"{optional_number('dropped_attributes_count', record.dropped_attributes_count)}{context}"
    )


def _severity(number: int | str | None) -> str:
    return f',"severity_number":{number if isinstance(number, int) else text_of(number)}' if number else ""


# Data points.


class MetricKind(Struct, frozen=True):
    """A kind of metric: the messages that it is made of, and what makes the fields of a point."""

    name: str  # of the kind in an event
    data: str  # the message that holds the points
    point: str  # the message of a point
    fields: Callable[[OtlpFields, Any], str]


def metric_fields(fields: OtlpFields, metric: Any, kind: MetricKind, data: Any) -> str:
    """Return what is common to the points of a metric."""
    line = f',"metric":{text_of(metric.name or "")},"otel.metric.type":"{kind.name}"'
    line += optional_text("otel.metric.unit", metric.unit)
    line += optional_text("otel.metric.description", metric.description)
    if kind.data in ("Sum", "Histogram", "ExponentialHistogram"):
        line += f',"otel.metric.temporality":{enumerated(_TEMPORALITIES, data.aggregation_temporality)}'
    if kind.data == "Sum":
        line += f',"otel.metric.is_monotonic":{"true" if data.is_monotonic else "false"}'
    return line + fields.optional_object("otel.metric.metadata", metric.metadata)


def point_line(fields: OtlpFields, raw: bytes, kind: MetricKind, context: str) -> str:
    """Return a data point as an event, with what is common to its metric and scope; raise one of UNREADABLE."""
    point = fields.wire.read[kind.point](raw)
    return (
        f"{time_fields('time_unix_nano', point.time_unix_nano or 0)}"
        f"{optional_number('start_time_unix_nano', point.start_time_unix_nano)}"
        f"{kind.fields(fields, point)}{fields.attributes_of(point)}{optional_number('flags', point.flags)}{context}"
    )


def _optional(fields: OtlpFields, point: Any, *names: str) -> str:
    values = ((name, fields.wire.optional(point, name)) for name in names)
    return "".join([f',"{name}":{number_text(value)}' for name, value in values if value is not None])


def _value(fields: OtlpFields, point: Any) -> str:
    value = fields.wire.optional(point, "as_int")
    if value is None:
        value = fields.wire.optional(point, "as_double")
    return "" if value is None else f',"value":{number_text(value)}'


def _numbers(values: Any) -> str:
    return f"[{','.join(map(number_text, values or ()))}]"


def _number_point(fields: OtlpFields, point: Any) -> str:
    return _value(fields, point) + _exemplars(fields, point)


def _histogram_point(fields: OtlpFields, point: Any) -> str:
    buckets = ""
    if point.bucket_counts:
        buckets = (
            f',"bucket_counts":{_numbers(point.bucket_counts)},"explicit_bounds":{_numbers(point.explicit_bounds)}'
        )
    measured = _optional(fields, point, "sum", "min", "max")
    return f',"count":{point.count or 0}{measured}{buckets}{_exemplars(fields, point)}'


def _exponential_point(fields: OtlpFields, point: Any) -> str:
    measured = _optional(fields, point, "sum", "min", "max")
    zero = f',"zero_count":{point.zero_count or 0},"zero_threshold":{number_text(point.zero_threshold or 0.0)}'
    line = f',"count":{point.count or 0}{measured},"scale":{point.scale or 0}{zero}'
    for name in ("positive", "negative"):
        raw = fields.wire.raw(getattr(point, name))
        if raw:
            buckets = fields.wire.read["Buckets"](raw)
            line += f',"{name}.offset":{buckets.offset or 0},"{name}.bucket_counts":{_numbers(buckets.bucket_counts)}'
    return line + _exemplars(fields, point)


def _summary_point(fields: OtlpFields, point: Any) -> str:
    line = f',"count":{point.count or 0},"sum":{number_text(point.sum or 0.0)}'
    quantiles = map(fields.wire.read["ValueAtQuantile"], fields.wire.raws(point.quantile_values))
    items = [
        f'{{"quantile":{number_text(each.quantile or 0.0)},"value":{number_text(each.value or 0.0)}}}'
        for each in quantiles
    ]
    return f'{line},"quantiles":[{",".join(items)}]' if items else line


def _exemplars(fields: OtlpFields, point: Any) -> str:
    if not point.exemplars:
        return ""
    return f',"exemplars":[{",".join([_exemplar(fields, each) for each in fields.wire.raws(point.exemplars)])}]'


def _exemplar(fields: OtlpFields, raw: bytes) -> str:
    exemplar = fields.wire.read["Exemplar"](raw)
    members = (
        f"{optional_number('timestamp', exemplar.time_unix_nano)}{_value(fields, exemplar)}"
        f"{fields.ids(exemplar, 'trace_id', 'span_id')}"
        f"{fields.optional_object('attributes', exemplar.filtered_attributes)}"
    )
    return f"{{{members[1:]}}}"


METRIC_KINDS = {
    "gauge": MetricKind("gauge", "Gauge", "NumberDataPoint", _number_point),
    "sum": MetricKind("sum", "Sum", "NumberDataPoint", _number_point),
    "histogram": MetricKind("histogram", "Histogram", "HistogramDataPoint", _histogram_point),
    "exponential_histogram": MetricKind(
        "exponential_histogram", "ExponentialHistogram", "ExponentialHistogramDataPoint", _exponential_point
    ),
    "summary": MetricKind("summary", "Summary", "SummaryDataPoint", _summary_point),
}  # by the field of a metric
