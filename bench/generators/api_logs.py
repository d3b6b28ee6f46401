"""Events as services write them of the requests that they answer."""

import random
from collections.abc import Iterator
from typing import Any

from bench.generators.generator import START_US, TEMPLATES, Generator, Slots, iso_time, template

ROUTES = (
    ("GET", "/v1/orders/{}"), ("GET", "/v1/users/{}"), ("GET", "/v1/products/{}/reviews"), ("POST", "/v1/orders"),
    ("POST", "/v1/carts/{}/items"), ("PUT", "/v1/users/{}"), ("DELETE", "/v1/carts/{}"), ("GET", "/v1/search"),
    ("POST", "/v1/sessions"), ("GET", "/healthz"),
)  # fmt: skip
SERVICES = ("gateway", "checkout", "catalog", "accounts", "search")
STATUSES = (200, 200, 200, 200, 200, 200, 201, 204, 301, 400, 401, 404, 404, 429, 500, 503)
REGIONS = ("eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-2")
TAGS = ("canary", "internal", "mobile", "retry", "cached", "beta")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
    "okhttp/4.12.0",
    "python-httpx/0.28.1",
)


def _api_templates(source: random.Random) -> list[bytes]:
    return [template(_api_event(source)) for _ in range(TEMPLATES)]


def _api_event(source: random.Random) -> dict[str, Any]:
    method, route = source.choice(ROUTES)
    status = source.choice(STATUSES)
    path = route.format(source.randrange(1, 100_000))
    event: dict[str, Any] = {
        "_time": "<time>",
        "level": "error" if status >= 500 else "warn" if status >= 400 else "info",
        "message": f"{method} {path} answered {status}",
        "service": source.choice(SERVICES),
        "host": f"{source.choice(REGIONS)}-{source.randrange(40):02}",
        "trace_id": "<trace>",
        "duration_ms": "<<duration>>",
        "status": status,
        "request": {
            "method": method,
            "path": path,
            "bytes": source.randrange(80, 20_000),
            "user_agent": source.choice(AGENTS),
        },
        "user_id": source.randrange(1, 1_000_000),
        "version": f"2.{source.randrange(10, 20)}.0",
        "cached": source.random() < 0.3,
        "tags": source.sample(TAGS, source.randrange(4)),
    }
    if status >= 500:
        event["error"] = {"type": source.choice(("Timeout", "ConnectionReset")), "retryable": source.random() < 0.5}
    if source.random() < 0.002:
        event[f"experiment_{source.randrange(20)}"] = source.choice(("control", "treatment"))
    return event


def _api_slots(source: random.Random) -> Iterator[Slots]:
    time_us = START_US
    while True:
        time_us += int(source.expovariate(1 / 120))
        tenths = int(source.random() * 4000)
        whole, rest = divmod(tenths, 10)
        yield {
            b"time": iso_time(time_us),
            b"trace": b"%032x" % source.getrandbits(128),
            # As JavaScript writes numbers: a whole one has no fraction.
            b"duration": b"%d.%d" % (whole, rest) if rest else b"%d" % whole,
        }


API_LOGS = Generator("API logs", "api-logs", "_time", _api_templates, _api_slots)
