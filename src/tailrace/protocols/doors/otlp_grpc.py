"""OpenTelemetry over gRPC: each call as the request over HTTP that says the same, and the answer of that as the call's.

The rules are those of "OTLP/gRPC" in OpenTelemetry's page "OTLP Specification 1.x".
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from tailrace.protocols.doors import otlp
from tailrace.protocols.doors.otlp_status import (
    INTERNAL,
    UNAVAILABLE,
    OtlpStatus,
    decode_protobuf_status,
    encode_retry,
    encode_status,
)

METHOD = "Export"
SERVICES: dict[str, str] = {
    f"opentelemetry.proto.collector.{package}.v1.{service}": f"{otlp.PROTOCOL.mount}/v1/{signal}"
    for package, service, signal in (
        ("trace", "TraceService", "traces"),
        ("logs", "LogsService", "logs"),
        ("metrics", "MetricsService", "metrics"),
    )
}  # the path over HTTP of each
# Metadata that is about the call, and not what the headers of a request over HTTP would say.
_OF_THE_CALL = frozenset(
    {"content-type", "content-encoding", "content-length", "expect", "host", "te", "transfer-encoding"}
)

Metadata = tuple[tuple[str, bytes], ...]


class CallFailure(Struct, frozen=True):
    """How a call ends that is refused."""

    status: OtlpStatus
    trailers: Metadata


def headers_of(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of the request over HTTP for a call, of which a refusal need not read the message first."""
    sent = [
        (name.lower().encode(), value.encode() if isinstance(value, str) else value)
        for name, value in metadata
        if name.lower() not in _OF_THE_CALL and not name.endswith("-bin")
    ]
    return [
        *sent,
        (b"host", b"localhost"),
        (b"content-type", b"application/x-protobuf"),
        (b"expect", b"100-continue"),
    ]


def failure_of(status: int, headers: Mapping[bytes, bytes], body: bytes) -> CallFailure | None:
    """Return how a call ends whose request was answered so, None for one that was taken.

    When to send the same again is in the details of the status, where most clients read it, and in a trailer of its
    own, where the one for Python does.
    """
    if status == 200:
        return None
    found = decode_protobuf_status(body) or OtlpStatus(INTERNAL, f"the request was answered with {status}")
    wait = headers.get(b"retry-after")
    return CallFailure(found, ()) if wait is None else _for_now(found, int(wait))


def busy(reason: str, retry_s: int) -> CallFailure:
    """Return how a call ends that cannot be taken for now."""
    return _for_now(OtlpStatus(UNAVAILABLE, reason), retry_s)


def _for_now(status: OtlpStatus, retry_s: int) -> CallFailure:
    details = ("grpc-status-details-bin", encode_status(status, retry_s))
    return CallFailure(status, (details, ("google.rpc.retryinfo-bin", encode_retry(retry_s))))
