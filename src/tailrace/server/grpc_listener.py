"""The listener for OTLP/gRPC, on a port of its own: a call is passed to the application as a request over HTTP.

So it has the same limits on what is in memory, the same answers that wait, and the same metrics. A message is read when
the application asks for it, which it does once it knows the credential.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from tailrace.events import BadRequest, Overloaded, TailraceError
from tailrace.events.outcome import CLIENT_GONE
from tailrace.protocols.doors.otlp_grpc import (
    METHOD,
    SERVICES,
    CallFailure,
    busy,
    failure_of,
    headers_of,
)
from tailrace.server.asgi import Application, Message, Scope
from tailrace.server.grpc_port import MAX_CALLS, RETRY_AFTER_S, GrpcLimits, GrpcPort, address_of, code_of
from tailrace.server.tls import Certificate

READ_WAIT_S = 10.0  # for the messages of other calls to be read
LEAST_READ_S = 2.0  # for a message to come in where others wait


class MessageUnread(BadRequest):
    """A call has no message that could be read."""

    code = CLIENT_GONE


class MessageReads:
    """The messages that are being read, of which there are only so many. To be used on the event loop.

    How much of a message is in memory is known once it is whole: each counts as the largest one meanwhile.
    """

    def __init__(self, limits: GrpcLimits, settings: str = "") -> None:
        """Take the limits, and which settings they are, for people."""
        self._free = asyncio.Semaphore(max(1, limits.backlog_bytes // limits.max_message_bytes))
        self._limit = f"{limits.max_message_bytes} bytes, decompressed{settings and f' ({settings})'}"
        self._began_s: dict[asyncio.Future[None], float] = {}  # oldest first; what is done gives its read up

    async def read(self, context: Any) -> bytes:
        """Return the message of a call; raise Overloaded where it comes too slowly for others, MessageUnread."""
        import grpc  # type: ignore[import-untyped]

        await self._acquire()
        loop = asyncio.get_running_loop()
        given_up = loop.create_future()
        self._began_s[given_up] = loop.time()
        # The library cannot be told to read no more: that ends with the call.
        reading = asyncio.ensure_future(context.read())
        reading.add_done_callback(partial(self._release, given_up))
        await asyncio.wait({reading, given_up}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise Overloaded("the message comes slowly, and those of other calls wait", retry_after_s=RETRY_AFTER_S)
        message: bytes = reading.result()
        if message is grpc.aio.EOF:
            raise MessageUnread(f"the call has no message, or it broke off, or is larger than {self._limit}")
        return message

    async def _acquire(self) -> None:
        """Wait for one of the others to be read, or to be given up as it lasts; raise Overloaded."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + READ_WAIT_S
        while loop.time() < until_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._free.acquire(), LEAST_READ_S)
                return
            oldest = next((each for each in self._began_s if not each.done()), None)
            if oldest is not None and self._began_s[oldest] < loop.time() - LEAST_READ_S:
                oldest.set_result(None)
        raise Overloaded(
            "the messages of other calls come in, which may be as large as receive_backlog_bytes together",
            retry_after_s=RETRY_AFTER_S,
        )

    def _release(self, given_up: "asyncio.Future[None]", reading: "asyncio.Future[Any]") -> None:
        self._free.release()
        del self._began_s[given_up]
        if not reading.cancelled():
            reading.exception()  # of a call that has ended


class GrpcListener:
    """Listens once it is made, and serves once it is started; nothing of both without a port."""

    def __init__(self, host: str, port: int, limits: GrpcLimits, certificate: Certificate | None = None) -> None:
        """Listen, for TLS with a certificate; raise SystemExit where the port cannot be had.

        To be called on the event loop.
        """
        self.port = GrpcPort("otlp grpc", "otlp_grpc_port", host, port, limits, certificate)
        self._calls: set[asyncio.Task[CallFailure | bytes]] = set()
        self._reads = MessageReads(limits, "otlp_grpc_max_message_bytes, max_body_bytes")

    async def start(self, application: Application) -> None:
        """Take calls."""
        if not self.port.number:
            return
        import grpc

        # Of a call with one message the library would read that before the handler is asked.
        await self.port.start(
            {
                service: {METHOD: grpc.stream_unary_rpc_method_handler(partial(self._answer, application, path))}
                for service, path in SERVICES.items()
            }
        )

    async def _answer(self, application: Application, path: str, messages: object, context: Any) -> bytes:
        """Return the answer of a call; end it by another status where it is refused."""
        import grpc

        answered: CallFailure | bytes
        if len(self._calls) < MAX_CALLS:
            # A task of its own, which a client that goes away does not cancel: it is done whole or not at all.
            task = asyncio.create_task(_GrpcCall(context, self._reads, self.port.scheme).answer(application, path))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            answered = await asyncio.shield(task)
        else:
            answered = busy(f"there are {MAX_CALLS} calls under way already", RETRY_AFTER_S)
        if isinstance(answered, bytes):
            return answered
        try:
            await context.abort(code_of(answered.status.code), answered.status.message, answered.trailers)
        except grpc.aio.InternalError:  # the client ended it meanwhile, or the library, of too large a message
            raise asyncio.CancelledError from None
        raise AssertionError("abort raises")


class _GrpcCall:
    """A call, as a request over HTTP."""

    def __init__(self, context: Any, reads: MessageReads, scheme: str) -> None:
        self._context = context
        self._reads = reads
        self._scheme = scheme
        self._was_asked = False  # for the message
        self._is_unread = False  # as it was refused
        self._gone: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    async def answer(self, application: Application, path: str) -> CallFailure | bytes:
        """Return what the application answers."""
        self._context.add_done_callback(self._end)
        scope: Scope = {
            "type": "http",
            "http_version": "2",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers_of(self._context.invocation_metadata() or ()),
            "client": address_of(self._context.peer()),
            "scheme": self._scheme,
        }
        await application(scope, self._receive, self._send)
        body = b"".join(self._body)
        failure = failure_of(self._status, self._headers, body)
        return body if failure is None else failure

    def _end(self, _: object) -> None:
        if not self._gone.done():
            self._gone.set_result({"type": "http.disconnect"})

    def _receive(self) -> "asyncio.Future[Message]":
        """Return what becomes the message, and after it that the client has gone."""
        if self._was_asked:
            return asyncio.ensure_future(self._disconnected())
        self._was_asked = True
        return asyncio.ensure_future(self._read())

    async def _read(self) -> Message:
        try:
            return {"type": "http.request", "body": await self._reads.read(self._context), "more_body": False}
        except TailraceError:
            self._is_unread = True
            raise

    async def _disconnected(self) -> Message:
        if self._is_unread:  # the rest of a refused request, which is asked for before the answer
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.shield(self._gone)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers.update(message["headers"])
        else:
            self._body.append(message.get("body", b""))
