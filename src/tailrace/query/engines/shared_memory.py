"""The hot rows in memory that the server shares with query processes."""

import mmap
import os
import threading
import weakref
from collections import OrderedDict

import pyarrow as pa
from msgspec import Struct

from tailrace.query.engines.arrow_stream import as_marked, deserialized, serialized
from tailrace.query.engines.engine import Rows
from tailrace.query.sources import assembled

REMEMBERED_BLOCKS = 4096


class SharedBlock(Struct, frozen=True):
    """Where in the shared memory a table lies, as an Arrow stream."""

    offset: int
    size: int


class SharedRows(Struct, frozen=True):
    """Rows in the shared memory."""

    blocks: list[SharedBlock]
    schema: bytes  # an Arrow schema


class SharedMemory:
    """Memory that query processes read and the server alone writes: each part of the hot rows is put there once.

    What was put there stays until the part is gone. Thread-safe.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("tailrace-hot", os.MFD_CLOEXEC)
        self._lock = threading.Lock()
        self._end = 0
        self._closed = False
        self._blocks: dict[tuple[int, tuple[str, ...]], SharedBlock] = {}
        self._known: dict[int, list[tuple[int, tuple[str, ...]]]] = {}  # by part

    def put(self, rows: Rows) -> SharedRows:
        """Return where the rows are. They are there for as long as the caller holds them."""
        if isinstance(rows, pa.Table):
            return SharedRows([self._once(rows, tuple(rows.column_names))], bytes(rows.schema.serialize()))
        blocks = [self._once(part, rows.columns_of(part)) for part in rows.parts]
        return SharedRows(blocks, bytes(rows.schema.serialize()))

    def close(self) -> None:
        """Give the memory back; nothing can be put any more."""
        self._closed = True
        os.close(self.descriptor)

    def _once(self, part: pa.Table, columns: tuple[str, ...]) -> SharedBlock:
        key = (id(part), columns)
        with self._lock:
            block = self._blocks.get(key)
            if block is None:
                stream = serialized(part.select(columns))
                block = SharedBlock(self._end, stream.size)
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

    def get(self, shared: SharedRows) -> pa.Table:
        """Return the rows, which are read where they lie."""
        schema = as_marked(pa.ipc.read_schema(pa.py_buffer(shared.schema)))
        return assembled([self._table(block) for block in shared.blocks], schema)

    def _table(self, block: SharedBlock) -> pa.Table:
        table = self._tables.get(block.offset)
        if table is None:
            memory = mmap.mmap(self._descriptor, block.size, prot=mmap.PROT_READ, offset=block.offset)
            table = self._tables[block.offset] = deserialized(pa.py_buffer(memory))
            if len(self._tables) > REMEMBERED_BLOCKS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(block.offset)
        return table
