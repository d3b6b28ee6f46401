"""Clients that do not read their answers cost neither memory nor the answers of others."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

from tailrace.server.asgi import Message
from tailrace.server.response_body import CHUNK_BYTES, ResponseBacklog, ResponseBodyLimits, ResponseSender

if TYPE_CHECKING:
    from conftest import Server

MIB = 1024**2


class Client:
    """Takes so many messages, then no more until it may."""

    def __init__(self, takes: int) -> None:
        self.got: list[Message] = []
        self.takes = takes
        self.reading = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        if len(self.got) >= self.takes:
            await self.reading.wait()
        self.got.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.got)


def test_a_long_answer_comes_whole_and_in_pieces() -> None:
    body = bytes(range(256)) * 2000  # 512,000 bytes: seven pieces of 64 KiB and a rest

    async def sent(*, more: bool) -> list[Message]:
        client, response_backlog = (
            Client(takes=100),
            ResponseBacklog(ResponseBodyLimits(timeout_s=1, backlog_bytes=MIB)),
        )
        await ResponseSender(client, response_backlog)({"type": "http.response.body", "body": body, "more_body": more})
        assert (client.body, response_backlog.bytes) == (body, 0)
        return client.got

    assert [message["more_body"] for message in asyncio.run(sent(more=False))] == [*[True] * 7, False]
    assert [message["more_body"] for message in asyncio.run(sent(more=True))] == [True] * 8


def test_a_client_that_takes_nothing_for_too_long_gets_no_more() -> None:
    async def sent() -> tuple[str, int, int]:
        client, response_backlog = (
            Client(takes=2),
            ResponseBacklog(ResponseBodyLimits(timeout_s=0.05, backlog_bytes=MIB)),
        )
        sender = ResponseSender(client, response_backlog)
        await sender({"type": "http.response.body", "body": bytes(5 * CHUNK_BYTES), "more_body": True})
        await sender({"type": "http.response.body", "body": b"the end"})
        return sender.fault, len(client.body), response_backlog.bytes

    fault, taken, held = asyncio.run(sent())
    assert "answer_timeout_s = 0.05" in fault
    assert (taken, held) == (2 * CHUNK_BYTES, 0)


def test_past_the_most_bytes_the_oldest_answer_is_broken_off() -> None:
    async def sent() -> tuple[list[str], list[int]]:
        response_backlog = ResponseBacklog(ResponseBodyLimits(timeout_s=60, backlog_bytes=20 * CHUNK_BYTES))
        clients = [Client(takes=n) for n in (1, 1, 100)]
        senders = [ResponseSender(client, response_backlog) for client in clients]

        def begin(n: int) -> Awaitable[None]:
            message = {"type": "http.response.body", "body": bytes(10 * CHUNK_BYTES), "more_body": False}
            return asyncio.ensure_future(senders[n](message))

        oldest, second = begin(0), begin(1)
        await asyncio.sleep(0)
        assert response_backlog.bytes == 20 * CHUNK_BYTES
        await begin(2)
        await oldest
        assert response_backlog.bytes == 10 * CHUNK_BYTES
        clients[1].reading.set()
        await second
        return [sender.fault for sender in senders], [len(client.body) // CHUNK_BYTES for client in clients]

    faults, taken = asyncio.run(sent())
    assert "answer_backlog_bytes" in faults[0]
    assert (faults[1:], taken) == (["", ""], [1, 10, 10])


@pytest.fixture(scope="module")
def hasty(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Yield a server that waits half a second for a client to read on, and holds 24 MiB of answers."""
    from conftest import Server

    options = ("--answer-timeout-s=0.5", "--answer-backlog-bytes=24MiB")
    running = Server(Path(tmp_path_factory.mktemp("hasty")) / "data", options).start()
    running.create("texts")
    running.ingest("texts", [{"text": f"{n:04} " + "x" * 16_000} for n in range(1000)])
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.errors.read_text()


def asked(server: "Server") -> socket.socket:
    """Return a connection on which 16 MB are asked for."""
    body = json.dumps({"sql": "SELECT text FROM texts"}).encode()
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /tailrace/v1/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def read(connection: socket.socket) -> bytes:
    got = bytearray()
    with connection:
        while chunk := connection.recv(MIB):
            got += chunk
    return bytes(got)


def unread(server: "Server") -> Callable[[], int]:
    def count() -> int:
        refusals = server.client.get("/tailrace/v1/refusals").json()
        return sum(each["count"] for each in refusals if each["reason"] == "answer_unread")

    return count


def test_an_answer_that_is_not_read_is_broken_off_and_counted(hasty: "Server") -> None:
    count = unread(hasty)
    before = count()
    connections = [asked(hasty) for _ in range(4)]
    wait_until(lambda: count() >= before + 4)

    for connection in connections:
        got = read(connection)  # to its end, as the server closes it
        assert got.startswith(b"HTTP/1.1 200")
        assert MIB // 16 < len(got) < 16_000_000
    assert len(hasty.sql("SELECT text FROM texts")) == 1000
