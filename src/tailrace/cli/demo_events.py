"""Sample events: requests to a shop, each with its log lines and the spans of its trace."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
HOSTS = 6
CUSTOMERS = 400
SLOW_SHARE, FAILED_SHARE, MISSED_SHARE = 0.04, 0.03, 0.3


class ShopRoute(Struct, frozen=True):
    """A route of the shop, and what a request to it goes through."""

    method: str
    path: str
    weight: int
    steps: tuple[tuple[str, str, float], ...]  # service, name of the span, its usual ms


ROUTES = (
    ShopRoute("GET", "/", 30, (("catalog", "list products", 12.0), ("database", "SELECT products", 6.0))),
    ShopRoute("GET", "/products/{id}", 40, (("catalog", "get product", 5.0), ("database", "SELECT product", 3.0))),
    ShopRoute("POST", "/cart", 18, (("cart", "add item", 8.0), ("cache", "SET cart", 1.2))),
    ShopRoute(
        "POST",
        "/checkout",
        8,
        (
            ("cart", "read cart", 4.0),
            ("payment", "charge card", 120.0),
            ("database", "INSERT order", 9.0),
            ("mail", "send receipt", 35.0),
        ),
    ),
    ShopRoute("GET", "/health", 4, ()),
)


class Story(Struct, frozen=True):
    """What one request leaves behind."""

    logs: list[dict[str, Any]]
    spans: list[tuple[str, dict[str, Any]]]  # each with its service, as OTLP in JSON has it


def story(chance: random.Random, at_ns: int) -> Story:
    """Return what a request at a time leaves behind."""
    route = chance.choices(ROUTES, [each.weight for each in ROUTES])[0]
    failed = bool(route.steps) and chance.random() < FAILED_SHARE
    slow = 8.0 if chance.random() < SLOW_SHARE else 1.0
    trace_id = f"{chance.getrandbits(128):032x}"
    root_id, now_ns = _span_id(chance), at_ns
    spans: list[tuple[str, dict[str, Any]]] = []
    common = {
        "trace_id": trace_id,
        "host": f"shop-{chance.randrange(HOSTS) + 1}",
        "customer": f"c{chance.randrange(CUSTOMERS):04d}",
    }
    logs: list[dict[str, Any]] = []
    for number, (service, name, usual_ms) in enumerate(route.steps):
        is_last = number == len(route.steps) - 1
        took_ns = int(chance.lognormvariate(0, 0.35) * usual_ms * slow * NS_PER_MS)
        spans.append(
            (service, _span(trace_id, _span_id(chance), root_id, name, now_ns, took_ns, failed=failed and is_last))
        )
        now_ns += took_ns
        if service == "cache" or chance.random() < MISSED_SHARE / len(route.steps):
            logs.append(_log(now_ns, "debug", "cache", "cache miss", {**common, "key": f"{service}:{name}"}))
        if failed and is_last:
            text = f"{name} failed: connection reset by peer"
            logs.append(_log(now_ns, "error", service, text, {**common, "error": {"kind": "ConnectionError"}}))
        elif slow > 1 and usual_ms > 5:
            text = f"slow {name}: {took_ns // NS_PER_MS} ms"
            logs.append(_log(now_ns, "warn", service, text, {**common, "duration_ms": took_ns / NS_PER_MS}))
    now_ns += int(chance.uniform(0.4, 3) * NS_PER_MS)
    http = {"method": route.method, "route": route.path, "status": 502 if failed else 200}
    root_name = f"{route.method} {route.path}"
    root = _span(trace_id, root_id, "", root_name, at_ns, now_ns - at_ns, failed=failed, http=http)
    line = {**common, "http": http, "duration_ms": (now_ns - at_ns) / NS_PER_MS}
    logs.append(_log(now_ns, "error" if failed else "info", "web", f"{root_name} {http['status']}", line))
    return Story(logs, [("web", root), *spans])


def otlp_traces(spans: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return an OTLP request in JSON with the spans, by service."""
    services: dict[str, list[dict[str, Any]]] = {}
    for service, span in spans:
        services.setdefault(service, []).append(span)
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_attribute("service.name", service)]},
                "scopeSpans": [{"scope": {"name": "tailrace demo"}, "spans": of_service}],
            }
            for service, of_service in services.items()
        ]
    }


def _span(
    trace_id: str,
    span_id: str,
    parent_id: str,
    name: str,
    start_ns: int,
    took_ns: int,
    *,
    failed: bool,
    http: dict[str, Any] | None = None,
) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span_id,
        "parentSpanId": parent_id,
        "name": name,
        "kind": 3 if parent_id else 2,  # client, server
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + took_ns),
        "status": {"code": 2, "message": "connection reset by peer"} if failed else {},
    }
    if http is not None:
        span["attributes"] = [
            _attribute("http.request.method", http["method"]),
            _attribute("http.route", http["route"]),
            {"key": "http.response.status_code", "value": {"intValue": str(http["status"])}},
        ]
    return span


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


def _log(at_ns: int, level: str, service: str, message: str, more: dict[str, Any]) -> dict[str, Any]:
    seconds, fraction_ns = divmod(at_ns, NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return {
        "_time": f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction_ns:09}Z",
        "level": level,
        "service": service,
        "message": message,
        **more,
    }


def _span_id(chance: random.Random) -> str:
    return f"{chance.getrandbits(64):016x}"
