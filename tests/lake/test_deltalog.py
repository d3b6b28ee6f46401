"""Versions of a Delta table: on the disk before they are named, each once, and read by other engines."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from support.events import FIRST_TIME_NS, batch

from tailrace.events import DatasetUnavailable
from tailrace.lake import Lake, LakeSettings, MaintenanceSettings, local_deltalog, table
from tailrace.lake.deltalog import version_name
from tailrace.lake.local_deltalog import LocalDeltaLog
from tailrace.lake.local_table import LocalTable

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9))
CALLS = ("fsync", "link", "rename", "replace")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path / "lake", BY_HAND)
    lake.create("d")
    yield lake
    lake.close(commit=False)


def put(lake: Lake, n: int, **more: object) -> None:
    lake.accept(n, batch([{"n": n, **more}], first_ns=FIRST_TIME_NS + n * 10**9))


def numbers(directory: Path) -> list[int]:
    """Return what another engine reads."""
    return sorted(pl.read_delta(str(directory))["n"].to_list())


def seen(lake: Lake) -> list[int]:
    snapshot = lake.snapshot("d")
    parts = [pl.read_parquet(file.location, hive_partitioning=False)["n"].to_list() for file in snapshot.files]
    return sorted(sum(parts, [n for part in snapshot.hot for n in part.rows["n"].to_pylist()]))


def reopened(lake: Lake) -> Lake:
    lake.close(commit=False)
    return Lake.open(lake.root, BY_HAND)


def version_path(lake: Lake, version: int) -> Path:
    return lake.root / "d" / version_name(version)


def log_of(lake: Lake) -> Path:
    return lake.root / "d" / "_delta_log"


# Failures


@pytest.mark.parametrize("is_done", [False, True], ids=["not done", "done all the same"])
def test_a_commit_that_fails_at_any_step_is_made_once_with_what_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    steps = 0
    for step in range(50):
        lake = Lake.open(tmp_path / f"lake-{step}", BY_HAND)
        lake.create("d")
        put(lake, 1)
        lake.commit_now("d")
        put(lake, 2, new="column")
        lake.snapshot("d")
        with monkeypatch.context() as patched:
            count = failing_at(patched, step, is_done)
            lake.commit_now("d")
        has_failed = count() > step
        put(lake, 3)
        assert seen(lake) == [1, 2, 3]
        lake._state.datasets["d"].maintenance.sweep(0)
        assert seen(lake) == [1, 2, 3]
        assert lake.commit_failures <= has_failed
        lake.commit_now("d")

        assert seen(lake) == [1, 2, 3]
        assert lake.committed_position() == 3
        assert numbers(lake.root / "d") == [1, 2, 3]
        lake.close()
        if not has_failed:
            break
        steps += 1
    # The registry of fields, the Parquet file and its directory, the version: each written, named, flushed.
    assert 8 <= steps < 50


def failing_at(patched: pytest.MonkeyPatch, step: int, is_done: bool) -> Callable[[], int]:
    """Let the call of this number, of those on which durability hangs, fail; return how many there were."""
    calls = 0

    def failing(call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls - 1 != step:
                return call(*arguments, **named)
            if is_done:
                call(*arguments, **named)
            raise OSError(errno.EIO, "Input/output error")

        return wrapped

    for name in CALLS:
        patched.setattr(os, name, failing(getattr(os, name)))
    return lambda: calls


def test_a_version_has_its_name_only_once_its_content_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_delta_log").mkdir()
    flushed: list[bytes] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        flushed.append(path.read_bytes() if path.is_file() else b"directory")
        fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        assert flushed == [b'{"a":{}}\n']
        os.symlink(source, target)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "link", link)

    LocalDeltaLog(LocalTable(tmp_path)).append(7, [{"a": {}}])

    assert flushed == [b'{"a":{}}\n', b"directory"]
    assert [path.name for path in (tmp_path / "_delta_log").iterdir()] == ["00000000000000000007.json"]


def test_a_version_whose_name_could_not_be_flushed_is_named_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_delta_log").mkdir()
    log = LocalDeltaLog(LocalTable(tmp_path))

    def fail(storage: LocalTable, name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("tailrace.lake.local_table.LocalTable.flush", fail)
        with pytest.raises(OSError, match="Input"):
            log.append(1, [{"a": {}}])
        with pytest.raises(OSError, match="Input"):
            log.settle()
        assert not log.is_sure
    path = tmp_path / version_name(1)
    before = path.stat().st_ino
    log.settle()

    assert log.is_sure
    assert path.stat().st_ino != before
    assert path.read_bytes() == b'{"a":{}}\n'
    assert list((tmp_path / "_delta_log").iterdir()) == [path]


def test_a_name_that_may_not_be_flushed_is_made_anew_by_the_next_process(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, 1)
    with monkeypatch.context() as patched:
        patched.setattr("tailrace.lake.local_table.LocalTable.flush", lambda storage, name: os.fsync(-1))
        lake.commit_now("d")
    path = version_path(lake, 1)
    before = path.stat().st_ino

    lake = reopened(lake)

    assert path.stat().st_ino != before
    assert lake.highest_position() == 1
    assert seen(lake) == [1]
    assert not list(log_of(lake).glob("*.tmp"))
    lake.close()


def test_a_version_of_another_writer_is_never_written_over(lake: Lake) -> None:
    put(lake, 1)
    lake.commit_now("d")
    put(lake, 2)
    lake.snapshot("d")
    other = pl.read_delta(str(lake.root / "d")).with_columns(n=pl.lit(100, pl.Int64))
    append = LocalDeltaLog.append

    def be_first(log: LocalDeltaLog, version: int, actions: list[dict[str, object]]) -> None:
        if version == 2:
            write_deltalake(str(lake.root / "d"), other.to_arrow(), mode="append")
        append(log, version, actions)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalDeltaLog, "append", be_first)
        lake.commit_now("d")

    assert lake.commit_failures == 0
    assert seen(lake) == [1, 2, 100]
    assert numbers(lake.root / "d") == [1, 2, 100]


def test_a_table_whose_protocol_another_engine_has_raised_is_not_written_to(lake: Lake) -> None:
    put(lake, 1)
    lake.commit_now("d")
    DeltaTable(lake.root / "d").alter.add_constraint({"positive": "n > 0"})
    put(lake, 2)

    lake.commit_now("d")

    assert lake.commit_failures == 1
    assert "another engine has raised" in lake._state.datasets["d"].commit_failure
    assert seen(lake) == [1, 2]


# What other engines read


def test_columns_come_with_the_rows_that_brought_them(lake: Lake) -> None:
    put(lake, 1)
    lake.commit_now("d")
    put(lake, 2, text="é", size=1.5)
    lake.commit_now("d")

    assert lake._state.datasets["d"].table.version == 2
    read = pl.read_delta(str(lake.root / "d")).sort("n")
    assert read.select("n", "text", "size").rows() == [(1, None, None), (2, "é", 1.5)]
    delta = DeltaTable(lake.root / "d")
    [text] = [field for field in delta.schema().fields if field.name == "text"]
    assert text.metadata == {"tailrace.path": "text", "tailrace.type": "string"}
    assert delta.transaction_version("tailrace-log") == 2
    assert [entry["operation"] for entry in delta.history()] == ["WRITE", "WRITE", "CREATE TABLE"]
    assert delta.metadata().configuration["delta.checkpointInterval"] == "100"


DEFAULT_INDEXED_COLUMNS = "32"  # of which Delta's readers keep statistics where a table does not say
WIDE = {f"column{n}": n for n in range(60)}  # more than that


def columns_of_files(lake: Lake) -> list[frozenset[str]]:
    return [file.columns for file in lake.snapshot("d").files]


def test_the_columns_of_a_file_are_the_same_when_it_is_opened_again(lake: Lake) -> None:
    put(lake, 1, **WIDE)
    lake.commit_now("d")
    put(lake, 2, column59=59)
    lake.commit_now("d")
    before = columns_of_files(lake)
    assert sorted(len(columns & WIDE.keys()) for columns in before) == [1, 60]

    lake = reopened(lake)
    assert columns_of_files(lake) == before
    lake.compact("d")
    [whole] = columns_of_files(lake)
    assert whole >= WIDE.keys()
    assert columns_of_files(reopened(lake)) == [whole]


def test_so_they_are_in_a_table_that_keeps_statistics_of_some_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "ALL_COLUMNS", DEFAULT_INDEXED_COLUMNS)
    monkeypatch.setitem(table.PROPERTIES, table.INDEXED_COLUMNS, DEFAULT_INDEXED_COLUMNS)
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    put(lake, 1, **WIDE)
    lake.commit_now("d")
    [before] = columns_of_files(lake)
    assert before >= WIDE.keys()
    lake = reopened(lake)
    [counted] = columns_of_files(lake)
    assert len(counted) < len(before)  # what statistics alone would tell

    monkeypatch.undo()
    lake = reopened(lake)
    assert columns_of_files(lake) == [before]
    put(lake, 2, column0=1)
    lake.commit_now("d")
    assert DeltaTable(lake.root / "d").metadata().configuration[table.INDEXED_COLUMNS] == "-1"
    assert sorted(len(columns & WIDE.keys()) for columns in columns_of_files(reopened(lake))) == [1, 60]


def test_checkpoints_are_made_and_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHECKPOINT_VERSIONS", 4)
    lake = reopened(lake)
    for n in range(1, 10):
        put(lake, n, **{f"column{n}": n})
        lake.commit_now("d")
    log = log_of(lake)
    assert json.loads((log / "_last_checkpoint").read_bytes())["version"] == 8
    assert sorted(path.name[18:20] for path in log.glob("*.checkpoint.parquet")) == ["04", "08"]
    assert list((lake.root / "d" / "_tailrace").glob("checkpoint-*")) == []
    for version in range(8):
        version_path(lake, version).unlink()  # as is done with what is a day old

    lake = reopened(lake)

    assert lake.highest_position() == 9
    assert seen(lake) == numbers(lake.root / "d") == list(range(1, 10))
    lake.close()


def test_a_checkpoint_that_cannot_be_made_costs_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHECKPOINT_VERSIONS", 2)
    lake = reopened(lake)

    def fail(storage: LocalTable) -> None:
        raise DeltaError("no space")

    monkeypatch.setattr(local_deltalog, "checkpoint", fail)
    for n in range(1, 4):
        put(lake, n)
        lake.commit_now("d")

    assert lake.commit_failures == 0
    assert seen(lake) == [1, 2, 3]
    lake.close()


# What a power cut or a bad disk leaves


def torn(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "zeros":
            path.write_bytes(bytes(len(content)))
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "a page of zeros":
            path.write_bytes(content[:100] + bytes(100) + content[200:])
        case "other letters":
            path.write_bytes(content.replace(b'"', b"'"))


@pytest.mark.parametrize("how", ["empty", "zeros", "half", "a page of zeros"])
def test_a_newest_version_that_is_not_whole_is_set_aside_and_its_rows_come_from_the_log(lake: Lake, how: str) -> None:
    for n in (1, 2):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    torn(version_path(lake, 2), how)

    lake = Lake.open(lake.root, BY_HAND)
    assert lake.set_aside == 1
    assert lake.highest_position() == 1
    assert len(list((lake.root / "d" / "_tailrace" / "unreadable").iterdir())) == 1
    put(lake, 1)
    put(lake, 2)
    assert seen(lake) == [1, 2]
    lake.commit_now("d")

    assert numbers(lake.root / "d") == [1, 2]
    lake = reopened(lake)
    assert lake.set_aside == 0
    assert seen(lake) == [1, 2]
    lake.close()


def test_the_files_of_a_version_that_was_set_aside_stay_until_it_is_removed(lake: Lake) -> None:
    for n in (1, 2):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    files = set((lake.root / "d").glob("_day=*/*"))
    torn(version_path(lake, 2), "empty")

    lake = Lake.open(lake.root, BY_HAND)
    maintenance = lake._state.datasets["d"].maintenance
    maintenance.sweep(0)
    assert maintenance.sweep(10**9) == 0
    assert set((lake.root / "d").glob("_day=*/*")) == files

    shutil.rmtree(lake.root / "d" / "_tailrace" / "unreadable")
    maintenance.sweep(0)
    assert maintenance.sweep(10**9) == 1
    lake.close()


@pytest.mark.parametrize(
    ("version", "how"), [(1, "empty"), (1, "half"), (1, "gone"), (2, "other letters"), (0, "empty")]
)
def test_other_damage_is_told_and_nothing_is_set_aside(lake: Lake, version: int, how: str) -> None:
    for n in (1, 2):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    torn(version_path(lake, version), how)

    lake = Lake.open(lake.root, BY_HAND)

    assert lake.set_aside == 0
    with pytest.raises(DatasetUnavailable, match="'d'"):
        lake.snapshot("d")
    lake.close()


def test_no_second_version_is_set_aside_behind_the_first(lake: Lake) -> None:
    for n in (1, 2, 3):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    torn(version_path(lake, 3), "empty")
    Lake.open(lake.root, BY_HAND).close()
    torn(version_path(lake, 2), "empty")

    lake = Lake.open(lake.root, BY_HAND)

    with pytest.raises(DatasetUnavailable, match="version 2"):
        lake.snapshot("d")
    lake.close()


@pytest.mark.parametrize("how", ["empty", "half", "zeros"])
@pytest.mark.parametrize("which", ["00000000000000000004.checkpoint.parquet", "_last_checkpoint"])
def test_a_torn_checkpoint_is_set_aside(lake: Lake, monkeypatch: pytest.MonkeyPatch, which: str, how: str) -> None:
    monkeypatch.setattr(table, "CHECKPOINT_VERSIONS", 4)
    lake = reopened(lake)
    for n in range(1, 6):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    torn(log_of(lake) / which, how)

    lake = Lake.open(lake.root, BY_HAND)

    assert lake.set_aside > 0
    assert seen(lake) == numbers(lake.root / "d") == [1, 2, 3, 4, 5]
    lake.close()


def test_a_torn_checkpoint_that_is_needed_is_told_and_left(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHECKPOINT_VERSIONS", 4)
    lake = reopened(lake)
    for n in range(1, 6):
        put(lake, n)
        lake.commit_now("d")
    lake.close()
    version_path(lake, 1).unlink()
    checkpoint = log_of(lake) / "00000000000000000004.checkpoint.parquet"
    torn(checkpoint, "half")

    lake = Lake.open(lake.root, BY_HAND)

    with pytest.raises(DatasetUnavailable):
        lake.snapshot("d")
    assert checkpoint.exists()
    lake.close()
