"""Requests that a worker passes on: what the main process sees of them, and what comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.workers.frames import DatasetAnswered
from tailrace.server.workers.relay import MainGone, Relay, RelayServer, relay_socket

NAME = "relay.sock"
KNOWN = DatasetAnswered(7, 1, "id", "org")


@contextlib.asynccontextmanager
async def passed_on(directory: Path, application: Application) -> AsyncIterator[Relay]:
    with relay_socket(directory, NAME) as listener:
        server = RelayServer(application, lambda name: KNOWN if name == "known" else DatasetAnswered(7))
        await server.start(listener.dup())
        yield Relay(directory, NAME)
        await server.close()


def scope_of(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=%ff",
        "headers": [(b"host", b"here"), (b"x", b"\xff")],
        "client": ("192.0.2.1", 1234),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
        **changes,
    }


class Client:
    """The messages of a request, and those of the answer."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.answer: list[Message] = []
        self.asked = 0
        self.answered = asyncio.Event()  # with a part of the body
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        self.asked += 1
        if self.messages:
            return self.messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.answer.append(message)
        if message["type"] == "http.response.body":
            self.answered.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.answer[1:])


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def answered(send: Send, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": [(b"y", b"\xfe")]})
    await send({"type": "http.response.body", "body": body, "more_body": more})


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(bounded())


def test_a_request_and_its_answer_arrive_as_they_were_sent(tmp_path: Path) -> None:
    seen: list[tuple[Scope, bytes]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        seen.append((scope, body))
        await answered(send, body[::-1])

    async def test() -> None:
        async with passed_on(tmp_path, application) as relay:
            for size in (0, 10, 3_000_000):
                body = bytes(range(256)) * (size // 256) + b"end"
                client = Client(part(body[:size], more=True), part(body[size:]))
                await relay(scope_of(), client.receive, client.send)
                assert client.body == body[::-1]
                assert (client.answer[0]["status"], client.answer[0]["headers"]) == (201, [(b"y", b"\xfe")])
                scope, received = seen.pop()
                assert received == body
                assert {name: scope[name] for name in scope_of()} == {
                    **scope_of(),
                    "headers": [(b"host", b"here"), (b"x", b"\xff")],
                }

    run(test)


def test_the_client_is_asked_for_the_body_only_where_that_is_read(tmp_path: Path) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answered(send, b"no")

    async def test() -> None:
        async with passed_on(tmp_path, application) as relay:
            client = Client(part(b"x"))
            await relay(scope_of(), client.receive, client.send)
            assert (client.body, client.asked) == (b"no", 0)

    run(test)


def test_an_answer_without_an_end_is_told_that_its_client_has_hung_up(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            await answered(send, b"first", more=True)
        ended.set()

    async def test() -> None:
        async with passed_on(tmp_path, application) as relay:
            client = Client(part(b""))
            passing = asyncio.create_task(relay(scope_of(), client.receive, client.send))
            await client.answered.wait()
            client.gone.set()
            await ended.wait()
            await passing

    run(test)


def test_what_an_application_waits_for_at_its_end_is_no_part_of_the_next_request(tmp_path: Path) -> None:
    bodies: list[bytes] = []
    watching: list[asyncio.Future[Any]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append((await receive())["body"])
        watching.append(asyncio.ensure_future(receive()))  # as who watches for the end of the client does
        await answered(send, b"")

    async def test() -> None:
        async with passed_on(tmp_path, application) as relay:
            for number in range(5):
                client = Client(part(b"%d" % number))
                await relay(scope_of(), client.receive, client.send)
            assert bodies == [b"0", b"1", b"2", b"3", b"4"]
            for waiting in watching:
                waiting.cancel()

    run(test)


def test_datasets_are_asked_for_between_requests(tmp_path: Path) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answered(send, b"")

    async def test() -> None:
        async with passed_on(tmp_path, application) as relay:
            assert await relay.dataset("known") == KNOWN
            client = Client()
            await relay(scope_of(), client.receive, client.send)
            assert await relay.dataset("other") == DatasetAnswered(7)

    run(test)


def test_the_end_of_the_main_process_is_told(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def test() -> None:
        with relay_socket(tmp_path, NAME) as listener:
            server = RelayServer(application, lambda name: KNOWN)
            await server.start(listener.dup())
            relay, client = Relay(tmp_path, NAME), Client()
            passing = asyncio.create_task(relay(scope_of(), client.receive, client.send))
            await begun.wait()
            await server.close()
            with pytest.raises(MainGone):
                await passing
        with pytest.raises(MainGone):
            await relay.dataset("known")

    run(test)
