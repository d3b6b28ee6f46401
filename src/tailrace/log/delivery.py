"""What a log does with queued batches beside storing them: takes them in groups, delivers them, answers for them."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from tailrace.events import Batch, TailraceError
from tailrace.log.frames import Payload
from tailrace.log.subscription import Subscription

Done = Callable[[int | None, TailraceError | None], None]
"""Called once for a batch: with its position once it is durable, else with the error; one of the two is None."""

logger = logging.getLogger(__name__)


class QueuedBatch(Struct, frozen=True, eq=False):
    """A batch that waits to be stored."""

    batch: Batch
    payload: Payload
    done: Done
    queued_s: float = 0.0  # when, by the monotonic clock; of a log that waits for more


def take_group(queue: deque[QueuedBatch], *, max_batches: int, max_bytes: int) -> tuple[list[QueuedBatch], int]:
    """Take the first batches of a queue, at least one; return them with the size of their frames."""
    group: list[QueuedBatch] = []
    group_bytes = 0
    while queue and len(group) < max_batches:
        frame_bytes = queue[0].payload.frame_bytes
        if group and group_bytes + frame_bytes > max_bytes:
            break
        group.append(queue.popleft())
        group_bytes += frame_bytes
    return group, group_bytes


def call_back(group: Sequence[QueuedBatch], first_position: int, error: TailraceError | None) -> None:
    """Call `done` of each batch of a group, with its position or the error."""
    for position, queued in enumerate(group, first_position):
        try:
            if error is None:
                queued.done(position, None)
            else:
                queued.done(None, error)
        except Exception:
            logger.exception("the callback of an append failed")


class OrderedDelivery:
    """Delivers durable batches to a subscriber; used in the log's thread alone."""

    def __init__(self, subscription: Subscription | None) -> None:
        self._subscription = subscription
        self._undelivered: list[tuple[int, Batch]] = []
        self._undelivered_bytes = 0

    @property
    def is_behind(self) -> bool:
        """Whether the subscriber failed for batches, which are delivered again."""
        return bool(self._undelivered)

    def deliver(self, written: Sequence[tuple[int, Batch]], written_bytes: int) -> int:
        """Deliver durable batches in order; where the subscriber fails, the same are delivered again before later ones.

        If they were skipped, the subscriber would take a later position to mean that it has all before it.

        Return how many bytes were delivered, of these batches and of earlier ones: 0 where the subscriber failed.
        """
        due = [*self._undelivered, *written]
        if self._subscription is not None and due:
            try:
                self._subscription.deliver(due)
            except Exception:
                if not self._undelivered:
                    logger.exception("positions from %d on could not be delivered, which is tried again", due[0][0])
                self._undelivered = due
                self._undelivered_bytes += written_bytes
                return 0
        if self._undelivered:
            logger.warning("positions up to %d are delivered now", due[-1][0])
        delivered_bytes = self._undelivered_bytes + written_bytes
        self._undelivered, self._undelivered_bytes = [], 0
        return delivered_bytes
