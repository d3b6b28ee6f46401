"""Messages by a table of fields, and bodies compressed by snappy, as other implementations write them."""

import contextlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge
from tailrace.parsing.protobuf import (
    ProtobufField,
    decode_snappy,
    message_classes,
    parse_message,
    snappy_size,
    text_of,
)

CLASSES = message_classes(
    "tailrace.test",
    {
        "Outer": (
            ProtobufField(1, "inner", "Inner", is_repeated=True),
            ProtobufField(2, "count", "uint64", has_presence=True),
            ProtobufField(3, "sizes", "double", is_repeated=True),
        ),
        "Inner": (ProtobufField(1, "text", "bytes"), ProtobufField(2, "signed", "sint64")),
    },
)


def test_a_message_is_read_by_its_table() -> None:
    # As protobuf's document of its encoding has them: tag and value, a length before what is no number.
    body = b"\x0a\x05\x0a\x01\xff\x10\x03" + b"\x10\x96\x01" + b"\x1a\x08" + b"\x00" * 6 + b"\xf0\x3f" + b"\x78\x01"

    outer = parse_message(CLASSES["Outer"], body, "test")

    assert [(inner.text, inner.signed) for inner in outer.inner] == [(b"\xff", -2)]
    assert (outer.count, list(outer.sizes)) == (150, [1.0])
    assert outer.HasField("count")
    assert not parse_message(CLASSES["Outer"], b"", "test").HasField("count")


def test_what_is_no_message_or_nothing_but_empty_ones_is_refused() -> None:
    with pytest.raises(BadRequest, match="no test in protobuf"):
        parse_message(CLASSES["Outer"], b"\x0a\x05", "test")
    with pytest.raises(TooLarge, match="of the 400000 bytes of Outer too many are those of more than 125000 fields"):
        parse_message(CLASSES["Outer"], b"\x0a\x00" * 200_000, "test")


def test_a_text_that_is_not_utf8_is_readable() -> None:
    assert text_of("é".encode() + b"\xff") == "é\ufffd"


@given(st.binary(max_size=200))
def test_snappy_is_undone(body: bytes) -> None:
    compressed = bytes(cramjam.snappy.compress_raw(body))

    assert snappy_size(compressed) == len(body)
    assert decode_snappy(compressed, 200) == body
    for broken in (compressed[:-1], compressed + b"\x00", body):
        with contextlib.suppress(BadRequest, TooLarge):
            assert len(decode_snappy(broken, 200)) <= 200


def test_a_bomb_is_refused_by_what_it_says() -> None:
    bomb = b"\xff\xff\xff\xff\x07\x00a"
    assert snappy_size(bomb) == 2**31 - 1
    with pytest.raises(TooLarge, match="2147483647 bytes after snappy; max_body_bytes is 1000"):
        decode_snappy(bomb, 1000)
    assert snappy_size(b"\xff") == 0
