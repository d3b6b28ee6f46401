"""Which node answers a request: this one by its role, the leader, or one of another role."""

import random
from collections.abc import Callable

from tailrace.events import TailraceError
from tailrace.fleet.membership import FleetMembership
from tailrace.fleet.nodes import FleetNode, NodeRole
from tailrace.protocols.router import Router
from tailrace.server.asgi import Scope

OWN_PATHS = ("/healthz", "/readyz", "/metrics")  # of each node itself
# What is run by the leader is changed there, so that it knows at once; a backup is copied off one node.
LEADERS_PATHS = ("/v2/monitors", "/v2/notifiers", "/tailrace/v1/backups")


class NodeRoutes:
    """The nodes for requests, as of when the fleet was looked at last. To be used on the event loop."""

    def __init__(self, membership: FleetMembership, router: Router, choose: Callable[[int], int] = random.randrange):
        self._membership = membership
        self._router = router
        self._choose = choose
        self._answers_api = membership.role is not NodeRole.INGEST

    def is_protocols(self, scope: Scope) -> bool:
        """Return whether a request is to a route of a protocol, not to the API or the console."""
        try:
            match = self._router.match(scope["method"], scope["raw_path"], dict(scope["headers"]))
        except TailraceError:  # where nobody can say who asks: the answer tells that
            return False
        return bool(match.handlers)

    def takes_events(self) -> bool:
        """Return whether this node stores events that are sent to it, unless another one does."""
        return self._membership.role is not NodeRole.QUERY or not self.ingest()

    def ingest(self) -> list[FleetNode]:
        """Return the nodes that take events, in random order."""
        return self._shuffled(NodeRole.INGEST)

    def is_leaders(self, scope: Scope) -> bool:
        """Return whether a request of the API is the leader's."""
        path: str = scope["path"]
        return path.startswith(LEADERS_PATHS)

    def leader(self) -> list[FleetNode] | None:
        """Return the leader; None where that is this node."""
        if self._membership.leads:
            return None
        leader = self._membership.fleet.leader()
        return [leader] if leader is not None and leader.name != self._membership.name else []

    def api(self) -> list[FleetNode] | None:
        """Return the nodes that answer a request of the API; None where this one does."""
        if self._answers_api:
            return None
        return [*self._shuffled(NodeRole.QUERY), *self._shuffled(NodeRole.LAKE)]

    def _shuffled(self, role: NodeRole) -> list[FleetNode]:
        nodes = [node for node in self._membership.fleet.ready(role) if node.name != self._membership.name]
        start = self._choose(len(nodes)) if nodes else 0
        return nodes[start:] + nodes[:start]
