"""A door of the tests is served in all its parts: where the token is, which dataset, several in one request."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from protocols.toy_door import TOY_DOOR
from support.serving import Serving, serving

from tailrace.events import Overloaded
from tailrace.protocols.registry import PROTOCOLS

WITH_DOOR = (*PROTOCOLS, TOY_DOOR)


async def token_for(served: Serving, *datasets: str, **more: Any) -> str:
    """Return a new token that may send to these datasets."""
    body = {"name": "t", "datasetCapabilities": {name: {"ingest": ["create"]} for name in datasets}, **more}
    answer = await served.client.post("/v2/tokens", json=body)
    assert answer.status_code == 200, answer.text
    secret: str = answer.json()["token"]
    return secret


async def send(served: Serving, path: str, body: str, headers: Mapping[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.post(path, content=body.encode("utf-8", "surrogateescape"), headers=dict(headers))


async def lines_of(served: Serving, dataset: str) -> list[str]:
    rows = await asyncio.to_thread(served.parts.rows, dataset)
    return sorted(row["line"] for row in rows)


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def test_a_token_is_taken_from_wherever_the_door_says(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            for headers in (
                {"X-Lines-Token": token},
                {"Authorization": f"Lines {token}"},
                {"Authorization": f"bearer {token}"},
                {"Authorization": basic("anyone", token)},
                {"Authorization": basic(token, "")},
                {"Authorization": f"ApiKey {token}"},
                {"Authorization": "ApiKey " + b64encode(f"id:{token}".encode()).decode()},
            ):
                answer = await send(served, "/lines/v1/lines", "hello\n", headers)
                assert (answer.status_code, answer.json()) == (200, {"stored": 1, "refused": []}), headers
            assert (await send(served, f"/lines/v1/lines?t={token}", "hello", {})).json()["stored"] == 1
            for headers, reason in (
                ({}, "no token: send the header 'X-Lines-Token: TOKEN' or 'Authorization: Lines TOKEN'"),
                ({"Authorization": f"Digest {token}"}, "Lines, Bearer, Basic, ApiKey"),
                ({"Authorization": token}, "Lines, Bearer, Basic, ApiKey"),
                ({"Authorization": "Basic ~~"}, "'Basic BASE64'"),
                ({"Authorization": basic("", "")}, "it is the password"),
                ({"Authorization": "Bearer "}, "send 'Bearer TOKEN'"),
                ({"X-Lines-Token": "no-such"}, "the token is not valid"),
            ):
                answer = await send(served, "/lines/v1/lines", "hello\n", headers)
                assert answer.status_code == 401
                assert reason in answer.json()["lines"]
                assert token.lower() not in answer.json()["lines"].lower()

    asyncio.run(run())


def test_the_first_that_names_a_dataset_decides(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            for name in ("a", "b", "c"):
                served.parts.lake.create(name)
            one, two = await token_for(served, "c"), await token_for(served, "a", "b")
            path = "/lines/v1/lines"
            assert (await send(served, "/a/_lines", "1", {"X-Lines-Token": two, "X-Axiom-Dataset": "b"})).is_success
            assert (await send(served, path, "2", {"X-Lines-Token": two, "X-Axiom-Dataset": "b"})).is_success
            assert (await send(served, path, "3", {"X-Lines-Token": one})).is_success
            assert [await lines_of(served, name) for name in ("a", "b", "c")] == [["1"], ["2"], ["3"]]
            for token in (two, served.client.headers["authorization"].removeprefix("Bearer ")):
                none = await send(served, path, "4", {"X-Lines-Token": token})
                assert (none.status_code, "no dataset is named" in none.json()["lines"]) == (400, True)

    asyncio.run(run())


def test_of_several_datasets_each_takes_its_own_and_refuses_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            for name in ("a", "b", "closed"):
                served.parts.lake.create(name)
            token = await token_for(served, "a", "b", "missing")
            long = "x" * 201
            body = f'a:1\n\nb:2\nclosed:3\nmissing:4\na:{{"line":"5"}}\nb:{{"{long}":1}}\na:{{"line":\nb:{{}}{{}}'
            body += "\na:\udcff"
            answer = await send(served, "/lines/v1/lines", body, {"X-Lines-Token": token})
            assert answer.status_code == 200
            said = answer.json()
            assert said["stored"] == 3
            assert [reason.split(": ")[0] for reason in said["refused"]] == [
                "1",
                "6",
                "7",
                "8",
                "9",
                "closed",
                "missing",
            ]
            assert [await lines_of(served, name) for name in ("a", "b", "closed")] == [["1", "5"], ["2"], []]
            # Where there is but one dataset, its refusal is the request's.
            for name, status in (("closed", 403), ("missing", 404)):
                alone = await send(served, "/lines/v1/lines", f"{name}:1", {"X-Lines-Token": token})
                assert alone.status_code == status

    asyncio.run(run())


def test_a_dataset_is_made_for_a_token_that_may_make_datasets(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            token = await token_for(served, "*", orgCapabilities={"datasets": ["create"]})
            answer = await send(served, "/fresh/_lines", "hello", {"X-Lines-Token": token})
            assert answer.json() == {"stored": 1, "refused": []}
            assert await lines_of(served, "fresh") == ["hello"]

    asyncio.run(run())


def test_what_another_attempt_may_help_is_raised_for_the_whole_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            served.parts.lake.create("a")
            served.parts.lake.create("b")
            token = await token_for(served, "a", "b")

            def refuse(name: str) -> None:
                raise Overloaded("too much", retry_after_s=1)

            monkeypatch.setattr(served.parts.service, "check_dataset", refuse)
            answer = await send(served, "/lines/v1/lines", "a:1\nb:2", {"X-Lines-Token": token})
            assert (answer.status_code, answer.json()) == (429, {"lines": "too much"})

    asyncio.run(run())


def test_the_document_shows_its_routes_with_the_apis_tokens(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, WITH_DOOR) as served:
            document = (await served.client.get("/openapi.json")).json()
            shown = document["paths"]["/{dataset}/_lines"]["post"]
            assert shown["security"] == [{"axiom": []}]
            assert shown["x-tailrace-needs"] == "ingest:create on the dataset"

    asyncio.run(run())
