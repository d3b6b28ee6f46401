"""Answers on their way out: how long a client may take nothing of one, and how much of them all may be in memory."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Annotated

from msgspec import Meta, Struct

from tailrace.server.receiving import Message, Send

CHUNK_BYTES = 64 * 1024  # handed to the HTTP server at a time, which takes a few of them before the client does
UNREAD = "answer_unread"  # the reason where a client did not take its answer


class SendingLimits(Struct, frozen=True):
    """Limits on answers that are not small; a refusal names the limit and its value."""

    timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Longest time in which a client takes nothing of an answer of more than 64 KiB. Past it, it is "
            "broken off and the connection closed.",
        ),
    ] = 30.0
    backlog_bytes: Annotated[
        int,
        Meta(
            ge=1024**2,
            description="Most bytes of answers in memory that their clients have not read yet; beyond, those are "
            "broken off that have been on their way longest.",
        ),
    ] = 1024**3


class Sending:
    """What the answers to all requests share. Used by the event loop's thread alone."""

    def __init__(self, limits: SendingLimits) -> None:
        self.limits = limits
        self._held: dict[OutgoingAnswer, int] = {}  # bytes of the answers that are not small, the oldest first

    @property
    def bytes(self) -> int:
        """How much is in memory of answers that their clients have not read."""
        return sum(self._held.values())

    @contextlib.contextmanager
    def held(self, outgoing: "OutgoingAnswer", size: int) -> Iterator[None]:
        """Count an answer; where they are too much together, those are broken off that are on their way longest."""
        others = [each for each in self._held if not each.fault]
        total = size + sum(self._held[each] for each in others)
        most = self.limits.backlog_bytes
        for other in others:
            if total <= most:
                break
            other.break_off(f"answers of more than answer_backlog_bytes = {most} bytes waited for their clients")
            total -= self._held[other]
        self._held[outgoing] = size
        try:
            yield
        finally:
            del self._held[outgoing]


class OutgoingAnswer:
    """The `send` of one request, as fast as its client reads. What is broken off is not sent to its end."""

    __slots__ = ("_limit", "_send", "_shared", "fault")

    def __init__(self, send: Send, shared: Sending) -> None:
        self._send = send
        self._shared = shared
        self._limit: asyncio.Timeout | None = None  # of a long body
        self.fault = ""  # why the rest of the answer was not sent

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message, a long body piece by piece."""
        if not self.fault and len(message.get("body", b"")) <= CHUNK_BYTES:
            return self._send(message)  # itself, as a coroutine around it costs a small answer a share of its time
        return self._send_long(message)

    async def _send_long(self, message: Message) -> None:
        if self.fault:
            return
        body = message["body"]
        try:
            with self._shared.held(self, len(body)):
                async with asyncio.timeout(self._shared.limits.timeout_s) as self._limit:
                    await self._send_pieces(message, self._limit)
        except TimeoutError:
            self.fault = self.fault or (
                f"the client took nothing of its answer in answer_timeout_s = {self._shared.limits.timeout_s:g} s"
            )

    def break_off(self, fault: str) -> None:
        """Send no more of a long body."""
        self.fault = fault
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _send_pieces(self, message: Message, limit: asyncio.Timeout) -> None:
        body = message["body"]
        clock = asyncio.get_running_loop().time
        for start in range(0, len(body), CHUNK_BYTES):
            end = start + CHUNK_BYTES
            more = end < len(body) or message.get("more_body", False)
            await self._send({"type": message["type"], "body": body[start:end], "more_body": more})
            if not self.fault:
                limit.reschedule(clock() + self._shared.limits.timeout_s)
