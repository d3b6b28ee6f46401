"""`python -m bench.pictures` (or `make pictures`): the pictures of docs/console.md, of a server with the demo's events.

The events are of one hour of a fixed day, and the page is told that it has just passed: the same pictures in every run,
but for what a new version draws otherwise. Needs Chromium, and the console built.
"""

import argparse
import base64
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
from msgspec import Struct

from bench import queries, servers
from tailrace.cli.demo_events import otlp_traces, story

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SEED = 1
END = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
REQUESTS = 6000
REQUESTS_A_BODY = 500
QUALITY = 0.8  # of WebP
PATIENCE_MS = 60_000
SETTLING_MS = 600  # of what moves as it comes
HEADERS = {"X-Tailrace-Console": "1"}
LAPTOP = {"viewport": {"width": 1280, "height": 760}}
PHONE = {"viewport": {"width": 390, "height": 760}}
WEBP = """async ([png, quality]) => {
    const picture = new Image();
    picture.src = `data:image/png;base64,${png}`;
    await picture.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext('2d').drawImage(picture, 0, 0);
    return canvas.toDataURL('image/webp', quality).split(',')[1];
}"""

WEB = "['demo'] | where service == 'web'"
HEAT_MAP = "['demo'] | where duration_ms < 100 | summarize histogram(duration_ms, 20) by bin(_time, 1m)"
CHARTS = (
    ("Lines by level", "TimeSeries", "['demo'] | summarize count() by bin(_time, 2m), level"),
    ("How long they take, ms", "Heatmap", HEAT_MAP),
    ("Slowest routes, 95th percentile", "TopK", f"{WEB} | summarize percentile(duration_ms, 95) by ['http.route']"),
    ("Errors", "Statistic", "['demo'] | where level == 'error' | summarize errors = count()"),
)
LAYOUT = ((0, 0, 7, 8), (7, 0, 5, 8), (0, 8, 7, 7), (7, 8, 5, 7))


class Picture(Struct, frozen=True):
    """One picture: a page, what it has to show, and what is done there before."""

    name: str
    path: str
    params: dict[str, str]
    shown: str  # a selector
    then: Callable[["Page"], None] = lambda page: None
    options: Mapping[str, Any] = MappingProxyType(LAPTOP)


def main() -> None:
    """Make the pictures anew."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="directory of the pictures")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    options = parser.parse_args()
    options.to.mkdir(exist_ok=True)
    with servers.directory_in(options.directory) as directory, servers.tailrace(directory) as server:
        with queries.client_of(server) as client:
            uid = fill(client)
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for picture in pictures(uid):
                content = taken(browser, server, picture)
                (options.to / f"{picture.name}.webp").write_bytes(content)
                print(f"{picture.name}.webp {len(content):,} bytes")
            browser.close()


def fill(client: httpx.Client) -> str:
    """Send the demo's events, and make a dashboard of them; return its uid."""
    chance = random.Random(SEED)
    client.post("/v2/datasets", json={"name": "demo-traces"}).raise_for_status()  # demo is there from the start
    begin_ns = int((END - HOUR).timestamp()) * 1_000_000_000
    times = sorted(begin_ns + int(chance.random() * HOUR.total_seconds() * 1e9) for _ in range(REQUESTS))
    for first in range(0, REQUESTS, REQUESTS_A_BODY):
        stories = [story(chance, at_ns) for at_ns in times[first : first + REQUESTS_A_BODY]]
        logs = [log for each in stories for log in each.logs]
        client.post("/v1/datasets/demo/ingest", json=logs).raise_for_status()
        spans = otlp_traces([span for each in stories for span in each.spans])
        client.post("/v1/traces", json=spans, headers={"X-Axiom-Dataset": "demo-traces"}).raise_for_status()
    charts = [
        {"id": str(number), "name": name, "type": kind, "query": {"apl": apl}}
        for number, (name, kind, apl) in enumerate(CHARTS)
    ]
    layout = [{"i": str(number), "x": x, "y": y, "w": w, "h": h} for number, (x, y, w, h) in enumerate(LAYOUT)]
    made = client.post("/v2/dashboards", json={"dashboard": {"name": "Shop", "charts": charts, "layout": layout}})
    made.raise_for_status()
    uid: str = made.json()["dashboard"]["uid"]
    return uid


def pictures(dashboard: str) -> tuple[Picture, ...]:
    """Return what is drawn."""
    events = {"q": "['demo']"}
    return (
        Picture(
            "explore",
            "/explore",
            {"q": "['demo']\n| where level in ('error', 'warn')"},
            "[role=row][aria-rowindex]",
            lambda page: page.locator("[role=row][aria-rowindex]").nth(2).click(),
        ),
        Picture("heat-map", "/explore", {"q": HEAT_MAP}, ".heat-map", options={**LAPTOP, "color_scheme": "dark"}),
        Picture("trace", "/traces", {"dataset": "demo-traces", "failed": "1"}, ".records a", _open_trace),
        Picture("dashboard", f"/dashboards/{dashboard}", {}, ".heat-map"),
        Picture("send", "/send", {}, "pre"),
        Picture("phone", "/explore", events, "[role=row][aria-rowindex]", options={**PHONE, "color_scheme": "dark"}),
    )


def _open_trace(page: "Page") -> None:
    page.locator(".records a", has_text="POST /checkout").first.click()
    page.wait_for_selector(".span-row", timeout=PATIENCE_MS)


def taken(browser: "Browser", server: servers.Tailrace, picture: Picture) -> bytes:
    """Return a picture as WebP."""
    context = browser.new_context(timezone_id="UTC", locale="en-GB", **picture.options)
    page = _signed_in(context, server)
    page.clock.set_fixed_time(END)
    params = {"start": "now-1h", "end": "now", **picture.params}
    page.goto(f"http://{server.address[0]}:{server.address[1]}/#{picture.path}?{urlencode(params)}")
    page.wait_for_selector(picture.shown, timeout=PATIENCE_MS)
    picture.then(page)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(SETTLING_MS)
    png = base64.b64encode(page.screenshot()).decode()
    blank = context.new_page()
    webp: str = blank.evaluate(WEBP, [png, QUALITY])
    context.close()
    return base64.b64decode(webp)


def _signed_in(context: "BrowserContext", server: servers.Tailrace) -> "Page":
    url = f"http://{server.address[0]}:{server.address[1]}/tailrace/v1/session"
    answer = context.request.post(url, headers=HEADERS, data={"token": server.token})
    if not answer.ok:
        raise RuntimeError(f"signing in was answered with {answer.status}")
    return context.new_page()


if __name__ == "__main__":
    main()
