"""Queries beside the event loop, each of which stops when its client hangs up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from tailrace.access import Grant
from tailrace.api.services import Services
from tailrace.events import Overloaded
from tailrace.query import Interrupt

T = TypeVar("T")

RETRY_AFTER_S = 5


async def run(request: Request, services: Services, grant: Grant, work: Callable[[Interrupt], T]) -> T:
    """Return what `work` returns, which runs in a thread; raise ClientDisconnect when the client hangs up before.

    The time of a query runs from this call, waiting for a thread included.
    """
    async with disconnection(request) as gone:
        return await run_until(services, grant, work, gone)


async def run_until(
    services: Services,
    grant: Grant,
    work: Callable[[Interrupt], T],
    gone: "asyncio.Future[None]",
    *,
    is_limited: bool = True,
) -> T:
    """Return the same, where `gone` is done when the client has hung up.

    What is not `is_limited` may take any time once a thread has begun it, each of its queries the time of one.
    """
    timeout_s = services.engine.limits.timeout_s
    interrupt = Interrupt(timeout_s if is_limited else None)
    with services.query_limiter.acquire(grant.token_id):
        begun = services.query_threads.submit(work, interrupt)
        running = asyncio.wrap_future(begun)
        services.running.add(interrupt)
        try:
            either: set[asyncio.Future[T] | asyncio.Future[None]] = {running, gone}
            done, _ = await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                if begun.cancel():
                    raise Overloaded(
                        f"the query waited for its turn for query_timeout_s = {timeout_s:g} s",
                        retry_after_s=RETRY_AFTER_S,
                    )
                if is_limited:
                    interrupt.expire(timeout_s)
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise ClientDisconnect
            return running.result()
        finally:
            services.running.discard(interrupt)
            if not running.done():
                begun.cancel()
                running.add_done_callback(_forget)
                interrupt.stop("the client hung up")


@asynccontextmanager
async def disconnection(request: Request) -> AsyncIterator["asyncio.Future[None]"]:
    """Yield a future that is done when the client hangs up; the request's body must have been read."""
    waiting = asyncio.create_task(_disconnected(request))
    try:
        yield waiting
    finally:
        waiting.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _forget(running: "asyncio.Future[T]") -> None:
    """Take note of how an abandoned query ended, which nobody waits for any more."""
    if not running.cancelled():
        running.exception()
