"""A log in memory: what the server needs of one, and nothing of files."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tailrace.events import Batch, ShuttingDown, TailraceError
from tailrace.log import Damage, Subscription


class MemoryLog:
    """A `Log` that is durable for as long as the test holds it; `subscribe` is what opening is for one on a disk."""

    def __init__(self) -> None:
        self.fault = ""
        self.damage: Sequence[Damage] = ()
        self._lock = threading.Lock()
        self._batches: dict[int, Batch] = {}
        self._last_position = 0

    def subscribe(self, subscription: Subscription) -> "MemoryLog":
        self._subscription = subscription
        self._last_position = max(self._last_position, subscription.floor)
        self._thread = ThreadPoolExecutor(1, "memory-log")
        subscription.bind(self.release)
        return self

    @property
    def positions(self) -> list[int]:
        with self._lock:
            return list(self._batches)

    @property
    def size_bytes(self) -> int:
        with self._lock:
            return sum(len(batch.events) for batch in self._batches.values())

    def append(self, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
        try:
            self._thread.submit(self._store, batch, done)
        except RuntimeError as error:  # after `close`
            raise ShuttingDown("the log is closed") from error

    def _store(self, batch: Batch, done: Callable[[int | None, TailraceError | None], None]) -> None:
        with self._lock:
            self._last_position += 1
            position = self._last_position
            self._batches[position] = batch
        self._subscription.deliver([(position, batch)])
        done(position, None)

    def read(self, from_position: int) -> Iterator[tuple[int, Batch]]:
        with self._lock:
            return iter([placed for placed in self._batches.items() if placed[0] >= from_position])

    def release(self, upto: int) -> None:
        with self._lock:
            self._batches = {position: batch for position, batch in self._batches.items() if position > upto}

    def close(self) -> None:
        self._thread.shutdown()
