"""Bodies on their way in: how long one may take to come, and how much of them all may be in memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from tailrace.events import BodyTimeout, Overloaded, TooLarge

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]  # of ASGI

MIB = 1024**2
GIB = 1024**3

# A body that comes slower than this, over all of its time but body_timeout_s, is not waited for.
LEAST_BYTES_PER_S = 500
LOOK_EVERY_S = 0.5
RETRY_AFTER_S = 1
# A refused request's body is read to its end, as far as this, so that the client is still there for the answer.
DRAIN_BYTES = 256 * 1024 * 1024


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class ReceivingLimits(Struct, frozen=True):
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
            description="Most bytes of bodies in memory, complete or not, whose requests are not answered yet; beyond, "
            "a request that brings more is refused with 429.",
        ),
    ] = 512 * MIB


class Receiving:
    """What the bodies of all requests share. Used by the event loop's thread alone."""

    def __init__(self, limits: ReceivingLimits) -> None:
        self.limits = limits
        self.bytes = 0  # of bodies of which the requests are not yet answered
        self._waiting: set[Incoming] = set()
        self._looking = False

    def await_more(self, incoming: "Incoming") -> None:
        """End the wait of this body when it takes too long."""
        self._waiting.add(incoming)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def came(self, incoming: "Incoming") -> None:
        """Something came for this body, or its wait is over otherwise."""
        self._waiting.discard(incoming)

    def _look(self) -> None:
        now_s = time.monotonic()
        for each in [each for each in self._waiting if each.deadline_s < now_s]:
            each.give_up()
        self._looking = bool(self._waiting)
        if self._looking:
            asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)


class Incoming:
    """The `receive` of one request, which ends with BodyTimeout when the body does not come.

    Once the body is complete it waits as long as it takes: then it tells whether the client hangs up.
    """

    __slots__ = ("_latest_s", "_overdue", "_pending", "_receive", "_shared", "complete", "deadline_s", "started")

    def __init__(self, receive: Receive, shared: Receiving) -> None:
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
            self._shared.came(self)
        self.complete = not message.get("more_body")
        if not self.complete:
            self._latest_s += len(message["body"]) / LEAST_BYTES_PER_S
            self.deadline_s = min(time.monotonic() + self._shared.limits.body_timeout_s, self._latest_s)
        return message

    def give_up(self) -> None:
        """Wait no longer."""
        self._overdue = True
        self._pending.cancel()

    def _too_slow(self) -> BodyTimeout:
        return BodyTimeout(
            f"nothing more of the body came in body_timeout_s = {self._shared.limits.body_timeout_s:g} s, "
            f"or less than {LEAST_BYTES_PER_S} bytes a second"
        )


class RequestBody:
    """The body of one request, read at most once."""

    __slots__ = ("_held", "_receive", "_shared", "complete", "length")

    def __init__(self, receive: Incoming, length: int, shared: Receiving) -> None:
        """Begin a body of `length` bytes as declared, -1 when it is chunked."""
        self._receive = receive
        self.length = length
        self._shared = shared
        self._held = 0
        self.complete = False

    async def read(self) -> bytes:
        """Return the whole body as sent.

        Raise TooLarge as soon as it is known to be, ClientGone when it breaks off, BodyTimeout when it does not come,
        Overloaded when all bodies together are too large.
        """
        length = self.length
        if length > self._shared.limits.max_wire_bytes:
            raise self._too_large()
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        body: bytes = message["body"]
        self._hold(len(body))
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
            self._hold(len(message["body"]))
            if not message.get("more_body"):
                break
        if total > self._shared.limits.max_wire_bytes:
            raise self._too_large()
        self.complete = True
        return b"".join(chunks)

    async def drain(self) -> None:
        """Read and forget the rest of the body, as far as DRAIN_BYTES; raise ClientGone, BodyTimeout."""
        left = DRAIN_BYTES
        while left > 0:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            left -= len(message["body"])
            if not message.get("more_body"):
                return

    def release(self) -> None:
        """Free the place of the body of a request that is answered."""
        self._shared.bytes -= self._held
        self._held = 0

    def _hold(self, size: int) -> None:
        self._held += size
        self._shared.bytes += size
        most = self._shared.limits.receive_backlog_bytes
        if self._shared.bytes > most and self._held < self._shared.bytes:
            self.release()
            raise Overloaded(
                f"the bodies of all requests together are larger than {most} bytes "
                "(receive_backlog_bytes): try again later",
                retry_after_s=RETRY_AFTER_S,
            )

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._shared.limits.max_wire_bytes} bytes (max_wire_bytes)")
