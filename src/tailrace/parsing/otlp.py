"""OTLP requests parsed into events: one a span, a log record, or a data point of a metric, with its resource and scope.

Both encodings of the OpenTelemetry protocol 1.x over HTTP are read: protobuf and JSON, in which ids are hexadecimal
and 64-bit integers may be strings. Nothing that a request holds is left out.
"""

from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing.json import ArrayFields, parse_array
from tailrace.parsing.limits import Limits
from tailrace.parsing.otlp_events import Signal, events_of, json_encoding, protobuf_encoding
from tailrace.parsing.otlp_messages import EXPORT_REQUEST, ExportRequest
from tailrace.parsing.otlp_protobuf import check_group_count, read_protobuf_request
from tailrace.parsing.structure import has_more_than
from tailrace.parsing.surrogates import with_whole_characters
from tailrace.parsing.wire_fields import TooManyFields

_RESPONSES: dict[str, tuple[Any, str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}
_MESSAGE_BYTES = 10  # of JSON that a message takes at least, on the average of a large request that says something
_FREE_MESSAGES = 10_000  # of a request that are not counted
_FIELDS = ArrayFields(times=("timestamp",))


def parse_otlp(
    body: bytes,
    *,
    signal: Signal,
    protobuf: bool,
    service_field: str,
    limits: Limits,
    max_event_bytes: int,
    received_ns: int,
) -> tuple[Signal, ParsedBatch]:
    """Parse a decoded OTLP request into events, and tell what it holds; JSON says so itself, protobuf is of `signal`.

    `service_field` is the field that gets the resource's `service.name`. An event larger than `max_event_bytes`, as
    JSON, is a rejection.

    Raise BadRequest for a body that is no such request, TooLarge (`max_events`).
    """
    lines: list[bytes] = []
    size = 0
    try:
        if protobuf:
            request = read_protobuf_request(body, signal, limits)
            encoding = protobuf_encoding(service_field)
        else:
            check_json_density(body)
            request = EXPORT_REQUEST.decode(with_whole_characters(body))
            signal = _signal_of(request)
            encoding = json_encoding(service_field)
            _check_groups(request, signal, limits)
        for event in events_of(request, signal, encoding):
            lines.append(_ENCODER.encode(event))
            size += len(lines[-1]) + 1
            if len(lines) > limits.max_events:
                raise TooLarge(f"the request holds more than max_events = {limits.max_events} events")
            # A resource and a scope are written once in a request, and stand in each of their events.
            if size >= limits.max_body_bytes:
                raise TooLarge(f"the events of the request have more than max_body_bytes = {limits.max_body_bytes}")
    except TooManyFields as error:
        raise TooLarge(f"a message of the OTLP request is too large: {error}") from None
    except DecodeError as error:
        raise BadRequest(f"the body is no OTLP request of {signal} in protobuf: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no OTLP request in JSON: {error}") from None
    except RecursionError:
        raise BadRequest("a value in the OTLP request is nested too deep to be read") from None
    parsed = parse_array(
        b"[" + b",".join(lines) + b"]",
        fields=_FIELDS,
        limits=limits,
        max_event_bytes=max_event_bytes,
        received_ns=received_ns,
    )
    return signal, msgspec.structs.replace(parsed, processed_bytes=len(body))


def otlp_answer(signal: Signal, *, protobuf: bool, rejected: int, reason: str) -> bytes:
    """Return the body of the answer to a request that was taken, but for `rejected` of its events."""
    if not rejected:
        return b"" if protobuf else b"{}"
    response, counter = _RESPONSES[signal]
    if protobuf:
        message = response()
        setattr(message.partial_success, counter, rejected)
        message.partial_success.error_message = reason
        encoded: bytes = message.SerializeToString()
        return encoded
    first, *rest = counter.split("_")
    name = first + "".join(map(str.capitalize, rest))
    return _ENCODER.encode({"partialSuccess": {name: str(rejected), "errorMessage": reason}})


_ENCODER = msgspec.json.Encoder()


def check_json_density(body: bytes) -> None:
    """Raise TooLarge for JSON of almost nothing but empty messages, each of which takes many times its bytes."""
    if has_more_than(body, _FREE_MESSAGES + len(body) // _MESSAGE_BYTES, b"{"):
        raise TooLarge(f"of the {len(body)} bytes of the request too many are those of empty messages")


def _signal_of(request: ExportRequest) -> Signal:
    signals: list[Signal] = []
    if request.resource_spans is not None:
        signals.append("traces")
    if request.resource_logs is not None:
        signals.append("logs")
    if request.resource_metrics is not None:
        signals.append("metrics")
    if len(signals) != 1:
        raise BadRequest("an OTLP request in JSON has one of resourceSpans, resourceLogs and resourceMetrics")
    return signals[0]


_GROUPS = {
    "traces": ("resource_spans", "scope_spans"),
    "logs": ("resource_logs", "scope_logs"),
    "metrics": ("resource_metrics", "scope_metrics"),
}


def _check_groups(request: Any, signal: Signal, limits: Limits) -> None:
    """Raise TooLarge for more resources and scopes than there may be events: empty ones cost time too."""
    resources, scopes = _GROUPS[signal]
    groups = getattr(request, resources)
    count = len(groups)
    if count <= 2 * limits.max_events:
        count += sum(len(getattr(group, scopes)) for group in groups)
    check_group_count(count, limits)
