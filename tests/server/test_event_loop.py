"""No long body holds the event loop: what needs Python for each event is done beside it."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from support.serving import Serving, serving

from tailrace.native import why_missing

BODY_BYTES = 60_000  # which would be parsed on the event loop if they were good
MOST_OF_ALL = 0.5  # of the CPU time of a request is the event loop's, the client's share included
PATHS = {
    "axiom": "/v1/datasets/d/ingest",
    "baselime": "/baselime/v1/d/n",
    "otlp": "/baselime/v1/logs",
    "moesif": "/moesif/v1/events/batch",
}

pytestmark = pytest.mark.skipif(bool(why_missing()), reason="without native code nothing is parsed in bulk")


def lines(event: bytes) -> bytes:
    """Return a body of the same event on each line."""
    return (event + b"\n") * (BODY_BYTES // (len(event) + 1))


def array(event: bytes) -> bytes:
    """Return a body that is an array of the same event."""
    return b"[" + (event + b",") * (BODY_BYTES // (len(event) + 1)) + b"{}]"


BODIES = {
    "axiom": (
        lines(b'{"a":}'),
        lines(b"x"),
        lines(b"{}}"),
        lines(b'{"_sysTime":1}'),
        lines(b'{"_time":"x"}'),
        array(b'{"a":"\\ud800"}'),
        lines(b"a,b"),
    ),
    "baselime": (array(b"1"), array(b'{"a":01}'), array(b'{"timestamp":"x"}')),
    "moesif": (array(b"{}"),),
    "otlp": (b'{"resourceLogs":[{"scopeLogs":[{"logRecords":%s}]}]}' % array(b'{"body":{"stringValue":"x"}}'),),
}


def use_key(served: Serving, protocol: str) -> None:
    """Have the client send with a key of the protocol, where it has keys."""
    keys, owner = served.parts.access.keys, served.parts.owner
    if protocol == "axiom":
        return
    if protocol == "moesif":
        _, key = keys.create_key("moesif", "k", dataset="d", actor=owner)
        served.client.headers["X-Moesif-Application-Id"] = key
    else:
        _, key = keys.create_key("baselime", "k", datasets=["*"], actor=owner)
        served.client.headers["x-api-key"] = key
    del served.client.headers["Authorization"]


async def post(served: Serving, protocol: str, body: bytes) -> httpx.Response:
    """Send a body by a protocol."""
    media = "text/csv" if body.startswith(b"a,b") else "application/json"
    return await served.client.post(PATHS[protocol], content=body, headers={"Content-Type": media})


@pytest.mark.parametrize("protocol", BODIES)
def test_what_needs_a_look_at_each_event_is_done_beside_the_loop(tmp_path: Path, protocol: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("d")
            use_key(served, protocol)
            for body in BODIES[protocol]:
                loop_s, all_s = time.thread_time(), time.process_time()
                answer = await post(served, protocol, body)
                loop_s, all_s = time.thread_time() - loop_s, time.process_time() - all_s
                assert answer.status_code in (200, 202, 400), answer.text[:200]
                assert loop_s < MOST_OF_ALL * all_s, body[:40]

    asyncio.run(run())


def test_requests_are_answered_while_malformed_bodies_are_looked_through(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("d")
            flood = [asyncio.create_task(post(served, "axiom", lines(b'{"a":}'))) for _ in range(6)]
            good = lines(b'{"a":1}')
            for body in (b'{"a":1}', good):
                await asyncio.sleep(0)
                assert (await post(served, "axiom", body)).json()["failed"] == 0
            assert not flood[-1].done()
            answers = [(await answer).json() for answer in flood]
            assert {(answer["ingested"], answer["failed"]) for answer in answers} == {(0, BODY_BYTES // 7)}

    asyncio.run(run())
