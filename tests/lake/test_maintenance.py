"""Maintenance: files become fewer, old events go, what is asked to be deleted is; everything else stays as it was."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import FIRST_TIME_NS, batch, objects
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import DatasetNotFound, DatasetUnavailable, DiskFull
from tailrace.lake import DataFile, FieldsView, Lake, LakeSettings, MaintenanceSettings, Snapshot
from tailrace.lake.local_table import LocalTable
from tailrace.lake.sidecar import load_removed
from tailrace.lake.snapshot import US_PER_DAY

MIB = 1024**2
DAY_NS = US_PER_DAY * 1000
BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9))
FIRST_DAY = FIRST_TIME_NS // DAY_NS


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path / "lake", BY_HAND)
    lake.create("d")
    yield lake
    lake.close(commit=False)


def fill(lake: Lake, commits: int, *, first: int = 1, first_ns: int = FIRST_TIME_NS) -> None:
    """Commit of one event each, a second apart, numbered from `first`."""
    for n in range(first, first + commits):
        lake.accept(n, batch([{"n": n, "text": f"é {n}"}], first_ns=first_ns + n * 10**9))
        lake.commit_now("d")


def rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    parts: list[pa.Table] = [pq.ParquetFile(file.location).read() for file in snapshot.files]
    return [row for part in (*parts, *(part.rows for part in snapshot.hot)) for row in part.to_pylist()]


def numbers(lake: Lake) -> list[int]:
    return [row["n"] for row in rows(lake.snapshot("d"))]


def where(condition: Any) -> Any:
    """Return a row filter by a condition on `n`."""

    def matching(file: DataFile, fields: FieldsView) -> Any:
        return np.flatnonzero([condition(n) for n in pq.ParquetFile(file.location).read()["n"].to_pylist()])

    return matching


def parquet_files(lake: Lake) -> list[Path]:
    return sorted((lake.root / "d").glob("_day=*/*.parquet"))


# Compaction


def test_compaction_keeps_every_row_once_and_sorts_them_by_time(lake: Lake) -> None:
    lake.accept(1, batch([{"n": 5, "a": 1}, {"n": 6, "b": "x"}], first_ns=FIRST_TIME_NS + 5 * 10**9))
    lake.commit_now("d")
    fill(lake, 4, first=2)
    before = rows(lake.snapshot("d"))

    lake.compact("d")

    snapshot = lake.snapshot("d")
    [found] = snapshot.files
    assert found.rows == 6
    after = pq.ParquetFile(found.location).read().to_pylist()
    assert [row["_time"] for row in after] == sorted(row["_time"] for row in before)
    for row in before:
        assert {**dict.fromkeys(("a", "b", "text", "_rest")), **row} in [{"_rest": None, **each} for each in after]


def test_a_compacted_file_has_the_statistics_of_its_rows(lake: Lake) -> None:
    fill(lake, 3)
    before = lake.snapshot("d").files
    lake.compact("d")

    [found] = lake.snapshot("d").files

    assert found.min_time_us == min(each.min_time_us for each in before)
    assert found.max_time_us == max(each.max_time_us for each in before)
    assert found.columns == frozenset({"_time", "_sysTime", "n", "text"})
    assert found.bytes == Path(found.location).stat().st_size
    actions = pa.table(DeltaTable(lake.root / "d").get_add_actions(flatten=True)).to_pylist()
    assert len(actions) == 1
    assert (actions[0]["min.n"], actions[0]["max.n"], actions[0]["null_count.n"]) == (1, 3, 0)
    assert (actions[0]["min.text"], actions[0]["max.text"]) == ("é 1", "é 3")


def test_compaction_changes_no_data_and_keeps_the_log_position(lake: Lake) -> None:
    fill(lake, 3)
    lake.compact("d")

    table = DeltaTable(lake.root / "d")
    assert table.transaction_version("tailrace-log") == 3
    actions = [json.loads(line) for line in (table_log(lake, table.version())).read_text().splitlines()]
    files = [action[kind] for action in actions for kind in ("add", "remove") if kind in action]
    assert len(files) == 4
    assert [each["dataChange"] for each in files] == [False] * 4


def table_log(lake: Lake, version: int) -> Path:
    return lake.root / "d" / "_delta_log" / f"{version:020d}.json"


def test_each_version_of_the_table_can_be_read_while_its_files_are_kept(lake: Lake) -> None:
    fill(lake, 3)
    lake.compact("d")
    lake.delete_where("d", where(lambda n: n == 2))

    found = {}
    for version in range(1, DeltaTable(lake.root / "d").version() + 1):
        table = DeltaTable(lake.root / "d", version=version)
        if table.file_uris():
            found[version] = sorted(pl.read_delta(table)["n"].to_list())
    assert list(found.values()) == [[1], [1, 2], [1, 2, 3], [1, 2, 3], [1, 3]]


def test_replay_after_a_compaction_brings_nothing_twice(tmp_path: Path) -> None:
    batches = [(n, batch([{"n": n}])) for n in range(1, 6)]
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    for each in batches:
        lake.accept_all([each])
        lake.commit_now("d")
    lake.compact("d")
    lake.close()

    lake = Lake.open(tmp_path, BY_HAND)
    assert lake.highest_position() == 5
    lake.accept_all(batches)
    assert sorted(numbers(lake)) == [1, 2, 3, 4, 5]
    assert len(lake.snapshot("d").files) == 1
    lake.close()


def test_days_stay_apart(lake: Lake) -> None:
    fill(lake, 2)
    fill(lake, 2, first=3, first_ns=FIRST_TIME_NS + DAY_NS)

    lake.compact("d")

    assert [each.rows for each in lake.snapshot("d").files] == [2, 2]


def test_rows_of_equal_time_and_files_that_overlap_are_merged(tmp_path: Path, lake: Lake) -> None:
    step = 10**9
    for n in range(4):
        lake.accept(n + 1, batch([{"n": 10 * n + i} for i in range(3)], first_ns=FIRST_TIME_NS + (n % 2) * step))
        lake.commit_now("d")

    lake.compact("d")

    assert sorted(numbers(lake)) == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    [found] = lake.snapshot("d").files
    times = pq.ParquetFile(found.location).read()["_time"].to_pylist()
    assert times == sorted(times)


def test_a_merge_that_fails_or_is_stopped_leaves_no_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, 3)
    before = parquet_files(lake)

    def stop(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tailrace.lake.rewrite._next_rows", stop)
    with pytest.raises(DiskFull, match="no space is left on the disk"):
        lake.compact("d")

    assert parquet_files(lake) == before
    assert sorted(numbers(lake)) == [1, 2, 3]


@settings(max_examples=rounds(20))
@given(parts=st.lists(st.lists(objects, min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_events_are_the_same_after_compaction(parts: list[list[Any]], tmp_path_factory: Any) -> None:
    root = tmp_path_factory.mktemp("any")
    lake = Lake.open(root, BY_HAND)
    lake.create("d")
    for position, events in enumerate(parts, start=1):
        lake.accept(position, batch(events, first_ns=FIRST_TIME_NS + position * 10**9))
        lake.commit_now("d")

    def present(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if value is not None}

    before = [present(row) for row in rows(lake.snapshot("d"))]
    names = {name for each in before for name in each}
    lake.compact("d")
    snapshot = lake.snapshot("d")

    assert [present(row) for row in rows(snapshot)] == before
    assert len(snapshot.files) == 1
    assert snapshot.files[0].columns == names
    table = DeltaTable(root / "d").to_pyarrow_table()
    assert [present({**row, "_day": None}) for row in table.to_pylist()] == before
    lake.close(commit=False)


def test_the_background_compacts_and_removes_what_is_left_over(tmp_path: Path) -> None:
    eager = MaintenanceSettings(compact_files=2, every_s=0.01, keep_removed_s=0)
    lake = Lake.open(tmp_path, LakeSettings(commit_age_s=1e9, maintenance=eager))
    lake.create("d")
    fill(lake, 10)

    wait_until(lambda: len(parquet_files_in(tmp_path)) == 1)
    assert sorted(numbers(lake)) == list(range(1, 11))
    assert lake.maintenance.compactions > 0
    assert lake.maintenance.files_before - lake.maintenance.files_after == 9
    wait_until(lambda: lake.maintenance.files_removed == lake.maintenance.files_before)
    assert lake.maintenance.failures == 0
    lake.close()


def parquet_files_in(root: Path) -> list[Path]:
    return list((root / "d").glob("_day=*/*.parquet"))


@pytest.mark.costly
def test_every_row_is_in_a_snapshot_once_while_files_are_compacted(tmp_path: Path) -> None:
    eager = MaintenanceSettings(compact_files=2, every_s=0.001)
    lake = Lake.open(tmp_path, LakeSettings(commit_age_s=1e9, maintenance=eager))
    lake.create("d")
    for n in range(1, 60):
        fill(lake, 1, first=n)
        assert sorted(numbers(lake)) == list(range(1, n + 1))
    assert lake.maintenance.compactions > 0
    lake.close()


# Files that are no part of the table any more


def test_a_snapshot_can_be_read_after_its_files_were_compacted(lake: Lake) -> None:
    fill(lake, 3)
    snapshot = lake.snapshot("d")
    lake.compact("d")
    lake.sweep("d")

    assert [row["n"] for row in rows(snapshot)] == [1, 2, 3]
    assert len(parquet_files(lake)) == 4


def test_files_are_removed_when_their_time_is_over_and_a_restart_does_not_begin_it_anew(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    fill(lake, 3)
    lake.compact("d")
    removed = load_removed(LocalTable(tmp_path / "d"))
    assert len(removed) == 3
    lake.close()

    lake = Lake.open(tmp_path, BY_HAND)
    maintenance = lake._state.datasets["d"].maintenance
    at_ms = min(removed.values())
    assert maintenance.sweep(at_ms + 3_599_000) == 0
    assert maintenance.sweep(max(removed.values()) + 3_600_000) == 3
    assert [Path(each.location) for each in lake.snapshot("d").files] == parquet_files_in(tmp_path)
    assert load_removed(LocalTable(tmp_path / "d")) == {}
    assert lake.maintenance.files_removed == 3
    lake.close()


def test_what_a_crash_left_is_removed_when_its_time_is_over_and_no_other_file(lake: Lake) -> None:
    fill(lake, 1)
    directory = lake.root / "d"
    orphan = next(directory.glob("_day=*")) / "part-orphan.zstd.parquet"
    orphan.write_bytes(b"half of a file")
    (directory / "_day=1999-01-01").mkdir()
    (directory / "_day=1999-01-01/part-x.zstd.parquet").write_bytes(b"")
    maintenance = lake._state.datasets["d"].maintenance

    assert maintenance.sweep(1_000_000) == 0
    assert maintenance.sweep(1_000_000 + 3_599_999) == 0
    assert maintenance.sweep(1_000_000 + 3_600_000) == 2

    assert numbers(lake) == [1]
    assert [path.name for path in directory.glob("_day=*")] == [parquet_files(lake)[0].parent.name]


def test_a_spoiled_list_of_removed_files_is_set_aside_and_costs_time_only(lake: Lake) -> None:
    fill(lake, 2)
    lake.compact("d")
    kept = lake.root / "d" / "_tailrace" / "removed.json"
    kept.write_bytes(b"")
    maintenance = lake._state.datasets["d"].maintenance

    assert maintenance.sweep(1_000_000) == 0
    assert maintenance.sweep(1_000_000 + 3_600_000) == 2
    assert kept.with_name("removed.json.damaged").exists()
    assert numbers(lake) == [1, 2]


def test_a_rewrite_whose_end_was_not_seen_is_recognised(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, 3)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise OSError("the disk is gone")

        patched.setattr("tailrace.lake.local_table.LocalTable.flush", fail)
        with pytest.raises(DatasetUnavailable):
            lake.delete_where("d", where(lambda n: n == 2))

    assert lake.delete_where("d", where(lambda n: n == 2)).rows_matched == 0
    assert numbers(lake) == [1, 3]
    fill(lake, 1, first=4)
    lake.compact("d")
    assert numbers(lake) == [1, 3, 4]


# Retention


def test_retention_takes_whole_files_that_are_past_it(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=0.01)))
    lake.create("d")
    now = time.time_ns()
    for position, age_days in enumerate((40, 31, 29, 1), start=1):
        lake.accept(position, batch([{"n": age_days}], first_ns=now - age_days * DAY_NS))
    lake.commit_now("d")

    lake.update("d", retention_days=30, use_retention_period=False)
    lake.update("d", retention_days=30, use_retention_period=True)

    wait_until(lambda: lake.maintenance.rows_expired == 2)
    assert sorted(numbers(lake)) == [1, 29]
    assert DeltaTable(tmp_path / "d").transaction_version("tailrace-log") == 4
    lake.close()


def test_without_retention_nothing_expires(lake: Lake) -> None:
    fill(lake, 2, first_ns=DAY_NS)
    info = lake.update("d", retention_days=1, use_retention_period=False)
    lake._state.datasets["d"].maintenance.run_due(info, lambda written: None, FIRST_TIME_NS // 1_000_000)

    assert sorted(numbers(lake)) == [1, 2]


# Trim


def test_trim_deletes_what_is_older_in_files_and_in_memory(lake: Lake) -> None:
    lake.accept(1, batch([{"n": n} for n in range(5)]))  # a millisecond apart
    lake.commit_now("d")
    lake.accept(2, batch([{"n": 10 + n} for n in range(5)]))
    lake.snapshot("d")
    lake.accept(3, batch([{"n": 20}], first_ns=FIRST_TIME_NS - DAY_NS))

    assert lake.trim("d", FIRST_TIME_NS + 2_000_000) == 5
    assert sorted(numbers(lake)) == [2, 3, 4, 12, 13, 14]
    assert lake.trim("d", FIRST_TIME_NS + 2_000_000) == 0
    assert lake.maintenance.rows_deleted == 5
    assert lake.trim("d", FIRST_TIME_NS + DAY_NS) == 6
    assert numbers(lake) == []
    fill(lake, 1, first=4)
    assert numbers(lake) == [4]


def test_trim_is_exact_to_what_is_stored(lake: Lake) -> None:
    lake.accept(1, batch([{"n": 1}]))

    assert lake.trim("d", FIRST_TIME_NS) == 0
    assert lake.trim("d", FIRST_TIME_NS + 1) == 1


def test_what_was_trimmed_does_not_come_back_by_replay(tmp_path: Path) -> None:
    batches = [(n, batch([{"n": n}], first_ns=FIRST_TIME_NS + n)) for n in range(1, 4)]
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    lake.accept_all(batches)
    assert lake.trim("d", FIRST_TIME_NS + 10**9) == 3
    lake.close(commit=False)

    lake = Lake.open(tmp_path, BY_HAND)
    lake.accept_all(batches)
    assert numbers(lake) == []
    lake.close()


# Deleting


def test_deleting_says_what_it_did(lake: Lake) -> None:
    lake.accept(1, batch([{"n": n} for n in range(10)]))
    lake.commit_now("d")
    lake.accept(2, batch([{"n": 3}, {"n": 3}], first_ns=FIRST_TIME_NS + 10**9))

    tried = lake.delete_where("d", where(lambda n: n == 3), dry_run=True)
    assert (tried.rows_matched, tried.rows_deleted, tried.files_rewritten, tried.files_removed) == (3, 0, 1, 1)
    assert len(numbers(lake)) == 12
    done = lake.delete_where("d", where(lambda n: n == 3))

    assert (done.rows_matched, done.rows_deleted, done.files_rewritten, done.files_removed) == (3, 3, 1, 1)
    assert (done.first_ns, done.last_ns) == (FIRST_TIME_NS + 3_000_000, FIRST_TIME_NS + 10**9 + 1_000_000)
    assert sorted(numbers(lake)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    again = lake.delete_where("d", where(lambda n: n == 3))
    assert (again.rows_matched, again.first_ns, again.last_ns) == (0, None, None)


def test_a_column_of_which_all_values_were_deleted_is_known_to_be_empty(lake: Lake) -> None:
    lake.accept(1, batch([{"n": 1, "secret": "x"}, {"n": 2}]))
    lake.delete_where("d", where(lambda n: n == 1))

    [found] = lake.snapshot("d").files
    assert "secret" not in found.columns
    assert numbers(lake) == [2]


def test_a_filter_that_fails_deletes_nothing_and_leaves_no_file(lake: Lake) -> None:
    fill(lake, 3)
    lake.accept(4, batch([{"n": 4}, {"n": 5}]))
    lake.commit_now("d")
    before = parquet_files(lake)
    seen: list[DataFile] = []

    def matching(file: DataFile, fields: FieldsView) -> Any:
        seen.append(file)
        if len(seen) == 4:
            raise ValueError("not this one")
        return np.array([0])

    with pytest.raises(ValueError, match="not this one"):
        lake.delete_where("d", matching)

    assert parquet_files(lake) == before
    assert sorted(numbers(lake)) == [1, 2, 3, 4, 5]


def test_events_are_taken_and_committed_while_a_deletion_runs(lake: Lake) -> None:
    lake.accept(1, batch([{"n": 1}, {"n": 2}]))
    lake.commit_now("d")

    def matching(file: DataFile, fields: FieldsView) -> Any:
        fill(lake, 1, first=3)
        return np.array([0])

    lake.delete_where("d", matching)

    assert sorted(numbers(lake)) == [2, 3]
    assert DeltaTable(lake.root / "d").transaction_version("tailrace-log") == 3


def test_a_dataset_can_be_dropped_while_it_is_worked_at(lake: Lake) -> None:
    fill(lake, 3)
    dropper = threading.Thread(target=lake.drop, args=("d",))

    def matching(file: DataFile, fields: FieldsView) -> Any:
        if not dropper.is_alive():
            dropper.start()
        wait_until(lambda: not lake.has("d"))
        return np.array([0])

    with pytest.raises(DatasetNotFound):
        lake.delete_where("d", matching)
    dropper.join()

    assert not (lake.root / "d").exists()


def test_work_on_a_dataset_that_is_not_there_or_gone_is_refused(lake: Lake) -> None:
    for call in (lake.compact, lake.sweep):
        with pytest.raises(DatasetNotFound):
            call("missing")
    with pytest.raises(DatasetNotFound):
        lake.trim("missing", 0)
    fill(lake, 1)
    os.rename(lake.root / "d", lake.root / "away")
    with pytest.raises(DatasetUnavailable):
        lake.trim("d", 0)
    os.rename(lake.root / "away", lake.root / "d")
    assert lake.trim("d", 0) == 0


def test_a_table_keeps_its_own_log_short(lake: Lake) -> None:
    kept = DeltaTable(lake.root / "d").metadata().configuration

    assert kept["delta.logRetentionDuration"] == "interval 1 days"
    assert kept["delta.deletedFileRetentionDuration"] == "interval 1 days"
