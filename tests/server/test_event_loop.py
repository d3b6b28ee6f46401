"""No long body holds the event loop: what needs Python for each event is done beside it, apart from other bodies."""

import asyncio
import gc
import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.serving import Serving, serving

from tailrace.native import why_missing

SMALL_BYTES = 4000
BODY_BYTES = 20_000  # which would be parsed on the event loop if they were good
LARGE_BYTES = 270_000
MAX_STEP_S = 0.02  # of the event loop's CPU time between two times that it takes up what waits
ATTEMPTS = 4
DESTINATION = "a.b.c"
PATHS = {
    "axiom": "/v1/datasets/d/ingest",
    "baselime": "/baselime/v1/d/n",
    "otlp": "/baselime/v1/logs",
    "moesif": "/moesif/v1/events/batch",
    "datamix": f"/datamix/destinations/{DESTINATION}/logs",
}

pytestmark = pytest.mark.skipif(bool(why_missing()), reason="without native code nothing is parsed in bulk")


def lines(event: bytes, size: int) -> bytes:
    """Return a body of the same event on each line."""
    return (event + b"\n") * (size // (len(event) + 1))


def array(event: bytes, size: int) -> bytes:
    """Return a body that is an array of the same event."""
    return b"[" + (event + b",") * (size // (len(event) + 1)) + b"{}]"


def otlp(size: int) -> bytes:
    """Return a sound request of OpenTelemetry's."""
    return b'{"resourceLogs":[{"scopeLogs":[{"logRecords":%s}]}]}' % array(b'{"body":{"stringValue":"x"}}', size)


def messages(message: bytes, size: int) -> bytes:
    """Return a body of Datamix, whose session's token stands in the query."""
    return b'{"messages":%s}' % array(message, size)


BODIES: dict[str, tuple[Callable[[int], bytes], ...]] = {
    "axiom": (
        lambda size: lines(b"{", size),
        lambda size: lines(b'{"a":}', size),
        lambda size: lines(b"x", size),
        lambda size: lines(b"{}}", size),
        lambda size: lines(b'{"_sysTime":1}', size),
        lambda size: lines(b'{"_time":"x"}', size),
        lambda size: array(b'{"a":"\\ud800"}', size),
        lambda size: lines(b"a,b", size),
    ),
    "baselime": (
        lambda size: array(b"1", size),
        lambda size: array(b'{"a":01}', size),
        lambda size: array(b'{"timestamp":"x"}', size),
        lambda size: array(b"{\n}", size),
    ),
    "moesif": (lambda size: array(b"{}", size),),
    "otlp": (otlp,),
    "datamix": (
        lambda size: messages(b"{}", size),
        lambda size: messages(b'{"level":"info","timestamp":%d,"message":"m"}' % (time.time_ns() // 1_000_000), size),
    ),
}


class Client:
    """Sends with the credentials of each protocol."""

    def __init__(self, served: Serving) -> None:
        self._client = served.client
        keys, owner = served.parts.access.keys, served.parts.owner
        _, moesif = keys.create_key("moesif", "k", dataset="d", actor=owner)
        _, baselime = keys.create_key("baselime", "k", datasets=["*"], actor=owner)
        _, self._datamix = keys.create_key("datamix", "k", destination=DESTINATION, actor=owner)
        self._keys = {
            "moesif": {"X-Moesif-Application-Id": moesif},
            "baselime": {"x-api-key": baselime},
            "otlp": {"x-api-key": baselime},
        }

    async def prepared(self, protocol: str, body: bytes) -> Callable[[], Any]:
        """Return what sends a body by a protocol: to await."""
        content_type = "text/csv" if body.startswith(b"a,b") else "application/json"
        headers = {"Content-Type": content_type, **self._keys.get(protocol, {})}
        parameters: dict[str, str] = {}
        if body.startswith(b"\x1f\x8b"):
            headers["Content-Encoding"] = "gzip"
        if protocol == "datamix":
            session = await self._client.post("/datamix/sessions", json={"key": self._datamix})
            assert session.status_code == 200, session.text
            parameters["session"] = session.json()["token"]
        if protocol != "axiom":
            headers["Authorization"] = ""
        return lambda: self._client.post(PATHS[protocol], content=body, headers=headers, params=parameters)


@contextmanager
def longest_step() -> Iterator[list[float]]:
    """Yield a list that gets the most CPU time, in s, that the event loop takes before it turns to what waits."""
    longest = [0.0]

    async def turn() -> None:
        while True:
            began_s = time.thread_time()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.thread_time() - began_s)

    turning = asyncio.create_task(turn())
    gc.collect()
    gc.disable()  # or a collection of all that the tests have made would be a step
    try:
        yield longest
    finally:
        gc.enable()
        turning.cancel()


@pytest.mark.parametrize("protocol", BODIES)
def test_what_needs_a_look_at_each_event_is_done_beside_the_loop(tmp_path: Path, protocol: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("d")
            client = Client(served)
            for body in (*(make(BODY_BYTES) for make in BODIES[protocol]), BODIES[protocol][0](SMALL_BYTES)):
                send = await client.prepared(protocol, body)
                with longest_step() as longest:
                    answer: httpx.Response = await send()
                assert answer.status_code in (200, 201, 202, 400), answer.text[:200]
                assert longest[0] < MAX_STEP_S, body[:40]

    asyncio.run(run())


def test_bodies_are_taken_while_others_are_looked_through(tmp_path: Path) -> None:
    floods = (3 * [lines(b'{"a":}', LARGE_BYTES)], 42 * [lines(b'{"a":}', BODY_BYTES)])
    others = {
        "axiom": [gzip.compress(lines(b'{"a":1}', BODY_BYTES))],
        "baselime": [gzip.compress(array(b'{"a":1}', SMALL_BYTES))],
        "otlp": [gzip.compress(otlp(2 * SMALL_BYTES))],
        "moesif": [gzip.compress(array(b'{"action_name":"a","user_id":"u"}', SMALL_BYTES))],
        "datamix": [messages(b"{}", 2 * SMALL_BYTES)],
    }

    async def are_first(flood: list[bytes], attempt: int) -> bool:
        async with serving(tmp_path / f"{len(flood)}-{attempt}") as served:
            served.parts.lake.create("d")
            client = Client(served)
            sends = [await client.prepared(protocol, body) for protocol, bodies in others.items() for body in bodies]
            await sends[list(others).index("otlp")]()  # the first one declares fields of the dataset
            malformed = [asyncio.create_task((await client.prepared("axiom", body))()) for body in flood]
            for send in sends:
                await asyncio.sleep(0)
                answer = await send()
                assert answer.status_code in (200, 201, 202, 400), answer.text[:200]
            were_first = not malformed[-1].done()
            for done in await asyncio.gather(*malformed):
                counts = msgspec.json.decode(done.content)
                assert (counts["ingested"], counts["failed"]) == (0, len(flood[0]) // 7)
            return were_first

    for flood in floods:  # a busy machine may have the others late now and then; who waits for the flood always is
        assert any(asyncio.run(are_first(flood, attempt)) for attempt in range(ATTEMPTS))
