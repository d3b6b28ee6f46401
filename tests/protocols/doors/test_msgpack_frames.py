"""Values of msgpack are told apart in whatever pieces they come, and read as msgspec reads them."""

import contextlib
import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge
from tailrace.protocols.doors.msgpack_frames import (
    MsgpackFrames,
    decode_leniently,
    payload_of,
    plain,
    values_of,
)

KEYS = st.text(max_size=4) | st.integers(-5, 5)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=25,
)


def hook(kind: int, data: bytes | memoryview) -> Any:
    return ["ext", kind, bytes(data)]


def split(data: bytes, cuts: list[int], max_bytes: int = 1 << 20) -> tuple[list[bytes], bytes, str]:
    frames = MsgpackFrames(max_bytes, 10_000)
    found: list[bytes] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        found += frames.split(data[at:cut])
        at = cut
    return found, bytes(frames._buffer), frames.fault.message if frames.fault is not None else ""


@given(st.lists(VALUES, max_size=5), st.data())
def test_values_are_told_apart_whatever_the_pieces(values: list[Any], data: st.DataObject) -> None:
    packed = [msgpack.packb(value) for value in values]
    stream = b"".join(packed)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))

    assert split(stream, cuts) == (packed, b"", "")
    assert values_of(stream, 10_000) == packed
    short = data.draw(st.integers(0, max(0, len(packed[-1]) - 1))) if packed else 0
    if packed:
        whole = b"".join(packed[:-1])
        assert split(whole + packed[-1][:short], cuts) == (packed[:-1], packed[-1][:short], "")


@given(VALUES)
def test_a_value_is_read_as_msgspec_reads_it(value: Any) -> None:
    packed = msgpack.packb(value)

    assert decode_leniently(packed, hook) == msgspec.msgpack.decode(packed, ext_hook=hook)


@given(st.binary(max_size=60), st.data())
def test_any_bytes_are_split_the_same_whatever_the_pieces(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))

    whole, left, fault = split(stream, [])
    pieces = split(stream, cuts)
    assert (pieces[0], pieces[2]) == (whole, fault)
    if not fault:
        assert b"".join(whole) + left == stream
    for value in whole:
        with contextlib.suppress(BadRequest):
            plain(decode_leniently(value, hook))


def test_text_that_is_no_utf8_is_read_with_a_mark() -> None:
    packed = msgpack.packb({"m": "x"}).replace(b"x", b"\xe9")

    assert decode_leniently(packed, hook) == {"m": "\ufffd"}


def test_bytes_are_text_where_they_are_utf8() -> None:
    assert plain({b"k": [b"text", b"\xff\x00"], 1: None}) == {"k": ["text", "/wA="], "1": None}


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\xc1", "this is no msgpack"),
        (b"\x91\xc1", "this is no msgpack"),
        (b"\xdb\xff\xff\xff\xff", "a message has more than 1000 bytes"),
        (b"\xc6\x00\x00\x03\xfc", "a message has more than 1000 bytes"),
        (b"\xdd\xff\xff\xff\xff", "a message has more than 10000 values"),
        (b"\xdf\x00\x00\x20\x00", "a message has more than 10000 values"),
    ],
)
def test_what_cannot_be_or_is_too_much_is_a_fault_at_once(stream: bytes, reason: str) -> None:
    assert split(stream, [], 1000)[2] == reason
    assert split(stream, list(range(len(stream))), 1000)[2] == reason


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(BadRequest, match="more than 100 levels"):
        decode_leniently(b"\x91" * 5000 + b"\xc0", hook)


def test_a_chunk_that_breaks_off_or_has_too_many_values_is_refused() -> None:
    with pytest.raises(BadRequest, match="not whole"):
        values_of(b"\x01\x92\x01", 10)
    with pytest.raises(TooLarge, match="more than 10 values"):
        values_of(b"\x01\x9f" + b"\x01" * 15, 10)


def test_a_frame_takes_no_more_memory_than_its_bytes() -> None:
    frames = MsgpackFrames(10_000_000, 1000)
    tracemalloc.start()
    frames.split(b"\xc6\x00\x40\x00\x00")
    for _ in range(64):
        assert frames.split(b"x" * 65536)[1:] == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_the_payload_of_text_and_bytes_is_read() -> None:
    for size in (0, 1, 31, 32, 255, 256, 65535, 65536):
        for value in ("x" * size, b"x" * size):
            assert payload_of(msgpack.packb(value)) == b"x" * size
    with pytest.raises(BadRequest):
        payload_of(b"\x01")
