"""Replay: each batch of the log is in its table once, also where its dataset is opened later."""

import errno
from pathlib import Path

import pytest
from support.events import batch
from support.lakes import NEVER, failing_with, numbers
from support.waiting import wait_until

from tailrace.events import DatasetUnavailable
from tailrace.lake import Lake, local_deltalog
from tailrace.lake.local_table import LocalTable
from tailrace.log import FIRST_WRITER


def test_replay_after_a_crash_puts_each_batch_into_its_table_once(tmp_path: Path) -> None:
    batches = [(position, batch([{"n": position}])) for position in range(1, 11)]
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept_all(batches[:6])
    lake.commit_now()
    lake.accept_all(batches[6:])
    lake.snapshot("d")
    lake.close(commit=False)

    lake = Lake.open(tmp_path, NEVER)
    assert lake.highest_position() == 6
    lake.accept_all(batches)

    assert numbers(lake.snapshot("d")) == list(range(1, 11))
    lake.close()


def test_a_dataset_that_could_not_be_opened_is_tried_again_with_what_the_log_has_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.lake.replay.REOPEN_RETRY_S", 0.02)
    log = [(1, batch([{"n": 1}], "bad")), (2, batch([{"n": 2}], "good")), (3, batch([{"n": 3}], "bad"))]
    told: list[int] = []
    lake = Lake.open(tmp_path, NEVER)
    lake.create("bad")
    lake.create("good")
    lake.accept_all(log[:1])
    lake.commit_now()
    lake.close()
    failures = iter([OSError(errno.EIO, "I/O error")] * 3)
    flush = local_deltalog.flush_newest

    def failing(storage: LocalTable, newest: int) -> None:
        if storage.uri.endswith("bad") and (error := next(failures, None)) is not None:
            raise error
        flush(storage, newest)

    monkeypatch.setattr(local_deltalog, "flush_newest", failing)
    lake = Lake.open(tmp_path, NEVER)
    lake.subscription.bind(told.append)
    lake.accept_all(log)
    with pytest.raises(DatasetUnavailable, match="bad"):
        lake.check("bad")
    lake.replayed({FIRST_WRITER: lambda first: [each for each in log if each[0] >= first]})

    wait_until(lambda: lake.has("bad"))
    assert next(failures, None) is None
    assert lake.unavailable() == []
    assert numbers(lake.snapshot("bad")) == [1, 3]  # the first is in its table, and not there twice
    lake.accept_all([(4, batch([{"n": 4}], "bad"))])
    assert numbers(lake.snapshot("bad")) == [1, 3, 4]
    assert told == []
    lake.close()
    assert told == [4]


def test_what_was_dropped_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.lake.replay.REOPEN_RETRY_S", 0.02)
    lake = Lake.open(tmp_path, NEVER)
    lake.create("bad")
    lake.create("worse")
    lake.close()
    info = tmp_path / "bad" / "_tailrace" / "dataset.json"
    whole = info.read_bytes()
    for name in ("bad", "worse"):
        (tmp_path / name / "_tailrace" / "dataset.json").write_bytes(b"x")
    lake = Lake.open(tmp_path, NEVER)
    with monkeypatch.context() as patched:
        patched.setattr(
            "tailrace.lake.local_catalog.LocalCatalog.remove", failing_with(OSError(errno.EIO, "I/O error"))
        )
        with pytest.raises(DatasetUnavailable, match="cannot be dropped"):
            lake.drop("worse")
    lake.replayed({FIRST_WRITER: lambda first: []})
    info.write_bytes(whole)

    wait_until(lambda: lake.has("bad"))
    assert [each.info.name for each in lake.unavailable()] == ["worse"]
    lake.close()


def test_the_log_keeps_the_events_of_a_dataset_whose_directory_is_away(tmp_path: Path) -> None:
    root, away = tmp_path / "lake", tmp_path / "away"
    batches = [(1, batch([{"n": 1}], "d")), (2, batch([{"n": 2}], "other"))]
    lake = Lake.open(root, NEVER)
    lake.create("d")
    lake.create("other")
    lake.close()
    (root / "d").rename(away)

    lake = Lake.open(root, NEVER)
    lake.accept_all(batches)
    lake.replayed()
    lake.commit_now()
    assert lake.committed_position() == 0
    lake.close()

    away.rename(root / "d")
    lake = Lake.open(root, NEVER)
    lake.accept_all(batches)
    assert numbers(lake.snapshot("d")) == [1]
    lake.close()
