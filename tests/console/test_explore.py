"""Explore in a browser: what is asked, shown, filtered and zoomed, by mouse and by keys, whatever the events hold."""

import asyncio
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from support.browser import PATIENCE_MS, status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Server
    from playwright.async_api import Locator, Page, Route
    from support.browser import Visit

expect = pytest.importorskip("playwright.async_api").expect

ELSEWHERE = "meanwhile <b>elsewhere</b>"
HOSTILE = "<img src=x onerror=alert(1)>"
LONG_AGO = "1994-03-21T12:34:56Z"  # when no other test's dataset has an event
BIG_BYTES = 625_000  # of each of eight fields
DARK_PHONE = {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}


def asked(page: "Page") -> dict[str, str]:
    """Return the parameters of the address."""
    return {name: values[0] for name, values in parse_qs(page.url.partition("?")[2]).items()}


def rows(page: "Page") -> "Locator":
    return page.locator("[role=row][aria-rowindex]")


async def test_a_query_is_answered_and_its_error_is_marked_in_the_editor(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']")
    await expect(status(page)).to_contain_text("300 rows")
    await expect(page.get_by_role("img", name="300 events over time")).to_be_visible()
    await expect(rows(page).first).to_contain_text("request 0 served")
    await expect(rows(page).first).to_contain_text("4611686018427387904")  # 2^62, which no double holds
    assert await rows(page).count() < 100  # no more are drawn than are seen
    assert await visit.serious_faults() == []

    visit.expected.add(400)
    await page.locator(".cm-content").click()
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(f"['{sample}'] | summarise count() by level")
    await page.keyboard.press("Control+Enter")

    await expect(page.get_by_role("alert")).to_contain_text("Line 1, column")
    await expect(page.get_by_role("alert")).to_contain_text("summarize")
    await expect(page.locator(".cm-lintRange-error")).to_have_text("summarise")


async def test_a_value_filters_in_the_sidebar_and_in_the_event(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']")
    await page.get_by_role("complementary", name="Fields").get_by_role("button", name="service").click()
    await page.get_by_role("button", name="Only api").click()
    await expect(status(page)).to_contain_text("100 rows")
    assert 'service == "api"' in asked(page)["q"]

    await rows(page).first.click()
    event = page.get_by_role("complementary", name="Event")
    await expect(event).to_contain_text("request 0 served")
    await event.get_by_role("button", name="Without this level").click()
    await expect(status(page)).to_contain_text("40 rows")
    assert 'level != "info"' in asked(page)["q"]
    assert await visit.serious_faults() == []


async def test_the_columns_of_the_table_are_chosen_and_stand_in_the_address(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']")
    columns = page.get_by_role("columnheader")
    await expect(columns.filter(has_text="level")).to_have_count(1)
    drawn = await columns.count()

    await page.get_by_role("button", name="Columns").click()
    await page.get_by_label("Find a field").last.fill("LEV")
    await page.get_by_role("button", name="level", exact=True, pressed=True).click()

    await expect(columns).to_have_count(drawn - 1)
    await expect(columns.filter(has_text="level")).to_have_count(0)
    assert "level" not in json.loads(asked(page)["columns"])
    assert await visit.serious_faults() == []
    await page.reload()
    await expect(columns).to_have_count(drawn - 1)

    await page.get_by_role("button", name="Columns").click()
    await page.get_by_role("button", name="Those with a value").click()
    await expect(columns).to_have_count(drawn)


async def test_dragging_over_the_chart_zooms_in_and_the_way_back_leads_out(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']", start="now-1h", end="now")
    chart = page.get_by_role("img", name="300 events over time")
    await expect(chart).to_be_visible()
    box = await chart.bounding_box()
    assert box is not None

    await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20, steps=3)
    await page.mouse.up()

    await expect(page.get_by_role("img", name="300 events over time")).to_have_count(0)
    assert asked(page)["start"].startswith("20")
    assert asked(page)["end"].startswith("20")
    await page.go_back()
    await expect(chart).to_be_visible()
    assert asked(page)["start"] == "now-1h"


async def test_keys_alone_ask_and_look_at_an_event(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits()
    page = visit.page
    await visit.open("/explore", q=f"['{sample}'] | take 3")
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.keyboard.insert_text(server.token)
    await page.keyboard.press("Enter")
    await expect(page.locator(".cm-content")).to_be_visible()

    await tab_to(page, ".cm-content")
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(f"['{sample}'] | where level == 'error' | take 5")
    await page.keyboard.press("Control+Enter")
    await expect(status(page)).to_contain_text("5 rows")

    await page.keyboard.press("Escape")
    await tab_to(page, "[role=grid]")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("[role=row][aria-selected=true]")).to_have_attribute("aria-rowindex", "3")
    await expect(page.get_by_role("complementary", name="Event")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("complementary", name="Event")).to_have_count(0)


async def tab_to(page: "Page", selector: str) -> None:
    """Press Tab until what has the focus matches a selector, in a shadow root or not."""
    script = """selector => {
        let active = document.activeElement;
        while (active && active.shadowRoot && active.shadowRoot.activeElement) active = active.shadowRoot.activeElement;
        return !!active && active.matches(selector);
    }"""
    for _ in range(60):
        if await page.evaluate(script, selector):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


@pytest.mark.slow
async def test_it_fits_a_phone_and_is_dark_where_the_system_is(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token, **DARK_PHONE)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']")
    await expect(rows(page).first).to_be_visible()

    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    red, green, blue = json.loads(
        await page.evaluate("'[' + getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3) + ']'")
    )
    assert max(red, green, blue) < 64
    assert await visit.serious_faults() == []
    await rows(page).first.click()
    await expect(page.get_by_role("complementary", name="Event")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_markup_in_names_and_values_is_text(visits: "Callable[..., Awaitable[Visit]]", server: "Server") -> None:
    dataset = server.create("console-hostile")
    event = {
        HOSTILE: HOSTILE,
        "level": HOSTILE,
        "message": "</script><script>alert(2)</script>",
        "url": "javascript:alert(3)",
        "nested": {HOSTILE: [HOSTILE, {"__proto__": {"polluted": HOSTILE}}]},
        "__proto__": HOSTILE,
        "constructor": "c",
        "bidi": "\u202egnp.exe\u0000\u001b[31m",
    }
    assert server.ingest(dataset, [event]).json()["ingested"] == 1
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{dataset}']")
    await expect(status(page)).to_contain_text("1 row")

    for field in (HOSTILE, "level"):
        await (
            page.get_by_role("complementary", name="Fields")
            .get_by_role("button", name=field, exact=False)
            .first.click()
        )
        await expect(page.get_by_role("button", name=f"Only {HOSTILE}")).to_be_visible()
    await page.get_by_role("button", name=f"Only {HOSTILE}").click()
    await expect(status(page)).to_contain_text("1 row")
    await rows(page).first.click()
    shown = page.get_by_role("complementary", name="Event")
    await expect(shown).to_contain_text("</script><script>alert(2)</script>")
    await shown.get_by_role("button", name="JSON").click()
    await expect(shown).to_contain_text(HOSTILE)

    assert await page.locator("#app img[src=x], #app script, #app a[href^=javascript]").count() == 0
    assert await page.evaluate("({}).polluted === undefined")


@pytest.mark.slow
async def test_what_happened_around_an_event_is_found_in_all_datasets(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    here, other = server.create("console-here"), server.create("console-elsewhere")
    assert server.ingest(here, [{"_time": LONG_AGO, "message": "here"}]).status_code == 200
    assert server.ingest(other, [{"_time": LONG_AGO, "message": ELSEWHERE, "_dataset": "x"}]).status_code == 200
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{here}'] | take 5", start="1994-03-21T00:00:00Z", end="1994-03-22T00:00:00Z")
    await rows(page).first.click()
    event = page.get_by_role("complementary", name="Event")
    await event.get_by_role("button", name="Around this").click()
    await event.get_by_role("button", name="In all datasets").click()

    await expect(page.get_by_role("gridcell", name=here, exact=True)).to_be_visible()
    found = page.get_by_role("row").filter(has_text=ELSEWHERE)
    await expect(found.get_by_role("gridcell").nth(1)).to_have_text(other)
    await found.click()
    await event.get_by_role("button", name="Around this").click()
    await event.get_by_role("button", name=f"In all of {other}").click()
    await expect(status(page)).to_contain_text("1 row")
    assert asked(page)["q"] == f"['{other}']"

    await visit.open("/explore", q=f"['{sample}'] | take 1")
    await rows(page).first.click()
    await event.get_by_role("button", name="Trace", exact=True).click()
    assert "trace=0000" in page.url


@pytest.mark.slow
async def test_an_event_of_five_megabytes_does_not_freeze_it(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server"
) -> None:
    dataset = server.create("console-big")
    assert server.ingest(dataset, [{f"field {number}": "x" * BIG_BYTES for number in range(8)}]).json()["ingested"] == 1
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{dataset}']")
    await expect(status(page)).to_contain_text("1 row")
    await rows(page).first.click()

    event = page.get_by_role("complementary", name="Event")
    await expect(event.get_by_role("button", name=f"All {BIG_BYTES} characters")).to_have_count(8)
    await event.get_by_role("button", name="JSON").click()
    await expect(event).to_contain_text("The first 100,000 of 5,000,")
    assert len(await page.locator("#app").inner_text()) < 110_000


@pytest.mark.slow
async def test_an_event_of_ten_thousand_fields_is_drawn_as_far_as_it_is_seen(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server"
) -> None:
    dataset = server.create("console-wide")
    wide = {f"{HOSTILE} {number}": number for number in range(9_990)}
    assert server.ingest(dataset, [{**wide, "message": "wide"}]).json()["ingested"] == 1
    visit = await visits(server.token)
    page = visit.page
    before_ms = await visit.processor_ms()
    await visit.open("/explore", q=f"['{dataset}']")
    await expect(status(page)).to_contain_text("1 row")
    await rows(page).first.click()
    event = page.get_by_role("complementary", name="Event")
    await expect(event.get_by_role("button", name="200 more of 9993 fields")).to_be_visible()
    await event.get_by_label("Find a field of this event").fill("> 9989")
    await expect(event.locator("dt")).to_have_count(1)
    await event.get_by_label("Find a field of this event").fill("")
    await page.get_by_role("button", name="Events").click()
    await expect(page.locator(".list-row")).to_contain_text("wide")
    await page.locator(".cm-content").click()
    await page.keyboard.type(" | where img")
    await expect(page.locator(".cm-completionLabel").first).to_contain_text(HOSTILE)

    assert await page.locator("*").count() < 6_000
    assert await visit.processor_ms() - before_ms < 4_000


@pytest.mark.slow
async def test_a_query_that_runs_shows_how_long_and_is_stopped(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}']")
    await expect(status(page)).to_contain_text("300 rows")
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url))
    unanswered: list[Route] = []
    await page.route("**/v1/datasets/_apl*", lambda route: unanswered.append(route))
    await page.get_by_role("button", name="Run").click()
    await expect(status(page)).to_contain_text(re.compile(r"Running … [1-9][0-9.]* s"))
    await page.get_by_role("button", name="Stop").click()

    await expect(status(page)).to_contain_text("Stopped after")
    await expect(rows(page)).to_have_count(0)  # which were of the answer before
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while len(ended) < 2:  # with that for the hits
            await page.wait_for_timeout(10)
    for route in unanswered:
        await route.abort()
    await page.unroute("**/v1/datasets/_apl*")
    await page.get_by_role("button", name="Run").click()
    await expect(status(page)).to_contain_text("300 rows")


@pytest.mark.slow
async def test_an_answer_is_drawn_as_bars_and_added_to_a_dashboard(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    apl = f"['{sample}'] | summarize count() by bin(_time, 10m), level"
    await visit.open("/explore", q=apl)
    await page.get_by_role("button", name="Bars").click()
    await expect(page.get_by_role("button", name="Bars")).to_have_attribute("aria-pressed", "true")
    assert asked(page)["draw"] == "bar"
    assert await visit.serious_faults() == []

    uids = []
    for name, board in (("First", "A new one"), ("Second", "Of <b>Explore</b>")):
        await page.get_by_role("button", name="Share").click()
        await page.get_by_role("button", name="Add to a dashboard").click()
        form = page.get_by_role("dialog")
        await form.get_by_label("Name of the chart").fill(name)
        await form.get_by_role("combobox").select_option(label=board)
        if board == "A new one":
            await form.get_by_label("Name of the dashboard").fill("Of <b>Explore</b>")
        await form.get_by_role("button", name="Add it").click()
        await expect(page.get_by_role("region", name=name).locator("canvas")).to_be_visible()
        uids.append(page.url.partition("#/dashboards/")[2].partition("?")[0])
        await page.go_back()

    assert uids[0] == uids[1]
    kept = server.client.get(f"/v2/dashboards/uid/{uids[0]}").json()["dashboard"]
    assert [(each["name"], each["type"], each["query"]["apl"]) for each in kept["charts"]] == [
        ("First", "TimeSeries", apl),
        ("Second", "TimeSeries", apl),
    ]
    assert kept["charts"][0]["query"]["queryOptions"] == {"timeSeriesVariant": "bars"}
    assert [(cell["x"], cell["y"]) for cell in kept["layout"]] == [(0, 0), (6, 0)]
