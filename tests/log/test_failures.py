"""A disk that fails or fills up: requests are refused, nothing unanswered comes back, the log goes on by itself."""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from log.kit import (
    PLENTY_BYTES,
    Answers,
    Failing,
    HeldCall,
    eventually,
    fill,
    make_batch,
    open_log,
    positions,
    segment_files,
)
from support.append import append_now

from tailrace.events import DiskFull, TailraceError
from tailrace.log import FileCalls, LogWriteError, Subscription
from tailrace.log.frames import Buffer
from tailrace.log.segments import FILE_HEADER

CALLS: dict[str, tuple[Any, int]] = {
    "pwritev": (os.pwritev, errno.ENOSPC),
    "fdatasync": (os.fdatasync, errno.EIO),
}


def failing(*names: str) -> tuple[dict[str, Failing], FileCalls]:
    table = {**CALLS, "fsync": (os.fsync, errno.EIO), "ftruncate": (os.ftruncate, errno.EIO)}
    calls = {name: Failing(*table[name]) for name in names}
    return calls, FileCalls(**calls)


@pytest.mark.parametrize("name", CALLS)
def test_a_failed_write_or_flush_is_answered_with_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    faults, calls = failing(name)
    delivered: list[int] = []
    subscription = Subscription(lambda written: delivered.extend(position for position, _ in written))
    with open_log(tmp_path, calls=calls, subscription=subscription) as log:
        assert append_now(log, make_batch()) == 1
        faults[name].times = 1
        with pytest.raises(LogWriteError) as refused:
            append_now(log, make_batch(lost=True))
        assert (refused.value.status, refused.value.retryable) == (503, True)
        assert refused.value.retry_after_s
        assert log.durable_position == 1
        assert log.queued_bytes == 0
        assert append_now(log, make_batch()) == 3
        assert positions(log) == delivered == [1, 3]
    with open_log(tmp_path) as log:
        assert positions(log) == [1, 3]
        assert log.damage == []
        assert append_now(log, make_batch()) == 4


def test_a_file_whose_flush_failed_is_not_written_to_again(tmp_path: Path) -> None:
    faults, calls = failing("fdatasync")
    with open_log(tmp_path, calls=calls) as log:
        append_now(log, make_batch())
        (first,) = segment_files(tmp_path)
        size = first.stat().st_size
        faults["fdatasync"].times = 1
        with pytest.raises(LogWriteError):
            append_now(log, make_batch())
        append_now(log, make_batch())
        assert first.stat().st_size == size
        # The empty one between says that the position of the failed one was given up.
        assert [path.stat().st_size > FILE_HEADER.size for path in segment_files(tmp_path)] == [True, False, True]


def test_a_failed_flush_fails_the_whole_group_and_only_it(tmp_path: Path) -> None:
    faults, _ = failing("fdatasync")
    flush, answers = HeldCall(faults["fdatasync"]), Answers()

    def fail_the_next_flush(*_: object) -> None:
        faults["fdatasync"].times = 1

    with open_log(tmp_path, calls=FileCalls(fdatasync=flush)) as log:
        flush.hold()
        log.append(make_batch(), fail_the_next_flush)
        flush.wait_entered()
        for _ in range(5):
            log.append(make_batch(), answers)
        flush.let_go()
        failed = answers.wait(5)
        assert [position for position, _ in failed] == [None] * 5
        assert all(isinstance(error, LogWriteError) for _, error in failed)
        assert faults["fdatasync"].raised == 1
        assert append_now(log, make_batch()) == 7
        assert positions(log) == [1, 7]


def test_a_partly_written_group_does_not_come_back(tmp_path: Path) -> None:
    left = [10_000]

    def write_until_full(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "made to fail")
        wrote = os.pwrite(fd, b"".join(buffers)[: left[0]], offset)
        left[0] -= wrote
        return wrote

    with open_log(tmp_path, calls=FileCalls(pwritev=write_until_full)) as log:
        append_now(log, make_batch(size=6000))
        with pytest.raises(LogWriteError):
            append_now(log, make_batch(size=6000))
        left[0] = PLENTY_BYTES
        position = eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int))
        assert positions(log) == [1, position]
        assert position > 2
    with open_log(tmp_path) as log:
        assert positions(log) == [1, position]
        assert (log.damage, log.torn_bytes) == ([], 0)


@pytest.mark.parametrize("name", ["ftruncate", "fsync"])
def test_a_segment_that_cannot_be_repaired_stops_appends_until_it_can(tmp_path: Path, name: str) -> None:
    faults, calls = failing("fdatasync", name)
    with open_log(tmp_path, calls=calls) as log:
        append_now(log, make_batch())
        faults["fdatasync"].times = 1
        faults[name].times = 1_000_000
        with pytest.raises(LogWriteError):
            append_now(log, make_batch())
        with pytest.raises(LogWriteError):
            log.append(make_batch(), lambda *_: None)
        eventually(lambda: faults[name].raised, lambda raised: raised > 2)
        assert positions(log) == [1]

        faults[name].times = 0
        position = eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int))
        assert position > 2
        assert positions(log) == [1, position]
    with open_log(tmp_path) as log:
        assert positions(log) == [1, position]
        assert log.damage == []


@pytest.mark.parametrize("name", ["pwritev", "fdatasync", "ftruncate", "fsync"])
def test_positions_of_failed_writes_are_not_missing(tmp_path: Path, name: str) -> None:
    writes = Failing(os.pwritev, errno.EIO)
    failing = writes if name == "pwritev" else Failing(getattr(os, name), errno.EIO)
    calls = FileCalls(**{"pwritev": writes, name: failing})
    with open_log(tmp_path, calls=calls) as log:
        append_now(log, make_batch())
        for times in (1, 1, 2, 3):
            writes.times = 1
            failing.times = times
            with pytest.raises(LogWriteError):
                append_now(log, make_batch())
            eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int))

    with open_log(tmp_path) as log:
        assert len(positions(log)) == 5
        assert log.damage == []


def test_a_broken_log_can_be_closed(tmp_path: Path) -> None:
    faults, calls = failing("fdatasync", "ftruncate")
    log = open_log(tmp_path, calls=calls)
    faults["fdatasync"].times = faults["ftruncate"].times = 1_000_000
    with pytest.raises(LogWriteError):
        append_now(log, make_batch())
    log.close()


def test_the_thread_outlives_any_failure(tmp_path: Path) -> None:
    broken = [False]

    def write(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        if broken[0]:
            raise MemoryError("made to fail")
        return os.pwritev(fd, buffers, offset)

    with open_log(tmp_path, calls=FileCalls(pwritev=write)) as log:
        broken[0] = True
        with pytest.raises(LogWriteError):
            append_now(log, make_batch())
        broken[0] = False
        assert eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int)) > 1


def test_a_segment_that_cannot_be_made_fails_the_group_and_is_tried_again(tmp_path: Path) -> None:
    faults, calls = failing("fsync")
    with open_log(tmp_path, calls=calls, segment_bytes=100) as log:
        append_now(log, make_batch())
        faults["fsync"].times = 2
        with pytest.raises(LogWriteError):
            append_now(log, make_batch())
        position = eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int))
        assert positions(log) == [1, position]
    assert not [path for path in segment_files(tmp_path) if path.stat().st_size == 0]


def test_a_nearly_full_disk_refuses_appends_and_accepts_them_again_when_space_is_free(tmp_path: Path) -> None:
    free = [10_000_000]
    log = open_log(tmp_path, free_bytes=lambda: free[0], min_free_bytes=1_000_000)
    with log:
        append_now(log, make_batch())
        free[0] = 999_999
        refused = eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, DiskFull))
        assert "min_free_bytes" in refused.message
        assert refused.retry_after_s
        with pytest.raises(DiskFull):
            log.append(make_batch(), lambda *_: None)
        assert 1 in positions(log)

        free[0] = 10_000_000
        durable = log.durable_position
        assert (
            eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int)) == durable + 1
        )


def test_a_disk_at_the_edge_does_not_refuse_every_other_append(tmp_path: Path) -> None:
    free = [10_000_000]
    asked = HeldCall(lambda: free[0])
    with open_log(tmp_path, free_bytes=asked, min_free_bytes=1_000_000) as log:
        free[0] = 999_999
        eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, DiskFull))
        assert "1.1 times" in log.fault

        free[0] = 1_050_000
        calls = asked.calls
        eventually(lambda: asked.calls, lambda now: now > calls + 2)
        with pytest.raises(DiskFull):
            append_now(log, make_batch())

        free[0] = 1_100_001
        eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int))
        assert log.fault == ""


def test_a_group_that_would_eat_into_the_reserve_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path, free_bytes=lambda: 3_000_000, min_free_bytes=1_000_000) as log:
        assert append_now(log, make_batch(size=1_500_000)) == 1
        with pytest.raises(DiskFull):
            append_now(log, make_batch(size=2_500_000))
        assert eventually(lambda: append_now(log, make_batch()), lambda outcome: isinstance(outcome, int)) == 2


def test_free_space_is_not_asked_for_at_every_small_append(tmp_path: Path) -> None:
    asked = HeldCall(lambda: PLENTY_BYTES)
    with open_log(tmp_path, free_bytes=asked) as log:
        for _ in range(200):
            append_now(log, make_batch())
    assert asked.calls < 100


def test_a_disk_whose_free_space_is_not_known_is_written_to(tmp_path: Path) -> None:
    def unknown() -> int:
        raise OSError(errno.EIO, "made to fail")

    with open_log(tmp_path, free_bytes=unknown) as log:
        assert append_now(log, make_batch()) == 1


def test_positions_only_rise_through_failures_crashes_and_releases(tmp_path: Path) -> None:
    faults, calls = failing("pwritev", "fdatasync")
    given_out: list[int] = []
    for opening in range(6):
        with open_log(tmp_path, calls=calls, segment_bytes=400) as log:
            for step in range(12):
                if step % 5 == 3:
                    faults["fdatasync" if opening % 2 else "pwritev"].times = 1
                try:
                    given_out.append(append_now(log, make_batch()))
                except TailraceError:
                    continue
            if opening % 2:
                log.release(log.durable_position)
        newest = segment_files(tmp_path)[-1]
        os.truncate(newest, max(newest.stat().st_size - opening, 24))
    assert given_out == sorted(set(given_out))
    assert len(given_out) > 50


def test_threads_that_wait_are_all_answered_when_the_disk_fails(tmp_path: Path) -> None:
    faults, calls = failing("fdatasync")
    outcomes: list[object] = []
    with open_log(tmp_path, calls=calls) as log:

        def work() -> None:
            for _ in range(40):
                try:
                    outcomes.append(append_now(log, make_batch()))
                except TailraceError as error:
                    outcomes.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            faults["fdatasync"].times = 1
            eventually(lambda: faults["fdatasync"].times, lambda left: left == 0 or len(outcomes) == 320)
        for thread in threads:
            thread.join()
        stored = sorted(outcome for outcome in outcomes if isinstance(outcome, int))
        assert len(outcomes) == 320
        assert positions(log) == stored
    assert fill(tmp_path, [make_batch()])[0] > stored[-1]
