"""Live tails: every acknowledged event, filtered, soon; and nothing that a reader does holds ingest up."""

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from support import http
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

PATIENCE_S = 30.0
SOON_S = 2.0  # ten times what is promised: the machine of the tests has other things to do


class Tail:
    """A stream that is being read: `events` and `messages` (name and content) grow meanwhile."""

    def __init__(self, answer: httpx.Response) -> None:
        self.events: list[dict[str, Any]] = []
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.comments: list[str] = []
        self.is_over = False
        self._answer = answer
        self._begun: queue.Queue[None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._begun.get(timeout=PATIENCE_S)

    def _read(self) -> None:
        name = ""
        try:
            for line in self._answer.iter_lines():
                if line.startswith(": "):
                    self.comments.append(line)
                    self._begun.put(None)
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    content = json.loads(line.removeprefix("data: "))
                    if name:
                        self.messages.append((name, content))
                    else:
                        self.events.append(content)
                    name = ""
        except (httpx.TransportError, httpx.StreamError):
            pass
        finally:
            self.is_over = True
            self._begun.put(None)

    def numbers(self, key: str = "n") -> list[Any]:
        return [event.get(key) for event in self.events]


@contextmanager
def tailing(server: "Server", dataset: str, where: str = "", token: str = "") -> Iterator[Tail]:
    with (
        httpx.Client(timeout=httpx.Timeout(10, read=PATIENCE_S), trust_env=False) as client,
        client.stream(
            "GET",
            f"{server.url}/tailrace/v1/tail/{dataset}",
            params={"where": where} if where else {},
            headers={"Authorization": f"Bearer {token or server.token}"},
        ) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        try:
            yield Tail(answer)
        finally:
            # Closing is not enough while another thread reads.
            with suppress(OSError):
                answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def refused(server: "Server", dataset: str, where: str = "", token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or server.token}"}
    path = f"{server.url}/tailrace/v1/tail/{dataset}"
    return http.get(path, params={"where": where}, headers=headers)


def test_every_acknowledged_event_comes_as_it_was_sent(server: "Server", dataset: str) -> None:
    events: list[dict[str, Any]] = [
        {"n": 1, "deep": {"er": [1, {"x": None}]}, "big": 2**70, "text": "line\nbreak \u00e4 \U0001f600"},
        {"n": 2, "_time": "2026-03-01T12:00:00.5+01:00", "deep": "another type"},
        {},
    ]
    with tailing(server, dataset) as tail:
        server.ingest(dataset, events, headers={"X-Axiom-Event-Labels": '{"host":"a"}'})
        wait_until(lambda: len(tail.events) == 3)

    times = [event.pop("_time") for event in tail.events]
    received = [event.pop("_sysTime") for event in tail.events]
    assert times[1] == "2026-03-01T11:00:00.5Z"
    assert all(datetime.fromisoformat(each) for each in [times[0], *received])
    del events[1]["_time"]
    assert tail.events == [{"host": "a", **event} for event in events]


def test_a_time_of_its_own_is_never_shown_twice(server: "Server", dataset: str) -> None:
    with tailing(server, dataset) as tail:
        for name in ("_time", "\\u005ftime", "\\u005Ftime"):
            body = f'{{"n":1,"{name}":"2026-03-01T12:00:00+01:00"}}'
            before = len(tail.events)
            server.ingest(dataset, body)
            wait_until(lambda: len(tail.events) > before)  # noqa: B023

    assert [event["_time"] for event in tail.events] == ["2026-03-01T11:00:00Z"] * 3


def test_an_event_comes_soon_after_its_acknowledgement(server: "Server", dataset: str) -> None:
    delays = []
    with tailing(server, dataset, "n >= 0") as tail:
        for n in range(5):
            server.ingest(dataset, [{"n": n}])
            acknowledged_s = time.monotonic()
            wait_until(lambda: len(tail.events) == n + 1)  # noqa: B023
            delays.append(time.monotonic() - acknowledged_s)

    assert tail.numbers() == [0, 1, 2, 3, 4]
    assert min(delays) < SOON_S


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("level == 'error'", [0, 3]),
        ("n > 1 and status >= 500", [3]),
        ("['http.status'] == 404 or deep.er[1] == 'x'", [1, 2]),
        ("message contains 'OUT' ", [2]),
        ("isnull(level)", [2]),
        ("not(level in ('error', 'info'))", [2]),
        ("_time > ago(1h)", [0, 1, 3]),
        ("_sysTime > ago(1h)", [0, 1, 2, 3]),
        ("tostring(n) matches regex '^[12]$'", [1, 2]),
        ("true", [0, 1, 2, 3]),
    ],
)
def test_any_condition_of_apl_filters(server: "Server", dataset: str, where: str, expected: list[int]) -> None:
    with tailing(server, dataset, where) as tail:
        server.ingest(
            dataset,
            [
                {"n": 0, "level": "error", "status": "500"},
                {"n": 1, "level": "info", "http": {"status": 404}},
                {"n": 2, "_time": "2020-01-01T00:00:00Z", "message": "a timeout", "deep": {"er": [1, "x"]}},
                {"n": 3, "level": "error", "status": 503},
            ],
        )
        with tailing(server, dataset) as everything:
            server.ingest(dataset, [{"n": 9, "level": "other", "_time": "2020-01-01T00:00:00Z"}])
            wait_until(lambda: everything.numbers() == [9])
        wait_until(lambda: [n for n in tail.numbers() if n != 9] == expected)
    asked = {"apl": f"['{dataset}'] | where {where} | where n != 9 | summarize found = make_set(n)"}
    answer = server.client.post("/v1/datasets/_apl", json=asked, headers={"Accept": "application/x-ndjson"}).json()
    assert sorted(answer["found"]) == expected


def test_a_virtual_field_can_be_asked_for(server: "Server", dataset: str) -> None:
    made = server.client.post("/v2/vfields", json={"dataset": dataset, "name": "slow", "expression": "elapsed > 100"})
    assert made.status_code == 200
    with tailing(server, dataset, "slow") as tail:
        server.ingest(dataset, [{"n": 1, "elapsed": 50}, {"n": 2, "elapsed": 500}])
        wait_until(lambda: tail.numbers() == [2])


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("level ==", "line 1, column"),
        ("nofunction(level)", "unknown function"),
        ("level in ((demo | project level))", "no sub-query"),
        ("'text'", "a condition is expected"),
        ("(" * 5000, ""),
    ],
    ids=["syntax", "function", "sub-query", "type", "deep"],
)
def test_a_condition_that_cannot_be_is_400(server: "Server", dataset: str, where: str, said: str) -> None:
    answer = refused(server, dataset, where)

    assert answer.status_code == 400, answer.text
    assert said in answer.json()["message"]


def test_a_tail_needs_the_right_to_query_and_a_dataset(server: "Server", dataset: str) -> None:
    assert refused(server, dataset, token=server.api_token(dataset)).status_code == 403
    assert refused(server, "no-such-dataset").status_code == 404
    with tailing(server, dataset, token=server.api_token(dataset, query=True)) as tail:
        server.ingest(dataset, [{"n": 1}])
        wait_until(lambda: tail.numbers() == [1])


def test_no_event_of_another_dataset_comes(server: "Server", dataset: str) -> None:
    other = server.create(f"{dataset}-other")
    with tailing(server, dataset) as tail:
        server.ingest(other, [{"n": 1}])
        server.ingest(dataset, [{"n": 2}])
        wait_until(lambda: tail.numbers() == [2])


def test_events_come_in_order_and_all_of_them(server: "Server", dataset: str) -> None:
    with tailing(server, dataset, "n % 2 == 0") as tail:
        for first in range(0, 5000, 500):
            server.ingest(dataset, [{"n": n} for n in range(first, first + 500)])
        wait_until(lambda: len(tail.events) == 2500)

    assert tail.numbers() == list(range(0, 5000, 2))
    assert tail.messages == []


def test_the_stream_of_a_revoked_token_ends(server: "Server", dataset: str) -> None:
    made = server.client.post(
        "/v2/tokens", json={"name": "t", "datasetCapabilities": {dataset: {"query": ["read"]}}}
    ).json()
    with tailing(server, dataset, token=made["token"]) as tail:
        server.client.delete(f"/v2/tokens/{made['id']}")
        wait_until(lambda: tail.is_over)

    assert tail.messages == [("end", {"reason": "the token is not valid"})]


def test_the_stream_of_a_dropped_dataset_ends(server: "Server", dataset: str) -> None:
    with tailing(server, dataset) as tail:
        server.client.delete(f"/v2/datasets/{dataset}")
        wait_until(lambda: tail.is_over)

    [(name, content)] = tail.messages
    assert name == "end"
    assert "not found" in content["reason"]


def test_limits_and_heartbeats_are_settings_and_a_stop_ends_every_stream(make_server: "MakeServer") -> None:
    server = make_server(
        "--tail-readers=3", "--tail-readers-per-token=2", "--tail-heartbeat-s=0.05", "--tail-queue-bytes=64KiB"
    ).start()
    api_token = server.api_token("demo", query=True)
    with tailing(server, "demo") as first, tailing(server, "demo") as second:
        of_token = refused(server, "demo")
        assert of_token.status_code == 429
        assert "tail_readers_per_token" in of_token.json()["message"]
        with tailing(server, "demo", token=api_token):
            of_all = refused(server, "demo", token=api_token)
            assert of_all.status_code == 429
            assert "tail_readers" in of_all.json()["message"]
        wait_until(lambda: first.comments.count(": heartbeat") > 2)
        with stuck(server, "demo", api_token):  # once there is room again
            began_s = time.monotonic()
            server.stop()
            assert time.monotonic() - began_s < PATIENCE_S / 2
        wait_until(lambda: first.is_over and second.is_over)

    for tail in (first, second):
        assert tail.messages[-1] == ("end", {"reason": "the server is shutting down"})


@contextmanager
def stuck(server: "Server", dataset: str, token: str = "") -> Iterator[socket.socket]:
    """Yield a reader that does not read, which comes back until it is let in."""
    made: list[socket.socket] = []

    def is_let_in() -> bool:
        address = urlsplit(server.url)
        connection = socket.socket()
        made.append(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((address.hostname, address.port))
        authorization = f"Authorization: Bearer {token or server.token}"
        head = f"GET /tailrace/v1/tail/{dataset} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n\r\n"
        connection.sendall(head.encode())
        return connection.recv(12) == b"HTTP/1.1 200"

    try:
        wait_until(is_let_in)
        yield made[-1]
    finally:
        for connection in made:
            connection.close()


def test_a_reader_that_does_not_read_is_told_what_it_missed_and_holds_nothing_up(make_server: "MakeServer") -> None:
    server = make_server("--tail-queue-bytes=64KiB").start()
    filler = "x" * 10_000
    sent = 0
    with stuck(server, "demo") as connection, tailing(server, "demo", "n % 100 == 0") as other:
        # More than the kernel keeps for a connection: until nothing more goes out.
        for _ in range(15):
            events = [{"n": sent + n, "filler": filler} for n in range(100)]
            assert server.ingest("demo", events).status_code == 200
            sent += 100
            wait_until(lambda: len(other.events) + missed(other) >= sent // 100)  # noqa: B023
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        text = b""
        connection.settimeout(PATIENCE_S)
        while b"event: missed" not in text or b"the last" not in text:
            if b"event: missed" in text and b"the last" not in text:
                server.ingest("demo", [{"n": -1, "is": "the last"}])
            text += connection.recv(1 << 20)

    lines = text.split(b"\n")
    counts = [
        json.loads(lines[number + 1].removeprefix(b"data: "))["count"]
        for number, line in enumerate(lines)
        if line == b"event: missed"
    ]
    received = text.count(b'"filler"')
    assert received + sum(counts) == sent
    assert sum(counts) > 0


def missed(tail: Tail) -> int:
    return sum(int(content["count"]) for name, content in tail.messages if name == "missed") // 100
