"""JSON lines as VictoriaLogs and OpenObserve take them, by the commands of their documents."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.serving import Serving, serving

from tailrace.events import Overloaded

# Of https://docs.victoriametrics.com/victorialogs/data-ingestion/#json-stream-api.
VICTORIALOGS = """{ "log": { "level": "info", "message": "hello world" }, "date": "0", "stream": "stream1" }
{ "log": { "level": "error", "message": "oh no!" }, "date": "0", "stream": "stream1" }
{ "log": { "level": "info", "message": "hello world" }, "date": "0", "stream": "stream2" }

"""
JSONLINE = "/insert/jsonline?_stream_fields=stream&_time_field=date&_msg_field=log.message"


def run(directory: Path, test: Callable[[Serving], Awaitable[None]]) -> None:
    """Run a test on a server with the dataset `logs`."""

    async def serve() -> None:
        async with serving(directory) as served:
            served.parts.lake.create("logs")
            await test(served)

    asyncio.run(serve())


async def rows(served: Serving, dataset: str = "logs") -> list[dict[str, Any]]:
    return await asyncio.to_thread(served.parts.rows, dataset)


async def years(served: Serving, dataset: str = "logs", by: str = "n") -> list[str]:
    body = {
        "apl": f"['{dataset}'] | sort by {by} asc",
        "startTime": "1970-01-02T00:00:00Z",
        "endTime": "2100-01-01T00:00:00Z",
    }
    answer = await served.client.post("/v1/datasets/_apl?format=legacy", json=body)
    assert answer.status_code == 200, answer.text
    return [match["_time"][:4] for match in answer.json()["matches"]]


async def lines(served: Serving, path: str, body: str | bytes, **headers: str) -> httpx.Response:
    sent = {"X-Axiom-Dataset": "logs", "Content-Type": "application/stream+json", **headers}
    return await served.client.post(path, content=body, headers=sent)


def test_the_documented_lines_of_victorialogs(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        answer = await lines(served, JSONLINE, VICTORIALOGS)
        assert (answer.status_code, answer.content) == (200, b"")
        assert [(row["log.level"], row["log.message"], row["stream"]) for row in await rows(served)] == [
            ("info", "hello world", "stream1"),
            ("error", "oh no!", "stream1"),
            ("info", "hello world", "stream2"),
        ]
        assert len(await years(served, by="_time")) == 3  # "0" is now, not 1970

    run(tmp_path, test)


def test_parameters_of_victorialogs_may_be_headers(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = gzip.compress(b'{"n":1,"at":"2001-01-01 00:00:00"}\n{"n":2,"when":1009843200000}\n{"n":3}\n')
        headers = {"VL-Time-Field": "at,when", "VL-Extra-Fields": "host=h1,env=x=y", "Content-Encoding": "gzip"}
        assert (await lines(served, "/insert/jsonline", body, **headers)).status_code == 200
        stored = await rows(served)
        assert [(row["n"], row["host"], row["env"]) for row in stored] == [(n, "h1", "x=y") for n in (1, 2, 3)]
        assert (await years(served))[:2] == ["2001", "2002"]
        nested = b'{"n":0,"k":{"at":"2003-01-01T00:00:00Z"}}'
        by_query = await lines(served, "/insert/jsonline?_time_field=k.at", nested, **{"VL-Time-Field": "other"})
        assert (by_query.status_code, (await years(served))[0]) == (200, "2003")
        for bad, reason in (("ignore_fields=a", "is not supported"), ("extra_fields=a", "name=value")):
            refused = await lines(served, f"/insert/jsonline?{bad}", b"{}")
            assert (refused.status_code, reason in refused.text) == (400, True)

    run(tmp_path, test)


def test_a_bad_line_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(served: Serving) -> None:
        for path in ("/insert/jsonline", "/insert/jsonline?_time_field=_time,t"):
            body = b'{"n":1}\nnot json\n{"n":2,"_time":"soon"}\n{"n":3}\n'
            answer = await lines(served, path, body)
            assert answer.status_code == 400
            assert answer.text.startswith("2 of 4 lines were refused, the others are stored: number 1: ")
        assert [row["n"] for row in await rows(served)] == [1, 3, 1, 3]
        unknown = await lines(served, "/insert/jsonline", b"{}", **{"X-Axiom-Dataset": "missing"})
        assert unknown.status_code == 404
        anyone = await lines(served, "/insert/jsonline", b"{}", Authorization="Bearer no")
        assert (anyone.status_code, anyone.headers["content-type"]) == (401, "text/plain; charset=utf-8")

        def refuse(name: str) -> None:
            raise Overloaded("too much", retry_after_s=2)

        monkeypatch.setattr(served.parts.service, "check_dataset", refuse)
        full = await lines(served, "/insert/jsonline", b"{}")
        assert (full.status_code, full.headers["retry-after"]) == (429, "2")
        full = await served.client.post("/api/default/logs/_json", json=[{}])
        assert (full.status_code, full.json()) == (429, {"code": 429, "message": "too much"})

    run(tmp_path, test)


def test_openobserves_json_and_multi(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        events: list[Any] = [
            {"n": 1, "_timestamp": 978307200000000, "big": 2**63 - 1},
            {"n": 2, "@timestamp": "2002-01-01T00:00:00Z"},
            5,
            {"n": 3, "_timestamp": "soon"},
            {"n": 4},
        ]
        array = await served.client.post("/api/default/new/_json", json=events)
        assert array.status_code == 200
        said = array.json()["status"][0]
        assert said.pop("error").startswith("event 2: ")
        assert (array.json()["code"], said) == (200, {"name": "new", "successful": 3, "failed": 2})
        body = "\n".join(map(json.dumps, events))
        multi = await served.client.post("/api/default/new/_multi", content=body)
        assert multi.json()["status"][0]["successful"] == 3
        single = await served.client.post("/api/default/new/_json", content=b' {"n":\n0}')
        assert single.json() == {"code": 200, "status": [{"name": "new", "successful": 1, "failed": 0}]}
        stored = sorted(await rows(served, "new"), key=lambda row: row["n"])
        assert [row["n"] for row in stored] == [0, 1, 1, 2, 2, 4, 4]
        assert (stored[1]["big"], stored[1]["_timestamp"]) == (2**63 - 1, 978307200000000)
        assert (await years(served, "new"))[1:5] == ["2001", "2001", "2002", "2002"]
        broken = await served.client.post("/api/default/new/_json", content=b"[{}")
        assert (broken.status_code, broken.json()["code"]) == (400, 400)
        bulk = await served.client.post("/api/default/_bulk", content=b'{"index":{"_index":"new"}}\n{"n":5}\n')
        assert (bulk.json()["errors"], len(bulk.json()["items"])) == (False, 1)
        assert (await served.client.get("/api/default/")).json()["tagline"] == "You Know, for Search"

    run(tmp_path, test)
