"""Spans and data points that OpenTelemetry's SDK for Python sends: four traces of two services, three metrics."""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

START_NS = 1_767_323_040_000_000_000  # 2026-01-02T03:04:00Z
MS = 1_000_000
TRACES = (
    ("frontend", "GET /", 1500, 200, "HTTP/1.1"),
    ("frontend", "GET /", 250, 200, "HTTP/2"),
    ("checkout", "pay", 3000, 500, "HTTP/1.1"),
    ("checkout", "pay", 20, 200, "HTTP/1.1"),
)  # service, name of the root span, its duration in ms, status, protocol; each has a child of half the duration


def send_spans(url: str, headers: dict[str, str], first_ns: int = START_NS) -> None:
    """Send the traces, which begin a minute apart, the first at a Unix time in ns."""
    providers = {}
    for n, (service, name, duration_ms, status, protocol) in enumerate(TRACES):
        if service not in providers:
            providers[service] = TracerProvider(resource=Resource.create({"service.name": service, "team": "a"}))
            exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", headers=headers)
            providers[service].add_span_processor(SimpleSpanProcessor(exporter))
        tracer = providers[service].get_tracer("queries")
        start_ns, end_ns = first_ns + n * 60_000 * MS, first_ns + (n * 60_000 + duration_ms) * MS
        attributes: dict[str, AttributeValue] = {"http.response.status_code": status, "http.protocol": protocol}
        attributes["app.synthetic_request"] = n == 0
        root = tracer.start_span(name, kind=SpanKind.SERVER, attributes=attributes, start_time=start_ns)
        child = tracer.start_span("query", set_span_in_context(root), kind=SpanKind.CLIENT, start_time=start_ns + 1)
        child.end(start_ns + 1 + duration_ms * MS // 2)
        if status == 500:
            root.set_status(StatusCode.ERROR, "card refused")
        root.end(end_ns)
    for provider in providers.values():
        provider.shutdown()


def send_points(url: str, headers: dict[str, str]) -> None:
    """Send data points of now."""
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(endpoint=f"{url}/v1/metrics", headers=headers), export_interval_millis=3_600_000
    )
    provider = MeterProvider([reader], resource=Resource.create({"service.name": "frontend"}))
    requests = provider.get_meter("queries").create_counter("requests")
    requests.add(2**53 + 1, {"http.route": "/", "shard": 1})
    requests.add(2, {"http.route": "/pay", "shard": 2})
    provider.get_meter("queries").create_histogram("took").record(0.25)
    provider.shutdown()
