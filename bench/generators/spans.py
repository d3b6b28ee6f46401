"""Spans of traces, wide and nested: attributes of the request and of the process beside times and ids."""

import random
from collections.abc import Iterator
from typing import Any

from bench.generators.generator import START_US, TEMPLATES, Generator, Slots, iso_time, template

PODS = 60
SPANS_OF_A_TRACE = 6  # on average

SERVICES = (("frontend", "nodejs"), ("cart", "dotnet"), ("checkout", "go"), ("payment", "nodejs"), ("currency", "cpp"))
ROUTES = ("/", "/cart", "/cart/checkout", "/product/{id}", "/api/recommendations", "/setCurrency")
STATEMENTS = (
    "SELECT * FROM orders WHERE user_id = $1 ORDER BY created DESC LIMIT 20",
    "INSERT INTO order_items (order_id, product_id, quantity) VALUES ($1, $2, $3)",
    "UPDATE carts SET touched = now() WHERE id = $1",
)
METHODS = ("GetCart", "AddItem", "EmptyCart", "Charge", "Convert", "ListProducts", "PlaceOrder")


def _span_templates(source: random.Random) -> list[bytes]:
    pods = [_resource(source) for _ in range(PODS)]
    return [template(_span(source, source.choice(pods))) for _ in range(TEMPLATES)]


def _resource(source: random.Random) -> dict[str, Any]:
    service, language = source.choice(SERVICES)
    pod = f"{service}-{source.getrandbits(40):010x}-{source.getrandbits(20):05x}"
    return {
        "service": {"name": service, "version": f"1.{source.randrange(9)}.{source.randrange(30)}", "namespace": "shop"},
        "telemetry": {"sdk": {"language": language, "name": "opentelemetry", "version": "1.38.0"}},
        "k8s": {
            "pod": {"name": pod, "uid": f"{source.getrandbits(128):032x}"},
            "node": {"name": f"ip-10-0-{source.randrange(8)}-{source.randrange(256)}.eu-north-1.compute.internal"},
            "deployment": {"name": service},
        },
        "host": {"arch": "amd64", "name": pod},
        "process": {"pid": source.randrange(1, 90), "runtime": {"name": language}},
    }


def _span(source: random.Random, resource: dict[str, Any]) -> dict[str, Any]:
    failed = source.random() < 0.03
    span: dict[str, Any] = {
        "_time": "<time>",
        "trace_id": "<trace>",
        "span_id": "<span>",
        "parent_span_id": "<parent>",
        "duration": "<<duration>>",
        "error": failed,
        "status": {"code": "ERROR" if failed else "UNSET"},
        "scope": {"name": "@opentelemetry/instrumentation-http", "version": "0.207.0"},
        "resource": resource,
        **source.choice((_served, _called, _queried))(source, failed=failed),
    }
    if failed:
        exception = {"exception.type": "TimeoutError", "exception.message": "no answer in 1000 ms"}
        span["events"] = [{"name": "exception", "timestamp": "<<nanoseconds>>", "attributes": exception}]
    return span


def _served(source: random.Random, *, failed: bool) -> dict[str, Any]:
    route, method = source.choice(ROUTES), source.choice(("GET", "GET", "POST"))
    attributes = {
        "http": {
            "request": {"method": method, "body": {"size": source.randrange(2000)}},
            "response": {"status_code": 500 if failed else 200},
            "route": route,
        },
        "url": {"path": route.replace("{id}", f"{source.randrange(10**6)}"), "scheme": "https"},
        "client": {"address": f"203.0.113.{source.randrange(256)}"},
        "network": {"protocol": {"version": "1.1"}},
        "user_agent": {"original": "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"},
    }
    return {"name": f"{method} {route}", "kind": "server", "attributes": attributes}


def _called(source: random.Random, *, failed: bool) -> dict[str, Any]:
    method = source.choice(METHODS)
    attributes = {
        "rpc": {
            "system": "grpc",
            "service": "shop.Shop",
            "method": method,
            "grpc": {"status_code": 14 if failed else 0},
        },
        "server": {"address": f"{method.lower()}.shop.svc", "port": 8080},
    }
    return {"name": f"shop.Shop/{method}", "kind": "client", "attributes": attributes}


def _queried(source: random.Random, *, failed: bool) -> dict[str, Any]:
    statement = source.choice(STATEMENTS)
    attributes: dict[str, Any] = {
        "db": {"system": {"name": "postgresql"}, "namespace": "shop", "query": {"text": statement}},
        "server": {"address": "postgres.shop.svc", "port": 5432},
    }
    if failed:
        attributes["error"] = {"type": "57014"}
    return {"name": statement.partition(" ")[0], "kind": "client", "attributes": attributes}


def _span_slots(source: random.Random) -> Iterator[Slots]:
    time_us = START_US
    trace, parent = b"", b""
    while True:
        time_us += int(source.expovariate(1 / 150))
        if source.random() * SPANS_OF_A_TRACE < 1 or not trace:
            trace, parent = b"%032x" % source.getrandbits(128), b""
        span = b"%016x" % source.getrandbits(64)
        yield {
            b"time": iso_time(time_us),
            b"nanoseconds": b"%d000" % time_us,
            b"trace": trace,
            b"span": span,
            b"parent": parent,
            b"duration": b"%d" % int(source.lognormvariate(15, 1.5)),
        }
        parent = span


SPANS = Generator("spans", "spans", "_time", _span_templates, _span_slots)
