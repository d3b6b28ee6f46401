"""A server whose tables are in an object store, killed between any two requests of a commit, before and after each."""

import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from support.s3 import Proxy, S3Server

if TYPE_CHECKING:
    from conftest import MakeServer, Server

STEPS = 30  # requests of a commit and a merge, and some more
BETWEEN_S = 0.05  # requests to the server


class Killing:
    """Kills a server at a request to the store, once; counts from now on."""

    def __init__(self, server: "Server", step: int) -> None:
        self.done = threading.Event()
        self._server = server
        self._step = step
        self._first = threading.Lock()

    def __call__(self, number: int, method: str, path: str) -> None:
        if number >= self._step and self._first.acquire(blocking=False):
            assert self._server.process is not None
            self._server.process.kill()
            self._server.process.wait()
            self.done.set()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_server_that_is_killed_at_any_request_loses_and_doubles_nothing(
    make_server: "MakeServer", proxy: Proxy, s3: S3Server, when: str
) -> None:
    server = make_server(
        f"--storage={s3.url()}", "--commit-age-s=0.05", "--compact-files=2", "--maintenance-every-s=0.2"
    ).start()
    server.create("logs")
    assert server.ingest("logs", [{"n": 0}]).status_code == 200
    sent = 1
    for step in range(when == "after", STEPS, 2):  # every other one: a start with a store takes a second
        killing = Killing(server, step)
        proxy.reset()
        proxy.fault = killing if when == "before" else proxy.fault
        proxy.after = killing if when == "after" else proxy.after
        while not killing.done.wait(BETWEEN_S):
            try:
                answer = server.ingest("logs", [{"n": sent}])
            except httpx.TransportError:
                continue
            assert answer.status_code == 200
            sent += 1
        proxy.reset()
        server.start()
        [found] = server.sql("SELECT count(*) AS events, count(DISTINCT n) AS numbers FROM logs")
        # An event may be stored whose answer was cut off with the server.
        assert found["events"] == found["numbers"], (step, found, sent)
        assert sent <= found["events"] <= sent + 1, (step, found, sent)
        sent = found["events"]
    assert server.stop() == 0
