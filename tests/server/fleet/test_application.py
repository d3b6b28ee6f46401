"""Which node answers: this one, the leader, or one of another role; and what is refused where there is none."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tailrace.events import StorageUnavailable
from tailrace.fleet.leases import LeaseHolder
from tailrace.fleet.membership import LEADER, Fleet
from tailrace.fleet.nodes import FleetNode, NodeRole
from tailrace.ingest.worker_service import PassedOn
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import Router
from tailrace.server.app import FAULT, KEPT
from tailrace.server.asgi import Message, Receive, Scope, Send
from tailrace.server.fleet.application import NodeApplication
from tailrace.server.fleet.routes import NodeRoutes

NODES = {
    name: FleetNode(name, role, f"http://{name}", "", is_ready=True, is_settled=True)
    for name, role in (
        ("ingest-0", NodeRole.INGEST),
        ("ingest-1", NodeRole.INGEST),
        ("lake-0", NodeRole.LAKE),
        ("lake-1", NodeRole.LAKE),
        ("query-0", NodeRole.QUERY),
    )
}
INGEST = ("POST", "/v1/datasets/logs/ingest")
API = ("GET", "/v2/datasets")
MONITORS = ("POST", "/v2/monitors")


class Membership:
    """A node's part in a fleet, as a test says."""

    def __init__(self, name: str, nodes: Mapping[str, FleetNode], holders: Mapping[str, str]) -> None:
        self.name = name
        self.role = NODES[name].role
        self.fleet = Fleet(nodes, {lease: LeaseHolder(node, 1, is_live=True) for lease, node in holders.items()})
        self.leads = holders.get(LEADER) == name


class Forwards:
    """Notes to which nodes a request would go."""

    async def forward(self, scope: Scope, content: Any, send: Send, nodes: list[FleetNode], *, hops: int) -> int:
        await answer(send, "|".join(node.name for node in nodes))
        return 200


async def answer(send: Send, text: str, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def full(scope: Scope, receive: Receive, send: Send) -> None:
    fault = scope.get(FAULT)
    await answer(send, "own" if fault is None else fault.message, 200 if fault is None else fault.status)


async def lead(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, f"leading {(await receive())['body'].decode()}")


async def fast(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, "fast")


async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
    scope[KEPT] = (await receive())["body"]
    raise PassedOn


async def nothing() -> None:
    pass


HOLDERS = {LEADER: "lake-0"}


def asked(
    name: str,
    request: tuple[str, str],
    *,
    application: Any = fast,
    nodes: Mapping[str, FleetNode] = NODES,
    holders: Mapping[str, str] = HOLDERS,
    is_open: bool = True,
    look: Callable[[], Awaitable[None]] = nothing,
) -> tuple[int, str]:
    """Return the answer of a node to a request."""
    membership: Any = Membership(name, nodes, holders)
    forwarder: Any = Forwards()
    node = NodeApplication(
        application,
        full,
        routes=NodeRoutes(membership, Router(PROTOCOLS), lambda count: 0),
        forwarder=forwarder,
        look=look,
        wait_s=0.05,
    )
    node.is_open = is_open
    if membership.leads:
        node.lead(lead)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"[{}]", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    method, path = request
    headers = [(b"host", b"localhost"), (b"content-length", b"4")]
    scope = {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    asyncio.run(node({**scope, "type": "http"}, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        ("ingest-0", INGEST, "fast"),
        ("lake-1", INGEST, "fast"),
        ("query-0", INGEST, "ingest-0|ingest-1"),
        ("ingest-0", API, "query-0|lake-0|lake-1"),
        ("query-0", API, "own"),
        ("lake-1", API, "own"),
        ("query-0", MONITORS, "lake-0"),
        ("lake-0", MONITORS, "leading [{}]"),
        ("ingest-0", ("GET", "/readyz"), "own"),
    ],
)
def test_a_request_is_answered_by_the_node_whose_role_it_is(
    name: str, request_: tuple[str, str], expected: str
) -> None:
    assert asked(name, request_) == (200, expected)


@pytest.mark.parametrize(
    ("name", "expected"), [("ingest-0", "lake-0"), ("lake-1", "lake-0"), ("lake-0", "leading [{}]")]
)
def test_what_needs_one_memory_is_the_leaders(name: str, expected: str) -> None:
    assert asked(name, INGEST, application=pass_on) == (200, expected)


def test_without_nodes_of_other_roles_lake_nodes_do_their_work() -> None:
    lakes = {name: node for name, node in NODES.items() if node.role is NodeRole.LAKE}
    query = {**lakes, "query-0": NODES["query-0"]}

    assert asked("query-0", INGEST, nodes=query) == (200, "fast")
    assert asked("ingest-0", API, nodes={**lakes, "ingest-0": NODES["ingest-0"]}) == (200, "lake-0|lake-1")


def test_without_a_node_that_could_answer_a_request_waits_and_is_refused() -> None:
    alone = {"ingest-0": NODES["ingest-0"]}

    for request in (API, MONITORS):
        status, message = asked("ingest-0", request, nodes=alone, holders={})
        assert (status, "no node that could answer" in message) == (503, True)
    assert asked("ingest-0", INGEST, application=pass_on, nodes=alone, holders={})[0] == 503
    assert asked("ingest-0", INGEST, nodes=alone, holders={}) == (200, "fast")


async def failing() -> None:
    raise StorageUnavailable("the database does not answer")


async def hanging() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("look", [failing, hanging])
def test_a_request_that_waits_for_a_node_is_refused_as_any_while_the_database_does_not_answer(
    look: Callable[[], Awaitable[None]],
) -> None:
    alone = {"ingest-0": NODES["ingest-0"]}

    status, message = asked("ingest-0", MONITORS, nodes=alone, holders={}, look=look)
    assert (status, "no node that could answer" in message) == (503, True)


def test_requests_that_wait_for_a_node_look_at_the_fleet_together() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    async def several() -> None:
        any_: Any = None
        node = NodeApplication(fast, full, routes=any_, forwarder=any_, look=look, wait_s=1)
        await asyncio.gather(*(node._look_together() for _ in range(5)))

    asyncio.run(several())
    assert looks == 1


def test_a_node_that_starts_refuses_all_but_questions_about_itself() -> None:
    assert asked("lake-0", INGEST, is_open=False) == (503, "the node is starting")
    assert asked("lake-0", ("GET", "/healthz"), is_open=False) == (200, "own")
