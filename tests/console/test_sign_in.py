"""Signing in with a browser by a link or by a token, and out, and what ends a session."""

import re
from typing import TYPE_CHECKING

import pytest
from support.browser import status
from support.commands import tailrace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Server
    from support.browser import Visit

expect = pytest.importorskip("playwright.async_api").expect


async def test_a_link_signs_in_once(visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str) -> None:
    ran = tailrace("console", env={"TAILRACE_DATA": str(server.data)})
    link = ran.stdout.strip()
    assert re.fullmatch(re.escape(server.url) + r"/#/sign-in\?code=[\w-]{43}", link), ran.stderr
    first, second = await visits(), await visits()

    await first.page.goto(link)
    await expect(first.page.get_by_role("link", name="Explore")).to_have_attribute("aria-current", "page")
    assert "code" not in first.page.url
    [cookie] = await first.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    assert await first.page.evaluate("document.cookie") == ""

    await second.page.goto(link)
    await expect(second.page.get_by_role("alert")).to_contain_text("used before")
    assert "code" not in second.page.url
    assert await second.context.cookies() == []
    assert await second.serious_faults() == []


async def test_a_token_signs_in_and_signing_out_ends_that(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits()
    page = visit.page
    await visit.open()
    await page.get_by_label("Token").fill("xapt-wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not valid")

    await page.get_by_label("Token").fill(server.token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("link", name="Explore")).to_be_visible()
    stored = await page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href])")
    assert server.token not in stored
    [kept] = await visit.context.cookies()

    await page.get_by_role("button", name="Account and appearance").click()
    await page.get_by_text("Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert await visit.context.cookies() == []
    await visit.context.add_cookies([kept])  # type: ignore[list-item]
    await page.reload()
    await expect(page.get_by_label("Token")).to_be_visible()


async def test_a_revoked_token_ends_the_session(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    rights = {
        "name": "console",
        "datasetCapabilities": {sample: {"query": ["read"]}},
        "orgCapabilities": {"datasets": ["read"]},
    }
    made = server.client.post("/v2/tokens", json=rights).json()
    visit = await visits(made["token"])
    await visit.open("/explore", q=f"['{sample}'] | count")
    await expect(status(visit.page)).to_contain_text("1 row")

    assert server.client.delete(f"/v2/tokens/{made['id']}").status_code == 204
    await visit.page.get_by_role("button", name="Run").click()

    await expect(visit.page.get_by_role("alert")).to_contain_text("Your session has ended")
    await expect(visit.page.get_by_label("Token")).to_be_visible()
