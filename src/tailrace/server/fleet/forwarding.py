"""Requests that one node forwards to another over HTTP, body and answer as they come."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import httpx

from tailrace.events import TailraceError
from tailrace.fleet.nodes import FleetNode
from tailrace.server.asgi import Message, Receive, Scope, Send
from tailrace.server.fleet.proof import HEADER, ForwardingProof

CONNECT_TIMEOUT_S = 2.0
MAX_IDLE = 64  # connections that are kept for later requests
IDLE_S = 5.0
RETRY_AFTER_S = 2
LOOK_S = 0.5  # between two looks at whether the node that is to answer still lives
MAX_HOPS = 3
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # which may be sent again where it is not known what became of them

# Of one connection only (RFC 9110, section 7.6.1), or answered by the node that the client met.
_HOP_HEADERS = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        HEADER,
    }
)

# A machine that is gone without a word is noticed within a quarter of a minute.
_SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 15_000))
        if hasattr(socket, name)
    ),
]

logger = logging.getLogger(__name__)


class NodeUnavailable(TailraceError):
    """No node that could answer can be reached, or it is not known what became of the request."""

    status = 503
    code = "node_unavailable"
    retryable = True


class ClientLeft(Exception):
    """The client has hung up before its request was complete."""


class AnswerBroken(Exception):
    """The node that answered is gone in the middle of its answer."""


class Forwarder:
    """Forwards requests to other nodes. To be used on the event loop."""

    def __init__(self, proof: ForwardingProof, is_live: Callable[[FleetNode], bool], issuers: bytes = b"") -> None:
        """Take what tells whether a node is still one of the fleet, by which one that stands still is given up.

        `issuers`, in PEM, may have issued the certificates of nodes, beside those that the system trusts.
        """
        self._proof = proof
        self._is_live = is_live
        self._issuers = issuers
        self._transport = _transport(issuers)
        self._retired: list[httpx.AsyncHTTPTransport] = []  # which may be used by requests under way

    async def close(self) -> None:
        """Close the connections."""
        for transport in (*self._retired, self._transport):
            await transport.aclose()

    def renew(self, issuers: bytes) -> None:
        """Trust other issuers for the connections from now on."""
        if issuers != self._issuers:
            self._issuers = issuers
            self._retired.append(self._transport)
            self._transport = _transport(issuers)

    async def forward(
        self, scope: Scope, content: "RequestContent", send: Send, nodes: Sequence[FleetNode], *, hops: int = 1
    ) -> int:
        """Have the first of some nodes answer that can be reached; return the status of its answer.

        A request that a node may have taken is not sent to another one, unless it only reads: what a node has stored
        would be stored twice. Raise NodeUnavailable before anything of an answer is sent; AnswerBroken, ClientLeft.
        """
        if hops > MAX_HOPS:
            raise _unavailable("the request went from node to node, and none would answer it")
        leaving = asyncio.ensure_future(content.client_left())
        try:
            for node in nodes:
                answer = await self._ask(scope, node, content, hops, leaving)
                if answer is not None:
                    await self._pass_back(answer, leaving, send)
                    return answer.status_code
        finally:
            leaving.cancel()
        raise _unavailable("no node that could answer can be reached")

    async def _ask(
        self, scope: Scope, node: FleetNode, content: "RequestContent", hops: int, leaving: "asyncio.Future[None]"
    ) -> httpx.Response | None:
        """Return a node's answer, of which the head is here; None where another one may be asked."""
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        request = httpx.Request(
            scope["method"],
            node.url,
            headers=[*_passed_headers(scope["headers"]), self._proof.header(scope, hops)],
            stream=content,
            extensions={"target": target, "timeout": {"connect": CONNECT_TIMEOUT_S}},
        )
        answering = asyncio.ensure_future(self._transport.handle_async_request(request))
        try:
            while not answering.done():
                await asyncio.wait((answering, leaving), timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done() and leaving.done():
                    raise ClientLeft
                if not answering.done() and not self._is_live(node):
                    raise _unavailable(f"the node {node.name} does not answer, and what it did is not known")
            return answering.result()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            logger.warning("no connection to the node %s at %s: %s", node.name, node.url, error)
            return None
        except httpx.TransportError as error:
            logger.warning("the node %s did not answer: %r", node.name, error)
            if scope["method"] in SAFE_METHODS and not content.is_begun:
                return None
            raise _unavailable(f"the node {node.name} broke off, and what it did is not known") from error
        finally:
            answering.cancel()

    async def _pass_back(self, answer: httpx.Response, leaving: "asyncio.Future[None]", send: Send) -> None:
        """Pass an answer on as it comes, until the client hangs up."""
        passing = asyncio.ensure_future(_pass_on(answer, send))
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                raise ClientLeft
            passing.result()
        finally:
            passing.cancel()
            with contextlib.suppress(httpx.TransportError):
                await answer.aclose()


class RequestContent(httpx.AsyncByteStream):
    """The body of a request that is forwarded, as it comes."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> None:
        self._receive = receive
        self._body: bytes | None = None  # where it was read already, and is to be read again
        self._is_given = False  # what was read already
        self._complete = asyncio.Event()
        self.is_begun = False  # something of it was read, and cannot be read again
        if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
            self._complete.set()

    def rewind(self, body: bytes | None) -> None:
        """Begin anew with a body that was read, where one was."""
        if body is not None:
            self._body, self._is_given, self.is_begun = body, False, False
            self._complete.set()

    async def receive(self) -> Message:
        """Return the next message of the request, for who answers it here."""
        if self._body is not None and not self._is_given:
            self._is_given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        return await self._next()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body; raise ClientLeft."""
        if self._body:
            yield self._body
        while not self._complete.is_set():
            message = await self._next()
            if message["type"] != "http.request":
                raise ClientLeft
            if part := message.get("body", b""):
                yield part

    async def _next(self) -> Message:
        message = await self._receive()
        self.is_begun = True
        if not message.get("more_body"):
            self._complete.set()
        return message

    async def client_left(self) -> None:
        """Return once the client has hung up, of which nothing is known before its request is complete."""
        await self._complete.wait()
        while (await self._receive())["type"] == "http.request":
            pass

    async def receive_rest(self) -> Message:
        """Return what is left of the request, for who answers where no node does."""
        if self._complete.is_set():
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._next()


def _transport(issuers: bytes) -> httpx.AsyncHTTPTransport:
    trusted = ssl.create_default_context()
    if issuers:
        trusted.load_verify_locations(cadata=issuers.decode("ascii", "ignore"))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=IDLE_S)
    return httpx.AsyncHTTPTransport(verify=trusted, limits=limits, trust_env=False, socket_options=_SOCKET_OPTIONS)


async def _pass_on(answer: httpx.Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers.raw]
    kept = [(name, value) for name, value in headers if name not in _HOP_HEADERS and name != b"transfer-encoding"]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
    try:
        async for part in answer.stream:  # type: ignore[union-attr]
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except httpx.TransportError as error:
        raise AnswerBroken(f"the answer broke off: {error!r}") from error
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _passed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request for another node, without those that its `Connection` names."""
    own = {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    } | _HOP_HEADERS
    return [(bytes(name), bytes(value)) for name, value in headers if name not in own]


def _unavailable(message: str) -> NodeUnavailable:
    return NodeUnavailable(message, retry_after_s=RETRY_AFTER_S)
