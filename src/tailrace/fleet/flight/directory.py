"""The datasets of all lake nodes, as a node last heard of them: each lake node is asked what changed, and waits."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from tailrace.events import TailraceError
from tailrace.fleet.flight.changes import Entry, info_of
from tailrace.fleet.flight.connection import PeerConnection
from tailrace.fleet.flight.credentials import Peer
from tailrace.fleet.flight.messages import AskChanges, Changes, LakePressure
from tailrace.fleet.shards import shard_of
from tailrace.lake.catalog import DatasetInfo
from tailrace.lake.dataset_state import UnavailableDataset

WAIT_S = 1.0  # that a lake node waits for a change
ANSWER_S = 2.0  # more than that it may take
FRESH_S = 3.0  # since a node was heard, in which it is believed to have nothing else
RETRY_S = 0.25
OPENING = "it is being opened"
PEERS_S = 0.5  # between two looks at which lake nodes there are

logger = logging.getLogger(__name__)


class _Followed:
    """A lake node that is asked for changes, and what it said last."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.process = ""
        self.revision = 0
        self.heard_s = -FRESH_S  # monotonic seconds when a question was sent that it answered
        self.pressure = LakePressure()
        self.shards: frozenset[int] | None = frozenset()  # of which it knows all datasets; None: of all
        self.told: set[str] = set()  # datasets that it has, or that are known to be there
        self.is_checked = True  # whether all others of its shards are gone
        self.stop = threading.Event()

    def knows_all_of(self, name: str) -> bool:
        """Return whether it would have told of a dataset of this name."""
        return self.shards is None or shard_of(name) in self.shards


class Directory:
    """The datasets of other lake nodes by name. Thread-safe; nothing of it blocks, but `close`.

    `connect(peer)` gives the connection to a lake node, `peers()` all of them; `is_there(name)` says whether a dataset
    has files, and may raise OSError.
    """

    def __init__(
        self,
        connect: Callable[[Peer], PeerConnection],
        peers: Callable[[], Sequence[Peer]],
        is_there: Callable[[str], bool],
    ) -> None:
        self._connect = connect
        self._peers = peers
        self._is_there = is_there
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[Entry, str]] = {}  # with the name of the node that it is of
        self._followed: dict[Peer, _Followed] = {}
        self._heard = threading.Condition()
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._keep, name="tailrace-directory", daemon=True)

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        for followed in list(self._followed.values()):
            followed.stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def get(self, name: str) -> Entry | None:
        """Return a dataset, None where none is known."""
        found = self._entries.get(name)
        return found[0] if found is not None else None

    def entries(self) -> Mapping[str, Entry]:
        """Return all datasets by name."""
        with self._lock:
            return {name: entry for name, (entry, _) in self._entries.items()}

    def put(self, info: DatasetInfo, node: str) -> None:
        """Add a dataset that a node is known to have."""
        with self._lock:
            self._entries[info.name] = (info, node)

    def remove(self, name: str) -> None:
        """Remove a dataset that is known to be gone."""
        with self._lock:
            self._entries.pop(name, None)

    def is_fresh(self, peer: Peer) -> bool:
        """Return whether a lake node was heard lately."""
        followed = self._followed.get(peer)
        return followed is not None and time.monotonic() - followed.heard_s < FRESH_S

    def knows_all_of(self, peer: Peer, name: str) -> bool:
        """Return whether a lake node would have told of a dataset by now, were there one of this name."""
        followed = self._followed.get(peer)
        return followed is not None and self.is_fresh(peer) and followed.knows_all_of(name)

    def pressures(self) -> list[LakePressure]:
        """Return what the lake nodes that are heard have in memory."""
        return [each.pressure for each in list(self._followed.values()) if self.is_fresh(each.peer)]

    def wait(self, timeout_s: float) -> bool:
        """Return once all lake nodes were heard, or false after a time."""
        with self._heard:
            return self._heard.wait_for(lambda: all(self.is_fresh(peer) for peer in self._peers()), timeout_s)

    def _keep(self) -> None:
        """Ask those lake nodes that there are."""
        while not self._closing.is_set():
            peers = set(self._peers())
            for peer in self._followed.keys() - peers:
                self._followed.pop(peer).stop.set()
            for peer in peers - self._followed.keys():
                followed = self._followed[peer] = _Followed(peer)
                name = f"tailrace-directory-{peer.node}"
                threading.Thread(target=self._follow, args=(followed,), name=name, daemon=True).start()
            self._closing.wait(PEERS_S)

    def _follow(self, followed: _Followed) -> None:
        is_failing = False
        while not followed.stop.is_set():
            asked = AskChanges(self._id, followed.process, followed.revision, WAIT_S if followed.revision else 0)
            sent_s = time.monotonic()
            try:
                changes: Changes = self._connect(followed.peer).call(
                    asked, Changes, timeout_s=WAIT_S + ANSWER_S, check=lambda: _check(followed)
                )
                self._apply(followed, changes)
                followed.heard_s = sent_s
                with self._heard:
                    self._heard.notify_all()
                self._check_untold(followed)
            except _StoppedError:
                return
            except Exception as error:
                if not is_failing:
                    is_fault = not isinstance(error, TailraceError)
                    logger.warning("%s", error, exc_info=error if is_fault else None)
                is_failing = True
                followed.stop.wait(RETRY_S)
                continue
            is_failing = False

    def _apply(self, followed: _Followed, changes: Changes) -> None:
        node = followed.peer.node
        with self._lock:
            entries: list[Entry] = [*changes.infos, *changes.unavailable]
            for entry in entries:
                name = info_of(entry).name
                known, of = self._entries.get(name, (None, node))
                if known is None or of == node or not _is_older(entry, known):
                    self._entries[name] = (entry, node)
            for name in changes.opening:
                self._entries.setdefault(name, (UnavailableDataset(DatasetInfo(name, 0, 0), OPENING), node))
            for name, created_ns in changes.dropped.items():
                known, _ = self._entries.get(name, (None, ""))
                if known is not None and info_of(known).created_ns == created_ns:
                    del self._entries[name]
        if followed.process != changes.process:
            followed.told.clear()
        followed.is_checked &= (followed.process, followed.revision) == (changes.process, changes.revision)
        followed.process, followed.revision = changes.process, changes.revision
        followed.pressure, followed.shards = changes.pressure, changes.shards
        followed.told |= {*(info_of(entry).name for entry in entries), *changes.opening}
        followed.told = {name for name in followed.told - changes.dropped.keys() if followed.knows_all_of(name)}

    def _check_untold(self, followed: _Followed) -> None:
        """Forget datasets of which a lake node does not tell that would, and that have no files.

        They were dropped while this node could not be told, by one that is not asked any more.
        """
        if followed.is_checked:
            return
        with self._lock:
            untold = {
                name: known
                for name, known in self._entries.items()
                if name not in followed.told and followed.knows_all_of(name)
            }
        try:
            for name, known in untold.items():
                if self._is_there(name):
                    followed.told.add(name)
                    continue
                with self._lock:
                    if self._entries.get(name) is known:
                        del self._entries[name]
        except OSError as error:
            logger.debug("whether datasets are there is asked again: %s", error)
            return
        followed.is_checked = True


def _is_older(entry: Entry, known: Entry) -> bool:
    """Return whether a node that had a dataset before says what was so before."""
    one, other = info_of(entry), info_of(known)
    return bool(one.created_ns) and (one.created_ns, one.updated_ns) < (other.created_ns, other.updated_ns)


class _StoppedError(Exception):
    pass


def _check(followed: _Followed) -> None:
    if followed.stop.is_set():
        raise _StoppedError
