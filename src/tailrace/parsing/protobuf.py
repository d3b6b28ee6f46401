"""Protobuf messages whose classes are made at run time from a table of fields, and the block format of snappy.

The decoder is protobuf's own, in native code; only the fields of a table are read. What it makes of small messages
takes up to fifty times their bytes. So what may be large is read level by level: where a table has `bytes` for a
message, that is decoded by itself and dropped, and tailrace.parsing.wire_fields bounds how many fields it may have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from msgspec import Struct

from tailrace.events import BadRequest, TooLarge
from tailrace.parsing.wire_fields import check_fields

_Kind = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _Kind.TYPE_BYTES,
    "double": _Kind.TYPE_DOUBLE,
    "int32": _Kind.TYPE_INT32,
    "int64": _Kind.TYPE_INT64,
    "sint32": _Kind.TYPE_SINT32,
    "sint64": _Kind.TYPE_SINT64,
    "uint32": _Kind.TYPE_UINT32,
    "uint64": _Kind.TYPE_UINT64,
}


class ProtobufField(Struct, frozen=True):
    """A field of a message: a scalar type, or the name of a message of the same table.

    Texts are to be `bytes`: the decoder refuses a whole request for one that is not UTF-8.
    """

    number: int
    name: str
    type: str
    is_repeated: bool = False
    has_presence: bool = False  # whether it is told apart from one that was not sent


def message_classes(package: str, messages: Mapping[str, Sequence[ProtobufField]]) -> dict[str, Any]:
    """Return the class of each message of a table, in proto3."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            added = message.field.add(name=field.name, number=field.number)
            added.label = _Kind.LABEL_REPEATED if field.is_repeated else _Kind.LABEL_OPTIONAL
            if field.type in _SCALARS:
                added.type = _SCALARS[field.type]
            else:
                added.type, added.type_name = _Kind.TYPE_MESSAGE, f".{package}.{field.type}"
            if field.has_presence:
                added.proto3_optional = True
                added.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def parse_message(message: Any, body: bytes, what: str) -> Any:
    """Return the message of a class, which holds events; raise BadRequest where the body is no `what`, and TooLarge."""
    try:
        return read_message(message, body, holds_events=True)
    except DecodeError as error:
        raise BadRequest(f"the body is no {what} in protobuf: {error}") from None


def read_message(message: Any, raw: bytes, *, holds_events: bool = False) -> Any:
    """Return the message of a class that bytes are; raise DecodeError for what is none, and as `check_fields`."""
    check_fields(raw, message.DESCRIPTOR, holds_events=holds_events)
    return message.FromString(raw)


def text_of(value: bytes) -> str:
    """Return a text of a message, with U+FFFD for what is not UTF-8."""
    return value.decode("utf-8", "replace")


def snappy_size(body: bytes) -> int:
    """Return how many bytes a body in snappy's block format says to have decoded, 0 where it says nothing."""
    try:
        size: int = cramjam.snappy.decompress_raw_len(body)
    except cramjam.DecompressionError:
        return 0
    return size


def decode_snappy(body: bytes, max_bytes: int) -> bytes:
    """Return what a body is in snappy's block format; raise BadRequest for a broken one, TooLarge by what it says."""
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > max_bytes:
            raise TooLarge(f"the body has {size} bytes after snappy; max_body_bytes is {max_bytes}")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BadRequest(f"the body is not compressed by snappy, in its block format: {error}") from None
