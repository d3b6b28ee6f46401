"""SQL over HTTP: one SELECT over the datasets that the token may query, answered in the format asked for."""

import asyncio
from collections.abc import Callable

from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tailrace.access import Grant, require
from tailrace.api.services import Services, read_json
from tailrace.query import Interrupt, Result, run_sql, to_arrow, to_csv, to_json, to_ndjson

JSON = "application/json"
FORMATS: dict[str, Callable[[Result], bytes]] = {
    JSON: to_json,
    "application/x-ndjson": to_ndjson,
    "text/csv": to_csv,
    "application/vnd.apache.arrow.stream": to_arrow,
}


class Sql(Struct):
    """The body of a query."""

    sql: str


async def query(request: Request, services: Services, grant: Grant) -> Response:
    """Runs the query beside the event loop and stops it when the client hangs up."""
    wanted = await read_json(request, Sql)
    media_type = accepted(request.headers.get("accept", JSON))
    interrupt = Interrupt()

    def check(dataset: str) -> None:
        require(grant, capability="query", action="read", dataset=dataset)

    def run() -> bytes:
        return FORMATS[media_type](
            run_sql(services.lake, services.engine, wanted.sql, check=check, interrupt=interrupt)
        )

    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(services.query_threads, run)
    hung_up = asyncio.create_task(_hang_up(request))
    services.running.add(interrupt)
    try:
        either: set[asyncio.Future[bytes] | asyncio.Future[None]] = {running, hung_up}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.add_done_callback(_forget)
            interrupt.stop("the client hung up")
            raise ClientDisconnect
        return Response(running.result(), headers={"content-type": media_type})
    finally:
        services.running.discard(interrupt)
        hung_up.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _forget(running: "asyncio.Future[bytes]") -> None:
    """Takes note of how an abandoned query ended, which nobody waits for any more."""
    if not running.cancelled():
        running.exception()


def accepted(header: str) -> str:
    """The first media type of an Accept header, by its weights, that an answer can have; else JSON."""
    weighted = []
    for part in header.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        if media_type in FORMATS and weight > 0:
            weighted.append((weight, media_type))
    return max(weighted, key=lambda pair: pair[0])[1] if weighted else JSON
