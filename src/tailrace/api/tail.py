"""Live tail over HTTP: the events of a dataset as server-sent events, as soon as they are acknowledged."""

import asyncio
import math
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tailrace.access import Grant, require_query
from tailrace.api import execution
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute
from tailrace.api.services import Services
from tailrace.events import Batch, TailraceError
from tailrace.protocols.http import ParameterDoc
from tailrace.query.predicate import Predicate
from tailrace.tail import Missed, Reader, message

T = TypeVar("T")

BEGIN_TIMEOUT_S = 5.0  # for another node to say that it sends every event from now on
CHECK_S = 0.5  # between two checks that the token is valid and the dataset exists
WHERE = ParameterDoc("where", "A condition in APL on the events; without it every event is sent.")
END = "end"  # name of the event before the server ends a stream
MISSED = "missed"


async def tail(request: Request, services: Services, grant: Grant) -> Response:
    """Stream the events of a dataset as they are acknowledged, filtered by a condition in APL."""
    dataset = request.path_params["dataset"]
    require_query(grant, dataset)
    services.lake.check(dataset)
    where = request.query_params.get("where", "").strip()
    predicate: Predicate | None = None
    if where:
        fields = await asyncio.to_thread(services.fields.expressions)
        predicate = await asyncio.to_thread(Predicate, dataset, where, fields, services.engine.reference_data)
    return TailResponse(request, services, grant, dataset, predicate)


class TailResponse(Response):
    """The stream; it ends when the client disconnects, the token or the dataset is gone, or the server stops."""

    media_type = "text/event-stream"

    def __init__(
        self, request: Request, services: Services, grant: Grant, dataset: str, predicate: Predicate | None
    ) -> None:
        # The last is for nginx, which would buffer the stream.
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._request = request
        self._services = services
        self._grant = grant
        self._dataset = dataset
        self._predicate = predicate
        self._generation = services.lake.get(dataset).created_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tails = self._services.tails
        with tails.reader(self._dataset, self._grant.token_id) as reader:
            async with execution.disconnection(self._request) as gone:
                if not reader.begun.is_set():
                    # The first line says that every event comes from then on.
                    await self._until(reader.begun.wait(), reader, gone, timeout_s=BEGIN_TIMEOUT_S)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await self._stream(reader, gone, send)

    async def _stream(self, reader: Reader, gone: "asyncio.Future[None]", send: Send) -> None:
        heartbeat_s = self._services.tails.limits.heartbeat_s
        body = b": the events of %s from now on\n\n" % self._dataset.encode()
        while True:
            sent_s = time.monotonic()
            end_reason, _ = await self._until(_send(send, body), reader, gone)
            body = b""
            while not end_reason and not body:
                left_s = max(sent_s + heartbeat_s - time.monotonic(), 0)
                end_reason, has_events = await self._until(reader.wait(), reader, gone, timeout_s=left_s)
                if end_reason:
                    break
                taken = reader.take() if has_events else None
                if taken is None:
                    body = b": heartbeat\n\n"
                elif isinstance(taken, Missed):
                    reason = {"reason": taken.reason} if taken.reason else {}
                    body = message(MISSED, {"count": taken.count, **reason})
                else:
                    end_reason, rendered = await self._until(self._rendered(taken), reader, gone)
                    body = rendered or b""
            if end_reason:
                break
        if not gone.done():
            # A client that does not read must not delay this.
            last = asyncio.ensure_future(_send(send, message(END, {"reason": end_reason}), more=False))
            await asyncio.wait({last}, timeout=CHECK_S)
            last.cancel()

    async def _rendered(self, batches: Sequence[Batch]) -> bytes:
        tails = self._services.tails
        render = partial(tails.render, batches, self._predicate)
        try:
            return await asyncio.get_running_loop().run_in_executor(tails.threads, render)
        except TailraceError as error:
            count = sum(batch.count for batch in batches)
            return message(MISSED, {"count": count, "reason": error.message})

    async def _until(
        self,
        work: Coroutine[Any, Any, T],
        reader: Reader,
        gone: "asyncio.Future[None]",
        *,
        timeout_s: float = math.inf,
    ) -> tuple[str, T | None]:
        """Return why the stream has ended, "" if it has not, and the result of the work, None at a timeout."""
        task = asyncio.ensure_future(work)
        end_s = time.monotonic() + timeout_s
        try:
            while True:
                left_s = end_s - time.monotonic()
                ends: set[asyncio.Future[Any]] = {task, gone, reader.ended}
                await asyncio.wait(ends, timeout=max(min(CHECK_S, left_s), 0), return_when=asyncio.FIRST_COMPLETED)
                end_reason = self._end_reason(reader, gone)
                if end_reason:
                    return end_reason, None
                if task.done():
                    return "", task.result()
                if time.monotonic() >= end_s:
                    return "", None
        finally:
            task.cancel()

    def _end_reason(self, reader: Reader, gone: "asyncio.Future[None]") -> str:
        """Return why the stream has ended, "" while it has not."""
        if gone.done():
            return "the client hung up"
        if reader.ended.done():
            return reader.ended.result()
        try:
            self._check()
        except TailraceError as error:
            return error.message
        return ""

    def _check(self) -> None:
        """Raise the error that a new request for this stream would get."""
        require_query(self._services.authenticate(self._request), self._dataset)
        if self._services.lake.get(self._dataset).created_ns != self._generation:
            raise _Replaced(f"dataset {self._dataset!r} is another one now")


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


class _Replaced(TailraceError):
    """The dataset was dropped and created again."""


ROUTES = (
    ApiRoute(
        "GET",
        "/tailrace/v1/tail/{dataset}",
        tail,
        ANY_TOKEN,
        parameters=(WHERE,),
        refusals=(400, 429, 503),
        further_permission=QUERY,
        media={"text/event-stream": str},
    ),
)
