"""Lakes that share tables and logs: each event once, whoever has a dataset, and for however long two believe so."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.events import FIRST_TIME_NS
from support.object_stores import hurried
from support.shared_lakes import SharedStores, shared_stores, values
from support.waiting import wait_until

from tailrace.events import DatasetExists, DatasetNotFound
from tailrace.lake import committing, file_changes, maintenance, parquet
from tailrace.lake import table as table_module
from tailrace.lake.clock import time_ms
from tailrace.lake.shared_lake import DatasetElsewhere
from tailrace.lake.table import DatasetTable
from tailrace.log import object_reading
from tailrace.log.object_format import first_position_of
from tailrace.log.object_reading import FetchedEnd
from tailrace.log.object_threads import OBJECTS
from tailrace.storage.object_store import ObjectStore


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[SharedStores]:
    with shared_stores(tmp_path) as stores:
        stores.lake().create("d")
        stores.lakes.pop().close()
        yield stores


def test_a_dataset_that_is_taken_has_what_the_logs_have_behind_its_table(stores: SharedStores) -> None:
    stores.append("w1", 1)
    first = stores.lake("d")
    stores.append("w2", 2)
    assert values(first) == [1, 2]
    first.commit_now()
    stores.append("w1", 3)
    assert values(first) == [1, 2, 3]

    second = stores.lake("d")
    assert values(second) == [1, 2, 3]
    stores.append("w3", 4)
    assert values(second) == values(first) == [1, 2, 3, 4]


def test_what_is_given_is_in_its_table_and_answers_no_more(stores: SharedStores) -> None:
    lake = stores.lake("d")
    stores.append("w1", 1)
    assert values(lake) == [1]
    lake.give(["d"])
    assert not lake.knows("d")
    with pytest.raises(DatasetNotFound):
        lake.snapshot("d")

    snapshot = stores.lake("d").snapshot("d")
    assert (len(snapshot.files), snapshot.hot) == (1, ())
    lake.take(["d"])
    assert values(lake) == [1]


def test_what_is_given_without_a_commit_is_read_again_by_the_next(stores: SharedStores) -> None:
    lake = stores.lake("d")
    stores.append("w1", 1)
    assert values(lake) == [1]
    lake.give(["d"], commit=False)
    snapshot = stores.lake("d").snapshot("d")
    assert (len(snapshot.files), len(snapshot.hot)) == (0, 1)


def test_what_was_behind_a_table_is_in_it_long_before_what_is_new(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "LATE_AGE", 0)  # and what is new is never committed by its age
    stores.append("w1", 1)
    lake = stores.lake("d")
    wait_until(lambda: bool(lake.snapshot("d").files))
    stores.append("w2", 2)
    assert values(lake) == [1, 2]
    assert len(lake.snapshot("d").hot) == 1


@pytest.mark.parametrize("dataset", ["d", "another"])
def test_what_is_given_while_it_is_opened_is_read_no_further(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    objects = 2 * OBJECTS  # of each writer
    for n in range(objects):
        stores.append("w1", n, dataset)
        stores.append("w2", n, dataset)
    behind: list[str] = []
    begun, goes_on = threading.Event(), threading.Event()
    fetch_end = object_reading.fetch_end

    def fetch(store: ObjectStore, name: str, at_once: int) -> FetchedEnd:
        if (first_position_of(name) or 0) < objects:  # which whoever follows the log has no need of
            behind.append(name)
            begun.set()
            goes_on.wait(20)
        return fetch_end(store, name, at_once)

    lake = stores.lake()
    monkeypatch.setattr(object_reading, "fetch_end", fetch)
    lake.take(["d"])
    assert begun.wait(20)
    lake.give(["d"], commit=False)
    goes_on.set()
    wait_until(lambda: lake._follower._opening._readings == 0, 20)
    lake.close()
    assert len(behind) <= OBJECTS + OBJECTS // 2 + 2  # what one reads alone, the other beside it, and one more of each


def test_what_is_given_while_others_are_opened_with_it_is_followed_no_more(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.lake().create("e")
    lake = stores.lake()
    follow = lake._follower.follow

    def late(*arguments: Any, **named: Any) -> None:
        lake.give(["e"], commit=False)
        follow(*arguments, **named)

    monkeypatch.setattr(lake._follower, "follow", late)
    lake.take(["d", "e"])
    stores.append("w1", 1)
    assert values(lake) == [1]
    wait_until(lambda: lake._follower._datasets == {"d"}, 20)


def test_who_finds_a_part_half_covered_drops_it_and_reads_again(stores: SharedStores) -> None:
    first, second = stores.lake("d"), stores.lake("d")
    stores.append("w1", 1)
    assert values(second) == [1]
    second.commit_now()
    stores.append("w1", 2)  # one part of the first has both
    assert values(first) == values(second) == [1, 2]
    first.commit_now()
    assert values(first) == [1, 2]
    second.commit_now()
    stores.append("w2", 3)
    assert values(first) == values(second) == [1, 2, 3]
    assert values(stores.lake("d")) == [1, 2, 3]
    assert first.commit_failures == second.commit_failures == 0


def test_parts_that_another_has_committed_as_they_are_are_let_go(stores: SharedStores) -> None:
    first, second = stores.lake("d"), stores.lake("d")
    for n in (1, 2):
        stores.append("w1", n)
        assert values(first) == values(second) == list(range(1, n + 1))
    first.commit_now()
    stores.append("w1", 3)
    assert values(second) == [1, 2, 3]
    second.commit_now()
    assert values(second) == values(stores.lake("d")) == [1, 2, 3]


def test_columns_of_two_that_both_commit_mean_what_the_registry_says(stores: SharedStores) -> None:
    first, second = stores.lake("d"), stores.lake("d")
    assert values(first) == values(second) == []
    stores.append("w1", 1, a="text")
    assert values(first) == [1]
    stores.append("w1", 2, a=7)
    stores.append("w2", 3, a=[1])
    assert values(second) == [1, 2, 3]
    second.commit_now()
    assert values(first) == [1, 2, 3]
    first.commit_now()
    stores.append("w1", 4, b=2.5)
    assert values(first) == [1, 2, 3, 4]
    first.commit_now()
    second.commit_now()
    views = [lake.snapshot("d").fields for lake in (first, second, stores.lake("d"))]
    assert values(second) == [1, 2, 3, 4]
    assert {column.name: column.type for column in views[2].columns} == {
        column.name: column.type for column in views[0].columns
    }


def test_who_owns_a_dataset_no_more_does_not_answer(stores: SharedStores) -> None:
    owned = {"d"}
    lake = stores.lake("d", owns=owned.__contains__)
    stores.append("w1", 1)
    assert values(lake) == [1]
    owned.clear()
    for call in (lambda: lake.snapshot("d"), lambda: lake.create("e"), lambda: lake.trim("d", 0)):
        with pytest.raises(DatasetElsewhere):
            call()


def test_a_copy_that_is_answered_too_late_keeps_no_file(stores: SharedStores) -> None:
    owned = {"d"}
    lake = stores.lake("d", owns=owned.__contains__)
    stores.append("w1", 1)
    with pytest.raises(DatasetElsewhere):
        lake.copy("d", lambda name, content: owned.clear())
    owned.add("d")
    assert lake.snapshot("d").files
    assert not lake._state.dataset("d").maintenance._pins


def test_what_is_created_and_dropped_takes_no_events_of_a_former_one(stores: SharedStores) -> None:
    lake = stores.lake("d")
    stores.append("w1", 1)
    lake.drop("d")
    stores.append("w1", 2)  # by a server that was not told yet
    lake.create("d")
    stores.append("w1", 3)
    assert values(lake) == values(stores.lake("d")) == [3]


def test_one_that_another_has_made_meanwhile_is_not_made_again(stores: SharedStores) -> None:
    first, second = stores.lake("d"), stores.lake("d")
    first.create("e")
    stores.append("w1", 1, "e")
    first.commit_now("e")
    for _ in range(2):
        with pytest.raises(DatasetExists):
            second.create("e")
    assert values(second, "e") == [1]
    first.drop("e")
    second.drop("e")
    second.create("e")
    assert values(second, "e") == []


def test_positions_are_those_up_to_which_everything_is_in_the_tables(stores: SharedStores) -> None:
    lake = stores.lake("d")
    stores.append("w1", 1)
    stores.append("w1", 5, "other")
    assert values(lake) == [1]
    log = stores.writers["w1"]
    assert lake.stored_positions(len, [1, 2]) == {1: {"w1": 0}, 2: {"w1": log.durable_position}}
    lake.commit_now()
    everything = {1: {"w1": log.durable_position}}
    assert lake.stored_positions(len, [1]) == everything
    lake.take(["no-such"])
    wait_until(lambda: not lake.knows("no-such"))
    lake.catalog.storage("broken").replace_durably("_tailrace/dataset.json", b"?")
    lake.take(["broken"])
    with pytest.raises(Exception, match="broken"):
        lake.snapshot("broken", timeout_s=20)
    assert lake.stored_positions(len, [1, len("broken")]) == everything
    lake.drop("broken")
    assert lake.stored_positions(len, [len("broken")]) == {len("broken"): everything[1]}


def meanwhile(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: Callable[[], object]) -> None:
    """Have something happen once, when a function is called the next time, before it is."""
    function = getattr(owner, name)

    def called(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        call()
        return function(*arguments, **named)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(
    ("owner", "name", "fields"),
    [(committing, "first_parts", {"a": 1}), (DatasetTable, "in_order", {"a": 1}), (DatasetTable, "in_order", {})],
)
def test_who_is_overtaken_in_the_middle_of_a_commit_writes_nothing(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, fields: dict[str, Any]
) -> None:
    first = stores.lake("d")
    stores.append("w1", 0)
    first.commit_now()
    second = stores.lake("d")
    assert values(first) == values(second) == [0]
    stores.append("w1", 1, **fields)
    assert values(second) == [0, 1]
    stores.append("w1", 2, **dict.fromkeys(fields, "text"))
    assert values(first) == [0, 1, 2]

    meanwhile(monkeypatch, owner, name, lambda: second._commits.commit(second._state.datasets["d"]))
    first.commit_now("d")
    for lake in (first, second, stores.lake("d")):
        assert values(lake) == [0, 1, 2]
        lake.commit_now("d")
        lake.give(["d"])
    last = stores.lake("d")
    table = last._state.datasets["d"].table if values(last) else None
    assert table is not None
    known = {(column.name, column.path, column.type) for column in last.snapshot("d").fields.columns}
    assert {(column.name, column.path, column.type) for column in table.fields().columns} <= known


def test_a_deletion_by_one_of_two_leaves_nothing_that_it_should_have_deleted(stores: SharedStores) -> None:
    first, second = stores.lake("d"), stores.lake("d")
    for n in (1, 2, 3):
        stores.append("w1", n)
        assert values(first) == list(range(1, n + 1))
    second.commit_now()
    assert first.trim("d", FIRST_TIME_NS + 3 * 10**9) == 2
    for n, lake in ((4, first), (5, second)):
        stores.append("w1", n)
        lake.commit_now()  # for which the second, too, looks at the table
        assert values(lake) == [3, *range(4, n + 1)]
    second.compact("d")
    stores.append("w1", 6)
    first.compact("d")
    assert values(first) == values(second) == [3, 4, 5, 6]


def test_a_sweep_takes_no_file_that_another_is_about_to_commit(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has paused for longer than files are kept finds the fence, and writes its files anew."""
    now_ms = [time_ms()]
    for module in (table_module, parquet, maintenance, file_changes):
        monkeypatch.setattr(module, "time_ms", lambda: now_ms[0])
    first, second = stores.lake("d"), stores.lake("d")
    stores.append("w1", 1)
    assert values(first) == values(second) == [1]
    swept: list[int] = []

    def pause() -> None:
        for _ in range(2):  # at the first it finds the file
            now_ms[0] += maintenance.SHARED_KEEP_MS
            swept.append(second.sweep("d"))

    append = DatasetTable._append

    def paused(table: DatasetTable, actions: Any) -> bool:
        if table is first_table and not swept:
            pause()
        return append(table, actions)

    first_table = first._state.datasets["d"].table
    monkeypatch.setattr(DatasetTable, "_append", paused)
    monkeypatch.setattr(committing, "COMMIT_RETRY_S", 0.0)
    first._commits.commit(first._state.datasets["d"])
    assert (swept, first.commit_failures) == ([0, 1], 1)
    assert values(first) == values(second) == [1]
    first.commit_now()
    assert values(first) == values(second) == values(stores.lake("d")) == [1]


def test_a_dataset_is_changed_where_it_is_and_nowhere_else(stores: SharedStores) -> None:
    elsewhere: set[str] = set()
    lake = stores.lake("d", owns=lambda name: name not in elsewhere)
    for n in range(1, 5):
        stores.append("w1", n)
        assert values(lake)[-1] == n
        lake.commit_now("d")

    first = lake.snapshot("d").files[0].name

    def changes() -> list[Callable[[], object]]:
        return [
            lambda: lake.update("d", description="what it is").description,
            lambda: lake.declare("d", {"took": "timespan"}),
            lambda: lake.trim("d", FIRST_TIME_NS + 2 * 10**9),
            lambda: lake.delete_where("d", lambda file, fields: np.array([0]), dry_run=True).rows_matched,
            lambda: lake.compact("d"),
            lambda: lake.sweep("d") >= 0,
            lambda: lake.commit_now("d"),
        ]

    assert [change() for change in changes()] == ["what it is", None, 1, 3, None, True, None]
    assert values(lake) == [2, 3, 4]
    assert first not in [file.name for file in lake.snapshot("d").files]
    assert lake.get("d").declared == {"took": "timespan"}

    elsewhere.add("d")
    for change in changes():
        with pytest.raises(DatasetElsewhere):
            change()
    elsewhere.clear()
    assert values(lake) == [2, 3, 4]
