"""Commits: when they are due, what is in their files, and what comes of one that fails."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.events import batch
from support.lakes import NEVER, failing_with, numbers
from support.waiting import wait_until

from tailrace.lake import Lake, LakeSettings
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.table import DatasetTable


def test_a_parquet_file_without_its_delta_commit_is_no_part_of_the_table(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    [part] = lake.snapshot("d").hot
    lake.close(commit=False)
    write_files(LocalTable(tmp_path / "d"), in_order(part.rows))  # and the process ends here

    lake = Lake.open(tmp_path, NEVER)
    lake.accept(1, batch([{"n": 1}]))
    lake.commit_now()

    assert numbers(lake.snapshot("d")) == [1]
    lake.close()


def test_commits_by_size(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(commit_bytes=1000, commit_age_s=1e9))
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    lake.snapshot("d")
    assert lake.uncommitted("d") == 1

    lake.accept(2, batch([{"n": n} for n in range(1000)]))

    wait_until(lambda: lake.uncommitted("d") == 0)
    assert lake.snapshot("d").hot == ()
    lake.close()


def test_commits_by_age(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(commit_age_s=0.05))
    lake.create("d")

    lake.accept(1, batch([{"n": 1}]))

    wait_until(lambda: lake.uncommitted("d") == 0)
    lake.close()


def test_commits_on_close(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    lake.close()

    lake = Lake.open(tmp_path, NEVER)
    assert lake.highest_position() == 1
    assert numbers(lake.snapshot("d")) == [1]
    lake.close()


def test_tells_the_position_up_to_which_all_datasets_are_committed(tmp_path: Path) -> None:
    told: list[int] = []
    lake = Lake.open(tmp_path, NEVER)
    lake.subscription.bind(told.append)
    lake.create("a")
    lake.create("b")
    lake.accept_all([(1, batch([{}], "a")), (2, batch([{}], "b")), (3, batch([{}], "a"))])

    lake.commit_now("a")
    assert lake.committed_position() == 0
    lake.commit_now("b")

    assert lake.committed_position() == 3
    assert told == [3]
    lake.close()


def test_one_file_a_day_sorted_by_time(lake: Lake) -> None:
    day_ns = 86_400 * 10**9
    for position, first_ns in enumerate((5 * day_ns, 3 * day_ns, 5 * day_ns - 2_000_000), start=1):
        lake.accept(position, batch([{"n": position}, {"n": position}, {"n": position}], first_ns=first_ns))

    lake.commit_now()

    files = lake.snapshot("d").files
    assert [file.name.partition("/")[0] for file in files] == ["_day=1970-01-04", "_day=1970-01-05", "_day=1970-01-06"]
    for file in files:
        times = pq.ParquetFile(file.location).read()["_time"].to_pylist()
        assert times == sorted(times)


def test_a_failed_commit_keeps_the_rows_and_is_tried_again(lake: Lake, tmp_path: Path) -> None:
    lake.accept(1, batch([{"n": 1}]))
    away = tmp_path / "away"
    (tmp_path / "d").rename(away)

    lake.commit_now("d")
    assert lake.commit_failures == 1
    assert numbers(lake.snapshot("d")) == [1]

    shutil.rmtree(tmp_path / "d", ignore_errors=True)
    away.rename(tmp_path / "d")
    lake.commit_now("d")
    assert lake.uncommitted("d") == 0
    assert numbers(lake.snapshot("d")) == [1]


def test_commits_that_fail_again_are_a_fault_until_one_succeeds(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.create("other")
    lake.accept(1, batch([{"n": 1}]))
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            finally:
                raise RuntimeError("file metadata is only available after writer close")  # as pyarrow's writer does

        patched.setattr("tailrace.lake.table.write_files", fail)
        lake.commit_now("d")
        assert lake.faults() == {}
        lake.commit_now("d")
        assert list(lake.faults()) == ["d"]
        assert "no space is left on the disk" in lake.faults()["d"]

    lake.commit_now("d")
    assert lake.faults() == {}
    assert lake.commit_failures == 2


def test_a_commit_that_cannot_be_written_leaves_no_file(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_days = [{"n": 1}, {"n": 2}]
    first = batch(two_days[:1])
    second = batch(two_days[1:], first_ns=int(first.times[0]) + 86_400_000_000_000)
    lake.accept_all([(1, first), (2, second)])
    write = pq.ParquetWriter.write_table
    written = []
    with monkeypatch.context() as patched:

        def fail_at_the_second(writer: pq.ParquetWriter, table: pa.Table, **options: Any) -> None:
            written.append(table)
            write(writer, table, **options)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(pq.ParquetWriter, "write_table", fail_at_the_second)
        lake.commit_now("d")
        assert len(written) == 2
        assert [path for path in (tmp_path / "d").rglob("*.parquet") if "_delta_log" not in path.parts] == []

    lake.commit_now("d")
    assert numbers(lake.snapshot("d")) == [1, 2]
    assert lake.uncommitted("d") == 0


def test_a_commit_that_fails_after_its_delta_commit_is_not_made_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.accept(1, batch([{"n": 1}]))
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise OSError("the disk is gone")

        patched.setattr("tailrace.lake.local_table.LocalTable.flush", fail)
        lake.commit_now("d")
        assert lake.commit_failures == 1

    lake.commit_now("d")

    assert lake.uncommitted("d") == 0
    assert numbers(lake.snapshot("d")) == [1]


def test_many_hot_rows_become_several_commits(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(commit_bytes=70_000, commit_age_s=1e9))
    lake.create("d")
    with lake._state.datasets["d"].commit_lock:  # so that nothing is committed meanwhile
        for position in range(1, 13):
            lake.accept(position, batch([{"n": 1_000 * position + n} for n in range(2_000)]))
            lake.snapshot("d")

    lake.commit_now("d")

    assert sorted(file.rows for file in lake.snapshot("d").files) == [8_000, 16_000]  # as hot parts had become one
    assert lake.uncommitted("d") == 0
    assert len(numbers(lake.snapshot("d"))) == 24_000
    lake.close()


def test_the_largest_dataset_is_committed_where_all_together_take_too_much_memory(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(max_uncommitted_bytes=40_000, commit_age_s=1e9))
    for name in "abc":
        lake.create(name)
    lake.accept(1, batch([{"n": n} for n in range(100)], "a"))
    lake.accept(2, batch([{"n": n} for n in range(200)], "b"))
    lake.snapshot("a"), lake.snapshot("b")
    assert lake.commits == 0

    lake.accept(3, batch([{"n": n} for n in range(2_000)], "c"))

    wait_until(lambda: lake.commits == 1)
    assert [lake.uncommitted(name) for name in "abc"] == [100, 200, 0]
    lake.close()


def test_commits_start_later_where_no_dataset_has_much(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(max_uncommitted_bytes=40_000, commit_age_s=1e9))
    names = [f"d{number}" for number in range(8)]
    events = [{"text": "x" * 89} for _ in range(40)]  # 4,000 bytes
    for position, name in enumerate(names, 1):
        lake.create(name)
        assert lake.commits == 0
        lake.accept(position, batch([*events, {}] if name == "d5" else events, name))
        lake.snapshot(name)

    wait_until(lambda: lake.commits == 1)
    assert [name for name in names if not lake.uncommitted(name)] == ["d5"]
    assert lake.uncommitted_bytes < 40_000 * 3 / 4
    lake.close()


def test_the_bytes_in_memory_are_none_once_all_is_committed_or_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(tmp_path, NEVER)
    batches = {name: batch([{"n": n} for n in range(100)], name) for name in ("kept", "dropped", "failed")}
    for position, (name, events) in enumerate(batches.items(), 1):
        lake.create(name)
        lake.accept(position, events)
        lake.snapshot(name)
    assert lake.uncommitted_bytes == sum(len(events.events) for events in batches.values())

    with monkeypatch.context() as patched:
        patched.setattr(DatasetTable, "commit", failing_with(OSError("no answer")))
        lake.commit_now("failed")
    lake.drop("dropped")
    lake.commit_now("kept")
    assert lake.uncommitted_bytes == len(batches["failed"].events)
    lake.drop("failed")

    assert (lake.uncommitted_bytes, lake.excess_bytes) == (0, -NEVER.max_waiting_bytes)
    lake.close()


def test_rows_are_read_as_they_came_while_they_are_written_in_another_order_and_after_that_failed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.accept(1, batch([{"n": 1}, {"n": 2}], first_ns=2_000_000_000))
    lake.accept(2, batch([{"n": 3}, {"n": 4}], first_ns=1_000_000_000))
    read: list[list[int]] = []

    def fail(*_: object, **__: object) -> None:
        read.append([n for part in lake.snapshot("d").hot for n in part.rows["n"].to_pylist()])
        raise OSError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(DatasetTable, "commit", fail)
        lake.commit_now("d")
    lake.accept(3, batch([{"n": 5}]))

    assert read == [[1, 2, 3, 4]]
    assert numbers(lake.snapshot("d")) == [1, 2, 3, 4, 5]
    lake.commit_now("d")
    assert numbers(lake.snapshot("d")) == [1, 2, 3, 4, 5]
    assert lake.snapshot("d").hot == ()
