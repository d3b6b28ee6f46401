"""MessagePack as JSON has it: every value of the format comes out exactly, and no bytes are more than refused."""

import math
import struct
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge
from tailrace.events.timestamps import timestamp_ns
from tailrace.parsing.msgpack import MsgpackErrors, unpack, unpack_list

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=300),
    # Bytes that look like a time, or like a float that is no number, are none within a text or among integers.
    st.sampled_from(["\x7f", b"\xd7\xff".decode("latin-1"), 0xD7FF, 0xC70CFF, 0xCB7FF0]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner), max_leaves=20
)


@given(values)
def test_a_value_comes_out_as_it_went_in(value: Any) -> None:
    assert unpack(msgspec.msgpack.encode(value)) == value


@given(values, st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from([4, 8, 12]))
def test_a_time_keeps_its_nanoseconds_among_any_values(value: Any, time_ns: int, size: int) -> None:
    if size == 4:
        time_ns = time_ns % 2**32 * 1_000_000_000
    seconds, nanoseconds = divmod(time_ns % 2**62 if size == 8 else time_ns, 1_000_000_000)
    packed = {
        4: lambda: struct.pack(">BBI", 0xD6, 0xFF, seconds),
        8: lambda: struct.pack(">BBQ", 0xD7, 0xFF, nanoseconds << 34 | seconds),
        12: lambda: struct.pack(">BBBIq", 0xC7, 12, 0xFF, nanoseconds, seconds),
    }[size]()
    other = msgspec.msgpack.encode(value)

    before, read, after = unpack(b"\x93" + other + packed + other)

    assert before == after == value
    assert timestamp_ns(read) == seconds * 1_000_000_000 + nanoseconds


def test_floats_that_are_no_numbers_are_named() -> None:
    value = {"a": [math.nan, math.inf, 1.5], "b": {"c": -math.inf}}

    assert unpack(msgspec.msgpack.encode(value)) == {"a": ["NaN", "Infinity", 1.5], "b": {"c": "-Infinity"}}
    assert unpack(struct.pack(">Bf", 0xCA, math.inf)) == "Infinity"


@pytest.mark.parametrize(
    "packed",
    [
        b"\xd4\x01x",  # an extension type of an application
        b"\xd7\xff" + b"\xff" * 8,  # more nanoseconds than a second has
        b"\xc7\x0c\xff" + b"\0" * 4 + b"\x7f" + b"\xff" * 7,  # a year that is none
        b"\xa1\xff",
        b"\x91" * 100_000 + b"\x01",
        b"\x01\x02",
        b"",
    ],
)
def test_what_is_no_value_is_refused(packed: bytes) -> None:
    with pytest.raises(MsgpackErrors):
        unpack(packed)


def test_arrays_are_counted_before_they_are_read() -> None:
    assert [bytes(each) for each in unpack_list(b"\x92\x01\xa1a", 2)] == [b"\x01", b"\xa1a"]
    for many in (b"\x93\x01\x01\x01", b"\xdc\x00\x03", b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(TooLarge, match="max_events = 2"):
            unpack_list(many, 2)
    for none in (b"", b"\x80", b"\x92\x01", b"\xdd"):
        with pytest.raises(BadRequest, match="no MessagePack array"):
            unpack_list(none, 2)


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_refused(packed: bytes) -> None:
    with suppress(*MsgpackErrors):
        unpack(packed)
    with suppress(BadRequest, TooLarge):
        unpack_list(packed, 10)
