"""A server killed again and again while it is written to: what it acknowledged is there, once.

Half of the clients send what was not acknowledged again, with its idempotency key, and lose nothing either.
"""

import http.client
import itertools
import json
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.rounds import ROUNDS, rounds
from support.s3 import S3Server

if TYPE_CHECKING:
    from conftest import MakeServer, Server

KILLS = rounds(6)
WRITERS = 4
MAX_EVENTS = 40  # of one request
MAX_FAILURES = 100  # to send a request with a key at the end, when there is a server
PADDING = "x" * 200  # so that commits by size fall due many times between two kills
LONGEST_RUN_S = 0.5  # of a server between its start and its end
LONGEST_START_S = 1.5  # after which a server that is ended while it starts is ended
DATASET = "numbers"
OPTIONS = ("--commit-bytes=64KiB", "--commit-age-s=0.2")


class Writers:
    """Threads that send numbered events, and note which were acknowledged: half of them each number once, the others
    again, with the idempotency key of the request, until it is.
    """

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.repeating: set[int] = set()  # numbers that were sent with a key
        self.sent: set[int] = set()
        self.refused: list[str] = []
        self._numbers = itertools.count()
        self._up = threading.Event()
        self._done = threading.Event()
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(seed,)) for seed in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def up(self, server: "Server") -> None:
        self._server = server
        self._up.set()

    def down(self) -> None:
        self._up.clear()

    def finish(self) -> None:
        self._done.set()
        self._up.set()
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        size = random.Random(seed)
        is_repeating = seed % 2 == 1
        numbers: list[int] = []
        failures = 0  # to send these numbers, once there are to be no more
        connection: http.client.HTTPConnection | None = None
        while (self._up.wait() and not self._done.is_set()) or (is_repeating and numbers):
            server = self._server
            assert server is not None
            numbers = numbers or [next(self._numbers) for _ in range(size.randint(1, MAX_EVENTS))]
            with self._lock:
                self.sent.update(numbers)
                self.repeating.update(numbers if is_repeating else ())
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
                connection.request(
                    "POST",
                    f"/v1/datasets/{DATASET}/ingest",
                    json.dumps([{"number": number, "text": PADDING} for number in numbers]),
                    {
                        "Authorization": f"Bearer {server.token}",
                        "Content-Type": "application/json",
                        **({"Idempotency-Key": str(numbers[0])} if is_repeating else {}),
                    },
                )
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                connection = None  # the server is gone, and whether it had stored these is not known
                failures += self._done.is_set()
                if not is_repeating or failures > MAX_FAILURES:
                    numbers, failures = [], 0
                continue
            with self._lock:
                if response.status == 200 and answer["ingested"] == len(numbers):
                    self.acknowledged.update(numbers)
                else:
                    self.refused.append(f"{response.status} {answer}")
            numbers, failures = [], 0


@pytest.mark.rounds
@pytest.mark.timeout(200 * ROUNDS)
def test_what_was_acknowledged_is_there_once_after_many_kills(make_server: "MakeServer") -> None:
    _kill_again_and_again(make_server(*OPTIONS, "--log-segment-bytes=256KiB"))


@pytest.mark.slow
@pytest.mark.rounds
@pytest.mark.timeout(400 * ROUNDS)
def test_it_is_there_once_after_many_kills_with_a_log_in_an_object_store(
    make_server: "MakeServer", s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    server = make_server(*OPTIONS, f"--log={s3.url()}", "--log-group-ms=20")
    _kill_again_and_again(server)
    assert not (server.data / "log").exists()


def _kill_again_and_again(server: "Server") -> None:
    moments = random.Random(20260305)
    server.start()
    server.create(DATASET)
    writers = Writers()
    pause = threading.Event()
    kills = 0
    try:
        while kills < KILLS:
            if kills % 5 == 4:
                starting = server.launch()
                pause.wait(moments.uniform(0, LONGEST_START_S))
                starting.kill()
                starting.communicate()
                server.start()
                kills += 1
            writers.up(server)
            pause.wait(moments.uniform(0, LONGEST_RUN_S))
            server.kill()
            writers.down()
            kills += 1
            if kills % 5 != 4:
                server.start()
        if server.process is None or server.process.poll() is not None:
            server.start()
    finally:
        writers.finish()

    rows = server.sql(f"SELECT number, count(*) AS times FROM {DATASET} GROUP BY number")
    times = {row["number"]: row["times"] for row in rows}
    assert writers.refused == []
    assert len(writers.acknowledged) > KILLS * WRITERS
    assert writers.repeating
    assert writers.repeating <= writers.acknowledged
    assert [number for number in writers.acknowledged if number not in times] == []
    assert [number for number, count in times.items() if count != 1] == []
    assert [number for number in times if number not in writers.sent] == []
    assert _commits(server) > KILLS // 2
    assert server.stop() == 0


def _commits(server: "Server") -> int:
    log: Path = server.data / "lake" / DATASET / "_delta_log"
    return len(list(log.glob("*.json")))
