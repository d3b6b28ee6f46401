"""`python -m bench.log_backlog`: how long a node takes to read the log objects that it has missed.

Logs of several writers are in memory, behind a store that answers each request after a time. They are read one object
after the other by name, as a node does that has missed nothing, and several at a time, as one does that is behind.
Batches are decoded, and go nowhere. Half of each object is of the dataset that is read.
"""

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct
from obstore.store import MemoryStore
from rich.console import Console
from rich.table import Table

from tailrace.events import Batch
from tailrace.log import ReaderThreads, frames, read_behind
from tailrace.log.damage import FoundDamage
from tailrace.log.object_cursor import LogReading, ObjectCursor
from tailrace.log.object_format import directory_of, encode_object, object_name
from tailrace.storage.object_store import ObjectStore, StoredObject

OBJECTS = 300  # of each writer
ANSWERS_MS = (20, 100)
SIZES_KB = (20, 200)  # of an object: 20 ms of 1 and of 10 MB/s
WRITERS = (1, 4)
RETRY_S = 5.0

T = TypeVar("T")


class DelayedStore(ObjectStore):
    """A store in memory that answers each request after a time, and counts them."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "memory:///")
        self.answer_s = 0.0
        self.requests = 0
        self._lock = threading.Lock()

    def read(self, name: str) -> bytes:
        return self._delayed(lambda: ObjectStore.read(self, name))

    def read_end(self, name: str, length: int) -> tuple[bytes, int]:
        return self._delayed(lambda: ObjectStore.read_end(self, name, length))

    def read_ranges(self, name: str, ranges: Any) -> list[bytes]:
        return self._delayed(lambda: ObjectStore.read_ranges(self, name, ranges))

    def listing(self, directory: str, after: str | None = None) -> list[StoredObject]:
        return self._delayed(lambda: ObjectStore.listing(self, directory, after))

    def directories(self) -> list[str]:
        return self._delayed(lambda: ObjectStore.directories(self))

    def _delayed(self, call: Callable[[], T]) -> T:
        with self._lock:
            self.requests += 1
        time.sleep(self.answer_s)
        return call()


class Measured(Struct, frozen=True):
    """What reading took."""

    seconds: float
    requests: int


def filled(objects: int, writers: int, size_bytes: int) -> DelayedStore:
    """Return a store with the logs of writers."""
    store = DelayedStore()
    line = b'{"level":"info","path":"/v1/items","status":200}\n'
    count = size_bytes // 2 // (len(line) + 8)  # with their times
    times = np.arange(count, dtype=np.int64)
    payload = frames.prepare(Batch("d", line * count, times, count, 1, {}))
    for writer in range(writers):
        for first in range(1, 2 * objects, 2):
            content = encode_object(
                [("d", payload), ("other", payload)], first_position=first, last_position=first + 1, session="0" * 32
            )
            store.create(object_name(directory_of(f"w{writer}"), first), content)
    return store


def one_by_one(store: DelayedStore, writers: int, reading: LogReading, threads: ReaderThreads) -> None:
    """Read all logs, each object after the one before."""
    with ThreadPoolExecutor(writers) as reading_writers:
        for writer in range(writers):
            cursor = ObjectCursor(store, f"w{writer}", [], 0, threads, FoundDamage())
            reading_writers.submit(_to_the_end, cursor, reading)


def _to_the_end(cursor: ObjectCursor, reading: LogReading) -> None:
    """Advance by name alone, as a reading that takes no time does."""
    while cursor._advance_by_name(reading, lists=False):
        pass


def measure(store: DelayedStore, objects: int, writers: int, *, is_several: bool) -> Measured:
    """Return what reading all takes."""
    lock, count = threading.Lock(), 0

    def deliver(writer: str, batches: list[tuple[int, Batch]]) -> None:
        nonlocal count
        with lock:
            count += len(batches)

    threads = ReaderThreads()
    store.requests = 0
    began_s = time.perf_counter()
    if is_several:
        read_behind(store, {"d": {}}, deliver, threads, RETRY_S)
    else:
        one_by_one(store, writers, LogReading({"d"}, deliver, RETRY_S), threads)
    seconds = time.perf_counter() - began_s
    threads.close()
    assert count == objects * writers
    return Measured(seconds, store.requests)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measures how long a node reads what it has missed of the logs.")
    parser.add_argument("--objects", type=int, default=OBJECTS, help="of each writer")
    objects = parser.parse_args().objects
    table = Table("answers after ms", "writers", "KB", "one by one: s", "requests", "several: s", "requests")
    for size_kb in SIZES_KB:
        for writers in WRITERS:
            store = filled(objects, writers, size_kb * 1000)
            for answer_ms in ANSWERS_MS:
                store.answer_s = answer_ms / 1000
                before, after = (measure(store, objects, writers, is_several=each) for each in (False, True))
                figures = [text for each in (before, after) for text in (f"{each.seconds:.1f}", f"{each.requests:,}")]
                table.add_row(str(answer_ms), str(writers), str(size_kb), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
