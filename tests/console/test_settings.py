"""Settings in a browser: organisations, and roles whose capabilities are boxes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.access.capabilities import DATASET_CAPABILITIES, ORG_CAPABILITIES, VIEW_CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Server
    from support.browser import Visit

CAPABILITIES = Path(__file__).parents[2] / "console" / "src" / "settings" / "capabilities.json"


def test_the_form_of_roles_has_every_capability() -> None:
    known = {"dataset": DATASET_CAPABILITIES, "organisation": ORG_CAPABILITIES, "view": VIEW_CAPABILITIES}
    assert json.loads(CAPABILITIES.read_bytes()) == {
        scope: {name: list(actions) for name, actions in held.items()} for scope, held in known.items()
    }


@pytest.mark.slow
async def test_an_organisation_is_made_renamed_and_worked_in(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server"
) -> None:
    expect = pytest.importorskip("playwright.async_api").expect
    # Of a user of its own: a token whose user is in several organisations is answered otherwise.
    user = server.client.post("/v2/users", json={"name": "Olga", "email": "olga@example.com", "role": "owner"}).json()
    secret = server.client.post(f"/tailrace/v1/users/{user['id']}/tokens", json={"name": "console"}).json()["token"]
    visit = await visits(secret)
    page = visit.page
    await visit.open("/settings/organisations")
    await page.get_by_role("button", name="New organisation").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill("Shop <b>")
    await form.get_by_role("button", name="Make it").click()
    made = page.get_by_role("row").filter(has_text="Shop <b>")
    await made.get_by_role("button", name="Rename").click()
    await form.get_by_label("Name").fill("Store <b>")
    await form.get_by_role("button", name="Rename it").click()
    await expect(form).to_have_count(0)
    assert await visit.serious_faults() == []

    await page.get_by_role("button", name="Work in Store <b>").click()
    await expect(page.get_by_role("row").filter(has_text="Store <b>")).to_contain_text("(this one)")
    await visit.open("/settings/users")
    await expect(page.get_by_role("row").filter(has_text="(you)")).to_have_count(1)
    await expect(page.get_by_role("row").filter(has_text="(you)")).to_contain_text("Olga")


@pytest.mark.slow
async def test_a_role_is_made_of_boxes_and_changed(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    expect = pytest.importorskip("playwright.async_api").expect
    visit = await visits(server.token, viewport={"width": 390, "height": 800})
    page = visit.page
    await visit.open("/settings/roles")
    await page.get_by_role("button", name="New role").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name", exact=True).fill("Reader")
    await form.get_by_role("button", name="Without every dataset").click()
    await form.get_by_label("Name of a dataset").fill(sample)
    await form.get_by_role("button", name="Add").first.click()
    await form.get_by_label(f"{sample}: read query").check()
    await form.get_by_label("What it may do in the organisation: read dashboards").check()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await visit.serious_faults() == []
    await form.get_by_role("button", name="Save").click()
    await expect(form).to_have_count(0)

    def made() -> dict[str, object]:
        (role,) = (each for each in server.client.get("/v2/rbac/roles").json() if each["name"] == "Reader")
        return {name: role[name] for name in ("datasetCapabilities", "orgCapabilities")}

    assert made() == {"datasetCapabilities": {sample: {"query": ["read"]}}, "orgCapabilities": {"dashboards": ["read"]}}
    await page.get_by_role("row").filter(has_text="Reader").get_by_role("button", name="Edit").click()
    await expect(form.get_by_label(f"{sample}: read query")).to_be_checked()
    await form.get_by_label("What it may do in the organisation: read dashboards").uncheck()
    await form.get_by_role("button", name="Save").click()
    await expect(form).to_have_count(0)
    assert made()["orgCapabilities"] == {}
