"""A lake node has the datasets of its shards, and objects of the logs go once every shard has what is in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.object_stores import FaultyStore, hurried
from support.shared_lakes import SharedStores, shared_stores, values
from support.waiting import wait_until

from tailrace.fleet.lake_keeper import LakeKeeper, Repeated, release_dead, release_own
from tailrace.fleet.leases import Lease, Leases
from tailrace.fleet.log_positions import LogPositions, lowest
from tailrace.fleet.shards import SHARDS, lease_name, shard_of
from tailrace.lake.shared_lake import DatasetElsewhere, SharedLake
from tailrace.log.object_cursor import objects_of
from tailrace.storage.database import Database

NAMES = [lease_name(shard) for shard in range(SHARDS)]


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[SharedStores]:
    with shared_stores(tmp_path) as stores:
        yield stores


class Node:
    """A lake node without a server."""

    def __init__(self, database: Database, stores: SharedStores, name: str) -> None:
        self.keeper: LakeKeeper  # which the lake asks
        self.lake: SharedLake = stores.lake(owns=lambda name: self.keeper.has(name))
        self.positions = LogPositions(database, name)
        self.keeper = LakeKeeper(self.lake, self.positions)
        self.leases = Leases(database, name, lease_s=100)
        self.held: dict[str, Lease] = {}

    def take(self, *names: str) -> None:
        taken = self.leases.take(names)
        self.held |= taken
        self.keeper.begin({name: lease.fence for name, lease in taken.items()})

    def give(self, *names: str) -> None:
        self.keeper.end(names)
        self.leases.release([self.held.pop(name) for name in names])


def objects(stores: SharedStores, writer: str) -> int:
    return len(objects_of(stores.logs, writer))


def test_a_shard_brings_its_datasets_and_takes_them_along(database: Database, stores: SharedStores) -> None:
    first, second = Node(database, stores, "a"), Node(database, stores, "b")
    first.take(*NAMES)
    for name in ("d", "e"):
        first.lake.create(name)
    stores.append("w1", 1)
    stores.append("w1", 2, "e")
    assert (values(first.lake), values(first.lake, "e")) == ([1], [2])

    moved = lease_name(shard_of("d"))
    first.give(moved)
    second.take(moved)
    assert shard_of("d") not in first.keeper.shards()
    assert second.keeper.shards() == {shard_of("d")}
    assert values(second.lake) == [1]
    with pytest.raises(DatasetElsewhere):
        first.lake.snapshot("d")
    assert values(first.lake, "e") == [2]
    second.keeper.lose([moved])
    assert second.lake.names() == []


def test_objects_go_once_every_shard_has_what_is_in_them(database: Database, stores: SharedStores) -> None:
    first, second = Node(database, stores, "a"), Node(database, stores, "b")
    moved = lease_name(shard_of("d"))
    first.take(*(name for name in NAMES if name != moved))
    second.take(moved)
    second.lake.create("d")
    first.lake.create("e")
    for n in range(3):
        stores.append("w1", n)
        stores.append("w1", n, "e")
        stores.append("w1", n, "dropped long ago")
    assert (values(first.lake, "e"), values(second.lake)) == ([0, 1, 2], [0, 1, 2])
    log = stores.writers["w1"]
    kept = objects(stores, "w1")

    def release() -> None:
        for node in (first, second):
            node.keeper.tell()
        release_own(first.positions, "w1", log.release)

    first.lake.commit_now()
    release()
    assert first.positions.released() == {"w1": 0}
    assert objects(stores, "w1") == kept
    second.lake.commit_now()
    release()
    assert first.positions.released() == {"w1": log.durable_position}
    wait_until(lambda: objects(stores, "w1") == 2, 10)  # the claim, and the newest
    stores.append("w1", 3)
    assert values(second.lake) == [0, 1, 2, 3]


def test_a_shard_that_nobody_has_or_that_has_a_dataset_that_cannot_be_opened_keeps_objects(
    database: Database, stores: SharedStores
) -> None:
    node = Node(database, stores, "a")
    node.take(*NAMES[1:])
    stores.append("w1", 1, "other")
    node.lake._follower.catch_up(20)
    node.keeper.tell()
    assert node.positions.released() == {}
    stores.tables().write("broken/_tailrace/dataset.json", b"?")
    unlucky = lease_name(shard_of("broken"))
    node.give(*(name for name in (unlucky,) if name in node.held))
    node.take(unlucky, NAMES[0])
    wait_until(lambda: bool(node.lake.unavailable()), 20)
    node.keeper.tell()
    assert node.positions.released().get("w1", 0) <= stores.writers["w1"].durable_position
    before = node.positions.released()
    stores.append("w1", 2, "other")
    node.lake._follower.catch_up(20)
    node.keeper.tell()
    assert node.positions.released() == before
    node.lake.drop("broken")
    node.keeper.tell()
    assert node.positions.released() == {"w1": stores.writers["w1"].durable_position}


def test_who_has_lost_a_shard_tells_nothing_of_it(database: Database, stores: SharedStores) -> None:
    first, second = LogPositions(database, "a"), LogPositions(database, "b")
    leases = Leases(database, "a", lease_s=100)
    held = leases.take([NAMES[3], NAMES[4]])
    told = {3: (1, {"w1": 5}), 4: (1, {"w1": 7, "w2": 1})}
    assert first.publish(told) == {3, 4}
    assert first.publish({3: (1, {"w1": 4})}) == {3}  # what was told stays
    assert second.publish(told) == first.publish({3: (2, {"w1": 9})}) == set()
    leases.release([held[NAMES[3]]])
    Leases(database, "b", lease_s=100).take([NAMES[3]])
    assert first.publish(told) == {4}
    assert second.publish({3: (2, {"w1": 6})}) == {3}
    assert first.released() == {}  # of the others nobody has told
    assert [first.highest(writer) for writer in ("w1", "w2", "w3")] == [7, 1, 0]


def test_the_lowest_positions_are_of_writers_that_all_know() -> None:
    assert lowest([{"w1": 3, "w2": 5}, {"w2": 4, "w1": 9}, {"w2": 6, "w3": 1, "w1": 4}]) == {"w1": 3, "w2": 4}
    assert lowest([]) == lowest([{"w1": 1}, {}]) == {}


def test_objects_of_writers_that_are_gone_go_too(database: Database, stores: SharedStores) -> None:
    node = Node(database, stores, "a")
    node.take(*NAMES)
    for n in range(3):
        stores.append("w1", n, "other")
        stores.append("w2", n, "other")
    node.lake._follower.catch_up(20)
    node.keeper.tell()
    assert release_dead(node.positions, stores.logs, {"w2"}) == 2
    assert (objects(stores, "w1"), objects(stores, "w2")) == (2, 4)


def test_a_call_is_repeated_after_it_failed() -> None:
    calls: list[int] = []
    store = FaultyStore()
    store.is_dead = True

    def call() -> None:
        calls.append(1)
        if len(calls) == 1:
            store.directories()
        if len(calls) == 2:
            raise RuntimeError

    repeated = Repeated(call, 0.001, "test")
    repeated.start()
    wait_until(lambda: len(calls) > 3, 10)
    repeated.close()
    assert len(calls) > 3
