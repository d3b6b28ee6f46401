"""The ASGI application: answers the routes of the protocols, and passes other requests to the API's application."""

import contextlib
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tailrace.console.application import NAME as CONSOLE
from tailrace.console.application import Console
from tailrace.events import BadRequest, BodyTimeout, MethodNotAllowed, NotFound, TailraceError
from tailrace.events.idempotency import HEADER as IDEMPOTENCY_KEY
from tailrace.events.idempotency import key_of
from tailrace.events.outcome import CLIENT_GONE, RequestOutcome, outcome_of, shown_path
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.worker_service import PassedOn
from tailrace.protocols.http import Handler, Headers, IngestService, Request, Response
from tailrace.protocols.router import RouteMatch, Router
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.cross_origin import cross_origin
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

CACHED_HOSTS = 4096
CACHED_HOST_BYTES = 256

READING = ("GET", "HEAD")  # of which a browser's may be for the console where a protocol has the path too
FAULT = "tailrace.fault"  # of a scope: why the request is refused, whatever it asks for
KEPT = "tailrace.kept"  # of a scope: the body of a request that may have to be passed on

AnswerHeaders = tuple[tuple[bytes, bytes], ...]

TAIL = "/tailrace/v1/tail/"

SERVER = (b"server", b"tailrace")
NO_SNIFFING = (b"x-content-type-options", b"nosniff")  # so that no browser takes a value that someone sent for a page


class _Exchange(Struct, eq=False):
    """A request under way, and the sender of its response."""

    scope: Scope
    headers: Headers
    match: RouteMatch
    outcome: RequestOutcome
    receiver: RequestReceiver
    body: RequestBody
    send: ResponseSender

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client waits for 100 Continue, which was not sent: its body need not be read."""
        return not self.receiver.started and self.headers.get(b"expect", b"").lower() == b"100-continue"


class ServerApplication:
    """The ASGI application over the ingest service and the API's application."""

    def __init__(
        self,
        *,
        service: IngestService,
        options: Mapping[str, Any],
        metrics: Metrics,
        api: Application,
        router: Router,
        request_backlog: RequestBacklog,
        response_backlog: ResponseBacklog,
        hold: AnswerHold,
        is_idempotent: bool = True,
        console: Console | None = None,
        is_worker: bool = False,
    ) -> None:
        """Take the `options` of the protocols by name; with `is_idempotent` idempotency keys count.

        A worker raises PassedOn for what is not sent to a route of a protocol, or has a key.
        """
        self._service = service
        self._options = options
        self._metrics = metrics
        self._api = api
        self._router = router
        self._request_backlog = request_backlog
        self._response_backlog = response_backlog
        self._hold = hold
        self._origins = cross_origin(router.protocols)
        self._is_idempotent = is_idempotent
        self._is_worker = is_worker
        self._console = console
        self._sound_hosts: set[bytes] = set()  # values of Host that are known to be sound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        began_s = time.perf_counter()
        exchange, fault = self._begin(scope, receive, send)
        try:
            metric_label = await self._respond(exchange, fault)
            if metric_label:
                self._metrics.observe(metric_label, time.perf_counter() - began_s)
        except PassedOn:
            raise
        except ClientGone:
            exchange.outcome.reason = CLIENT_GONE
            # Malformed chunks look like this too, and then the client is still there.
            broken = BadRequest("the body broke off, or its chunks are malformed")
            response = self._finished(exchange, exchange.match.protocol.render_error(broken))
            with contextlib.suppress(RuntimeError, OSError):
                await self._send(exchange, response)
        except Exception:
            exchange.outcome.refuse(TailraceError("internal error"))
            logger.exception("a request to %s failed", shown_path(scope["path"], exchange.match.route))
        finally:
            exchange.body.release()
            if exchange.send.fault:
                exchange.outcome.reason, exchange.outcome.message = ANSWER_UNREAD, exchange.send.fault

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> tuple[_Exchange, TailraceError | None]:
        """Return what a request begins with, and what is wrong with its head."""
        scope["trace_id"] = f"{random.getrandbits(TRACE_ID_BITS):032x}"
        headers: Headers = dict(scope["headers"])
        fault: TailraceError | None = None
        try:
            match = self._router.match(scope["method"], scope["raw_path"], headers)
        except TailraceError as error:
            match, fault = self._router.unclaimed(scope["raw_path"]), error
        outcome = outcome_of(scope)
        outcome.protocol, outcome.route = match.protocol.name, match.route
        receiver = RequestReceiver(receive, self._request_backlog)
        body = RequestBody(receiver, _length(headers), self._request_backlog)
        sender = ResponseSender(send, self._response_backlog)
        if IDEMPOTENCY_KEY in headers and self._is_idempotent and fault is None:
            try:
                outcome.idempotency = key_of([value for name, value in scope["headers"] if name == IDEMPOTENCY_KEY])
            except BadRequest as error:
                fault = error
        exchange = _Exchange(scope, headers, match, outcome, receiver, body, sender)
        return exchange, scope.get(FAULT) or self._host_fault(scope, headers) or fault

    def _host_fault(self, scope: Scope, headers: Headers) -> BadRequest | None:
        """Return what is wrong with the header Host of a request, None where nothing is."""
        host = headers.get(b"host")
        if host in self._sound_hosts and len(headers) == len(scope["headers"]):  # so that none is repeated
            return None
        fault = host_fault(scope)
        if fault is None and host and len(host) <= CACHED_HOST_BYTES:
            if len(self._sound_hosts) >= CACHED_HOSTS:
                self._sound_hosts.clear()
            self._sound_hosts.add(host)
        return fault

    async def _respond(self, exchange: _Exchange, fault: TailraceError | None) -> str:
        """Answer; return what the answer's duration is counted under, nothing where it is not."""
        match, method = exchange.match, exchange.scope["method"]
        if self._is_worker and FAULT not in exchange.scope and (fault is not None or not _is_plain(exchange)):
            raise PassedOn
        console = self._console_of(exchange) if fault is None else None
        if console is not None:
            exchange.outcome.protocol = exchange.outcome.route = CONSOLE
            await self._call(console.application, exchange)
            return CONSOLE
        handler = partial(_refuse, fault) if fault is not None else match.handlers.get(method)
        if handler is None:
            if method == "OPTIONS":
                await self._send(exchange, self._origins.preflight(match.path, exchange.headers))
                return ""
            handler = _unrouted_handler(match, method)
        if handler is None:
            exchange.outcome.protocol = API
            await self._call(self._api, exchange, self._origins.answer(match.path))
            return "" if match.path.startswith(TAIL) else API  # a tail lasts as long as its client reads
        request = self._request(exchange)
        try:
            response = await handler(request, self._service)
        except TailraceError as error:
            response = _refusal(error, match, exchange.outcome)
        except (ClientGone, PassedOn):
            raise
        except Exception as error:
            logger.exception("a request to %s failed", shown_path(match.path, match.route))
            failed = disk_fault(error) or TailraceError("internal error")
            response = _refusal(failed, match, exchange.outcome)
        exchange.scope.pop(KEPT, None)
        if self._hold.is_due(exchange.outcome.stored_bytes):
            exchange.body.release()  # or the bodies of answers that wait would be too many at once
            await self._hold.wait(exchange.outcome.stored_bytes, exchange.receiver.disconnected())
        response = self._finished(exchange, response, request)
        if not exchange.body.complete and not exchange.waits_for_continue:
            with contextlib.suppress(BodyTimeout):
                await exchange.body.drain()
        await self._send(exchange, response)
        return match.protocol.name

    def _finished(self, exchange: _Exchange, response: Response, request: Request | None = None) -> Response:
        """Return a response as its protocol sends it."""
        finish = exchange.match.protocol.finish
        return response if finish is None else finish(request or self._request(exchange), self._service, response)

    def _console_of(self, exchange: _Exchange) -> Console | None:
        """Return the console where a request is for it.

        It is not at a mount, nor at a host of another protocol: the API that it asks is not beside it there.
        """
        match, scope = exchange.match, exchange.scope
        if self._console is None or not self._console.takes(scope["method"], match.path, exchange.headers):
            return None
        is_mounted = scope["path"].lstrip("/") != match.path.lstrip("/")
        has_api = match.protocol.has_api or match.protocol.is_door
        return self._console if has_api and not is_mounted else None

    def _request(self, exchange: _Exchange) -> Request:
        scope, match = exchange.scope, exchange.match
        return Request(
            scope["method"],
            match.path,
            match.params,
            scope["query_string"],
            exchange.headers,
            time.time_ns(),
            self._reader(exchange),
            scope["headers"],
            scope["client"][0],
            outcome=exchange.outcome,
            options=self._options[match.protocol.name],
            hold=exchange.body.hold,
        )

    def _reader(self, exchange: _Exchange) -> Callable[[], Awaitable[bytes]]:
        """Return what reads the body."""
        if self._is_worker:
            return partial(self._read_kept, exchange)
        return exchange.body.read if exchange.outcome.idempotency is None else partial(self._read_identified, exchange)

    async def _read_kept(self, exchange: _Exchange) -> bytes:
        """Return the body of a request that may have to be passed on."""
        wire = exchange.scope[KEPT] = await exchange.body.read()
        return wire

    async def _read_identified(self, exchange: _Exchange) -> bytes:
        """Return the body of a request with an idempotency key, of which its fingerprint is noted."""
        wire = await exchange.body.read()
        key = exchange.outcome.idempotency
        if key is not None and wire:
            encoding = exchange.headers.get(b"content-encoding", b"").decode("latin-1")
            key.fingerprint = await self._service.fingerprint(wire, encoding)
        return wire

    async def _call(self, application: Application, exchange: _Exchange, headers: AnswerHeaders = ()) -> None:
        """Pass a request on to the API or the console; add headers to the answer."""
        scope, body = exchange.scope, exchange.body
        path = exchange.match.path.rstrip("/") or "/"
        if path != scope["path"]:
            scope["path"] = path
            scope["raw_path"] = path.encode()
        has_body = body.length > 0 or any(name == b"transfer-encoding" for name, _ in scope["headers"])
        common = (*_common_headers(scope), *headers)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                if has_body and not exchange.receiver.complete and not exchange.waits_for_continue:
                    with contextlib.suppress(BodyTimeout, ClientGone):
                        await body.drain()
                message["headers"] = [*message.get("headers", ()), *common]
            await exchange.send(message)

        await application(scope, exchange.receiver, send)

    async def _send(self, exchange: _Exchange, response: Response) -> None:
        headers = [
            (b"x-axiom-trace-id", exchange.scope["trace_id"].encode()),
            SERVER,
            NO_SNIFFING,
            *self._origins.answer(exchange.match.path),
            *response.headers,
        ]
        if response.status not in (204, 304):
            headers += ((b"content-type", response.content_type), (b"content-length", b"%d" % len(response.body)))
        await exchange.send({"type": "http.response.start", "status": response.status, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": response.body, "more_body": False})


def _is_plain(exchange: _Exchange) -> bool:
    """Return whether a request sends something to a route of a protocol, and has no key; what is asked for is not."""
    method = exchange.scope["method"]
    return method not in READING and method in exchange.match.handlers and exchange.outcome.idempotency is None


def _length(headers: Headers) -> int:
    """Return the declared length of the body, -1 when it is chunked."""
    value = headers.get(b"content-length")
    return -1 if value is None else int(value)


def _refusal(error: TailraceError, match: RouteMatch, outcome: RequestOutcome) -> Response:
    """Return an error that a handler raised as the protocol renders it, noted in `outcome`."""
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


def host_fault(scope: Scope) -> BadRequest | None:
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


def _unrouted_handler(match: RouteMatch, method: str) -> Handler | None:
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


def _common_headers(scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every answer."""
    return (b"x-axiom-trace-id", scope["trace_id"].encode()), SERVER, NO_SNIFFING
