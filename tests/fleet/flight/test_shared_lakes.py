"""Lake nodes that share tables and logs, and a query node with a cache of its own: what was answered is read, whoever
has the dataset at that moment.
"""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.backups import DirectSource, Told, events_in, restored
from support.flight import CACHE_BYTES, CREDENTIALS, HOST, StatedOwners
from support.object_stores import hurried
from support.shared_lakes import BY_HAND, SharedStores, shared_stores, values_of
from support.waiting import wait_until

from tailrace.backup.manifest import manifest_names
from tailrace.backup.place import DirectoryPlace
from tailrace.backup.running import Backups, BackupSources
from tailrace.backup.saving import save
from tailrace.events import Batch, DatasetNotFound
from tailrace.fleet.flight import remote_lake
from tailrace.fleet.flight.credentials import Peer
from tailrace.fleet.flight.errors import OwnerUnavailable
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.fleet.flight.server import LakeServer
from tailrace.fleet.flight.tails import MOVED, RemoteTails, TailFeeds
from tailrace.lake.hashes import damage
from tailrace.lake.object_catalog import ObjectCatalog
from tailrace.lake.unowned import UnownedDatasets
from tailrace.query import AplRequest, DuckDB, HoldingEngine, QueryLimits, run_apl
from tailrace.storage.database import Database
from tailrace.storage.file_cache import FileCache

TIMEOUT_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[SharedStores]:
    with shared_stores(tmp_path) as stores:
        yield stores


class SharedNode:
    """A lake node over the stores."""

    def __init__(self, stores: SharedStores, name: str) -> None:
        self.held: set[str] = set()
        self.feeds = TailFeeds()
        self.lake = stores.lake(owns=self.owns, published=self.feeds.publish, poll_s=0.02)
        self.server = LakeServer(
            self.lake, node=name, host=HOST, port=0, credentials=CREDENTIALS, owns=self.owns, feeds=self.feeds
        )
        self.peer = Peer(name, f"grpc://{HOST}:{self.server.port}")

    def owns(self, name: str) -> bool:
        return name in self.held


class QueryNode:
    """A node without a lake of its own."""

    def __init__(self, stores: SharedStores, owners: StatedOwners) -> None:
        store = stores.tables()
        self.cache = FileCache(stores.directory / "query-cache", store, CACHE_BYTES, damage)
        self.catalog = ObjectCatalog(store, self.cache)
        self.unowned = UnownedDatasets(self.catalog, stores.logs, BY_HAND)
        self.lake = RemoteLake(owners, CREDENTIALS, self.catalog, ownerless=self.unowned, cache_bytes=CACHE_BYTES)
        assert self.lake.start(TIMEOUT_S)

    def values(self) -> list[int]:
        return values_of(self.catalog, self.lake.snapshot("d", timeout_s=TIMEOUT_S))

    def close(self) -> None:
        self.lake.close()
        self.unowned.close()
        self.cache.close()


@pytest.fixture
def nodes(stores: SharedStores) -> Iterator[list[SharedNode]]:
    nodes = [SharedNode(stores, f"lake-{number}") for number in (1, 2)]
    nodes[0].held.add("d")
    yield nodes
    for node in nodes:
        node.server.close()


@pytest.fixture
def owners(nodes: list[SharedNode]) -> StatedOwners:
    return StatedOwners(*(node.peer for node in nodes))


@pytest.fixture
def query(stores: SharedStores, owners: StatedOwners) -> Iterator[QueryNode]:
    query = QueryNode(stores, owners)
    yield query
    query.close()


def move(source: SharedNode, target: SharedNode, owners: StatedOwners) -> None:
    """Have the second node hold the dataset, as its lease would."""
    source.held.discard("d")  # first: what is being given answers no more
    source.feeds.forget(["d"])
    source.lake.give(["d"])
    target.held.add("d")
    owners.of["d"] = target.peer
    target.lake.take(["d"])


def test_files_are_read_through_the_query_nodes_cache(stores: SharedStores, query: QueryNode, tmp_path: Path) -> None:
    query.lake.create("d")
    stores.append("w1", 1)
    query.lake.commit_now("d")
    stores.append("w2", 2)
    engine = HoldingEngine(
        DuckDB(query.catalog.tables, tmp_path / "temporary", QueryLimits()), query.catalog.tables, query.cache
    )
    try:
        for hits in (0, 1):
            answer = run_apl(query.lake, engine, AplRequest(apl="d | summarize sum(n)"), check=lambda name: None)
            assert answer.tables[0].rows[0].to_pylist() == [3]
            assert (query.cache.misses, query.cache.hits >= hits) == (1, True)
    finally:
        engine.close()


def test_a_dataset_whose_node_is_gone_is_read_from_its_table_and_the_logs(
    stores: SharedStores, nodes: list[SharedNode], owners: StatedOwners, query: QueryNode
) -> None:
    query.lake.create("d")
    stores.append("w1", 1)
    query.lake.commit_now("d")
    stores.append("w2", 2)
    assert query.values() == [1, 2]

    nodes[0].server.close()  # and its lease has not lapsed
    stores.append("w1", 3)
    assert query.values() == [1, 2, 3]
    owners.of["d"] = None
    stores.append("w2", 4)
    assert query.values() == [1, 2, 3, 4]
    with pytest.raises(OwnerUnavailable):
        query.lake.compact("d")

    nodes[0].held.clear()
    nodes[1].held.add("d")
    nodes[1].lake.take(["d"])
    owners.of["d"] = nodes[1].peer
    assert query.values() == [1, 2, 3, 4]
    query.lake.compact("d")


def test_a_backup_has_what_was_answered_before_it_of_the_datasets_of_all_nodes(
    stores: SharedStores, nodes: list[SharedNode], owners: StatedOwners, query: QueryNode, tmp_path: Path
) -> None:
    nodes[1].held.add("e")
    owners.of["e"] = nodes[1].peer
    for name in ("d", "e"):
        query.lake.create(name)
    with Database.open(tmp_path / "tailrace.db") as database:
        sources = BackupSources(query.lake, query.lake.names, database, tmp_path / "backups", dict)
        source, place = DirectSource(Backups(sources)), DirectoryPlace(tmp_path / "place")
        for n, (writer, dataset) in enumerate((("w1", "d"), ("w2", "e"), ("w2", "d"))):
            stores.append(writer, n, dataset)

        begun = source.begin()
        owners.of["e"] = None  # while it is copied, another node takes over
        query.lake.compact("d")
        source.end(begun.id)
        with ThreadPoolExecutor(1) as saving:
            saved = saving.submit(save, source, place, Told())
            owners.of["e"] = nodes[1].peer
            assert saved.result().is_complete

        owners.of["e"] = None
        query.lake.drop("d")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote_lake, "COPY_WAIT_S", 0.0)
            left = save(source, place, Told()).left_out
    assert [each.name for each in left] == ["e"]
    first = next(iter(manifest_names(place)))
    assert restored(place, tmp_path / "data", backup=first).rows == 3
    assert events_in(tmp_path / "data") == stores.expected


def test_a_dataset_that_moves_while_a_backup_is_copied_was_not_dropped(
    stores: SharedStores, nodes: list[SharedNode], owners: StatedOwners
) -> None:
    leader, other = nodes
    owners.own.add("d")
    lake = RemoteLake(
        owners,
        CREDENTIALS,
        leader.lake.catalog,
        own=leader.lake,
        changes=leader.server.changes,
        feeds=leader.feeds,
        cache_bytes=CACHE_BYTES,
    )
    assert lake.start(TIMEOUT_S)
    try:
        lake.create("d")
        stores.append("w1", 1)
        copy = lake.copy("d", lambda name, content: None)
        owners.own.clear()
        move(leader, other, owners)
        wait_until(lambda: other.lake.has("d"), TIMEOUT_S)
        assert not copy.is_dropped()
        assert all(copy.storage.size_bytes(file.name) == file.bytes for file in copy.files)

        lake.drop("d")
        assert copy.is_dropped()
        copy.release()
    finally:
        lake.close()


def test_a_dataset_that_moves_is_read_and_followed_all_the_time(
    stores: SharedStores, nodes: list[SharedNode], owners: StatedOwners, query: QueryNode
) -> None:
    query.lake.create("d")
    created_ns = query.lake.get("d").created_ns
    begun = threading.Event()
    seen: list[Batch] = []
    missed: list[str] = []
    stop = RemoteTails(query.lake.tail).follow(
        "d", begun.set, lambda batches: seen.extend(batches), lambda count, reason: missed.append(reason)
    )
    assert begun.wait(TIMEOUT_S)
    for round_ in range(4):
        source, target = nodes[round_ % 2], nodes[1 - round_ % 2]
        stores.append("w1", 10 * round_)
        moving = threading.Thread(target=move, args=(source, target, owners))
        moving.start()
        stores.append("w2", 10 * round_ + 1)
        assert query.values() == sorted(stores.expected["d"])
        moving.join()
        assert query.values() == sorted(stores.expected["d"])
        assert query.lake.get("d").created_ns == created_ns  # while it moved it was known, too

    def comes_again() -> bool:
        """Append an event, and return whether one of these came."""
        stores.append("w1", 1000 + len(stores.expected["d"]))
        return any(json.loads(line)["n"] >= 1000 for batch in seen for line in batch.events.splitlines())

    wait_until(comes_again)
    stop()
    assert set(missed) == {MOVED}

    query.lake.drop("d")
    with pytest.raises(DatasetNotFound):
        query.lake.snapshot("d", timeout_s=TIMEOUT_S)
