"""Live tails over nodes: what a lake takes from the logs is kept for a moment for other nodes, which ask for it."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence

import numpy as np

from tailrace.events import Batch, Overloaded, TailraceError
from tailrace.events.sizes import MIB
from tailrace.fleet.flight.errors import OwnerMoved
from tailrace.fleet.flight.messages import AskTail, SentBatch, TailAnswer
from tailrace.lake.snapshot import Check

FEED_BYTES = 16 * MIB  # of a dataset's events that are kept for those who have not asked for them yet
ANSWER_BYTES = 4 * MIB  # of events in one answer, or one batch
MAX_FEEDS = 1024
LAPSE_S = 15.0  # without a question, after which nothing is kept
MAX_WAIT_S = 5.0
RETRY_S = 0.25
MOVED = "the dataset was taken over by another node, and events may be missing"

logger = logging.getLogger(__name__)


class _Feed:
    """The latest batches of one dataset, behind each the number of events from the beginning."""

    def __init__(self, now_s: float) -> None:
        self.id = uuid.uuid4().hex
        self.batches: deque[tuple[int, Batch]] = deque()
        self.first = 0  # events before the first batch
        self.end = 0
        self.asked_s = now_s
        self._bytes = 0

    def add(self, batch: Batch) -> None:
        """Add a batch in place of the oldest ones."""
        self.end += batch.count
        self.batches.append((self.end, batch))
        self._bytes += len(batch.events)
        while self._bytes > FEED_BYTES and len(self.batches) > 1:
            self.first, removed = self.batches.popleft()
            self._bytes -= len(removed.events)


class TailFeeds:
    """The batches that a lake accepts, for those who watch a dataset. Thread-safe.

    `publish` is called with what the lake accepts; it keeps those of a dataset from the first question for them on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._feeds: dict[str, _Feed] = {}
        self._is_closed = False

    def close(self) -> None:
        """Have nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def publish(self, batches: Sequence[tuple[int, Batch]]) -> None:
        """Keep batches, each with its position, of the datasets that are watched; never blocks for long."""
        if not self._feeds:
            return
        with self._changed:
            self._prune()
            watched = [(self._feeds[batch.dataset], batch) for _, batch in batches if batch.dataset in self._feeds]
            for feed, batch in watched:
                feed.add(batch)
            if watched:
                self._changed.notify_all()

    def answer(self, asked: AskTail) -> TailAnswer:
        """Return what came of a dataset since a question, once something did, or after the time that the client waits.

        Raise Overloaded where too many datasets are watched.
        """
        end_s = self._clock() + min(asked.wait_s, MAX_WAIT_S)
        with self._changed:
            feed = self._feed(asked.dataset)
            if asked.feed != feed.id:
                return TailAnswer(feed.id, feed.end, 0, ())
            while feed.end <= asked.after and self._feeds.get(asked.dataset) is feed and not self._is_closed:
                if (left_s := end_s - self._clock()) <= 0:
                    break
                self._changed.wait(left_s)
            feed.asked_s = self._clock()
            missed = max(feed.first - asked.after, 0)
            after, size = asked.after + missed, 0
            found: list[SentBatch] = []
            for end, batch in feed.batches:
                if end <= asked.after:
                    continue
                if found and size + len(batch.events) > ANSWER_BYTES:
                    break
                after, size = end, size + len(batch.events)
                found.append(_sent(batch))
            return TailAnswer(feed.id, after, missed, tuple(found))

    def forget(self, datasets: Collection[str]) -> None:
        """Keep nothing of datasets that are not the lake's any more: what comes meanwhile would be missing."""
        with self._changed:
            for dataset in datasets:
                self._feeds.pop(dataset, None)
            self._changed.notify_all()

    def _feed(self, dataset: str) -> _Feed:
        self._prune()
        feed = self._feeds.get(dataset)
        if feed is None:
            if len(self._feeds) >= MAX_FEEDS:
                raise Overloaded(f"live tails of {MAX_FEEDS} datasets are read from this node", retry_after_s=5)
            feed = self._feeds[dataset] = _Feed(self._clock())
        feed.asked_s = self._clock()
        return feed

    def _prune(self) -> None:
        """Forget what nobody asks for any more."""
        lapsed_s = self._clock() - LAPSE_S
        for dataset in [name for name, feed in self._feeds.items() if feed.asked_s < lapsed_s]:
            del self._feeds[dataset]


class RemoteTails:
    """Follows datasets wherever they are. Thread-safe.

    `ask(asked, check)` asks the owner of the dataset, as `RemoteLake.tail` does.
    """

    def __init__(self, ask: Callable[[AskTail, Check], TailAnswer]) -> None:
        self._ask = ask

    def follow(
        self,
        dataset: str,
        begun: Callable[[], None],
        put: Callable[[Sequence[Batch]], None],
        miss: Callable[[int, str], None],
    ) -> Callable[[], None]:
        """Have each batch of a dataset that is acknowledged from `begun()` on given to `put`; return what ends that.

        `miss(count, reason)` tells of events that cannot be given: 0 where nobody knows how many. All of them are
        called in a thread.
        """
        stop = threading.Event()
        follow = _FollowedTail(self._ask, dataset, begun, put, miss, stop)
        threading.Thread(target=follow.run, name=f"tailrace-tail-{dataset}", daemon=True).start()
        return stop.set


class _FollowedTail:
    def __init__(
        self,
        ask: Callable[[AskTail, Check], TailAnswer],
        dataset: str,
        begun: Callable[[], None],
        put: Callable[[Sequence[Batch]], None],
        miss: Callable[[int, str], None],
        stop: threading.Event,
    ) -> None:
        self._ask = ask
        self._dataset = dataset
        self._begun = begun
        self._put = put
        self._miss = miss
        self._stop = stop
        self._feed = ""
        self._after = 0

    def run(self) -> None:
        is_failing = False
        while not self._stop.is_set():
            try:
                answer = self._ask(AskTail(self._dataset, self._feed, self._after, MAX_WAIT_S), self._check)
            except _TailStopped:
                return
            except TailraceError as error:
                if not is_failing:
                    logger.warning("the live tail of %r waits: %s", self._dataset, error)
                is_failing = True
                if isinstance(error, OwnerMoved):
                    # It may come back to the same node, whose feed lacks what came meanwhile.
                    self._feed = MOVED
                self._stop.wait(RETRY_S)
                continue
            is_failing = False
            if not self._stop.is_set():
                self._take(answer)

    def _take(self, answer: TailAnswer) -> None:
        if answer.feed != self._feed:
            if self._feed:
                self._miss(0, MOVED)
            self._feed = answer.feed
            self._begun()
        if answer.missed:
            self._miss(answer.missed, "")
        if answer.batches:
            self._put([_received(self._dataset, batch) for batch in answer.batches])
        self._after = answer.after

    def _check(self) -> None:
        if self._stop.is_set():
            raise _TailStopped


class _TailStopped(Exception):
    pass


def _sent(batch: Batch) -> SentBatch:
    return SentBatch(batch.events, batch.times.tobytes(), batch.count, batch.received_ns, batch.labels)


def _received(dataset: str, batch: SentBatch) -> Batch:
    times = np.frombuffer(batch.times, np.int64)
    return Batch(dataset, batch.events, times, batch.count, batch.received_ns, batch.labels)
