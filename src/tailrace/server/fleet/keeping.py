"""What a node does for its leases, and for the objects of the logs that nobody needs any more."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from tailrace.fleet.lake_keeper import CLEAN_S, TELL_S, LakeKeeper, Repeated, release_dead, release_own
from tailrace.fleet.log_positions import LogPositions
from tailrace.fleet.membership import LEADER, FleetMembership
from tailrace.log import Subscription
from tailrace.storage.object_store import ObjectStore


class Leadership(Protocol):
    """What a leader does that others do not. Called in the thread of the leases."""

    def begin(self) -> None:
        """Begin."""

    def end(self) -> None:
        """Stop, and return once that is so."""


class NodeKeeper:
    """Has the lake take and give the datasets of shards, and the node lead while it is the leader. Thread-safe."""

    def __init__(self, leadership: Callable[[], Leadership]) -> None:
        self._leadership = leadership
        self.lake: LakeKeeper | None = None  # once it is open
        self.membership: FleetMembership | None = None  # once there is one

    def owns(self, dataset: str) -> bool:
        """Return whether a dataset is, or would be, this node's, which may still believe so."""
        lake, membership = self.lake, self.membership
        return lake is not None and lake.has(dataset) and membership is not None and membership.owns(dataset)

    def is_gone(self, node: str) -> bool:
        """Return whether a node was not live when this one looked last; it may be again since."""
        membership = self.membership
        nodes = membership.fleet.nodes if membership is not None else {}
        return bool(nodes) and node not in nodes

    def begin(self, leases: Mapping[str, int]) -> None:
        """Begin what leases are for."""
        self._opened().begin(leases)
        if LEADER in leases:
            self._leadership().begin()

    def end(self, names: Collection[str]) -> None:
        """Finish what leases are for."""
        try:
            if LEADER in names:
                self._leadership().end()
        finally:
            self._opened().end(names)

    def lose(self, names: Collection[str]) -> None:
        """Stop what leases were for."""
        try:
            if LEADER in names:
                self._leadership().end()
        finally:
            self._opened().lose(names)

    def _opened(self) -> LakeKeeper:
        assert self.lake is not None
        return self.lake


class LogCleaning:
    """Has objects deleted that are in tables: those of the node's log, and the leader those of nodes that are gone."""

    def __init__(
        self,
        positions: LogPositions,
        membership: FleetMembership,
        logs: ObjectStore,
        subscription: Subscription,
        keeper: LakeKeeper | None,
    ) -> None:
        """Take the subscription to the node's log."""
        self.released: Callable[[int], object] = lambda position: None  # for who counts what is in no table yet
        self._positions = positions
        self._membership = membership
        self._logs = logs
        self._subscription = subscription
        self._repeated = [
            Repeated(self._release, TELL_S, "log-release"),
            Repeated(self._clean, CLEAN_S, "log-cleaning"),
            *([Repeated(keeper.tell, TELL_S, "log-positions")] if keeper is not None else ()),
        ]

    def start(self) -> None:
        """Begin."""
        for repeated in self._repeated:
            repeated.start()

    def close(self) -> None:
        """Stop once what is under way has ended."""
        for repeated in self._repeated:
            repeated.close()

    def _release(self) -> None:
        release_own(self._positions, self._membership.name, self._acknowledge)

    def _acknowledge(self, position: int) -> None:
        self.released(position)
        self._subscription.acknowledge(position)

    def _clean(self) -> None:
        if self._membership.leads:
            release_dead(self._positions, self._logs, self._membership.fleet.nodes)


class ReleasedPositions:
    """Up to where objects of the logs may be deleted, as somebody asks who misses one. Thread-safe."""

    def __init__(self, positions: LogPositions) -> None:
        self._positions = positions

    def has(self, writer: str, position: int) -> bool:
        """Return whether an object with that last position may be deleted by now. Raise StorageUnavailable."""
        return position <= self._positions.released().get(writer, 0)
