"""Signing in with a browser at a provider, which is another server, and what the page says where that fails."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("authlib", reason="pip install tailrace[oidc]")
pytest.importorskip("playwright.async_api")

from playwright.async_api import expect
from support.browser import open_visit
from support.provider import CLIENT, SECRET, TestProvider, running_provider

if TYPE_CHECKING:
    from conftest import MakeServer
    from playwright.async_api import Browser, Page

NAME = "Acme & <b>Sons</b>"


@pytest.fixture
def provider() -> Iterator[TestProvider]:
    with running_provider() as running:
        running.asks = True
        yield running


async def sign_in(page: "Page") -> None:
    """Sign in from the console's page at the provider's, which asks first."""
    await page.get_by_role("button", name=f"Sign in with {NAME}").click()
    await page.get_by_role("link", name="Continue as Ada Lovelace").click()


async def test_a_browser_signs_in_at_a_provider(
    browser: "Browser", make_server: "MakeServer", provider: TestProvider
) -> None:
    known = (f"--oidc-issuer={provider.issuer}", f"--oidc-client-id={CLIENT}", f"--oidc-client-secret={SECRET}")
    server = make_server(*known, f"--oidc-name={NAME}").start()
    visit = await open_visit(browser, server.url)
    page = visit.page
    visit.allowed += (f"{provider.issuer}/",)
    visit.expected = {401, 403}

    await visit.open("/explore", q="print answer = 6 * 7")
    await expect(page.get_by_role("button", name=f"Sign in with {NAME}")).to_be_enabled()
    assert await visit.serious_faults() == []
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_have_text(
        "there is no user with the email 'ada@example.com': an owner or an admin adds you"
    )
    assert page.url == f"{server.url}/#/sign-in"

    provider.refusal = {"error": "access_denied", "error_description": "<img src=x onerror=alert(1)>"}
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_have_text(
        "the provider refused: access_denied: <img src=x onerror=alert(1)>"
    )
    provider.refusal = {}

    await page.goto(f"{server.url}/tailrace/console/sign-in?state=x&error=call&error_description=this+number")
    await expect(page.get_by_role("alert")).to_contain_text("not begun in this browser")

    user = {"name": "Ada", "email": "ada@example.com", "role": "user"}
    user_id = server.client.post("/v2/users", json=user).json()["id"]
    await visit.open("/explore", q="print answer = 6 * 7")
    await page.reload()
    await sign_in(page)
    await expect(page.get_by_role("link", name="Explore")).to_have_attribute("aria-current", "page")
    await expect(page.locator(".cm-content")).to_have_text("print answer = 6 * 7")
    assert page.url.startswith(f"{server.url}/#/explore?q=print")
    assert [cookie["name"].rpartition("_")[0] for cookie in await visit.context.cookies()] == ["tailrace_session"]
    assert await page.evaluate("JSON.stringify(sessionStorage)") == "{}"

    server.client.put(f"/v2/users/{user_id}/role", json={"role": "none"})
    await page.reload()
    await page.get_by_role("button", name="Account and appearance").click()
    await page.get_by_text("Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()

    server.client.put(f"/v2/users/{user_id}/role", json={"role": "user"})
    await sign_in(page)
    await expect(page.get_by_role("link", name="Explore")).to_be_visible()
    server.client.delete(f"/v2/users/{user_id}")
    await page.reload()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert visit.faults == []
    await visit.context.close()
