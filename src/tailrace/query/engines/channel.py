"""What the server and a query process say to each other: messages and Arrow tables over a socket."""

import mmap
import os
import socket
import struct
import threading
import weakref
from collections import OrderedDict

import msgspec
import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.duckdb import JSON_FIELD
from tailrace.query.engines.engine import Rows, Statement
from tailrace.query.settings import QueryLimits
from tailrace.query.sources import assembled

REMEMBERED_BLOCKS = 4096
_HEADER = struct.Struct("<QQ")  # bytes of the message, bytes of the table behind it
_IPC = pa.ipc.IpcWriteOptions(use_threads=False)


class Setup(Struct, frozen=True):
    """What a query process needs to begin."""

    tables: TableRoot
    temporary: str
    limits: QueryLimits
    model_prices: str
    geo_database: str


class Block(Struct, frozen=True):
    """Where in the shared memory a table lies, as an Arrow stream."""

    offset: int
    size: int


class Shared(Struct, frozen=True):
    """Rows in the shared memory."""

    blocks: list[Block]
    schema: bytes  # an Arrow schema


class Answer(Struct, frozen=True, tag=True):
    statement: Statement
    hot: dict[str, Shared]


class Begin(Struct, frozen=True, tag=True):
    """Of a session, which lasts until End or an error."""


class Register(Struct, frozen=True, tag=True):
    """Has no reply."""

    name: str
    rows: Shared


class Query(Struct, frozen=True, tag=True):
    text: str
    is_whole: bool  # whatever its size


class End(Struct, frozen=True, tag=True):
    """Has no reply."""


class Done(Struct, frozen=True, tag=True):
    """With a table behind it, where one was asked for."""


class Failed(Struct, frozen=True, tag=True):
    kind: str  # name of a class of errors
    message: str
    retry_after_s: int | None = None


Message = Answer | Begin | Register | Query | End | Done | Failed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Channel:
    """One end of the socket. Raises EOFError or OSError where the other end is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: Message, table: pa.Table | None = None) -> None:
        body = _encode(message)
        stream = memoryview(b"") if table is None else memoryview(serialized(table))
        self._connection.sendall(_HEADER.pack(len(body), stream.nbytes) + body)
        if stream.nbytes:
            self._connection.sendall(stream)

    def receive(self) -> tuple[Message, pa.Table | None]:
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


def serialized(table: pa.Table) -> pa.Buffer:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_IPC) as writer:
        writer.write_table(table)
    return sink.getvalue()


def deserialized(stream: pa.Buffer) -> pa.Table:
    """Return the table of an Arrow stream, which lies in it."""
    table = pa.ipc.open_stream(stream).read_all()
    schema = as_marked(table.schema)
    if schema is table.schema:
        return table
    columns = [
        pa.chunked_array([chunk.storage for chunk in column.chunks], field.type)
        if isinstance(column.type, pa.BaseExtensionType)
        else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def as_marked(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns of JSON are texts with a mark, as an engine has them: reading made them a type."""
    if not any(isinstance(field.type, pa.BaseExtensionType) for field in schema):
        return schema
    return pa.schema(
        [
            pa.field(field.name, field.type.storage_type, metadata=JSON_FIELD)
            if isinstance(field.type, pa.BaseExtensionType)
            else field
            for field in schema
        ]
    )


class SharedMemory:
    """Memory that query processes read and the server alone writes: each part of the hot rows is put there once.

    What was put there stays until the part is gone. Thread-safe.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("tailrace-hot", os.MFD_CLOEXEC)
        self._lock = threading.Lock()
        self._end = 0
        self._closed = False
        self._blocks: dict[tuple[int, tuple[str, ...]], Block] = {}
        self._known: dict[int, list[tuple[int, tuple[str, ...]]]] = {}  # by part

    def put(self, rows: Rows) -> Shared:
        """Return where the rows are. They are there for as long as the caller holds them."""
        if isinstance(rows, pa.Table):
            return Shared([self._once(rows, tuple(rows.column_names))], bytes(rows.schema.serialize()))
        blocks = [self._once(part, rows.columns_of(part)) for part in rows.parts]
        return Shared(blocks, bytes(rows.schema.serialize()))

    def close(self) -> None:
        """Give the memory back; nothing can be put any more."""
        self._closed = True
        os.close(self.descriptor)

    def _once(self, part: pa.Table, columns: tuple[str, ...]) -> Block:
        key = (id(part), columns)
        with self._lock:
            block = self._blocks.get(key)
            if block is None:
                stream = serialized(part.select(columns))
                block = Block(self._end, stream.size)
                os.ftruncate(self.descriptor, block.offset + block.size)
                view = memoryview(stream)
                at = block.offset
                while view:
                    count = os.pwrite(self.descriptor, view, at)
                    view, at = view[count:], at + count
                self._end += -(-block.size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
                self._blocks[key] = block
                if id(part) not in self._known:
                    self._known[id(part)] = []
                    weakref.finalize(part, self._forget, id(part)).atexit = False
                self._known[id(part)].append(key)
            return block

    def _forget(self, part: int) -> None:
        # May be called wherever Python frees something, in a thread that holds the lock too: takes none.
        if self._closed:
            return
        for key in self._known.pop(part, ()):
            block = self._blocks.pop(key)
            with mmap.mmap(self.descriptor, block.size, prot=mmap.PROT_WRITE, offset=block.offset) as memory:
                memory.madvise(mmap.MADV_REMOVE)


class SharedReader:
    """The same memory as a query process sees it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()  # by offset, which is used once

    def get(self, shared: Shared) -> pa.Table:
        """Return the rows, which are read where they lie."""
        schema = as_marked(pa.ipc.read_schema(pa.py_buffer(shared.schema)))
        return assembled([self._table(block) for block in shared.blocks], schema)

    def _table(self, block: Block) -> pa.Table:
        table = self._tables.get(block.offset)
        if table is None:
            memory = mmap.mmap(self._descriptor, block.size, prot=mmap.PROT_READ, offset=block.offset)
            table = self._tables[block.offset] = deserialized(pa.py_buffer(memory))
            if len(self._tables) > REMEMBERED_BLOCKS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(block.offset)
        return table
