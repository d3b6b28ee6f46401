"""Content encodings: what is accepted, what is refused, and how much memory a bomb gets."""

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge, UnsupportedEncoding
from tailrace.parsing import decode_body

MIB = 1024 * 1024


def zstd_without_size(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush()


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "zstd": zstandard.compress,
    "Zstd": zstd_without_size,
    "deflate": zlib.compress,
    "DEFLATE": raw_deflate,
    "br": brotli.compress,
    "": bytes,
    "identity": bytes,
    "1": bytes,
}
COMPRESSORS = [
    ("gzip", gzip.compress),
    ("zstd", zstandard.compress),
    ("zstd", zstd_without_size),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
]


# What is still compressed when all codings are undone is refused: below.
PLAIN = st.binary(max_size=3000).filter(lambda data: not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")))


@given(data=PLAIN, name=st.sampled_from(sorted(ENCODERS)))
def test_what_was_encoded_is_decoded(data: bytes, name: str) -> None:
    assert decode_body(ENCODERS[name](data), name, MIB) == data


def test_a_list_of_codings_is_undone_from_last_to_first() -> None:
    body = zstandard.compress(gzip.compress(b'{"a":1}'))

    assert decode_body(body, "gzip, ZSTD", MIB) == b'{"a":1}'


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_several_members_are_one_body(name: str, encode: Callable[[bytes], bytes]) -> None:
    assert decode_body(encode(b"one ") + encode(b"two"), name, MIB) == b"one two"


def test_zero_bytes_after_gzip_data_are_padding() -> None:
    assert decode_body(gzip.compress(b"x") + bytes(100), "gzip", MIB) == b"x"


def test_an_empty_body_is_empty_whatever_the_header_says() -> None:
    assert decode_body(b"", "gzip", MIB) == b""


@pytest.mark.parametrize(("name", "encode"), COMPRESSORS)
def test_a_body_that_ends_early_is_refused(name: str, encode: Callable[[bytes], bytes]) -> None:
    body = encode(bytes(range(256)) * 40)

    for end in (1, 5, len(body) // 2, len(body) - 1):
        with pytest.raises(BadRequest, match=f"broken {name} data"):
            decode_body(body[:end], name, MIB)


@pytest.mark.parametrize(("name", "encode"), COMPRESSORS)
def test_bytes_after_the_end_are_refused(name: str, encode: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadRequest, match=f"broken {name} data"):
        decode_body(encode(b"x") + b"rest", name, MIB)


@pytest.mark.parametrize("name", ["gzip", "zstd", "deflate", "br"])
def test_data_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=f"broken {name} data"):
        decode_body(b'{"this is": "not compressed at all"}', name, MIB)


def test_a_wrong_checksum_is_refused() -> None:
    body = bytearray(gzip.compress(b"some data"))
    body[-6] ^= 1

    with pytest.raises(BadRequest, match="incorrect data check"):
        decode_body(bytes(body), "gzip", MIB)


def test_an_unknown_coding_is_refused_with_the_accepted_ones() -> None:
    with pytest.raises(UnsupportedEncoding, match=r"'lzma'.*gzip, zstd, deflate, br, identity") as refused:
        decode_body(b"x", "gzip, lzma", MIB)
    assert refused.value.status == 415


def test_too_many_codings_are_refused() -> None:
    with pytest.raises(BadRequest, match="at most 4"):
        decode_body(b"x", ",".join(["gzip"] * 5), MIB)


@pytest.mark.parametrize(("name", "encode"), [*COMPRESSORS, ("", bytes)])
def test_the_limit_is_exact(name: str, encode: Callable[[bytes], bytes]) -> None:
    body = encode(bytes(1000))

    assert len(decode_body(body, name, 1000)) == 1000
    with pytest.raises(TooLarge, match="max_body_bytes = 999 bytes"):
        decode_body(body, name, 999)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "encode"), COMPRESSORS)
def test_a_bomb_is_not_inflated_past_the_limit(name: str, encode: Callable[[bytes], bytes]) -> None:
    bomb = encode(bytes(64 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decode_body(bomb, name, MIB)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 4 * MIB


def test_many_gzip_members_cost_no_more_than_their_bytes() -> None:
    body = gzip.compress(b"") * 50_000
    began = time.process_time()

    assert decode_body(body, "gzip", 1024) == b""

    assert time.process_time() - began < 2.0


def test_more_gzip_members_than_anyone_sends_are_refused() -> None:
    with pytest.raises(BadRequest, match="members"):
        decode_body(gzip.compress(b"") * 100_001, "gzip", 1024)


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_body_that_is_compressed_and_not_said_to_be_names_the_header(
    name: str, compress: Callable[[bytes], bytes]
) -> None:
    body = compress(b'[{"n":1}]')
    for encoding in ("", "identity"):
        with pytest.raises(BadRequest) as refused:
            decode_body(body, encoding, MIB)
        assert f"the body is {name} data" in refused.value.message
        assert f"Content-Encoding: {name}" in refused.value.message
    with pytest.raises(BadRequest, match=f"{name} data once more"):
        decode_body(compress(body), name, MIB)
    assert decode_body(compress(body), f"{name}, {name}", MIB) == b'[{"n":1}]'
