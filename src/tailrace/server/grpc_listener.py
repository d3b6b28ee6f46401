"""The listener for gRPC, on a port of its own: a call is passed to the application as a request over HTTP.

So it has the same limits on what is in memory, the same answers that wait, and the same metrics. The library is
imported where a port is set only: it takes memory and time to start.
"""

import asyncio
import logging
from functools import partial
from typing import Any
from urllib.parse import unquote

from tailrace.protocols.doors.otlp_grpc import METHOD, SERVICES, failure_of, headers_of
from tailrace.server.asgi import Application, Message, Scope
from tailrace.server.data_directory import refuse

MAX_STREAMS = 100  # calls under way on one connection

logger = logging.getLogger(__name__)


class GrpcListener:
    """Listens once it is made, and serves once it is started; nothing of both without a port."""

    def __init__(self, host: str, port: int, *, max_body_bytes: int) -> None:
        """Raise SystemExit where the port cannot be had. To be called on the event loop."""
        self._server: Any = None  # grpc.aio.Server
        self.port = 0
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not port:
            return
        import grpc  # type: ignore[import-untyped]

        options = [
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.so_reuseport", 0),  # a port that another server has is an error, not shared
        ]
        self._server = grpc.aio.server(options=options)
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            refuse(f"cannot listen for gRPC on {host} port {port}: {error}; give another by otlp_grpc_port")

    @property
    def shown(self) -> list[str]:
        """What is open, for people."""
        return [f"otlp grpc {self._address}"] if self.port else []

    async def start(self, application: Application) -> None:
        """Take calls."""
        if self._server is None:
            return
        import grpc

        handlers = [
            grpc.method_handlers_generic_handler(
                service, {METHOD: grpc.unary_unary_rpc_method_handler(partial(_call, application, path))}
            )
            for service, path in SERVICES.items()
        ]
        self._server.add_generic_rpc_handlers(handlers)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and return once those under way are answered, or the time is over."""
        if self._server is not None:
            await self._server.stop(grace_s)


async def _call(application: Application, path: str, body: bytes, context: Any) -> bytes:
    """Return the answer of a call; end it by another status where it is refused."""
    import grpc

    scope: Scope = {
        "type": "http",
        "http_version": "2",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers_of(context.invocation_metadata() or (), body),
        "client": _address(context.peer()),
        "scheme": "http",
    }
    unread = [body]
    status = 0
    headers: dict[bytes, bytes] = {}
    answer: list[bytes] = []

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        gone: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await gone  # a client that goes away cancels the call

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update(message["headers"])
        else:
            answer.append(message.get("body", b""))

    await application(scope, receive, send)
    failure = failure_of(status, headers, b"".join(answer))
    if failure is not None:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        await context.abort(codes[failure.status.code], failure.status.message, failure.trailers)
    return b"".join(answer)


def _address(peer: str) -> tuple[str, int]:
    """Return the address and the port of a peer as gRPC names it: `ipv4:127.0.0.1:5`, or `ipv6:%5B::1%5D:5`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0
