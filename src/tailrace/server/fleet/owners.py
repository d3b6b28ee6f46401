"""Which node has a dataset, by the leases of its fleet."""

from collections.abc import Sequence

from tailrace.fleet.flight.credentials import Peer
from tailrace.fleet.membership import FleetMembership
from tailrace.fleet.nodes import FleetNode, NodeRole
from tailrace.server.fleet.keeping import NodeKeeper


class FleetOwners:
    """The lake nodes of datasets, as the node saw the fleet last. Thread-safe."""

    def __init__(self, membership: FleetMembership, keeper: NodeKeeper | None) -> None:
        self._membership = membership
        self._keeper = keeper

    def owns(self, dataset: str) -> bool:
        """Return whether this node's own lake has a dataset, or would."""
        return self._keeper is not None and self._keeper.owns(dataset)

    def owner(self, dataset: str) -> Peer | None:
        """Return the other lake node that has a dataset, or would; None where there is none at the moment."""
        node = self._membership.fleet.owner(dataset)
        return None if node is None or node.name == self._membership.name else _peer(node)

    def peers(self) -> Sequence[Peer]:
        """Return all other lake nodes that live."""
        nodes = self._membership.fleet.nodes.values()
        return [_peer(node) for node in nodes if node.role is NodeRole.LAKE and node.name != self._membership.name]


def _peer(node: FleetNode) -> Peer:
    return Peer(node.name, node.flight_url)
