"""Errors as OTLP has them: a `google.rpc.Status`, whose code is one of gRPC's, in protobuf or in JSON."""

from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from msgspec import Struct

from tailrace.events import TailraceError

RETRY_AFTER_S = 1  # where an error that a retry can help names no time of its own
INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 3, 5, 7, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16
_CODES = {
    401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: NOT_FOUND, 405: UNIMPLEMENTED, 408: UNAVAILABLE,
    413: RESOURCE_EXHAUSTED, 429: RESOURCE_EXHAUSTED, 500: INTERNAL, 503: UNAVAILABLE,
}  # by status; of any other error of the client INVALID_ARGUMENT  # fmt: skip


class OtlpStatus(Struct, frozen=True):
    """The body of every error; in protobuf it is the message of the same fields."""

    code: int  # of gRPC
    message: str


def status_of(error: TailraceError) -> OtlpStatus:
    """Return what an error is in gRPC."""
    default = INVALID_ARGUMENT if error.status < 500 else INTERNAL
    return OtlpStatus(_CODES.get(error.status, default), error.message)


def retry_after_s(error: TailraceError) -> int | None:
    """Return after how many seconds the same may be sent again, None where that would not help."""
    if error.retry_after_s is None and not error.retryable and _CODES.get(error.status) != UNAVAILABLE:
        return None
    return error.retry_after_s or RETRY_AFTER_S


def encode_status(status: OtlpStatus, retry_s: int | None = None) -> bytes:
    """Return a status in protobuf; with a time to retry after, that is a detail of it."""
    details = []
    if retry_s is not None:
        details = [AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=encode_retry(retry_s))]
    message = _STATUS(code=status.code, message=status.message, details=[each.SerializeToString() for each in details])
    encoded: bytes = message.SerializeToString()
    return encoded


def encode_retry(retry_s: int) -> bytes:
    """Return a `google.rpc.RetryInfo` in protobuf."""
    encoded: bytes = _RETRY_INFO(retry_delay=Duration(seconds=retry_s).SerializeToString()).SerializeToString()
    return encoded


def decode_status(body: bytes) -> OtlpStatus:
    """Return a status that was written as JSON."""
    return msgspec.json.decode(body, type=OtlpStatus)


def _message(name: str, **fields: tuple[int, int, bool]) -> Any:
    """Return the class of a message: of each field the number, the type, and whether it is repeated."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="tailrace.rpc", syntax="proto3")
    message = file.message_type.add(name=name)
    for field, (number, kind, repeated) in fields.items():
        label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if repeated else _OPTIONAL
        message.field.add(name=field, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tailrace.rpc.{name}"))


_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_INT32 = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES  # also for a message, which is written the same

# google/rpc/status.proto and error_details.proto of Google's common protos, as far as they are used here.
_STATUS = _message("Status", code=(1, _INT32, False), message=(2, _STRING, False), details=(3, _BYTES, True))
_RETRY_INFO = _message("RetryInfo", retry_delay=(1, _BYTES, False))
