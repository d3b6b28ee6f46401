"""The lines of batches: with labels, in pieces, and whole as `_rest`."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import RECEIVED_NS, batch
from support.rounds import rounds

from tailrace.events import Batch
from tailrace.lake.fields import Fields
from tailrace.lake.lines import (
    events_as_rest,
    ndjson_with_labels,
    pieces_of,
    prefixed_exactly,
    times_of,
    whole_events_as_rest,
)
from tailrace.lake.shred import Shredder
from tailrace.native.scanner import prefixed

EVENTS = [{"n": number} for number in range(10)]


ODD_LINES = b'{}\n { "a":1}\n{ }\n{"b":{}}\n\t{\r"c" : 1 } \n'


def test_labels_are_spliced_into_odd_lines_too() -> None:
    result = ndjson_with_labels(Batch("d", ODD_LINES, batch([{}] * 5).times, 5, 1, {"l": {"m": 1}}))

    assert [json.loads(line) for line in bytes(result).splitlines()] == [
        {"l.m": 1},
        {"l.m": 1, "a": 1},
        {"l.m": 1},
        {"l.m": 1, "b": {}},
        {"l.m": 1, "c": 1},
    ]


SPACES = st.sampled_from(["", "", " ", "\t", " \r "])
MEMBERS = st.sampled_from(["", "", '"a":1', '"b" : {}', '"c":"}{"', "} , {"])


@pytest.mark.rounds
@settings(max_examples=rounds(60))
@given(st.lists(st.tuples(SPACES, SPACES, MEMBERS, SPACES), min_size=1, max_size=9))
def test_labels_are_spliced_natively_as_they_are_exactly(parts: list[tuple[str, str, str, str]]) -> None:
    lines = "".join(f"{before}{{{space}{members}}}{after}\n" for before, space, members, after in parts).encode()

    native = prefixed(lines, len(parts), b'{"l":1')

    assert native is not None
    assert bytes(native) == prefixed_exactly(lines, b'{"l":1')


def test_events_keep_their_own_values_beside_labels_of_these_names() -> None:
    labels = {"a": "label", "b": {"c": "label"}, "d": "label", "n": "label"}
    events: list[dict[str, Any]] = [{"a": 1, "b": {"c": {}}, "n": None}, {"b.c": [2], "d": {"e": 3}}] * 5

    table = Shredder(Fields(max_columns=0)).shred([batch(events, labels=labels)])

    assert [json.loads(rest) for rest in table["_rest"].to_pylist()] == [
        {"d": "label", "a": 1, "b.c": {}},
        {"a": "label", "n": "label", "b.c": [2], "d.e": 3},
    ] * 5


@pytest.mark.parametrize("labels", [{}, {"service": "x" * 100}])
@pytest.mark.parametrize("max_bytes", [1, 20, 500, 1_000_000])
def test_pieces_are_bounded_and_have_every_event_in_order(labels: dict[str, str], max_bytes: int) -> None:
    batches = [batch(EVENTS, labels=labels), batch(EVENTS[:1]), batch(EVENTS, labels=labels)]
    whole = b"".join(ndjson_with_labels(each) for each in batches)

    pieces = list(pieces_of(batches, max_bytes))

    assert b"".join(piece.events for piece in pieces) == whole
    assert all(bytes(piece.events).count(b"\n") == piece.count > 0 for piece in pieces)
    longest = max(map(len, whole.splitlines(keepends=True)))
    assert all(len(piece.events) <= max_bytes + longest for piece in pieces)


def test_the_bytes_of_a_single_batch_are_not_copied() -> None:
    alone = batch(EVENTS)

    [piece] = pieces_of([alone])

    assert piece.events is alone.events


def test_whole_events_are_texts_that_can_be_stored() -> None:
    lines = b'{"a":1}\n{"b":"\xff"}\n'
    broken = Batch("d", lines, batch([{}] * 2).times, 2, RECEIVED_NS)

    table = whole_events_as_rest([broken, batch([{"n": 1}], labels={"l": 2})])

    assert table["_rest"].to_pylist() == ['{"a":1}', '{"b":"\ufffd"}', '{"l":2,"n":1}']
    assert table["_rest"].type == pa.string()


def test_events_for_a_tail_are_the_bytes_of_their_batches() -> None:
    batches = [batch(EVENTS[:2]), batch(EVENTS[2:4])]

    table = events_as_rest(batches)

    assert [json.loads(text) for text in table["_rest"].to_pylist()] == EVENTS[:4]
    places = [chunk.buffers()[2].address for chunk in table["_rest"].chunks]
    assert places == [pa.py_buffer(each.events).address for each in batches]


def test_times_are_whole_microseconds_of_every_event() -> None:
    early = Batch("d", b"{}\n", batch([{}]).times * 0 - 1, 1, 2_999)

    times = times_of([early, batch([{}])])

    assert times["_time"].cast(pa.int64()).to_pylist() == [-1, 1_780_000_000_000_000]
    assert times["_sysTime"].cast(pa.int64()).to_pylist() == [2, RECEIVED_NS // 1000]
