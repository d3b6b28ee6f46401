"""The HTTP Event Collector: envelopes and lines, where they go, and what is said of those that are refused."""

import asyncio
import gzip
import json
from base64 import b64encode
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.doors import ask, rows, token_for
from support.serving import Serving, serving

from tailrace.events import BadRequest, DiskFull, Overloaded, ShuttingDown
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.splunk import Acknowledgements
from tailrace.protocols.doors.splunk_events import Destination, collect_envelopes, collect_lines

COLLECTOR = "/services/collector"
CHANNEL = {"X-Splunk-Request-Channel": "0b0f5c0e-0000-4000-8000-000000000001"}
SUCCESS = {"text": "Success", "code": 0}
RECEIVED_NS = 1_767_323_045_123_456_789


async def post(served: Serving, token: str, body: str | bytes, path: str = COLLECTOR, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else body.encode()
    return await ask(served, "POST", path, content=content, headers={"Authorization": f"Splunk {token}"} | headers)


def in_order(*envelopes: dict[str, Any]) -> str:
    """Return envelopes one after the other, an hour apart."""
    return "".join(json.dumps({"time": 1767323045 + 3600 * at} | each) for at, each in enumerate(envelopes))


def test_an_envelope_becomes_the_fields_of_an_event(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            body = in_order(
                {"event": {"n": 2**63 - 1, "http": {"status": 200}}, "host": "h", "source": "s", "sourcetype": "t"},
                {"event": "a line", "fields": {"region": "eu", "count": 7}},
                {"event": [1, "two"], "time": "1767330245.123456"},
                {"event": 1.5, "time": "2026-01-02T06:04:05.000001Z", "severity": "low"},
                {"event": {"n": 1}, "time": 1767337445123},
                # What the event itself has, as Docker's driver sends it, keeps its name.
                {"event": {"line": "x", "source": "stdout", "host": "h"}, "source": "docker", "host": "h"},
                {"event": {"a": 1, "region": "us"}, "fields": {"region": "eu"}},
            )
            answer = await post(served, token, body)
            assert (answer.status_code, answer.json()) == (200, SUCCESS)
            assert await rows(served, "logs") == [
                {
                    "_time": "2026-01-02T03:04:05Z",
                    "n": 2**63 - 1,
                    "http.status": 200,
                    "host": "h",
                    "source": "s",
                    "sourcetype": "t",
                },
                {"_time": "2026-01-02T04:04:05Z", "_raw": "a line", "region": "eu", "count": 7},
                {"_time": "2026-01-02T05:04:05.123456Z", "_raw": [1, "two"]},
                {"_time": "2026-01-02T06:04:05.000001Z", "_raw": 1.5, "severity": "low"},
                {"_time": "2026-01-02T07:04:05.123Z", "n": 1},
                {
                    "_time": "2026-01-02T08:04:05Z",
                    "line": "x",
                    "source": "stdout",
                    "host": "h",
                    "splunk.source": "docker",
                },
                {"_time": "2026-01-02T09:04:05Z", "a": 1, "region": "us", "splunk.fields.region": "eu"},
            ]

    asyncio.run(run())


def test_the_time_of_an_event_itself_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            body = (
                '{"event":{"n":1,"_time":"2026-01-02T03:04:05Z"}}'
                '{"event":{"n":2,"_time":"2026-01-02T03:04:06Z"},"time":1767323047}'
                '{"event":{"n":3,"_time":"whenever"},"time":null}'
            )
            assert (await post(served, token, body)).json() == SUCCESS
            first, second, third = await rows(served, "logs", "n")
            assert first == {"n": 1, "_time": "2026-01-02T03:04:05Z"}
            assert second == {"n": 2, "_time": "2026-01-02T03:04:07Z", "_user_time": "2026-01-02T03:04:06Z"}
            assert third["_user_time"] == "whenever"

    asyncio.run(run())


def test_events_go_where_their_index_says(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("a", "b", "c"):
                served.parts.lake.create(name)
            token = await token_for(served, "a", "b", "c", "missing")
            body = '{"event":"1","index":"a"}\n\n{"event":"2","index":"b"} {"event":"3"}'
            assert (await post(served, token, body, **{"X-Axiom-Dataset": "c"})).json() == SUCCESS
            assert (await post(served, token, body, f"{COLLECTOR}?index=c")).json() == SUCCESS
            texts = {name: [row["_raw"] for row in await rows(served, name, "_raw")] for name in ("a", "b", "c")}
            assert texts == {"a": ["1"], "b": ["2"], "c": ["1", "2", "3", "3"]}
            # An index that is none refuses its events, and no others.
            refused = await post(served, token, '{"event":"4","index":"a"}{"event":"5","index":"missing"}{"event":"6"}')
            assert refused.status_code == 400
            said = refused.json()
            assert (said["text"], said["code"], said["invalid-event-number"]) == ("Incorrect index", 7, 1)
            assert (said["stored"], said["refused"]) == (1, 2)
            assert [row["_raw"] for row in await rows(served, "a", "_raw")] == ["1", "4"]
            for body in ('{"event":1,"index":"missing"}', '{"event":1,"index":"c_"}', '{"event":1,"index":7}'):
                answer = await post(served, token, body)
                assert (answer.status_code, answer.json()["code"]) == (400, 7), body
            maker = await token_for(served, "*", orgCapabilities={"datasets": ["create"]})
            assert (await post(served, maker, '{"event":"new","index":"fresh"}')).json() == SUCCESS
            assert [row["_raw"] for row in await rows(served, "fresh")] == ["new"]

    asyncio.run(run())


def test_a_token_is_taken_from_every_place_that_senders_have(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            password = b64encode(f"x:{token}".encode()).decode()
            for authorization in (f"Splunk {token}", f"Bearer {token}", f"Basic {password}"):
                answer = await ask(
                    served, "POST", COLLECTOR, content='{"event":1}', headers={"Authorization": authorization}
                )
                assert answer.json() == SUCCESS
            answer = await ask(served, "POST", f"{COLLECTOR}/event?token={token}", content='{"event":1}')
            assert answer.json() == SUCCESS
            for headers, status, text, code in (
                ({}, 401, "Token is required", 2),
                ({"Authorization": "Digest x"}, 401, "Invalid authorization", 3),
                ({"Authorization": "Splunk"}, 401, "Invalid authorization", 3),
                ({"Authorization": "Splunk xaat-none"}, 403, "Invalid token", 4),
            ):
                answer = await ask(served, "POST", COLLECTOR, content='{"event":1}', headers=headers)
                said = answer.json()
                assert (answer.status_code, said["text"], said["code"]) == (status, text, code)
                assert said["detail"]

    asyncio.run(run())


REFUSED = [
    ('{"events":1}', 12, "Event field is required"),
    ('{"event":null}', 12, "Event field is required"),
    ('{"event":""}', 13, "Event field cannot be blank"),
    ('{"event":{}}', 13, "Event field cannot be blank"),
    ('{"event":1,"fields":[1]}', 15, "Error in handling indexed fields"),
    ('{"event":1,"time":"noon"}', 6, "Invalid data format"),
    ('{"event":{"a":1,}}', 6, "Invalid data format"),
    ('{"event":{"%s":1}}' % ("x" * 201), 6, "Invalid data format"),
    ("nonsense", 6, "Invalid data format"),
]


def test_a_refused_event_is_named_and_costs_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            for bad, code, text in REFUSED:
                answer = await post(served, token, f'{{"event":"1"}}\n{bad}\n{{"event":"2"}}\n{{"event":"3"}}')
                said = answer.json()
                assert (answer.status_code, said["code"], said["text"]) == (400, code, text)
                assert (said["invalid-event-number"], said["refused"], said["stored"]) == (1, 1, 3)
                assert "event 1: " in said["detail"]
                alone = await post(served, token, bad)
                assert (alone.status_code, alone.json()["code"]) == (400, code)
            stored = [row["_raw"] for row in await rows(served, "logs", "_raw")]
            assert stored == ["1"] * len(REFUSED) + ["2"] * len(REFUSED) + ["3"] * len(REFUSED)
            for body in ("", "  \n ", "[]"):
                answer = await post(served, token, body)
                assert (answer.status_code, answer.json()["text"], answer.json()["code"]) == (400, "No data", 5)

    asyncio.run(run())


def test_lines_of_text_are_events(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            path = f"{COLLECTOR}/raw?host=h&sourcetype=t&source=a%20b&index=logs&time=1767323045.5"
            for suffix in ("/raw", "/raw/1.0"):
                body = gzip.compress("first\r\n\n\u2028second \u20ac\n".encode())
                answer = await post(served, token, body, path.replace("/raw", suffix), **{"Content-Encoding": "gzip"})
                assert answer.json() == SUCCESS
            common = {"_time": "2026-01-02T03:04:05.5Z", "host": "h", "sourcetype": "t", "source": "a b"}
            texts = ["first", "first", "\u2028second \u20ac", "\u2028second \u20ac"]
            assert await rows(served, "logs", "_raw") == [{"_raw": text, **common} for text in texts]
            refused = (await post(served, token, b"third\n\xff\nfourth", f"{COLLECTOR}/raw")).json()
            assert (refused["code"], refused["invalid-event-number"], refused["stored"]) == (6, 1, 2)
            when = await post(served, token, b"x", f"{COLLECTOR}/raw?time=noon")
            assert (when.status_code, when.json()["code"]) == (400, 6)
            anywhere = await post(served, await token_for(served, "logs", "b"), b"x", f"{COLLECTOR}/raw")
            assert (anywhere.status_code, anywhere.json()["code"]) == (400, 7)

    asyncio.run(run())


def test_what_a_channel_was_answered_is_acknowledged_also_after_a_restart(tmp_path: Path) -> None:
    async def acknowledged(served: Serving, token: str, *ids: int) -> dict[str, bool]:
        answer = await post(served, token, json.dumps({"acks": ids}), f"{COLLECTOR}/ack", **CHANNEL)
        acks: dict[str, bool] = answer.json()["acks"]
        return acks

    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            first = (await post(served, token, '{"event":1}', **CHANNEL)).json()
            second = (await post(served, token, "x", f"{COLLECTOR}/raw?channel=c")).json()
            assert {**first, "ackId": 0} == {**SUCCESS, "ackId": 0}
            assert second["ackId"] > first["ackId"]
            unknown = second["ackId"] + 3_600_000_000
            assert await acknowledged(served, token, first["ackId"], second["ackId"], unknown) == {
                str(first["ackId"]): True,
                str(second["ackId"]): True,
                str(unknown): False,
            }
            for path, body, status, code in (
                ("/ack", '{"acks":[1]}', 400, 10),
                ("/ack?channel=c", "", 400, 5),
                ("/ack?channel=c", '{"acks":["x"]}', 400, 6),
                ("/ack?channel=c", "[" * 100_000, 400, 6),
                ("/ack?channel=c", " " * (1024 * 1024 + 1), 413, 6),
            ):
                answer = await post(served, token, body, COLLECTOR + path)
                assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body[:20])
            assert (await post(served, "none", '{"acks":[1]}', f"{COLLECTOR}/ack?channel=c")).status_code == 403
        assert Acknowledgements().is_given(first["ackId"])

    asyncio.run(run())


def test_ids_of_acknowledgements_rise_also_where_the_clock_stands() -> None:
    acknowledgements = Acknowledgements()
    given = [acknowledgements.next() for _ in range(1000)]

    assert given == sorted(set(given))
    assert all(map(acknowledgements.is_given, given))
    assert not acknowledgements.is_given(-1)


def test_its_health_is_told_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for path in ("/health", "/health/1.0"):
                answer = await ask(served, "GET", COLLECTOR + path)
                assert (answer.status_code, answer.json()) == (200, {"text": "HEC is healthy", "code": 17})
            served.parts.service.close()
            answer = await ask(served, "GET", f"{COLLECTOR}/health")
            assert (answer.status_code, answer.json()["code"]) == (503, 23)
            monkeypatch.setattr(served.parts.service, "_closed", DiskFull("full"))
            answer = await ask(served, "GET", f"{COLLECTOR}/health")
            assert (answer.status_code, answer.json()["code"]) == (503, 18)

    asyncio.run(run())


def test_what_may_be_sent_again_is_answered_with_what_clients_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            token = await token_for(served, "logs")
            for error, code in ((Overloaded("busy", retry_after_s=3), 9), (ShuttingDown("bye", retry_after_s=3), 23)):
                monkeypatch.setattr(served.parts.service, "check_dataset", Mock(side_effect=error))
                answer = await post(served, token, '{"event":1}{"event":2}')
                assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, code, "3")
            answer = await ask(served, "GET", COLLECTOR)
            assert (answer.status_code, answer.json()["text"]) == (405, "Method not allowed")

    asyncio.run(run())


names = st.sampled_from(["a", "b", "host", "source", "_raw", "_time", "region"])
scalars = st.one_of(
    st.text(max_size=5),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)
events = st.one_of(scalars.filter(lambda each: each != ""), st.dictionaries(names, scalars, min_size=1, max_size=4))
envelopes = st.fixed_dictionaries(
    {"event": events},
    optional={
        "time": st.integers(0, 2_000_000_000),
        "host": st.text(max_size=3),
        "fields": st.dictionaries(names.filter(lambda name: name != "_time"), scalars, max_size=3),
    },
)


@given(st.lists(envelopes, min_size=1, max_size=8), st.sampled_from(["", "\n", " \r\n\t"]), st.booleans())
def test_whatever_is_sent_is_in_the_events(sent: list[dict[str, Any]], between: str, as_array: bool) -> None:
    texts = [json.dumps(each) for each in sent]
    body = f"[{','.join(texts)}]" if as_array else between.join(texts)
    collector = EventCollector(Limits(), RECEIVED_NS)
    collect_envelopes(
        body.encode(), collector, Destination("", lambda: "logs"), limits=Limits(), received_ns=RECEIVED_NS
    )
    parsed = collector.batches()["logs"]

    assert collector.rejections == []
    assert (parsed.count, parsed.rejections) == (len(sent), ())
    for envelope, line, time_ns in zip(sent, parsed.events.splitlines(), parsed.times.tolist(), strict=True):
        stored = json.loads(line)
        event = envelope["event"]
        own = event if isinstance(event, dict) else {"_raw": event}
        for name, value in own.items():
            at = "_user_time" if name == "_time" and "_user_time" in stored else name
            assert stored[at] == value
        for prefix, more in (("splunk.fields", envelope.get("fields", {})), ("splunk", {"host": envelope.get("host")})):
            for name, value in more.items():
                assert value is None or value in (stored.get(name), stored.get(f"{prefix}.{name}"))
        if "time" in envelope:
            assert time_ns == envelope["time"] * 1_000_000_000


@given(st.binary(max_size=200))
def test_no_body_is_more_than_refused(body: bytes) -> None:
    readers = (
        partial(collect_envelopes, limits=Limits(), received_ns=RECEIVED_NS),
        partial(collect_lines, time_ns=RECEIVED_NS),
    )
    for read in readers:
        collector = EventCollector(Limits(), RECEIVED_NS)
        with suppress(BadRequest):
            read(body, collector, Destination("logs", str))
            collector.batches()
