"""Events that are gathered one by one: their batches, times, limits, and the numbers of those that are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tailrace.events import TooLarge
from tailrace.parsing import EventCollector, ExactWayNeeded, Limits, time_member

NOW_NS = 1_790_000_000_000_000_000
LIMITS = Limits()


def collected(*events: dict[str, Any], limits: Limits = LIMITS) -> EventCollector:
    collector = EventCollector(limits, NOW_NS)
    for number, event in enumerate(events):
        collector.add("d", number, event)
    return collector


def test_the_time_of_an_event_is_its_own_else_that_of_the_request() -> None:
    batch = collected(
        {"n": 1, "_time": NOW_NS + 123}, {"n": 2, "_time": "2026-01-02T03:04:05.000000006Z"}, {"n": 3}
    ).batches()["d"]

    assert batch.times.tolist() == [NOW_NS + 123, 1_767_323_045_000_000_006, NOW_NS]


@pytest.mark.parametrize("event", [{"a": "\udcff"}, {"a": object()}])
def test_an_event_that_is_no_json_is_refused_by_its_number(event: dict[str, Any]) -> None:
    collector = collected({"n": 0}, event, {"n": 2})

    batch = collector.batches()["d"]

    assert [(each.index, each.code) for each in collector.rejections] == [(1, "invalid_event")]
    assert [json.loads(line)["n"] for line in batch.events.splitlines()] == [0, 2]


@pytest.mark.parametrize("text", [b"", b"[]", b'{"a":1},{"b":2}', b'{"a":1}{"b":2}', b'{"a"', b"null", b'{"a":"\xff"}'])
def test_json_that_is_not_one_object_is_refused_by_its_number(text: bytes) -> None:
    collector = EventCollector(LIMITS, NOW_NS)
    for number, event in enumerate((b'{"n":0}', text, b' {"n":2}\r')):
        collector.add_json("d", number, event)

    batch = collector.batches()["d"]

    refused = [*collector.rejections, *batch.rejections]
    assert [each.index for each in refused] == [1]
    assert [json.loads(line)["n"] for line in batch.events.splitlines()] == [0, 2]


def test_a_request_is_too_large_by_its_events_or_by_their_bytes() -> None:
    few = replace(LIMITS, max_events=2)
    small = replace(LIMITS, max_body_bytes=1024)

    assert collected({"n": 1}, {"n": 2}, limits=few).batches()["d"].count == 2
    with pytest.raises(TooLarge, match="max_events = 2"):
        collected({"n": 1}, {"n": 2}, {"n": 3}, limits=few)
    assert collected({"n": "x" * 1015}, limits=small).batches()["d"].count == 1
    with pytest.raises(TooLarge, match="max_body_bytes = 1024"):
        collected({"n": "x" * 1016}, limits=small)


def test_refused_events_count_too() -> None:
    collector = EventCollector(replace(LIMITS, max_events=1), NOW_NS)
    collector.refuse(0, "empty")

    with pytest.raises(TooLarge, match="max_events = 1"):
        collector.refuse(1, "empty")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.one_of(
                st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=3).map(json.dumps),
                st.just('{"' + "x" * 201 + '":1}'),
                st.sampled_from(["", "[1]", "{}{}", '{"a":}', '{"a":1}]', "\x00"]),
            ),
        ),
        max_size=20,
    )
)
def test_every_event_is_in_the_batch_of_its_dataset_or_refused_by_its_number(sent: list[tuple[str, str]]) -> None:
    collector = EventCollector(LIMITS, NOW_NS)
    for number, (dataset, text) in enumerate(sent):
        collector.add_json(dataset, number, text.encode())

    batches = collector.batches()

    refused = {each.index for each in collector.rejections}
    refused |= {each.index for batch in batches.values() for each in batch.rejections}
    for dataset in ("a", "b", "c"):
        good = [text for number, (of, text) in enumerate(sent) if of == dataset and number not in refused]
        lines = batches[dataset].events.splitlines() if dataset in batches else []
        assert [json.loads(line) for line in lines] == [json.loads(text) for text in good]
    bad = {number for number, (_, text) in enumerate(sent) if not _is_event(text)}
    assert refused == bad


def _is_event(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and all(len(name) <= 200 for name in value)


def test_lines_that_their_maker_wrote_are_taken_at_once() -> None:
    collector = EventCollector(replace(LIMITS, max_events=4), NOW_NS)
    collector.add("d", 0, {"n": 0})
    collector.add_lines("d", (2, 3), (b'{"n":2}', b'{"n":3,"\xff":1}'))

    batch = collector.batches()["d"]

    assert [each.index for each in batch.rejections] == [3]
    assert [json.loads(line)["n"] for line in batch.events.splitlines()] == [0, 2]
    with pytest.raises(TooLarge, match="max_events"):
        collector.add_lines("e", (4, 5), (b"{}", b"{}"))


def test_elements_of_an_array_are_taken_at_once() -> None:
    collector = EventCollector(replace(LIMITS, max_events=4), NOW_NS)
    collector.add("d", 0, {"n": 0})
    collector.add_elements("d", range(2, 4), b'{"n":2},{"n":3,"\xff":1}')

    batch = collector.batches()["d"]

    assert [each.index for each in batch.rejections] == [3]
    assert [json.loads(line)["n"] for line in batch.events.splitlines()] == [0, 2]
    with pytest.raises(ExactWayNeeded):
        collector.batches(in_bulk=True)
    with pytest.raises(TooLarge, match="max_events"):
        collector.add_elements("e", range(4, 6), b"{},{}")


@given(st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-(10**18), 10**18) | st.integers(-1000, 10**9))
def test_a_time_as_a_member_is_that_time(time_ns: int) -> None:
    collector = EventCollector(LIMITS, NOW_NS)
    collector.add_lines("d", (0,), (b'{"_time":%b}' % time_member(time_ns),))

    assert collector.batches()["d"].times.tolist() == [time_ns]
