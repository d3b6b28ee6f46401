"""GELF by HTTP: a message is an event, the token may be in the path, and nothing shows it there."""

import asyncio
import gzip
import json
import logging
import zlib
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
from support.serving import Serving, serving

GOOD = {"version": "1.1", "host": "web-1", "short_message": "hello", "timestamp": 1767323045.25, "_n": 1}
STORED = {"_time": "2026-01-02T03:04:05.25Z", "message": "hello", "host": "web-1", "n": 1}


async def token_of(served: Serving, *datasets: str) -> str:
    capabilities = {name: {"ingest": ["create"]} for name in datasets}
    answer = await served.client.post("/v2/tokens", json={"name": "t", "datasetCapabilities": capabilities})
    secret: str = answer.json()["token"]
    return secret


async def rows_of(served: Serving, dataset: str) -> list[dict[str, Any]]:
    query = f'SELECT * EXCLUDE (_sysTime) FROM "{dataset}" ORDER BY _time'
    answer = await served.client.post("/tailrace/v1/sql", json={"sql": query})
    return [{name: value for name, value in row.items() if value is not None} for row in answer.json()["rows"]]


def anonymous(served: Serving) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1")


def test_a_message_is_taken_with_its_token_anywhere_and_however_it_is_compressed(tmp_path: Path) -> None:
    sent = json.dumps(GOOD).encode()

    async def run() -> None:
        async with serving(tmp_path) as served, anonymous(served) as client:
            served.parts.lake.create("d")
            token = await token_of(served, "d")
            bearer = {"Authorization": f"Bearer {token}"}
            requests: list[tuple[str, bytes, dict[str, str]]] = [
                ("/gelf", sent, bearer),
                ("/gelf/", sent, bearer),
                (f"/gelf/{token}", sent, {}),
                (f"/gelf/{token}", json.dumps(GOOD, indent=1).encode(), {"Content-Type": "application/json"}),
                (f"/gelf/{token}", gzip.compress(sent), {}),
                (f"/gelf/{token}", zlib.compress(sent), {"Content-Encoding": "gzip,deflate"}),
                (f"/gelf/{token}", brotli.compress(sent), {"Content-Encoding": "br"}),
                (f"/gelf/{token}", sent + b"\n", {"Content-Encoding": "gzip"}),
            ]
            for path, body, headers in requests:
                answer = await client.post(path, content=body, headers=headers)
                assert (answer.status_code, answer.content) == (202, b""), (path, headers, answer.text)
            assert await rows_of(served, "d") == [STORED] * len(requests)

    asyncio.run(run())


def test_messages_a_line_are_taken_one_by_one(tmp_path: Path) -> None:
    lines = [json.dumps({**GOOD, "_dataset": "d"}), "", "{}", "[", json.dumps({**GOOD, "_dataset": "e"}), "{"]

    async def run() -> None:
        async with serving(tmp_path) as served, anonymous(served) as client:
            served.parts.lake.create("d")
            served.parts.lake.create("e")
            token = await token_of(served, "d", "e")
            answer = await client.post(f"/gelf/{token}", content="\r\n".join(lines))
            assert answer.status_code == 400
            assert answer.text.startswith("3 of 5 messages were refused, the others are stored: number 1: the message")
            for name in ("d", "e"):
                assert await rows_of(served, name) == [{**STORED, "dataset": name}]
            none = await client.post(f"/gelf/{token}", content=json.dumps(GOOD))
            assert none.text.startswith("1 messages were refused, none is stored: number 0: no dataset is named")
            named = await client.post(
                f"/gelf/{token}", content=json.dumps(GOOD), headers={"X-Axiom-Dataset": "e", "Accept": "*/*"}
            )
            assert named.status_code == 202

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "no JSON object"),
        (b"x", 400, "no JSON object"),
        (b'{"short_message":7}', 400, "'short_message' is to be a text"),
        (gzip.compress(b"{}", mtime=0)[:-4], 400, "broken gzip data"),
    ],
)
def test_a_body_that_is_none_is_refused(tmp_path: Path, body: bytes, status: int, reason: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served, anonymous(served) as client:
            served.parts.lake.create("d")
            answer = await client.post(f"/gelf/{await token_of(served, 'd')}", content=body)
            assert (answer.status_code, reason in answer.text) == (status, True), answer.text

    asyncio.run(run())


def test_a_token_in_the_path_is_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "xapt-a~b"

    async def run() -> None:
        async with serving(tmp_path) as served, anonymous(served) as client:
            answer = await client.post(f"/gelf/{secret}", json=GOOD)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "text/plain; charset=utf-8")
            assert secret not in answer.text

            def fail(*_: object) -> None:
                raise RuntimeError("a fault")

            served.parts.service.access.authenticate = fail  # type: ignore[method-assign,assignment]
            assert (await client.post(f"/gelf/{secret}", json=GOOD)).status_code == 500

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "a request to /gelf/{secret} failed" in caplog.text
    assert secret not in caplog.text.replace(f"HTTP Request: POST http://127.0.0.1/gelf/{secret}", "")
