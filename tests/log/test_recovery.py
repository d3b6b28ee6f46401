"""Opening and reading a log after a crash or a fault of the disk: what is sound is read, the rest is reported."""

import errno
import logging
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log.kit import discard, fields_of, fill, make_batch, open_log, positions, segment_files
from support.append import append_now
from support.rounds import rounds

from tailrace.log import FileCalls, LocalLog, LogVersionError, Subscription, frames, segments
from tailrace.log.frames import HEADER_BYTES
from tailrace.log.segments import FILE_HEADER

BATCHES = [make_batch("demo", count=n + 1, size=5 * n, n=n) for n in range(7)]
FRAME_BYTES = [frames.prepare(batch).frame_bytes for batch in BATCHES]
STARTS = [FILE_HEADER.size + sum(FRAME_BYTES[:n]) for n in range(len(BATCHES))]


def written(directory: Path) -> Path:
    """Return the one segment of a log that holds BATCHES."""
    fill(directory, BATCHES)
    (segment,) = segment_files(directory)
    assert segment.stat().st_size == FILE_HEADER.size + sum(FRAME_BYTES)
    return segment


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def check_sound(log: LocalLog, written: list[int]) -> None:
    """Assert that the log reads exactly these of BATCHES, each whole."""
    found = list(log.read(0))
    assert [position for position, _ in found] == [n + 1 for n in written]
    assert [fields_of(batch) for _, batch in found] == [fields_of(BATCHES[n]) for n in written]


@pytest.mark.costly
def test_a_last_frame_torn_at_any_byte_is_cut_off_and_its_position_not_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = written(tmp_path / "whole").read_bytes()
    for cut in range(STARTS[-1], len(whole)):
        directory = tmp_path / str(cut)
        directory.mkdir()
        path = directory / f"{1:020d}.seg"
        path.write_bytes(whole[:cut])
        torn = cut > STARTS[-1]

        with open_log(directory) as log:
            assert log.damage == []
            assert log.torn_bytes == cut - STARTS[-1]
            assert path.stat().st_size == STARTS[-1]
            assert log.durable_position == 6
            check_sound(log, [0, 1, 2, 3, 4, 5])
        with open_log(directory) as log:
            assert log.torn_bytes == 0
            position = append_now(log, make_batch())
            assert position > 7 if torn else position == 7
            assert positions(log) == [1, 2, 3, 4, 5, 6, position]
            assert log.damage == []
    assert all(record.levelno < logging.ERROR for record in caplog.records)


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(bytes(10_000))
    with open_log(tmp_path) as log:
        assert log.torn_bytes == 10_000
        check_sound(log, list(range(7)))
        assert append_now(log, make_batch()) > 7


@settings(max_examples=rounds(150))
@given(offset=st.integers(STARTS[0], STARTS[-1] - 1), mask=st.integers(1, 255), closed=st.booleans())
def test_a_flipped_byte_costs_one_frame_and_is_reported(
    tmp_path_factory: pytest.TempPathFactory, offset: int, mask: int, closed: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    path = written(directory)
    flip(path, offset, mask)
    if closed:
        segments.create_segment(directory, 8, FileCalls())
    hit = max(n for n in range(len(BATCHES)) if STARTS[n] <= offset)

    with open_log(directory) as log:
        check_sound(log, [n for n in range(7) if n != hit])
        check_sound(log, [n for n in range(7) if n != hit])
        (damage,) = log.damage
        assert (damage.segment, damage.offset_bytes, damage.length) == (path.name, STARTS[hit], FRAME_BYTES[hit])
        assert damage.reason
        assert log.torn_bytes == 0
        assert log.durable_position == 7
        assert append_now(log, make_batch()) == 8


def test_damage_is_logged_as_an_error_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path)
    flip(path, STARTS[3] - 1)
    with open_log(tmp_path) as log:
        positions(log)
        positions(log)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in errors] == ["tailrace.log.damage"]
    assert path.name in errors[0].getMessage()
    assert "position 3, 3 events" in errors[0].getMessage()


@pytest.mark.parametrize("field_offset", [12, 32, 36, 40, 44, 47])
@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80])
def test_a_flipped_length_costs_one_frame(tmp_path: Path, field_offset: int, mask: int) -> None:
    path = written(tmp_path)
    flip(path, STARTS[2] + field_offset, mask)
    with open_log(tmp_path) as log:
        check_sound(log, [0, 1, 3, 4, 5, 6])
        assert [damage.reason for damage in log.damage] == ["no sound frame header"]


def test_neighbouring_bad_frames_do_not_hide_the_next_good_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    flip(path, STARTS[1])
    flip(path, STARTS[2] + HEADER_BYTES)
    flip(path, STARTS[3] + 20)
    with open_log(tmp_path) as log:
        check_sound(log, [0, 4, 5, 6])
        assert sum(damage.length for damage in log.damage) == sum(FRAME_BYTES[1:4])


@settings(max_examples=rounds(60))
@given(st.integers(FILE_HEADER.size, STARTS[-1]), st.integers(1, 400), st.booleans())
def test_bytes_lost_or_overwritten_anywhere_leave_the_frames_beside_them(
    tmp_path_factory: pytest.TempPathFactory, offset: int, length: int, overwrite: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    path = written(directory)
    whole = path.read_bytes()
    end = min(offset + length, STARTS[-1])
    noise = (frames.MAGIC * 100)[: end - offset] if overwrite else b""
    left = whole[:offset] + noise + whole[end:]
    path.write_bytes(left)
    # Also where the bytes after those that were lost happen to complete a frame that was cut.
    whole_frames = [whole[start : start + FRAME_BYTES[n]] for n, start in enumerate(STARTS)]
    untouched = [n for n, frame in enumerate(whole_frames) if frame in left]
    # A frame that is missing from its first byte to its last leaves no trace.
    is_seamless = left[FILE_HEADER.size :] == b"".join(whole_frames[n] for n in untouched)
    with open_log(directory) as log:
        check_sound(log, untouched)
        assert bool(log.damage) == (not is_seamless)


def test_a_damaged_frame_that_ends_the_log_is_a_torn_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    flip(path, path.stat().st_size - 1)
    with open_log(tmp_path) as log:
        assert log.torn_bytes == FRAME_BYTES[-1]
        assert append_now(log, make_batch()) > 7


def test_a_frame_met_twice_is_read_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: STARTS[3]] + whole[STARTS[2] :])
    with open_log(tmp_path) as log:
        check_sound(log, list(range(7)))
        assert [damage.reason for damage in log.damage] == ["position 3 where 4 or more was due"]


def test_a_spoiled_file_header_is_reported_and_the_frames_are_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    flip(path, 9)
    with open_log(tmp_path) as log:
        check_sound(log, list(range(7)))
        assert [damage.reason for damage in log.damage] == ["no sound file header"]


@pytest.mark.parametrize("size", [0, 1, FILE_HEADER.size - 1])
def test_a_segment_whose_making_was_interrupted_is_used(tmp_path: Path, size: int) -> None:
    fill(tmp_path, BATCHES)
    path = segments.segment_path(tmp_path, 8)
    path.write_bytes(segment_files(tmp_path)[0].read_bytes()[:size])
    with open_log(tmp_path) as log:
        assert log.durable_position == 7
        assert append_now(log, make_batch()) == 8
    with open_log(tmp_path) as log:
        assert positions(log) == list(range(1, 9))
        assert log.damage == []


def test_a_segment_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    fields = struct.pack("<8sIq", b"TAILRACE", 3, 1)
    with path.open("r+b") as file:
        file.write(fields + struct.pack("<I", google_crc32c.value(fields)))
    with pytest.raises(LogVersionError, match="log format 3, this version reads 1 to 2"):
        open_log(tmp_path)


def test_a_page_that_the_disk_cannot_read_costs_the_frames_in_it(tmp_path: Path) -> None:
    written = [make_batch(size=3000, n=n) for n in range(20)]
    fill(tmp_path, written)
    bad = range(5 * 4096, 6 * 4096)

    def read_some(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        if offset in bad:
            raise OSError(errno.EIO, "made to fail")
        length = min(len(buffers[0]), max(bad.start - offset, 0) or len(buffers[0]))
        return os.preadv(fd, [buffers[0][:length]], offset)

    with open_log(tmp_path, calls=FileCalls(preadv=read_some)) as log:
        found = list(log.read(0))
        assert 20 - len(found) in (2, 3)
        assert all(fields_of(batch) == fields_of(written[position - 1]) for position, batch in found)
        assert log.damage
        assert append_now(log, make_batch()) == 21


def test_only_the_newest_segment_is_read_through_to_open(tmp_path: Path) -> None:
    fill(tmp_path, [make_batch(size=5000) for _ in range(20)], segment_bytes=20_000)
    assert len(segment_files(tmp_path)) > 4
    flip(segment_files(tmp_path)[0], 3000)
    with open_log(tmp_path) as log:
        assert log.damage == []
        assert positions(log) == list(range(2, 21))
        assert len(log.damage) == 1


def test_positions_up_to_the_floor_are_not_given_out(tmp_path: Path) -> None:
    with open_log(tmp_path, subscription=Subscription(discard, floor=41)) as log:
        assert log.durable_position == 41
        assert append_now(log, make_batch()) == 42
    with open_log(tmp_path, subscription=Subscription(discard, floor=10)) as log:
        assert append_now(log, make_batch()) == 43
    with open_log(tmp_path, subscription=Subscription(discard, floor=100)) as log:
        assert log.durable_position == 100
    with open_log(tmp_path) as log:
        assert append_now(log, make_batch()) == 101
        assert positions(log) == [42, 43, 101]


def test_a_log_opened_and_closed_without_appends_stays_as_it_is(tmp_path: Path) -> None:
    for _ in range(3):
        with open_log(tmp_path) as log:
            assert log.durable_position == 0
            assert positions(log) == []
    assert [path.name for path in segment_files(tmp_path)] == [f"{1:020d}.seg"]


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "x.seg").write_text("mine")
    fill(tmp_path, BATCHES)
    with open_log(tmp_path) as log:
        check_sound(log, list(range(7)))
    assert (tmp_path / "x.seg").read_text() == "mine"


def test_a_missing_segment_is_reported_as_damage_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, [make_batch(size=200)] * 8, segment_bytes=600)
    files = segment_files(tmp_path)
    firsts = [int(path.stem) for path in files]
    assert len(files) >= 4
    files[1].unlink()

    with open_log(tmp_path) as log:
        missing = list(range(firsts[1], firsts[2]))
        assert positions(log) == [n for n in range(1, 9) if n not in missing]
        assert positions(log, firsts[2]) == list(range(firsts[2], 9))
        assert positions(log) == [n for n in range(1, 9) if n not in missing]
        (damage,) = log.damage
        assert damage.segment == files[2].name
        assert damage.missing_positions == len(missing)
        assert append_now(log, make_batch()) == 9
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"positions {missing[0]} to {missing[-1]} are missing" in record.getMessage()


def test_released_segments_are_not_missing(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=600) as log:
        for _ in range(8):
            append_now(log, make_batch(size=200))
        log.release(4)
    assert int(segment_files(tmp_path)[0].stem) > 1

    with open_log(tmp_path) as log:
        assert positions(log)[-1] == 8
        assert log.damage == []


def test_positions_given_up_at_openings_are_not_missing(tmp_path: Path) -> None:
    written(tmp_path)
    for floor in (0, 0, 20_000, 20_000):
        newest = segment_files(tmp_path)[-1]
        with newest.open("ab") as file:
            file.write(b"torn")
        with open_log(tmp_path, subscription=Subscription(discard, floor=floor)) as log:
            append_now(log, make_batch())
            append_now(log, make_batch())
    fill(tmp_path, [make_batch(size=200)] * 4, segment_bytes=600, subscription=Subscription(discard, floor=40_000))

    with open_log(tmp_path) as log:
        assert len(positions(log)) == len(BATCHES) + 12
        assert log.damage == []


def test_a_segment_missing_beside_positions_given_up_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(b"torn")
    fill(tmp_path, [make_batch(size=200)] * 8, segment_bytes=600)
    missing = segment_files(tmp_path)[-2]
    missing.unlink()

    with open_log(tmp_path) as log:
        positions(log)
        (damage,) = log.damage
        assert f"positions {int(missing.stem)} to" in damage.reason


def test_every_directory_and_name_is_on_the_disk_before_an_append_is_answered(tmp_path: Path) -> None:
    flushed: list[Path] = []

    def fsync(descriptor: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        os.fsync(descriptor)

    directory = tmp_path / "a" / "b" / "log"
    with open_log(directory, calls=FileCalls(fsync=fsync)) as log:
        append_now(log, make_batch())
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b", directory} <= set(flushed)

    flushed.clear()  # by a process that was killed before its flush, for all that the next one knows
    with open_log(directory, calls=FileCalls(fsync=fsync)):
        assert {directory.parent, directory} <= set(flushed)
