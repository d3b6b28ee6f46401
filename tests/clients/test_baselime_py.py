"""Baselime's OpenTelemetry SDK for Python, unmodified: its spans come back."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Server

# In a process of its own, as the SDK sets up the whole of its interpreter.
PROGRAM = """
from baselime.opentelemetry import configure_opentelemetry

configure_opentelemetry()

from opentelemetry import trace

with trace.get_tracer("tests").start_as_current_span("outer", attributes={"a": 1, "b": "x", "c": [1.5]}) as span:
    with trace.get_tracer("tests").start_as_current_span("inner"):
        span.add_event("happened", {"k": "v"})
print(format(span.get_span_context().trace_id, "032x"))
trace.get_tracer_provider().shutdown()
"""


def test_spans(server: "Server") -> None:
    made = server.client.post("/tailrace/v1/keys", json={"protocol": "baselime", "name": "py", "datasets": ["*"]})
    settings = {
        "BASELIME_URL": f"{server.url}/v1",
        "BASELIME_API_KEY": made.json()["key"],
        "OTEL_SERVICE_NAME": "svc-py",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    trace_id = done.stdout.strip().splitlines()[-1]

    columns = 'name, kind, spanId, parentSpanId, "attributes.a" AS a, "attributes.b" AS b, "attributes.c" AS c, '
    columns += '"$baselime.service" AS service, "scope.name" AS scope, events'
    rows = server.sql(f"SELECT {columns} FROM otel WHERE traceId = '{trace_id}' ORDER BY name")
    inner, outer = rows
    assert inner["parentSpanId"] == outer["spanId"]
    assert {name: outer[name] for name in ("name", "kind", "parentSpanId", "a", "b", "c", "service", "scope")} == {
        "name": "outer",
        "kind": "internal",
        "parentSpanId": None,
        "a": 1,
        "b": "x",
        "c": [1.5],
        "service": "svc-py",
        "scope": "tests",
    }
    assert [(event["name"], event["attributes"]) for event in outer["events"]] == [("happened", {"k": "v"})]
