"""The ASGI application: it answers the routes of the protocols itself, and all others by the API's application."""

import contextlib
import logging
import random
import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tailrace.api import ROUTES
from tailrace.events import BadRequest, BodyTimeout, MethodNotAllowed, NotFound, TailraceError
from tailrace.events.outcome import CLIENT_GONE, RequestOutcome, outcome_of
from tailrace.protocols.http import Handler, Headers, IngestService, Protocol, Request, Response
from tailrace.protocols.router import RouteMatch, Router
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.metrics import Metrics
from tailrace.server.request_body import ClientGone, RequestBacklog, RequestBody, RequestReceiver
from tailrace.server.response_body import ANSWER_UNREAD, ResponseBacklog, ResponseSender
from tailrace.storage.faults import disk_fault

logger = logging.getLogger(__name__)

TRACE_ID_BITS = 128
API = "api"  # under which answers of the API are counted
HTTP_1_0 = ("1", "1.0")  # whose requests need no header Host
# A name or an address, with a port or without (RFC 3986, section 3.2.2); it may be empty.
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")

SERVER = (b"server", b"tailrace")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")  # so that no browser takes a value that someone sent for a page
ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
ALLOW_METHODS = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
MAX_AGE = (b"access-control-max-age", b"86400")
# Headers that a page of another origin may send and read, in addition to those of the protocols.
REQUEST_HEADERS = ("Authorization", "Content-Type", "Content-Encoding", "Accept")
RESPONSE_HEADERS = (
    "X-Axiom-Trace-Id",
    "Retry-After",
    "X-Axiom-History-Query-Id",
    "X-Tailrace-Messages",
    "X-Tailrace-Error",
)
# Paths of the API that create or manage credentials, which no page of another origin may use.
SAME_ORIGIN = tuple(
    sorted(
        {
            route.path.partition("/{")[0]
            for route in ROUTES
            if "/tokens" in route.path or (route.permission and route.permission.capability == "apiTokens")
        }
    )
)


class CrossOrigin(Struct, frozen=True):
    """What pages of other origins may do (CORS): the same on every path but those that create credentials."""

    allowed: bytes  # the headers that may be sent, for a preflight that names none
    headers: tuple[tuple[bytes, bytes], ...]  # of every response that they may read
    same_origin: tuple[str, ...]  # prefixes of the paths that they may not use

    def answer(self, path: str) -> tuple[tuple[bytes, bytes], ...]:
        """Return the CORS headers of a response for a path."""
        return () if path.startswith(self.same_origin) else self.headers

    def preflight(self, path: str, headers: Headers) -> Response:
        """Return the response to OPTIONS, which allows the headers that the browser asks for."""
        if path.startswith(self.same_origin):
            return Response(204)
        allowed = headers.get(b"access-control-request-headers") or self.allowed
        return Response(204, headers=(ALLOW_METHODS, (b"access-control-allow-headers", allowed), MAX_AGE))


def cross_origin(protocols: Sequence[Protocol]) -> CrossOrigin:
    """Return what pages of other origins may do on a server with these protocols."""
    sent = [*REQUEST_HEADERS, *(name for protocol in protocols for name in protocol.request_headers)]
    read = [*RESPONSE_HEADERS, *(name for protocol in protocols for name in protocol.response_headers)]
    return CrossOrigin(
        ", ".join(sent).encode(),
        (ALLOW_ORIGIN, (b"access-control-expose-headers", ", ".join(read).encode())),
        (*(prefix for protocol in protocols for prefix in protocol.same_origin), *SAME_ORIGIN),
    )


TAIL = "/tailrace/v1/tail/"


def build(
    *,
    service: IngestService,
    options: Mapping[str, Any],
    metrics: Metrics,
    api: Application,
    router: Router,
    request_backlog: RequestBacklog,
    response_backlog: ResponseBacklog,
) -> Application:
    """Return the application over the ingest service and the API's."""
    clock = time.perf_counter
    origins = cross_origin(router.protocols)

    async def app(scope: Scope, receive: Receive, send_message: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        send = ResponseSender(send_message, response_backlog)
        began = clock()
        scope["trace_id"] = f"{random.getrandbits(TRACE_ID_BITS):032x}"
        headers: Headers = dict(scope["headers"])
        fault: TailraceError | None = None
        try:
            match = router.match(scope["method"], scope["raw_path"], headers)
        except TailraceError as error:
            match, fault = router.unclaimed(scope["raw_path"]), error
        outcome = outcome_of(scope)
        outcome.protocol, outcome.route = match.protocol.name, match.route
        handler = match.handlers.get(scope["method"])
        fault = _host_fault(scope) or fault
        if fault is not None:
            handler = partial(_refuse, fault)
        receiver = RequestReceiver(receive, request_backlog)
        body = RequestBody(receiver, _length(headers), request_backlog)
        try:
            if handler is None:
                if scope["method"] == "OPTIONS":
                    await _send(send, origins.preflight(match.path, headers), match.path, scope, origins)
                    return
                handler = _refusal(match, scope["method"])
                if handler is None:
                    outcome.protocol = API
                    await _call_api(match, api, scope, headers, receiver, body, send, origins)
                    if not match.path.startswith(TAIL):  # which lasts as long as its client reads
                        metrics.observe(API, clock() - began)
                    return
            request = Request(
                scope["method"],
                match.path,
                match.params,
                scope["query_string"],
                headers,
                time.time_ns(),
                body.read,
                scope["headers"],
                scope["client"][0],
                outcome=outcome,
                options=options[match.protocol.name],
            )
            response = await _answer(handler(request, service), match, outcome)
            if match.protocol.finish is not None:
                response = match.protocol.finish(request, service, response)
            if not body.complete and not _waits_for_continue(headers, receiver):
                with contextlib.suppress(BodyTimeout):
                    await body.drain()
            await _send(send, response, match.path, scope, origins)
            metrics.observe(match.protocol.name, clock() - began)
        except ClientGone:
            outcome.reason = CLIENT_GONE
            # Malformed chunks look like this too, and then the client is still there.
            broken = match.protocol.render_error(BadRequest("the body broke off, or its chunks are malformed"))
            with contextlib.suppress(RuntimeError, OSError):
                await _send(send, broken, match.path, scope, origins)
        except Exception:
            outcome.refuse(TailraceError("internal error"))
            logger.exception("a request to %s failed", scope["path"])
        finally:
            body.release()
            if send.fault:
                outcome.reason, outcome.message = ANSWER_UNREAD, send.fault

    return app


def _length(headers: Headers) -> int:
    """Return the declared length of the body, -1 when it is chunked."""
    value = headers.get(b"content-length")
    return -1 if value is None else int(value)


async def _answer(answer: Awaitable[Response], match: RouteMatch, outcome: RequestOutcome) -> Response:
    try:
        return await answer
    except TailraceError as error:
        outcome.refuse(error)
        refused = match.protocol.render_error(error)
        if (
            isinstance(error, MethodNotAllowed)
            and match.handlers
            and not any(name == b"allow" for name, _ in refused.headers)
        ):
            allowed = ", ".join(_allowed(match)).encode()
            refused = replace(refused, headers=(*refused.headers, (b"allow", allowed)))
        return refused
    except ClientGone:
        raise
    except Exception as error:
        logger.exception("a request to %s failed", match.path)
        failed = disk_fault(error) or TailraceError("internal error")
        outcome.refuse(failed)
        return match.protocol.render_error(failed)


def _host_fault(scope: Scope) -> BadRequest | None:
    """Return what is wrong with the header Host of a request, None if nothing is (RFC 9112, section 3.2)."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return BadRequest("the request has more than one header Host")
    # Granian adds an empty one where there is none; neither is valid for a URI of http.
    if (not hosts or not hosts[0]) and scope["http_version"] not in HTTP_1_0:
        return BadRequest("the request has no header Host, or an empty one")
    if hosts and not HOST.fullmatch(hosts[0]):
        return BadRequest("the header Host is not a host name with or without a port")
    return None


async def _refuse(fault: TailraceError, request: Request, service: IngestService) -> Response:
    raise fault


def _waits_for_continue(headers: Headers, receiver: RequestReceiver) -> bool:
    """Return whether the client waits for 100 Continue, which was not sent: its body need not be read."""
    return not receiver.started and headers.get(b"expect", b"").lower() == b"100-continue"


def _refusal(match: RouteMatch, method: str) -> Handler | None:
    """Return the handler of a request that matches no route of its protocol; None where it is for the API."""
    if match.handlers:
        if method == "HEAD" and "GET" in match.handlers:
            return match.handlers["GET"]  # the HTTP server leaves the body out
        return partial(_refuse_method, _allowed(match))
    if match.protocol.fallback is not None:
        return match.protocol.fallback
    return None if match.protocol.has_api else _refuse_path


def _allowed(match: RouteMatch) -> list[str]:
    """Return the methods of a path."""
    return sorted({*match.handlers, *(("HEAD",) if "GET" in match.handlers else ())})


async def _refuse_method(allowed: list[str], request: Request, service: IngestService) -> Response:
    raise MethodNotAllowed(f"{request.method} is not allowed here, only {', '.join(allowed)}")


async def _refuse_path(request: Request, service: IngestService) -> Response:
    raise NotFound(f"{request.path} not found")


async def _call_api(
    match: RouteMatch,
    api: Application,
    scope: Scope,
    headers: Headers,
    receiver: RequestReceiver,
    body: RequestBody,
    send: Send,
    origins: CrossOrigin,
) -> None:
    path = match.path.rstrip("/") or "/"
    if path != scope["path"]:
        scope["path"] = path
        scope["raw_path"] = path.encode()
    has_body = body.length > 0 or any(name == b"transfer-encoding" for name, _ in scope["headers"])

    async def answer(message: Message) -> None:
        if (
            message["type"] == "http.response.start"
            and has_body
            and not receiver.complete
            and not _waits_for_continue(headers, receiver)
        ):
            with contextlib.suppress(BodyTimeout, ClientGone):
                await body.drain()
        await _send_with_common_headers(send, path, scope, message, origins)

    await api(scope, receiver, answer)


async def _send(send: Send, response: Response, path: str, scope: Scope, origins: CrossOrigin) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        _trace_id(scope),
        SERVER,
        NO_SNIFFING,
        *origins.answer(path),
    ]
    if response.status in (204, 304):
        del headers[:2]
    if response.headers:
        headers += response.headers
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def _send_with_common_headers(
    send: Send, path: str, scope: Scope, message: Message, origins: CrossOrigin
) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [*message.get("headers", ()), _trace_id(scope), SERVER, NO_SNIFFING, *origins.answer(path)]
    await send(message)


def _trace_id(scope: Scope) -> tuple[bytes, bytes]:
    return (b"x-axiom-trace-id", scope["trace_id"].encode())
