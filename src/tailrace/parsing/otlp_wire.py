"""OTLP messages read one level at a time: the messages in a message stay bytes until they are asked for.

So an attribute that repeats from event to event is looked up by its bytes and never becomes an object, and a message
that is broken costs no other. Both encodings of OTLP have the same fields here, made from the descriptors of its
generated classes: protobuf, and JSON with names in lowerCamelCase, ids in hexadecimal, 64-bit integers that may be
strings, and unknown fields that are ignored.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from msgspec import Raw, Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1 import resource_pb2 as resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from tailrace.parsing import otlp_messages
from tailrace.parsing.otlp_events import Signal, json_value, protobuf_value
from tailrace.parsing.protobuf import read_message
from tailrace.parsing.wire_fields import WHOLE_BYTES, check_fields


class OtlpLevels(Struct, frozen=True):
    """The messages of a signal, and the fields that hold them."""

    request: str
    groups: str  # of the request: by resource
    group: str
    scopes: str  # of a group
    scope: str
    items: str  # of a scope


LEVELS: dict[Signal, OtlpLevels] = {
    "traces": OtlpLevels(
        "ExportTraceServiceRequest", "resource_spans", "ResourceSpans", "scope_spans", "ScopeSpans", "spans"
    ),
    "logs": OtlpLevels(
        "ExportLogsServiceRequest", "resource_logs", "ResourceLogs", "scope_logs", "ScopeLogs", "log_records"
    ),
    "metrics": OtlpLevels(
        "ExportMetricsServiceRequest", "resource_metrics", "ResourceMetrics", "scope_metrics", "ScopeMetrics", "metrics"
    ),
}

UNREADABLE = (DecodeError, msgspec.MsgspecError, RecursionError, OverflowError, ValueError)

_MESSAGES: tuple[type[Message], ...] = (
    ExportTraceServiceRequest, ExportLogsServiceRequest, ExportMetricsServiceRequest,
    resource.Resource, common.InstrumentationScope, common.EntityRef,
    trace.ResourceSpans, trace.ScopeSpans, trace.Span, trace.Span.Event, trace.Span.Link, trace.Status,
    logs.ResourceLogs, logs.ScopeLogs, logs.LogRecord,
    metrics.ResourceMetrics, metrics.ScopeMetrics, metrics.Metric,
    metrics.Gauge, metrics.Sum, metrics.Histogram, metrics.ExponentialHistogram, metrics.Summary,
    metrics.NumberDataPoint, metrics.HistogramDataPoint, metrics.ExponentialHistogramDataPoint,
    metrics.ExponentialHistogramDataPoint.Buckets, metrics.SummaryDataPoint, metrics.SummaryDataPoint.ValueAtQuantile,
    metrics.Exemplar,
)  # fmt: skip

_HOLDING_EVENTS = frozenset({
    ExportTraceServiceRequest, ExportLogsServiceRequest, ExportMetricsServiceRequest,
    trace.ResourceSpans, trace.ScopeSpans, logs.ResourceLogs, logs.ScopeLogs,
    metrics.ResourceMetrics, metrics.ScopeMetrics,
    metrics.Gauge, metrics.Sum, metrics.Histogram, metrics.ExponentialHistogram, metrics.Summary,
})  # fmt: skip

Read = Callable[[bytes], Any]
K = TypeVar("K", bytes, str)
V = TypeVar("V")


class OtlpWire(Struct, frozen=True, eq=False):
    """How the messages of one encoding are read. What cannot be read raises one of UNREADABLE."""

    name: str
    read: dict[str, Read]  # by the message's name; of a field that is not set the value is false
    key_value: Callable[[bytes], tuple[str, Any]]
    value: Read  # of AnyValue
    id: Callable[[Any], str]  # in hexadecimal
    raws: Callable[[Any], Iterable[bytes]]  # of a repeated message
    raw: Callable[[Any], bytes]  # of a message that may be absent, which is empty then
    optional: Callable[[Any, str], Any]  # a number, None where it is not set


class Memo(dict[K, V]):
    """What a function makes of keys that repeat; bounded, and cleared when it is full. Threads may share it."""

    MAX_ENTRIES = 4096
    MAX_KEY_LENGTH = 512  # of a longer one it is made each time

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make: Callable[[K], V] = make

    def __missing__(self, key: K) -> V:
        made = self._make(key)
        if len(key) <= self.MAX_KEY_LENGTH:
            if len(self) >= self.MAX_ENTRIES:
                self.clear()
            self[key] = made
        return made


# Protobuf.


def _shallow(deep: type[Message]) -> type[Message]:
    """Return a class for the same bytes in which a message is bytes, and an enumeration a number.

    Of a message that stands twice where there may be one, the last counts, which no encoder writes.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{deep.DESCRIPTOR.full_name}.shallow", package="tailrace.otlp", syntax="proto3"
    )
    message = file.message_type.add()
    deep.DESCRIPTOR.CopyToProto(message)
    del message.nested_type[:]
    del message.enum_type[:]
    for member in message.field:
        if member.type == FieldDescriptor.TYPE_MESSAGE:
            member.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
        elif member.type == FieldDescriptor.TYPE_ENUM:
            member.type = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
        member.ClearField("type_name")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(f"tailrace.otlp.{deep.DESCRIPTOR.name}")
    shallow: type[Message] = message_factory.GetMessageClass(found)
    return shallow


def _protobuf_reader(deep: type[Message]) -> Read:
    shallow = _shallow(deep)
    from_string, descriptor, holds_events = shallow.FromString, shallow.DESCRIPTOR, deep in _HOLDING_EVENTS

    def read(raw: bytes) -> Any:
        if len(raw) > WHOLE_BYTES:
            check_fields(raw, descriptor, holds_events=holds_events)
        return from_string(raw)

    return read


def _protobuf_key_value(raw: bytes) -> tuple[str, Any]:
    member = read_message(common.KeyValue, raw)
    return member.key, protobuf_value(member.value)


def _protobuf_any_value(raw: bytes) -> Any:
    return protobuf_value(read_message(common.AnyValue, raw))


def _protobuf_raws(messages: Sequence[bytes]) -> Sequence[bytes]:
    return messages


def _protobuf_raw(message: bytes) -> bytes:
    return message


def _protobuf_optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


PROTOBUF = OtlpWire(
    name="protobuf",
    read={deep.DESCRIPTOR.name: _protobuf_reader(deep) for deep in _MESSAGES},
    key_value=_protobuf_key_value,
    value=_protobuf_any_value,
    id=bytes.hex,
    raws=_protobuf_raws,
    raw=_protobuf_raw,
    optional=_protobuf_optional,
)


# JSON.

_JSON_TYPES: dict[int, Any] = {
    FieldDescriptor.TYPE_MESSAGE: Raw,
    FieldDescriptor.TYPE_ENUM: int | str,
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: str,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_DOUBLE: float,
}  # of the others int


def _json_message(deep: type[Message]) -> Read:
    fields: list[Any] = []
    renamed: dict[str, str] = {}
    for field in deep.DESCRIPTOR.fields:
        kind: Any = _JSON_TYPES.get(field.type, int)
        if kind is Raw and not field.is_repeated:  # which takes null too, and is no part of a union
            fields.append((field.name, Raw, Raw(b"")))
        else:
            fields.append((field.name, (list[kind] if field.is_repeated else kind) | None, None))
        renamed[field.name] = field.json_name
    struct = msgspec.defstruct(deep.DESCRIPTOR.name, fields, rename=renamed, gc=False, frozen=True)
    return msgspec.json.Decoder(struct, strict=False).decode  # numbers may be strings


def _json_key_value(decode: Callable[[bytes], otlp_messages.KeyValue], raw: bytes) -> tuple[str, Any]:
    member = decode(raw)
    return member.key, json_value(member.value)


def _json_any_value(decode: Callable[[bytes], otlp_messages.AnyValue], raw: bytes) -> Any:
    return json_value(decode(raw))


def _json_id(sent: str | None) -> str:
    if sent and not _HEXADECIMAL.fullmatch(sent):
        raise ValueError(f"the id {sent[:64]!r} is not hexadecimal")
    return sent.lower() if sent else ""


def _json_raws(messages: Sequence[Raw] | None) -> Iterable[bytes]:
    return map(bytes, messages or ())


def _json_raw(message: Raw) -> bytes:
    sent = bytes(message)
    return b"" if sent == _NULL else sent


_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]*")
_NULL = b"null"

JSON = OtlpWire(
    name="JSON",
    read={deep.DESCRIPTOR.name: _json_message(deep) for deep in _MESSAGES},
    key_value=partial(_json_key_value, msgspec.json.Decoder(otlp_messages.KeyValue, strict=False).decode),
    value=partial(_json_any_value, msgspec.json.Decoder(otlp_messages.AnyValue, strict=False).decode),
    id=_json_id,
    raws=_json_raws,
    raw=_json_raw,
    optional=getattr,
)
