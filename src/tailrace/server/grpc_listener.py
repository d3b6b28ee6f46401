"""The listener for gRPC, on a port of its own: a call is passed to the application as a request over HTTP.

So it has the same limits on what is in memory, the same answers that wait, and the same metrics. A message is read when
the application asks for it, which it does once it knows the credential. The library is imported where a port is set
only: it takes memory and time to start.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

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
from tailrace.server.data_directory import refuse
from tailrace.server.tls import Certificate

MAX_STREAMS = 100  # calls under way on one connection
MAX_CALLS = 1000  # under way on all: of each that is not read yet the library holds as much as WINDOW_BYTES
WINDOW_BYTES = 64 * 1024  # that a client may send of a message before it is read
HANDSHAKE_TIMEOUT_MS = 30_000  # in which a connection has to begin with HTTP/2
KEEPALIVE_MS = 120_000  # of silence, after which a client is asked whether it is still there
KEEPALIVE_TIMEOUT_MS = 20_000  # for its answer
READ_WAIT_S = 10.0  # for the messages of other calls to be read
LEAST_READ_S = 2.0  # for a message to come in where others wait
RETRY_AFTER_S = 1

logger = logging.getLogger(__name__)


class GrpcLimits(Struct, frozen=True):
    """Limits on connections and messages."""

    max_message_bytes: int  # once decompressed
    backlog_bytes: int  # of messages that are being read
    max_connections: int
    idle_timeout_s: float  # after which a connection without a call is ended


class MessageUnread(BadRequest):
    """A call has no message that could be read."""

    code = CLIENT_GONE


class MessageReads:
    """The messages that are being read, of which there are only so many. To be used on the event loop.

    How much of a message is in memory is known once it is whole: each counts as the largest one meanwhile.
    """

    def __init__(self, most: int, max_message_bytes: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._max_message_bytes = max_message_bytes
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
            raise MessageUnread(
                f"the call has no message, or it broke off, or is larger than {self._max_message_bytes} bytes, "
                "decompressed (otlp_grpc_max_message_bytes, max_body_bytes)"
            )
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
        self._renewed: Certificate | None = None
        self._scheme = "http" if certificate is None else "https"
        self._server: Any = None  # grpc.aio.Server
        self.port = 0
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._calls: set[asyncio.Task[CallFailure | bytes]] = set()
        most = max(1, limits.backlog_bytes // limits.max_message_bytes)
        self._reads = MessageReads(most, limits.max_message_bytes)
        if not port:
            return
        import grpc

        self._server = grpc.aio.server(options=_options(limits))
        try:
            self.port = (
                self._server.add_insecure_port(self._address)
                if certificate is None
                else self._server.add_secure_port(self._address, self._credentials(certificate))
            )
        except RuntimeError as error:
            refuse(f"cannot listen for gRPC on {host} port {port}: {error}; give another by otlp_grpc_port")

    def renew(self, certificate: Certificate) -> None:
        """Use another certificate for the connections from now on."""
        self._renewed = certificate

    def _credentials(self, certificate: Certificate) -> Any:
        """Return what the library asks for the certificate of each connection, in a thread of its own."""
        import grpc

        used = certificate

        def renewed() -> Any:
            nonlocal used
            if self._renewed is None or self._renewed == used:
                return None
            used = self._renewed
            return _configuration(used)

        return grpc.dynamic_ssl_server_credentials(_configuration(certificate), renewed)

    @property
    def shown(self) -> list[str]:
        """What is open, for people."""
        return [f"otlp grpc {self._address}"] if self.port else []

    async def start(self, application: Application) -> None:
        """Take calls."""
        if self._server is None:
            return
        import grpc

        # Of a call with one message the library would read that before the handler is asked.
        handlers = [
            grpc.method_handlers_generic_handler(
                service, {METHOD: grpc.stream_unary_rpc_method_handler(partial(self._answer, application, path))}
            )
            for service, path in SERVICES.items()
        ]
        self._server.add_generic_rpc_handlers(handlers)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and return once those under way are answered, or the time is over."""
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _answer(self, application: Application, path: str, messages: object, context: Any) -> bytes:
        """Return the answer of a call; end it by another status where it is refused."""
        import grpc

        answered: CallFailure | bytes
        if len(self._calls) < MAX_CALLS:
            # A task of its own, which a client that goes away does not cancel: it is done whole or not at all.
            task = asyncio.create_task(_GrpcCall(context, self._reads, self._scheme).answer(application, path))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            answered = await asyncio.shield(task)
        else:
            answered = busy(f"there are {MAX_CALLS} calls under way already", RETRY_AFTER_S)
        if isinstance(answered, bytes):
            return answered
        codes = {code.value[0]: code for code in grpc.StatusCode}
        try:
            await context.abort(codes[answered.status.code], answered.status.message, answered.trailers)
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
            "client": _address(self._context.peer()),
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


def _options(limits: GrpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.max_connection_idle_ms", int(limits.idle_timeout_s * 1000)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # A window that grows with the speed of the network would let a client send megabytes that nobody reads.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.so_reuseport", 0),  # a port that another server has is an error, not shared
    ]


def _configuration(certificate: Certificate) -> Any:
    import grpc

    return grpc.ssl_server_certificate_configuration(
        [(certificate.key.read_bytes(), certificate.certificate.read_bytes())]
    )


def _address(peer: str) -> tuple[str, int]:
    """Return the address and the port of a peer as gRPC names it: `ipv4:127.0.0.1:5`, or `ipv6:%5B::1%5D:5`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0
