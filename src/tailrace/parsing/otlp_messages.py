"""The messages of an OTLP request in JSON, in the shape and with the names of the protobuf messages."""

import msgspec
from msgspec import Raw, Struct


class OtlpMessage(Struct, rename="camel", gc=False, frozen=True):
    """A message, whose fields are in camel case."""


class AnyValue(OtlpMessage, frozen=True):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: "ArrayValue | None" = None
    kvlist_value: "KeyValueList | None" = None
    bytes_value: str | None = None  # base64


class ArrayValue(OtlpMessage, frozen=True):
    values: tuple[AnyValue, ...] = ()


class KeyValue(OtlpMessage, frozen=True):
    key: str = ""
    value: AnyValue | None = None


class KeyValueList(OtlpMessage, frozen=True):
    values: tuple[KeyValue, ...] = ()


class OtlpResource(OtlpMessage, frozen=True):
    attributes: tuple[KeyValue, ...] = ()


class InstrumentationScope(OtlpMessage, frozen=True):
    name: str = ""
    version: str = ""
    attributes: tuple[KeyValue, ...] = ()


class SpanEvent(OtlpMessage, frozen=True):
    time_unix_nano: int = 0
    name: str = ""
    attributes: tuple[KeyValue, ...] = ()


class SpanLink(OtlpMessage, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    attributes: tuple[KeyValue, ...] = ()


class SpanStatus(OtlpMessage, frozen=True):
    message: str = ""
    code: int = 0


class Span(OtlpMessage, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    parent_span_id: str = ""
    flags: int = 0
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: tuple[KeyValue, ...] = ()
    dropped_attributes_count: int = 0
    events: tuple[SpanEvent, ...] = ()
    dropped_events_count: int = 0
    links: tuple[SpanLink, ...] = ()
    dropped_links_count: int = 0
    status: SpanStatus = SpanStatus()


class LogRecord(OtlpMessage, frozen=True):
    time_unix_nano: int = 0
    observed_time_unix_nano: int = 0
    severity_number: int = 0
    severity_text: str = ""
    body: AnyValue | None = None
    attributes: tuple[KeyValue, ...] = ()
    dropped_attributes_count: int = 0
    flags: int = 0
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class Exemplar(OtlpMessage, frozen=True):
    filtered_attributes: tuple[KeyValue, ...] = ()
    time_unix_nano: int = 0
    as_double: float | None = None
    as_int: int | None = None
    span_id: str = ""
    trace_id: str = ""


class BucketCounts(OtlpMessage, frozen=True):
    offset: int = 0
    bucket_counts: tuple[int, ...] = ()


class ValueAtQuantile(OtlpMessage, frozen=True):
    quantile: float = 0.0
    value: float = 0.0


class DataPoint(OtlpMessage, frozen=True):
    """A data point of any kind of metric."""

    attributes: tuple[KeyValue, ...] = ()
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
    positive: BucketCounts = BucketCounts()
    negative: BucketCounts = BucketCounts()
    quantile_values: tuple[ValueAtQuantile, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    flags: int = 0


class DataPoints(OtlpMessage, frozen=True):
    data_points: tuple[Raw, ...] = ()  # of DataPoint: decoded one at a time, for they take many times their bytes
    aggregation_temporality: int = 0
    is_monotonic: bool = False


class Metric(OtlpMessage, frozen=True):
    name: str = ""
    description: str = ""
    unit: str = ""
    gauge: DataPoints | None = None
    sum: DataPoints | None = None
    histogram: DataPoints | None = None
    exponential_histogram: DataPoints | None = None
    summary: DataPoints | None = None
    metadata: tuple[KeyValue, ...] = ()


class ScopeSpans(OtlpMessage, frozen=True):
    scope: InstrumentationScope = InstrumentationScope()
    spans: tuple[Raw, ...] = ()  # of Span
    schema_url: str = ""


class ScopeLogs(OtlpMessage, frozen=True):
    scope: InstrumentationScope = InstrumentationScope()
    log_records: tuple[Raw, ...] = ()  # of LogRecord
    schema_url: str = ""


class ScopeMetrics(OtlpMessage, frozen=True):
    scope: InstrumentationScope = InstrumentationScope()
    metrics: tuple[Metric, ...] = ()
    schema_url: str = ""


class ResourceSpans(OtlpMessage, frozen=True):
    resource: OtlpResource = OtlpResource()
    scope_spans: tuple[ScopeSpans, ...] = ()
    schema_url: str = ""


class ResourceLogs(OtlpMessage, frozen=True):
    resource: OtlpResource = OtlpResource()
    scope_logs: tuple[ScopeLogs, ...] = ()
    schema_url: str = ""


class ResourceMetrics(OtlpMessage, frozen=True):
    resource: OtlpResource = OtlpResource()
    scope_metrics: tuple[ScopeMetrics, ...] = ()
    schema_url: str = ""


class ExportRequest(OtlpMessage, frozen=True):
    resource_spans: tuple[ResourceSpans, ...] | None = None
    resource_logs: tuple[ResourceLogs, ...] | None = None
    resource_metrics: tuple[ResourceMetrics, ...] | None = None


EXPORT_REQUEST = msgspec.json.Decoder(ExportRequest, strict=False)  # 64-bit integers may be strings
SPAN = msgspec.json.Decoder(Span, strict=False)
LOG_RECORD = msgspec.json.Decoder(LogRecord, strict=False)
DATA_POINT = msgspec.json.Decoder(DataPoint, strict=False)
