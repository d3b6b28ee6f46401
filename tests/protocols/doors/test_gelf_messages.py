"""GELF: a message is an event, exactly; chunks are put together in whatever order, in bounded memory and time."""

import contextlib
import gzip
import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge
from tailrace.protocols.doors.gelf_messages import (
    CHUNK_HEAD_BYTES,
    CHUNK_MAGIC,
    MAX_CHUNKS,
    GelfAssembler,
    decompressed,
    gelf_event,
)


def event_of(message: bytes | dict[str, Any]) -> Any:
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return json.loads(msgspec.json.encode(gelf_event(text)))


# The message of the specification.
DOCUMENTED = b"""{
  "version": "1.1", "host": "example.org", "short_message": "A short message that helps you identify what is going on",
  "full_message": "Backtrace here\\n\\nmore stuff", "timestamp": 1385053862.3072, "level": 1,
  "_user_id": 9001, "_some_info": "foo", "_some_env_var": "bar"
}"""


def test_the_documented_message_is_an_event() -> None:
    assert event_of(DOCUMENTED) == {
        "_time": "2013-11-21T17:11:02.3072Z",
        "message": "A short message that helps you identify what is going on",
        "host": "example.org",
        "full_message": "Backtrace here\n\nmore stuff",
        "level": 1,
        "user_id": 9001,
        "some_info": "foo",
        "some_env_var": "bar",
    }


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        ("1764460000.123456789", "2025-11-29T23:46:40.123456789Z"),
        ("1764460000", "2025-11-29T23:46:40Z"),
        ('"1764460000.5"', "2025-11-29T23:46:40.5Z"),
        ("1.7644600001e9", "2025-11-29T23:46:40.1Z"),
        ("12.5", "1970-01-01T00:00:12.5Z"),
        ("-1", "1969-12-31T23:59:59Z"),
        ('"2025-11-29T23:46:40+01:00"', "2025-11-29T22:46:40Z"),
    ],
)
def test_a_timestamp_in_seconds_is_the_time_to_the_nanosecond(timestamp: str, time: str) -> None:
    event = event_of(b'{"short_message":"m","timestamp":%s}' % timestamp.encode())

    assert event == {"_time": time, "message": "m"}


@pytest.mark.parametrize("timestamp", ["1764460000123", '"soon"', "true", "1e999", '"1.2.3"', "[1]"])
def test_a_timestamp_that_is_no_time_stays_a_field(timestamp: str) -> None:
    event = gelf_event(b'{"short_message":"m","timestamp":%s}' % timestamp.encode())

    assert {name: bytes(value) for name, value in event.items()} == {
        "message": b'"m"',
        "timestamp": timestamp.encode(),
    }


def test_no_field_takes_the_place_of_another() -> None:
    sent = {"short_message": "s", "message": "m", "_message": 1, "host": "h", "_host": 2, "_time": 3, "time": 4}
    sent |= {"__time": 5, "_": 6, "__": 7, "_full_message": 8, "_a.b": 9, "timestamp": 0.5}

    event = event_of(sent)

    assert event == {
        "_time": "1970-01-01T00:00:00.5Z",
        "message": "s",
        "host": "h",
        "time": 4,
        "full_message": 8,
        "a.b": 9,
        "_message": "m",
        "__message": 1,
        "_host": 2,
        "__time": 3,
        "___time": 5,
        "_": 6,
        "__": 7,
    }


def test_values_are_as_they_were_sent() -> None:
    numbers = b'{"short_message":"m","_a":18446744073709551616,"_b":0.10000000000000000001,"_c":{"d":[1e400]}}'

    event = gelf_event(numbers)

    assert [bytes(event[name]) for name in "abc"] == [
        b"18446744073709551616",
        b"0.10000000000000000001",
        b'{"d":[1e400]}',
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'{"host":"h"}', "no text"),
        (b'{"short_message":" \\n"}', "no text"),
        (b'{"short_message":7}', "'short_message' is to be a text"),
        (b'{"message":["m"]}', "'message' is to be a text"),
        (b'{"short_message":"m","host":7}', "'host' is to be a text"),
        (b'{"short_message":"m","host":""}', "'host' is to be a text"),
        (b'{"short_message":"m"', "no JSON object"),
        (b'{"short_message":"m","\xff":1}', "no JSON object"),
        (b'{"a":' + b"[" * 10_000, "no JSON object"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        gelf_event(message)


def test_a_message_may_be_compressed() -> None:
    for sent in (DOCUMENTED, gzip.compress(DOCUMENTED), *(zlib.compress(DOCUMENTED, level) for level in range(10))):
        assert decompressed(sent, 4096) == DOCUMENTED
    for bomb in (gzip.compress(bytes(10_000)), zlib.compress(bytes(10_000)), bytes(10_000)):
        with pytest.raises(TooLarge):
            decompressed(bomb, 4096)
    with pytest.raises(BadRequest):
        decompressed(zlib.compress(DOCUMENTED)[:-5], 4096)


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: b'{"short_message":"m",' + tail))
def test_any_bytes_are_an_event_or_refused(message: bytes) -> None:
    with contextlib.suppress(BadRequest, TooLarge):
        assert gelf_event(decompressed(message, 4096))


# Chunks.


def chunks_of(message: bytes, id: bytes, size: int) -> list[bytes]:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return [CHUNK_MAGIC + id + bytes((number, len(parts))) + part for number, part in enumerate(parts)]


@given(st.data(), st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), st.integers(1, 9))
def test_chunks_of_several_messages_in_any_order_are_the_messages(
    data: st.DataObject, messages: list[bytes], size: int
) -> None:
    chunks = [chunk for at, message in enumerate(messages) for chunk in chunks_of(message, at.to_bytes(8, "big"), size)]
    assembler = GelfAssembler(max_bytes=1000)

    received = [assembler.add(chunk, "peer", 0.0) for chunk in data.draw(st.permutations(chunks))]

    assert sorted(message for message in received if message is not None) == sorted(messages)
    assert (len(assembler), assembler.dropped) == (0, 0)


def test_a_datagram_that_is_no_chunk_is_a_message() -> None:
    assert GelfAssembler(max_bytes=10).add(b"{}", "peer", 0.0) == b"{}"


def test_senders_are_apart_and_a_repeated_chunk_is_taken_once() -> None:
    first, second = chunks_of(b"abcdef", b"12345678", 3)
    assembler = GelfAssembler(max_bytes=100)

    assert [assembler.add(first, peer, 0.0) for peer in ("a", "b", "a", "a")] == [None] * 4
    assert assembler.add(second, "a", 0.0) == b"abcdef"
    assert len(assembler) == 1


def test_a_chunk_that_comes_again_behind_its_message_is_of_no_other() -> None:
    first, second = chunks_of(b"abcdef", b"12345678", 3)
    assembler = GelfAssembler(max_bytes=100, max_messages=1)
    assembler.add(first, "a", 0.0)
    assert assembler.add(second, "a", 1.0) == b"abcdef"
    assert [assembler.add(chunk, "a", 5.9) for chunk in (first, second)] == [None, None]
    assert (len(assembler), assembler.dropped) == (0, 0)

    # Ids that were long ago, or before too many others, may be those of new messages.
    assert [assembler.add(chunk, "a", 6.0) for chunk in (first, second)] == [None, b"abcdef"]
    assert [assembler.add(chunk, "b", 6.0) for chunk in (first, second)] == [None, b"abcdef"]
    assert [assembler.add(chunk, "a", 6.0) for chunk in (first, second)] == [None, b"abcdef"]


def test_what_is_not_complete_after_five_seconds_is_dropped() -> None:
    first, second = chunks_of(b"abcdef", b"12345678", 3)
    assembler = GelfAssembler(max_bytes=100)

    assert assembler.add(first, "a", 10.0) is None
    assert assembler.add(second, "a", 14.9) == b"abcdef"
    assert assembler.add(first, "a", 20.0) is None
    assert assembler.add(second, "a", 25.0) is None
    assert (len(assembler), assembler.dropped) == (1, 1)
    assembler.expire(31.0)
    assert (len(assembler), assembler.dropped) == (0, 2)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.binary(max_size=30)), max_size=200))
def test_memory_is_bounded(chunks: list[tuple[int, int, bytes]]) -> None:
    assembler = GelfAssembler(max_bytes=100, max_messages=5)
    for id, number, part in chunks:
        assembler.add(CHUNK_MAGIC + id.to_bytes(8, "big") + bytes((number, 4)) + part, "a", 0.0)

        assert len(assembler) <= 5
        held = list(assembler._pending.values())
        assert assembler._bytes == sum(len(part) for message in held for part in message.chunks.values()) <= 100


@pytest.mark.parametrize(
    "chunk",
    [
        CHUNK_MAGIC,
        CHUNK_MAGIC + bytes(CHUNK_HEAD_BYTES - 3),
        CHUNK_MAGIC + bytes(8) + b"\x02\x02",
        CHUNK_MAGIC + bytes(8) + b"\x00\x00",
        CHUNK_MAGIC + bytes(8) + bytes((0, MAX_CHUNKS + 1)),
    ],
)
def test_a_chunk_that_cannot_be_is_refused(chunk: bytes) -> None:
    assembler = GelfAssembler(max_bytes=100)

    with pytest.raises(BadRequest, match="the chunk"):
        assembler.add(chunk, "a", 0.0)
    assert len(assembler) == 0


def test_chunks_of_one_id_agree_on_their_number() -> None:
    assembler = GelfAssembler(max_bytes=100)
    assembler.add(CHUNK_MAGIC + bytes(8) + b"\x00\x02a", "a", 0.0)

    with pytest.raises(BadRequest, match="others of its id are of 2"):
        assembler.add(CHUNK_MAGIC + bytes(8) + b"\x01\x03b", "a", 0.0)
    assert assembler.add(CHUNK_MAGIC + bytes(8) + b"\x01\x02b", "a", 0.0) == b"ab"
