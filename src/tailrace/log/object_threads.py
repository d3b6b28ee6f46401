"""Threads that read log objects: of several writers at the same time, and several objects of each before their turn."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from tailrace.events import ShuttingDown
from tailrace.events.sizes import MIB
from tailrace.log.object_format import LogObject

WRITERS = 16  # that are read at the same time
OBJECTS = 32  # that are fetched at the same time, of all writers
FETCHED_BYTES = 32 * MIB  # of objects that are fetched before their turn, of all writers

P = ParamSpec("P")
T = TypeVar("T")


class ReaderThreads:
    """Threads for reading logs. Thread-safe.

    Objects are fetched by other threads than those that read a writer's log each, as these wait for them.
    """

    def __init__(self, *, objects: int = OBJECTS, fetched_bytes: int = FETCHED_BYTES) -> None:
        """Take how many objects are fetched at the same time, and how many bytes, by their size in the store.

        Those that are delivered one by one, as the next of each writer, are fetched whatever their size.
        """
        self._writers = ThreadPoolExecutor(WRITERS, "tailrace-read")
        self._fetchers = ThreadPoolExecutor(objects, "tailrace-fetch")
        self._objects = objects
        self._max_bytes = fetched_bytes
        self._lock = threading.Lock()  # guards what follows
        self._readings = 0  # that fetch objects now, and share what may be fetched
        self._bytes = 0  # of objects that are being fetched, or not delivered

    def close(self) -> None:
        """Stop once what is under way has ended."""
        self._writers.shutdown()
        self._fetchers.shutdown()

    def submit(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> "Future[T]":
        """Make a call in one of the threads that read a writer's log each."""
        return self._writers.submit(call, *arguments, **named)

    def call_each(self, call: Callable[[str], None], writers: Sequence[str]) -> None:
        """Call for several writers at the same time; raise the first error once all have ended."""
        if len(writers) == 1:
            call(writers[0])
            return
        ended = [self._writers.submit(call, writer) for writer in writers]
        errors = [error for each in ended if (error := each.exception()) is not None]
        if errors:
            raise errors[0]

    def fetched(
        self, objects: Sequence[LogObject], fetch: Callable[[LogObject], T]
    ) -> "Generator[tuple[LogObject, Future[T]]]":
        """Yield objects in order with what `fetch` returns of each, which is called for later ones meanwhile.

        To be closed, by which no further one is fetched. Raise ShuttingDown after `close`.
        """
        waiting = deque(objects)
        pending: deque[tuple[LogObject, Future[T]]] = deque()
        with self._lock:
            self._readings += 1
        try:
            while waiting or pending:
                while waiting and self._reserve(waiting[0], [each for each, _ in pending]):
                    pending.append((waiting[0], self._fetch(waiting.popleft(), fetch)))
                yield pending[0]
                self._free(pending.popleft()[0])
        finally:
            with self._lock:
                self._readings -= 1
            for each, future in pending:
                future.cancel()
                future.add_done_callback(partial(self._free, each))

    def _fetch(self, stored: LogObject, fetch: Callable[[LogObject], T]) -> "Future[T]":
        try:
            return self._fetchers.submit(fetch, stored)
        except RuntimeError as error:
            self._free(stored)
            raise ShuttingDown("the server is shutting down") from error

    def _reserve(self, stored: LogObject, pending: Sequence[LogObject]) -> bool:
        """Return whether an object may be fetched now, behind others of its writer that are not delivered."""
        with self._lock:
            if pending:  # else it is the next, which is always fetched, so that every reading goes on
                size_bytes = stored.size_bytes + sum(each.size_bytes for each in pending)
                if len(pending) >= self._objects // self._readings:
                    return False
                if size_bytes > self._max_bytes // self._readings:
                    return False
                if self._bytes + stored.size_bytes > self._max_bytes:
                    return False
            self._bytes += stored.size_bytes
            return True

    def _free(self, stored: LogObject, future: object = None) -> None:
        with self._lock:
            self._bytes -= stored.size_bytes
