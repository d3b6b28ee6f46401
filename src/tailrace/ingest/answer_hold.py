"""Back pressure without a refusal: answers wait while more is in memory than tables take in."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from msgspec import Struct

CHECK_EVERY_S = 0.01  # whether answers may go, while any waits
LEAST_BYTES = 16 * 1024  # stored by a request that waits: smaller ones cost more to answer than to commit

logger = logging.getLogger(__name__)


class Committing(Protocol):
    """What is known of the lake's memory, on any thread."""

    @property
    def excess_bytes(self) -> int:
        """Bytes that are too many in memory, negative where more may come, and that commits will free."""

    @property
    def commits(self) -> int:
        """The number of commits since the start."""


class _HeldAnswer(Struct, frozen=True, eq=False):
    size: int  # of what its request stored, as the client is likely to send as much again
    released: asyncio.Future[None]


class AnswerHold:
    """Holds back the answers to requests whose events are durable, in their order. To be used on the event loop.

    An answer waits as long as the lake has an excess of bytes in memory, at most `max_wait_s`. Where nothing is
    committed in that time none waits any more until something is: commits hang, and waiting is of no use.
    """

    def __init__(self, lake: Committing, *, max_wait_s: float, is_stopping: Callable[[], bool]) -> None:
        self.held = 0  # answers that have waited, since the start
        self.held_s = 0.0  # for so long, together
        self._lake = lake
        self._max_wait_s = max_wait_s
        self._is_stopping = is_stopping
        self._waiting: deque[_HeldAnswer] = deque()
        self._check_scheduled = False
        self._hung_after_commits = -1  # commits after which none came in time

    @property
    def waiting(self) -> int:
        """The number of answers that wait."""
        return len(self._waiting)

    def is_due(self, size: int) -> bool:
        """Return whether the answer to a request that stored so many bytes is to wait now."""
        return size >= LEAST_BYTES and self._lake.excess_bytes > 0 and self._max_wait_s > 0 and not self._is_pointless()

    def _is_pointless(self) -> bool:
        return self._is_stopping() or self._lake.commits == self._hung_after_commits

    async def wait(self, size: int, gone: Coroutine[Any, Any, None]) -> None:
        """Return once the answer to a request that stored so many bytes may go, or its client is `gone`."""
        loop = asyncio.get_running_loop()
        answer = _HeldAnswer(size, loop.create_future())
        self._waiting.append(answer)
        self._schedule_check()
        began_s, commits = loop.time(), self._lake.commits
        watching = asyncio.create_task(gone)
        try:
            done, _ = await asyncio.wait(
                {answer.released, watching}, timeout=self._max_wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and self._lake.commits == commits:
                self._hang(commits)
        finally:
            watching.cancel()
            if not answer.released.done():
                self._waiting.remove(answer)
            self.held += 1
            self.held_s += loop.time() - began_s

    def _hang(self, commits: int) -> None:
        if self._hung_after_commits != commits:
            self._hung_after_commits = commits
            logger.warning(
                "nothing was committed in uncommitted_wait_s = %g s: answers wait no longer until something is",
                self._max_wait_s,
            )

    def _schedule_check(self) -> None:
        if not self._check_scheduled:
            self._check_scheduled = True
            asyncio.get_running_loop().call_later(CHECK_EVERY_S, self._check)

    def _check(self) -> None:
        """Release the first answers, as many as there is space for what their clients may send next."""
        self._check_scheduled = False
        free_bytes = -self._lake.excess_bytes
        while self._waiting and (free_bytes >= 0 or self._is_pointless()):
            answer = self._waiting.popleft()
            answer.released.set_result(None)
            free_bytes -= answer.size
        if self._waiting:
            self._schedule_check()
