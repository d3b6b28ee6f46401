"""Readers of live tails: a bounded queue of batches for each, and how they become server-sent events."""

import asyncio
import functools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw, Struct

from tailrace.events import Batch, Overloaded, ShuttingDown
from tailrace.lake import events_as_rest, lower_priority
from tailrace.query import Engine, QueryLimits
from tailrace.query.predicate import COLUMNS, Predicate
from tailrace.query.results import shown
from tailrace.tail.settings import TailLimits

THREADS = 2
RENDER_BYTES = 4 * 1024 * 1024  # of events that are rendered together, or one batch
ENGINE_LIMITS = QueryLimits(
    timeout_s=10.0,  # to filter them
    memory_bytes=512 * 1024 * 1024,
    max_rows=2**31,
    threads=1,
    concurrency=THREADS,
)
RETRY_AFTER_S = 5

_events = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder()


class Missed(Struct):
    """A gap in the events of a reader, whose queue was full."""

    count: int  # of events, whether they match the condition or not; 0 where that is not known
    reason: str = ""  # where it is not a full queue


class Reader:
    """The queue of one reader. To be used on the event loop."""

    def __init__(self, queue_bytes: int) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # with the reason
        self.begun = asyncio.Event()  # from which on it gets every event
        self._queue_bytes = queue_bytes
        self._waiting: deque[Batch | Missed] = deque()
        self._bytes = 0
        self._has_waiting = asyncio.Event()

    def put(self, batch: Batch) -> None:
        """Add a batch, or count its events as missed where the queue is full."""
        if self._bytes and self._bytes + len(batch.events) > self._queue_bytes:
            self.miss(batch.count)
        else:
            self._waiting.append(batch)
            self._bytes += len(batch.events)
        self._has_waiting.set()

    def miss(self, count: int, reason: str = "") -> None:
        """Note a gap; see `Missed`."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, Missed) and last.reason == reason:
            last.count += count
        else:
            self._waiting.append(Missed(count, reason))
        self._has_waiting.set()

    async def wait(self) -> bool:
        """Return True once something is in the queue."""
        return await self._has_waiting.wait()

    def take(self) -> list[Batch] | Missed | None:
        """Return the next batches, about RENDER_BYTES at most, or the gap that comes next; None where there is none."""
        batches: list[Batch] = []
        size = 0
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, Missed):
                if not batches:
                    self._waiting.popleft()
                    return first
                break
            if batches and size + len(first.events) > RENDER_BYTES:
                break
            self._waiting.popleft()
            batches.append(first)
            size += len(first.events)
        self._bytes -= size
        if not self._waiting:
            self._has_waiting.clear()
        return batches or None


class TailSource(Protocol):
    """Where batches come from that are taken in elsewhere."""

    def follow(
        self,
        dataset: str,
        begun: Callable[[], None],
        put: Callable[[Sequence[Batch]], None],
        miss: Callable[[int, str], None],
    ) -> Callable[[], None]:
        """Have each batch of a dataset that is acknowledged from `begun()` on given to `put`; return what ends that.

        `miss(count, reason)` tells of a gap. All of them may be called in another thread.
        """


class Tails:
    """All readers of live tails. To be used on the event loop, except `render`.

    What is not published here comes from a `source`, which is followed for the datasets that have readers.
    """

    def __init__(
        self, limits: TailLimits, make_engine: Callable[[QueryLimits], Engine], source: TailSource | None = None
    ) -> None:
        self.limits = limits
        self._source = source
        self._followed: dict[str, Callable[[], None]] = {}  # what ends following a dataset
        self._following: dict[str, object] = {}  # what tells a following from a later one of the dataset
        self._begun: set[str] = set()
        self.is_read = False  # whether there is any reader: what ingest checks for each batch
        # Of their own, so that a tail does not wait for a query; with a lower priority than what answers clients.
        self.threads = ThreadPoolExecutor(THREADS, "tailrace-tail", initializer=lower_priority)
        self._readers: dict[str, list[Reader]] = {}
        self._per_token: Counter[str] = Counter()
        self._closed = False
        self._lock = threading.Lock()
        self._open_engine: Callable[[], Engine] = functools.cache(lambda: make_engine(ENGINE_LIMITS))

    @contextmanager
    def reader(self, dataset: str, token_id: str) -> Iterator[Reader]:
        """Yield a reader of a dataset, for as long as this lasts. Raise Overloaded at a limit, ShuttingDown."""
        limits = self.limits
        if self._closed:
            raise ShuttingDown("the server is shutting down", retry_after_s=RETRY_AFTER_S)
        if self._per_token[token_id] >= limits.readers_per_token:
            raise Overloaded(
                f"the token has {limits.readers_per_token} readers of live tails, the limit tail_readers_per_token",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._per_token.total() >= limits.readers:
            raise Overloaded(
                f"there are {limits.readers} readers of live tails, the limit tail_readers", retry_after_s=RETRY_AFTER_S
            )
        reader = Reader(limits.queue_bytes)
        self._per_token[token_id] += 1
        self._readers.setdefault(dataset, []).append(reader)
        self.is_read = True
        self._follow(dataset, reader)
        try:
            yield reader
        finally:
            self._per_token[token_id] -= 1
            if not self._per_token[token_id]:
                del self._per_token[token_id]
            self._readers[dataset].remove(reader)
            if not self._readers[dataset]:
                del self._readers[dataset]
                self._unfollow(dataset)
            self.is_read = bool(self._readers)

    def _follow(self, dataset: str, reader: Reader) -> None:
        if self._source is None or dataset in self._begun:
            reader.begun.set()
        if self._source is None or dataset in self._followed:
            return
        loop, following = asyncio.get_running_loop(), object()
        self._following[dataset] = following

        def on_loop(call: Callable[..., None], *arguments: object) -> None:
            """Have something done on the event loop, unless nobody reads the dataset any more."""

            def checked() -> None:
                if self._following.get(dataset) is following:
                    call(*arguments)

            with suppress(RuntimeError):  # where the loop has ended
                loop.call_soon_threadsafe(checked)

        self._followed[dataset] = self._source.follow(
            dataset,
            partial(on_loop, self._begin, dataset),
            partial(on_loop, self._publish_all),
            partial(on_loop, self._miss, dataset),
        )

    def _unfollow(self, dataset: str) -> None:
        self._following.pop(dataset, None)
        self._begun.discard(dataset)
        if end := self._followed.pop(dataset, None):
            end()

    def _begin(self, dataset: str) -> None:
        self._begun.add(dataset)
        for reader in self._readers.get(dataset, ()):
            reader.begun.set()

    def _publish_all(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.publish(batch)

    def _miss(self, dataset: str, count: int, reason: str) -> None:
        for reader in self._readers.get(dataset, ()):
            reader.miss(count, reason)

    def publish(self, batch: Batch) -> None:
        """Add a durable batch to the queues of its dataset's readers; never blocks."""
        for reader in self._readers.get(batch.dataset, ()):
            reader.put(batch)

    def close(self) -> None:
        """End every reader's stream, and refuse new readers."""
        self._closed = True
        for reader in [reader for readers in self._readers.values() for reader in readers]:
            if not reader.ended.done():
                reader.ended.set_result("the server is shutting down")
        for dataset in list(self._followed):
            self._unfollow(dataset)
        self.threads.shutdown(wait=False)

    def render(self, batches: Sequence[Batch], predicate: Predicate | None) -> bytes:
        """Return the events that match a condition as server-sent events; may block. Raise QueryFailed."""
        rows = events_as_rest(batches)
        if predicate is not None:
            with self._lock:
                engine = self._open_engine()
            rows = predicate.matching(engine, rows)
        if not rows.num_rows:
            return b""
        times, received = (shown(rows[name].combine_chunks()) for name in COLUMNS[:2])
        events = pc.utf8_trim_whitespace(rows[COLUMNS[2]].combine_chunks().cast(pa.large_string()))
        if _can_prepend_times(events):
            return _render_arrays(times, received, events)
        shown_events = (
            {COLUMNS[0]: time, COLUMNS[1]: at, **_without_times(event)}
            for time, at, event in zip(
                times.to_pylist(),
                received.to_pylist(),
                _events.decode_lines("\n".join(events.to_pylist())),
                strict=True,
            )
        )
        lines = _encode.encode_lines(shown_events)
        return b"data: " + lines[:-1].replace(b"\n", b"\n\ndata: ") + b"\n\n"


def message(name: str, content: dict[str, Any]) -> bytes:
    """Return a server-sent event with a name."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode.encode(content))


def _can_prepend_times(events: pa.Array) -> bool:
    """Return whether no event is empty or can have a member named as one of the times."""
    names = "|".join(COLUMNS[:2])
    own = pc.match_substring_regex(events, rf'"({names})"|\\u005[fF]')  # or one written with an escape
    return not pc.any(own).as_py() and pc.all(pc.starts_with(events, '{"')).as_py()


def _render_arrays(times: pa.Array, received: pa.Array, events: pa.Array) -> bytes:
    """Return server-sent events with the times as their first members, without parsing each event."""
    parts = (
        f'data: {{"{COLUMNS[0]}":"', times, f'","{COLUMNS[1]}":"', received, '",',
        pc.utf8_slice_codeunits(events, 1), "\n\n", "",
    )  # fmt: skip
    texts = [part if isinstance(part, pa.Array) else pa.scalar(part, pa.large_string()) for part in parts]
    texts = [text.cast(pa.large_string()) if isinstance(text, pa.Array) else text for text in texts]
    whole = pc.binary_join_element_wise(*texts)
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    return bytes(memoryview(data)[int(ends[0]) : int(ends[-1])])


def _without_times(event: dict[str, Raw]) -> dict[str, Raw]:
    event.pop(COLUMNS[0], None)
    event.pop(COLUMNS[1], None)
    return event
