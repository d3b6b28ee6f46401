"""Datasets made, changed, dropped and opened, whatever the disk does meanwhile."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from support.events import batch
from support.lakes import NEVER, numbers
from support.waiting import wait_until

from tailrace.events import (
    Conflict,
    DatasetExists,
    DatasetNotFound,
    DatasetUnavailable,
    DiskFull,
    InvalidName,
)
from tailrace.lake import Lake, LakeSettings, sidecar
from tailrace.lake.local_table import LocalTable


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


def test_names_are_checked_and_taken_once(lake: Lake) -> None:
    lake.create("a.b_c-D9")
    with pytest.raises(DatasetExists):
        lake.create("d")
    for name in ("", "../x", "-a", "a" * 129, "a b", "é"):
        with pytest.raises(InvalidName):
            lake.create(name)


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


@pytest.mark.parametrize("is_lasting", [False, True])
def test_a_creation_that_fails_at_any_step_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_lasting: bool
) -> None:
    """A flush that fails, or with it all later ones: those of the removal, too."""
    lake = Lake.open(tmp_path, NEVER)
    fsync = os.fsync
    for step in range(30):
        left = step

        def fail(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == -1 or (is_lasting and left < 0):
                raise OSError(errno.EIO, "Input/output error")
            fsync(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail)
            try:
                lake.create("d")
            except DatasetUnavailable:
                assert not lake.has("d")
                assert not (tmp_path / "d").exists()
        if left >= 0:
            lake.drop("d")
            break
        lake.create("d")
        lake.drop("d")
    assert 5 < step < 29
    lake.close()


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


def test_fields_are_declared_once_and_durably_unless_they_are_there_already(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    assert lake.snapshot("d").timespans == frozenset()
    lake.declare("d", {"n": "timespan", "duration": "timespan", "tags": "map"})
    lake.accept(2, batch([{"took": 1}]))
    lake.declare("d", {"duration": "map", "took": "timespan"})
    with pytest.raises(DatasetNotFound):
        lake.declare("other", {"duration": "timespan"})
    lake.close()

    lake = Lake.open(tmp_path, NEVER)
    snapshot = lake.snapshot("d")
    assert lake.get("d").declared == {"n": None, "duration": "timespan", "tags": "map", "took": None}
    assert snapshot.timespans == {"duration"}
    assert [snapshot.is_timespan("duration", types) for types in (["integer"], ["integer", "string"], [])] == [
        True,
        False,
        False,
    ]
    assert not snapshot.is_timespan("n", ["integer"])
    lake.close()


def test_a_declaration_that_cannot_be_stored_is_none(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tailrace.lake.sidecar.store_info", refuse)
    with pytest.raises(DiskFull):
        lake.declare("d", {"duration": "timespan"})
    assert (lake.get("d").declared, lake.snapshot("d").timespans) == ({}, frozenset())


def test_a_registry_that_is_older_than_its_table_is_completed(tmp_path: Path) -> None:
    with closing(Lake.open(tmp_path, NEVER)) as lake:
        lake.create("d")
        lake.accept(1, batch([{"n": 1}]))
        lake.commit_now()
        registry = tmp_path / "d" / sidecar.FIELDS
        former = registry.read_bytes()
        lake.accept(2, batch([{"n": 2, "new": "text"}]))
        lake.commit_now()
    registry.write_bytes(former)

    with closing(Lake.open(tmp_path, NEVER)) as lake:
        fields = lake.snapshot("d").fields
        assert {column.name: column.type for column in fields.columns} == {"n": "integer", "new": "string"}
        lake.accept(3, batch([{"new": 3}]))
        lake.commit_now()
        assert [column.name for column in lake.snapshot("d").fields.columns] == ["n", "new", "new#integer"]


def test_a_former_registry_without_a_number_does_not_count_where_the_numbered_are_lost(tmp_path: Path) -> None:
    with closing(Lake.open(tmp_path, NEVER)) as lake:
        lake.create("d")
        lake.accept(1, batch([{"n": 1}]))
        lake.commit_now()
        view = lake.snapshot("d").fields
    storage = LocalTable(tmp_path / "d")

    sidecar.store_numbered_fields(storage, view, 1)
    storage.remove(f"{sidecar.NUMBERED_FIELDS}/{1:020d}.json")

    assert sidecar.load_fields(storage) == (None, 0)
