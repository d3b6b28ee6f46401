"""Documents: stored as they are given, found in their organisation and area alone, changed one at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage import documents as module
from tailrace.storage.database import Database
from tailrace.storage.documents import Document, DocumentStore, VersionMismatch

BODY: dict[str, Any] = {"name": "a\0b", "exact": 2**64 + 1, "share": 0.1, "none": None, "": {"deep": [[], {}, True]}}


@pytest.fixture
def store(database: Database) -> DocumentStore:
    return DocumentStore(database, clock=lambda: 1_700_000_000.25)


def test_a_document_is_as_it_was_given_also_after_a_restart(location: Path | str) -> None:
    with Database.open(location) as database:
        added = DocumentStore(database, clock=lambda: 1_700_000_000.25).add("o", "views", BODY, user_id="me")

    with Database.open(location) as database:
        assert DocumentStore(database).get("o", "views", added.id) == added
    now = "2023-11-14T22:13:20.250000Z"
    assert added == Document(added.id, "me", now, now, "me", 1, BODY)


def test_documents_are_listed_oldest_first_in_their_organisation_and_area(store: DocumentStore) -> None:
    for organisation, area, document_id in (
        ("o", "views", "b"),
        ("o", "views", "a"),
        ("p", "views", "a"),
        ("o", "x", "a"),
    ):
        store.add(organisation, area, {}, user_id="me", document_id=document_id)

    assert [each.id for each in store.list_in("o", "views")] == ["b", "a"]
    assert [(name, each.id) for name, each in store.list_everywhere("views")] == [("o", "b"), ("o", "a"), ("p", "a")]


def test_a_change_is_of_the_newest_and_has_the_next_version(store: DocumentStore) -> None:
    added = store.add("o", "views", {"n": 0}, user_id="me")

    changed = store.replace(
        "o", "views", added.id, lambda before: {"n": before.body["n"] + 1}, user_id="you", version=1
    )

    assert (changed.created_by, changed.updated_by, changed.version, changed.body) == ("me", "you", 2, {"n": 1})
    assert store.get("o", "views", added.id) == changed
    with pytest.raises(VersionMismatch) as met:
        store.replace("o", "views", added.id, lambda before: {}, user_id="you", version=1)
    assert met.value.current == changed


def test_changes_that_come_at_once_are_all_made(store: DocumentStore) -> None:
    added = store.add("o", "views", {"n": 0}, user_id="me")

    with ThreadPoolExecutor(8) as threads:
        changes = [
            threads.submit(
                store.replace, "o", "views", added.id, lambda before: {"n": before.body["n"] + 1}, user_id="me"
            )
            for _ in range(16)
        ]
    assert sorted(change.result().version for change in changes) == list(range(2, 18))
    assert store.get("o", "views", added.id).body == {"n": 16}


def test_an_id_and_a_unique_member_are_taken_once(store: DocumentStore) -> None:
    store.add("o", "views", {"name": "v"}, user_id="me", document_id="a", unique="name")
    other = store.add("o", "views", {"name": "w"}, user_id="me", unique="name")

    with pytest.raises(Conflict):
        store.add("o", "views", {"name": "x"}, user_id="me", document_id="a")
    with pytest.raises(Conflict):
        store.add("o", "views", {"name": "v"}, user_id="me", unique="name")
    with pytest.raises(Conflict):
        store.replace("o", "views", other.id, lambda before: {"name": "v"}, user_id="me", unique="name")
    store.add("p", "views", {"name": "v"}, user_id="me", document_id="a", unique="name")


def test_a_document_that_is_not_there_is_not_found(store: DocumentStore) -> None:
    added = store.add("o", "views", {}, user_id="me")
    store.delete("o", "views", added.id)

    for document_id, organisation in ((added.id, "o"), (added.id, "p"), ("none", "o")):
        with pytest.raises(NotFound):
            store.get(organisation, "views", document_id)
        with pytest.raises(NotFound):
            store.delete(organisation, "views", document_id)
        with pytest.raises(NotFound):
            store.replace(organisation, "views", document_id, lambda before: {}, user_id="me")


def test_an_area_has_its_limit(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DOCUMENTS", 1)
    store.add("o", "views", {}, user_id="me")

    with pytest.raises(BadRequest, match="limit"):
        store.add("o", "views", {}, user_id="me")


def test_what_is_written_with_a_document_is_committed_with_it_or_neither_is(store: DocumentStore) -> None:
    def fail(connection: Connection) -> None:
        raise RuntimeError("the other write failed")

    added = store.add("o", "views", {"n": 0}, user_id="me")

    with pytest.raises(RuntimeError):
        store.add("o", "views", {"n": 1}, user_id="me", also=fail)
    with pytest.raises(RuntimeError):
        store.replace("o", "views", added.id, lambda before: {"n": 2}, user_id="me", also=fail)
    with pytest.raises(RuntimeError):
        store.delete("o", "views", added.id, also=fail)

    assert store.list_in("o", "views") == [added]
