"""OTLP in both encodings becomes the same events, and nothing of it is left out."""

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from support.otlp import Json, attribute, in_protobuf

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing import Limits, Signal, otlp_answer, parse_otlp

START_NS = 1_700_000_000_000_000_000
TRACE_ID, SPAN_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def parse(
    body: bytes, signal: Signal, *, protobuf: bool, limits: Limits | None = None, largest: int = 256 * 1024
) -> ParsedBatch:
    found, result = parse_otlp(
        body,
        signal=signal,
        protobuf=protobuf,
        service_field="$b.service",
        limits=limits or Limits(),
        max_event_bytes=largest,
        received_ns=7,
    )
    assert found == signal
    return result


def both(request: Json, signal: Signal) -> tuple[list[Json], list[int]]:
    """Return the events and times that both encodings of a request are parsed into."""
    as_json = parse(json.dumps(request).encode(), signal, protobuf=False)
    as_protobuf = parse(in_protobuf(request, signal), signal, protobuf=True)
    assert as_json.events == as_protobuf.events
    assert as_json.times.tolist() == as_protobuf.times.tolist()
    assert as_json.rejections == as_protobuf.rejections == ()
    return [json.loads(line) for line in as_json.events.splitlines()], as_json.times.tolist()


RESOURCE = {"attributes": [attribute("service.name", stringValue="shop"), attribute("pid", intValue="42")]}
SCOPE = {"name": "lib", "version": "1.2", "attributes": [attribute("a", boolValue=True)]}
AROUND = {
    "resource": {"service.name": "shop", "pid": 42},
    "$b.service": "shop",
    "scope": {"name": "lib", "version": "1.2", "attributes": {"a": True}},
}


def test_a_span_with_everything_that_a_span_may_have() -> None:
    span = {
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "parentSpanId": PARENT_ID,
        "traceState": "k=v",
        "flags": 257,
        "name": "GET /",
        "kind": 2,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_500_000),
        "attributes": [
            attribute("s", stringValue="x"),
            attribute("empty", stringValue=""),
            attribute("b", boolValue=False),
            attribute("i", intValue=str(2**63 - 1)),
            attribute("d", doubleValue=1.5),
            attribute("nan", doubleValue="NaN"),
            attribute("inf", doubleValue="-Infinity"),
            attribute("bytes", bytesValue="AAEC"),
            attribute("list", arrayValue={"values": [{"stringValue": "x"}, {"intValue": "1"}, {}]}),
            attribute("map", kvlistValue={"values": [attribute("k", doubleValue=2.5)]}),
            {"key": "nothing"},
        ],
        "droppedAttributesCount": 1,
        "events": [{"timeUnixNano": str(START_NS + 1), "name": "e", "attributes": [attribute("x", intValue="1")]}],
        "droppedEventsCount": 2,
        "links": [{"traceId": TRACE_ID, "spanId": PARENT_ID, "traceState": "a=b"}],
        "droppedLinksCount": 3,
        "status": {"code": 2, "message": "bad"},
    }
    scope_spans = {"scope": SCOPE, "spans": [span], "schemaUrl": "https://s/1"}
    request = {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [scope_spans], "schemaUrl": "https://s/2"}]}

    events, times = both(request, "traces")

    assert times == [START_NS]
    assert events == [
        {
            "timestamp": START_NS,
            "traceId": TRACE_ID,
            "spanId": SPAN_ID,
            "parentSpanId": PARENT_ID,
            "traceState": "k=v",
            "flags": 257,
            "name": "GET /",
            "kind": "server",
            "duration": 1.5,
            "endTimeUnixNano": START_NS + 1_500_000,
            "status": {"code": "error", "message": "bad"},
            "attributes": {
                "s": "x",
                "empty": "",
                "b": False,
                "i": 2**63 - 1,
                "d": 1.5,
                "nan": "NaN",
                "inf": "-Infinity",
                "bytes": "AAEC",
                "list": ["x", 1, None],
                "map": {"k": 2.5},
                "nothing": None,
            },
            "events": [{"timeUnixNano": START_NS + 1, "name": "e", "attributes": {"x": 1}}],
            "links": [{"traceId": TRACE_ID, "spanId": PARENT_ID, "traceState": "a=b"}],
            "droppedAttributesCount": 1,
            "droppedEventsCount": 2,
            "droppedLinksCount": 3,
            "schemaUrl": "https://s/1",
            "resourceSchemaUrl": "https://s/2",
            **AROUND,
        }
    ]


def test_log_records() -> None:
    records = [
        {
            "timeUnixNano": str(START_NS),
            "observedTimeUnixNano": str(START_NS + 5),
            "severityNumber": 17,
            "severityText": "Error",
            "body": {"stringValue": "boom"},
            "attributes": [attribute("k", stringValue="v")],
            "droppedAttributesCount": 1,
            "flags": 1,
            "traceId": TRACE_ID,
            "spanId": SPAN_ID,
            "eventName": "crash",
        },
        {
            "observedTimeUnixNano": str(START_NS),
            "severityNumber": 10,
            "body": {"kvlistValue": {"values": [attribute("a", intValue="1")]}},
        },
        {},
    ]
    request = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"scope": SCOPE, "logRecords": records}]}]}

    events, times = both(request, "logs")

    assert times == [START_NS, START_NS, 7]
    assert events == [
        {
            "timestamp": START_NS,
            "observedTimeUnixNano": START_NS + 5,
            "level": "Error",
            "severityNumber": 17,
            "eventName": "crash",
            "message": "boom",
            "attributes": {"k": "v"},
            "droppedAttributesCount": 1,
            "flags": 1,
            "traceId": TRACE_ID,
            "spanId": SPAN_ID,
            **AROUND,
        },
        {
            "timestamp": START_NS,
            "observedTimeUnixNano": START_NS,
            "level": "info",
            "severityNumber": 10,
            "body": {"a": 1},
            **AROUND,
        },
        AROUND,
    ]


def test_an_event_for_each_data_point_of_every_kind_of_metric() -> None:
    at = {"startTimeUnixNano": str(START_NS), "timeUnixNano": str(START_NS + 1)}
    exemplar = {
        "timeUnixNano": "5",
        "asInt": "3",
        "spanId": SPAN_ID,
        "filteredAttributes": [attribute("f", intValue="1")],
    }
    metrics = [
        {
            "name": "g",
            "unit": "By",
            "description": "d",
            "gauge": {"dataPoints": [{**at, "asDouble": 0.0}, {"asInt": "0"}]},
        },
        {
            "name": "s",
            "metadata": [attribute("m", stringValue="x")],
            "sum": {
                "aggregationTemporality": 2,
                "isMonotonic": True,
                "dataPoints": [{**at, "asInt": "7", "exemplars": [exemplar], "flags": 1}],
            },
        },
        {
            "name": "h",
            "histogram": {
                "aggregationTemporality": 1,
                "dataPoints": [
                    {
                        **at,
                        "count": "3",
                        "sum": 0.0,
                        "min": -1.5,
                        "max": 2.5,
                        "bucketCounts": ["1", "2"],
                        "explicitBounds": [0.5],
                        "attributes": [attribute("k", stringValue="v")],
                    }
                ],
            },
        },
        {
            "name": "e",
            "exponentialHistogram": {
                "aggregationTemporality": 2,
                "dataPoints": [
                    {
                        **at,
                        "count": "3",
                        "scale": -2,
                        "zeroCount": "1",
                        "zeroThreshold": 0.25,
                        "positive": {"offset": 1, "bucketCounts": ["2"]},
                        "negative": {"offset": -1, "bucketCounts": ["1"]},
                    }
                ],
            },
        },
        {
            "name": "q",
            "summary": {
                "dataPoints": [{**at, "count": "2", "sum": 3.5, "quantileValues": [{"quantile": 0.5, "value": 1.5}]}]
            },
        },
        {"name": "none"},
    ]
    request = {"resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"scope": SCOPE, "metrics": metrics}]}]}

    events, times = both(request, "metrics")

    assert times == [START_NS + 1, 7, *[START_NS + 1] * 4]
    base = {"timestamp": START_NS + 1, "startTimeUnixNano": START_NS, **AROUND}
    gauge = {"name": "g", "unit": "By", "description": "d", "type": "gauge"}
    assert events == [
        {**base, **gauge, "value": 0.0},
        {**AROUND, **gauge, "value": 0},
        {
            **base,
            "name": "s",
            "type": "sum",
            "temporality": "cumulative",
            "isMonotonic": True,
            "metadata": {"m": "x"},
            "value": 7,
            "flags": 1,
            "exemplars": [{"timeUnixNano": 5, "value": 3, "spanId": SPAN_ID, "attributes": {"f": 1}}],
        },
        {
            **base,
            "name": "h",
            "type": "histogram",
            "temporality": "delta",
            "count": 3,
            "sum": 0.0,
            "min": -1.5,
            "max": 2.5,
            "bucketCounts": [1, 2],
            "explicitBounds": [0.5],
            "attributes": {"k": "v"},
        },
        {
            **base,
            "name": "e",
            "type": "exponentialHistogram",
            "temporality": "cumulative",
            "count": 3,
            "scale": -2,
            "zeroCount": 1,
            "zeroThreshold": 0.25,
            "positive": {"offset": 1, "bucketCounts": [2]},
            "negative": {"offset": -1, "bucketCounts": [1]},
        },
        {
            **base,
            "name": "q",
            "type": "summary",
            "count": 2,
            "sum": 3.5,
            "quantiles": [{"quantile": 0.5, "value": 1.5}],
        },
    ]


def spans(*names: str) -> Json:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": name} for name in names]}]}]}


@pytest.mark.parametrize("protobuf", [False, True])
def test_an_event_that_is_too_large_costs_only_itself(protobuf: bool) -> None:
    request = spans("a", "x" * 1000, "b")
    body = in_protobuf(request, "traces") if protobuf else json.dumps(request).encode()

    found = parse(body, "traces", protobuf=protobuf, largest=500)

    assert [json.loads(line)["name"] for line in found.events.splitlines()] == ["a", "b"]
    assert [(one.index, one.code) for one in found.rejections] == [(1, "event_too_large")]
    assert found.processed_bytes == len(body)


@pytest.mark.parametrize("protobuf", [False, True])
def test_what_a_request_may_become_is_bounded(protobuf: bool) -> None:
    request = spans(*"abc")
    request["resourceSpans"][0]["resource"] = {"attributes": [attribute("k", stringValue="x" * 1000)]}
    body = in_protobuf(request, "traces") if protobuf else json.dumps(request).encode()

    with pytest.raises(TooLarge, match="max_events = 2"):
        parse(body, "traces", protobuf=protobuf, limits=Limits(max_events=2))
    with pytest.raises(TooLarge, match="max_body_bytes = 2500"):
        parse(body, "traces", protobuf=protobuf, limits=Limits(max_body_bytes=2500))


@pytest.mark.parametrize("protobuf", [False, True])
@pytest.mark.parametrize("request_", [{"resourceSpans": [{}] * 21}, {"resourceSpans": [{"scopeSpans": [{}] * 20}]}])
def test_resources_and_scopes_without_events_are_bounded_too(request_: Json, protobuf: bool) -> None:
    body = in_protobuf(request_, "traces") if protobuf else json.dumps(request_).encode()

    assert parse(body, "traces", protobuf=protobuf).count == 0
    with pytest.raises(TooLarge, match="21 resources and scopes"):
        parse(body, "traces", protobuf=protobuf, limits=Limits(max_events=10))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"{",
        b'{"resourceSpans":1}',
        b'{"resourceSpans":[],"resourceLogs":[]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":1}]}]}]}',
        b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":' + b'{"arrayValue":{"values":[' * 100_000,
    ],
)
def test_what_is_no_otlp_in_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body, "traces", protobuf=False)


@pytest.mark.parametrize("body", [b"\x0a\xff", b'{"resourceSpans":[]}', b"\x0a\x05hello"])
def test_what_is_no_otlp_in_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="protobuf"):
        parse(body, "traces", protobuf=True)


def test_answers() -> None:
    assert otlp_answer("logs", protobuf=True, rejected=0, reason="") == b""
    assert otlp_answer("logs", protobuf=False, rejected=0, reason="") == b"{}"
    refused = otlp_answer("traces", protobuf=True, rejected=2, reason="why")
    partial = ExportTraceServiceResponse.FromString(refused).partial_success
    assert (partial.rejected_spans, partial.error_message) == (2, "why")
    for signal, name in (("traces", "Spans"), ("logs", "LogRecords"), ("metrics", "DataPoints")):
        answer = json.loads(otlp_answer(signal, protobuf=False, rejected=2, reason="why"))  # type: ignore[arg-type]
        assert answer == {"partialSuccess": {f"rejected{name}": "2", "errorMessage": "why"}}


@pytest.mark.parametrize("place", ["attributes", "events", "links"])
@pytest.mark.parametrize("protobuf", [False, True])
@pytest.mark.costly
def test_very_many_empty_messages_are_refused_before_they_are_objects(place: str, protobuf: bool) -> None:
    if protobuf:
        request = ExportTraceServiceRequest()
        messages = getattr(request.resource_spans.add().scope_spans.add().spans.add(), place)
        for _ in range(200_000):
            messages.add()
        body, why = request.SerializeToString(), "Span has more than 100000 fields"
    else:
        why = "empty messages"
        body = (
            json.dumps(spans("s"))
            .encode()
            .replace(b'"name": "s"', b'"' + place.encode() + b'": [' + b",".join([b"{}"] * 200_000) + b"]")
        )
    with pytest.raises(TooLarge, match=why):
        parse(body, "traces", protobuf=protobuf)


@pytest.mark.parametrize("protobuf", [False, True])
@pytest.mark.costly
def test_many_small_attributes_are_taken(protobuf: bool) -> None:
    span = {"name": "s", "attributes": [attribute(f"a{number}", intValue=1) for number in range(40_000)]}
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    body = in_protobuf(request, "traces") if protobuf else json.dumps(request, separators=(",", ":")).encode()
    assert parse(body, "traces", protobuf=protobuf, largest=10_000_000).count == 1


def test_a_malformed_span_is_told_of_like_any_malformed_request() -> None:
    with pytest.raises(BadRequest, match="no OTLP request in JSON"):
        parse(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":7}]}]}]}', "traces", protobuf=False)
