"""A body of protobuf with one thing wrong, at any depth, is refused, or costs no more than what is wrong."""

import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from protocols.doors.test_loki import protobuf_body
from protocols.doors.test_otlp_twins import in_python, outcome
from protocols.doors.test_prometheus import FIRST_BODY, HISTOGRAM, T_MS, message, packed, sample, second
from support.otlp_wire import WireMaker
from support.protobuf_damage import damaged
from support.rounds import rounds

from tailrace.events import BadRequest, TooLarge
from tailrace.parsing import EventCollector, Limits, Signal
from tailrace.protocols.doors.loki_messages import collect_protobuf
from tailrace.protocols.doors.prometheus_messages import collect_samples

NOW_NS = 1_790_000_000_000_000_000
SIGNALS: tuple[Signal, ...] = ("logs", "traces", "metrics")
LOKI_BODY = protobuf_body(
    ('{a="b"}', [(NOW_NS, "one", {"k": "v"}), (NOW_NS + 1, "two")]), ('{job="x", level="info"}', [(NOW_NS, "three")])
)
SECOND_BODY = second(
    message(
        (1, packed(1, 2, 3, 4)),
        (2, sample(1.0, T_MS, T_MS - 1)),
        (3, HISTOGRAM),
        (4, message((1, packed(3, 4)), (2, 0.5), (3, T_MS))),
        (5, message((1, 2), (3, 5), (4, 6))),
    ),
    message((1, packed(1, 2)), (2, sample(2.0))),
)


def check(collect: Callable[[EventCollector], object]) -> None:
    collector = EventCollector(Limits(), NOW_NS)
    try:
        collect(collector)
        batches = collector.batches()
    except (BadRequest, TooLarge):
        return
    for batch in batches.values():
        events = [json.loads(line) for line in batch.events.splitlines()]
        assert len(events) == batch.count == len(batch.times)
    for rejection in collector.rejections:
        assert rejection.reason


@settings(max_examples=rounds(150))
@given(st.integers(0, 2**32))
def test_of_loki(seed: int) -> None:
    body = damaged(LOKI_BODY, seed)
    check(lambda collector: collect_protobuf(body, collector, Limits(), lambda label: "d"))


@settings(max_examples=rounds(150))
@given(st.integers(0, 2**32), st.sampled_from([1, 2]))
def test_of_prometheus(seed: int, version: int) -> None:
    body = damaged(FIRST_BODY if version == 1 else SECOND_BODY, seed)
    check(lambda collector: collect_samples(body, version, collector, Limits(), lambda label: "d"))


@settings(max_examples=rounds(100))
@given(st.integers(0, 2**32), st.sampled_from(SIGNALS))
def test_of_opentelemetry(seed: int, signal: Signal) -> None:
    body = damaged(WireMaker(seed % 50).request(signal), seed)

    assert outcome(body, signal) == in_python(body, signal)
