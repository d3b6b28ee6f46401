"""Releasing: segments go once nothing in them is needed; positions stay used."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from log.kit import fill, make_batch, open_log, positions, segment_files
from support.append import append_now


def test_only_segments_wholly_released_are_deleted(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log:
        for _ in range(20):
            append_now(log, make_batch())
        firsts = [int(path.stem) for path in segment_files(tmp_path)]
        assert len(firsts) > 4
        size = log.size_bytes
        log.release(firsts[2] - 2)
        assert [int(path.stem) for path in segment_files(tmp_path)] == firsts[1:]
        log.release(firsts[2] - 1)
        assert [int(path.stem) for path in segment_files(tmp_path)] == firsts[2:]
        assert positions(log) == list(range(firsts[2], 21))
        assert 0 < log.size_bytes < size


def test_the_newest_segment_stays_and_keeps_positions_used(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log:
        for _ in range(20):
            append_now(log, make_batch())
        log.release(1_000)
        assert len(segment_files(tmp_path)) == 1
        assert append_now(log, make_batch()) == 21
        log.release(21)
    assert fill(tmp_path, [make_batch()]) == [22]


def test_a_large_active_segment_is_replaced_when_all_of_it_is_released(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        for _ in range(5):
            append_now(log, make_batch(size=1_000_000))
        log.release(4)
        assert positions(log) == [1, 2, 3, 4, 5]
        log.release(5)
        assert [path.name for path in segment_files(tmp_path)] == [f"{6:020d}.seg"]
        assert log.size_bytes == segment_files(tmp_path)[0].stat().st_size < 100
        assert positions(log) == []
    with open_log(tmp_path) as log:
        assert append_now(log, make_batch()) == 6


def test_a_small_active_segment_stays(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        append_now(log, make_batch())
        log.release(1)
        assert append_now(log, make_batch()) == 2
        assert positions(log) == [1, 2]
        assert len(segment_files(tmp_path)) == 1


def test_a_reader_passes_over_what_is_released_meanwhile(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log:
        for _ in range(20):
            append_now(log, make_batch())
        reader = log.read(0)
        assert next(reader)[0] == 1
        newest = int(segment_files(tmp_path)[-1].stem)
        log.release(20)
        rest = [position for position, _ in reader]
        assert rest[-1] == 20
        assert set(range(newest, 21)) <= set(rest)
        assert log.damage == []


def test_releasing_what_is_released_or_never_was_changes_nothing(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.release(0)
        append_now(log, make_batch())
        log.release(0)
        log.release(-1)
        assert positions(log) == [1]


def test_a_closed_log_can_be_released(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=300)
    for _ in range(10):
        append_now(log, make_batch())
    log.close()
    log.release(10)
    assert len(segment_files(tmp_path)) == 1


def test_a_segment_that_cannot_be_deleted_goes_at_a_later_release(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log:
        for _ in range(20):
            append_now(log, make_batch())
        oldest = segment_files(tmp_path)[0]
        oldest.rename(tmp_path / "aside")
        oldest.mkdir()
        log.release(20)
        assert oldest.exists()
        oldest.rmdir()
        (tmp_path / "aside").rename(oldest)
        log.release(20)
        assert len(segment_files(tmp_path)) == 1


def test_several_may_release_at_once(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log, ThreadPoolExecutor(4) as threads:
        for _ in range(40):
            append_now(log, make_batch())
        barrier = Barrier(4)

        def release() -> None:
            barrier.wait()
            log.release(40)

        for done in [threads.submit(release) for _ in range(4)]:
            done.result()
        assert len(segment_files(tmp_path)) == 1
