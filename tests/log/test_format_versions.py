"""Formats of segments: those of earlier versions are read, and what those cannot read is in files that they refuse."""

import errno
import json
import os
import struct
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st
from log.kit import Failing, batches, fields_of, make_batch, open_log, segment_files
from msgspec.structs import replace
from support.append import append_now

from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey
from tailrace.log import FileCalls, LogWriteError

KEY = BatchKey(b"d" * 16, b"f" * 16, 1)
KEYED = replace(make_batch(), keys=(KEY,))
FIRST_HEADER = struct.Struct("<8sIq")
FRAME_FIELDS = struct.Struct("<IIqqIIQ")


def first_format(written: list[Batch]) -> bytes:
    """Return the segment that versions without idempotency keys made of batches."""
    head = FIRST_HEADER.pack(b"TAILRACE", 1, 1)
    content = head + struct.pack("<I", google_crc32c.value(head))
    for position, batch in enumerate(written, 1):
        dataset, labels = batch.dataset.encode(), json.dumps(batch.labels, separators=(",", ":")).encode()
        payload = dataset + labels + batch.times.astype("<i8").tobytes() + batch.events
        lengths = len(dataset), len(labels), len(batch.events)
        crc = google_crc32c.value(payload)
        fields = FRAME_FIELDS.pack(crc, batch.count, position, batch.received_ns, *lengths)
        content += b"\xf5TLF" + struct.pack("<I", google_crc32c.value(fields)) + fields + payload
    return content


def versions(directory: Path) -> list[int]:
    """Return the format of each segment, which versions without idempotency keys refuse unless it is 1."""
    return [FIRST_HEADER.unpack_from(path.read_bytes())[1] for path in segment_files(directory)]


@given(st.lists(batches().map(lambda each: replace(each, keys=())), max_size=4))
def test_the_segment_of_an_earlier_version_is_read_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, written: list[Batch]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    (directory / f"{1:020d}.seg").write_bytes(first_format(written))
    with open_log(directory) as log:
        assert [fields_of(batch) for _, batch in log.read(0)] == [fields_of(batch) for batch in written]
        append_now(log, make_batch())
        append_now(log, KEYED)
        assert versions(directory)[0] == 1
    with open_log(directory) as log:
        found = [fields_of(batch) for _, batch in log.read(0)]
        assert found == [*(fields_of(batch) for batch in written), fields_of(make_batch()), fields_of(KEYED)]
        assert log.damage == []


def test_batches_without_keys_are_written_as_earlier_versions_did(tmp_path: Path) -> None:
    written = [make_batch(), make_batch("odd", count=3, label=1)]
    with open_log(tmp_path) as log:
        for batch in written:
            append_now(log, batch)
    (segment,) = segment_files(tmp_path)
    assert segment.read_bytes() == first_format(written)


@pytest.mark.parametrize("before", [0, 1], ids=["first", "later"])
def test_a_key_is_in_no_segment_that_an_earlier_version_takes_for_its_own(tmp_path: Path, before: int) -> None:
    written = [*[make_batch()] * before, KEYED, make_batch(), KEYED]
    with open_log(tmp_path) as log:
        positions = [append_now(log, batch) for batch in written]
        assert versions(tmp_path) == [1, 2]
    with open_log(tmp_path) as log:
        assert append_now(log, KEYED) == positions[-1] + 1
        assert versions(tmp_path) == [1, 2]
        assert [position for position, _ in log.read(0)] == [*positions, positions[-1] + 1]
        assert log.damage == []
    assert KEY.digest.hex().encode() not in segment_files(tmp_path)[0].read_bytes()


def test_once_all_of_it_is_released_an_earlier_version_takes_the_log(tmp_path: Path) -> None:
    position = 0
    for _ in range(2):
        with open_log(tmp_path) as log:
            for _ in range(3):
                before, position = position, append_now(log, KEYED)
                assert position > before
                log.release(position)
                assert versions(tmp_path) == [1]
                log.release(position)
            assert log.damage == []


def test_a_segment_for_keys_that_a_crash_left_empty_is_used(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        append_now(log, make_batch())
        append_now(log, KEYED)
    with segment_files(tmp_path)[1].open("r+b") as segment:
        segment.truncate(FIRST_HEADER.size + 4)
    with open_log(tmp_path) as log:
        assert append_now(log, KEYED) == 2
        log.release(1)
        assert versions(tmp_path) == [2]
        assert [position for position, _ in log.read(0)] == [2]


def test_a_failed_write_with_a_key_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    fails = Failing(os.fdatasync, errno.EIO)
    with open_log(tmp_path, calls=FileCalls(fdatasync=fails)) as log:
        fails.times = 1
        with pytest.raises(LogWriteError):
            append_now(log, KEYED)
        position = append_now(log, KEYED)
        assert [each for each, _ in log.read(0)] == [position]
    with open_log(tmp_path) as log:
        assert [fields_of(batch) for _, batch in log.read(0)] == [fields_of(KEYED)]
        assert log.damage == []
    assert 1 in versions(tmp_path)
    assert versions(tmp_path)[-1] == 2
