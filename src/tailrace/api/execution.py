"""Execution of queries in threads; a query is stopped when its client disconnects."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from tailrace.access import Grant, Usage
from tailrace.api.services import Services
from tailrace.events import Overloaded
from tailrace.query import Interrupt

T = TypeVar("T")

RETRY_AFTER_S = 5


async def run(request: Request, services: Services, grant: Grant, work: Callable[[Interrupt], T]) -> T:
    """Run `work` in a thread and return its result; raise ClientDisconnect when the client disconnects before.

    The time limit of the query begins with this call, and includes the wait for a thread. Raise BudgetSpent.
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
    if grant.budget is not None:
        await asyncio.to_thread(services.access.budgets.check, grant)
        work = partial(_spending, services, grant, work)
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


def counted(services: Services, grant: Grant, content: bytes | Iterator[bytes]) -> bytes | Iterator[bytes]:
    """Return an answer of `run`; the bytes of one that is made part by part count within the budget of the token."""
    return content if isinstance(content, bytes) or grant.budget is None else _counted(services, grant, content)


def _counted(services: Services, grant: Grant, parts: Iterator[bytes]) -> Iterator[bytes]:
    size_bytes = 0
    try:
        for part in parts:
            size_bytes += len(part)
            yield part
    finally:
        services.access.budgets.spend(grant, Usage(bytes=size_bytes))


def _spending(services: Services, grant: Grant, work: Callable[[Interrupt], T], interrupt: Interrupt) -> T:
    """Run work, and count its time, and the size of what it returns as bytes, within the budget of its token."""
    began_s = time.monotonic()
    size_bytes = 0
    try:
        result = work(interrupt)
        parts = result if isinstance(result, tuple) else (result,)
        size_bytes = sum(len(part) for part in parts if isinstance(part, bytes))
        return result
    finally:
        services.access.budgets.spend(grant, Usage(bytes=size_bytes, seconds=time.monotonic() - began_s))


def _forget(running: "asyncio.Future[T]") -> None:
    """Retrieve the exception of an abandoned query, which nobody waits for."""
    if not running.cancelled():
        running.exception()
