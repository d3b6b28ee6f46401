"""A protocol that the code does not know is served in all its parts, from its one object."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from protocols.toy import TOY
from support.serving import Serving, serving

from tailrace.access import KeyGrant
from tailrace.config import settings_reference
from tailrace.events import OpenDataset
from tailrace.protocols.registry import PROTOCOLS
from tailrace.server.settings import schema_of

WITH_TOY = (*PROTOCOLS, TOY)


async def make_key(served: Serving, **more: Any) -> httpx.Response:
    body = {"protocol": "toy", "name": "t", "dataset": "toys", **more}
    return await served.client.post("/tailrace/v1/keys", json=body)


async def send(served: Serving, path: str, headers: Mapping[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.post(path, content=b"hello\nworld\n", headers=headers)


def test_lines_of_a_key_are_stored_and_read_back_as_the_option_says(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_TOY, {"TAILRACE_TOY_FIELD": "text"}) as served:
            made = (await make_key(served)).json()
            assert (len(made["key"]), made["dataset"], made["protocol"]) == (20, "toys", "toy")
            assert made["usage"] == [
                'Try:   curl -sS {url}/toy/v1/lines -H "X-Toy-Key: {key}" -d hello  # goes to toys'
            ]
            for path, more in (
                ("/toy/v1/lines", {}),
                ("/v1/lines", {}),
                ("/v1/lines", {"Host": "lines.toy.example"}),
            ):
                answer = await send(served, path, {"X-Toy-Key": made["key"], **more})
                assert (answer.status_code, answer.json()) == (200, {"stored": 2})
            rows = await asyncio.to_thread(served.parts.rows, "toys")
            assert sorted(row["text"] for row in rows) == ["hello"] * 3 + ["world"] * 3
            assert rows[0]["host"] == "127.0.0.1"
            assert served.parts.metrics.events == {"toy": 6}

    asyncio.run(run())


def test_refusals_have_its_shape_also_where_only_the_path_says_whose_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_TOY) as served:
            for path in ("/toy/v1/lines", "/v1/lines"):
                answer = await send(served, path, {})
                assert (answer.status_code, answer.json()) == (401, {"toy": "no toy key"})
            wrong = await served.client.get("/toy/v1/lines")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
            assert set(wrong.json()) == {"toy"}
            missing = await served.client.post("/toy/v1/nothing")
            assert (missing.status_code, set(missing.json())) == (404, {"toy"})

    asyncio.run(run())


def test_keys_are_what_it_says_of_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_TOY) as served:
            assert (await make_key(served, key="eight-ch")).status_code == 201
            short = await make_key(served, key="seven-c")
            assert (short.status_code, "a toy key is 8 to 512" in short.json()["message"]) == (400, True)
            none = await make_key(served, dataset=None)
            assert none.json()["message"] == "dataset: a toy key needs it; its lines go there"
            other = await served.client.post("/tailrace/v1/keys", json={"protocol": "none", "name": "t"})
            assert "keys are for baselime, datamix, moesif, toy" in other.json()["message"]

    asyncio.run(run())


def test_the_document_and_pages_of_other_origins_know_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_TOY) as served:
            document = (await served.client.get("/openapi.json")).json()
            assert document["paths"]["/toy/v1/lines"]["post"]["summary"] == "Takes lines of text."
            assert document["components"]["securitySchemes"]["toy"]["name"] == "X-Toy-Key"
            assert "Moesif and Toy" in document["info"]["description"]
            asked = await served.client.options("/toy/v1/lines")
            assert "X-Toy-Key" in asked.headers["access-control-allow-headers"]
            refused = await send(served, "/toy/v1/lines", {})
            assert "X-Toy-Tag" in refused.headers["access-control-expose-headers"]

    asyncio.run(run())


def test_its_option_and_its_hosts_are_settings() -> None:
    schema = schema_of(WITH_TOY)

    assert schema.settings["toy_hosts"].description == (
        "Further host names whose requests are Toy's, beside the vendor's own."
    )
    assert "| `toy_field` | `TAILRACE_TOY_FIELD` | `--toy-field` | `line` |" in settings_reference(schema)


def test_a_request_has_its_key_looked_up_once_and_its_dataset_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            new_key = {"protocol": "moesif", "name": "m", "dataset": "shop"}
            key = (await served.client.post("/tailrace/v1/keys", json=new_key)).json()["key"]
            asked: list[str] = []
            access, service = served.parts.access, served.parts.service
            authenticate, check = access.authenticate_key, service.check_dataset

            def authenticate_key(protocol: str, secret: str) -> KeyGrant:
                asked.append("key")
                return authenticate(protocol, secret)

            def check_dataset(name: str) -> OpenDataset:
                asked.append("dataset")
                return check(name)

            monkeypatch.setattr(access, "authenticate_key", authenticate_key)
            monkeypatch.setattr(service, "check_dataset", check_dataset)

            call = {"time": "2026-01-02T03:04:05Z", "verb": "GET", "uri": "https://example.com/"}
            event = {"request": call, "transaction_id": "one"}
            answer = await served.client.post("/moesif/v1/events", json=event, headers={"X-Moesif-Application-Id": key})

            assert answer.status_code == 201
            assert "x-moesif-config-etag" in answer.headers
            assert asked == ["key", "dataset"]

    asyncio.run(run())
