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
    """The place of a table in the shared memory, as an Arrow stream."""

    offset: int
    size: int


class SharedRows(Struct, frozen=True):
    """Rows in the shared memory."""

    blocks: list[SharedBlock]
    schema: bytes  # an Arrow schema


class SharedMemory:
    """Memory that only the server writes and query processes read; each part of the hot rows is stored in it once.

    What was put there stays until the part is gone. Thread-safe.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("tailrace-hot", os.MFD_CLOEXEC)
        self._lock = threading.Lock()
        self._end = 0
        self._closed = False
        self._blocks: dict[tuple[int, tuple[str, ...]], SharedBlock] = {}
        self._keys_by_part: dict[int, list[tuple[int, tuple[str, ...]]]] = {}  # by the id of a part

    def put(self, rows: Rows) -> SharedRows:
        """Store the rows, if needed, and return their place, which is valid while the caller references them."""
        if isinstance(rows, pa.Table):
            return SharedRows([self._once(rows, tuple(rows.column_names))], bytes(rows.schema.serialize()))
        blocks = [self._once(part, rows.columns_of(part)) for part in rows.parts]
        return SharedRows(blocks, bytes(rows.schema.serialize()))

    def close(self) -> None:
        """Free the memory; nothing can be stored any more."""
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
                if id(part) not in self._keys_by_part:
                    self._keys_by_part[id(part)] = []
                    weakref.finalize(part, self._forget, id(part)).atexit = False
                self._keys_by_part[id(part)].append(key)
            return block

    def _forget(self, part: int) -> None:
        # Called wherever Python frees an object, perhaps in a thread that holds the lock: it must not acquire it.
        if self._closed:
            return
        for key in self._keys_by_part.pop(part, ()):
            block = self._blocks.pop(key)
            with mmap.mmap(self.descriptor, block.size, prot=mmap.PROT_WRITE, offset=block.offset) as memory:
                memory.madvise(mmap.MADV_REMOVE)


class SharedReader:
    """The same memory in a query process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()  # by offset, which is used once

    def get(self, shared: SharedRows) -> pa.Table:
        """Return the rows without copying them."""
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
