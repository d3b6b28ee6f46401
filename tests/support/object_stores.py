"""Object stores for the tests: in memory, with faults of the test's choice."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from obstore.store import MemoryStore

from tailrace.log import object_retry, objects
from tailrace.storage.object_store import ObjectExists, ObjectStore, ObjectStoreUnavailable

DONE, FAILED, LOST, LATE = "done", "failed", "lost", "late"
"""What may become of a put: it is done; it is not; it is, without an answer; it will be, without an answer."""


class FaultyStore(ObjectStore):
    """A store in memory, as one process sees it. Several over the same `memory` are several processes.

    `fate` is asked what becomes of each put; once `is_dead`, no call comes through any more.
    """

    def __init__(self, memory: MemoryStore | None = None, fate: Callable[[], str] = lambda: DONE) -> None:
        self.memory = memory or MemoryStore()
        super().__init__(self.memory, "memory:///")
        self.fate = fate
        self.is_dead = False
        self.puts: list[str] = []  # the names, of each attempt
        self.requests = 0
        self._late: list[tuple[Callable[[str, bytes], None], str, bytes]] = []
        self._lock = threading.Lock()

    def create(self, name: str, content: bytes) -> None:
        self._put(super().create, name, content)

    def overwrite(self, name: str, content: bytes) -> None:
        self._put(super().overwrite, name, content)

    def read(self, name: str) -> bytes:
        self._arrive()
        return super().read(name)

    def read_end(self, name: str, length: int) -> tuple[bytes, int]:
        self._arrive()
        return super().read_end(name, length)

    def read_ranges(self, name: str, ranges: Any) -> list[bytes]:
        self._arrive()
        return super().read_ranges(name, ranges)

    def listing(self, directory: str, after: str | None = None) -> Any:
        self._arrive()
        return super().listing(directory, after)

    def directories(self) -> list[str]:
        self._arrive()
        return super().directories()

    def delete(self, names: Any) -> None:
        self._arrive()
        super().delete(names)

    def arrive_late(self) -> None:
        """Have the puts done that are late."""
        with self._lock:
            late, self._late = self._late, []
        for put, name, content in late:
            with suppress(ObjectExists):  # which nobody hears of
                put(name, content)

    def _put(self, put: Callable[[str, bytes], None], name: str, content: bytes) -> None:
        self._arrive()
        self.puts.append(name)
        fate = self.fate()
        if fate in (DONE, LOST):
            put(name, content)
        if fate == LATE:
            with self._lock:
                self._late.append((put, name, content))
        if fate != DONE or self.is_dead:
            raise _unavailable(fate)

    def _arrive(self) -> None:
        self.requests += 1
        if self.is_dead:
            raise _unavailable("dead")


def _unavailable(fate: str) -> ObjectStoreUnavailable:
    return ObjectStoreUnavailable(f"the object store fails: {fate}", retry_after_s=1)


@contextmanager
def hurried() -> Iterator[None]:
    """Have what is tried again be tried after milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_retry, "FIRST_PAUSE_S", 0.001)
        patch.setattr(object_retry, "MAX_PAUSE_S", 0.002)
        patch.setattr(objects, "SETTLE_EVERY_S", 0.005)
        yield
