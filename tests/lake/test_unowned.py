"""Datasets that no server has: everything that was answered, each once, from the table and the logs behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.object_stores import FaultyStore
from support.shared_lakes import BY_HAND, SharedStores, shared_stores, values, values_of

from tailrace.events import DatasetNotFound, DatasetUnavailable, Overloaded, ShuttingDown
from tailrace.lake import LakeSettings, Snapshot
from tailrace.lake.table import DatasetTable
from tailrace.lake.unowned import UnownedDatasets
from tailrace.log.object_threads import OBJECTS


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[SharedStores]:
    with shared_stores(tmp_path) as stores:
        stores.lake().create("d", primary_key="n")
        yield stores


def snapshot(stores: SharedStores, name: str = "d", settings: LakeSettings = BY_HAND) -> Snapshot:
    lake = stores.lakes[0]
    unowned = UnownedDatasets(lake.catalog, stores.logs, settings)
    try:
        return unowned.snapshot(name, timeout_s=20)
    finally:
        unowned.close()


def seen(stores: SharedStores) -> list[int]:
    return values_of(stores.lakes[0].catalog, snapshot(stores))


def test_what_a_table_has_and_what_the_logs_have_behind_it_is_answered(stores: SharedStores) -> None:
    lake = stores.lakes[0]
    assert seen(stores) == []
    stores.append("w1", 1)
    stores.append("w1", 9, "other")
    assert seen(stores) == [1]
    assert values(lake) == [1]
    lake.commit_now()
    stores.append("w2", 2, field="text")
    stores.append("w1", 3)
    owned, unowned = lake.snapshot("d"), snapshot(stores)
    assert seen(stores) == values(lake) == [1, 2, 3]
    assert (unowned.primary_key, unowned.received, len(unowned.files)) == ("n", owned.received, 1)
    assert unowned.fields.by_path().keys() == owned.fields.by_path().keys()


def test_what_is_committed_while_the_logs_are_read_is_answered_once(
    stores: SharedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = stores.lakes[0]
    stores.append("w1", 1)
    stores.append("w2", 2)
    assert values(lake) == [1, 2]
    refresh = DatasetTable.refresh

    def committed(table: DatasetTable) -> None:
        monkeypatch.undo()
        stores.append("w2", 3)
        lake.commit_now()
        refresh(table)

    monkeypatch.setattr(DatasetTable, "refresh", committed)
    found = snapshot(stores)
    assert values_of(lake.catalog, found) == [1, 2, 3]
    assert found.hot == ()


def test_a_question_that_is_given_up_reads_no_further_where_the_logs_have_nothing_for_it(stores: SharedStores) -> None:
    for n in range(2 * OBJECTS):
        stores.append("w1", n, "other")
    checks = iter(range(5))

    def check() -> None:
        if next(checks, None) is None:
            raise ShuttingDown("it is given up")

    store = stores.logs
    assert isinstance(store, FaultyStore)
    unowned = UnownedDatasets(stores.lakes[0].catalog, store, BY_HAND)
    with pytest.raises(ShuttingDown):
        unowned.snapshot("d", timeout_s=20, check=check)
    with pytest.raises(Overloaded, match="still being read"):
        unowned.snapshot("d", timeout_s=-1)
    unowned.close()
    assert store.requests <= OBJECTS + 10


def test_datasets_are_listed_without_a_change(stores: SharedStores) -> None:
    catalog = stores.lakes[0].catalog
    unowned = UnownedDatasets(catalog, stores.logs, BY_HAND)
    stores.tables().write("_tailrace/incomplete/e", b"")  # another server makes it
    assert catalog.names(lambda name: False) == ["d"]
    assert stores.tables().exists("_tailrace/incomplete/e")
    assert unowned.snapshot("d", timeout_s=10).primary_key == "n"
    with pytest.raises(DatasetNotFound):
        unowned.snapshot("e", timeout_s=10)
    unowned.close()


def test_what_cannot_be_answered_is_refused_in_words(stores: SharedStores) -> None:
    with pytest.raises(DatasetNotFound, match="'none' not found"):
        snapshot(stores, "none")
    stores.append("w1", 1)
    with pytest.raises(Overloaded, match="no server has dataset 'd' at the moment"):
        snapshot(stores, settings=LakeSettings(max_uncommitted_bytes=1, commit_age_s=1e9))
    storage = stores.lakes[0].catalog.storage("d")
    storage.replace_durably("_tailrace/dataset.json", b"?")
    with pytest.raises(DatasetUnavailable, match="'d' cannot be read"):
        snapshot(stores)
