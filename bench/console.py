"""`python -m bench.console`: how fast the console is in Chromium, over 1 M events of a real server.

Each figure is the best of several, as other work on the machine disturbs it; beside it stands the median. Needs
Chromium, and the console built.
"""

import argparse
import shutil
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import queries, servers
from bench.generators import API_LOGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SEED = 1
EVENTS_PER_BODY = 10_000
REPEATS = 7
KEYS = " | where status >= 500 and duration_ms > 250 and service has"
ROWS = 10_000
PATIENCE_MS = 120_000
SETTLING_MS = 500
HEADERS = {"X-Tailrace-Console": "1"}

# Of a page that was opened: when something was first drawn, and how long its queries took, in ms.
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
ASKED = """performance.getEntriesByType('resource').filter(each => each.name.includes('/_apl'))
    .map(each => each.responseEnd - each.startTime)"""
# From the click until the rows have been drawn.
RUN = """rows => new Promise(resolve => {
    const began = performance.now();
    const isDone = () => document.querySelector('p[role=status]')?.textContent.includes(rows);
    const check = () => isDone() ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)))
        : setTimeout(check, 4);
    [...document.querySelectorAll('button')].find(each => each.textContent.trim() === 'Run').click();
    setTimeout(check, 4);
})"""


class Figure(Struct, frozen=True):
    """What was measured, and what it is to be below."""

    name: str
    values_ms: list[float]
    aim_ms: float


def main() -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    with servers.directory_in(options.directory) as directory:
        with servers.tailrace(directory) as server:
            span = fill(server, options.events)
            server.stop()
        with servers.tailrace(directory) as server:
            figures = measure(server, span, options.repeats)
    show(figures, options.events)


def fill(server: servers.Tailrace, events: int) -> tuple[str, str]:
    """Send events; return the times of the first and of a moment after the last, as the console's address has them."""
    server.create(API_LOGS.dataset)
    source = islice(API_LOGS.events(SEED), events)
    with queries.client_of(server) as client:
        while lines := list(islice(source, EVENTS_PER_BODY)):
            queries.send(client, f"/v1/datasets/{API_LOGS.dataset}/ingest", b"\n".join(lines))
        (found,) = client.get("/v1/datasets/_stats").json()["datasets"][:1]
    return found["minTime"], found["maxTime"]


def measure(server: servers.Tailrace, span: tuple[str, str], repeats: int) -> list[Figure]:
    """Return the figures of one browser."""
    from playwright.sync_api import sync_playwright

    url = f"http://{server.address[0]}:{server.address[1]}"
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        address = explore_address(url, span)
        painted, asked = _opened(browser, server, address, repeats)
        context = signed_in(browser, server)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("[role=row][aria-rowindex]", timeout=PATIENCE_MS)
        typed = [_typed(context, page) for _ in range(repeats)]
        rows = _rows(page, explore_address(url, span, f" | take {ROWS}"), repeats)
        browser.close()
    return [
        Figure("first paint, cold cache", painted, 1000),
        Figure("Explore's opening queries, both", asked, 300),
        Figure("a keystroke in the editor, processor time", [mean(each) for each in typed], 16),
        Figure("the slowest of them", [max(each) for each in typed], 16),
        Figure(f"the page of {ROWS} rows", rows, 1000),
    ]


def explore_address(url: str, span: tuple[str, str], rest: str = "") -> str:
    """Return the address of Explore with the events of a time."""
    query = f"['{API_LOGS.dataset}']{rest}"
    return f"{url}/#/explore?{urlencode({'q': query, 'start': span[0], 'end': span[1]})}"


def signed_in(browser: "Browser", server: servers.Tailrace) -> "BrowserContext":
    """Return a context with an empty cache and a session."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    url = f"http://{server.address[0]}:{server.address[1]}/tailrace/v1/session"
    answer = context.request.post(url, headers=HEADERS, data={"token": server.token})
    if not answer.ok:
        raise RuntimeError(f"signing in was answered with {answer.status}")
    return context


def _opened(
    browser: "Browser", server: servers.Tailrace, address: str, repeats: int
) -> tuple[list[float], list[float]]:
    """Return the times of first paint, and of the slower of the two queries with which Explore opens."""
    painted, asked = [], []
    for _ in range(repeats):
        context = signed_in(browser, server)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("[role=row][aria-rowindex]", timeout=PATIENCE_MS)
        page.wait_for_selector("figure.hits", timeout=PATIENCE_MS)
        painted.append(float(page.evaluate(PAINTED)))
        asked.append(max(page.evaluate(ASKED)))
        context.close()
    return painted, asked


def _typed(context: "BrowserContext", page: "Page") -> list[float]:
    """Return what the page's main thread works for each of KEYS, in ms of its processor time."""
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked_ms() -> float:
        metrics: list[dict[str, Any]] = devtools.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    page.click(".cm-content")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(f"['{API_LOGS.dataset}']")
    page.keyboard.press("Control+ ")  # which reads the words of the language
    page.wait_for_timeout(SETTLING_MS)
    page.keyboard.press("Escape")
    page.wait_for_timeout(SETTLING_MS)
    times = []
    for key in KEYS:
        before = worked_ms()
        page.keyboard.type(key)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        times.append(worked_ms() - before)
    return times


def _rows(page: "Page", address: str, repeats: int) -> list[float]:
    """Return the times from a click on Run until the rows are drawn."""
    page.goto(address)
    shown = f"{ROWS:,} row"
    _until(page, shown)
    return [float(page.evaluate(RUN, shown)) for _ in range(repeats)]


def _until(page: "Page", text: str) -> None:
    page.locator("p[role=status]", has_text=text).wait_for(timeout=PATIENCE_MS)


def show(figures: list[Figure], events: int) -> None:
    """Print the figures."""
    table = Table(title=f"The console over {events:,} events")
    table.add_column("figure")
    for title in ("best, ms", "median, ms", "aim, ms"):
        table.add_column(title, justify="right")
    for figure in figures:
        best, middle = min(figure.values_ms), median(figure.values_ms)
        word = "" if best < figure.aim_ms else " missed"
        table.add_row(figure.name, f"{best:.1f}{word}", f"{middle:.1f}", f"{figure.aim_ms:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
