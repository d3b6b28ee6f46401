"""Membership: lake nodes share the shards, hand them over, and none believes longer than its lease lasts."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack

import pytest
from support.fleet import SetClock, let_pass
from support.waiting import wait_until

from tailrace.events import StorageUnavailable
from tailrace.fleet.leases import Leases
from tailrace.fleet.membership import FleetMembership
from tailrace.fleet.nodes import NodeReplaced, NodeRole, Nodes
from tailrace.fleet.shards import SHARDS, lease_name, rightful_node
from tailrace.storage.database import Database

LEASE_S = 1000.0  # so that no beat comes but those of the test


class Keeper:
    """Notes what a node has begun, and what it was told."""

    def __init__(self) -> None:
        self.has: dict[str, int] = {}
        self.lost: list[str] = []
        self.failures = 0

    def begin(self, leases: Mapping[str, int]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the store does not answer")
        assert not self.has.keys() & leases.keys()
        self.has.update(leases)

    def end(self, names: Collection[str]) -> None:
        for name in names:
            del self.has[name]

    def lose(self, names: Collection[str]) -> None:
        self.end(names)
        self.lost.extend(names)


class BeatenNode(FleetMembership):
    """A node of a test, whose beats the test gives."""

    def __init__(self, database: Database, name: str, role: NodeRole = NodeRole.LAKE) -> None:
        self.clock = SetClock()
        self.keeper = Keeper()
        super().__init__(
            Nodes(database, name=name, role=role, url=f"http://{name}", flight_url=f"grpc://{name}", lease_s=LEASE_S),
            Leases(database, name, lease_s=LEASE_S, clock=self.clock),
            name=name,
            role=role,
            lease_s=LEASE_S,
            keeper=self.keeper if role is NodeRole.LAKE else None,
        )

    def settle(self) -> None:
        """Return once the keeper has done what it was told."""
        self._keeping.submit(lambda: None).result()


@pytest.fixture
def fleet(database: Database) -> Iterator["StartNodes"]:
    with ExitStack() as stack:
        yield StartNodes(database, stack)


class StartNodes:
    """Makes the nodes of a test."""

    def __init__(self, database: Database, stack: ExitStack) -> None:
        self.database = database
        self._stack = stack

    def start(self, name: str, role: NodeRole = NodeRole.LAKE) -> BeatenNode:
        node = BeatenNode(self.database, name, role)
        node.start()
        self._stack.callback(node.leave)
        node.is_ready = True
        beat(node)
        return node


def beat(*nodes: BeatenNode) -> None:
    for node in nodes:
        node.beat()
        node.settle()


def shards_of(node: BeatenNode) -> set[int]:
    return {shard for shard in range(SHARDS) if lease_name(shard) in node.keeper.has}


def test_a_lake_node_alone_has_all_shards_and_leads(fleet: StartNodes) -> None:
    a = fleet.start("a")

    assert shards_of(a) == set(range(SHARDS))
    assert a.leads
    assert a.owns("logs")
    owner = a.fleet.owner("logs")
    assert owner is not None
    assert (owner.name, owner.flight_url) == ("a", "grpc://a")


def test_a_node_that_is_not_ready_takes_nothing(fleet: StartNodes) -> None:
    a = BeatenNode(fleet.database, "a")
    a.start()
    beat(a)
    assert a.keeper.has == {}
    assert not a.owns("logs")
    a.leave()


def test_other_nodes_take_no_shards_and_see_who_has_them(fleet: StartNodes) -> None:
    ingest = fleet.start("ingest", NodeRole.INGEST)
    assert ingest.fleet.owner("logs") is None
    fleet.start("a")
    beat(ingest)

    owner, leader = ingest.fleet.owner("logs"), ingest.fleet.leader()
    assert owner == leader
    assert [node.name for node in ingest.fleet.ready(NodeRole.LAKE)] == ["a"]
    assert not ingest.owns("logs")


def test_a_second_lake_node_is_given_its_shards_once_it_has_lived_for_a_lease(fleet: StartNodes) -> None:
    a = fleet.start("a")
    b = fleet.start("b")
    beat(a, b)
    assert (len(shards_of(a)), len(shards_of(b))) == (SHARDS, 0)

    let_pass(fleet.database, 0.6 * LEASE_S)
    beat(a, b)
    let_pass(fleet.database, 0.6 * LEASE_S)
    beat(a, b)

    rightful = {name: {shard for shard in range(SHARDS) if rightful_node(shard, "ab") == name} for name in "ab"}
    assert (shards_of(a), shards_of(b)) == (rightful["a"], rightful["b"])
    assert {b.keeper.has[lease_name(shard)] for shard in rightful["b"]} == {2}
    assert a.leads
    assert not b.leads


def test_what_a_silent_node_had_is_taken_by_another_with_a_higher_fence(fleet: StartNodes) -> None:
    a = fleet.start("a")
    let_pass(fleet.database, LEASE_S)
    b = fleet.start("b")

    assert shards_of(b) == set(range(SHARDS))
    assert set(b.keeper.has.values()) == {2}
    assert b.leads
    beat(a)
    assert a.keeper.has == {}
    assert len(a.keeper.lost) == SHARDS + 1
    assert not a.leads


def test_a_node_that_leaves_hands_over_at_once(fleet: StartNodes) -> None:
    a = BeatenNode(fleet.database, "a")
    a.start()
    a.is_ready = True
    beat(a)
    b = fleet.start("b")
    a.leave()
    beat(b)

    assert a.keeper.has == {}
    assert a.keeper.lost == []
    assert shards_of(b) == set(range(SHARDS))
    assert b.leads


def test_a_node_that_is_not_ready_any_more_hands_over(fleet: StartNodes) -> None:
    a = fleet.start("a")
    a.is_ready = False
    beat(a)
    assert len(shards_of(a)) == SHARDS  # nobody else would have them

    b = fleet.start("b")
    beat(a, b)
    assert (len(shards_of(a)), len(shards_of(b))) == (0, SHARDS)
    assert b.leads


def test_a_node_that_stood_still_believes_nothing_until_it_has_asked(fleet: StartNodes) -> None:
    a = fleet.start("a")
    a.clock.advance(LEASE_S)
    assert not a.owns("logs")
    assert not a.leads

    beat(a)
    assert a.owns("logs")
    assert a.keeper.lost == []


def test_what_could_not_begin_is_tried_again(fleet: StartNodes) -> None:
    a = fleet.start("a")
    b = fleet.start("b")
    b.keeper.failures = 1
    a.leave()
    beat(b)
    assert b.keeper.has == {}
    assert not b.owns("logs")

    beat(b)
    assert len(b.keeper.has) == SHARDS + 1
    assert set(b.keeper.has.values()) == {3}


def test_a_process_whose_name_another_has_stops_and_says_so(fleet: StartNodes) -> None:
    former = fleet.start("a")
    now = fleet.start("a")

    assert shards_of(now) == set(range(SHARDS))
    with pytest.raises(NodeReplaced):
        former.beat()


def test_a_node_beats_by_itself_and_says_where_it_cannot(database: Database) -> None:
    node = BeatenNode(database, "a")
    node._beat_s = 0.01
    node.start()
    node.is_ready = True
    wait_until(lambda: node.owns("logs"))
    real, node._nodes = node._nodes, _Unavailable()  # type: ignore[assignment]
    wait_until(lambda: "does not answer" in node.fault)
    assert node.owns("logs")
    node._nodes = real
    wait_until(lambda: not node.fault)
    other = BeatenNode(database, "a")
    other.start()
    wait_until(lambda: "another process runs as the node a" in node.fault)
    wait_until(lambda: node.keeper.has == {})
    node.leave()
    other.leave()


class _Unavailable:
    def renew(self, *, is_ready: bool) -> None:
        raise StorageUnavailable("the server's database does not answer")
