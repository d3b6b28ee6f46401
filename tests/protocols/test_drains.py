"""Log drains of Cloudflare, Vercel and Netlify: what they send is stored, and their checks of an endpoint pass."""

import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from support.serving import Serving, serving

ROUTES = ("/v1/datasets/logs/ingest", "/v1/ingest/logs")
# Cloudflare, "Enable HTTP destination": the file by which a destination is validated, and "HTTP requests", its fields.
TEST_FILE = gzip.compress(b'{"content":"tests"}')
LOGPUSH = (
    b'{"ClientIP":"192.0.2.1","ClientRequestHost":"example.com","EdgeResponseStatus":200,'
    b'"EdgeStartTimestamp":"2026-01-02T03:04:05Z","RayID":"3a6050bcbe121a87"}\n'
    b'{"ClientIP":"192.0.2.2","ClientRequestHost":"example.com","EdgeResponseStatus":404,'
    b'"EdgeStartTimestamp":"2026-01-02T03:04:06Z","RayID":"3a6050bcbe121a88"}\n'
)
# Vercel, "Log Drains Reference".
VERCEL = [
    {
        "id": "1573817187330377061717300000",
        "message": "Adding customer to database...",
        "timestamp": 1573817187330,
        "type": "stdout",
        "source": "lambda",
        "projectId": "gdufoJxB6b9b1fEqr1jUtFkyavUU",
        "deploymentId": "dpl_233NRGRjVZX1caZrXWtz5g1TAksD",
        "host": "example.vercel.app",
        "requestId": "643af4e3-975a-4cc7-9e7a-1eda11539d90",
        "statusCode": 200,
        "proxy": {"timestamp": 1573817250172, "method": "GET", "path": "/api"},
    },
    {
        "id": "1573817250283254651097202070",
        "timestamp": 1573817250283,
        "source": "static",
        "host": "example.vercel.app",
    },
]
# Netlify, "Log Drains", traffic logs.
NETLIFY = [
    {
        "log_type": "traffic",
        "timestamp": "2022-02-28T22:22:28.543Z",
        "account_id": "abc",
        "status_code": 200,
        "duration": 15,
        "url": "https://example.com/",
    }
]


def run(directory: Path, test: Callable[[Serving, str], Awaitable[None]]) -> None:
    async def serve() -> None:
        async with serving(directory) as served:
            served.parts.lake.create("logs")
            made = {"name": "drain", "datasetCapabilities": {"logs": {"ingest": ["create"]}}}
            await test(served, (await served.client.post("/v2/tokens", json=made)).json()["token"])

    asyncio.run(serve())


async def send(
    served: Serving, token: str, body: bytes, headers: Mapping[str, str], path: str = ROUTES[0]
) -> httpx.Response:
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.post(path, content=body, headers={"Authorization": f"Bearer {token}", **headers})


async def events_of(served: Serving, without: str = "_time, _sysTime") -> list[dict[str, Any]]:
    return await asyncio.to_thread(served.parts.rows, "logs", without)


def test_a_file_of_logpush_is_inflated_whatever_its_headers_say(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        media = ("text/plain; charset=utf-8", "application/gzip", "application/json")
        types = [{}, *({"Content-Type": each} for each in media)]
        for headers in (*types, {**types[1], "Content-Encoding": "gzip"}):
            assert (await send(served, token, TEST_FILE, headers)).json()["ingested"] == 1
            path = f"{ROUTES[1]}?timestamp-field=EdgeStartTimestamp"
            answer = await send(served, token, gzip.compress(LOGPUSH), headers, path)
            assert (answer.status_code, answer.json()["ingested"]) == (200, 2), answer.text
            assert answer.json()["processedBytes"] == len(LOGPUSH)
        stored = await events_of(served, "_sysTime")
        times = sorted(event["_time"] for event in stored if "RayID" in event)
        assert times == ["2026-01-02T03:04:05Z"] * 5 + ["2026-01-02T03:04:06Z"] * 5

    run(tmp_path, test)


def test_what_is_not_gzip_beyond_its_first_bytes_is_refused_and_what_inflates_too_far(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        plain = {"Content-Type": "text/plain"}
        for body, status, reason in (
            (TEST_FILE[:-3], 400, "broken gzip data"),
            (b"\x1f\x8bx", 400, "broken gzip data"),
            (gzip.compress(TEST_FILE), 400, "gzip data once more"),
            (gzip.compress(b"hello"), 415, "JSON by its first byte"),
            (gzip.compress(b"[" + b" " * (65 * 1024 * 1024), 1), 413, "max_body_bytes"),
        ):
            answer = await send(served, token, body, plain)
            assert (answer.status_code, reason in answer.json()["message"]) == (status, True), answer.text
        assert await events_of(served) == []

    run(tmp_path, test)


def test_vercel_checks_an_endpoint_and_sends_to_it(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        own = {"x-vercel-verify": "2eb9f3a1c0de-key", "Content-Type": "application/json"}
        for path in ROUTES:
            checked = await send(served, token, b"{}", own, path)
            assert (checked.status_code, checked.headers["x-vercel-verify"]) == (200, "2eb9f3a1c0de-key")
            assert checked.json()["ingested"] == 0
        forged = await send(served, token, b"{}", {**own, "x-vercel-verify": "a b\tc"})
        assert "x-vercel-verify" not in forged.headers
        assert (await send(served, "no-such", b"{}", own)).status_code == 401
        assert await events_of(served) == []

        for body, media in (
            (json.dumps(VERCEL).encode(), "application/json"),
            (b"\n".join(json.dumps(each).encode() for each in VERCEL), "application/x-ndjson"),
        ):
            signature = hmac.new(b"secret", body, hashlib.sha1).hexdigest()
            headers = {**own, "Content-Type": media, "x-vercel-signature": signature}
            answer = await send(served, token, body, headers, f"{ROUTES[0]}?timestamp-field=timestamp")
            assert (answer.status_code, answer.json()["ingested"]) == (200, 2)
        stored = await events_of(served, "_sysTime")
        assert [event["_time"] for event in stored if event["source"] == "lambda"] == ["2019-11-15T11:26:27.33Z"] * 2
        assert {event["proxy.method"] for event in stored if event["source"] == "lambda"} == {"GET"}

    run(tmp_path, test)


def test_netlify_sends_json_or_lines(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        path = f"{ROUTES[1]}?timestamp-field=timestamp"
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in NETLIFY)
        for body, media in ((json.dumps(NETLIFY).encode(), "application/json"), (lines, "application/x-ndjson")):
            assert (await send(served, token, body, {"Content-Type": media}, path)).json()["ingested"] == 1
        # An empty object, which is Vercel's check with Vercel's header, is an event of any other client.
        assert (await send(served, token, b"{}", {}, path)).json()["ingested"] == 1
        stored = await events_of(served, "_sysTime")
        assert [(event["_time"], event["duration"]) for event in stored if "url" in event] == [
            ("2022-02-28T22:22:28.543Z", 15)
        ] * 2

    run(tmp_path, test)
