"""The one ASGI application: ingest routes answered directly, everything else by the API's application."""

import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from tailrace.dialects.http import Gate, Headers, Request, Response
from tailrace.dialects.route import Match, Router
from tailrace.events import BadRequest, MethodNotAllowed, TailraceError, TooLarge
from tailrace.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# A refused request's body is read to its end, as far as this, so that the client is still there for the answer.
DRAIN_BYTES = 256 * 1024 * 1024
TRACE_ID_BITS = 128

SERVER = (b"server", b"tailrace")
ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
EXPOSE_HEADERS = (
    b"access-control-expose-headers",
    b"X-Axiom-Trace-Id, Retry-After, X-RateLimit-Scope, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
)
PREFLIGHT = Response(
    204,
    headers=(
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (
            b"access-control-allow-headers",
            b"Authorization, Content-Type, Content-Encoding, Accept, X-Axiom-Client, X-Axiom-Org-Id, "
            b"X-Axiom-CSV-Fields, X-Axiom-Event-Labels",
        ),
        (b"access-control-max-age", b"86400"),
    ),
)


class ClientGone(Exception):
    """The client hung up before its request was complete."""


def build(*, gate: Gate, metrics: Metrics, api: Application, max_wire_bytes: int) -> Application:
    """The application over a gate and the API's application; bodies past `max_wire_bytes` as sent are refused."""
    router = Router()
    clock = time.perf_counter

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        began = clock()
        match = router.match(scope["path"])
        handler = match.handlers.get(scope["method"])
        try:
            if handler is None:
                await _elsewhere(match, api, scope, receive, send)
                metrics.observe("api", clock() - began)
                return
            headers: Headers = dict(scope["headers"])
            body = Body(receive, headers, max_wire_bytes)
            request = Request(
                scope["method"],
                match.path,
                match.params,
                scope["query_string"],
                headers,
                time.time_ns(),
                body.read,
            )
            response = await _answer(handler(request, gate), match, metrics)
            if not body.complete:
                await body.drain()
            await _send(send, response)
            metrics.observe(match.dialect.name, clock() - began)
        except ClientGone:
            metrics.count_refusal(match.dialect.name, "client_gone")
            # Broken chunks look like this too, and then the client is still there.
            broken = match.dialect.render_error(BadRequest("the body broke off, or its chunks are malformed"))
            with contextlib.suppress(RuntimeError, OSError):
                await _send(send, broken)
        except Exception:
            logger.exception("a request to %s failed", scope["path"])

    return app


async def _answer(answer: Awaitable[Response], match: Match, metrics: Metrics) -> Response:
    try:
        return await answer
    except TailraceError as error:
        metrics.count_refusal(match.dialect.name, error.code)
        return match.dialect.render_error(error)
    except ClientGone:
        raise
    except Exception:
        logger.exception("a request to %s failed", match.path)
        metrics.count_refusal(match.dialect.name, TailraceError.code)
        return match.dialect.render_error(TailraceError("internal error"))


async def _elsewhere(match: Match, api: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """What is no ingest request: preflights, wrong methods, and the API's routes."""
    if scope["method"] == "OPTIONS":
        await _send(send, PREFLIGHT)
        return
    if match.handlers:
        allowed = ", ".join(sorted(match.handlers))
        error = MethodNotAllowed(f"{scope['method']} is not allowed here, only {allowed}")
        refusal = match.dialect.render_error(error)
        await _send(
            send, Response(refusal.status, refusal.body, headers=(*refusal.headers, (b"allow", allowed.encode())))
        )
        return
    path = match.path.rstrip("/") or "/"
    if path != scope["path"]:
        scope["path"] = path
        scope["raw_path"] = path.encode()
    await api(scope, receive, partial(_send_with_common_headers, send))


class Body:
    """The body of one request, read at most once."""

    __slots__ = ("_headers", "_max_bytes", "_receive", "complete")

    def __init__(self, receive: Receive, headers: Headers, max_bytes: int) -> None:
        self._receive = receive
        self._headers = headers
        self._max_bytes = max_bytes
        self.complete = False

    async def read(self) -> bytes:
        """The whole body as sent; raises TooLarge as soon as it is known to be, ClientGone when it breaks off."""
        length = self._length()
        if length > self._max_bytes:
            raise self._too_large()
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        body: bytes = message["body"]
        # With a length there is no need to ask again for the end.
        if len(body) == length or not message.get("more_body"):
            self.complete = True
            return body
        chunks = [body]
        total = len(body)
        while total != length:
            if total > self._max_bytes:
                raise self._too_large()
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunks.append(message["body"])
            total += len(message["body"])
            if not message.get("more_body"):
                break
        if total > self._max_bytes:
            raise self._too_large()
        self.complete = True
        return b"".join(chunks)

    async def drain(self) -> None:
        """Reads and forgets the rest of the body, as far as DRAIN_BYTES."""
        left = DRAIN_BYTES
        while left > 0:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            left -= len(message["body"])
            if not message.get("more_body"):
                return

    def _length(self) -> int:
        """The declared length, -1 when the body is chunked."""
        value = self._headers.get(b"content-length")
        return -1 if value is None else int(value)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._max_bytes} bytes (max_wire_bytes)")


async def _send(send: Send, response: Response) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        _trace_id(),
        SERVER,
        ALLOW_ORIGIN,
        EXPOSE_HEADERS,
    ]
    if response.status == 204:
        del headers[:2]
    if response.headers:
        headers += response.headers
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def _send_with_common_headers(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [*message.get("headers", ()), _trace_id(), SERVER, ALLOW_ORIGIN, EXPOSE_HEADERS]
    await send(message)


def _trace_id() -> tuple[bytes, bytes]:
    return (b"x-axiom-trace-id", b"%032x" % random.getrandbits(TRACE_ID_BITS))
