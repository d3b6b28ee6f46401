"""The lines of batches: with labels, in pieces, and whole as `_rest`."""

import json

import pyarrow as pa
import pytest
from support.events import RECEIVED_NS, batch

from tailrace.events import Batch
from tailrace.lake.lines import events_as_rest, ndjson_with_labels, pieces_of, times_of, whole_events_as_rest

EVENTS = [{"n": number} for number in range(10)]


def test_labels_are_spliced_into_odd_lines_too() -> None:
    lines = b'{}\n { "a":1}\n{ }\n{"b":{}}\n'

    result = ndjson_with_labels(Batch("d", lines, batch([{}] * 4).times, 4, 1, {"l": {"m": 1}}))

    assert [json.loads(line) for line in result.splitlines()] == [
        {"l.m": 1},
        {"l.m": 1, "a": 1},
        {"l.m": 1},
        {"l.m": 1, "b": {}},
    ]


@pytest.mark.parametrize("labels", [{}, {"service": "x" * 100}])
@pytest.mark.parametrize("max_bytes", [1, 20, 500, 1_000_000])
def test_pieces_are_bounded_and_have_every_event_in_order(labels: dict[str, str], max_bytes: int) -> None:
    batches = [batch(EVENTS, labels=labels), batch(EVENTS[:1]), batch(EVENTS, labels=labels)]
    whole = b"".join(ndjson_with_labels(each) for each in batches)

    pieces = list(pieces_of(batches, max_bytes))

    assert b"".join(piece.events for piece in pieces) == whole
    assert all(piece.events.count(b"\n") == piece.count > 0 for piece in pieces)
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
