"""Bodies that do not come, come too slowly, or are too many at once, cost neither memory nor the answers of others."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.server.asgi import Message
from tailrace.server.request_body import MIN_BYTES_PER_S, RequestBacklog, RequestBodyLimits, RequestReceiver

if TYPE_CHECKING:
    from conftest import Server

MIB = 1024**2


@pytest.fixture(scope="module")
def patient(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Yield a server that waits half a second for a body, and holds 2 MiB of them."""
    from conftest import Server

    running = Server(
        Path(tmp_path_factory.mktemp("patient")) / "data", ("--body-timeout-s=0.5", "--receive-backlog-bytes=2MiB")
    ).start()
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.errors.read_text()


def begin(server: "Server", path: str, part: bytes, length: int, *headers: str, **more: str) -> socket.socket:
    """Return a request of which only a part of the body is sent."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", "Content-Type: application/json", *headers]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + part)
    return connection


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of an answer, once the server has closed the connection or said it all."""
    with connection:
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if length is not None and len(body) >= int(length[1]):
                break
    return int(got.split(b" ", 2)[1]), got.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("part", [b"", b'[{"n": 1}'])
@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/v1/datasets/demo/ingest", "Authorization: Bearer {token}", 408),
        ("/v1/datasets/demo/ingest", "Authorization: Bearer wrong", 401),
        ("/v1/datasets/_apl", "Authorization: Bearer {token}", 408),
        ("/datamix/sessions", "X: y", 408),
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(
    patient: "Server", path: str, header: str, status: int, part: bytes
) -> None:
    met, said = answer(begin(patient, path, part, 1000, header.format(token=patient.token)))

    assert met == status
    assert status != 408 or b"body_timeout_s" in said


def test_what_comes_buys_time_up_to_the_longest_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("tailrace.server.request_body.time.monotonic", lambda: clock[0])

    async def deadlines() -> list[float]:
        receiver = RequestReceiver(
            receive, RequestBacklog(RequestBodyLimits(body_timeout_s=30, receive_backlog_bytes=MIB))
        )
        found = [receiver.deadline_s]
        for now_s in (120.0, 139.0):
            clock[0] = now_s
            await receiver()
            found.append(receiver.deadline_s)
        return found

    async def receive() -> Message:
        size = 10 * MIN_BYTES_PER_S if clock[0] == 120 else MIB
        return {"type": "http.request", "body": b" " * size, "more_body": True}

    assert asyncio.run(deadlines()) == [130, 140, 169]


def test_whether_the_client_hangs_up_is_awaited_as_long_as_it_takes() -> None:
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def types() -> list[str]:
        receiver = RequestReceiver(
            receive, RequestBacklog(RequestBodyLimits(body_timeout_s=-1, receive_backlog_bytes=MIB))
        )  # whatever waits is overdue
        return [(await receiver())["type"] for _ in range(2)]

    assert asyncio.run(types()) == ["http.request", "http.disconnect"]


def test_bodies_that_are_too_many_together_are_refused_and_a_large_one_alone_is_taken(patient: "Server") -> None:
    authorization = f"Authorization: Bearer {patient.token}"
    alone = b'[{"large": "' + b"x" * 10 + b'"}' + b" " * 3 * MIB + b"]"
    assert answer(begin(patient, "/v1/datasets/demo/ingest", alone, len(alone), authorization))[0] == 200

    held = [begin(patient, "/v1/datasets/demo/ingest", b" " * MIB, 2 * MIB, authorization) for _ in range(4)]
    statuses = sorted(answer(each)[0] for each in held)

    assert statuses[0] == 408
    assert statuses[-1] == 429
    assert patient.ingest("demo", [{"n": 2}]).status_code == 200
