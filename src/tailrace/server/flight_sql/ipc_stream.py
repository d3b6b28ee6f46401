"""Arrow IPC streams, message by message: https://arrow.apache.org/docs/format/Columnar.html"""

import struct
from collections.abc import Iterator

import pyarrow as pa

BATCH_ROWS = 1024

_PREFIX = struct.Struct("<Ii")  # what begins a message, and the size of its metadata
_BEGIN = 0xFFFFFFFF
_BODY_LENGTH = 10  # where the table of fields of a `Message` says where its bodyLength is, in bytes


class IpcMessages:
    """Cuts a stream that comes in pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._metadata: bytes | None = None  # of the message whose body comes

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the metadata and the body of each message that is whole by now. Raise ValueError for no such stream."""
        self._rest += piece
        while True:
            if self._metadata is None:
                if len(self._rest) < _PREFIX.size:
                    return
                begin, size = _PREFIX.unpack_from(self._rest)
                if begin != _BEGIN or size < 0:
                    raise ValueError("this is no Arrow IPC stream")
                if len(self._rest) < _PREFIX.size + size:
                    return
                metadata = self._take(_PREFIX.size + size)[_PREFIX.size :]
                if not metadata:  # the end of the stream
                    return
                self._metadata = metadata
            size = _body_length(self._metadata)
            if len(self._rest) < size:
                return
            metadata, self._metadata = self._metadata, None
            yield metadata, self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(memoryview(self._rest)[:size])
        del self._rest[:size]
        return taken


def messages_of(table: pa.Table) -> Iterator[tuple[bytes, bytes]]:
    """Yield the messages of the stream of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    return IpcMessages().feed(sink.getvalue().to_pybytes())


def schema_bytes(schema: pa.Schema) -> bytes:
    """Return a schema as a message of its own."""
    raw: bytes = schema.serialize().to_pybytes()
    return raw


def _body_length(metadata: bytes) -> int:
    """Return the length of a message's body in bytes, of its metadata in the flatbuffers format."""
    [table] = struct.unpack_from("<I", metadata)
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    [size] = struct.unpack_from("<H", metadata, fields)
    [at] = struct.unpack_from("<H", metadata, fields + _BODY_LENGTH) if size > _BODY_LENGTH else [0]
    length: int = struct.unpack_from("<q", metadata, table + at)[0] if at else 0
    return length
