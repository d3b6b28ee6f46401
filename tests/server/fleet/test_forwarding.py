"""Requests between nodes over real HTTP: bodies and answers as they come, and what a node that is gone gives."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from tailrace.events import TailraceError
from tailrace.fleet.nodes import FleetNode, NodeRole
from tailrace.server.asgi import Application, Receive, Scope, Send
from tailrace.server.fleet.forwarding import MAX_HOPS, ClientLeft, Forwarder, NodeUnavailable, RequestContent
from tailrace.server.fleet.gate import HOPS, NodeGate
from tailrace.server.fleet.proof import ForwardingProof
from tailrace.server.http import HttpServer

SECRET = "a secret of sixteen"
SCOPE: dict[str, Any] = {
    "method": "GET",
    "raw_path": b"/a",
    "query_string": b"b=c",
    "client": ("9.9.9.9", 1),
    "scheme": "https",
}


async def answer(send: Send, content: bytes, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


class Back:
    """The node that answers."""

    def __init__(self) -> None:
        self.requests = 0
        self.gone = asyncio.Event()
        self.seen = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        await getattr(self, scope["path"].strip("/"))(scope, receive, send)

    async def echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, digest = 0, hashlib.sha256()
        async for part in body_of(receive):
            size += len(part)
            digest.update(part)
        said = {
            "method": scope["method"],
            "target": [scope["raw_path"].decode(), scope["query_string"].decode()],
            "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
            "client": scope["client"][0],
            "scheme": scope["scheme"],
            "hops": scope.get(HOPS, 0),
            "size": size,
            "digest": digest.hexdigest(),
        }
        await answer(send, msgspec.json.encode(said), 201, [(b"x-own", b"1"), (b"x-own", b"2")])

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer each part of the body once it has come, and only then read the next."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for part in body_of(receive):
            await send({"type": "http.response.body", "body": part.upper(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        async for _ in body_of(receive):
            pass
        self.seen.set()
        while (await receive())["type"] == "http.request":
            pass
        self.gone.set()

    async def endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await self.wait(scope, receive, send)


async def refuse(error: TailraceError, receive: Receive, send: Send) -> None:
    async for _ in body_of(receive):
        pass
    await answer(send, error.message.encode(), error.status, [(b"retry-after", b"%d" % (error.retry_after_s or 0))])


@asynccontextmanager
async def served(application: Application) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = HttpServer(application, listener, backlog=16, connections=16)
        serving = asyncio.create_task(server.serve())
        try:
            yield url
        finally:
            server.stop()
            await asyncio.wait({serving}, timeout=10)


def node_at(url: str, name: str = "back") -> FleetNode:
    return FleetNode(name, NodeRole.LAKE, url, "", is_ready=True, is_settled=True)


def front_of(nodes: Callable[[], list[FleetNode]], *, live: Callable[[FleetNode], bool] = lambda node: True) -> Any:
    forwarder = Forwarder(ForwardingProof(SECRET, "front"), live)

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        content = RequestContent(scope["headers"], receive)
        try:
            await forwarder.forward(scope, content, send, nodes(), hops=scope.get(HOPS, 0) + 1)
        except NodeUnavailable as error:
            await refuse(error, content.receive_rest, send)
        except ClientLeft:
            return

    return forward


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


@asynccontextmanager
async def fleet(**options: Any) -> AsyncIterator[tuple[Back, httpx.AsyncClient]]:
    """Yield a node that answers, and a client of one before it."""
    back = Back()
    gate = NodeGate(back, ForwardingProof(SECRET, "back"))
    async with (
        served(gate) as url,
        served(front_of(lambda: [node_at(url)], **options)) as front,
        httpx.AsyncClient(base_url=front, timeout=30, trust_env=False) as client,
    ):
        yield back, client


def test_a_request_and_its_answer_are_as_they_were_sent() -> None:
    async def test() -> None:
        async with fleet() as (_, client):
            content = b"x" * 3_000_000
            got = await client.post(
                "/ech%6f?a=%20b&a", content=content, headers=[("X-Twice", "1"), ("X-Twice", "2"), ("Host", "a.example")]
            )
            said = got.json()

            assert (got.status_code, got.headers.get_list("x-own")) == (201, ["1", "2"])
            assert said["target"] == ["/ech%6f", "a=%20b&a"]
            assert (said["size"], said["digest"]) == (len(content), hashlib.sha256(content).hexdigest())
            headers = said["headers"]
            assert [value for name, value in headers if name == "x-twice"] == ["1", "2"]
            assert [value for name, value in headers if name == "host"] == ["a.example"]
            assert not {"connection", "x-tailrace-forwarded"} & {name for name, _ in headers}
            assert (said["client"], said["scheme"], said["hops"]) == ("127.0.0.1", "http", 1)

    run(test)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_each_method_is_passed_on(method: str) -> None:
    async def test() -> None:
        async with fleet() as (_, client):
            got = await client.request(method, "/echo", content=b"{}" if method == "PUT" else None)
            assert got.status_code == 201
            assert method == "HEAD" or (got.json()["method"], got.json()["size"]) == (method, 2 * (method == "PUT"))

    run(test)


def test_a_body_without_a_length_and_a_long_answer_are_passed_on() -> None:
    async def test() -> None:
        async with fleet() as (_, client):

            async def parts() -> AsyncIterator[bytes]:
                for _ in range(64):
                    yield b"a" * 65536

            got = await client.post("/stream", content=parts())
            assert got.content == b"A" * 64 * 65536

    run(test)


def test_the_node_that_answers_learns_that_the_client_left() -> None:
    async def test() -> None:
        async with fleet() as (back, client):
            waiting = asyncio.create_task(client.post("/wait", content=b"{}"))
            await back.seen.wait()
            waiting.cancel()
            await back.gone.wait()

            back.gone.clear()
            async with client.stream("GET", "/endless") as got:
                assert await anext(got.aiter_raw()) == b"first"
            await back.gone.wait()

    run(test)


def test_the_next_node_answers_where_one_cannot_be_reached() -> None:
    async def test() -> None:
        back = Back()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # so that nobody else listens there meanwhile
            gone = node_at(f"http://127.0.0.1:{unused.getsockname()[1]}", "gone")
            async with (
                served(back) as url,
                served(front_of(lambda: [gone, node_at(url)])) as front,
                httpx.AsyncClient(base_url=front, timeout=30, trust_env=False) as client,
            ):
                got = await client.post("/echo", content=b"{}")
                assert (got.status_code, got.json()["size"]) == (201, 2)

    run(test)


def test_without_a_node_a_request_is_refused_and_may_come_again() -> None:
    async def test() -> None:
        async with (
            served(front_of(list)) as front,
            httpx.AsyncClient(base_url=front, timeout=30, trust_env=False) as client,
        ):
            for content in (b"{}", b"x" * 1_000_000):
                got = await client.post("/echo", content=content)
                assert (got.status_code, got.headers["retry-after"]) == (503, "2")
                assert "no node" in got.text

    run(test)


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("GET", 2)])
def test_what_a_node_may_have_stored_goes_to_no_other(method: str, times: int) -> None:
    async def test() -> None:
        connections = 0

        async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(break_off, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with (
            server,
            served(front_of(lambda: [node_at(url), node_at(url)])) as front,
            httpx.AsyncClient(base_url=front, timeout=30, trust_env=False) as client,
        ):
            got = await client.request(method, "/echo", content=b"{}" if method == "POST" else None)
            assert (got.status_code, connections) == (503, times)

    run(test)


def test_a_node_that_stands_still_is_given_up_once_it_is_none_of_the_fleet() -> None:
    async def test() -> None:
        live = True
        async with fleet(live=lambda node: live) as (back, client):
            waiting = asyncio.create_task(client.post("/wait", content=b"{}"))
            await back.seen.wait()
            live = False
            got = await waiting
            assert (got.status_code, "what it did is not known" in got.text) == (503, True)

    run(test)


def test_no_request_goes_in_circles() -> None:
    async def test() -> None:
        urls: list[str] = []
        fronts = [front_of(lambda: [node_at(urls[1])]), front_of(lambda: [node_at(urls[0])])]
        gates = [NodeGate(front, ForwardingProof(SECRET, "n")) for front in fronts]
        async with (
            served(gates[0]) as one,
            served(gates[1]) as other,
            httpx.AsyncClient(base_url=one, timeout=30, trust_env=False) as client,
        ):
            urls.extend([one, other])
            got = await client.post("/echo", content=b"{}")
            assert (got.status_code, "from node to node" in got.text) == (503, True)

    run(test)


def test_what_a_client_says_of_itself_is_not_believed() -> None:
    async def test() -> None:
        back = Back()
        scope = {
            "method": "GET",
            "raw_path": b"/echo",
            "query_string": b"",
            "client": ("9.9.9.9", 1),
            "scheme": "https",
        }
        for proof in (ForwardingProof("another secret here", "x"), ForwardingProof(SECRET, "x", clock=lambda: 1e9)):
            name, value = proof.header(scope, MAX_HOPS)
            async with (
                served(NodeGate(back, ForwardingProof(SECRET, "back"))) as url,
                httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
            ):
                for forged in (value, value[:10], b"", b".", value + b"0"):
                    said = (await client.get("/echo", headers=[(name, forged)])).json()
                    assert (said["client"], said["scheme"], said["hops"]) == ("127.0.0.1", "http", 0)
                    assert name.decode() not in {each for each, _ in said["headers"]}

    run(test)


def test_a_proof_is_of_one_method_and_target() -> None:
    proof = ForwardingProof(SECRET, "front")
    scope = SCOPE
    header = proof.header(scope, 1)
    said = proof.check({**scope, "headers": [header]})

    assert said is not None
    assert (said.node, said.address, said.scheme, said.hops) == ("front", "9.9.9.9", "https", 1)
    for other in ({"method": "POST"}, {"raw_path": b"/b"}, {"query_string": b"b=d"}):
        assert proof.check({**scope, **other, "headers": [header]}) is None
    assert proof.check({**scope, "headers": [header, header]}) is None
