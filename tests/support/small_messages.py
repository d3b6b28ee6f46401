"""Requests in protobuf of very many small messages, and the peak of memory of what reads them."""

import contextlib
import ctypes
import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tailrace.events import TailraceError
from tailrace.parsing import EventCollector, Limits, Signal, parse_otlp
from tailrace.protocols.doors import otlp_requests
from tailrace.protocols.doors.firehose_metrics import metric_requests
from tailrace.protocols.doors.loki_messages import collect_protobuf
from tailrace.protocols.doors.prometheus_messages import collect_samples

MIB = 1024 * 1024
BODY_BYTES = MIB
NOW_NS = 1_760_000_000_000_000_000
UNKNOWN = b"\x78\x01"  # a field that no message here has: without it a message would be empty


def varint(value: int) -> bytes:
    """Return a number as it is written on the wire."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def repeated(*path: int, content: bytes = UNKNOWN, count: int | None = None) -> bytes:
    """Return a message with a field of a field …, the last of them as often as said, or as BODY_BYTES have room for."""
    *outer, last = path
    unit = varint(last << 3 | 2) + varint(len(content)) + content
    body = unit * (BODY_BYTES // len(unit) if count is None else count)
    for number in reversed(outer):
        body = varint(number << 3 | 2) + varint(len(body)) + body
    return body


def packed(*path: int) -> bytes:
    """Return a message with a field of a field …, the last of which are numbers of a byte each."""
    return repeated(*path, content=b"\x01" * BODY_BYTES, count=1)


LOKI = (repeated(1), repeated(1, 2), repeated(1, 2, 3))
PROMETHEUS: dict[int, tuple[bytes, ...]] = {
    1: (repeated(1, 1), repeated(1, 2), repeated(1, 4, 8), packed(1, 4, 9)),
    2: (repeated(4), packed(5, 1), repeated(5, 3, 11), packed(5, 4, 1)),
}
OTLP: dict[Signal, tuple[bytes, ...]] = {
    "logs": (repeated(1), repeated(1, 1, 1), repeated(1, 2, 2), repeated(1, 2, 2, 5, 5, 1)),
    "traces": (repeated(1, 2), repeated(1, 2, 2, 11), repeated(1, 2, 2, 11, 3)),
    "metrics": (repeated(1, 2, 2, 5, 1), packed(1, 2, 2, 10, 1, 8, 2)),
}


LIMITS = Limits()


def readers() -> dict[str, Callable[[], object]]:
    """Return what reads each of the requests, by a name."""
    found: dict[str, Callable[[], object]] = {}
    for number, body in enumerate(LOKI):
        found[f"loki-{number}"] = partial(_read_loki, body)
    for version, bodies in PROMETHEUS.items():
        for number, body in enumerate(bodies):
            found[f"prometheus{version}-{number}"] = partial(_read_prometheus, body, version)
    for signal, requests in OTLP.items():
        for number, body in enumerate(requests):
            found[f"otlp-{signal}-{number}"] = partial(_read_otlp, body, signal)
            found[f"keys-{signal}-{number}"] = partial(_read_otlp_of_keys, body, signal)
    streamed = repeated(1, 2, 2, 11, 1)
    found["metric-stream"] = partial(metric_requests, varint(len(streamed)) + streamed)
    return found


def _read_loki(body: bytes) -> None:
    collect_protobuf(body, EventCollector(LIMITS, NOW_NS), LIMITS, lambda label: "d")


def _read_prometheus(body: bytes, version: int) -> None:
    collect_samples(body, version, EventCollector(LIMITS, NOW_NS), LIMITS, lambda label: "d")


def _read_otlp(body: bytes, signal: Signal) -> None:
    otlp_requests.parse_export(
        body, signal=signal, protobuf=True, dataset_of=lambda label: "d", limits=LIMITS, received_ns=NOW_NS
    )


def _read_otlp_of_keys(body: bytes, signal: Signal) -> None:
    parse_otlp(
        body,
        signal=signal,
        protobuf=True,
        service_field="service",
        limits=LIMITS,
        max_event_bytes=LIMITS.max_event_bytes,
        received_ns=NOW_NS,
    )


def main() -> None:
    """Print the name of each request, and by how many bytes memory grew at most while it was read."""
    for name, read in readers().items():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # so that what was freed before does not hide what is taken
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
        before = memory("VmRSS")
        with contextlib.suppress(TailraceError):
            read()
        print(name, memory("VmHWM") - before)


def memory(name: str) -> int:
    """Return a figure of this process' memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
