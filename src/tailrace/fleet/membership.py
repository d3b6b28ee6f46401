"""Membership of a fleet: one thread keeps a node's row and its leases, and learns who has the others."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from msgspec import Struct

from tailrace.events import TailraceError
from tailrace.fleet.leases import Lease, LeaseHolder, Leases
from tailrace.fleet.nodes import FleetNode, NodeReplaced, NodeRole, Nodes
from tailrace.fleet.shards import SHARDS, lease_name, rightful_node, shard_of, shard_of_lease

LEADER = "leader"  # the lease of what one node alone does
BEATS = 5  # in the time of a lease

logger = logging.getLogger(__name__)


class LeaseKeeper(Protocol):
    """What a node does for the leases that it has. Called in one thread, in the order in which things happen."""

    def begin(self, leases: Mapping[str, int]) -> None:
        """Begin what leases are for, each by its name and with its fence."""
        ...

    def end(self, names: Collection[str]) -> None:
        """Finish and stop: another node takes over once this has returned."""
        ...

    def lose(self, names: Collection[str]) -> None:
        """Stop, without another write, what has not ended: another node has taken over."""
        ...


class Fleet(Struct, frozen=True):
    """The nodes of a fleet and who has which lease, by the database when it was asked last."""

    nodes: Mapping[str, FleetNode] = {}  # live ones, by name
    holders: Mapping[str, LeaseHolder] = {}  # by lease

    def holder(self, lease: str) -> FleetNode | None:
        """Return the node that has a lease, None where nobody has."""
        held = self.holders.get(lease)
        return self.nodes.get(held.node) if held is not None and held.is_live else None

    def owner(self, dataset: str) -> FleetNode | None:
        """Return the node that has a dataset's shard."""
        return self.holder(lease_name(shard_of(dataset)))

    def leader(self) -> FleetNode | None:
        """Return the node that leads."""
        return self.holder(LEADER)

    def ready(self, *roles: NodeRole) -> list[FleetNode]:
        """Return the nodes of some roles that are ready."""
        return [node for node in self.nodes.values() if node.is_ready and node.role in roles]


class FleetMembership:
    """A node's part in a fleet. Thread-safe.

    A lake node that is ready takes what is its by right and free, and gives up what is another's by right, once that
    one has been ready for the time of a lease. The first one that finds no leader leads until it stops. While the
    database does not answer, leases are not believed for longer than they last, but not given up either: nobody else
    can take them.
    """

    def __init__(
        self,
        nodes: Nodes,
        leases: Leases,
        *,
        name: str,
        role: NodeRole,
        lease_s: float,
        keeper: LeaseKeeper | None = None,
    ) -> None:
        self.name = name
        self.role = role
        self.fleet = Fleet()
        self.is_ready = False  # to be set by whoever starts the node
        self._nodes = nodes
        self._leases = leases
        self._keeper = keeper
        self._beat_s = lease_s / BEATS
        self._lock = threading.Lock()  # of the leases below
        self._released = threading.Condition(self._lock)
        self._held: dict[str, Lease] = {}
        self._ending: set[str] = set()  # of those, which are being given up
        self._replaced: NodeReplaced | None = None
        self._is_failing = False
        self._stopping = threading.Event()
        self._beaten = threading.Lock()  # held while a beat, or a release, changes the database
        self._thread = threading.Thread(target=self._run, name="tailrace-fleet", daemon=True)
        self._keeping = ThreadPoolExecutor(1, "tailrace-leases")

    def start(self) -> None:
        """Join. Raise StorageUnavailable where the database does not answer."""
        self._nodes.join()
        self.beat()
        self._thread.start()

    def hand_over(self) -> None:
        """Be ready no more, and have the others know: those take over what this node has."""
        self.is_ready = False
        try:
            self.beat()
        except (TailraceError, NodeReplaced) as error:
            logger.warning("the fleet is not told that this node stops: %s", error)

    def wait_for_handover(self, timeout_s: float) -> bool:
        """Return once this node has no lease any more, or false after a time."""
        with self._lock:
            return self._released.wait_for(lambda: not self._held, timeout_s)

    def wait_for_end(self) -> None:
        """Return once this node is renewed no more: it leaves, or another process runs under its name."""
        self._thread.join()

    def look(self) -> None:
        """Look at the fleet, without a beat. Raise StorageUnavailable."""
        self.fleet = Fleet(self._nodes.live(), self._leases.holders())

    def holds(self, name: str) -> bool:
        """Return whether this node has a lease, and may still believe so."""
        lease = self._held.get(name)
        return lease is not None and self._leases.is_believed(lease)

    def owns(self, dataset: str) -> bool:
        """Return whether this node has the shard of a dataset, and may still believe so."""
        return self.holds(lease_name(shard_of(dataset)))

    @property
    def leads(self) -> bool:
        """Whether this node is the leader, and may still believe so."""
        return self.holds(LEADER)

    @property
    def is_replaced(self) -> bool:
        """Whether another process runs as this node by now."""
        return self._replaced is not None

    @property
    def fault(self) -> str:
        """Why this node has no part in the fleet, empty where it has."""
        if self._replaced is not None:
            return str(self._replaced)
        return "the database of the fleet does not answer" if self._is_failing else ""

    def leave(self) -> None:
        """Finish what the leases are for, give them up, and leave."""
        self.is_ready = False
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self.beat()  # by which the others count on this node no more
        except NodeReplaced as error:
            logger.warning("%s: nothing is given up", error)
            self._drop_all()
        except TailraceError as error:
            logger.warning("the fleet is not told that this node leaves: %s", error.message)
        with self._lock:
            held = list(self._held)
        self._give_up(held)
        self._keeping.shutdown()  # once all is given up
        self._call(self._nodes.leave)

    # In the thread, and at the start and the end

    def _run(self) -> None:
        while not self._stopping.wait(self._beat_s):
            try:
                self.beat()
            except TailraceError as error:
                if not self._is_failing:
                    logger.error("the fleet's database: %s", error.message)
                self._is_failing = True
            except NodeReplaced as error:
                logger.error("%s: this one stops", error)
                self._replaced = error
                self._drop_all()
                return
            except Exception:
                logger.exception("the node could not be renewed, which is tried again")
                self._is_failing = True
            else:
                self._is_failing = False

    def beat(self) -> None:
        """Renew what this node has, and look at the fleet. Raise StorageUnavailable, NodeReplaced."""
        with self._beaten:
            self._nodes.renew(is_ready=self.is_ready)
            self._renew()
            nodes = self._nodes.live()
            self.fleet = Fleet(nodes, self._leases.holders())
            if self._keeper is not None:
                if self.is_ready:
                    self._take(nodes)
                self._give_back(nodes)

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        doubtful = {name for name, lease in held.items() if not self._leases.is_believed(lease)}
        renewed = self._leases.renew(held.values())
        with self._lock:
            same = [name for name, lease in self._held.items() if lease == held.get(name)]
            self._held.update({name: renewed[name] for name in same if name in renewed})
        self._lose([lease for name, lease in held.items() if name not in renewed])
        if kept := doubtful & renewed.keys():
            logger.warning("%d leases had lapsed, and no other node has taken them", len(kept))

    def _take(self, nodes: Mapping[str, FleetNode]) -> None:
        """Take what is this node's by right and free; the lead where nobody has it."""
        ready = [node.name for node in nodes.values() if node.role is NodeRole.LAKE and node.is_ready]
        wanted = [lease_name(shard) for shard in range(SHARDS) if rightful_node(shard, ready) == self.name]
        names = {name for name in (LEADER, *wanted) if self._is_free(name)}
        with self._lock:
            names -= self._held.keys()
        taken = self._leases.take(names)
        with self._lock:
            self._held.update(taken)
        if taken:
            logger.info("this node has %d leases more", len(taken))
            if self._keeper is not None:
                self._keeping.submit(self._begin, self._keeper, taken)
            self.fleet = Fleet(nodes, self._leases.holders())

    def _is_free(self, name: str) -> bool:
        holder = self.fleet.holders.get(name)
        return holder is None or not holder.is_live or holder.node == self.name

    def _give_back(self, nodes: Mapping[str, FleetNode]) -> None:
        """Give up what is another's by right that has been ready for long enough; all, where this one is not ready."""
        lakes = [node for node in nodes.values() if node.role is NodeRole.LAKE and node.name != self.name]
        settled = {node.name for node in lakes if node.is_settled}
        with self._lock:
            held = [name for name in self._held if name not in self._ending]
        if self.is_ready:
            self._give_up([name for name in held if self._is_anothers(name, settled)])
        elif any(node.is_ready for node in lakes):
            self._give_up(held)

    def _is_anothers(self, name: str, settled: Collection[str]) -> bool:
        shard = shard_of_lease(name)
        return shard is not None and rightful_node(shard, {self.name, *settled}) != self.name

    def _begin(self, keeper: LeaseKeeper, taken: Mapping[str, Lease]) -> None:
        """Begin what leases are for; where that fails, they are free again. In the thread of the keeper."""
        try:
            keeper.begin({name: lease.fence for name, lease in taken.items()})
        except Exception:
            logger.exception("what %d leases are for could not begin, which is tried again", len(taken))
            self._release(taken)

    def _give_up(self, names: Collection[str]) -> None:
        with self._lock:
            ending = [name for name in names if name in self._held and name not in self._ending]
            self._ending.update(ending)
        if ending:
            self._keeping.submit(self._end, ending)

    def _end(self, names: Collection[str]) -> None:
        """Finish what leases are for, and release them; in the thread of the keeper."""
        if self._keeper is not None:
            self._call(self._keeper.end, names)
        self._release(names)

    def _release(self, names: Collection[str]) -> None:
        with self._beaten:  # or a renewal under way would come after the release
            with self._lock:
                self._ending.difference_update(names)
                leases = [self._held.pop(name) for name in names if name in self._held]
                self._released.notify_all()
            self._call(self._leases.release, leases)

    def _lose(self, leases: Collection[Lease]) -> None:
        """Have done with leases that other nodes have."""
        with self._lock:
            lost = [lease.name for lease in leases if self._held.get(lease.name) == lease]
            for name in lost:
                del self._held[name]
        if lost:
            logger.warning("%d leases are lost: other nodes have them", len(lost))
            if self._keeper is not None:
                self._keeping.submit(self._call, self._keeper.lose, lost)

    def _drop_all(self) -> None:
        with self._lock:
            held = list(self._held.values())
        self._lose(held)

    @staticmethod
    def _call(function: Callable[..., object], *arguments: object) -> None:
        """Call what may fail without harm: whoever has the lease next goes by what is stored, not by what was meant."""
        try:
            function(*arguments)
        except Exception:
            logger.exception("%s %s", getattr(function, "__name__", "a step of a lease"), arguments)
