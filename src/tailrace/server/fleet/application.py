"""The application of a node: its own answers, and other nodes' where a request is not its role's."""

import logging
from collections.abc import Callable, Sequence

from tailrace.fleet.nodes import FleetNode
from tailrace.ingest.worker_service import PassedOn
from tailrace.server.app import FAULT, KEPT
from tailrace.server.asgi import Application, Receive, Scope, Send
from tailrace.server.fleet.forwarding import ClientLeft, Forwarder, NodeUnavailable, RequestContent
from tailrace.server.fleet.gate import HOPS

Nodes = Callable[[Scope], Sequence[FleetNode]]
"""Returns the nodes that may answer a request, the one first that should."""

logger = logging.getLogger(__name__)


class NodeApplication:
    """Answers with an application; what raises PassedOn there before anything is stored goes to another node.

    Where none can be reached, the application refuses it in the shape of the request's protocol.
    """

    def __init__(self, application: Application, forwarder: Forwarder, nodes: Nodes) -> None:
        self._application = application
        self._forwarder = forwarder
        self._nodes = nodes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        own = dict(scope)  # of which parts are replaced, such as the client's address
        try:
            await self._application(own, receive, send)
        except PassedOn as passed:
            status = await self._forward(scope, RequestContent(scope["headers"], receive, own.get(KEPT)), send)
            if passed.learned is not None and 200 <= status < 300:
                passed.learned()

    async def _forward(self, scope: Scope, content: RequestContent, send: Send) -> int:
        """Have another node answer; return the status, 0 where there is none."""
        try:
            return await self._forwarder.forward(scope, content, send, self._nodes(scope), hops=scope.get(HOPS, 0) + 1)
        except NodeUnavailable as error:
            refused = {**scope, FAULT: error}
            await self._application(refused, content.receive_rest, send)
            return error.status
        except ClientLeft:
            return 0
