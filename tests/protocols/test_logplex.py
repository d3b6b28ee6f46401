"""Log drains of Heroku: each message is an event, once, and one that is broken costs no other."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.doors import ask, rows, token_for
from support.serving import Serving, serving

from tailrace.events import BodyTimeout, Forbidden, Overloaded
from tailrace.parsing import Limits
from tailrace.protocols import logplex
from tailrace.protocols.http import Request

ROUTES = ("/v1/ingest/logs", "/v1/datasets/logs/ingest")
DRAIN = "d.fc6b856b-3332-4546-93de-7d0ee272c3bd"
# Heroku, "Log Drains" and "HTTP Routing and the Routing Mesh": what a dyno and the router write.
STATE = "<40>1 2012-11-30T06:45:29+00:00 host heroku web.3 - State changed from starting to up"
ROUTER = (
    "<158>1 2012-10-11T03:47:20.000123+00:00 host heroku router - at=info method=GET path=/ host=myapp.herokuapp.com "
    'fwd="204.204.204.204" dyno=web.1 connect=1ms service=18ms status=200 bytes=13'
)
BRACKETS = "<190>1 2012-11-30T06:45:30.25+00:00 host app web.1 - [info] - café"
HEADER = "<190>1 2026-01-02T03:04:05.6+00:00 host app web.1 - "


def frame(message: str | bytes) -> bytes:
    data = message.encode() if isinstance(message, str) else message
    return b"%d %b" % (len(data), data)


def headers(token: str, count: int, frame_id: str, *, user: str = "axiom") -> dict[str, str]:
    """Return the headers of `logplex_http_drain.erl` for a drain whose address has a token."""
    credentials = f"{user}:{token}" if user else f"{token}:"
    return {
        "Authorization": f"Basic {b64encode(credentials.encode()).decode()}",
        "Content-Type": "application/logplex-1",
        "Logplex-Msg-Count": str(count),
        "Logplex-Frame-Id": frame_id,
        "Logplex-Drain-Token": DRAIN,
        "User-Agent": "Logplex/v49",
    }


async def send(served: Serving, token: str, body: bytes, count: int, frame_id: str, **more: Any) -> httpx.Response:
    path = more.pop("path", ROUTES[0])
    return await ask(served, "POST", path, content=body, headers=headers(token, count, frame_id, **more))


def parsed(body: bytes, count: str = "") -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events of a body, and the reasons of what is refused."""

    async def read() -> bytes:
        return body

    sent = {b"content-type": logplex.MEDIA, logplex.MESSAGE_COUNT: count.encode()}
    request = Request("POST", ROUTES[0], {}, b"", sent, 1_767_323_045_000_000_000, read)
    batch = logplex.parse_logplex(body, request, Limits())
    assert batch.processed_bytes == len(body)
    assert [each.index for each in batch.rejections] == sorted(each.index for each in batch.rejections)
    events = [msgspec.json.decode(line) for line in batch.events.splitlines()]
    assert len(events) == batch.count
    return events, [each.reason for each in batch.rejections]


def test_messages_of_a_drain_are_events_with_their_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            body = b"".join(map(frame, (STATE, ROUTER, BRACKETS)))
            answer = await send(served, token, body, 3, "09C557EAFCFB6CF2740EE62F62971098")
            assert answer.status_code == 200, answer.text
            assert answer.json() == {
                "ingested": 3,
                "failed": 0,
                "failures": [],
                "processedBytes": len(body),
                "blocksCreated": 0,
                "walLength": 3,
            }
            common = {"drain_token": DRAIN, "hostname": "host"}
            assert await rows(served, "logs") == [
                {
                    **common,
                    "_time": "2012-10-11T03:47:20.000123Z",
                    "app_name": "heroku",
                    "proc_id": "router",
                    "priority": 158,
                    "facility": "local3",
                    "severity": "info",
                    "message": ROUTER.partition(" - ")[2],
                },
                {
                    **common,
                    "_time": "2012-11-30T06:45:29Z",
                    "app_name": "heroku",
                    "proc_id": "web.3",
                    "priority": 40,
                    "facility": "syslog",
                    "severity": "emergency",
                    "message": "State changed from starting to up",
                },
                {
                    **common,
                    "_time": "2012-11-30T06:45:30.25Z",
                    "app_name": "app",
                    "proc_id": "web.1",
                    "priority": 190,
                    "facility": "local7",
                    "severity": "info",
                    "message": "[info] - café",
                },
            ]

    asyncio.run(run())


def test_a_request_that_is_sent_again_is_stored_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            body = frame(STATE)
            # What Logplex lost meanwhile is another message of the same request.
            again = frame("<40>1 2012-11-30T06:45:31+00:00 host heroku logplex - Error L10: 3 dropped") + body
            for number, (sent, path) in enumerate(((body, ROUTES[0]), (body, ROUTES[1]), (again, ROUTES[0]))):
                answer = await send(served, token, sent, 1, "A" * 32, path=path, user="" if number else "axiom")
                assert (answer.status_code, answer.json()["ingested"]) == (200, 1), answer.text
            assert len(await rows(served, "logs")) == 1
            assert (await send(served, token, body, 1, "B" * 32)).json()["ingested"] == 1
            assert (await send(served, token, body, 1, "")).json()["ingested"] == 1
            assert len(await rows(served, "logs")) == 3
            assert (await send(served, "no-such", body, 1, "C" * 32)).status_code == 401

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status"),
    [(Overloaded("full", retry_after_s=7), 503), (BodyTimeout("slow"), 503), (Forbidden("no"), 403)],
)
def test_what_may_be_sent_again_is_answered_so_that_logplex_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")

            def refuse(name: str) -> None:
                raise error

            monkeypatch.setattr(served.parts.service, "check_dataset", refuse)
            answer = await send(served, token, frame(STATE), 1, "A" * 32)
            assert (answer.status_code, answer.json()["code"]) == (status, status)
            assert answer.headers.get("retry-after") == {"full": "7", "slow": "1"}.get(str(error))
            # Other clients of the route keep their own statuses.
            other = await served.client.post(ROUTES[1], json=[{"a": 1}])
            assert other.status_code == getattr(error, "status", None)

    asyncio.run(run())


def test_a_broken_frame_costs_no_other() -> None:
    good = frame(HEADER + "good")
    for broken, reason in (
        (b"999 " + HEADER.encode() + b"too long", "is said to have 999 bytes and has"),
        (b"99999999 " + HEADER.encode() + b"too long", "is said to have 99999999 bytes and has"),
        (b"no frame at all\n", "what begins with 'no frame at all"),
        (b"\xff\x00\x16\x03", "what begins with"),
        (b"0 ", "what begins with '0 '"),
        (b"12 hello, world", "what begins with '12 hello, world'"),
        (HEADER.encode() + b"without a count", "is no message with the count of its bytes before it"),
    ):
        for body in (broken + good + good, good + broken + good, good + good + broken):
            events, reasons = parsed(body)
            assert [event["message"] for event in events] == ["good", "good"], body
            assert [reason in each for each in reasons] == [True], reasons


def test_messages_that_are_missing_are_told() -> None:
    body = frame(HEADER + "a") + b"\n" + frame(HEADER + "b\n")
    assert [event["message"] for event in parsed(body, "2")[0]] == ["a", "b"]
    for count in ("", "0", "1", "2", "x", "-3", "9" * 40):
        assert parsed(body, count)[1] == []
    assert parsed(body, "3")[1] == ["Logplex-Msg-Count is 3, but the body holds 2 messages"]
    assert parsed(b"", "1") == ([], ["Logplex-Msg-Count is 1, but the body holds 0 messages"])
    assert parsed(b"") == ([], [])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))))
def test_whatever_messages_hold_comes_back(messages: list[str]) -> None:
    events, reasons = parsed(b"".join(frame(HEADER + message) for message in messages), str(len(messages)))

    assert (events, reasons) == ([*events], [])
    assert [event["message"] for event in events] == [message.removeprefix("\ufeff") for message in messages]


@given(st.lists(st.one_of(st.binary(), st.just(frame(HEADER + "x")), st.sampled_from([b"7 ", b"50 <1>1 ", b"\n"]))))
def test_every_byte_of_any_body_is_in_an_event_or_refused(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    events, reasons = parsed(body)

    assert bool(events or reasons) == bool(body.strip(b"\r\n"))
