"""A batch to a frame and back."""

import numpy as np
import pytest
from hypothesis import given
from log.kit import batches, fields_of, make_batch
from msgspec.structs import replace

from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey
from tailrace.log import frames


def frame(batch: Batch, position: int) -> bytes:
    return b"".join(frames.encode(frames.prepare(batch), position))


@given(batches())
def test_any_batch_comes_back_from_its_frame(batch: Batch) -> None:
    buffer = frame(batch, 7)

    header = frames.read_header(buffer, 0)

    assert header is not None
    assert header.position == 7
    assert fields_of(frames.decode(header, memoryview(buffer)[frames.HEADER_BYTES :])) == fields_of(batch)


@given(batches())
def test_a_prepared_batch_knows_the_size_of_its_frame(batch: Batch) -> None:
    assert frames.prepare(batch).frame_bytes == len(frame(batch, 1))


@pytest.mark.parametrize("count", [1, 16, 17, 5000])
@pytest.mark.parametrize("layout", ["<i8", ">i8"])
def test_a_large_batch_is_framed_as_a_small_one_is(count: int, layout: str) -> None:
    events = b'{"text":"%b"}\n' % (b"x" * 1000) * count
    batch = Batch("demo", events, np.arange(2 * count, dtype=layout)[::2], count, 1, {"label": 1})
    assert (frames.prepare(batch).frame_bytes > frames.JOINED_BYTES) == (count > 16)

    buffer = frame(batch, 7)
    header = frames.read_header(buffer, 0)

    assert header is not None
    payload = memoryview(buffer)[frames.HEADER_BYTES :]
    assert frames.crc32c(payload, 0, len(payload)) == header.payload_crc
    assert fields_of(frames.decode(header, payload)) == fields_of(batch)


def test_idempotency_keys_are_in_the_frame_and_cost_one_without_them_nothing() -> None:
    keys = (BatchKey(b"\n" * 16, b"\xf5" * 16, 2**64 - 1), BatchKey(bytes(16), bytes(range(16)), 0))
    plain = make_batch("odd", count=3)
    buffer = frame(replace(plain, keys=keys), 1)
    header = frames.read_header(buffer, 0)
    assert header is not None
    decoded = frames.decode(header, memoryview(buffer)[frames.HEADER_BYTES :])
    assert decoded.keys == keys
    assert fields_of(replace(decoded, keys=())) == fields_of(plain)
    assert len(buffer) == len(frame(plain, 1)) + 1 + 2 * 80


def test_times_in_another_layout_are_stored_as_their_values() -> None:
    times = np.arange(6, dtype=">i8")[::2]
    batch = Batch("demo", b"{}\n" * 3, times, 3, 1)
    buffer = frame(batch, 1)
    header = frames.read_header(buffer, 0)
    assert header is not None
    assert frames.decode(header, memoryview(buffer)[frames.HEADER_BYTES :]).times.tolist() == [0, 2, 4]


def test_decoded_times_can_be_read_in_place_by_other_libraries() -> None:
    buffer = frame(make_batch("odd", count=3), 1)
    header = frames.read_header(buffer, 0)
    assert header is not None
    assert frames.decode(header, memoryview(buffer)[frames.HEADER_BYTES :]).times.flags.aligned


def test_a_batch_whose_times_are_not_one_an_event_is_refused() -> None:
    with pytest.raises(ValueError, match="as many times"):
        frames.prepare(Batch("demo", b"{}\n", np.zeros(2, dtype=np.int64), 1, 1))


def test_every_flipped_bit_of_a_header_is_noticed() -> None:
    good = frame(make_batch(), 1)
    for bit in range(frames.HEADER_BYTES * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert frames.read_header(bad, 0) is None
