"""What is kept of virtual fields and saved queries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.api import store as module
from tailrace.api.store import Store, VirtualField
from tailrace.events import Conflict, NotFound


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(tmp_path / "saved.db")
    yield made
    made.close()


def field(name: str = "v", dataset: str = "d", field_id: str = "") -> VirtualField:
    return VirtualField(field_id, dataset, name, "1", "", "", "")


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "saved.db")
    made = store.create_virtual_field(field())
    saved = store.save_query("apl", {"apl": "print 1"}, dataset="", who="me")
    store.close()

    again = Store.open(tmp_path / "saved.db")
    assert again.virtual_fields("d") == [made]
    assert again.saved_query(saved, who="me").query == {"apl": "print 1"}
    again.close()


def test_the_oldest_of_too_many_queries_gives_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HISTORY", 3)
    ids = [store.save_query("apl", {"n": n}, dataset="", who="me") for n in range(5)]

    for gone in ids[:2]:
        with pytest.raises(NotFound):
            store.saved_query(gone, who="me")
    assert [store.saved_query(each, who="me").query["n"] for each in ids[2:]] == [2, 3, 4]


def test_a_saved_query_is_its_users_own(store: Store) -> None:
    saved = store.save_query("apl", {}, dataset="", who="me")

    with pytest.raises(NotFound):
        store.saved_query(saved, who="you")


def test_a_change_is_in_the_expressions_of_the_next_query(store: Store) -> None:
    assert store.expressions() == {}
    made = store.create_virtual_field(field("a"))
    store.create_virtual_field(field("b", "other"))
    assert store.expressions() == {"d": [("a", "1")], "other": [("b", "1")]}
    store.update_virtual_field(field("c", field_id=made.id))
    assert store.expressions()["d"] == [("c", "1")]
    store.drop_dataset("other")
    store.delete_virtual_field(made.id)
    assert store.expressions() == {}


def test_two_virtual_fields_of_a_dataset_have_two_names(store: Store) -> None:
    store.create_virtual_field(field("a"))
    other = store.create_virtual_field(field("b"))

    with pytest.raises(Conflict):
        store.create_virtual_field(field("a"))
    with pytest.raises(Conflict):
        store.update_virtual_field(field("a", field_id=other.id))
    with pytest.raises(NotFound):
        store.update_virtual_field(field("c", field_id="none"))
