"""The queries that users saved by running them."""

from pathlib import Path

import pytest

from tailrace.api import saved_queries as module
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.events import NotFound
from tailrace.storage.database import Database


@pytest.fixture
def store(database: Database) -> SavedQueryStore:
    return SavedQueryStore(database, clock=lambda: 1_700_000_000.25)


def test_a_query_is_as_it_was_sent_also_after_a_restart(location: Path | str) -> None:
    query = {"apl": "print 'a\0b'", "exact": 2**63 + 1, "none": None, "deep": {"": [{}, 0.1]}}
    with Database.open(location) as database:
        saved = SavedQueryStore(database, clock=lambda: 1_700_000_000.25).save("apl", query, dataset="d", who="me")

    with Database.open(location) as database:
        found = SavedQueryStore(database).get(saved, who="me")
    assert (found.kind, found.dataset, found.who, found.query) == ("apl", "d", "me", query)
    assert found.created == "2023-11-14T22:13:20.250000Z"


def test_the_oldest_of_too_many_queries_gives_way(store: SavedQueryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HISTORY", 3)
    ids = [store.save("apl", {"n": n}, dataset="", who="me") for n in range(5)]

    for gone in ids[:2]:
        with pytest.raises(NotFound):
            store.get(gone, who="me")
    assert [store.get(each, who="me").query["n"] for each in ids[2:]] == [2, 3, 4]


def test_a_saved_query_is_its_users_own(store: SavedQueryStore) -> None:
    saved = store.save("apl", {}, dataset="", who="me")

    with pytest.raises(NotFound):
        store.get(saved, who="you")
