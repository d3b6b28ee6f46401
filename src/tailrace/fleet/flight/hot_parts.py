"""Hot rows by number: what a server may be asked for by it, and what a client keeps, as parts never change."""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakKeyDictionary, WeakValueDictionary

import pyarrow as pa

from tailrace.lake.snapshot import HotTable

HELD_S = 15.0  # after a snapshot, in which its parts are fetched
CHUNK_BYTES = 8 * 1024 * 1024  # of rows in one message, or one row

Schemas = list[pa.Schema]


class PartNumbers:
    """The hot rows of a lake by number. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next = itertools.count(1)
        self._numbers: WeakKeyDictionary[HotTable, int] = WeakKeyDictionary()
        self._parts: WeakValueDictionary[int, HotTable] = WeakValueDictionary()
        self._held: list[tuple[float, Sequence[HotTable]]] = []

    def number(self, parts: Sequence[HotTable]) -> list[int]:
        """Return the numbers of parts, which can be asked for by them for a while."""
        with self._lock:
            numbers = []
            for part in parts:
                number = self._numbers.get(part)
                if number is None:
                    number = self._numbers[part] = next(self._next)
                    self._parts[number] = part
                numbers.append(number)
            if parts:
                self._held.append((self._clock() + HELD_S, parts))
        self.prune()
        return numbers

    def find(self, numbers: Sequence[int]) -> list[HotTable] | None:
        """Return the parts of some numbers; None where one is gone."""
        with self._lock:
            found = [self._parts.get(number) for number in numbers]
        parts = [part for part in found if part is not None]
        return parts if len(parts) == len(numbers) else None

    def prune(self) -> None:
        """Let go of what was not fetched in time."""
        now = self._clock()
        with self._lock:
            self._held = [(until, parts) for until, parts in self._held if until > now]


class PartCache:
    """Hot rows of other nodes that this one has fetched, up to some bytes, by what tells them apart. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._parts: OrderedDict[tuple[str, int], tuple[HotTable, int]] = OrderedDict()

    def find(self, process: str, numbers: Sequence[int]) -> dict[int, HotTable]:
        """Return those of some parts that are here."""
        found = {}
        with self._lock:
            for number in numbers:
                kept = self._parts.get((process, number))
                if kept is not None:
                    self._parts.move_to_end((process, number))
                    found[number] = kept[0]
            self.hits += len(found)
            self.misses += len(numbers) - len(found)
        return found

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._parts.clear()
            self.bytes = 0

    def add(self, process: str, number: int, part: HotTable) -> None:
        """Keep a part in place of those that were not asked for the longest."""
        size = part.rows.nbytes
        if size > self.max_bytes:
            return
        with self._lock:
            if (process, number) in self._parts:
                return
            self._parts[process, number] = (part, size)
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, (_, removed) = self._parts.popitem(last=False)
                self.bytes -= removed


def chunks(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield all rows in batches of bounded size."""
    size = max(rows.nbytes, 1)
    at_once = max(rows.num_rows * CHUNK_BYTES // size, 1)
    yield from rows.to_batches(max_chunksize=at_once)
