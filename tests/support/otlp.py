"""OTLP requests in both encodings, and made by hypothesis."""

import base64
from typing import Any

from google.protobuf import json_format
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tailrace.parsing import Signal

Json = dict[str, Any]
REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
IDS = ("traceId", "spanId", "parentSpanId")


def in_protobuf(request: Json, signal: Signal) -> bytes:
    """Return the request in the other encoding, by the protocol's own library, which wants ids in base64."""

    def with_base64(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(inner)).decode() if key in IDS else with_base64(inner)
                for key, inner in value.items()
            }
        return [with_base64(one) for one in value] if isinstance(value, list) else value

    encoded: bytes = json_format.ParseDict(with_base64(request), REQUESTS[signal]()).SerializeToString()
    return encoded


def attribute(key: str, **value: Any) -> Json:
    return {"key": key, "value": value}


def spans(*spans: Json, resource: Json | None = None, scope: Json | None = None) -> Json:
    return {
        "resourceSpans": [{"resource": resource or {}, "scopeSpans": [{"scope": scope or {}, "spans": list(spans)}]}]
    }


def log_records(*records: Json, resource: Json | None = None) -> Json:
    return {"resourceLogs": [{"resource": resource or {}, "scopeLogs": [{"logRecords": list(records)}]}]}


def metrics(*metrics: Json, resource: Json | None = None) -> Json:
    return {"resourceMetrics": [{"resource": resource or {}, "scopeMetrics": [{"metrics": list(metrics)}]}]}


# Made by hypothesis.

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
UINT64 = st.integers(0, 2**64 - 1).map(str)
SCALARS = st.one_of(
    TEXTS.map(lambda text: {"stringValue": text}),
    st.booleans().map(lambda value: {"boolValue": value}),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: {"intValue": str(value)}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: {"doubleValue": value}),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]).map(lambda value: {"doubleValue": value}),
    st.binary(max_size=8).map(lambda value: {"bytesValue": base64.b64encode(value).decode()}),
    st.just({}),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: {"arrayValue": {"values": values}}),
        st.dictionaries(TEXTS, inner, max_size=3).map(
            lambda values: {"kvlistValue": {"values": [{"key": key, "value": value} for key, value in values.items()]}}
        ),
    ),
    max_leaves=6,
)
KEYS = st.one_of(TEXTS, st.sampled_from(["http.route", "url.path", "service.name", "user.custom", "dataset"]))
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=5).map(
    lambda values: [{"key": key, "value": value} for key, value in values.items()]
)
SPANS = st.fixed_dictionaries(
    {},
    optional={
        "traceId": st.binary(max_size=16).map(bytes.hex),
        "spanId": st.binary(max_size=8).map(bytes.hex),
        "parentSpanId": st.binary(max_size=8).map(bytes.hex),
        "traceState": TEXTS,
        "flags": st.integers(0, 2**32 - 1),
        "name": TEXTS,
        "kind": st.integers(0, 7),
        "startTimeUnixNano": UINT64,
        "endTimeUnixNano": UINT64,
        "attributes": ATTRIBUTES,
        "droppedAttributesCount": st.integers(0, 2**32 - 1),
        "events": st.lists(
            st.fixed_dictionaries({}, optional={"timeUnixNano": UINT64, "name": TEXTS, "attributes": ATTRIBUTES}),
            max_size=2,
        ),
        "links": st.lists(
            st.fixed_dictionaries({}, optional={"traceId": st.binary(max_size=16).map(bytes.hex), "traceState": TEXTS}),
            max_size=2,
        ),
        "status": st.fixed_dictionaries({}, optional={"code": st.integers(0, 4), "message": TEXTS}),
    },
)
