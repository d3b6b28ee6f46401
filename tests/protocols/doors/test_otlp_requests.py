"""OTLP becomes events with Axiom's names, the same in both encodings, by dataset; nothing of it is left out."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.otlp import Json, attribute, in_protobuf, log_records, metrics, spans

from tailrace.events import BadRequest, TooLarge
from tailrace.parsing import Limits, Signal
from tailrace.parsing.otlp_wire import Memo
from tailrace.parsing.semantic_conventions import CONVENTIONS
from tailrace.protocols.doors import otlp_requests
from tailrace.protocols.doors.otlp_requests import ParsedExport, parse_export

START_NS = 1_700_000_000_000_000_000
TRACE_ID, SPAN_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
BIG = 2**64 - 1
RESOURCE = {
    "attributes": [
        attribute("service.name", stringValue="shop"),
        attribute("host.name", stringValue="web-1"),
        attribute("process.pid", intValue="42"),
        attribute("team", stringValue="a"),
    ],
    "droppedAttributesCount": 1,
}
SCOPE = {"name": "lib", "version": "1.2", "attributes": [attribute("a.b", boolValue=True)]}
OF_RESOURCE = {
    "service.name": "shop",
    "resource.host.name": "web-1",
    "resource.process.pid": 42,
    "resource.custom": {"team": "a"},
    "resource.dropped_attributes_count": 1,
}
OF_SCOPE = {"scope.name": "lib", "scope.version": "1.2", "scope.attributes": {"a.b": True}}


@pytest.fixture(scope="module", params=["native", "python"], autouse=True)
def reading(request: pytest.FixtureRequest) -> Iterator[None]:
    """Read protobuf by native code, and without it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(otlp_requests, "_NATIVE", None)
        yield


def named(label: str) -> str:
    return label or "default"


def export(request: Json | bytes, signal: Signal, *, protobuf: bool, **limits: int) -> ParsedExport:
    if isinstance(request, bytes):
        body = request
    else:
        body = in_protobuf(request, signal) if protobuf else json.dumps(request).encode()
    return parse_export(
        body, signal=signal, protobuf=protobuf, dataset_of=named, limits=Limits(**limits), received_ns=7
    )


def events_of(request: Json, signal: Signal, dataset: str = "default") -> tuple[list[Json], list[int]]:
    """Return the events of a dataset and their times, which are the same of both encodings."""
    both = [export(request, signal, protobuf=protobuf) for protobuf in (False, True)]
    as_json, as_protobuf = (each.batches[dataset] for each in both)
    assert as_json.events == as_protobuf.events
    assert as_json.times.tolist() == as_protobuf.times.tolist()
    assert [each.rejections for each in both] == [[], []]
    return [json.loads(line) for line in as_json.events.splitlines()], as_json.times.tolist()


def test_a_span_with_everything_that_a_span_may_have() -> None:
    span = {
        "traceId": TRACE_ID.upper(),
        "spanId": SPAN_ID,
        "parentSpanId": PARENT_ID,
        "traceState": "k=v",
        "flags": 257,
        "name": 'GET "/"',
        "kind": 2,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_500_001),
        "attributes": [
            attribute("http.request.method", stringValue="GET"),
            attribute("http.response.status_code", intValue="200"),
            attribute("http.method", stringValue="GET"),
            attribute("i", intValue=str(2**63 - 1)),
            attribute("d", doubleValue=1.5),
            attribute("nan", doubleValue="NaN"),
            attribute("bytes", bytesValue="AAEC"),
            attribute("list", arrayValue={"values": [{"stringValue": "x"}, {"intValue": "1"}, {}]}),
            attribute("map", kvlistValue={"values": [attribute("k", doubleValue=2.5)]}),
            {"key": "nothing"},
        ],
        "droppedAttributesCount": 1,
        "events": [
            {
                "timeUnixNano": str(START_NS + 1),
                "name": "exception",
                "attributes": [attribute("exception.type", stringValue="E")],
                "droppedAttributesCount": 9,
            },
            {},
        ],
        "droppedEventsCount": 2,
        "links": [{"traceId": TRACE_ID, "spanId": PARENT_ID, "traceState": "a=b", "flags": 1}, {}],
        "droppedLinksCount": 3,
        "status": {"code": 2, "message": "bad"},
    }
    request = spans(span, resource=RESOURCE, scope=SCOPE)
    request["resourceSpans"][0]["schemaUrl"] = "https://r/1"
    request["resourceSpans"][0]["scopeSpans"][0]["schemaUrl"] = "https://s/1"

    events, times = events_of(request, "traces")

    assert times == [START_NS]
    assert events == [
        {
            "_time": START_NS,
            "trace_id": TRACE_ID,
            "span_id": SPAN_ID,
            "parent_span_id": PARENT_ID,
            "name": 'GET "/"',
            "kind": "server",
            "error": True,
            "status.code": "ERROR",
            "status.message": "bad",
            "attributes.http.request.method": "GET",
            "attributes.http.response.status_code": 200,
            "attributes.http.method": "GET",
            "attributes.custom": {
                "i": 2**63 - 1,
                "d": 1.5,
                "nan": "NaN",
                "bytes": "AAEC",
                "list": ["x", 1, None],
                "map": {"k": 2.5},
                "nothing": None,
            },
            "duration": 1_500_001,
            "events": [
                {
                    "name": "exception",
                    "timestamp": START_NS + 1,
                    "attributes": {"exception.type": "E"},
                    "dropped_attributes_count": 9,
                },
                {"name": ""},
            ],
            "links": [{"trace_id": TRACE_ID, "span_id": PARENT_ID, "trace_state": "a=b", "flags": 1}, {}],
            "trace_state": "k=v",
            "flags": 257,
            "dropped_attributes_count": 1,
            "dropped_events_count": 2,
            "dropped_links_count": 3,
            **OF_SCOPE,
            "scope.schema_url": "https://s/1",
            **OF_RESOURCE,
            "resource.schema_url": "https://r/1",
        }
    ]


def test_a_root_span_has_no_parent_and_an_unset_status_no_code() -> None:
    events, times = events_of(
        spans({"name": "a"}, {"kind": 9, "status": {"code": 1}}, {"status": {"code": 5}}), "traces"
    )

    assert times == [7, 7, 7]
    assert events == [
        {"name": "a", "kind": "unspecified", "error": False},
        {"name": "", "kind": 9, "error": False, "status.code": "OK"},
        {"name": "", "kind": "unspecified", "error": False, "status.code": 5},
    ]


def test_times_are_exact_where_an_event_s_time_cannot_be() -> None:
    fine, late = START_NS + 789, 2**64 - 1
    request = spans(
        {"startTimeUnixNano": str(fine), "endTimeUnixNano": str(START_NS)},
        {"startTimeUnixNano": str(late), "endTimeUnixNano": str(late)},
        {"endTimeUnixNano": str(fine)},
    )

    events, times = events_of(request, "traces")

    assert times == [fine, 7, 7]
    kept = [{key: event[key] for key in event if "time" in key or key == "duration"} for event in events]
    assert kept == [
        {"_time": fine, "start_time_unix_nano": fine, "duration": -789},
        {"start_time_unix_nano": late, "duration": 0},
        {"end_time_unix_nano": fine},
    ]


def test_log_records() -> None:
    request = log_records(
        {
            "timeUnixNano": str(START_NS),
            "observedTimeUnixNano": str(START_NS + 5),
            "severityNumber": 17,
            "severityText": "Error",
            "body": {"stringValue": "boom"},
            "attributes": [attribute("k", stringValue="v"), attribute("log.file.path", stringValue="/a")],
            "droppedAttributesCount": 1,
            "flags": 1,
            "traceId": TRACE_ID,
            "spanId": SPAN_ID,
            "eventName": "crash",
        },
        {
            "observedTimeUnixNano": str(START_NS),
            "body": {"kvlistValue": {"values": [attribute("a", intValue="1")]}},
        },
        {},
        resource=RESOURCE,
    )

    events, times = events_of(request, "logs")

    assert times == [START_NS, START_NS, 7]
    assert events == [
        {
            "_time": START_NS,
            "observed_time_unix_nano": START_NS + 5,
            "body": "boom",
            "severity_text": "Error",
            "severity_number": 17,
            "trace_id": TRACE_ID,
            "span_id": SPAN_ID,
            "attributes.log.file.path": "/a",
            "attributes.custom": {"k": "v"},
            "event_name": "crash",
            "flags": 1,
            "dropped_attributes_count": 1,
            **OF_RESOURCE,
        },
        {"_time": START_NS, "body": {"a": 1}, **OF_RESOURCE},
        OF_RESOURCE,
    ]


AT = {"startTimeUnixNano": str(START_NS), "timeUnixNano": str(START_NS + 1000)}
EXEMPLAR = {"timeUnixNano": "5", "asInt": "3", "spanId": SPAN_ID, "filteredAttributes": [attribute("f", intValue="1")]}
METRICS: list[Json] = [
    {
        "name": "g",
        "unit": "By",
        "description": "d",
        "gauge": {"dataPoints": [{**AT, "asDouble": 0.0}, {"asInt": "0"}, {"asDouble": "NaN"}, {}]},
    },
    {
        "name": "s",
        "metadata": [attribute("m", stringValue="x")],
        "sum": {
            "aggregationTemporality": 2,
            "isMonotonic": True,
            "dataPoints": [{**AT, "asInt": str(-(2**63)), "exemplars": [EXEMPLAR], "flags": 1}],
        },
    },
    {
        "name": "h",
        "histogram": {
            "aggregationTemporality": 1,
            "dataPoints": [
                {
                    **AT,
                    "count": str(BIG),
                    "sum": 0.0,
                    "min": -1.5,
                    "max": 2.5,
                    "bucketCounts": ["1", str(BIG)],
                    "explicitBounds": [0.5],
                    "attributes": [attribute("http.route", stringValue="/"), attribute("k", stringValue="v")],
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
                    **AT,
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
            "dataPoints": [{**AT, "count": "2", "sum": 3.5, "quantileValues": [{"quantile": 0.5, "value": 1.5}, {}]}]
        },
    },
    {"name": "none"},
]


def test_an_event_for_each_data_point_of_every_kind_of_metric() -> None:
    events, times = events_of(metrics(*METRICS, resource=RESOURCE), "metrics")

    assert times == [START_NS + 1000, 7, 7, 7, *[START_NS + 1000] * 4]
    base = {"_time": START_NS + 1000, "start_time_unix_nano": START_NS, **OF_RESOURCE}
    gauge = {"metric": "g", "otel.metric.type": "gauge", "otel.metric.unit": "By", "otel.metric.description": "d"}
    assert events == [
        {**base, **gauge, "value": 0.0},
        {**OF_RESOURCE, **gauge, "value": 0},
        {**OF_RESOURCE, **gauge, "value": "NaN"},
        {**OF_RESOURCE, **gauge},
        {
            **base,
            "metric": "s",
            "otel.metric.type": "sum",
            "otel.metric.temporality": "cumulative",
            "otel.metric.is_monotonic": True,
            "otel.metric.metadata": {"m": "x"},
            "value": -(2**63),
            "flags": 1,
            "exemplars": [{"timestamp": 5, "value": 3, "span_id": SPAN_ID, "attributes": {"f": 1}}],
        },
        {
            **base,
            "metric": "h",
            "otel.metric.type": "histogram",
            "otel.metric.temporality": "delta",
            "count": BIG,
            "sum": 0.0,
            "min": -1.5,
            "max": 2.5,
            "bucket_counts": [1, BIG],
            "explicit_bounds": [0.5],
            "attributes.http.route": "/",
            "attributes.custom": {"k": "v"},
        },
        {
            **base,
            "metric": "e",
            "otel.metric.type": "exponential_histogram",
            "otel.metric.temporality": "cumulative",
            "count": 3,
            "scale": -2,
            "zero_count": 1,
            "zero_threshold": 0.25,
            "positive.offset": 1,
            "positive.bucket_counts": [2],
            "negative.offset": -1,
            "negative.bucket_counts": [1],
        },
        {
            **base,
            "metric": "q",
            "otel.metric.type": "summary",
            "count": 2,
            "sum": 3.5,
            "quantiles": [{"quantile": 0.5, "value": 1.5}, {"quantile": 0.0, "value": 0.0}],
        },
    ]


def test_json_may_say_null_and_names_of_enumerations_and_has_unknown_fields() -> None:
    span = {"name": None, "kind": "SPAN_KIND_CLIENT", "status": {"code": "STATUS_CODE_ERROR"}, "attributes": None}
    request = spans({**span, "later": {"x": [1]}, "startTimeUnixNano": START_NS, "links": [], "events": None})
    request["resourceSpans"][0]["resource"] = None

    found = export(request, "traces", protobuf=False).batches["default"]

    [event] = map(json.loads, found.events.splitlines())
    assert event == {"_time": START_NS, "name": "", "kind": "client", "error": True, "status.code": "ERROR"}


@pytest.mark.parametrize("protobuf", [False, True])
def test_each_resource_goes_to_the_dataset_that_it_names(protobuf: bool) -> None:
    resources = [{"attributes": [attribute("dataset", stringValue=name)]} for name in ("a", "b", "a")]
    request = {
        "resourceSpans": [spans({"name": str(n)}, resource=r)["resourceSpans"][0] for n, r in enumerate(resources)]
    }
    body = in_protobuf(request, "traces") if protobuf else json.dumps(request).encode()

    found = export(body, "traces", protobuf=protobuf)

    names = {
        name: [json.loads(line)["name"] for line in batch.events.splitlines()] for name, batch in found.batches.items()
    }
    assert names == {"a": ["0", "2"], "b": ["1"]}
    assert len(body) - 2 <= sum(batch.processed_bytes for batch in found.batches.values()) <= len(body)


def refuse_unnamed(label: str) -> str:
    if not label:
        raise BadRequest("no dataset is named")
    return label


def test_what_names_no_dataset_costs_nothing_beside_it() -> None:
    named_one = spans({"name": "a"}, resource={"attributes": [attribute("dataset", stringValue="d")]})["resourceSpans"]
    unnamed = spans({"name": "b"}, {"name": "c"})["resourceSpans"]
    options: dict[str, Any] = {
        "signal": "traces", "protobuf": False, "dataset_of": refuse_unnamed, "limits": Limits(), "received_ns": 7,
    }  # fmt: skip

    found = parse_export(json.dumps({"resourceSpans": [*unnamed, *named_one]}).encode(), **options)

    assert [(each.index, each.reason) for each in found.rejections] == [
        (0, "no dataset is named"),
        (1, "no dataset is named"),
    ]
    assert found.batches["d"].count == 1
    with pytest.raises(BadRequest, match="no dataset is named"):
        parse_export(json.dumps({"resourceSpans": unnamed}).encode(), **options)
    assert parse_export(json.dumps({"resourceSpans": [{"scopeSpans": [{}]}]}).encode(), **options).batches == {}


def test_what_is_broken_in_a_span_costs_no_other() -> None:
    broken = spans({"name": "a"}, {"name": "b!b!b!"}, {"attributes": [{"key": "k!k!k!k!"}]}, {"name": "c"})
    body = (
        in_protobuf(broken, "traces")
        .replace(b"b!b!b!", b"\xff" * 6)
        .replace(b"k!k!k!k!", b"k\x12\x05\x2a\x03\x0a\x7f\xff")
    )
    as_json = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"},{"name":7},{"traceId":"\\""},{"name":"c"}]}]}]}'

    for found in (export(body, "traces", protobuf=True), export(as_json, "traces", protobuf=False)):
        names = [json.loads(line)["name"] for line in found.batches["default"].events.splitlines()]
        assert names == ["a", "c"]
        assert [each.index for each in found.rejections] == [1, 2]
        assert all(each.reason.startswith("it cannot be read: ") for each in found.rejections)


@pytest.mark.parametrize("protobuf", [False, True])
def test_an_event_that_is_too_large_or_has_a_forbidden_name_costs_only_itself(protobuf: bool) -> None:
    long = {"name": "b", "attributes": [attribute("x" * 201, intValue="1")]}
    request = spans({"name": "a"}, {"name": "x" * 5000}, long, {"name": "c"})

    batch = export(request, "traces", protobuf=protobuf, max_event_bytes=4000).batches["default"]

    assert [json.loads(line)["name"] for line in batch.events.splitlines()] == ["a", "c"]
    assert [each.index for each in batch.rejections] == [1, 2]


@pytest.mark.parametrize("protobuf", [False, True])
def test_what_a_request_may_become_is_bounded(protobuf: bool) -> None:
    request = spans(
        *[{"name": name} for name in "abc"], resource={"attributes": [attribute("k", stringValue="x" * 1000)]}
    )

    with pytest.raises(TooLarge, match="max_events = 2"):
        export(request, "traces", protobuf=protobuf, max_events=2)
    with pytest.raises(TooLarge, match="max_body_bytes = 2500"):
        export(request, "traces", protobuf=protobuf, max_body_bytes=2500)
    empty: Json
    for empty in ({"resourceSpans": [{}] * 21}, {"resourceSpans": [{"scopeSpans": [{}] * 21}]}):
        assert export(empty, "traces", protobuf=protobuf).batches == {}
        with pytest.raises(TooLarge, match="more than 20 resources, scopes and metrics"):
            export(empty, "traces", protobuf=protobuf, max_events=10)
    with pytest.raises(TooLarge, match="more than 20 resources, scopes and metrics"):
        export(metrics(*[{"name": "m"}] * 21), "metrics", protobuf=protobuf, max_events=10)


@pytest.mark.parametrize("protobuf", [False, True])
def test_very_many_empty_spans_are_refused_before_they_are_objects(protobuf: bool) -> None:
    if protobuf:
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add().scope_spans.add()
        for _ in range(200_000):
            scope.spans.add()
        body, why = request.SerializeToString(), "of the 400000 bytes of ScopeSpans too many|more than max_events"
    else:
        body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * 200_000) + b"]}]}]}"
        why = "empty messages"
    with pytest.raises(TooLarge, match=why):
        export(body, "traces", protobuf=protobuf)


@pytest.mark.parametrize(
    "body", [b"\x0a\xff", b'{"resourceSpans":[]}', b"\x0a\x05hello", b"{", b"[]", b'{"resourceSpans":1}']
)
@pytest.mark.parametrize("protobuf", [False, True])
def test_what_is_no_request_is_refused(body: bytes, protobuf: bool) -> None:
    if not protobuf and body == b'{"resourceSpans":[]}':
        assert export(body, "traces", protobuf=False) == ParsedExport({}, [])
        return
    with pytest.raises(BadRequest, match="no OTLP request of traces in"):
        export(body, "traces", protobuf=protobuf)


def test_json_without_what_its_signal_has_is_refused() -> None:
    for body in (b"{}", b'{"later":1,"resourceSpans":null}'):
        assert export(body, "traces", protobuf=False) == ParsedExport({}, [])
    for name in ("resourcespans", "resource_spans", "resourceLogs"):
        with pytest.raises(
            BadRequest, match=f"the body has no 'resourceSpans', as a request of traces has, but '{name}'"
        ):
            export({name: [{}]}, "traces", protobuf=False)


def test_a_memo_is_bounded() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key

    memo: Memo[str, str] = Memo(make)
    for _ in range(2):
        assert (memo["a"], memo["x" * 513]) == ("a", "x" * 513)
    assert made == ["a", "x" * 513, "x" * 513]
    for number in range(Memo.MAX_ENTRIES):
        memo[str(number)]
    assert len(memo) <= Memo.MAX_ENTRIES


def test_attributes_of_the_conventions_are_known_by_name() -> None:
    assert {"http.method", "http.request.method", "db.system.name", "k8s.pod.name"} <= CONVENTIONS
    assert all(name == name.strip() and "." in name for name in CONVENTIONS)
