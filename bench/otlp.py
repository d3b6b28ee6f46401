"""`python -m bench.otlp`: OpenTelemetry beside NDJSON, with the same events: spans, and lines of logs.

Each is sent to a server of its own in turn, in bodies of 1 MB (NDJSON) and of the same events (protobuf, which says a
resource once). What counts is the best of the rounds, as other work on the machine disturbs both.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console
from rich.table import Table

from bench import load, servers
from bench.generators import LOG_LINES, SPANS, Generator
from bench.observed import Observed
from tailrace.events.timestamps import timestamp_ns

SEED = 1
BODIES = 32
BODY_BYTES = 1_000_000
ROUNDS = 3
CONNECTIONS = 4
SETTLE_S = 0.5
KINDS = {"server": 2, "client": 3}
AIM = 0.5  # of NDJSON's MB/s

Event = dict[str, Any]
Encode = Callable[[list[Event]], bytes]


class Taken(Struct, frozen=True):
    """What one load was, and what it cost."""

    megabytes: float  # as sent
    events: int
    elapsed_s: float  # from the first byte to the last answer
    cpu_s: float  # of the server, until everything is committed by an orderly stop


def main() -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.otlp", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--bodies", type=int, default=BODIES)
    options = parser.parse_args()
    table = Table(title="OpenTelemetry in protobuf, as a share of NDJSON with the same events")
    for head in ("events", "NDJSON MB/s", "OTLP MB/s", "share", "events a second", "CPU ms a MB", "CPU µs an event"):
        table.add_column(head, justify="left" if head == "events" else "right")
    loads: tuple[tuple[Generator, str, Encode], ...] = ((SPANS, "traces", traces_of), (LOG_LINES, "logs", logs_of))
    for generator, signal, encode in loads:
        ndjson = generator.bodies(SEED, count=options.bodies, body_bytes=BODY_BYTES)
        protobuf = [encode([json.loads(line) for line in body.splitlines()]) for body in ndjson]
        events = sum(body.count(b"\n") for body in ndjson)
        best: dict[str, list[Taken]] = {"ndjson": [], "otlp": []}
        for _ in range(options.rounds):
            for name, bodies, request in (
                ("ndjson", ndjson, servers.Tailrace.ingest_request),
                ("otlp", protobuf, partial(_otlp_request, signal=signal)),
            ):
                with servers.directory_in(options.directory) as directory:
                    best[name].append(_taken(generator, bodies, request, directory, events))
        table.add_row(generator.name, *_figures(best["ndjson"], best["otlp"]))
    Console().print(table, f"The aim is a share of {AIM} of NDJSON's MB/s, of bytes as each is sent.")


def _figures(ndjson: Sequence[Taken], otlp: Sequence[Taken]) -> list[str]:
    speeds = [max(each.megabytes / each.elapsed_s for each in rounds) for rounds in (ndjson, otlp)]
    per_s = [max(each.events / each.elapsed_s for each in rounds) for rounds in (ndjson, otlp)]
    per_mb = [min(each.cpu_s * 1e3 / each.megabytes for each in rounds) for rounds in (ndjson, otlp)]
    per_event = [min(each.cpu_s * 1e6 / each.events for each in rounds) for rounds in (ndjson, otlp)]
    return [
        f"{speeds[0]:.0f}",
        f"{speeds[1]:.0f}",
        f"{speeds[1] / speeds[0]:.2f}",
        f"{per_s[0]:,.0f} / {per_s[1]:,.0f}",
        f"{per_mb[0]:.1f} / {per_mb[1]:.1f}",
        f"{per_event[0]:.1f} / {per_event[1]:.1f}",
    ]


def _taken(
    generator: Generator,
    bodies: Sequence[bytes],
    request: Callable[[servers.Tailrace, Generator, bytes], bytes],
    directory: Path,
    events: int,
) -> Taken:
    report = directory / "observed.json"
    with servers.tailrace(directory / "data", observed=report) as server:
        server.create(generator.dataset)
        requests = [request(server, generator, body) for body in bodies]
        time.sleep(SETTLE_S)
        began = time.time()
        done = load.run_once(server.address, requests, connections=CONNECTIONS)
        server.stop()
    used = msgspec.json.decode(report.read_bytes(), type=Observed)
    before = [cpu_s for at, cpu_s in used.snapshots if at <= began][-1]
    return Taken(sum(map(len, bodies)) / 1e6, events, done.elapsed_s, sum(used.cpu_s.values()) - sum(before.values()))


def _otlp_request(server: servers.Tailrace, generator: Generator, body: bytes, *, signal: str) -> bytes:
    headers = {
        "Authorization": f"Bearer {server.token}",
        "X-Axiom-Dataset": generator.dataset,
        "Content-Type": "application/x-protobuf",
    }
    return load.http_request("POST", f"/v1/{signal}", f"{server.address[0]}:{server.address[1]}", headers, body)


# The same events in protobuf.


def traces_of(events: list[Event]) -> bytes:
    """Return a request with the spans, by resource."""
    request = ExportTraceServiceRequest()
    groups: dict[str, Any] = {}
    for event in events:
        key = json.dumps(event["resource"])
        if key not in groups:
            resource_spans = request.resource_spans.add()
            _add_attributes(resource_spans.resource.attributes, event["resource"])
            scope = resource_spans.scope_spans.add()
            scope.scope.name, scope.scope.version = event["scope"]["name"], event["scope"]["version"]
            groups[key] = scope.spans
        start_ns = timestamp_ns(event["_time"])
        span = groups[key].add(
            trace_id=bytes.fromhex(event["trace_id"]),
            span_id=bytes.fromhex(event["span_id"]),
            parent_span_id=bytes.fromhex(event["parent_span_id"]),
            name=event["name"],
            kind=KINDS[event["kind"]],
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + event["duration"],
        )
        if event["error"]:
            span.status.code = 2
        _add_attributes(span.attributes, event["attributes"])
        for each in event.get("events", ()):
            sent = span.events.add(name=each["name"], time_unix_nano=each["timestamp"])
            _add_attributes(sent.attributes, each["attributes"])
    encoded: bytes = request.SerializeToString()
    return encoded


def logs_of(events: list[Event]) -> bytes:
    """Return a request with the lines as log records, by host and program."""
    request = ExportLogsServiceRequest()
    groups: dict[tuple[str, str], Any] = {}
    for event in events:
        key = event["host"], event["program"]
        if key not in groups:
            resource_logs = request.resource_logs.add()
            _add_attributes(resource_logs.resource.attributes, {"host.name": key[0], "service.name": key[1]})
            groups[key] = resource_logs.scope_logs.add().log_records
        record = groups[key].add(time_unix_nano=timestamp_ns(event["_time"]), severity_text=event["severity"])
        record.body.string_value = event["message"]
    encoded: bytes = request.SerializeToString()
    return encoded


def _add_attributes(attributes: Any, values: Event, prefix: str = "") -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _add_attributes(attributes, value, f"{prefix}{name}.")
            continue
        member = attributes.add(key=prefix + name)
        if isinstance(value, bool):
            member.value.bool_value = value
        elif isinstance(value, int):
            member.value.int_value = value
        else:
            member.value.string_value = value


if __name__ == "__main__":
    main()
