"""Appending: durable before it is answered, many in one flush, bounded, closed in order."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log.kit import (
    WAIT_S,
    Answers,
    HeldCall,
    batches,
    eventually,
    fields_of,
    fill,
    make_batch,
    open_log,
    positions,
    segment_files,
)
from support.append import append_now
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import Batch, Overloaded, ShuttingDown
from tailrace.log import FileCalls, LocalLog, Log, LogSettings, Subscription
from tailrace.log.frames import Buffer


@settings(max_examples=rounds(40), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(batches(), max_size=6), st.sampled_from([1, 10_000, 64 << 20]))
def test_what_was_appended_is_read_back_in_order_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, written: list[Batch], segment_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    given_out = fill(directory, written, segment_bytes=segment_bytes)

    with open_log(directory) as log:
        found = list(log.read(0))

    assert given_out == sorted(set(given_out))
    assert [position for position, _ in found] == given_out
    assert [fields_of(batch) for _, batch in found] == [fields_of(batch) for batch in written]


def test_a_local_log_is_a_log(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        any_log: Log = log
        assert (any_log.fault, list(any_log.damage), list(any_log.read(0))) == ("", [], [])


def test_reading_starts_at_the_position_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, [make_batch() for _ in range(30)], segment_bytes=500)
    with open_log(tmp_path) as log:
        assert len(segment_files(tmp_path)) > 3
        for first in range(1, 32):
            assert positions(log, first) == list(range(first, 31))


def test_a_group_of_more_buffers_than_one_call_takes_is_written_whole(tmp_path: Path) -> None:
    flush, answers = HeldCall(os.fdatasync), Answers()
    with open_log(tmp_path, calls=FileCalls(fdatasync=flush)) as log:
        flush.hold()
        for number in range(3000):
            log.append(make_batch(n=number), answers)
        flush.let_go()
        answers.wait(3000)
        assert [batch.labels["n"] for _, batch in log.read(0)] == list(range(3000))


@given(st.data())
@settings(max_examples=rounds(20))
def test_partial_writes_are_continued(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shares = data.draw(st.lists(st.integers(1, 700), min_size=1, max_size=8))
    turn = iter(shares * 10_000)

    def write_some(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        return os.pwrite(fd, b"".join(buffers)[: next(turn)], offset)

    written = [make_batch(count=n, size=n * 7) for n in range(8)]
    directory = tmp_path_factory.mktemp("log")
    fill(directory, written, calls=FileCalls(pwritev=write_some))
    with open_log(directory) as log:
        assert [fields_of(batch) for _, batch in log.read(0)] == [fields_of(batch) for batch in written]


def test_what_waits_during_a_flush_shares_the_next_one(tmp_path: Path) -> None:
    threads = 100
    flush, answers = HeldCall(os.fdatasync), Answers()
    with open_log(tmp_path, calls=FileCalls(fdatasync=flush)) as log:
        flush.hold()
        log.append(make_batch(), answers)
        flush.wait_entered()
        frame_bytes = log.queued_bytes
        given_out: list[int] = []
        waiting = [
            threading.Thread(target=lambda: given_out.append(append_now(log, make_batch()))) for _ in range(threads)
        ]
        for thread in waiting:
            thread.start()
        eventually(lambda: log.queued_bytes, lambda queued: queued == frame_bytes * (threads + 1))
        flush.let_go()
        for thread in waiting:
            thread.join()
        assert flush.calls == 2
        assert sorted(given_out) == list(range(2, threads + 2))


def test_each_thread_gets_its_own_rising_positions(tmp_path: Path) -> None:
    threads, each = 16, 50
    given_out: list[list[int]] = [[] for _ in range(threads)]
    with open_log(tmp_path) as log:

        def work(mine: list[int]) -> None:
            for _ in range(each):
                mine.append(append_now(log, make_batch()))

        running = [threading.Thread(target=work, args=(mine,)) for mine in given_out]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert positions(log) == list(range(1, threads * each + 1))
    assert sorted(position for mine in given_out for position in mine) == list(range(1, threads * each + 1))
    assert all(mine == sorted(mine) for mine in given_out)


def test_nothing_is_answered_or_passed_on_before_it_is_flushed(tmp_path: Path) -> None:
    flush, answers = HeldCall(os.fdatasync), Answers()
    delivered: list[int] = []
    with open_log(
        tmp_path,
        calls=FileCalls(fdatasync=flush),
        subscription=Subscription(lambda written: delivered.extend(position for position, _ in written)),
    ) as log:
        flush.hold()
        log.append(make_batch(), answers)
        flush.wait_entered()
        assert (answers.given, delivered, log.durable_position, positions(log)) == ([], [], 0, [])
        flush.let_go()
        assert answers.wait(1) == [(1, None)]
        assert (delivered, log.durable_position, positions(log)) == ([1], 1, [1])


def test_the_subscriber_gets_every_batch_in_order_before_any_answer(tmp_path: Path) -> None:
    order: list[tuple[str, int | None]] = []
    finished = threading.Semaphore(0)
    flush = HeldCall(os.fdatasync)

    def done(position: int | None, _: object) -> None:
        order.append(("done", position))
        finished.release()

    with open_log(
        tmp_path,
        calls=FileCalls(fdatasync=flush),
        subscription=Subscription(lambda written: order.extend(("delivered", position) for position, _ in written)),
    ) as log:
        flush.hold()
        log.append(make_batch(), done)
        flush.wait_entered()
        log.append(make_batch(), done)
        log.append(make_batch(), done)
        flush.let_go()
        for _ in range(3):
            assert finished.acquire(timeout=WAIT_S)

    assert order == [("delivered", 1), ("done", 1), ("delivered", 2), ("delivered", 3), ("done", 2), ("done", 3)]


def test_a_subscriber_or_an_answer_that_raises_does_not_stop_the_log(tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("made to fail")

    with open_log(tmp_path, subscription=Subscription(broken)) as log:
        log.append(make_batch(), broken)
        assert append_now(log, make_batch()) == 2


def test_what_the_subscriber_raised_for_is_given_again_before_what_follows(tmp_path: Path) -> None:
    delivered: list[int] = []
    failures = iter([True, True, False])

    def subscriber(written: list[tuple[int, Batch]]) -> None:
        if next(failures, False):
            raise MemoryError
        delivered.extend(position for position, _ in written)

    with open_log(tmp_path, subscription=Subscription(subscriber)) as log:
        assert [append_now(log, make_batch()) for _ in range(2)] == [1, 2]
        wait_until(lambda: delivered == [1, 2])
        assert append_now(log, make_batch()) == 3
        wait_until(lambda: log.queued_bytes == 0)
    assert delivered == [1, 2, 3]


def test_what_the_subscriber_does_not_take_counts_as_queued(tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("made to fail")

    with open_log(tmp_path, subscription=Subscription(broken), max_queued_bytes=3000) as log:
        append_now(log, make_batch(size=2000))
        with pytest.raises(Overloaded):
            append_now(log, make_batch(size=2000))


def test_a_batch_that_cannot_be_written_is_refused_alone(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        with pytest.raises(ValueError, match="as many times"):
            append_now(log, Batch("demo", b"{}\n", np.zeros(2, dtype=np.int64), 1, 1))
        assert append_now(log, make_batch()) == 1


def test_more_waiting_than_allowed_is_refused_until_it_is_written(tmp_path: Path) -> None:
    flush, answers = HeldCall(os.fdatasync), Answers()
    with open_log(tmp_path, max_queued_bytes=3000, calls=FileCalls(fdatasync=flush)) as log:
        flush.hold()
        log.append(make_batch(size=1000), answers)
        flush.wait_entered()
        log.append(make_batch(size=1000), answers)
        with pytest.raises(Overloaded, match="max_queued_bytes") as refused:
            log.append(make_batch(size=1000), answers)
        assert refused.value.retry_after_s
        assert 2000 < log.queued_bytes <= 3000
        flush.let_go()
        answers.wait(2)
        assert append_now(log, make_batch(size=1000)) == 3
        assert log.queued_bytes == 0


def test_a_batch_larger_than_the_queue_is_accepted_when_nothing_waits(tmp_path: Path) -> None:
    with open_log(tmp_path, max_queued_bytes=10) as log:
        assert append_now(log, make_batch(size=1000)) == 1


def test_closing_writes_and_answers_what_waits(tmp_path: Path) -> None:
    flush, answers = HeldCall(os.fdatasync), Answers()
    log = open_log(tmp_path, calls=FileCalls(fdatasync=flush))
    flush.hold()
    for _ in range(10):
        log.append(make_batch(), answers)
    closing = threading.Thread(target=log.close)
    closing.start()
    eventually(lambda: log.append(make_batch(), lambda *_: None), lambda outcome: isinstance(outcome, ShuttingDown))
    answered = len(answers.given)
    flush.let_go()
    closing.join()
    assert answered == 0
    assert [position for position, _ in answers.given] == list(range(1, 11))


def test_a_closed_log_refuses_appends_and_can_still_be_read(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    append_now(log, make_batch())
    log.close()
    log.close()
    with pytest.raises(ShuttingDown):
        log.append(make_batch(), lambda *_: None)
    assert positions(log) == [1]
    assert "tailrace-log" not in {thread.name for thread in threading.enumerate()}


def test_a_reader_sees_what_was_durable_when_it_asked(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=2000) as log:
        for _ in range(5):
            append_now(log, make_batch())
        reader = log.read(0)
        for _ in range(5):
            append_now(log, make_batch())
        assert [position for position, _ in reader] == [1, 2, 3, 4, 5]


def test_reading_while_others_write_sees_every_durable_batch(tmp_path: Path) -> None:
    batch_count = 400
    answers = Answers()
    with open_log(tmp_path, segment_bytes=5000) as log:

        def write() -> None:
            for number in range(batch_count):
                log.append(make_batch(n=number), answers)

        writer = threading.Thread(target=write)
        writer.start()
        seen = 0
        while seen < batch_count:
            durable = log.durable_position
            found = [(position, batch.labels["n"]) for position, batch in log.read(0)]
            assert found == [(n + 1, n) for n in range(len(found))]
            assert len(found) >= max(durable, seen)
            seen = len(found)
        writer.join()
        assert log.damage == []


def test_the_size_of_the_log_is_that_of_its_segments(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=300) as log:
        for _ in range(5):
            append_now(log, make_batch())
        assert log.size_bytes == sum(path.stat().st_size for path in segment_files(tmp_path))


def test_the_default_log_asks_the_file_system_for_free_space(tmp_path: Path) -> None:
    with LocalLog.open(tmp_path / "deep" / "log", LogSettings(min_free_bytes=0)) as log:
        assert append_now(log, make_batch()) == 1
