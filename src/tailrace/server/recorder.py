"""The outermost ASGI application: counts and logs every request, and keeps the latest refusals for the operator."""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from tailrace.events.outcome import CLIENT_GONE, KEY, UNKNOWN_ROUTE, Refusal, RequestOutcome, shown_path
from tailrace.events.times import rfc3339
from tailrace.ingest.worker_service import PassedOn
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.forwarded import Proxies
from tailrace.server.metrics import Metrics

RequestLog = Literal["off", "refused", "all"]

MAX_REFUSALS = 1000  # different ones
MAX_PATH = 256  # characters
MAX_AGENT = 128
MAX_MESSAGE = 300
LOG_REFUSAL_EVERY_S = 60.0  # between two lines of the same refusal, which say how often it was repeated
LOG_REFUSALS_PER_S = 20  # lines of all refusals

# What may be a credential: tokens of Axiom, JSON web tokens, and long runs of letters and digits.
_SECRET = re.compile(r"\bxa(?:at|pt|it)-[^\s/?&\"']+|\beyJ[\w-]+(?:\.[\w-]*)*|[A-Za-z0-9+_=-]{40,}", re.IGNORECASE)
# The protocol of a client that sends to an unknown path, guessed from the path.
_PROTOCOLS_BY_PATH = (
    (re.compile(r"/loki/api/"), "loki"),
    (re.compile(r"/services/collector"), "splunk"),
    (re.compile(r"/_bulk$|/_doc(/|$)|/_msearch$|/_search$|/_cluster/|/_cat/|/_license$|/_xpack"), "elasticsearch"),
    (re.compile(r"^/intake/v2/"), "elastic-apm"),
    (re.compile(r"^/api/v2/(logs|series|spans)$|^/v0\.\d/traces$|^/v1/input"), "datadog"),
    (re.compile(r"^/api/v1/(write|push)$|^/api/v1/query(_range)?$"), "prometheus"),
    (re.compile(r"^/api/v2/write$|^/write$"), "influx"),
    (re.compile(r"/(envelope|store)/?$"), "sentry"),
    (re.compile(r"^/api/traces$"), "jaeger"),
    (re.compile(r"^/opentelemetry\.proto\.|/v1/(logs|traces|metrics)$"), "otlp"),
)

log = logging.getLogger("tailrace.requests")


class _RepeatedRefusal(Struct):
    """Refused requests that differ only in their time."""

    refusal: Refusal
    logged_s: float = float("-inf")
    unlogged: int = 0


class Refusals:
    """The latest refusals; repeated ones are one, so that a client that retries does not displace the others."""

    def __init__(self, max_refusals: int = MAX_REFUSALS) -> None:
        self._max_refusals = max_refusals
        self._repeated: OrderedDict[tuple[object, ...], _RepeatedRefusal] = OrderedDict()  # the latest last

    def add(self, refusal: Refusal) -> _RepeatedRefusal:
        """Add a refusal; beyond the maximum the one whose last time is oldest is dropped."""
        key = (refusal.method, refusal.path, refusal.status, refusal.reason, refusal.address, refusal.user_agent)
        repeated = self._repeated.get(key)
        if repeated is None:
            repeated = self._repeated[key] = _RepeatedRefusal(refusal)
            if len(self._repeated) > self._max_refusals:
                self._repeated.popitem(last=False)
            return repeated
        before = repeated.refusal
        refusal.first, refusal.count, refusal.events = (
            before.first,
            before.count + 1,
            before.events + refusal.events,
        )
        repeated.refusal = refusal
        self._repeated.move_to_end(key)
        return repeated

    def latest(self) -> Sequence[Refusal]:
        """Return the refusals, the latest first."""
        return [repeated.refusal for repeated in reversed(self._repeated.values())]


class Recorder:
    """An ASGI application around the server's that records each request's outcome. To be used on the event loop."""

    def __init__(
        self,
        application: Application,
        *,
        metrics: Metrics,
        refusals: Refusals,
        proxies: Proxies,
        request_log: RequestLog = "off",
        pass_on: Callable[[Refusal, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._application = application
        self._metrics = metrics
        self._refusals = refusals
        self._proxies = proxies
        self._request_log = request_log
        self._pass_on = pass_on
        self._clock = clock
        self._now_ns = now_ns
        self._second = 0  # of the clock, in which `_lines` lines were logged
        self._lines = 0
        self._unlogged = 0

    def reconfigure(self, request_log: RequestLog, proxies: Proxies) -> None:
        """Log other requests, and trust other proxies, from now on."""
        self._request_log = request_log
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the inner application, and record its outcome."""
        self._proxies.apply(scope)
        outcome = scope[KEY] = RequestOutcome()
        began_s = self._clock()
        status = 0
        is_passed_on = False

        def send_and_note(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        try:
            await self._application(scope, receive, send_and_note)
        except PassedOn:
            is_passed_on = True
            raise
        finally:
            if not is_passed_on:
                self._note(scope, outcome, status, self._clock() - began_s)

    def _note(self, scope: Scope, outcome: RequestOutcome, status: int, took_s: float) -> None:
        if not status and not outcome.reason:
            outcome.reason = CLIENT_GONE  # nothing was answered, for no other reason
        self._metrics.count_request(outcome.protocol, outcome.route, status)
        if outcome.rejections:
            self._metrics.count_rejections(outcome.protocol, outcome.route, outcome.rejections)
        if status >= 400 and not outcome.reason:
            outcome.reason = _main_reason(outcome.rejections) or _name_of(status)
        if outcome.reason:
            self._metrics.count_refusal(outcome.protocol, outcome.reason, route=outcome.route, status=status)
        for error in outcome.parts:
            self._metrics.count_refusal(outcome.protocol, error.code, route=outcome.route, status=error.status)
        if outcome.reason or outcome.rejections or outcome.parts:
            self.record(_refusal(scope, outcome, status, self._now_ns()), took_s)
        elif self._request_log == "all":
            log.info("%s", _LogLine(_refusal(scope, outcome, status, self._now_ns()), took_s))

    def record(self, refusal: Refusal, took_s: float = 0.0) -> None:
        """Keep a refusal for the operator, and log it as the request log is set; also one that was no request.

        Where refusals are passed on, that is for whom they are passed to.
        """
        if self._pass_on is not None:
            self._pass_on(refusal, took_s)
            return
        repeated = self._refusals.add(refusal)
        if self._request_log == "all":
            log.info("%s", _LogLine(repeated.refusal, took_s))
        elif self._request_log == "refused":
            now_s = self._clock()
            if now_s - repeated.logged_s < LOG_REFUSAL_EVERY_S or not self._may_log(int(now_s)):
                repeated.unlogged += 1
                return
            log.info("%s", _LogLine(repeated.refusal, took_s, repeated.unlogged))
            repeated.logged_s, repeated.unlogged = now_s, 0

    def _may_log(self, second: int) -> bool:
        if second != self._second:
            if self._unlogged:
                log.info("%d more refused requests were not logged; GET /tailrace/v1/refusals", self._unlogged)
            self._second, self._lines, self._unlogged = second, 0, 0
        self._lines += 1
        if self._lines > LOG_REFUSALS_PER_S:
            self._unlogged += 1
        return self._lines <= LOG_REFUSALS_PER_S


class _LogLine(Struct, frozen=True):
    """A line of the request log, as text or as the fields of a JSON object."""

    refusal: Refusal
    took_s: float
    unlogged: int = 0

    @property
    def fields(self) -> dict[str, object]:
        """The members of a line in JSON in addition to its time and level."""
        refusal = self.refusal
        fields: dict[str, object] = {
            "method": refusal.method,
            "path": refusal.path,
            "route": refusal.route,
            "status": refusal.status,
            "reason": refusal.reason,
            "detail": refusal.message,
            "protocol": refusal.protocol,
            "events_refused": refusal.events,
            "address": refusal.address,
            "user_agent": refusal.user_agent,
            "trace_id": refusal.trace_id,
            "duration_ms": round(self.took_s * 1000, 3),
            "repeated": self.unlogged,
        }
        return {name: value for name, value in fields.items() if value not in ("", 0) or name == "status"}

    def __str__(self) -> str:
        refusal = self.refusal
        parts = [f"{refusal.method} {refusal.path} {refusal.status}"]
        if refusal.reason:
            parts.append(refusal.reason + (f" ({refusal.events} events)" if refusal.events else ""))
        parts.append(f"{refusal.protocol} {refusal.address} {refusal.user_agent!r} {self.took_s * 1000:.1f} ms")
        if self.unlogged:
            parts.append(f"and {self.unlogged} times before")
        return " ".join(parts) + (f": {refusal.message}" if refusal.message else "")


def _refusal(scope: Scope, outcome: RequestOutcome, status: int, now_ns: int) -> Refusal:
    path = without_secrets(shown_path(scope["path"][: 4 * MAX_PATH], outcome.route))[:MAX_PATH]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"").decode("latin-1")
    protocol = outcome.protocol
    if outcome.route == UNKNOWN_ROUTE:
        protocol = next((name for pattern, name in _PROTOCOLS_BY_PATH if pattern.search(path)), protocol)
    message, reason = outcome.message, outcome.reason or _main_reason(outcome.rejections)
    if outcome.parts and not reason:
        reason, message = outcome.parts[0].code, outcome.parts[0].message
    now = rfc3339(now_ns)
    return Refusal(
        time=now,
        first=now,
        count=1,
        method=scope["method"][:MAX_AGENT],
        path=path,
        route=outcome.route,
        status=status,
        reason=reason,
        message=without_secrets(message[: 4 * MAX_MESSAGE])[:MAX_MESSAGE],
        protocol=protocol,
        events=sum(outcome.rejections.values()),
        address=scope["client"][0],
        user_agent=without_secrets(agent[: 4 * MAX_AGENT])[:MAX_AGENT],
        trace_id=scope.get("trace_id", ""),
    )


def without_secrets(text: str) -> str:
    """Return the text on one line, without anything that may be a credential."""
    return _SECRET.sub("…", "".join(each if each.isprintable() else " " for each in text))


def _main_reason(rejections: Mapping[str, int]) -> str:
    return max(rejections, key=rejections.__getitem__) if rejections else ""


def _name_of(status: int) -> str:
    """Return the reason of a refusal that has no other than its status, such as "not_found"."""
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")
    except ValueError:
        return f"status_{status}"
