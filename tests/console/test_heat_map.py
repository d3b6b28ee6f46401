"""Histograms in a browser: a heat map in Explore and on a dashboard, by mouse, by keys and as a table."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import Server
    from support.browser import Visit

expect = pytest.importorskip("playwright.async_api").expect


@pytest.mark.slow
async def test_histograms_over_time_are_a_heat_map_for_the_mouse_and_for_keys(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server", sample: str
) -> None:
    visit = await visits(server.token)
    page = visit.page
    await visit.open("/explore", q=f"['{sample}'] | summarize histogram(['http.status'], 3) by bin(_time, 30m)")
    drawn = page.get_by_role("group", name="Heat map of histogram_http.status")
    await expect(drawn.locator("canvas")).to_be_visible()
    said = page.locator(".heat-said")
    await drawn.focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowUp"):  # the first key begins in the corner
        await page.keyboard.press(key)
    await expect(said).to_contain_text("0 of 300 to 400")
    await page.keyboard.press("ArrowDown")
    await expect(said).to_contain_text("of 200 to 300")
    await drawn.locator(".u-over").hover(position={"x": 30, "y": 10})
    await expect(said).to_contain_text("of 400 to 500")

    await page.get_by_text("Counts as a table").click()
    counts = await page.locator(".heat-table tbody tr td:last-child").all_inner_texts()
    assert sum(map(int, counts)) == 300
    assert await visit.serious_faults() == []


@pytest.mark.slow
async def test_a_dashboard_draws_heat_maps_of_groups_whatever_they_are_called(
    visits: "Callable[..., Awaitable[Visit]]", server: "Server"
) -> None:
    dataset = server.create("console-heat")
    names = ["<img src=x onerror=alert(1)>", "__proto__", "b" * 300]
    assert server.ingest(dataset, [{"by": name, "took": 2.5 * n} for n, name in enumerate(names)]).status_code == 200
    apl = f"['{dataset}'] | summarize histogram(took, 5) by by"
    made = server.client.post(
        "/v2/dashboards",
        json={
            "dashboard": {
                "name": "Heat",
                "charts": [{"id": "h", "name": "Took", "type": "Heatmap", "query": {"apl": apl}}],
                "layout": [{"i": "h", "x": 0, "y": 0, "w": 12, "h": 8}],
            }
        },
    )
    visit = await visits(server.token, color_scheme="dark", viewport={"width": 390, "height": 800})
    page = visit.page
    await visit.open(f"/dashboards/{made.json()['dashboard']['uid']}")
    drawn = page.get_by_role("group", name="Heat map of histogram_took: 3 columns of 5 ranges")
    await expect(drawn).to_be_visible()
    await drawn.focus()
    await page.keyboard.press("ArrowUp")
    await expect(page.locator(".heat-said")).to_contain_text("1 of 0 to 1 · <img")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await visit.serious_faults() == []
