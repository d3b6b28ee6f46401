"""OpenTelemetry's SDK for Python, unmodified, against a server: logs, traces and metrics come back, field by field."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode
from support.node import DOORS, needs_node, run_program
from support.otlp import attribute, in_protobuf, spans
from support.ports import free_port
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

RESOURCE = Resource.create({"service.name": "shop", "host.name": "web-1", "team": "a"})
SIGNALS = ("traces", "logs", "metrics")
HTTP_EXPORTERS: dict[str, Any] = {
    "traces": http_traces.OTLPSpanExporter,
    "logs": http_logs.OTLPLogExporter,
    "metrics": http_metrics.OTLPMetricExporter,
}
BATCH = 10  # spans of a request
MakeExporter = Callable[[str], Any]  # of a signal
COLLECTOR = os.environ.get("OTELCOL") or shutil.which("otelcol")


def apl(server: "Server", query: str) -> list[dict[str, Any]]:
    answer = server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": query})
    assert answer.status_code == 200, answer.text
    table = answer.json()["tables"][0]
    names = [field["name"] for field in table["fields"]]
    return [dict(zip(names, values, strict=True)) for values in zip(*table["columns"], strict=True)]


def send_traces(exporter: Any) -> dict[str, str]:
    """Send two spans of one trace; return their ids."""
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("py-test", "1.2.3")
    attributes: dict[str, Any] = {"http.request.method": "GET", "cart": 3, "sizes": [1, 2], "big": 2**63 - 1}
    with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER, attributes=attributes) as root:
        link = Link(root.get_span_context(), {"why": "test"})
        with tracer.start_as_current_span("query", kind=SpanKind.CLIENT, links=[link]) as child:
            child.add_event("retried", {"attempt": 2})
            child.set_status(StatusCode.ERROR, "no answer")
    provider.shutdown()
    ids = root.get_span_context(), child.get_span_context()
    return {"trace": f"{ids[0].trace_id:032x}", "root": f"{ids[0].span_id:016x}", "child": f"{ids[1].span_id:016x}"}


def check_traces(server: "Server", dataset: str, ids: dict[str, str]) -> None:
    root, child = apl(server, f"['{dataset}'] | sort by _time asc")
    assert root["trace_id"] == child["trace_id"] == ids["trace"]
    assert (root["span_id"], root["parent_span_id"]) == (ids["root"], None)
    assert (child["span_id"], child["parent_span_id"]) == (ids["child"], ids["root"])
    assert (root["name"], root["kind"], root["error"], root["status.code"]) == ("GET /", "server", False, None)
    assert (child["name"], child["kind"], child["error"], child["status.code"]) == ("query", "client", True, "ERROR")
    assert child["status.message"] == "no answer"
    assert root["attributes.http.request.method"] == "GET"
    assert root["attributes.custom"] == {"cart": 3, "sizes": [1, 2], "big": 2**63 - 1}
    [event], [link] = child["events"], child["links"]
    assert (event["name"], event["attributes"], event["timestamp"] > 10**18) == ("retried", {"attempt": 2}, True)
    assert (link["span_id"], link["attributes"]) == (ids["root"], {"why": "test"})
    assert all(re.fullmatch(r"[0-9.]+(ns|µs|ms|s)", span["duration"]) for span in (root, child))
    for span in (root, child):
        assert (span["service.name"], span["resource.host.name"], span["resource.custom"]["team"]) == (
            "shop",
            "web-1",
            "a",
        )
        assert (span["scope.name"], span["scope.version"], span["telemetry.sdk.language"]) == (
            "py-test",
            "1.2.3",
            "python",
        )
    [slow] = apl(server, f"['{dataset}'] | where duration > 1ns and isnull(parent_span_id) | project name")
    assert slow == {"name": "GET /"}


def send_logs(exporter: Any) -> None:
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("py-test")
    logger.emit(
        LogRecord(
            timestamp=1_767_323_045_000_000_000,
            severity_number=SeverityNumber.ERROR,
            severity_text="ERROR",
            body="broken ü",
            attributes={"log.file.path": "/a", "nested": {"n": 1.5}},
        )
    )
    logger.emit(LogRecord(timestamp=1_767_323_046_000_000_001, body={"a": [1, "x", True]}))
    provider.shutdown()


def check_logs(server: "Server", dataset: str) -> None:
    one, two = apl(server, f"['{dataset}'] | sort by _time asc")
    assert (one["_time"], one["body"], one["severity_text"], one["severity_number"]) == (
        "2026-01-02T03:04:05Z",
        "broken ü",
        "ERROR",
        17,
    )
    assert (one["attributes.log.file.path"], one["attributes.custom"]) == ("/a", {"nested": {"n": 1.5}})
    assert (two["time_unix_nano"], two["body.a"]) == (1_767_323_046_000_000_001, [1, "x", True])
    assert all((row["service.name"], row["scope.name"]) == ("shop", "py-test") for row in (one, two))


def send_metrics(exporter: Any) -> None:
    views = [View(instrument_name="exp", aggregation=ExponentialBucketHistogramAggregation())]
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=RESOURCE, views=views)
    meter = provider.get_meter("py-test")
    meter.create_counter("requests", unit="{request}").add(2**53 + 1, {"http.route": "/"})
    meter.create_gauge("load").set(0.5)
    for name in ("took", "exp"):
        instrument = meter.create_histogram(name, unit="s")
        for value in (0.25, 90.0):
            instrument.record(value)
    provider.shutdown()


def check_metrics(server: "Server", dataset: str) -> None:
    found = {row["metric"]: row for row in apl(server, f"['{dataset}']")}
    assert set(found) == {"requests", "load", "took", "exp"}
    requests, took, exponential = found["requests"], found["took"], found["exp"]
    assert (requests["value"], requests["attributes.http.route"]) == (2**53 + 1, "/")
    assert (requests["otel.metric.type"], requests["otel.metric.unit"]) == ("sum", "{request}")
    assert (requests["otel.metric.is_monotonic"], requests["otel.metric.temporality"]) == (True, "cumulative")
    assert (found["load"]["value"], found["load"]["otel.metric.type"]) == (0.5, "gauge")
    assert [took[name] for name in ("count", "sum", "min", "max")] == [2, 90.25, 0.25, 90.0]
    assert sum(took["bucket_counts"]) == 2
    assert len(took["bucket_counts"]) == len(took["explicit_bounds"]) + 1
    assert (exponential["otel.metric.type"], exponential["count"]) == ("exponential_histogram", 2)
    assert sum(exponential["positive.bucket_counts"]) == 2


def send_and_check(server: "Server", datasets: dict[str, str], make: MakeExporter) -> None:
    """Send all three signals with the exporters of one transport, and read them back."""
    ids = send_traces(make("traces"))
    send_logs(make("logs"))
    send_metrics(make("metrics"))
    check_traces(server, datasets["traces"], ids)
    check_logs(server, datasets["logs"])
    check_metrics(server, datasets["metrics"])


def datasets_of(server: "Server", prefix: str) -> dict[str, str]:
    return {signal: server.create(f"{prefix}-{signal}") for signal in SIGNALS}


def test_over_http(server: "Server") -> None:
    datasets = datasets_of(server, "otlp-http")
    token = server.api_token(*datasets.values())

    def make(signal: str) -> Any:
        return HTTP_EXPORTERS[signal](
            endpoint=f"{server.url}/v1/{signal}",
            headers={"Authorization": f"Bearer {token}", "X-Axiom-Dataset": datasets[signal]},
            compression=Compression.Gzip,
        )

    send_and_check(server, datasets, make)


def test_over_grpc(make_server: "MakeServer") -> None:
    port = free_port()
    server = make_server(f"--otlp-grpc-port={port}").start()
    assert f"Doors:  otlp grpc 127.0.0.1:{port}" in server.banner
    datasets = datasets_of(server, "otlp-grpc")
    token = server.api_token(*datasets.values())
    exporters = {
        "traces": grpc_traces.OTLPSpanExporter,
        "logs": grpc_logs.OTLPLogExporter,
        "metrics": grpc_metrics.OTLPMetricExporter,
    }

    def make(signal: str) -> Any:
        header = "x-axiom-metrics-dataset" if signal == "metrics" else "x-axiom-dataset"
        return exporters[signal](
            endpoint=f"http://127.0.0.1:{port}",
            insecure=True,
            headers=(("authorization", f"Bearer {token}"), (header, datasets[signal])),
            compression=grpc.Compression.Gzip,
        )

    send_and_check(server, datasets, make)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check_refusals(server, channel, token, datasets["traces"])
        check_repetition(server, channel, token, datasets["traces"])
    counted = server.client.get("/metrics").text
    assert 'protocol="otlp",reason="unauthorized",route="/v1/traces"' in counted
    assert server.stop() == 0


@contextmanager
def collector(file: Path, kind: str, exporters: dict[str, Any]) -> Iterator[str]:
    """Run an OpenTelemetry Collector that exports each signal by an exporter of a kind; yield where it takes OTLP."""
    taking = f"127.0.0.1:{free_port()}"
    common = {"sending_queue": {"enabled": False}}  # so that it answers once the server has
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": taking}}}},
        "exporters": {f"{kind}/{signal}": {**common, **options} for signal, options in exporters.items()},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {name: {"receivers": ["otlp"], "exporters": [f"{kind}/{name}"]} for name in exporters},
        },
    }
    file.write_text(json.dumps(config))
    log = file.with_suffix(".log")
    with (
        log.open("wb") as errors,
        subprocess.Popen([str(COLLECTOR), "--config", str(file)], stdout=errors, stderr=errors) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or "Everything is ready" in log.read_text())
            assert process.poll() is None, log.read_text()
            yield f"http://{taking}"
        finally:
            process.terminate()


def exporter_to(url: str, signal: str) -> Any:
    return HTTP_EXPORTERS[signal](f"{url}/v1/{signal}")


@pytest.mark.skipif(
    COLLECTOR is None, reason="no OpenTelemetry Collector; OTELCOL names one, tests/clients/collector is one"
)
def test_through_a_collector(make_server: "MakeServer", tmp_path: Path) -> None:
    grpc_port = free_port()
    server = make_server(f"--otlp-grpc-port={grpc_port}").start()
    grpc_options = {"endpoint": f"127.0.0.1:{grpc_port}", "tls": {"insecure": True}}
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "zstd": ("otlphttp", {"endpoint": server.url, "compression": "zstd"}),
        "json": ("otlphttp", {"endpoint": server.url, "encoding": "json"}),
        "grpc": ("otlp", grpc_options),
    }
    for way, (kind, options) in ways.items():
        datasets = datasets_of(server, f"collector-{way}")
        headers = {"authorization": f"Bearer {server.api_token(*datasets.values())}"}
        exporters = {
            signal: {**options, "headers": {**headers, "x-axiom-dataset": dataset}}
            for signal, dataset in datasets.items()
        }
        with collector(tmp_path / f"{way}.json", kind, exporters) as url:
            send_and_check(server, datasets, partial(exporter_to, url))
    assert server.stop() == 0


def test_spans_outlive_a_kill_and_a_restart_of_the_server_while_they_are_exported(make_server: "MakeServer") -> None:
    port = free_port()
    server = make_server(f"--port={port}").start()
    server.create("traces")
    token = server.api_token("traces")
    exporter = http_traces.OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{port}/v1/traces",
        headers={"Authorization": f"Bearer {token}", "X-Axiom-Dataset": "traces"},
        timeout=120,
    )
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1, max_export_batch_size=BATCH))
    tracer = provider.get_tracer("py-test")
    sent: list[str] = []

    def send(count: int) -> None:
        for number in range(count):
            with tracer.start_as_current_span("work", attributes={"cart": number}) as span:
                sent.append(f"{span.get_span_context().span_id:016x}")

    send(100)
    wait_until(lambda: server.sql("SELECT count(*) AS n FROM traces") != [{"n": 0}])
    send(100)
    server.kill()  # while batches are on their way
    send(100)
    server.start()
    send(100)
    assert provider.force_flush(120_000)
    provider.shutdown()

    stored = [row["span_id"] for row in server.sql("SELECT span_id FROM traces")]
    assert set(stored) == set(sent)
    # OTLP has no ids of requests: a batch whose answer the kill took along is there twice.
    assert len(stored) - len(sent) in (0, BATCH)


def check_refusals(server: "Server", channel: Any, token: str, dataset: str) -> None:
    """Check that calls end as OTLP says, and that a bad span costs no other."""
    call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    authorization = ("authorization", f"Bearer {token}")
    good = in_protobuf(spans({"name": "good"}), "traces")
    empty = b"\x0a\x00" * 300_000
    for status, body, metadata in (
        ("UNAUTHENTICATED", good, [("x-axiom-dataset", dataset)]),
        ("PERMISSION_DENIED", good, [authorization, ("x-axiom-dataset", "another")]),
        ("INVALID_ARGUMENT", b"\x0a\xff", [authorization, ("x-axiom-dataset", dataset)]),
        ("RESOURCE_EXHAUSTED", empty, [authorization, ("x-axiom-dataset", dataset)]),
        ("RESOURCE_EXHAUSTED", bytes(65 * 1024 * 1024), [authorization]),
    ):
        with pytest.raises(grpc.RpcError) as failed:
            call(body, metadata=metadata, compression=grpc.Compression.Gzip)
        assert (failed.value.code().name, bool(failed.value.details())) == (status, True)
    bad = {"name": "bad", "attributes": [attribute("x" * 201, intValue="1")]}
    body = in_protobuf(spans({"name": "partly"}, bad), "traces")
    answer = call(body, metadata=[authorization, ("x-axiom-dataset", dataset)])
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    assert apl(server, f"['{dataset}'] | where name == 'partly' | count") == [{"count": 1}]


def check_repetition(server: "Server", channel: Any, token: str, dataset: str) -> None:
    """Check that a call with the idempotency key of an earlier one stores nothing, and that another body is refused."""
    call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    metadata = [("authorization", f"Bearer {token}"), ("x-axiom-dataset", dataset), ("idempotency-key", "k")]
    body = in_protobuf(spans({"name": "again"}), "traces")
    for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
        answer = call(body, metadata=metadata, compression=compression)
        assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 0
    assert apl(server, f"['{dataset}'] | where name == 'again' | count") == [{"count": 1}]
    with pytest.raises(grpc.RpcError) as failed:
        call(in_protobuf(spans({"name": "other"}), "traces"), metadata=metadata)
    assert failed.value.code().name == "INVALID_ARGUMENT"


@needs_node
def test_with_the_sdk_for_javascript(server: "Server") -> None:
    datasets = datasets_of(server, "otlp-js")
    token = server.api_token(*datasets.values())

    answer = run_program("otlp.mjs", {"url": server.url, "token": token, **datasets}, project=DOORS)

    assert answer["complaints"] == []
    spans = {span["name"]: span for span in apl(server, f"['{datasets['traces']}']")}
    root, child = spans["GET /"], spans["query"]
    assert (root["trace_id"], root["span_id"], root["kind"]) == (answer["traceId"], answer["root"], "server")
    assert (child["span_id"], child["parent_span_id"], child["error"]) == (answer["child"], answer["root"], True)
    assert (root["attributes.http.request.method"], root["attributes.custom"]["cart"]) == ("GET", 3)
    assert child["events"][0]["attributes"]["exception.message"] == "no answer"
    logs = apl(server, f"['{datasets['logs']}'] | sort by severity_number desc")
    assert [(log["severity_number"], log["body"], log["body.nested.n"]) for log in logs] == [
        (17, "broken ü", None),
        (9, None, 1.5),
    ]
    assert logs[0]["attributes.custom"]["list"] == [1, "x", True]
    metrics = {row["metric"]: row for row in apl(server, f"['{datasets['metrics']}']")}
    assert (metrics["requests"]["value"], metrics["requests"]["attributes.http.route"]) == (7, "/")
    assert [metrics["took"][name] for name in ("count", "sum", "min", "max")] == [2, 90.25, 0.25, 90]
