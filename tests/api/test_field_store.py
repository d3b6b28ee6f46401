"""What a database has of fields: virtual fields, map fields, notes."""

from pathlib import Path

import pytest

from tailrace.api.field_store import MAX_MAP_FIELDS, FieldNote, FieldStore, VirtualField
from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage.database import Database


@pytest.fixture
def store(database: Database) -> FieldStore:
    return FieldStore(database)


def field(name: str = "v", dataset: str = "d", field_id: str = "") -> VirtualField:
    return VirtualField(field_id, dataset, name, "1", "", "", "")


def test_what_is_said_of_fields_is_there_after_a_restart(location: Path | str) -> None:
    note = FieldNote("ms", hidden=True, description="how long")
    with Database.open(location) as database:
        store = FieldStore(database)
        made = store.create_virtual_field(field())
        store.set_map_fields("d", ["b", "a"])
        store.note_field("d", "f", lambda before: note)

    with Database.open(location) as database:
        store = FieldStore(database)
        assert store.virtual_fields("d") == [made]
        assert store.virtual_field(made.id) == made
        assert (store.map_fields("d"), store.all_map_fields()) == (["b", "a"], {"d": ["b", "a"]})
        assert store.field_notes("d") == {"f": note}


def test_a_change_is_in_the_expressions_of_the_next_query(store: FieldStore) -> None:
    assert store.expressions() == {}
    made = store.create_virtual_field(field("a"))
    store.create_virtual_field(field("b", "other"))
    assert store.expressions() == {"d": [("a", "1")], "other": [("b", "1")]}
    store.update_virtual_field(field("c", field_id=made.id))
    assert store.expressions()["d"] == [("c", "1")]
    store.drop_dataset("other")
    store.delete_virtual_field(made.id)
    assert store.expressions() == {}


def test_a_change_of_another_server_is_in_what_the_next_query_asks_for(tmp_path: Path, location: Path | str) -> None:
    shared = location if isinstance(location, str) else f"sqlite:///{tmp_path}/shared.db"
    with Database.open(shared) as first, Database.open(shared) as second:
        one, other = FieldStore(first), FieldStore(second)
        assert (other.expressions(), other.shown_map_fields()) == ({}, {})

        one.create_virtual_field(field())
        one.add_map_field("d", "m")

        assert (other.expressions(), other.shown_map_fields()) == ({"d": [("v", "1")]}, {"d": ["m"]})


def test_two_virtual_fields_of_a_dataset_have_two_names(store: FieldStore) -> None:
    store.create_virtual_field(field("a"))
    other = store.create_virtual_field(field("b"))

    with pytest.raises(Conflict):
        store.create_virtual_field(field("a"))
    with pytest.raises(Conflict):
        store.update_virtual_field(field("a", field_id=other.id))
    with pytest.raises(NotFound):
        store.update_virtual_field(field("c", field_id="none"))


def test_a_map_field_stays_one_column_after_it_ceased_to_be_one(store: FieldStore) -> None:
    store.set_map_fields("d", ["a", "b"])
    store.delete_map_field("d", "b")
    store.set_map_fields("d", ["c"])
    store.add_map_field("d", "b")

    assert store.map_fields("d") == ["c", "b"]
    assert sorted(set(store.shown_map_fields()["d"])) == ["a", "b", "c"]
    with pytest.raises(Conflict):
        store.add_map_field("d", "c")
    with pytest.raises(NotFound):
        store.delete_map_field("d", "a")
    with pytest.raises(BadRequest, match="twice"):
        store.set_map_fields("d", ["a", "a"])


def test_the_longest_name_of_a_field_is_one(store: FieldStore) -> None:
    name = "".join(chr(0x20000 + number) for number in range(1024))  # 4 bytes each, and no two alike
    store.set_map_fields("d", [name])
    store.set_map_fields("d", [])
    store.note_field("d", name, lambda before: FieldNote("ms"))

    assert store.shown_map_fields() == {"d": [name]}
    note = FieldNote("ms", hidden=True)
    assert store.note_field("d", name, lambda before: FieldNote(before.unit, hidden=True)) == note
    assert store.field_notes("d") == {name: note}


def test_nothing_is_left_of_a_dataset_that_is_dropped(store: FieldStore) -> None:
    for dataset in ("d", "other"):
        store.create_virtual_field(field(dataset=dataset))
        store.set_map_fields(dataset, ["a", "b"])
        store.delete_map_field(dataset, "a")
        store.note_field(dataset, "f", lambda before: FieldNote("ms"))

    store.drop_dataset("d")
    store.drop_dataset("never there")

    assert (store.virtual_fields("d"), store.map_fields("d"), store.field_notes("d")) == ([], [], {})
    assert list(store.shown_map_fields()) == ["other"]
    assert len(store.virtual_fields("other")) == 1


def test_declared_map_fields_are_added_to_those_that_are_there_as_far_as_there_may_be_more(store: FieldStore) -> None:
    store.set_map_fields("d", ["b"])
    store.declare_map_fields("d", ["a", "b"])
    store.declare_map_fields("d", ["a", "b"])
    assert (store.map_fields("d"), store.shown_map_fields()) == (["b", "a"], {"d": ["b", "a"]})
    with pytest.raises(BadRequest):
        store.declare_map_fields("d", [""])

    store.set_map_fields("d", [f"f{n}" for n in range(MAX_MAP_FIELDS - 1)])
    store.declare_map_fields("d", ["x", "y"])
    assert store.map_fields("d")[-2:] == [f"f{MAX_MAP_FIELDS - 2}", "x"]
