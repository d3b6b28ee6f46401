"""Single sign-on over HTTP: what a browser keeps of it, the session that it ends in, and what ends that."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

pytest.importorskip("authlib", reason="pip install tailrace[oidc]")

from support.ingest import ROOT_TOKEN
from support.provider import CLIENT, SECRET, TestProvider, running_provider
from support.serving import Serving, serving

from tailrace.api.browser_cookie import HEADER
from tailrace.console.application import Console
from tailrace.console.assets import Assets
from tailrace.oidc.settings import OidcSettings
from tailrace.oidc.single_sign_on import SingleSignOn

SESSION = "/tailrace/v1/session"
PROVIDER = f"{SESSION}/provider"
CONSOLE = {HEADER: "1"}


class Browser:
    """A browser at the console, which goes to the provider and comes back as one does."""

    def __init__(self, client: httpx.AsyncClient, provider: TestProvider) -> None:
        self.client = client
        self.provider = provider

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.request(method, path, json=body, headers={**CONSOLE, **headers})

    async def go_there(self) -> dict[str, str]:
        """Return the parameters of the page that the provider, and then the console, sends the browser to."""
        begun = await self.ask("POST", PROVIDER)
        assert begun.status_code == 200, begun.text
        query = dict(parse_qsl(urlsplit(begun.json()["url"]).query))
        _, headers, _ = self.provider.authorize(query)
        back = await self.client.get(headers["Location"], headers={"Accept": "text/html"})
        assert back.status_code == 303
        path, _, parameters = back.headers["location"].partition("?")
        assert path == "../../#/sign-in"
        return dict(parse_qsl(parameters))

    async def complete(self, given: dict[str, str]) -> httpx.Response:
        answer = {"errorDescription" if name == "error_description" else name: value for name, value in given.items()}
        return await self.ask("POST", SESSION, {"provider": answer})

    async def sign_in(self) -> httpx.Response:
        return await self.complete(await self.go_there())


Scenario = Callable[[Browser, Serving], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def provider() -> Iterator[TestProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def played(tmp_path: Path, provider: TestProvider) -> Play:
    """Play a scenario with a browser at a server with a provider, whose settings are given."""

    def play(scenario: Scenario, base_url: str = "http://127.0.0.1:8080", console_url: str = "", **given: Any) -> None:
        settings = OidcSettings(issuer=provider.issuer, client_id=CLIENT, client_secret=SECRET, name="Acme", **given)

        async def run() -> None:
            async with serving(
                tmp_path,
                environ={"TAILRACE_CONSOLE_URL": console_url},
                console=Console(Assets(tmp_path)),
                provider=SingleSignOn(settings, lambda: datetime.now(UTC).timestamp()),
            ) as served:
                transport = served.client._transport
                async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
                    await scenario(Browser(client, provider), served)

        asyncio.run(run())

    return play


async def add_ada(served: Serving, role: str = "user") -> str:
    """Add the provider's person as a user; return the id."""
    body = {"name": "Ada", "email": "ada@example.com", "role": role}
    made = await served.client.post("/v2/users", json=body)
    return str(made.json()["id"])


def test_a_user_signs_in_and_may_what_the_user_may(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        assert (await browser.client.get(PROVIDER)).json() == {"name": "Acme"}
        user_id = await add_ada(served, "read-only")

        signed_in = await browser.sign_in()

        assert signed_in.status_code == 200, signed_in.text
        who = signed_in.json()
        assert (who["kind"], who["role"], who["userId"], who["userName"]) == ("personal", "read-only", user_id, "Ada")
        assert (await browser.ask("GET", SESSION)).json() == who
        assert (await browser.ask("POST", "/v2/datasets", {"name": "logs"})).status_code == 403
        await served.client.put(f"/v2/users/{user_id}/role", json={"role": "user"})
        assert (await browser.ask("POST", "/v2/datasets", {"name": "logs"})).status_code == 200
        assert (await served.client.get("/v2/tokens")).json() == []

        await served.client.delete(f"/v2/users/{user_id}")
        assert (await browser.ask("GET", SESSION)).status_code == 401

    played(scenario)


def test_the_cookie_of_a_sign_in_is_for_this_server_for_ten_minutes_and_gone_at_its_end(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await add_ada(served)
        begun = await browser.ask("POST", PROVIDER)
        [(name, kept)] = SimpleCookie(begun.headers["set-cookie"]).items()
        left = parsedate_to_datetime(kept["expires"]) - datetime.now(UTC)
        assert timedelta(minutes=9) < left <= timedelta(minutes=10)
        assert name == "__Host-tailrace_sign_in"
        assert (kept["path"], kept["httponly"], kept["secure"], kept["samesite"]) == ("/", True, True, "Strict")
        assert kept.value not in begun.text

        signed_in = await browser.sign_in()

        cookies = [SimpleCookie(header) for header in signed_in.headers.get_list("set-cookie")]
        assert [list(cookie) for cookie in cookies] == [["__Host-tailrace_session"], [name]]
        assert cookies[0]["__Host-tailrace_session"]["samesite"] == "Strict"
        assert list(browser.client.cookies) == ["__Host-tailrace_session"]

    played(scenario, "https://tailrace.example")


@pytest.mark.parametrize(
    ("console_url", "comes_back_to"),
    [
        ("", "https://tailrace.example"),
        ("https://public.example/logs", "https://public.example/logs"),
        ("https://public.example/", "https://public.example"),
    ],
)
def test_the_provider_sends_back_to_the_setting_or_to_where_the_browser_is(
    played: Play, console_url: str, comes_back_to: str
) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        url = (await browser.ask("POST", PROVIDER)).json()["url"]
        query = dict(parse_qsl(urlsplit(url).query))
        assert query["redirect_uri"] == f"{comes_back_to}/tailrace/console/sign-in"

    played(scenario, "https://tailrace.example", console_url)


def test_another_browser_does_not_end_a_sign_in(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await add_ada(served)
        given = await browser.go_there()
        kept = dict(browser.client.cookies)

        browser.client.cookies.clear()
        refused = await browser.complete(given)
        assert (refused.status_code, "not begun in this browser" in refused.json()["message"]) == (401, True)
        assert "set-cookie" not in refused.headers

        browser.client.cookies.update(kept)
        assert (await browser.client.post(SESSION, json={"provider": given})).status_code == 403  # without the header
        assert (await browser.complete(given)).status_code == 200
        browser.client.cookies.update(kept)
        refused = await browser.complete(given)
        assert (refused.status_code, "ended before" in refused.json()["message"]) == (401, True)

    played(scenario)


def test_who_is_no_user_is_told_so(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        refused = await browser.sign_in()

        assert (refused.status_code, "no user with the email 'ada@example.com'" in refused.json()["message"]) == (
            403,
            True,
        )
        assert (await browser.ask("GET", SESSION)).json() is None

    played(scenario)


def test_what_the_provider_refuses_is_passed_on(played: Play, provider: TestProvider) -> None:
    provider.refusal = {"error": "access_denied", "error_description": "<b>no</b>"}

    async def scenario(browser: Browser, served: Serving) -> None:
        refused = await browser.sign_in()
        message = "the provider refused: access_denied: <b>no</b>"
        assert (refused.status_code, refused.json()["message"]) == (401, message)
        # Without a sign-in of this browser nobody's words are.
        refused = await browser.complete({"state": "x", "error": "call", "error_description": "this number"})
        assert "number" not in refused.text

    played(scenario)


def test_a_provider_that_is_down_is_said_to_be(played: Play, provider: TestProvider) -> None:
    provider.answers["/.well-known/openid-configuration"] = (502, b"")

    async def scenario(browser: Browser, served: Serving) -> None:
        refused = await browser.ask("POST", PROVIDER)
        assert (refused.status_code, "Acme answered 502" in refused.json()["message"]) == (503, True)
        assert "set-cookie" not in refused.headers

    played(scenario)


def test_a_sign_in_begins_beside_the_header_only(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        assert (await browser.client.post(PROVIDER)).status_code == 403

    played(scenario)


def test_without_a_provider_there_is_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            assert (await served.client.get(PROVIDER)).json() is None
            assert (await served.client.post(PROVIDER, headers=CONSOLE)).status_code == 404
            body = {"provider": {"state": "s", "code": "c"}}
            assert (await served.client.post(SESSION, json=body, headers=CONSOLE)).status_code == 404

    asyncio.run(scenario())


def test_the_page_that_the_provider_sends_back_to_leads_nowhere_else(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        query = "state=a%23b&code=%22%3E%3Cscript%3E&next=https://evil.example&state=c"
        back = await browser.client.get(f"/tailrace/console/sign-in?{query}")
        assert back.headers["location"] == "../../#/sign-in?state=c&code=%22%3E%3Cscript%3E"
        assert back.headers["cache-control"] == "no-store"
        assert back.content == b""

    played(scenario)


def test_who_signed_in_and_out_is_in_the_audit_trail(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        await browser.sign_in()
        await browser.ask("DELETE", SESSION)
        await browser.sign_in()

        rows = [
            {re.sub(r".*[.]", "", name): value for name, value in row.items() if name != "trace_id"}
            for row in await asyncio.to_thread(served.parts.rows, "axiom-audit")
        ]
        assert [(row["action"], row.get("by"), row["email"]) for row in rows] == [
            ("createUser", "provider", "ada@example.com"),
            ("login", "provider", "ada@example.com"),
            ("logout", None, "ada@example.com"),
            ("login", "provider", "ada@example.com"),
        ]
        assert len({row["id"] for row in rows}) == 1
        assert [row["credential"] for row in rows[:3]] == [rows[0]["credential"]] * 3 != [rows[3]["credential"]] * 3

    played(scenario, new_users="read-only")


def test_users_do_not_choose_the_email_that_they_are_known_by(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        user_id = await add_ada(served, "user")
        made = await served.client.post(f"/tailrace/v1/users/{user_id}/tokens", json={"name": "t"})
        as_ada = {"Authorization": f"Bearer {made.json()['token']}"}

        refused = await served.client.put("/v2/user", json={"email": "boss@example.com"}, headers=as_ada)
        assert (refused.status_code, "do not choose their email" in refused.json()["message"]) == (403, True)
        kept = {"name": "Countess", "email": "Ada@example.com"}
        assert (await served.client.put("/v2/user", json=kept, headers=as_ada)).status_code == 200
        own = await served.client.put("/v2/user", json={"email": "owner@example.com"})
        assert (own.status_code, own.json()["email"]) == (200, "owner@example.com")

    played(scenario)


def test_a_token_signs_in_beside_a_provider(played: Play) -> None:
    async def scenario(browser: Browser, served: Serving) -> None:
        assert (await browser.ask("POST", SESSION, {"token": ROOT_TOKEN})).json()["role"] == "owner"
        both = {"token": ROOT_TOKEN, "provider": {"state": "s"}}
        assert (await browser.ask("POST", SESSION, both)).status_code == 400

    played(scenario)
