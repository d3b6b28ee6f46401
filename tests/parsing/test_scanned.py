"""What is parsed by way of a scan is what the exact way makes of it, and a flagged event costs only itself."""

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.bodies import bodies
from support.rounds import rounds

from tailrace.events import ParsedBatch, TailraceError
from tailrace.parsing import ArrayFields, Copy, ExactWayNeeded, Limits, TimeRule, parse_array, parse_json
from tailrace.parsing.sanitize import Sanitized, sanitize

RECEIVED_NS = 7
FIELDS = ArrayFields(
    times=("timestamp", "_time", "time"), copies=(Copy("service", "$b.service"), Copy("namespace", "$b.namespace"))
)
LIMITS = st.sampled_from(
    [
        Limits(),
        Limits(max_depth=3, max_name_bytes=8, max_string_bytes=16),
        Limits(max_depth=1, max_events=3),
        Limits(max_event_bytes=40),
    ]
)
TIMES = st.sampled_from(
    [TimeRule(), TimeRule("time"), TimeRule("_time", "unix"), TimeRule("a.b"), TimeRule("_source"), TimeRule('"')]
)
Outcome = tuple[object, ...]


def outcome(parse: Callable[[], ParsedBatch]) -> Outcome:
    try:
        parsed = parse()
    except TailraceError as error:
        return (type(error), error.message)
    return (parsed.events, parsed.times.tolist(), parsed.count, parsed.processed_bytes, parsed.rejections)


def in_bulk(parse: Callable[[], ParsedBatch]) -> Outcome | None:
    """Return the outcome of what parses in bulk, None where it needs the exact way."""
    try:
        return outcome(parse)
    except ExactWayNeeded:
        return None


def exactly(parse: Callable[[], ParsedBatch]) -> Outcome:
    with patch("tailrace.parsing.json.scan", return_value=None):
        return outcome(parse)


@settings(max_examples=rounds(300))
@given(body=bodies(), limits=LIMITS, times=TIMES, lines=st.booleans())
@example(body=b'{"_time":1,"_time":2}{"_time":"x"}', limits=Limits(), times=TimeRule(), lines=False)
@example(body=b'\xef\xbb\xbf{"a":1}\r\n{"a": \n2}', limits=Limits(), times=TimeRule(), lines=False)
@example(body=b'{"\\u005fsource":"\\ud83d"}', limits=Limits(), times=TimeRule(), lines=False)
@example(body=b'[{"a":"\\ud83d\xff"},{}]', limits=Limits(), times=TimeRule(), lines=False)
def test_the_scan_and_the_exact_way_make_the_same_of_a_body(
    body: bytes, limits: Limits, times: TimeRule, lines: bool
) -> None:
    parse = partial(parse_json, body, times=times, limits=limits, received_ns=RECEIVED_NS, lines=lines)
    expected = exactly(parse)

    assert outcome(parse) == expected
    assert in_bulk(partial(parse, in_bulk=True)) in (None, expected)


@settings(max_examples=rounds(200))
@given(body=bodies(), limits=LIMITS, max_event_bytes=st.sampled_from([30, 10**6]))
def test_the_scan_and_the_exact_way_make_the_same_of_an_array(
    body: bytes, limits: Limits, max_event_bytes: int
) -> None:
    parse = partial(
        parse_array, body, fields=FIELDS, limits=limits, max_event_bytes=max_event_bytes, received_ns=RECEIVED_NS
    )
    expected = exactly(parse)

    assert outcome(parse) == expected
    assert in_bulk(partial(parse, in_bulk=True)) in (None, expected)


def test_what_is_plain_is_parsed_in_bulk_and_what_is_malformed_is_not() -> None:
    limits = Limits()
    times = TimeRule()
    array = partial(parse_array, fields=FIELDS, limits=limits, max_event_bytes=10**6, received_ns=RECEIVED_NS)
    events = [b'{"_time":"2026-01-02T03:04:05Z","a":%d}' % n for n in range(50)]
    joined = b"[" + b",".join(events) + b"]"

    lines = b"\n".join(events)
    for body in (lines, joined):
        parse = partial(parse_json, body, times=times, limits=limits, received_ns=RECEIVED_NS)
        assert parse(in_bulk=True).count == 50
    assert array(joined, in_bulk=True).count == 50
    for body in (lines + b"\n{}}", lines + b'\n{"_source":1}'):
        with pytest.raises(ExactWayNeeded):
            parse_json(body, times=times, limits=limits, received_ns=RECEIVED_NS, in_bulk=True)
    with pytest.raises(ExactWayNeeded):
        array(joined[:-1] + b",1]", in_bulk=True)


@pytest.mark.parametrize("flagged", [b'{"_source":1}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b'{"%s":1}' % (b"n" * 201)])
@pytest.mark.parametrize("is_array", [True, False])
def test_a_flagged_event_costs_only_itself(monkeypatch: pytest.MonkeyPatch, flagged: bytes, is_array: bool) -> None:
    looked_at: list[bytes] = []

    def record(text: bytes, start: int, until: int, limits: Limits) -> Sanitized:
        looked_at.append(text)
        return sanitize(text, start, until, limits)

    monkeypatch.setattr("tailrace.parsing.malformed.sanitize", record)
    events = [b'{"n":%d}' % number for number in range(50)]
    events[20] = flagged
    body = b"[" + b",".join(events) + b"]" if is_array else b"\n".join(events)

    found = parse_json(body, times=TimeRule(), limits=Limits(), received_ns=RECEIVED_NS)

    assert found.events.split(b"\n")[:20] + found.events.split(b"\n")[-30:-1] == events[:20] + events[21:]
    assert set(looked_at) == {flagged}
