"""The application of a node: its own answers, and other nodes' where a request is not its role's."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tailrace.events import TailraceError
from tailrace.fleet.nodes import FleetNode
from tailrace.ingest.worker_service import PassedOn
from tailrace.server.app import FAULT, KEPT
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.fleet.forwarding import ClientLeft, Forwarder, NodeUnavailable, RequestContent
from tailrace.server.fleet.gate import HOPS
from tailrace.server.fleet.routes import OWN_PATHS, NodeRoutes

LOOK_S = 0.1  # between two looks at whether there is a node by now

logger = logging.getLogger(__name__)

Nodes = Callable[[], list[FleetNode] | None]
"""Returns the nodes that may answer, the one first that should; None where it is this one."""


class NodeApplication:
    """Answers events with `fast`, which raises PassedOn before it has stored anything, and else with `full`.

    Both refuse a request whose scope has a FAULT, in the shape of its protocol.
    """

    def __init__(
        self,
        fast: Application,
        full: Application,
        *,
        routes: NodeRoutes,
        forwarder: Forwarder,
        look: Callable[[], Awaitable[None]],
        wait_s: float,
    ) -> None:
        """Take what looks at the fleet anew, and for how long a request waits for a node that could answer."""
        self.leading: Application | None = None  # as `full`, with a leader's memory, while this node leads
        self.is_open = False
        self._fast = fast
        self._full = full
        self._routes = routes
        self._forwarder = forwarder
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._wait_s = wait_s

    def lead(self, application: Application | None) -> None:
        """Answer as a leader with an application, or no more as one."""
        self.leading = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] in OWN_PATHS:
            await self._full(scope, receive, send)
            return
        content = RequestContent(scope["headers"], receive)
        try:
            await self._answer(scope, content, send)
        except NodeUnavailable as error:
            await self._full({**scope, FAULT: error}, content.receive_rest, send)
        except ClientLeft:
            return

    async def _answer(self, scope: Scope, content: RequestContent, send: Send) -> None:
        if not self.is_open:
            raise NodeUnavailable("the node is starting", retry_after_s=1)
        routes = self._routes
        if not routes.is_protocols(scope):
            nodes = self._leader if routes.is_leaders(scope) else routes.api
            await self._answered_by(nodes, scope, content, send)
        elif routes.takes_events():
            await self._take(scope, content, send)
        else:
            await self._answered_by(routes.ingest, scope, content, send)

    def _leader(self) -> list[FleetNode] | None:
        nodes = self._routes.leader()
        return [] if nodes is None and self.leading is None else nodes  # it has the lease, and begins in a moment

    async def _take(self, scope: Scope, content: RequestContent, send: Send) -> None:
        """Store what needs no other's memory; the leader answers the rest."""
        own = dict(scope)  # of which parts are replaced, such as the client's address
        try:
            await self._fast(own, content.receive, send)
        except PassedOn as passed:
            content.rewind(own.get(KEPT))
            status = await self._answered_by(self._leader, scope, content, send)
            if passed.learned is not None and 200 <= status < 300:
                passed.learned()

    async def _answered_by(self, nodes: Nodes, scope: Scope, content: RequestContent, send: Send) -> int:
        """Have one of some nodes answer; wait where there is none at the moment. Return the status."""
        end_s = asyncio.get_running_loop().time() + self._wait_s
        while (found := nodes()) is not None and not found:
            if asyncio.get_running_loop().time() > end_s:
                raise NodeUnavailable("no node that could answer is there at the moment", retry_after_s=2)
            await asyncio.sleep(LOOK_S)
            await self._look_together()
        if found is not None:
            return await self._forwarder.forward(scope, content, send, found, hops=scope.get(HOPS, 0) + 1)
        return await _answered(self.leading or self._full, dict(scope), content.receive, send)

    async def _look_together(self) -> None:
        """Look at the fleet, once for all requests that wait; where the database does not answer it stays as it was."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again())
        await asyncio.wait((self._looking,), timeout=LOOK_S)

    async def _look_again(self) -> None:
        try:
            await self._look()
        except TailraceError as error:
            logger.debug("the fleet cannot be looked at: %s", error)  # which the node's renewals tell
        except Exception:
            logger.exception("the fleet cannot be looked at")


async def _answered(application: Application, scope: Scope, receive: Receive, send: Send) -> int:
    """Have an application answer; return the status."""
    status = 0

    async def send_and_note(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    await application(scope, receive, send_and_note)
    return status
