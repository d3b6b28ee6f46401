"""Queries beside the event loop, each of which stops when its client hangs up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from tailrace.access import Grant
from tailrace.api.services import Services
from tailrace.query import Interrupt

T = TypeVar("T")


async def run(request: Request, services: Services, grant: Grant, work: Callable[[Interrupt], T]) -> T:
    """What `work` returns, which runs in a thread; raises ClientDisconnect when the client hangs up before."""
    async with hang_up(request) as gone:
        return await run_one(services, grant, work, gone)


async def run_one(services: Services, grant: Grant, work: Callable[[Interrupt], T], gone: "asyncio.Future[None]") -> T:
    """The same, where `gone` is done when the client has hung up."""
    interrupt = Interrupt()
    with services.turns.one(grant.token_id):
        running = asyncio.get_running_loop().run_in_executor(services.query_threads, work, interrupt)
        services.running.add(interrupt)
        try:
            either: set[asyncio.Future[T] | asyncio.Future[None]] = {running, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise ClientDisconnect
            return running.result()
        finally:
            services.running.discard(interrupt)
            if not running.done():
                running.add_done_callback(_forget)
                interrupt.stop("the client hung up")


@asynccontextmanager
async def hang_up(request: Request) -> AsyncIterator["asyncio.Future[None]"]:
    """A future that is done when the client hangs up; the request's body must have been read."""
    waiting = asyncio.create_task(_hang_up(request))
    try:
        yield waiting
    finally:
        waiting.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _forget(running: "asyncio.Future[T]") -> None:
    """Takes note of how an abandoned query ended, which nobody waits for any more."""
    if not running.cancelled():
        running.exception()
