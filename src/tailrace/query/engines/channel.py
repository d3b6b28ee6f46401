"""The channel between the server and a query process: messages and Arrow tables over a socket."""

import socket
import struct

import msgspec
import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.arrow_stream import deserialized, serialized
from tailrace.query.engines.engine import Statement
from tailrace.query.engines.shared_memory import SharedRows
from tailrace.query.settings import QueryLimits, ReferenceFiles

_HEADER = struct.Struct("<QQ")  # bytes of the message, and of the table after it


class ProcessSetup(Struct, frozen=True):
    """The first message: the limits and settings of a query process."""

    tables: TableRoot
    temporary: str
    limits: QueryLimits
    reference_files: ReferenceFiles


class AnswerStatement(Struct, frozen=True, tag=True):
    statement: Statement
    hot: dict[str, SharedRows]


class BeginSession(Struct, frozen=True, tag=True):
    """Of a session, which lasts until End or an error."""


class RegisterRows(Struct, frozen=True, tag=True):
    """Has no reply."""

    name: str
    rows: SharedRows


class AnswerQuery(Struct, frozen=True, tag=True):
    text: str
    is_whole: bool  # whatever its size


class EndSession(Struct, frozen=True, tag=True):
    """Has no reply."""


class Done(Struct, frozen=True, tag=True):
    """Followed by a table, if one was requested."""


class Failed(Struct, frozen=True, tag=True):
    kind: str  # name of a class of errors
    message: str
    retry_after_s: int | None = None


ChannelMessage = AnswerStatement | BeginSession | RegisterRows | AnswerQuery | EndSession | Done | Failed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ChannelMessage).decode


class Channel:
    """One end of the socket. Raises EOFError or OSError if the other end is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: ChannelMessage, table: pa.Table | None = None) -> None:
        body = _encode(message)
        stream = memoryview(b"") if table is None else memoryview(serialized(table))
        self._connection.sendall(_HEADER.pack(len(body), stream.nbytes) + body)
        if stream.nbytes:
            self._connection.sendall(stream)

    def receive(self) -> tuple[ChannelMessage, pa.Table | None]:
        body_size, stream_size = _HEADER.unpack(self._exactly(_HEADER.size))
        message = _decode(self._exactly(body_size))
        if not stream_size:
            return message, None
        return message, deserialized(pa.py_buffer(self._exactly(stream_size)))

    def close(self) -> None:
        self._connection.close()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._connection.recv_into(view)
            if not count:
                raise EOFError("the other end is gone")
            view = view[count:]
        return data
