"""What the HTTP server makes of a request whose client closes its connection without waiting for the answer.

hyper, on which Granian is built, takes the end of what a client sends for the end of the client, unless `half_close` is
set. Where it sees that before the application was called, the request is dropped, and nobody can count it: of a client
on the same machine that closes at once up to two requests of five are. Bytes behind the request prevent it.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import fields

import pytest
from granian.http import HTTP1Settings

from tailrace.server.asgi import Message, Receive, Scope, Send
from tailrace.server.http import HttpServer

pytestmark = pytest.mark.quirk("granian", "2.8.9")

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


def message_and_answer(end: Callable[[socket.socket], None]) -> tuple[Message, bytes]:
    """Return what the application reads of a request that it was called for before `end`, and the answer to it."""
    called, ended, read = asyncio.Event(), asyncio.Event(), asyncio.Event()
    messages: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        called.set()
        await ended.wait()
        messages.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        read.set()

    async def run() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            http = HttpServer(application, listener, backlog=8, connections=8)
            serving = asyncio.create_task(http.serve())
            with await asyncio.to_thread(socket.create_connection, address, 30) as client:
                client.sendall(REQUEST)
                await asyncio.wait_for(called.wait(), 30)
                end(client)
                answer = await asyncio.to_thread(client.recv, 100) if client.fileno() >= 0 else b""
                ended.set()
                await asyncio.wait_for(read.wait(), 30)
                http.stop()
                await serving
                return answer

    answer = asyncio.run(run())
    return messages[0], answer


def test_a_request_for_which_the_application_was_called_is_read_though_its_client_is_gone() -> None:
    message, _ = message_and_answer(socket.socket.close)

    assert (message["type"], message["body"]) == ("http.request", b"hello")


def test_a_client_that_ends_what_it_sends_gets_no_answer() -> None:
    message, answer = message_and_answer(lambda client: client.shutdown(socket.SHUT_WR))

    assert (message["type"], message["body"], answer) == ("http.request", b"hello", b"")


def test_there_is_no_option_for_half_closed_connections() -> None:
    assert not [field.name for field in fields(HTTP1Settings) if "close" in field.name]
