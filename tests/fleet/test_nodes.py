"""Nodes: each knows the others while they live, and of what they do."""

import pytest
from support.fleet import let_pass

from tailrace.fleet.nodes import FleetNode, NodeReplaced, NodeRole, Nodes
from tailrace.storage.database import Database

LEASE_S = 100.0


def nodes_of(database: Database, name: str, role: NodeRole = NodeRole.LAKE) -> Nodes:
    return Nodes(database, name=name, role=role, url=f"http://{name}", flight_url=f"grpc://{name}", lease_s=LEASE_S)


def test_a_node_is_known_until_it_leaves(database: Database) -> None:
    a, b = nodes_of(database, "a"), nodes_of(database, "b", NodeRole.INGEST)
    a.join()
    b.join()

    assert a.live() == {
        "a": FleetNode("a", NodeRole.LAKE, "http://a", "grpc://a", is_ready=False, is_settled=False),
        "b": FleetNode("b", NodeRole.INGEST, "http://b", "grpc://b", is_ready=False, is_settled=False),
    }
    b.leave()
    assert a.live().keys() == {"a"}


def test_a_node_that_is_silent_for_a_lease_is_not_known_any_more(database: Database) -> None:
    a, b = nodes_of(database, "a"), nodes_of(database, "b")
    a.join()
    b.join()
    let_pass(database, 0.6 * LEASE_S)
    a.renew(is_ready=True)
    let_pass(database, 0.6 * LEASE_S)

    assert a.live().keys() == {"a"}
    b.renew(is_ready=True)
    assert a.live().keys() == {"a", "b"}


def test_a_node_is_settled_once_it_was_ready_for_a_lease(database: Database) -> None:
    a = nodes_of(database, "a")
    a.join()
    seen = []
    for is_ready in (False, True, True, True, False, True):
        a.renew(is_ready=is_ready)
        node = a.live()["a"]
        seen.append((node.is_ready, node.is_settled))
        let_pass(database, 0.5 * LEASE_S)
    assert seen == [(False, False), (True, False), (True, False), (True, True), (False, False), (True, False)]


def test_a_process_that_joins_under_a_name_takes_the_place_of_the_former_one(database: Database) -> None:
    former, now = nodes_of(database, "a"), nodes_of(database, "a", NodeRole.QUERY)
    former.join()
    now.join()

    with pytest.raises(NodeReplaced, match="node a"):
        former.renew(is_ready=True)
    former.leave()
    assert now.live()["a"].role is NodeRole.QUERY


def test_nodes_that_are_gone_for_a_day_are_forgotten(database: Database) -> None:
    nodes_of(database, "a").join()
    let_pass(database, 25 * 3600)
    b = nodes_of(database, "b")
    b.join()
    let_pass(database, -25 * 3600)

    assert b.live().keys() == {"b"}
