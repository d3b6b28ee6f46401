"""Another process reads a log as it grows: what is durable, all of it, and nothing else."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log.kit import Failing, HeldCall, fields_of, make_batch, open_log, segment_files
from support.append import append_now
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.log import Damage, DurableMark, FileCalls, LogReader, LogWriteError
from tailrace.log.mark import Extent


def reader_of(directory: Path, mark: DurableMark, position: int = 0, damage: list[Damage] | None = None) -> LogReader:
    return LogReader(directory, mark, position=position, add_damage=(damage if damage is not None else []).extend)


def read(reader: LogReader) -> list[int]:
    return [position for position, _ in reader.advance()]


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    mark = DurableMark()
    reader = reader_of(tmp_path, mark)
    with open_log(tmp_path, mark=mark) as log:
        assert read(reader) == []
        append_now(log, make_batch(n=1))
        append_now(log, make_batch(n=2))
        assert read(reader) == [1, 2]
        assert read(reader) == []
        append_now(log, make_batch(n=3))
        assert [fields_of(batch) for _, batch in reader.advance()] == [fields_of(make_batch(n=3))]
        assert reader.durable_position() == 3


def test_what_was_answered_for_is_durable_by_the_mark(tmp_path: Path) -> None:
    mark, seen = DurableMark(), list[tuple[int, int]]()
    with open_log(tmp_path, mark=mark) as log:
        for _ in range(50):
            log.append(make_batch(), lambda position, error: seen.append((position or 0, mark.read().position)))
        wait_until(lambda: len(seen) == 50)

    assert all(position <= marked for position, marked in seen)


def test_what_is_written_and_not_flushed_is_not_read(tmp_path: Path) -> None:
    mark, flush = DurableMark(), HeldCall(os.fdatasync)
    reader = reader_of(tmp_path, mark)
    with open_log(tmp_path, mark=mark, calls=FileCalls(fdatasync=flush)) as log:
        append_now(log, make_batch())
        flush.hold()
        log.append(make_batch(), lambda position, error: None)
        flush.wait_entered()
        assert segment_files(tmp_path)[-1].stat().st_size > mark.read().end_bytes
        assert read(reader) == [1]
        flush.let_go()
        wait_until(lambda: reader.durable_position() == 2)
        assert read(reader) == [2]


def test_a_group_whose_flush_failed_is_never_read(tmp_path: Path) -> None:
    mark, flush, damage = DurableMark(), Failing(os.fdatasync, 5), list[Damage]()
    reader = reader_of(tmp_path, mark, damage=damage)
    with open_log(tmp_path, mark=mark, calls=FileCalls(fdatasync=flush)) as log:
        append_now(log, make_batch(n=1))
        flush.times = 1
        with pytest.raises(LogWriteError):
            append_now(log, make_batch(n=2))
        append_now(log, make_batch(n=3))
        assert [batch.labels["n"] for _, batch in reader.advance()] == [1, 3]
    assert damage == []


def test_a_reader_that_is_given_up_goes_on_behind_its_last_batch(tmp_path: Path) -> None:
    mark = DurableMark()
    reader = reader_of(tmp_path, mark)
    with open_log(tmp_path, mark=mark, segment_bytes=500) as log:
        for _ in range(20):
            append_now(log, make_batch())
        assert [position for position, _ in islice(reader.advance(), 7)] == [1, 2, 3, 4, 5, 6, 7]
        assert read(reader) == list(range(8, 21))


def test_a_segment_that_was_released_was_read_before(tmp_path: Path) -> None:
    mark, damage = DurableMark(), list[Damage]()
    reader = reader_of(tmp_path, mark, damage=damage)
    with open_log(tmp_path, mark=mark, segment_bytes=500) as log:
        for _ in range(10):
            append_now(log, make_batch())
        assert read(reader) == list(range(1, 11))
        log.release(10)
        for _ in range(10):
            append_now(log, make_batch())
        assert read(reader) == list(range(11, 21))
    assert damage == []


def test_a_new_reader_begins_behind_what_is_known(tmp_path: Path) -> None:
    mark = DurableMark()
    with open_log(tmp_path, mark=mark, segment_bytes=500) as log:
        for _ in range(20):
            append_now(log, make_batch())
        assert read(reader_of(tmp_path, mark, position=13)) == list(range(14, 21))


def test_damage_is_told_once_and_costs_no_batch_beside_it(tmp_path: Path) -> None:
    mark, damage = DurableMark(), list[Damage]()
    reader = reader_of(tmp_path, mark, damage=damage)
    with open_log(tmp_path, mark=mark) as log:
        ends = [append_now(log, make_batch()) and mark.read().end_bytes for _ in range(3)]
        with segment_files(tmp_path)[0].open("r+b") as segment:
            segment.seek(ends[1] - 5)
            segment.write(b"?")
        assert read(reader) == [1, 3]
        append_now(log, make_batch())
        assert read(reader) == [4]
    assert [(each.offset_bytes, each.length) for each in damage] == [(ends[0], ends[1] - ends[0])]


# Of each step: how many batches are appended at once, how large, and whether all that was read is released.
STEPS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 300]), st.booleans(), st.booleans()), max_size=20)


@pytest.mark.rounds
@settings(max_examples=rounds(30), deadline=None)
@given(STEPS)
def test_however_a_log_grows_each_batch_is_read_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[int, int, bool, bool]]
) -> None:
    directory, mark, damage = tmp_path_factory.mktemp("log"), DurableMark(), list[Damage]()
    reader = reader_of(directory, mark, damage=damage)
    given_out, found = list[int](), list[int]()
    flush = Failing(os.fdatasync, 5)
    with open_log(directory, mark=mark, segment_bytes=700, calls=FileCalls(fdatasync=flush)) as log:
        for number, size, reads, fails in steps:
            if fails:
                flush.times = 1
                with pytest.raises(LogWriteError):
                    append_now(log, make_batch(size=size))
            given_out += [append_now(log, make_batch(size=size)) for _ in range(number)]
            if reads:
                found += read(reader)
                log.release(reader.position)
        found += read(reader)

    assert (found, damage) == (given_out, [])


def test_a_log_tells_what_it_has_when_it_is_opened(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        append_now(log, make_batch())
    mark = DurableMark()
    with open_log(tmp_path, mark=mark):
        assert read(reader_of(tmp_path, mark)) == [1]


def test_a_process_reads_the_mark_of_another(tmp_path: Path) -> None:
    """The child writes as fast as it can, so that records are torn while they are read."""
    mark = DurableMark()
    pid = os.fork()
    if pid == 0:
        for number in range(1, 20_000):
            mark.write(Extent(number, number * 3, number * 7))
        os._exit(0)
    last = 0
    while last < 19_999:
        extent = mark.read()
        assert (extent.first_position, extent.end_bytes) == (extent.position * 3, extent.position * 7)
        assert extent.position >= last
        last = extent.position
    assert os.waitpid(pid, 0)[1] == 0
