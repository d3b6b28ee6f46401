"""A browser for the run and a visit of the console for each test, whose page may make no fault.

A test that is a coroutine runs in the fixture `runner`, which runs no loop between tests.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import BUILT, CHROMIUM, PATIENCE_MS, Visit, open_visit, sample_events

if TYPE_CHECKING:
    from conftest import Server
    from playwright.async_api import Browser, Playwright

OpenVisit = Callable[..., Awaitable[Visit]]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    runner = pyfuncitem.funcargs["runner"]
    assert isinstance(runner, asyncio.Runner)
    runner.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session")
def runner() -> Iterator["asyncio.Runner"]:
    """Yield the event loop of the browser."""
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="session")
def browser(process: None, runner: "asyncio.Runner") -> Iterator["Browser"]:
    """Yield the machine's Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt install chromium")
    if not BUILT.exists():
        pytest.skip("the console is not built: python hatch_build.py console")
    playwright_api = pytest.importorskip("playwright.async_api")
    playwright_api.expect.set_options(timeout=PATIENCE_MS)

    async def start() -> "tuple[Playwright, Browser]":
        playwright = await playwright_api.async_playwright().start()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox, timeout=PATIENCE_MS)
        return playwright, await launched

    async def stop(playwright: "Playwright", started: "Browser") -> None:
        await started.close()
        await playwright.stop()

    playwright, started = runner.run(start())
    yield started
    runner.run(stop(playwright, started))


@pytest.fixture
def visits(browser: "Browser", server: "Server", runner: "asyncio.Runner") -> Iterator[OpenVisit]:
    """Open visits of the shared server, each in a context of its own; none may have made a fault at the end."""
    opened: list[Visit] = []

    async def visit(token: str = "", **options: Any) -> Visit:
        new = await open_visit(browser, server.url, **options)
        opened.append(new)
        if token:
            await new.sign_in(token)
        return new

    async def close() -> None:
        for each in opened:
            await each.context.close()

    yield visit
    runner.run(close())
    assert [fault for each in opened for fault in each.faults] == []


@pytest.fixture(scope="session")
def sample(server: "Server") -> str:
    """Return a dataset with events of the last hour."""
    name = server.create("console-sample")
    answer = server.ingest(name, sample_events(time.time()), "application/x-ndjson")
    assert answer.status_code == 200, answer.text
    return name
