"""Several lakes over the same tables and logs, as several servers have them; in a directory and in memory."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from msgspec.structs import replace
from obstore.store import LocalStore, MemoryStore

from support.append import append_now
from support.events import FIRST_TIME_NS, batch
from support.object_stores import DONE, FAILED, FaultyStore
from tailrace.lake import LakeSettings, MaintenanceSettings
from tailrace.lake.hashes import damage
from tailrace.lake.object_catalog import ObjectCatalog
from tailrace.lake.shared_lake import SharedLake
from tailrace.lake.snapshot import Snapshot
from tailrace.log import LogSettings, ObjectLog
from tailrace.storage.faults import ObjectStoreFault
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import ObjectFiles
from tailrace.storage.object_store import ObjectStore

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9, keep_removed_s=0))
CACHE_BYTES = 64 * 1024 * 1024


class LocalObjects(ObjectFiles):
    """Objects that are files of a directory, which delta-rs reads by their paths."""

    def __init__(self, directory: Path, fate: Callable[[], str] = lambda: DONE) -> None:
        """Take what is asked what becomes of each object that is created."""
        super().__init__(LocalStore(directory, mkdir=True), str(directory))
        self._fate = fate

    def create(self, name: str, content: bytes) -> None:
        fate = self._fate()
        if fate != FAILED:
            super().create(name, content)
        if fate != DONE:
            raise ObjectStoreFault(f"it fails: {fate}")

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                super().delete([name])


class SharedStores:
    """The stores of a fleet: tables in a directory, or where a test says; logs in memory; and who writes and reads."""

    def __init__(
        self,
        directory: Path,
        tables: Callable[[], ObjectFiles] | None = None,
        logs: Callable[[], ObjectStore] | None = None,
    ) -> None:
        self.directory = directory
        self.tables = tables or (lambda: LocalObjects(directory / "tables"))
        memory = MemoryStore()
        self._logs = logs or (lambda: FaultyStore(memory))
        self.writers: dict[str, ObjectLog] = {}
        self.lakes: list[SharedLake] = []
        self.expected: dict[str, list[int]] = {}  # values of `n` that were answered, by dataset

    @property
    def logs(self) -> ObjectStore:
        """The store of the logs, as one process sees it."""
        return self._logs()

    def lake(self, *taken: str, settings: LakeSettings = BY_HAND, **options: Any) -> SharedLake:
        """Open a lake of a server, on a cache of its own, and take datasets."""
        store = self.tables()
        cache = FileCache(self.directory / f"cache-{len(self.lakes)}", store, CACHE_BYTES, damage)

        lake = SharedLake.open_shared(ObjectCatalog(store, cache), self.logs, settings, **{"poll_s": 60.0, **options})
        self.lakes.append(lake)
        lake.take(taken)
        return lake

    def append(self, writer: str, n: int, dataset: str = "d", **more: object) -> None:
        """Append an event to a writer's log, which is answered when this returns."""
        if writer not in self.writers:
            settings = LogSettings(group_ms=0, put_timeout_s=5.0)
            self.writers[writer] = ObjectLog.open(self.logs, settings, writer=writer)
        event = batch([{"n": n, **more}], first_ns=FIRST_TIME_NS + n * 10**9)
        append_now(self.writers[writer], replace(event, dataset=dataset))
        self.expected.setdefault(dataset, []).append(n)

    def close(self) -> None:
        for lake in self.lakes:
            lake.close(commit=False)
        for log in self.writers.values():
            log.close()


@contextlib.contextmanager
def shared_stores(
    directory: Path,
    tables: Callable[[], ObjectFiles] | None = None,
    logs: Callable[[], ObjectStore] | None = None,
) -> Iterator[SharedStores]:
    stores = SharedStores(directory, tables, logs)
    try:
        yield stores
    finally:
        stores.close()


def values(lake: SharedLake, dataset: str = "d") -> list[int]:
    """Return the values of `n` that a lake answers, of committed and hot rows, in order."""
    return values_of(lake.catalog, lake.snapshot(dataset, timeout_s=20.0))


def values_of(catalog: Any, snapshot: Snapshot) -> list[int]:
    """Return the values of `n` in a snapshot."""
    found = [n for part in snapshot.hot for n in part.rows["n"].to_pylist()]
    with catalog.cache.hold([f"{snapshot.dataset}/{file.name}" for file in snapshot.files]):
        found += [n for file in snapshot.files for n in pq.ParquetFile(file.location).read()["n"].to_pylist()]
    return sorted(found)
