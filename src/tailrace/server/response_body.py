"""Bodies of responses: how long a client may leave one unread, and how much of all of them may be in memory."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB, MIB
from tailrace.server.asgi import Message, Send

CHUNK_BYTES = 64 * 1024  # given to the HTTP server at a time, which buffers a few of them
ANSWER_UNREAD = "answer_unread"  # reason: the client did not read its answer


class ResponseBodyLimits(Struct, frozen=True):
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
            ge=MIB,
            description="Most bytes of answers in memory that their clients have not read yet; beyond, those are "
            "broken off that have been on their way longest.",
        ),
    ] = GIB


class ResponseBacklog:
    """The long responses that clients have not read yet. To be used on the event loop."""

    def __init__(self, limits: ResponseBodyLimits) -> None:
        self.limits = limits
        self._unread_bytes: dict[ResponseSender, int] = {}  # oldest first

    @property
    def bytes(self) -> int:
        """How much is in memory of responses that their clients have not read."""
        return sum(self._unread_bytes.values())

    @contextlib.contextmanager
    def counted(self, sender: "ResponseSender", size: int) -> Iterator[None]:
        """Count a response; where all together are too large, break off the oldest."""
        others = [other for other in self._unread_bytes if not other.fault]
        total = size + sum(self._unread_bytes[other] for other in others)
        most = self.limits.backlog_bytes
        for other in others:
            if total <= most:
                break
            other.break_off(f"answers of more than answer_backlog_bytes = {most} bytes waited for their clients")
            total -= self._unread_bytes[other]
        self._unread_bytes[sender] = size
        try:
            yield
        finally:
            del self._unread_bytes[sender]


class ResponseSender:
    """The `send` of one request, which sends a long body as fast as its client reads it."""

    __slots__ = ("_send", "_shared", "_timeout", "fault")

    def __init__(self, send: Send, shared: ResponseBacklog) -> None:
        self._send = send
        self._shared = shared
        self._timeout: asyncio.Timeout | None = None  # of a long body
        self.fault = ""  # why the rest of the answer was not sent

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message, a long body in chunks."""
        if not self.fault and len(message.get("body", b"")) <= CHUNK_BYTES:
            return self._send(message)  # itself, as a coroutine around it costs a small answer a share of its time
        return self._send_long(message)

    async def _send_long(self, message: Message) -> None:
        if self.fault:
            return
        body = message["body"]
        try:
            with self._shared.counted(self, len(body)):
                async with asyncio.timeout(self._shared.limits.timeout_s) as self._timeout:
                    await self._send_chunks(message, self._timeout)
        except TimeoutError:
            self.fault = self.fault or (
                f"the client took nothing of its answer in answer_timeout_s = {self._shared.limits.timeout_s:g} s"
            )

    def break_off(self, fault: str) -> None:
        """Send no more of a long body."""
        self.fault = fault
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def _send_chunks(self, message: Message, limit: asyncio.Timeout) -> None:
        body = message["body"]
        clock = asyncio.get_running_loop().time
        for start in range(0, len(body), CHUNK_BYTES):
            end = start + CHUNK_BYTES
            more = end < len(body) or message.get("more_body", False)
            await self._send({"type": message["type"], "body": body[start:end], "more_body": more})
            if not self.fault:
                limit.reschedule(clock() + self._shared.limits.timeout_s)
