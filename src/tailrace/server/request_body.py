"""Bodies of requests: how slowly one may arrive, and how much of all of them may be in memory."""

import asyncio
import time
from contextlib import suppress
from typing import Annotated, Any

from msgspec import Meta, Struct

from tailrace.events import BodyTimeout, Overloaded, TooLarge
from tailrace.events.sizes import GIB, MIB
from tailrace.server.asgi import Message, Receive

# A body that arrives more slowly, beyond body_timeout_s, is refused.
MIN_BYTES_PER_S = 500
CHECK_EVERY_S = 0.5
RETRY_AFTER_S = 1
# At most so much of a refused request's body is read to its end, so that the client is there for the answer.
DRAIN_BYTES = 256 * 1024 * 1024


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class RequestBodyLimits(Struct, frozen=True):
    """Limits on bodies as they are sent; a refusal names the limit and its value."""

    max_wire_bytes: Annotated[int, Meta(ge=1024, le=GIB, description="Largest request body as sent.")] = 64 * MIB
    body_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Longest time in which nothing of a request's body comes, and the time that 500 bytes a second "
            "are not asked of it. Past it, 408.",
        ),
    ] = 30.0
    receive_backlog_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            description="Most bytes of bodies in memory, complete or not, as sent and as decoded, whose requests are "
            "not answered yet; beyond, a request that brings more is refused with 429.",
        ),
    ] = 512 * MIB


class RequestBacklog:
    """The bodies of all requests that are not yet answered. To be used on the event loop."""

    def __init__(self, limits: RequestBodyLimits) -> None:
        self.limits = limits
        self.bytes = 0  # in memory
        self._waiting: set[RequestReceiver] = set()
        self._is_checking = False

    def await_more(self, receiver: "RequestReceiver") -> None:
        """Give up on this body when its deadline passes, until `stop_waiting`."""
        self._waiting.add(receiver)
        if not self._is_checking:
            self._is_checking = True
            asyncio.get_running_loop().call_later(CHECK_EVERY_S, self._check)

    def stop_waiting(self, receiver: "RequestReceiver") -> None:
        """End the wait for this body: some of it arrived, or the request was cancelled."""
        self._waiting.discard(receiver)

    def _check(self) -> None:
        now_s = time.monotonic()
        for receiver in [receiver for receiver in self._waiting if receiver.deadline_s < now_s]:
            receiver.give_up()
        self._is_checking = bool(self._waiting)
        if self._is_checking:
            asyncio.get_running_loop().call_later(CHECK_EVERY_S, self._check)


class RequestReceiver:
    """The `receive` of one request, which raises BodyTimeout when the body arrives too slowly.

    Once the body is complete it waits without an end, as it then reports that the client has hung up.
    """

    __slots__ = ("_latest_s", "_overdue", "_pending", "_receive", "_shared", "complete", "deadline_s", "started")

    def __init__(self, receive: Receive, shared: RequestBacklog) -> None:
        self._receive = receive
        self._shared = shared
        self.complete = False
        self.started = False  # whether the client was asked for the body
        self._overdue = False
        self._pending: Any = None
        self.deadline_s = self._latest_s = time.monotonic() + shared.limits.body_timeout_s

    async def __call__(self) -> Message:
        """Return the next message of the request; raise BodyTimeout."""
        if self.complete:
            return await self._receive()
        if self._overdue:
            raise self._too_slow()
        self.started = True
        self._pending = self._receive()  # the HTTP server's future
        self._shared.await_more(self)
        try:
            message: Message = await self._pending
        except asyncio.CancelledError:
            if self._overdue:
                raise self._too_slow() from None
            raise
        finally:
            self._shared.stop_waiting(self)
        self.complete = not message.get("more_body")
        if not self.complete:
            self._latest_s += len(message["body"]) / MIN_BYTES_PER_S
            self.deadline_s = min(time.monotonic() + self._shared.limits.body_timeout_s, self._latest_s)
        return message

    async def disconnected(self) -> None:
        """Return once the client has hung up; what else comes of its body is dropped."""
        with suppress(BodyTimeout):
            while (await self())["type"] != "http.disconnect":
                pass

    def give_up(self) -> None:
        """Stop waiting for the body: `receive` raises BodyTimeout."""
        self._overdue = True
        self._pending.cancel()

    def _too_slow(self) -> BodyTimeout:
        return BodyTimeout(
            f"nothing more of the body came in body_timeout_s = {self._shared.limits.body_timeout_s:g} s, "
            f"or less than {MIN_BYTES_PER_S} bytes a second"
        )


class RequestBody:
    """The body of one request, read at most once."""

    __slots__ = ("_counted_bytes", "_receive", "_shared", "complete", "length")

    def __init__(self, receive: RequestReceiver, length: int, shared: RequestBacklog) -> None:
        """`length` is as declared, in bytes; -1 when the body is chunked."""
        self._receive = receive
        self.length = length
        self._shared = shared
        self._counted_bytes = 0
        self.complete = False

    async def read(self) -> bytes:
        """Return the whole body as sent.

        Raise TooLarge as soon as that is known, ClientGone when it breaks off, BodyTimeout when it arrives too slowly,
        Overloaded when all bodies together are too large.
        """
        length = self.length
        if length > self._shared.limits.max_wire_bytes:
            raise self._too_large()
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        body: bytes = message["body"]
        self._count(len(body))
        # With a length there is no need to ask again for the end.
        if len(body) == length or not message.get("more_body"):
            self.complete = True
            return body
        chunks = [body]
        total = len(body)
        while total != length:
            if total > self._shared.limits.max_wire_bytes:
                raise self._too_large()
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunks.append(message["body"])
            total += len(message["body"])
            self._count(len(message["body"]))
            if not message.get("more_body"):
                break
        if total > self._shared.limits.max_wire_bytes:
            raise self._too_large()
        self.complete = True
        return b"".join(chunks)

    async def drain(self) -> None:
        """Read and drop the rest of the body, up to DRAIN_BYTES; raise ClientGone, BodyTimeout."""
        left = DRAIN_BYTES
        while left > 0:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            left -= len(message["body"])
            if not message.get("more_body"):
                return

    def hold(self, size: int) -> None:
        """Count bytes that the body was decoded to, until `release`; raise Overloaded as `read` does."""
        self._count(size)

    def release(self) -> None:
        """Count the body no more, once the request is answered."""
        self._shared.bytes -= self._counted_bytes
        self._counted_bytes = 0

    def _count(self, size: int) -> None:
        self._counted_bytes += size
        self._shared.bytes += size
        most = self._shared.limits.receive_backlog_bytes
        if self._shared.bytes > most and self._counted_bytes < self._shared.bytes:
            self.release()
            raise Overloaded(
                f"the bodies of all requests together are larger than {most} bytes "
                "(receive_backlog_bytes): try again later",
                retry_after_s=RETRY_AFTER_S,
            )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._shared.limits.max_wire_bytes} bytes (max_wire_bytes)")
