"""What a lake node does for the leases of its shards: it has their datasets, and tells how far those are stored."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

from tailrace.events import TailraceError
from tailrace.fleet.log_positions import LogPositions
from tailrace.fleet.shards import shard_of, shard_of_lease
from tailrace.lake import SharedLake
from tailrace.log import Positions, delete_released
from tailrace.storage.object_store import ObjectStore

TELL_S = 5.0  # between two times that the positions of a node's shards are told, or asked for
CLEAN_S = 60.0  # between two looks for objects of writers that are gone

logger = logging.getLogger(__name__)

_shard_of = lru_cache(1 << 16)(shard_of)


class LakeKeeper:
    """Has a lake take and give the datasets of shards, as a `LeaseKeeper`. Thread-safe."""

    def __init__(
        self,
        lake: SharedLake,
        positions: LogPositions,
        forget: Callable[[Collection[str]], None] = lambda datasets: None,
    ) -> None:
        """Take what is called with datasets before they are given: what comes of them meanwhile is not accepted."""
        self._lake = lake
        self._positions = positions
        self._forget = forget
        self._lock = threading.Lock()
        self._fences: dict[int, int] = {}  # of the shards whose datasets are taken

    def has(self, dataset: str) -> bool:
        """Return whether the lake was told to take a dataset's shard, and not to give it since.

        The lake's `owns` has to ask this, beside whether the lease is believed: a lease is held for a moment before the
        datasets are taken, and after they are given.
        """
        return _shard_of(dataset) in self._fences

    def shards(self) -> frozenset[int]:
        """Return the shards whose datasets the lake was told to take, all of them, and not to give since."""
        return frozenset(self._fences)

    def begin(self, leases: Mapping[str, int]) -> None:
        """Take the datasets of the shards that leases are for; they are open a moment later. Raise OSError."""
        fences = {shard: fence for name, fence in leases.items() if (shard := shard_of_lease(name)) is not None}
        if not fences:
            return
        names = self._lake.catalog.names(lambda dataset: _shard_of(dataset) in fences)
        self._lake.take([dataset for dataset in names if _shard_of(dataset) in fences])
        with self._lock:
            self._fences |= fences

    def end(self, names: Collection[str]) -> None:
        """Commit the datasets of shards, and give them."""
        self._give(names, commit=True)

    def lose(self, names: Collection[str]) -> None:
        """Give the datasets of shards at once: other nodes read what is in no table from the logs."""
        self._give(names, commit=False)

    def _give(self, names: Collection[str], *, commit: bool) -> None:
        shards = {shard for name in names if (shard := shard_of_lease(name)) is not None}
        with self._lock:
            self._fences = {shard: fence for shard, fence in self._fences.items() if shard not in shards}
        given = [dataset for dataset in self._lake.names() if _shard_of(dataset) in shards]
        self._forget(given)
        self._lake.give(given, commit=commit)

    def tell(self) -> None:
        """Tell how far the shards are in their tables. Raise StorageUnavailable."""
        with self._lock:
            fences = dict(self._fences)
        stored = self._lake.stored_positions(_shard_of, fences.keys())
        self._positions.publish({shard: (fences[shard], positions) for shard, positions in stored.items()})


class Repeated:
    """A thread that makes a call again and again, also after it failed."""

    def __init__(self, call: Callable[[], None], every_s: float, name: str) -> None:
        self._call = call
        self._every_s = every_s
        self._stop = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=f"tailrace-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop once the call under way has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._call()
                self._is_failing = False
            except TailraceError as error:
                if not self._is_failing:
                    logger.warning("%s, which is tried again", error.message)
                self._is_failing = True
            except Exception:
                logger.exception("%s failed, which is tried again", self._thread.name)


def release_own(positions: LogPositions, writer: str, release: Callable[[int], None]) -> None:
    """Release a node's own log, by its writer, as far as the tables have it. Raise StorageUnavailable."""
    released: Positions = positions.released()
    if writer in released:
        release(released[writer])


def release_dead(positions: LogPositions, store: ObjectStore, live: Collection[str]) -> int:
    """Delete the objects of writers that are not among the live ones, as far as the tables have them; return how many.

    Raise StorageUnavailable, ObjectStoreUnavailable.
    """
    released = positions.released()
    return sum(delete_released(store, writer, upto) for writer, upto in released.items() if writer not in live)
