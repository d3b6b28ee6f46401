"""Signing in from a browser, what its cookie is and may do, and signing out."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.ingest import ROOT_TOKEN
from support.serving import Serving, serving

from tailrace.api.browser_cookie import HEADER

PATH = "/tailrace/v1/session"
FEW = {"name": "few", "datasetCapabilities": {"logs": {"query": ["read"]}}, "orgCapabilities": {"views": ["read"]}}
CONSOLE = {HEADER: "1"}

Scenario = Callable[["Browser", Serving], Awaitable[None]]


class Browser:
    """A browser at the console: it has cookies, and no token."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return await self.client.request(method, path, content=content, headers={**CONSOLE, **headers})

    async def sign_in(self, **credential: str) -> httpx.Response:
        return await self.ask("POST", PATH, credential)


@asynccontextmanager
async def browser_of(served: Serving, base_url: str = "http://127.0.0.1:8080") -> AsyncIterator[Browser]:
    async with httpx.AsyncClient(transport=served.client._transport, base_url=base_url) as client:
        yield Browser(client)


@pytest.fixture
def played(tmp_path: Path) -> Callable[[Scenario], None]:
    """Play a scenario with a browser at a server."""

    def play(scenario: Scenario) -> None:
        async def run() -> None:
            async with serving(tmp_path) as served, browser_of(served) as browser:
                await scenario(browser, served)

        asyncio.run(run())

    return play


def cookie(answer: httpx.Response) -> tuple[str, str, dict[str, Any]]:
    """Return the name, the value and the attributes of the one cookie that an answer sets."""
    [header] = answer.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(header).items()
    return name, morsel.value, {key: value for key, value in morsel.items() if value}


def test_a_token_signs_in_and_the_session_may_what_it_may(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        signed_in = await browser.sign_in(token=f" {ROOT_TOKEN}\n")

        assert signed_in.status_code == 200
        assert signed_in.json() == {
            "kind": "personal",
            "organisation": "tailrace",
            "userId": served.parts.owner.user_id,
            "userName": "Owner",
            "role": "owner",
            "isUnlimited": True,
            "datasetCapabilities": served.parts.owner.datasets,
            "orgCapabilities": served.parts.owner.org,
            "viewCapabilities": {},
        }
        assert (await browser.ask("GET", PATH)).json() == signed_in.json()
        assert (await browser.ask("POST", "/v2/datasets", {"name": "logs"})).status_code == 200
        assert ROOT_TOKEN not in str(signed_in.headers) + signed_in.text

    played(scenario)


def test_a_token_of_few_rights_signs_in_to_no_more(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        made = (await served.client.post("/v2/tokens", json=FEW)).json()

        signed_in = (await browser.sign_in(token=made["token"])).json()

        assert signed_in == {
            "kind": "api",
            "organisation": "tailrace",
            "userId": served.parts.owner.user_id,
            "userName": "",
            "role": "",
            "isUnlimited": False,
            "datasetCapabilities": FEW["datasetCapabilities"],
            "orgCapabilities": FEW["orgCapabilities"],
            "viewCapabilities": {},
        }
        refused = await browser.ask("POST", "/v2/datasets", {"name": "logs"})
        assert (refused.status_code, "datasets:create" in refused.json()["message"]) == (403, True)
        await served.client.delete(f"/v2/tokens/{made['id']}")
        assert (await browser.ask("GET", PATH)).status_code == 401

    played(scenario)


def test_a_code_signs_in_once(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        made = (await served.client.post(f"{PATH}/codes")).json()
        assert made["path"] == f"/#/sign-in?code={made['code']}"
        left = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
        assert timedelta(minutes=14) < left <= timedelta(minutes=15)

        assert (await browser.sign_in(code=made["code"])).json()["role"] == "owner"
        again = await browser.sign_in(code=made["code"])
        assert (again.status_code, again.headers.get_list("set-cookie")) == (401, [])
        assert (await browser.ask("GET", PATH)).status_code == 200  # the session goes on

    played(scenario)


def test_a_session_makes_a_link_for_another_browser(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await browser.sign_in(token=ROOT_TOKEN)
        code = (await browser.ask("POST", f"{PATH}/codes")).json()["code"]

        async with browser_of(served) as other:
            assert (await other.sign_in(code=code)).status_code == 200

    played(scenario)


def test_what_signs_nobody_in_is_refused_in_axioms_shape(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        for body, status, message in (
            ({"token": "xaat-wrong"}, 401, "the token is not valid"),
            ({"code": "wrong"}, 401, "the link was used before"),
            ({"code": "\u0000"}, 401, "the link was used before"),
            ({"token": "x", "code": "y"}, 400, "the body is"),
            ({}, 400, "the body is"),
            ({"token": 1}, 400, "token"),
        ):
            refused = await browser.ask("POST", PATH, body)
            assert refused.status_code == refused.json()["code"] == status, body
            assert message in refused.json()["message"]
            assert "set-cookie" not in refused.headers

    played(scenario)


def test_a_key_of_a_protocol_signs_nobody_in(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        key = {"protocol": "baselime", "name": "k", "dataset": "logs"}
        made = (await served.client.post("/tailrace/v1/keys", json=key)).json()

        refused = await browser.sign_in(token=made["key"])

        assert (refused.status_code, "not a token" in refused.json()["message"]) == (401, True)

    played(scenario)


def test_the_cookie_is_for_this_server_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, environ={"TAILRACE_CONSOLE_SESSION_S": "7200"}) as served:
            for base_url, name, secure in (
                ("http://127.0.0.1:8080", "tailrace_session_8080", {}),
                ("http://[::1]:8080", "tailrace_session_8080", {}),
                ("http://tailrace.example", "tailrace_session", {}),
                ("https://tailrace.example", "__Host-tailrace_session", {"secure": True}),
                ("https://tailrace.example:8443", "__Host-tailrace_session_8443", {"secure": True}),
            ):
                async with browser_of(served, base_url) as browser:
                    made = cookie(await browser.sign_in(token=ROOT_TOKEN))
                    left = parsedate_to_datetime(made[2].pop("expires")) - datetime.now(UTC)
                    assert timedelta(minutes=119) < left <= timedelta(hours=2)
                    assert made[0] == name
                    assert made[2] == {"path": "/", "httponly": True, "samesite": "Strict", **secure}
                    assert (await browser.ask("GET", PATH)).status_code == 200

                    ended = cookie(await browser.ask("DELETE", PATH))
                    assert (ended[0], ended[1], ended[2]["expires"]) == (name, "", "Thu, 01 Jan 1970 00:00:00 GMT")

    asyncio.run(scenario())


def test_a_host_with_a_port_that_is_none_is_no_fault_of_the_server(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        for host, name in (("127.0.0.1:99999999", "_99999999"), ("127.0.0.1:", ""), ("[::1]", ""), (":", "")):
            asked = await browser.ask("GET", PATH, Host=host, Cookie=f"tailrace_session{name}=x")
            assert (asked.status_code, host) == (401, host)

    played(scenario)


def test_without_the_header_the_cookie_does_nothing(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await browser.sign_in(token=ROOT_TOKEN)

        for method, path in (("GET", PATH), ("GET", "/v2/datasets"), ("DELETE", PATH), ("POST", PATH)):
            refused = await browser.client.request(method, path, json={"token": ROOT_TOKEN})
            assert (refused.status_code, HEADER in refused.json()["message"]) == (403, True)
            assert "set-cookie" not in refused.headers
        assert (await browser.ask("GET", PATH)).status_code == 200

    played(scenario)


def test_without_a_session_or_a_token_there_is_nobody(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        assert (await browser.ask("GET", PATH)).json() is None
        assert (await browser.client.get(PATH)).json() is None
        assert (await browser.ask("GET", PATH, Authorization="Bearer wrong")).status_code == 401

    played(scenario)


def test_a_token_counts_before_a_cookie(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await browser.sign_in(token=ROOT_TOKEN)
        few = (await served.client.post("/v2/tokens", json=FEW)).json()["token"]

        assert (await browser.ask("GET", PATH, Authorization=f"Bearer {few}")).json()["kind"] == "api"
        assert (await browser.ask("GET", PATH, Authorization="Bearer wrong")).status_code == 401

    played(scenario)


def test_signing_out_ends_the_session_at_the_server(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        name, secret, _ = cookie(await browser.sign_in(token=ROOT_TOKEN))

        assert (await browser.ask("DELETE", PATH)).status_code == 204
        kept = {"Cookie": f"{name}={secret}"}
        refused = await browser.ask("GET", PATH, **kept)
        assert (refused.status_code, "sign in again" in refused.json()["message"]) == (401, True)
        assert (await browser.ask("DELETE", PATH, **kept)).status_code == 204
        assert (await browser.ask("DELETE", PATH)).status_code == 204

    played(scenario)


def test_each_sign_in_is_another_session_and_ends_the_one_before(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        chosen = "chosen-by-somebody-else"
        name, first, _ = cookie(
            await browser.ask("POST", PATH, {"token": ROOT_TOKEN}, Cookie=f"tailrace_session_8080={chosen}")
        )
        _, second, _ = cookie(await browser.sign_in(token=ROOT_TOKEN))

        assert len({chosen, first, second}) == 3
        assert (await browser.ask("GET", PATH)).status_code == 200
        for secret in (chosen, first):
            browser.client.cookies.clear()
            assert (await browser.ask("GET", PATH, Cookie=f"{name}={secret}")).status_code == 401

    played(scenario)


def test_who_signed_in_and_out_is_in_the_audit_trail(played: Callable[[Scenario], None]) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        code = (await served.client.post(f"{PATH}/codes")).json()["code"]
        await browser.sign_in(token="wrong")
        await browser.sign_in(token=ROOT_TOKEN)
        await browser.ask("DELETE", PATH)
        await browser.ask("DELETE", PATH)
        await browser.sign_in(code=code)

        rows = [
            {re.sub(r".*[.]", "", name): value for name, value in row.items() if name != "trace_id"}
            for row in await asyncio.to_thread(served.parts.rows, "axiom-audit")
        ]
        user = served.parts.owner.user_id
        assert [(row["action"], row.get("by"), row["id"], row["credential"]) for row in rows] == [
            ("createSignInCode", None, user, served.parts.owner.token_id),
            ("login", "token", user, served.parts.owner.token_id),
            ("logout", None, user, served.parts.owner.token_id),
            ("login", "code", user, served.parts.owner.token_id),
        ]
        assert code not in str(rows)

    played(scenario)
