"""The outermost layer: every request is counted, and what was refused can be seen by who runs the server."""

import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from tailrace.events.outcome import CLIENT_GONE, KEY, UNKNOWN_ROUTE, Refusal, RequestOutcome
from tailrace.events.times import rfc3339
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.forwarded import Proxies
from tailrace.server.metrics import Metrics

RequestLog = Literal["off", "refused", "all"]

MAX_REFUSALS = 1000  # alike ones are one
MAX_PATH = 256  # characters that are kept of what a client sent
MAX_AGENT = 128
MAX_MESSAGE = 300
LOG_REFUSAL_EVERY_S = 60.0  # the same refusal again is one line a minute, with how often it came meanwhile
LOG_REFUSALS_PER_S = 20  # and all together no more lines than these

# What may be a credential: tokens of Axiom, JSON web tokens, and long runs of letters and digits.
_SECRET = re.compile(r"\bxa(?:at|pt|it)-[^\s/?&\"']+|\beyJ[\w-]+(?:\.[\w-]*)*|[A-Za-z0-9+_=-]{40,}", re.IGNORECASE)
# Whose client it is that sends to a path that no route has, by how the path begins or ends.
_GUESSES = (
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


class _Seen(Struct):
    """Requests that differ in nothing but their time."""

    refusal: Refusal
    logged_s: float = float("-inf")
    unlogged: int = 0


class Refusals:
    """The refusals of late, alike ones as one, so that a client that tries again and again leaves room for others."""

    def __init__(self, most: int = MAX_REFUSALS) -> None:
        self._most = most
        self._seen: OrderedDict[tuple[object, ...], _Seen] = OrderedDict()  # by what alike ones share; the latest last

    def add(self, refusal: Refusal) -> _Seen:
        """Remember a refusal of now; the one that was longest not seen gives way past the most."""
        key = (refusal.method, refusal.path, refusal.status, refusal.reason, refusal.address, refusal.user_agent)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(refusal)
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)
            return seen
        before = seen.refusal
        refusal.first, refusal.count, refusal.events = (
            before.first,
            before.count + 1,
            before.events + refusal.events,
        )
        seen.refusal = refusal
        self._seen.move_to_end(key)
        return seen

    def latest(self) -> Sequence[Refusal]:
        """Return them, the last first."""
        return [seen.refusal for seen in reversed(self._seen.values())]


class Recorder:
    """An ASGI application around the server's: notes what becomes of each request. Used by the event loop alone."""

    def __init__(
        self,
        application: Application,
        *,
        metrics: Metrics,
        refusals: Refusals,
        proxies: Proxies,
        request_log: RequestLog = "off",
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._application = application
        self._metrics = metrics
        self._refusals = refusals
        self._proxies = proxies
        self._request_log = request_log
        self._clock = clock
        self._now_ns = now_ns
        self._second = 0  # of the clock, in which `_lines` were logged
        self._lines = 0
        self._left_out = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the application within."""
        self._proxies.apply(scope)
        outcome = scope[KEY] = RequestOutcome()
        began_s = self._clock()
        status = 0

        def noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        try:
            await self._application(scope, receive, noting)
        finally:
            self._note(scope, outcome, status, self._clock() - began_s)

    def _note(self, scope: Scope, outcome: RequestOutcome, status: int, took_s: float) -> None:
        if not status and not outcome.reason:
            outcome.reason = CLIENT_GONE  # nothing was answered, and nobody says why
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
            self._note_refusal(scope, outcome, status, took_s)
        elif self._request_log == "all":
            log.info("%s", _Line(_refusal(scope, outcome, status, self._now_ns()), took_s))

    def _note_refusal(self, scope: Scope, outcome: RequestOutcome, status: int, took_s: float) -> None:
        seen = self._refusals.add(_refusal(scope, outcome, status, self._now_ns()))
        if self._request_log == "all":
            log.info("%s", _Line(seen.refusal, took_s))
        elif self._request_log == "refused":
            now_s = self._clock()
            if now_s - seen.logged_s < LOG_REFUSAL_EVERY_S or not self._may_log(int(now_s)):
                seen.unlogged += 1
                return
            log.info("%s", _Line(seen.refusal, took_s, seen.unlogged))
            seen.logged_s, seen.unlogged = now_s, 0

    def _may_log(self, second: int) -> bool:
        if second != self._second:
            if self._left_out:
                log.info("%d more refused requests were not logged; GET /tailrace/v1/refusals", self._left_out)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines > LOG_REFUSALS_PER_S:
            self._left_out += 1
        return self._lines <= LOG_REFUSALS_PER_S


class _Line(Struct, frozen=True):
    """A line of the request log: as text, and with `fields` for JSON."""

    refusal: Refusal
    took_s: float
    unlogged: int = 0

    @property
    def fields(self) -> dict[str, object]:
        """What a line in JSON has beside its time and level."""
        said = self.refusal
        found: dict[str, object] = {
            "method": said.method,
            "path": said.path,
            "route": said.route,
            "status": said.status,
            "reason": said.reason,
            "detail": said.message,
            "protocol": said.protocol,
            "events_refused": said.events,
            "address": said.address,
            "user_agent": said.user_agent,
            "trace_id": said.trace_id,
            "duration_ms": round(self.took_s * 1000, 3),
            "repeated": self.unlogged,
        }
        return {name: value for name, value in found.items() if value not in ("", 0) or name == "status"}

    def __str__(self) -> str:
        said = self.refusal
        parts = [f"{said.method} {said.path} {said.status}"]
        if said.reason:
            parts.append(said.reason + (f" ({said.events} events)" if said.events else ""))
        parts.append(f"{said.protocol} {said.address} {said.user_agent!r} {self.took_s * 1000:.1f} ms")
        if self.unlogged:
            parts.append(f"and {self.unlogged} times before")
        return " ".join(parts) + (f": {said.message}" if said.message else "")


def _refusal(scope: Scope, outcome: RequestOutcome, status: int, now_ns: int) -> Refusal:
    path = without_secrets(scope["path"][: 4 * MAX_PATH])[:MAX_PATH]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"").decode("latin-1")
    protocol = outcome.protocol
    if outcome.route == UNKNOWN_ROUTE:
        protocol = next((name for pattern, name in _GUESSES if pattern.search(path)), protocol)
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
        events=outcome.rejections.total(),
        address=scope["client"][0],
        user_agent=without_secrets(agent[: 4 * MAX_AGENT])[:MAX_AGENT],
        trace_id=scope.get("trace_id", ""),
    )


def without_secrets(text: str) -> str:
    """Return the text without what may be a credential, and on one line."""
    return _SECRET.sub("…", "".join(each if each.isprintable() else " " for each in text))


def _main_reason(rejections: Counter[str]) -> str:
    return rejections.most_common(1)[0][0] if rejections else ""


def _name_of(status: int) -> str:
    """Return what a refusal is counted as that says no more than its status: "not_found"."""
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")
    except ValueError:
        return f"status_{status}"
