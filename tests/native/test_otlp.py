"""The reader of OTLP in protobuf: what it takes, what it leaves, and its numbers."""

import math
import struct

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support.otlp_wire import WireMaker, varint

from tailrace.native import otlp
from tailrace.native.otlp import CONVENTION, DATASET, EVENTS, ITEM, OtlpLimits, OtlpPart, otlp_reader

LIMITS = OtlpLimits(max_events=100, max_groups=20, max_bytes=100_000)
NAMES = {"http.route": CONVENTION, "url.path": CONVENTION, "é": CONVENTION, "dataset": DATASET}


def read(request: ExportLogsServiceRequest, limits: OtlpLimits = LIMITS) -> list[OtlpPart] | None:
    reader = otlp_reader(NAMES)
    assert reader is not None
    return reader.read(request.SerializeToString(), "logs", limits)


def records(*texts: str, dataset: str = "") -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    if dataset:
        group.resource.attributes.add(key="dataset").value.string_value = dataset
    scope = group.scope_logs.add()
    for text in texts:
        scope.log_records.add().body.string_value = text
    return request


def joined(*requests: ExportLogsServiceRequest) -> ExportLogsServiceRequest:
    whole = ExportLogsServiceRequest()
    for request in requests:
        whole.MergeFrom(request)
    return whole


def test_events_of_one_dataset_after_another_are_one_part() -> None:
    request = joined(records("a", "b"), records("c"), records("d", dataset="x"), records("e", dataset="x"))

    assert read(request) == [
        OtlpPart(EVENTS, 3, b'{"body":"a"},{"body":"b"},{"body":"c"}', b"", ""),
        OtlpPart(
            EVENTS,
            2,
            b'{"body":"d","resource.custom":{"dataset":"x"}},{"body":"e","resource.custom":{"dataset":"x"}}',
            b"",
            "x",
        ),
    ]


def test_what_is_odd_in_an_event_leaves_that_one() -> None:
    request = records("a", "b", "c", dataset="x")
    odd = request.resource_logs[0].scope_logs[0].log_records[1]
    odd.attributes.add(key="k").value.bytes_value = b"\0"

    parts = read(request)

    assert parts is not None
    assert [(part.kind, part.count, part.dataset) for part in parts] == [(0, 1, "x"), (ITEM, 1, "x"), (0, 1, "x")]
    assert (parts[1].raw, parts[1].text) == (odd.SerializeToString(), b',"resource.custom":{"dataset":"x"}')


def test_what_is_odd_around_events_leaves_the_request() -> None:
    request = records("a")
    request.resource_logs[0].resource.entity_refs.add().type = "host"

    assert read(request) is None


def test_no_more_is_made_than_the_limits_say() -> None:
    request = joined(*[records("a", "b") for _ in range(10)])

    assert read(request) is not None
    assert read(request, OtlpLimits(max_events=19, max_groups=20, max_bytes=100_000)) is None
    assert read(request, OtlpLimits(max_events=20, max_groups=19, max_bytes=100_000)) is None
    assert read(records("x" * 10_000), OtlpLimits(max_events=1, max_groups=2, max_bytes=9_000)) is None


def test_a_request_of_nothing_has_no_parts() -> None:
    assert read(ExportLogsServiceRequest()) == []
    assert read(records()) == []


@pytest.mark.parametrize("name", ["http.route", "url.path", "é"])
def test_names_are_found_whole(name: str) -> None:
    for sent in (name, name[:-1], name + "x", name.upper(), ""):
        request = records("a")
        request.resource_logs[0].scope_logs[0].log_records[0].attributes.add(key=sent).value.int_value = -1
        own = f',"attributes.{sent}":-1' if sent in NAMES else f',"attributes.custom":{{"{sent}":-1}}'

        parts = read(request)

        assert parts is not None
        assert parts[0].text.decode() == f'{{"body":"a"{own}}}'


def test_names_that_are_too_long_are_an_error() -> None:
    assert otlp_reader({"x" * otlp.MAX_NAME_BYTES: CONVENTION}) is not None
    with pytest.raises(ValueError, match="more than 63 bytes"):
        otlp_reader({"x" * (otlp.MAX_NAME_BYTES + 1): CONVENTION})


def as_text(*values: float) -> list[str]:
    """Return what doubles are in JSON."""
    request = records("")
    array = request.resource_logs[0].scope_logs[0].log_records[0].body.array_value
    for value in values:
        array.values.add().double_value = value
    parts = read(request)
    assert parts is not None
    return parts[0].text.decode().removeprefix('{"body":[').removesuffix("]}").split(",")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=100))
@example([0.0, -0.0, 1e15, 1e16, 1e-5, 1e-6, 5e-324, math.nextafter(math.inf, 0), 2.0**-1022, 9007199254740993.0])
def test_a_double_is_written_as_msgspec_does(values: list[float]) -> None:
    assert as_text(*values) == [msgspec.json.encode(value).decode() for value in values]


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_doubles_beside_every_power_of_two_and_ten(step: int) -> None:
    powers = [math.ldexp(1.0, exponent) for exponent in range(-1074, 1024)]
    powers += [float(f"1e{exponent}") for exponent in range(-323, 309)]
    values = [power if not step else math.nextafter(power, step * math.inf) for power in powers]
    for start in range(0, len(values), 100):
        some = values[start : start + 100]
        assert as_text(*some) == [msgspec.json.encode(value).decode() for value in some]


@given(st.binary(max_size=200), st.integers(0, 2**32), st.sampled_from(otlp.SIGNALS))
def test_any_bytes_are_read_or_left(tail: bytes, seed: int, signal: str) -> None:
    reader = otlp_reader(NAMES)
    assert reader is not None
    plain = WireMaker(seed).request("logs")
    for body in (tail, plain + tail, plain + varint(1 << 3 | 2) + varint(len(tail)) + tail):
        for part in reader.read(body, signal, LIMITS) or ():
            if part.kind == EVENTS:
                assert len(msgspec.json.decode(b"[" + part.text + b"]", type=list[dict[str, object]])) == part.count


def test_a_length_of_more_than_the_body_is_left() -> None:
    reader = otlp_reader(NAMES)
    assert reader is not None
    for length in (1, 127, 2**31, 2**32 - 1, 2**35 - 1, 2**63, 2**64 - 1):
        assert reader.read(b"\x0a" + varint(length), "logs", LIMITS) is None
    assert reader.read(b"\x09" + struct.pack("<I", 0), "logs", LIMITS) is None
