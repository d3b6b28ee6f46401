"""The lake: batches become rows exactly once, at once, whatever happens in between."""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.events import batch
from support.waiting import wait_until

from tailrace.events import Batch, Conflict, DatasetExists, DatasetNotFound, DatasetUnavailable, InvalidName
from tailrace.lake import Lake, LakeSettings, Snapshot, deltalog
from tailrace.lake.catalog import load_dropped
from tailrace.lake.parquet import write_files
from tailrace.lake.table_storage import TableStorage

NEVER = LakeSettings(commit_age_s=1e9)


def numbers(snapshot: Snapshot) -> list[int]:
    """Return the values of `n`, of committed and hot rows."""
    parts: list[pa.Table] = [pq.ParquetFile(file.location).read() for file in snapshot.files]
    return sorted(n for part in (*parts, *snapshot.hot) for n in part["n"].to_pylist())


def failing_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    yield lake
    lake.close(commit=False)


def test_a_snapshot_has_what_was_accepted_before_it(lake: Lake) -> None:
    for position in range(1, 30):
        lake.accept(position, batch([{"n": position}]))

        assert numbers(lake.snapshot("d")) == list(range(1, position + 1))


@pytest.mark.costly
def test_every_row_is_in_a_snapshot_once_while_commits_run(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "lake", LakeSettings(commit_bytes=1, commit_age_s=0))
    lake.create("d")
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            lake.commit_now("d")

    committer = threading.Thread(target=commit)
    committer.start()
    try:
        for position in range(1, 60):
            lake.accept(position, batch([{"n": position}]))
            assert numbers(lake.snapshot("d")) == list(range(1, position + 1))
    finally:
        stop.set()
        committer.join()
        lake.close()


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


def test_a_parquet_file_without_its_delta_commit_is_no_part_of_the_table(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    [rows] = lake.snapshot("d").hot
    lake.close(commit=False)
    write_files(TableStorage(tmp_path / "d"), rows)  # and the process ends here

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
    write = pq.write_table
    written = []
    with monkeypatch.context() as patched:

        def fail_at_the_second(table: pa.Table, file: BinaryIO, **options: Any) -> None:
            written.append(file)
            write(table, file, **options)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr("tailrace.lake.parquet.pq.write_table", fail_at_the_second)
        lake.commit_now("d")
        assert len(written) == 2
        assert [path for path in (tmp_path / "d").rglob("*.parquet") if "_delta_log" not in path.parts] == []

    lake.commit_now("d")
    assert numbers(lake.snapshot("d")) == [1, 2]
    assert lake.uncommitted("d") == 0


def test_a_table_whose_directory_is_gone_is_unavailable_and_a_fault(lake: Lake, tmp_path: Path) -> None:
    lake.create("other")
    lake.accept(1, batch([{"n": 1}]))
    lake.commit_now("d")
    shutil.rmtree(tmp_path / "d")
    lake.accept(2, batch([{"n": 2}]))
    lake.accept(3, batch([{"n": 3}], dataset="other"))

    with pytest.raises(DatasetUnavailable, match="is gone"):
        lake.snapshot("d")
    assert "is gone" in lake.faults()["d"]
    lake.commit_now()

    assert not (tmp_path / "d").exists()
    assert lake.uncommitted("d") == 1
    assert lake.uncommitted("other") == 0
    assert numbers(lake.snapshot("other")) == [3]


def test_a_commit_that_fails_after_its_delta_commit_is_not_made_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.accept(1, batch([{"n": 1}]))
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise OSError("the disk is gone")

        patched.setattr("tailrace.lake.table_storage.TableStorage.flush", fail)
        lake.commit_now("d")
        assert lake.commit_failures == 1

    lake.commit_now("d")

    assert lake.uncommitted("d") == 0
    assert numbers(lake.snapshot("d")) == [1]


def test_a_dataset_made_anew_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    old = (1, batch([{"n": 1}]))
    lake.accept_all([old])
    lake.drop("d")
    with pytest.raises(DatasetNotFound):
        lake.snapshot("d")
    lake.create("d")
    lake.accept(2, batch([{"n": 2}]))
    lake.close(commit=False)

    lake = Lake.open(tmp_path, NEVER)
    lake.accept_all([old, (2, batch([{"n": 2}]))])
    assert numbers(lake.snapshot("d")) == [2]
    lake.close()


def test_dropping_gives_the_backlog_back(lake: Lake) -> None:
    lake.accept(1, batch([{"n": n} for n in range(5000)]))
    lake.drop("d")

    wait_until(lambda: lake.backlog_bytes == 0)


def test_what_was_interrupted_is_finished_at_the_next_start_and_nothing_else_is_touched(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.close()
    (tmp_path / "d").rename(tmp_path / "_dropped-1")
    (tmp_path / "_new-half").mkdir()
    (tmp_path / "lost+found").mkdir()

    lake = Lake.open(tmp_path, NEVER)

    assert lake.datasets() == []
    assert [path.name for path in tmp_path.iterdir()] == ["lost+found"]
    lake.close()


@pytest.mark.parametrize("damaged", ["_tailrace/dataset.json", "_delta_log/00000000000000000000.json"])
@pytest.mark.parametrize("damage", ["spoilt", "gone"])
def test_a_damaged_dataset_is_unavailable_and_keeps_its_files_and_its_log(
    tmp_path: Path, damaged: str, damage: str
) -> None:
    told: list[int] = []
    lake = Lake.open(tmp_path, NEVER)
    lake.create("bad")
    lake.create("good")
    lake.close()
    file = tmp_path / "bad" / damaged
    whole = file.read_bytes()
    file.write_bytes(b"x") if damage == "spoilt" else file.unlink()

    lake = Lake.open(tmp_path, NEVER)
    lake.subscription.bind(told.append)
    lake.accept_all([(1, batch([{"n": 1}], "bad")), (2, batch([{"n": 2}], "good"))])
    lake.replayed()
    with pytest.raises(DatasetUnavailable, match="bad"):
        lake.snapshot("bad")
    assert numbers(lake.snapshot("good")) == [2]
    lake.close()
    assert told == []  # the log may release nothing

    file.write_bytes(whole)
    lake = Lake.open(tmp_path, NEVER)
    lake.accept_all([(1, batch([{"n": 1}], "bad")), (2, batch([{"n": 2}], "good"))])
    assert numbers(lake.snapshot("bad")) == [1]
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
    flush = deltalog.flush_newest

    def failing(storage: TableStorage, newest: int) -> None:
        if storage.uri.endswith("bad") and (error := next(failures, None)) is not None:
            raise error
        flush(storage, newest)

    monkeypatch.setattr("tailrace.lake.table.flush_newest", failing)
    lake = Lake.open(tmp_path, NEVER)
    lake.subscription.bind(told.append)
    lake.accept_all(log)
    with pytest.raises(DatasetUnavailable, match="bad"):
        lake.check("bad")
    lake.replayed(lambda first: [each for each in log if each[0] >= first])

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
        patched.setattr("tailrace.lake.catalog.remove", failing_with(OSError(errno.EIO, "I/O error")))
        with pytest.raises(DatasetUnavailable, match="cannot be dropped"):
            lake.drop("worse")
    lake.replayed(lambda first: [])
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


def test_the_log_does_not_wait_for_what_was_dropped(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.replayed()
    lake.accept(1, batch([{}]))
    lake.drop("d")
    lake.accept(2, batch([{}]))  # was on its way
    assert lake.committed_position() == 2
    lake.close()

    lake = Lake.open(tmp_path, NEVER)
    lake.accept_all([(1, batch([{}])), (2, batch([{}]))])
    assert lake.committed_position() == 2
    lake.close()


def test_names_are_checked_and_taken_once(lake: Lake) -> None:
    lake.create("a.b_c-D9")
    with pytest.raises(DatasetExists):
        lake.create("d")
    for name in ("", "../x", "-a", "a" * 129, "a b", "é"):
        with pytest.raises(InvalidName):
            lake.create(name)


def test_what_cannot_be_shredded_is_kept_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tailrace.lake.shred.Shredder.shred", fail)
    lake.accept(1, batch([{"n": 1}]))

    [rows] = lake.snapshot("d").hot

    assert rows["_rest"].to_pylist() == ['{"n":1}']
    assert lake.shred_failures == 1


# The disk and the lock


class Held:
    """Holds up the first flush of some paths until it is let go."""

    def __init__(self, patched: pytest.MonkeyPatch, part: str) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        fsync = os.fsync

        def hold(descriptor: int) -> None:
            if part in os.readlink(f"/proc/self/fd/{descriptor}") and not self.entered.is_set():
                self.entered.set()
                assert self.let_go.wait(30)
            fsync(descriptor)

        patched.setattr(os, "fsync", hold)


@pytest.mark.parametrize(
    ("work", "part"),
    [
        (lambda lake: lake.create("other"), "_new-other"),
        (lambda lake: lake.update("d", description="x"), "dataset.json"),
        (lambda lake: lake.drop("gone"), "dropped.json"),
    ],
    ids=["create", "update", "drop"],
)
def test_ingest_lists_and_queries_go_on_while_a_dataset_is_being_written_to_the_disk(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, work: Callable[[Lake], object], part: str
) -> None:
    lake.create("gone")
    lake.accept(1, batch([{"n": 1}]))
    held = Held(monkeypatch, part)
    with ThreadPoolExecutor(2) as threads:
        working = threads.submit(work, lake)
        assert held.entered.wait(30)

        def go_on() -> list[int]:
            lake.accept(2, batch([{"n": 2}]))
            assert "d" in [info.name for info in lake.datasets()]
            assert lake.get("d").name == "d"
            return numbers(lake.snapshot("d"))

        try:
            assert threads.submit(go_on).result(timeout=20) == [1, 2]
            assert not working.done()
        finally:
            held.let_go.set()
        working.result(timeout=20)


def test_names_are_read_without_the_lock(lake: Lake) -> None:
    with ThreadPoolExecutor(1) as threads, lake._state.lock:
        assert [info.name for info in threads.submit(lake.datasets).result(timeout=20)] == ["d"]
        assert threads.submit(lake.get, "d").result(timeout=20).name == "d"
        threads.submit(lake.check, "d").result(timeout=20)


def test_who_creates_a_dataset_that_is_being_created_is_answered_once_it_is_there(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, "_new-other")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lake.create, "other")
        assert held.entered.wait(30)
        second = threads.submit(lake.create, "other")
        assert not lake.has("other")
        held.let_go.set()
        first.result(timeout=20)
        with pytest.raises(DatasetExists):
            second.result(timeout=20)
        assert lake.has("other")


def test_a_dataset_that_is_being_created_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.open(tmp_path, LakeSettings(max_datasets=1))
    held = Held(monkeypatch, "_new-first")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(lake.create, "first")
        assert held.entered.wait(30)
        with pytest.raises(Conflict):
            lake.create("second")
        held.let_go.set()
        first.result(timeout=20)
    lake.close()


def test_a_creation_that_fails_at_any_step_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(tmp_path, NEVER)
    fsync = os.fsync
    for step in range(30):
        left = step
        failed = False

        def fail(descriptor: int) -> None:
            nonlocal left, failed
            left -= 1
            if left == -1:
                failed = True
                raise OSError(errno.EIO, "Input/output error")
            fsync(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            try:
                lake.create("d")
            except DatasetUnavailable:
                assert not lake.has("d")
                assert not (tmp_path / "d").exists()
                lake.create("d")
        lake.drop("d")
        if not failed:
            break
    assert 5 < step < 29
    lake.close()


def test_what_a_drop_could_not_store_holds_the_log_until_it_can(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.replayed()
    lake.accept(1, batch([{}]))
    told: list[int] = []
    lake.subscription.bind(told.append)
    with monkeypatch.context() as patched:

        def full(root: Path, dropped: dict[str, int]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr("tailrace.lake.catalog.store_dropped", full)
        lake.drop("d")
        lake.accept(2, batch([{}]))  # was on its way
        lake.commit_now()
        assert told == []
    lake.commit_now()

    assert told == [2]
    assert load_dropped(lake.root) == {"d": 2}


def test_a_batch_of_a_dropped_dataset_costs_none_beside_it_whatever_the_disk_does(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.replayed()
    lake.create("gone")
    lake.drop("gone")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tailrace.lake.catalog.store_dropped", full)
    lake.accept_all([(1, batch([{}], "gone")), (2, batch([{"n": 2}]))])

    assert numbers(lake.snapshot("d")) == [2]


def test_a_dataset_whose_files_cannot_be_removed_can_be_dropped_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        patched.setattr(os, "rename", fail)
        with pytest.raises(DatasetUnavailable, match="cannot be dropped: the disk can only be read"):
            lake.drop("d")
    with pytest.raises(DatasetUnavailable, match="was dropped"):
        lake.snapshot("d")

    lake.drop("d")
    lake.create("d")
    assert numbers(lake.snapshot("d")) == []


def test_shredding_goes_on_once_there_are_descriptors_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    shredder = lake._state.datasets["d"].shredder
    shred, scarce = shredder.shred, threading.Event()
    scarce.set()

    def shred_if_possible(batches: Sequence[Batch]) -> pa.Table:
        if scarce.is_set():
            raise OSError(errno.EMFILE, "Too many open files")
        return shred(batches)

    monkeypatch.setattr(shredder, "shred", shred_if_possible)
    lake.accept(1, batch([{"n": 1}]))
    with pytest.raises(DatasetUnavailable, match="Too many open files"):
        lake.snapshot("d")
    assert "Too many open files" in lake.failure
    scarce.clear()

    wait_until(lambda: not lake.failure)
    assert numbers(lake.snapshot("d")) == [1]
    assert lake.shred_failures == 0
