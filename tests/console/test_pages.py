"""The other pages in a browser: followed, traced, drawn, watched, sent, managed."""

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import status

from tailrace.cli.demo_events import otlp_traces, story

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Server
    from playwright.async_api import Route
    from support.browser import Visit

    Visits = Callable[..., Awaitable[Visit]]

expect = pytest.importorskip("playwright.async_api").expect

AUDIT_TRAIL = re.compile(r"^axiom-audit(\.|$)")
PHONE = {"viewport": {"width": 390, "height": 800}}


@pytest.mark.slow
async def test_the_stream_shows_what_comes_with_a_condition_and_holds_it_while_paused(
    visits: "Visits", server: "Server"
) -> None:
    name = server.create("console-stream")
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/stream", dataset=name, where="level == 'error'")
    await expect(status(page)).to_contain_text("events a second")
    server.ingest(name, [{"level": "error", "message": "first"}, {"level": "info", "message": "not this"}])
    lines = page.locator(".list-row")
    await expect(lines).to_have_count(1)
    await expect(lines.first).to_contain_text("first")

    await page.get_by_role("button", name="Pause").click()
    server.ingest(name, [{"level": "error", "message": "second"}])
    go_on = page.get_by_role("button", name="Go on")
    await expect(go_on).to_contain_text("1 new")
    await expect(lines).to_have_count(1)
    await go_on.click()
    await expect(lines).to_have_count(2)

    await lines.last.click()
    await expect(page.get_by_role("complementary", name="Event")).to_contain_text("second")
    assert await visit.serious_faults() == []


@pytest.fixture
def traces(server: "Server") -> str:
    """Return a dataset with traces, one of which failed; their log lines are in another."""
    import random
    import time

    name, logs = server.create("console-traces"), server.create("console-trace-logs")
    chance = random.Random(5)
    stories = [story(chance, time.time_ns() - number * 10**9) for number in range(60)]
    answer = server.client.post(
        "/v1/traces",
        content=json.dumps(otlp_traces([span for each in stories for span in each.spans])),
        headers={"X-Axiom-Dataset": name, "Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    server.ingest(logs, [line for each in stories for line in each.logs])
    return name


@pytest.mark.slow
async def test_a_failed_trace_is_found_and_seen_as_a_waterfall_with_its_log_lines(
    visits: "Visits", server: "Server", traces: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/traces", dataset=traces)
    rows = page.locator(".records tbody tr")
    await expect(rows).to_have_count(60)
    assert await visit.serious_faults() == []
    await page.get_by_label("with errors").check()
    await expect(rows).not_to_have_count(60)
    await rows.first.get_by_role("link").click()

    spans = page.get_by_role("treeitem")
    await expect(spans.first).to_contain_text("web")
    assert await spans.count() > 1
    await expect(page.locator(".span-bar.level-error").first).to_be_visible()
    await expect(page.get_by_role("region", name="Logs of this trace")).to_contain_text("failed")
    await spans.last.click()
    await expect(page.get_by_role("complementary", name="Span")).to_contain_text("parent_span_id")
    assert await visit.serious_faults() == []


async def test_a_dashboard_is_made_drawn_changed_and_opened_again(
    visits: "Visits", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/dashboards")
    await page.get_by_role("button", name="New dashboard").click()
    await page.get_by_role("dialog").get_by_label("Name").fill("Of the <b>sample</b>")
    await page.get_by_role("button", name="Make it").click()
    await page.get_by_role("button", name="Chart").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill("By level")
    await form.get_by_label("Query").fill(f"['{sample}'] | summarize count() by bin_auto(_time), level")
    await form.get_by_role("button", name="Done").click()
    tile = page.get_by_role("region", name="By level")
    await expect(tile.locator("canvas")).to_be_visible()

    head = tile.locator(".tile-head")
    await head.focus()
    await head.press("Shift+ArrowRight")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("button", name="Save")).to_have_count(0)
    uid = page.url.partition("#/dashboards/")[2].partition("?")[0]
    kept = server.client.get(f"/v2/dashboards/uid/{uid}").json()["dashboard"]
    assert kept["name"] == "Of the <b>sample</b>"
    assert [(cell["w"], cell["x"]) for cell in kept["layout"]] == [(7, 0)]

    await page.reload()
    await expect(page.get_by_role("heading", name="Of the <b>sample</b>")).to_be_visible()
    await expect(tile.locator("canvas")).to_be_visible()
    assert await visit.serious_faults() == []


async def test_a_dashboard_of_axiom_opens_with_its_filter_and_hostile_texts_are_texts(
    visits: "Visits", server: "Server", sample: str
) -> None:
    charts: list[dict[str, Any]] = [
        {
            "id": "f",
            "name": "Filters",
            "type": "SmartFilter",
            "filters": [
                {
                    "id": "service",
                    "name": "Service",
                    "type": "select",
                    "options": [{"key": "All", "value": "", "default": True}, {"key": "API", "value": "api"}],
                }
            ],
        },
        {
            "id": "n",
            "name": "<img src=x onerror=alert(1)>",
            "type": "Statistic",
            "query": {
                "apl": "declare query_parameters (service:string = '');\n"
                f"['{sample}'] | where isempty(service) or ['service'] == service | summarize n = count()"
            },
        },
        {"id": "t", "name": "Note", "type": "Note", "text": "<script>alert(1)</script>"},
        {"id": "x", "name": "Unknown", "type": "Scatter<b>"},
    ]
    made = server.client.post(
        "/v2/dashboards",
        json={
            "dashboard": {
                "name": "Axiom's",
                "charts": charts,
                "layout": [{"i": "n", "x": 99, "y": -1, "w": 40, "h": 0}],
            }
        },
    )
    uid = made.json()["dashboard"]["uid"]
    visit = await visits(server.token)
    page = visit.page
    await visit.open(f"/dashboards/{uid}")
    await expect(page.locator(".number b")).to_have_text("300")
    await expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    await expect(page.get_by_role("heading", name="<img src=x onerror=alert(1)>")).to_be_visible()
    assert await visit.serious_faults() == []


@pytest.mark.slow
async def test_a_monitor_is_tried_made_seen_and_turned_off(visits: "Visits", server: "Server", sample: str) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/monitors")
    await page.get_by_role("button", name="New monitor").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill("Console errors")
    await form.get_by_label("Query").fill(
        f"['{sample}'] | where level == 'error' | summarize count() by bin(_time, 10m)"
    )
    await form.get_by_label("Over the last, minutes").fill("120")
    await form.get_by_role("button", name="Try it").click()
    await expect(form.locator("canvas")).to_be_visible()
    assert await visit.serious_faults() == []
    await form.get_by_role("button", name="Make it").click()
    row = page.get_by_role("row").filter(has_text="Console errors")
    await expect(row).to_be_visible()
    await row.get_by_role("button", name="Turn off").click()
    await expect(row).to_contain_text("Off")
    [monitor] = [each for each in server.client.get("/v2/monitors").json() if each["name"] == "Console errors"]
    assert monitor["disabled"]
    assert server.client.delete(f"/v2/monitors/{monitor['id']}").status_code == 204


async def test_the_lines_to_send_come_with_a_token_and_the_first_event_is_shown(
    visits: "Visits", server: "Server"
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/send")
    await page.get_by_role("button", name="Choose a dataset").click()
    await expect(page.get_by_role("menuitemradio", name="demo").first).to_be_visible()
    await expect(page.locator(".menu-list").get_by_text(AUDIT_TRAIL)).to_have_count(0)  # which takes nothing
    await page.keyboard.press("Escape")
    await page.get_by_label("Name of a new dataset").fill("console-sent")
    await page.get_by_role("button", name="Make it").click()
    await page.get_by_role("button", name="Make a token that may send to console-sent only").click()
    token = await page.locator("code.secret").inner_text()
    assert token in await page.locator(".code pre").inner_text()
    assert await visit.serious_faults() == []

    server.client.post(
        "/v1/datasets/console-sent/ingest", json=[{"message": "arrived"}], headers={"Authorization": f"Bearer {token}"}
    ).raise_for_status()
    await expect(page.locator(".arrived")).to_contain_text("arrived")
    await page.get_by_role("button", name="OpenTelemetry SDK").click()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in await page.locator(".code pre").inner_text()


async def test_a_token_is_made_shown_once_and_revoked(visits: "Visits", server: "Server") -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/settings/tokens")
    await page.get_by_role("button", name="New token").click()
    form = page.get_by_role("dialog")
    await form.get_by_label("Name").fill("console-made")
    await form.get_by_role("button", name="Make it").click()
    secret = await page.locator("code.secret").inner_text()
    authorization = {"Authorization": f"Bearer {secret}"}
    assert server.client.get("/v2/user", headers=authorization).status_code == 200
    await page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text="console-made")
    await row.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
    await expect(row).to_have_count(0)
    assert server.client.get("/v2/user", headers=authorization).status_code == 401
    assert await visit.serious_faults() == []


@pytest.mark.slow
async def test_a_dataset_is_deleted_only_by_its_name_typed(visits: "Visits", server: "Server") -> None:
    name = server.create("console-doomed")
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/settings/datasets")
    row = page.get_by_role("row").filter(has_text=name)
    await row.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    delete = dialog.get_by_role("button", name="Delete it and its events")
    await expect(delete).to_be_disabled()
    await dialog.get_by_label(f"Type {name} to confirm").fill(name)
    await delete.click()
    await expect(row).to_have_count(0)
    assert server.client.get(f"/v2/datasets/{name}").status_code == 404


@pytest.mark.parametrize(
    "tab", ["keys", "users", "organisations", "roles", "vfields", "views", "annotations", "health", "audit"]
)
@pytest.mark.slow
async def test_every_tab_of_the_settings_is_sound_on_a_phone(
    visits: "Visits", server: "Server", sample: str, tab: str
) -> None:
    visit = await visits(server.token, **PHONE)
    page = visit.page
    await visit.open(f"/settings/{tab}")
    await expect(page.locator(".records-box, .empty").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await visit.serious_faults() == []


async def test_what_a_token_may_not_do_is_not_shown(visits: "Visits", server: "Server", sample: str) -> None:
    made = server.client.post(
        "/v2/tokens",
        json={
            "name": "console-reader",
            "datasetCapabilities": {sample: {"query": ["read"]}},
            "orgCapabilities": {"datasets": ["read"]},
        },
    )
    server.create("a-dataset-of-others")
    visit = await visits(made.json()["token"])
    page = visit.page
    await visit.open("/explore")
    await expect(status(page)).to_contain_text("300 rows")
    await page.get_by_title("Choose a dataset").click()
    await expect(page.get_by_role("menuitemradio")).to_have_text(re.compile(f"^{sample}"))
    await page.keyboard.press("Escape")
    await visit.open("/settings")
    await expect(page.get_by_role("link", name="Datasets")).to_be_visible()
    for hidden in ("Tokens", "Users", "Health"):
        await expect(page.get_by_role("link", name=hidden, exact=True)).to_have_count(0)
    await expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    await expect(page.get_by_role("button", name="New dataset")).to_have_count(0)
    await visit.open("/monitors")
    await expect(status(page)).to_contain_text("300 rows")  # what may not be seen leads to Explore
    await expect(page.get_by_role("button", name="New monitor")).to_have_count(0)


async def test_who_leaves_explore_before_it_knows_the_datasets_is_not_taken_back(
    visits: "Visits", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    held = asyncio.Event()
    arrived = asyncio.Event()

    async def hold(route: "Route") -> None:
        arrived.set()
        await held.wait()
        await route.continue_()

    await page.route("**/v2/datasets", hold)
    await visit.open("/explore")
    await arrived.wait()
    await visit.open("/monitors")
    async with page.expect_response("**/v2/datasets"):
        held.set()
    await page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")
    await expect(page).to_have_url(re.compile("#/monitors"))
