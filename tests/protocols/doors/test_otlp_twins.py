"""The same becomes of an OTLP request in protobuf by native code and in Python, and of the same in JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import fuzz_targets
from support.otlp import ATTRIBUTES, SPANS, Json, attribute, in_protobuf, log_records, metrics, spans
from support.otlp_wire import WireMaker

from tailrace.events import BadRequest, TailraceError
from tailrace.parsing import ExactWayNeeded, Limits, Signal
from tailrace.protocols.doors import otlp_requests
from tailrace.protocols.doors.otlp_requests import parse_export

SIGNALS: tuple[Signal, ...] = ("traces", "logs", "metrics")
SEEDS = st.integers(0, 2**32)
REFUSED = "b"
TEAM = {"attributes": [attribute("service.name", stringValue="shop"), attribute("team", stringValue="a")]}


def named(label: str) -> str:
    if label == REFUSED:
        raise BadRequest("no dataset is named")
    return label or "default"


def outcome(
    body: bytes, signal: Signal, limits: Limits = Limits(), *, protobuf: bool = True, in_bulk: bool = False
) -> Any:
    """Return all that a request becomes."""
    try:
        found = parse_export(
            body,
            signal=signal,
            protobuf=protobuf,
            dataset_of=named,
            limits=limits,
            received_ns=7,
            in_bulk=in_bulk,
        )
    except TailraceError as error:
        return type(error), error.message
    batches = [
        (name, batch.events, batch.times.tolist(), batch.count, batch.processed_bytes, batch.rejections)
        for name, batch in found.batches.items()
    ]
    return batches, found.rejections


def in_python(body: bytes, signal: Signal, limits: Limits = Limits()) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp_requests, "_NATIVE", None)
        return outcome(body, signal, limits)


@given(SEEDS, st.sampled_from(SIGNALS), st.sampled_from([0.0, 0.005, 0.05]))
def test_both_make_the_same_of_a_request(seed: int, signal: Signal, oddness: float) -> None:
    body = WireMaker(seed, oddness).request(signal)

    assert outcome(body, signal) == in_python(body, signal)


@given(SEEDS, st.sampled_from(SIGNALS))
def test_both_keep_the_same_limits(seed: int, signal: Signal) -> None:
    body = WireMaker(seed, 0.002).request(signal)
    for limits in (
        Limits(max_events=2),
        Limits(max_body_bytes=1024),
        Limits(max_event_bytes=1024, max_depth=2, max_name_bytes=4, max_string_bytes=16),
    ):
        assert outcome(body, signal, limits) == in_python(body, signal, limits)


@pytest.mark.parametrize("path", fuzz_targets.inputs("otlp"), ids=lambda path: path.name)
def test_both_make_the_same_of_what_the_fuzz_target_begins_with(path: Path) -> None:
    for signal in SIGNALS:
        assert outcome(path.read_bytes()[2:], signal) == in_python(path.read_bytes()[2:], signal)


def test_in_bulk_is_what_native_code_takes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = in_protobuf(log_records({"body": {"stringValue": "a"}}, resource=TEAM), "logs")
    odd = in_protobuf(log_records({"body": {"bytesValue": "AAEC"}}), "logs")
    broken = b"\x0a\x02\x12\xff"

    assert outcome(plain, "logs", in_bulk=True) == outcome(plain, "logs")
    for body in (odd, broken, plain + odd):
        with pytest.raises(ExactWayNeeded):
            outcome(body, "logs", in_bulk=True)
    monkeypatch.setattr(otlp_requests, "_NATIVE", None)
    with pytest.raises(ExactWayNeeded):
        outcome(plain, "logs", in_bulk=True)


def test_what_becomes_very_much_or_needs_a_look_is_not_taken_in_bulk() -> None:
    large = {"attributes": [attribute("k", stringValue="x" * 10_000)]}
    many = log_records(*[{"body": {"stringValue": ""}, "severityNumber": 1}] * 4000)
    much = log_records(*[{"severityNumber": 1}] * 100, resource=large)
    deep = log_records({"body": {"arrayValue": {"values": [{"arrayValue": {}}]}}})

    for request in (many, much):
        body = in_protobuf(request, "logs")
        assert outcome(body, "logs") == in_python(body, "logs")
        with pytest.raises(ExactWayNeeded):
            outcome(body, "logs", in_bulk=True)
    with pytest.raises(ExactWayNeeded):
        outcome(in_protobuf(deep, "logs"), "logs", Limits(max_depth=2), in_bulk=True)


def test_what_sdks_send_is_taken_whole() -> None:
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "startTimeUnixNano": "1700000000000000789",
        "attributes": [
            attribute("http.request.method", stringValue="GET"),
            attribute("ms", doubleValue=0.1),
            attribute("ok", boolValue=True),
            attribute("tags", arrayValue={"values": [{"stringValue": "a"}, {"intValue": "-1"}]}),
        ],
        "events": [{"timeUnixNano": "5", "name": "exception", "attributes": [attribute("k", stringValue="v")]}],
        "links": [{"spanId": "b7ad6b7169203331"}],
        "status": {"code": 2, "message": "bad"},
    }
    record = {"severityNumber": 9, "body": {"kvlistValue": {"values": [attribute("k", doubleValue=1.5)]}}}
    points = [{"asDouble": 1.5, "attributes": [attribute("k", stringValue="v")]}, {"asInt": "-1"}]
    requests: dict[Signal, Json] = {
        "traces": spans(span, resource=TEAM, scope={"name": "lib"}),
        "logs": log_records(record, resource=TEAM),
        "metrics": metrics(
            {"name": "g", "unit": "By", "gauge": {"dataPoints": points}},
            {"name": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}},
            resource=TEAM,
        ),
    }
    for signal, request in requests.items():
        body = in_protobuf(request, signal)
        assert outcome(body, signal, in_bulk=True) == in_python(body, signal)


@given(
    st.lists(SPANS, max_size=4),
    st.fixed_dictionaries({}, optional={"attributes": ATTRIBUTES}),
)
def test_both_encodings_are_the_same_events(sent: list[Json], resource: Json) -> None:
    request = spans(*sent, resource=resource)
    (as_json, *refused), (as_protobuf, *others) = (
        outcome(json.dumps(request).encode(), "traces", protobuf=False),
        outcome(in_protobuf(request, "traces"), "traces"),
    )

    assert without_bytes(as_json) == without_bytes(as_protobuf)
    assert refused == others
    if isinstance(as_json, list):
        assert refused == [[]]
        assert sum(batch[3] + len(batch[5]) for batch in as_json) == len(sent)


def without_bytes(batches: Any) -> Any:
    return [(*batch[:4], batch[5]) for batch in batches] if isinstance(batches, list) else batches


@given(st.binary(max_size=60), st.sampled_from(SIGNALS))
def test_any_bytes_are_a_request_or_refused(tail: bytes, signal: Signal) -> None:
    body = in_protobuf(spans({"name": "a", "attributes": [attribute("k", intValue="1")]}), "traces") + tail

    assert outcome(body, signal) == in_python(body, signal)
    assert outcome(body, signal, protobuf=False)[0] is BadRequest
