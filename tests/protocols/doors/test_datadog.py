"""Datadog's intake of logs: bodies, keys, tags, and what is said of logs that are refused."""

import asyncio
import gzip
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.doors import ask, rows, token_for
from support.serving import Serving, serving

from tailrace.events import BadRequest, Overloaded
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.datadog_logs import collect_lines, parse_logs, with_tags

LOGS = "/api/v2/logs"
RECEIVED_NS = 1_767_323_045_123_456_789
LOG = {
    "message": "hello €",
    "ddsource": "nginx",
    "ddtags": "env:staging",
    "hostname": "web-1",
    "service": "pay",
    "status": "info",
    "timestamp": 1767323045123,
    "http": {"status_code": 200},
    "big": 2**63 - 1,
}
STORED = {
    "_time": "2026-01-02T03:04:05.123Z",
    **{name: value for name, value in LOG.items() if name != "http"},
    "http.status_code": 200,
}


async def post(served: Serving, token: str, body: Any, path: str = LOGS, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"Content-Type": "application/json", "DD-API-KEY": token}
    return await ask(served, "POST", path, content=content, headers=kind | headers)


def test_logs_of_every_shape_and_encoding_are_stored(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            array, single = json.dumps([LOG]).encode(), json.dumps(LOG).encode()
            zstd = bytes(pa.compress(array, codec="zstd", asbytes=True))
            for body, headers in (
                (array, {}),
                (single, {}),
                (single + b"\n" + single + b"\n", {}),
                (gzip.compress(array), {"Content-Encoding": "gzip"}),
                (zlib.compress(array), {"Content-Encoding": "deflate"}),
                (zstd, {"Content-Encoding": "zstd"}),
            ):
                answer = await post(served, token, body, **headers)
                assert (answer.status_code, answer.json()) == (202, {}), answer.text
            for path in ("/datadog/api/v2/logs", f"{LOGS}?dd-api-key={token}"):
                answer = await ask(served, "POST", path, content=array, headers={"DD-API-KEY": token})
                assert answer.status_code == 202
            for path, key in ((f"/v1/input/{token}", {}), ("/v1/input", {"DD-API-KEY": token})):
                for mount in ("", "/datadog"):
                    answer = await ask(served, "POST", mount + path, content=array, headers=key)
                    assert (answer.status_code, answer.json()) == (200, {})
            for probe in (b" {} ", b"[]", b""):
                assert (await post(served, token, probe)).status_code == 202
            assert await rows(served, "logs") == [STORED] * 13

    asyncio.run(run())


def test_lines_of_text_are_messages(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            path = f"{LOGS}?ddsource=nginx&ddtags=env%3Ax&service=pay&hostname=h"
            body = b'[2026] a\r\n\n{"b": 1}\n'
            assert (await post(served, token, body, path, **{"Content-Type": "text/plain"})).status_code == 202
            assert (await post(served, token, b"plain", **{"Content-Type": "application/x-form"})).status_code == 202
            common = {"ddsource": "nginx", "ddtags": "env:x", "service": "pay", "hostname": "h"}
            found = [{**row, "_time": ""} for row in await rows(served, "logs", "message")]
            assert found == [
                {"_time": "", "message": "[2026] a", **common},
                {"_time": "", "message": "plain"},
                {"_time": "", "message": '{"b": 1}', **common},
            ]
            refused = await post(served, token, b"a\n\xff\nb", **{"Content-Type": "text/plain"})
            assert (refused.status_code, len(refused.json()["errors"])) == (400, 1)

    asyncio.run(run())


def test_tags_of_the_request_join_those_of_a_log_and_may_name_the_dataset(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("a", "b", "c"):
                served.parts.lake.create(name)
            token = await token_for(served, "a", "b", "c")
            logs = [
                {"n": 1, "ddtags": "x:1", "timestamp": 1},
                {"n": 2, "ddtags": "dataset:b,x:2", "timestamp": "2026-01-02T03:04:05.000000001Z", "_time": "own"},
                {"n": 3},
            ]
            assert (await post(served, token, logs, f"{LOGS}?ddtags=dataset:a,env:p")).status_code == 202
            first, third = await rows(served, "a", "n")
            assert first == {
                "n": 1, "ddtags": "x:1,dataset:a,env:p", "timestamp": 1, "_time": "1970-01-01T00:00:01Z",
            }  # fmt: skip
            assert {**third, "_time": ""} == {"n": 3, "_time": "", "ddtags": "dataset:a,env:p"}
            (second,) = await rows(served, "b")
            assert second["ddtags"] == "dataset:b,x:2,dataset:a,env:p"
            assert second["_user_time"] == "own"
            # The header prevails; without one, what names no dataset costs no other log.
            assert (await post(served, token, logs, **{"X-Axiom-Dataset": "c"})).status_code == 202
            assert [row["n"] for row in await rows(served, "c", "n")] == [1, 2, 3]
            partly = await post(served, token, logs)
            assert partly.status_code == 400
            assert [each["detail"].partition(":")[0] for each in partly.json()["errors"]] == ["event 0", "event 2"]
            assert len(await rows(served, "b")) == 2
            lost = await post(served, token, [{"ddtags": "dataset:b"}, {"ddtags": "dataset:gone"}])
            assert lost.status_code == 400
            assert "'gone'" in lost.json()["errors"][0]["detail"]
            assert len(await rows(served, "b")) == 3

    asyncio.run(run())


def test_a_refused_log_is_named_and_costs_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            bad = ['"text"', '{"a":}', '{"%s":1}' % ("x" * 201), ""]
            body = '[{"n":1},' + ",".join(bad) + ',{"n":2}]'
            answer = await post(served, token, body.encode())
            assert answer.status_code == 400
            errors = answer.json()["errors"]
            assert [each["detail"].partition(":")[0] for each in errors] == [f"event {at}" for at in (1, 2, 3, 4)]
            assert {(each["status"], each["title"]) for each in errors} == {("400", "Bad Request")}
            lines = await post(served, token, b'{"n":3}\n{"n":\n{"n":4}\n')
            assert [each["detail"].partition(":")[0] for each in lines.json()["errors"]] == ["event 1"]
            assert [row["n"] for row in await rows(served, "logs", "n")] == [1, 2, 3, 4]

    asyncio.run(run())


def test_errors_have_the_shape_and_the_headers_that_clients_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            for path, headers, status in (
                (LOGS, {}, 401),
                (LOGS, {"DD-API-KEY": "none"}, 403),
                ("/v1/input/0123456789abcdef0123456789abcdef", {}, 403),
                ("/v1/input", {}, 401),
                (LOGS, {"DD-API-KEY": token, "X-Axiom-Dataset": "other"}, 403),
                (LOGS, {"DD-API-KEY": token, "Content-Encoding": "lzma"}, 415),
            ):
                answer = await ask(served, "POST", path, content=b'{"a":1}', headers=headers)
                (error,) = answer.json()["errors"]
                assert (answer.status_code, error["status"]) == (status, str(status))
            monkeypatch.setattr(
                served.parts.service, "check_dataset", Mock(side_effect=Overloaded("busy", retry_after_s=3))
            )
            answer = await post(served, token, [LOG])
            assert (answer.status_code, answer.headers["x-ratelimit-reset"], answer.headers["retry-after"]) == (
                429,
                "3",
                "3",
            )

    asyncio.run(run())


def test_whether_a_key_is_valid_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            token = await token_for(served, "logs")
            for path in ("/api/v1/validate", "/datadog/api/v1/validate"):
                answer = await ask(served, "GET", path, headers={"DD-API-KEY": token})
                assert (answer.status_code, answer.json()) == (200, {"valid": True})
                for headers in ({}, {"DD-API-KEY": "none"}):
                    answer = await ask(served, "GET", path, headers=headers)
                    assert (answer.status_code, answer.json()) == (403, {"errors": ["Forbidden"]})

    asyncio.run(run())


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "ddtags", "timestamp", "message"]), st.text(max_size=9)), max_size=9
    ),
    st.sampled_from(["array", "lines", "together"]),
    st.sampled_from(["", "env:x"]),
)
def test_every_log_is_there_with_its_values(logs: list[dict[str, str]], shape: str, tags: str) -> None:
    texts = [json.dumps(log) for log in logs]
    body = f"[{','.join(texts)}]" if shape == "array" else ("\n" if shape == "lines" else "").join(texts)
    parsed = parse_logs(body.encode(), Limits(), RECEIVED_NS)
    collector = EventCollector(Limits(), RECEIVED_NS)
    with_tags(parsed, collector, lambda: "d", tags, tags_decide=False)
    batches = collector.batches()

    assert not collector.rejections
    stored = [json.loads(line) for line in batches["d"].events.splitlines()] if batches else []
    assert len(stored) == len(logs)
    for event, log in zip(stored, logs, strict=True):
        joined = {"ddtags": f"{log['ddtags']},{tags}"} if log.get("ddtags") and tags else {}
        assert {name: value for name, value in event.items() if name != "_time"} == {**log, **joined}


@given(st.binary(max_size=200))
def test_no_body_is_more_than_refused(body: bytes) -> None:
    collector = EventCollector(Limits(), RECEIVED_NS)
    collect_lines(body, collector, "d")
    collector.batches()
    with suppress(BadRequest):
        with_tags(parse_logs(body, Limits(), RECEIVED_NS), collector, lambda: "d", "a:b", tags_decide=True)
