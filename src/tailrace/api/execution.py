"""Execution of queries in threads; a query is stopped when its client disconnects."""

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
    """Run `work` in a thread and return its result; raise ClientDisconnect when the client disconnects before.

    The time limit of the query begins with this call, and includes the wait for a thread.
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
    """Do the same for a client whose disconnection is the future `gone`.

    Work that is not `is_limited` may take any time once a thread runs it; each of its queries has the time limit.
    """
    timeout_s = services.engine.limits.timeout_s
    interrupt = Interrupt(timeout_s if is_limited else None)
    with services.query_limiter.acquire(grant.token_id):
        submitted = services.query_threads.submit(work, interrupt)
        running = asyncio.wrap_future(submitted)
        services.running.add(interrupt)
        try:
            futures: set[asyncio.Future[T] | asyncio.Future[None]] = {running, gone}
            done, _ = await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                if submitted.cancel():
                    raise Overloaded(
                        f"the query waited for its turn for query_timeout_s = {timeout_s:g} s",
                        retry_after_s=RETRY_AFTER_S,
                    )
                if is_limited:
                    interrupt.expire(timeout_s)
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise ClientDisconnect
            return running.result()
        finally:
            services.running.discard(interrupt)
            if not running.done():
                submitted.cancel()
                running.add_done_callback(_forget)
                interrupt.stop("the client hung up")


@asynccontextmanager
async def disconnection(request: Request) -> AsyncIterator["asyncio.Future[None]"]:
    """Yield a future that is done when the client disconnects; the request's body must have been read."""
    waiting = asyncio.create_task(_disconnected(request))
    try:
        yield waiting
    finally:
        waiting.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _forget(running: "asyncio.Future[T]") -> None:
    """Retrieve the exception of an abandoned query, which nobody waits for."""
    if not running.cancelled():
        running.exception()
