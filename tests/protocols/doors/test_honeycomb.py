"""Honeycomb's API for events: single ones, batches and markers, in JSON and MessagePack."""

import asyncio
import gzip
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.doors import ask, rows, token_for
from support.serving import Serving, serving

from tailrace.events import BadRequest, Overloaded, TooLarge
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.honeycomb_events import collect_batch, collect_event

PACKED = {"Content-Type": "application/msgpack"}
JSON = {"Content-Type": "application/json"}
RECEIVED_NS = 1_767_323_045_123_456_789


async def post(served: Serving, token: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await ask(served, "POST", path, content=content, headers={"X-Honeycomb-Team": token, **JSON} | headers)


def test_an_event_has_the_time_and_the_rate_of_its_headers(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            event = {"n": 2**63 - 1, "a": {"b": 1.5}}
            for when in ("2026-01-02T03:04:05.123456Z", "1767323045.123456", "1767323045123456"):
                headers = {"X-Honeycomb-Event-Time": when, "X-Honeycomb-Samplerate": "4"}
                answer = await post(served, token, "/1/events/logs", event, **headers)
                assert (answer.status_code, answer.content) == (200, b"")
            packed = msgspec.msgpack.encode(event)
            headers["Content-Encoding"] = "zst"
            body = bytes(pa.compress(packed, codec="zstd", asbytes=True))
            assert (await post(served, token, "/1/events/logs", body, **headers, **PACKED)).status_code == 200
            stored = {"_time": "2026-01-02T03:04:05.123456Z", "n": 2**63 - 1, "a.b": 1.5, "samplerate": 4}
            assert await rows(served, "logs") == [stored] * 4
            for body, more, reason in (
                (b"[1]", {}, "not the fields of an event"),
                (b"{}", {}, "no data"),
                (b"{", {}, "not the fields of an event"),
                (b"\x91\x01", PACKED, "an object"),
                (b'{"a":1}', {"X-Honeycomb-Event-Time": "noon"}, "invalid time"),
                (b'{"a":1}', {"X-Honeycomb-Samplerate": "1.5"}, "whole number"),
                (b'{"%s":1}' % (b"x" * 201), {}, "max_name_bytes"),
            ):
                answer = await post(served, token, "/1/events/logs", body, **more)
                assert answer.status_code == 400, body
                assert reason in answer.json()["error"]

    asyncio.run(run())


def test_each_event_of_a_batch_has_its_status_and_costs_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            elements = [
                '{"time":"2026-01-02T03:04:05Z","samplerate":2,"data":{"n":1,"samplerate":9}}',
                '{"data":{}}',
                '{"time":"noon","data":{"n":2}}',
                '{"data":{"n":}}',
                '{"data":[1]}',
                "7",
                '{"data":{"%s":1}}' % ("x" * 201),
                '{"time":1767323046,"data":{"n":3,"_time":"own"},"dataset":"d"}',
            ]
            answer = await post(served, token, "/1/batch/logs", f"[{','.join(elements)}]".encode())
            statuses = answer.json()
            assert (answer.status_code, [each["status"] for each in statuses]) == (200, [202, *[400] * 6, 202])
            assert all(("error" in each) == (each["status"] == 400) for each in statuses)
            assert await rows(served, "logs") == [
                {"_time": "2026-01-02T03:04:05Z", "n": 1, "samplerate": 9, "honeycomb.samplerate": 2},
                {"_time": "2026-01-02T03:04:06Z", "n": 3, "_user_time": "own", "dataset": "d"},
            ]
            assert (await post(served, token, "/1/batch/logs", [])).json() == []
            for body in (b"{}", b"", b'{"data":{"n":1}}', b"[{"):
                assert (await post(served, token, "/1/batch/logs", body)).status_code == 400

    asyncio.run(run())


def test_a_packed_batch_is_exact(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            when = struct.pack(">BBQ", 0xD7, 0xFF, 123_456_000 << 34 | 1767323045)
            good = b"\x82\xa4time" + when + b"\xa4data\x83\xa1n\xcf" + b"\x7f" + b"\xff" * 7 + b"\xa1t" + when
            good += b"\xa1i\xcb\x7f\xf0" + b"\0" * 6
            bad = b"\x81\xa4data\x81\xa1n\xa1\xff"
            body = gzip.compress(b"\x93" + good + bad + good)
            answer = await post(served, token, "/1/batch/logs", body, **PACKED, **{"Content-Encoding": "gzip"})
            assert [each["status"] for each in answer.json()] == [202, 400, 202]
            stored = {
                "_time": "2026-01-02T03:04:05.123456Z",
                "n": 2**63 - 1,
                "t": "2026-01-02T03:04:05.123456Z",
                "i": "Infinity",
            }
            assert await rows(served, "logs") == [stored] * 2
            many = b"\xdd" + (200_000).to_bytes(4, "big") + b"\x80" * 200_000
            assert (await post(served, token, "/1/batch/logs", many, **PACKED)).status_code == 413

    asyncio.run(run())


def test_the_path_names_the_dataset(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("a.b", "My-Dataset", "other"):
                served.parts.lake.create(name)
            token = await token_for(served, "a.b", "My-Dataset", "missing")
            for path in ("a.b", "a%2Eb", "My%20Dataset", "My%2FDataset"):
                assert (await post(served, token, f"/1/events/{path}", {"n": 1})).status_code == 200
            assert [len(await rows(served, name)) for name in ("a.b", "My-Dataset")] == [2, 2]
            for path, status in (("missing", 404), ("other", 403)):
                for kind, body in (("events", {"n": 1}), ("batch", [{"data": {"n": 1}}])):
                    answer = await post(served, token, f"/1/{kind}/{path}", body)
                    assert (answer.status_code, list(answer.json())) == (status, ["error"])
            maker = await token_for(served, "*", orgCapabilities={"datasets": ["create"]})
            assert (await post(served, maker, "/1/events/fresh", {"n": 1})).status_code == 200

    asyncio.run(run())


def test_a_marker_is_an_event(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            marker = {"start_time": 1767323045, "end_time": 1767323046, "message": "deploy", "type": "x", "url": "u"}
            answer = await post(served, token, "/1/markers/logs", marker)
            told = answer.json()
            assert answer.status_code == 201
            assert {**told, **marker} == told
            assert told["id"]
            everywhere = await post(served, token, "/1/markers/__all__", {"message": "again"})
            assert everywhere.status_code == 201
            first, second = await rows(served, "logs")
            assert first == {
                "_time": "2026-01-02T03:04:05Z",
                "type": "marker",
                **{f"marker.{name}": value for name, value in told.items()},
            }
            assert second["marker.message"] == "again"
            digits = b"1" * 5000
            long = await post(served, token, "/1/markers/logs", b'{"build":%b}' % digits)
            assert (long.status_code, digits in long.content) == (201, True)
            for body in (b"[]", b'{"start_time":"noon"}', b'{"type":1}', b'{"end_time":1.5}', b"{"):
                assert (await post(served, token, "/1/markers/logs", body)).status_code == 400
            assert (await post(served, token, "/1/markers/logs", b" " * 70_000)).status_code == 413

    asyncio.run(run())


def test_a_key_is_told_what_it_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            token = await token_for(served, "logs")
            told = (await ask(served, "GET", "/1/auth", headers={"X-Honeycomb-Team": token})).json()
            assert told["api_key_access"] == {"events": True, "markers": True, "createDatasets": False}
            assert told["team"]["slug"]
            for headers in ({}, {"X-Honeycomb-Team": "none"}):
                answer = await ask(served, "GET", "/1/auth", headers=headers)
                assert (answer.status_code, list(answer.json())) == (401, ["error"])
                assert (await ask(served, "POST", "/1/batch/logs", content="[]", headers=headers)).status_code == 401
            monkeypatch.setattr(
                served.parts.service, "check_dataset", Mock(side_effect=Overloaded("busy", retry_after_s=3))
            )
            answer = await post(served, token, "/1/batch/logs", [{"data": {"n": 1}}])
            assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (429, {"error": "busy"}, "3")

    asyncio.run(run())


scalars = st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.booleans())
fields = st.dictionaries(st.sampled_from(["a", "samplerate", "_time", "x.y"]), scalars, min_size=1)
envelopes = st.fixed_dictionaries(
    {"data": fields}, optional={"time": st.integers(0, 2_000_000_000), "samplerate": st.integers(1, 100)}
)


@given(st.lists(envelopes, max_size=8), st.booleans())
def test_whatever_is_sent_is_in_the_events(sent: list[dict[str, Any]], is_packed: bool) -> None:
    collector = EventCollector(Limits(), RECEIVED_NS)
    body = msgspec.msgpack.encode(sent) if is_packed else json.dumps(sent).encode()
    count = collect_batch(body, collector, "d", is_packed=is_packed, limits=Limits(), received_ns=RECEIVED_NS)
    batches = collector.batches()

    assert (count, collector.rejections) == (len(sent), [])
    times = batches["d"].times.tolist() if batches else []
    lines = batches["d"].events.splitlines() if batches else []
    for envelope, line, time_ns in zip(sent, lines, times, strict=True):
        event = json.loads(line)
        for name, value in envelope["data"].items():
            if name != "_time" or "_user_time" in event:  # else it is the time of the event
                assert event["_user_time" if name == "_time" else name] == value
        if "samplerate" in envelope:
            assert envelope["samplerate"] in (event["samplerate"], event.get("honeycomb.samplerate"))
        if "time" in envelope:
            assert time_ns == envelope["time"] * 1_000_000_000


@given(st.binary(max_size=100), st.booleans())
def test_no_body_is_more_than_refused(body: bytes, is_packed: bool) -> None:
    collector = EventCollector(Limits(), RECEIVED_NS)
    with suppress(BadRequest, TooLarge):
        collect_batch(body, collector, "d", is_packed=is_packed, limits=Limits(), received_ns=RECEIVED_NS)
    with suppress(BadRequest, TooLarge):
        collect_event(body, collector, "d", is_packed=is_packed, envelope={}, limits=Limits(), received_ns=RECEIVED_NS)
    collector.batches()
