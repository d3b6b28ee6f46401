"""Appending to the log from the event loop: what arrives in one turn of it goes together, and wakes it once."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from tailrace.events import Batch, TailraceError
from tailrace.log import Log

logger = logging.getLogger(__name__)

Published = Callable[[Batch], None]


class Appender:
    """Appends batches to a log, and wakes who waits for them. To be used on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Log, published: Published | None = None) -> None:
        """Take what is called with each batch that became durable, in their order, on the event loop."""
        self._loop = loop
        self._log = log
        self._published = published
        # What became of each appended batch: its future, the batch, its position or None, and why it has none or None.
        self._outcomes: deque[tuple[asyncio.Future[int], Batch, int | None, TailraceError | None]] = deque()
        self._wake_scheduled = False
        self._waiting: list[tuple[Batch, asyncio.Future[int]]] = []

    def append(self, batch: Batch) -> "asyncio.Future[int]":
        """Return what becomes the position of a batch in the log, once it is durable."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((batch, future))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._append_waiting)
        return future

    def _append_waiting(self) -> None:
        """Append the waiting batches together: one group for the log, one flush, one wake-up of its thread."""
        waiting, self._waiting = self._waiting, []
        for batch, future in waiting:
            try:
                self._log.append(batch, partial(self._on_durable, future, batch))
            except TailraceError as error:
                self._refuse(future, error)
            except Exception:
                logger.exception("a batch for %s could not be handed to the log", batch.dataset)
                self._refuse(future, TailraceError("internal error"))

    @staticmethod
    def _refuse(future: "asyncio.Future[int]", error: TailraceError) -> None:
        if not future.done():
            future.set_exception(error)

    def _on_durable(
        self, future: asyncio.Future[int], batch: Batch, position: int | None, error: TailraceError | None
    ) -> None:
        """Wake the event loop from the log's thread, which calls this once a batch, for the first of a group only."""
        self._outcomes.append((future, batch, position, error))
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon_threadsafe(self._resolve_outcomes)

    def _resolve_outcomes(self) -> None:
        """Give the waiting requests the positions of their batches, or the errors, and the batches to `published`."""
        # Before the queue is emptied: a batch that is appended after that wakes the loop again.
        self._wake_scheduled = False
        outcomes = self._outcomes
        while outcomes:
            future, batch, position, error = outcomes.popleft()
            if position is not None and self._published is not None:
                self._published(batch)
            if future.done():
                continue
            if position is not None:
                future.set_result(position)
            else:
                future.set_exception(error or TailraceError("the log gave no position"))
