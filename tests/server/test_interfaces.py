"""Why the HTTP server speaks ASGI: what its other interface, RSGI, does not tell or do."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from granian.constants import Interfaces

from tailrace.server.http import HttpServer

pytestmark = pytest.mark.quirk("granian", "2.8.9")

PART_BYTES = 1024 * 1024
PARTS = 32  # more than the buffers of a connection hold

Handler = Callable[[Any, Any], Awaitable[None]]


def answered(handler: Handler, sent: bytes, *, is_read: bool = True) -> None:
    """Send a request to a server of RSGI, and wait until its handler has ended."""
    ended = asyncio.Event()

    async def application(scope: Any, protocol: Any) -> None:
        try:
            await handler(scope, protocol)
        finally:
            ended.set()

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            http = HttpServer(application, listener, backlog=8, connections=8)  # type: ignore[arg-type]
            http.interface = Interfaces.RSGI
            serving = asyncio.create_task(http.serve())
            with await asyncio.to_thread(socket.create_connection, address) as client:
                client.sendall(sent)
                await asyncio.wait_for(ended.wait(), 30)
                if is_read:
                    assert await asyncio.to_thread(client.recv, 100)
            http.stop()
            await serving

    asyncio.run(run())


def test_rsgi_tells_neither_a_path_as_sent_nor_a_header_that_is_not_ascii() -> None:
    told: list[Any] = []

    async def handler(scope: Any, protocol: Any) -> None:
        told.extend((scope.path, dict(scope.headers.items()), hasattr(scope, "raw_path")))
        protocol.response_bytes(200, [], b"ok")

    answered(handler, b'GET /v1/a%2Fb HTTP/1.1\r\nHost: x\r\nX-Axiom-Event-Labels: {"a":"\xc3\xa9"}\r\n\r\n')

    assert told == ["/v1/a/b", {"host": "x"}, False]


def test_rsgi_takes_a_long_answer_however_little_of_it_the_client_reads() -> None:
    async def handler(scope: Any, protocol: Any) -> None:
        stream = protocol.response_stream(200, [])
        for _ in range(PARTS):
            await stream.send_bytes(bytes(PART_BYTES))

    answered(handler, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", is_read=False)
