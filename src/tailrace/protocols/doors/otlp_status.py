"""Errors as OTLP has them: a `google.rpc.Status`, whose code is one of gRPC's, in protobuf or in JSON."""

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from msgspec import Struct

from tailrace.events import TailraceError
from tailrace.parsing.protobuf import ProtobufField, message_classes, text_of

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
    return OtlpStatus(code_of_status(error.status), error.message)


def code_of_status(status: int) -> int:
    """Return the code of gRPC for the status of an error over HTTP."""
    return _CODES.get(status, INVALID_ARGUMENT if status < 500 else INTERNAL)


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
    encoded: bytes = _MESSAGES["Status"](
        code=status.code,
        message=status.message.encode("utf-8", "replace"),
        details=[each.SerializeToString() for each in details],
    ).SerializeToString()
    return encoded


def encode_retry(retry_s: int) -> bytes:
    """Return a `google.rpc.RetryInfo` in protobuf."""
    delay = Duration(seconds=retry_s).SerializeToString()
    encoded: bytes = _MESSAGES["RetryInfo"](retry_delay=delay).SerializeToString()
    return encoded


def decode_protobuf_status(body: bytes) -> OtlpStatus | None:
    """Return a status that was written in protobuf, None for what is none."""
    try:
        message = _MESSAGES["Status"].FromString(body)
    except DecodeError:
        return None
    return OtlpStatus(message.code, text_of(message.message)) if message.code else None


def decode_status(body: bytes) -> OtlpStatus:
    """Return a status that was written as JSON."""
    return msgspec.json.decode(body, type=OtlpStatus)


# google/rpc/status.proto and error_details.proto of Google's common protos, as far as they are used here; a message in
# another is written as bytes are.
_MESSAGES = message_classes(
    "tailrace.rpc",
    {
        "Status": [
            ProtobufField(1, "code", "int32"),
            ProtobufField(2, "message", "bytes"),
            ProtobufField(3, "details", "bytes", is_repeated=True),
        ],
        "RetryInfo": [ProtobufField(1, "retry_delay", "bytes")],
    },
)
