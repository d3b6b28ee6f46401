"""A browser at the console: Debian's Chromium, driven by Playwright. A test of it is a coroutine."""

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import tailrace

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Locator, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BUILT = Path(tailrace.__file__).parent / "console" / "static" / "index.html"
SESSION = "/tailrace/v1/session"
HEADERS = {"X-Tailrace-Console": "1"}
PATIENCE_MS = 60_000  # as the machine may be shared
SERIOUS = {"serious", "critical"}
# What a browser says of an answer that is an error, which the page shows by itself.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
OWN = ("data:", "blob:", "about:")


class Visit:
    """A page in a context of its own, and the faults that it makes."""

    def __init__(self, url: str, context: "BrowserContext", page: "Page") -> None:
        self.url = url
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self._performance: CDPSession | None = None
        self.allowed: tuple[str, ...] = (f"{url}/", *OWN)  # beginnings of the addresses that may be asked
        self.expected: set[int] = {401}  # statuses of answers that are no faults, as the page shows them
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", self._see)

    def _hear(self, message: "ConsoleMessage") -> None:
        refused = REFUSED.match(message.text)
        if refused and int(refused[1]) in self.expected:
            return
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _see(self, request: "Request") -> None:
        if not request.url.startswith(self.allowed):
            self.faults.append(f"a request to {request.url}")

    async def sign_in(self, token: str) -> None:
        """Sign in beside the page, which is opened afterwards."""
        answer = await self.context.request.post(self.url + SESSION, headers=HEADERS, data={"token": token})
        assert answer.ok, await answer.text()

    async def open(self, path: str = "/", **params: str) -> None:
        """Open a page of the console, such as /explore."""
        await self.page.goto(f"{self.url}/#{path}?{urlencode(params)}" if params else f"{self.url}/#{path}")

    async def processor_ms(self) -> float:
        """Return how long the page's main thread has worked since the first call of this, in ms of processor time.

        That of a machine that others use too says little by the clock.
        """
        if self._performance is None:
            self._performance = await self.context.new_cdp_session(self.page)
            await self._performance.send("Performance.enable", {"timeDomain": "threadTicks"})
        metrics = (await self._performance.send("Performance.getMetrics"))["metrics"]
        return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    async def serious_faults(self) -> list[str]:
        """Return what axe-core finds wrong with the accessibility of the page as it is shown."""
        from axe_playwright_python.async_playwright import Axe

        found = await Axe().run(self.page)
        return [
            f"{fault['id']}: {fault['help']}: {[node['html'][:200] for node in fault['nodes'][:3]]}"
            for fault in found.response["violations"]
            if fault["impact"] in SERIOUS
        ]


async def open_visit(browser: "Browser", url: str, **options: Any) -> Visit:
    """Open a context with an empty page."""
    chosen = {"viewport": {"width": 1280, "height": 800}, "timezone_id": "UTC", "locale": "en-GB", **options}
    context = await browser.new_context(**chosen)
    context.set_default_timeout(PATIENCE_MS)
    return Visit(url, context, await context.new_page())


def status(page: "Page") -> "Locator":
    """Return the line that says what was found."""
    return page.locator("p[role=status]")


def sample_events(now_s: float, count: int = 300) -> bytes:
    """Return events of the last fifty minutes, the newest first, as lines of JSON."""
    levels, services = ("info", "info", "warn", "info", "error"), ("api", "web", "worker")
    lines = (
        {
            "_time": int((now_s - 3000 * number / count) * 1000),
            "level": levels[number % 5],
            "service": services[number % 3],
            "message": f"request {number} served",
            "http": {"status": 500 if number % 5 == 4 else 200},
            "trace_id": f"{number:032x}",
            "big": 2**62 + number,
        }
        for number in range(count)
    )
    return b"\n".join(json.dumps(line).encode() for line in lines)
