"""A server that gets more than its tables take in: answers wait, and nothing is refused for it or lost."""

import asyncio
import json
import re
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.serving import serving
from support.waiting import wait_until

from tailrace.ingest.answer_hold import AnswerHold
from tailrace.lake import Lake

if TYPE_CHECKING:
    from conftest import MakeServer, Server

CLIENTS = 4
BODIES = 3  # of each client
EVENTS = 2_000  # of a body, 200 KB
LARGE_EVENTS = 12_000  # of a body that is more than may be in memory, 1.2 MB
TEXT = "x" * 80


def figure(server: "Server", name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", server.client.get("/metrics").text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def body(first: int, events: int = EVENTS) -> bytes:
    return b"".join(b'{"n":%d,"text":"%s"}\n' % (n, TEXT.encode()) for n in range(first, first + events))


def statuses(server: "Server", dataset: str, client: int) -> list[int]:
    """Send the large bodies of a client, one after the other."""
    firsts = range(client * BODIES * LARGE_EVENTS, (client + 1) * BODIES * LARGE_EVENTS, LARGE_EVENTS)
    with httpx.Client(headers=dict(server.client.headers), timeout=60, trust_env=False) as sender:
        url, kind = f"{server.url}/v1/datasets/{dataset}/ingest", {"Content-Type": "application/x-ndjson"}
        return [sender.post(url, content=body(first, LARGE_EVENTS), headers=kind).status_code for first in firsts]


def send_and_hang_up(server: "Server", dataset: str) -> None:
    """Send a body whose answer nobody waits for."""
    content = body(-EVENTS)
    lines = [
        f"POST /v1/datasets/{dataset}/ingest HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {server.token}",
        "Content-Type: application/x-ndjson",
        f"Content-Length: {len(content)}",
    ]
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + content)


def test_what_is_more_than_the_memory_is_stored_once_and_answers_wait(make_server: "MakeServer") -> None:
    server = make_server("--max-uncommitted-bytes=1MiB").start()
    server.create("d")
    with ThreadPoolExecutor(CLIENTS) as clients:
        sending = [clients.submit(statuses, server, "d", client) for client in range(CLIENTS)]
        for _ in range(CLIENTS):
            send_and_hang_up(server, "d")
        assert [status for each in sending for status in each.result()] == [200] * (CLIENTS * BODIES)

    assert server.sql("SELECT count(*) AS c, count(DISTINCT n) AS n FROM d WHERE n >= 0") == [
        {"c": CLIENTS * BODIES * LARGE_EVENTS, "n": CLIENTS * BODIES * LARGE_EVENTS}
    ]
    assert figure(server, "tailrace_answers_held_total") > 0
    assert figure(server, "tailrace_answers_held_seconds_total") > 0
    wait_until(lambda: figure(server, "tailrace_waiting_answers") == 0)
    assert figure(server, "tailrace_uncommitted_bytes") < 2**20
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()


def test_where_a_table_is_away_answers_do_not_wait_and_are_429_in_the_end(make_server: "MakeServer") -> None:
    server = make_server("--max-uncommitted-bytes=1MiB", "--commit-bytes=64KiB", "--shred-backlog-bytes=1MiB").start()
    server.create("away")
    directory = server.data / "lake" / "away"
    directory.rename(server.data / "elsewhere")

    stored = 0
    kind = "application/x-ndjson"
    while (answer := server.ingest("away", body(stored * EVENTS), kind)).status_code == 200:
        stored += 1
        assert stored < 100
    assert answer.status_code == 429
    assert "shred_backlog_bytes" in json.dumps(answer.json())
    assert figure(server, "tailrace_waiting_answers") == 0

    (server.data / "elsewhere").rename(directory)
    wait_until(lambda: server.client.get("/readyz").status_code == 200)
    assert server.sql("SELECT count(DISTINCT n) AS n FROM away") == [{"n": stored * EVENTS}]


def test_the_bodies_of_answers_that_wait_are_none_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    excess = [1]
    monkeypatch.setattr(Lake, "excess_bytes", property(lambda lake: excess[0]))
    waiting: list[int] = []
    wait = AnswerHold.wait

    async def recorded(hold: AnswerHold, size: int, gone: Coroutine[Any, Any, None]) -> None:
        waiting.append(size)
        await wait(hold, size, gone)

    monkeypatch.setattr(AnswerHold, "wait", recorded)

    async def run() -> None:
        async with serving(tmp_path, environ={"TAILRACE_RECEIVE_BACKLOG_BYTES": "1MiB"}) as served:
            served.parts.lake.create("d")
            sent: list[asyncio.Task[httpx.Response]] = []
            content = body(0) * 4
            for number in range(3):
                kind = {"Content-Type": "application/x-ndjson"}
                sending = served.client.post("/v1/datasets/d/ingest", content=content, headers=kind)
                sent.append(asyncio.create_task(sending))
                while len(waiting) <= number:
                    assert not sent[-1].done(), sent[-1].result().text
                    await asyncio.sleep(0.001)
            assert not any(each.done() for each in sent)
            excess[0] = -1_000_000_000
            assert {(await each).status_code for each in sent} == {200}

    asyncio.run(run())
