"""The hot rows in memory that the server shares with query processes."""

import mmap
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import HotTable
from tailrace.query.dictionaries import assembled, encode
from tailrace.query.engines.arrow_stream import as_marked, deserialized, serialized
from tailrace.query.engines.engine import Rows
from tailrace.query.sources import HotRows

TIME = "_time"
REMEMBERED_BLOCKS = 4096
WINDOW_BYTES = (
    2**30
)  # of the shared memory, which a reader maps at once; of its pages only those that were written exist
SMALL_ROWS = 1024  # in a part that is stored whole, whichever of its columns are asked for


class SharedBlock(Struct, frozen=True):
    """The place of a table in the shared memory, as an Arrow stream."""

    offset: int
    size: int


class SharedRows(Struct, frozen=True):
    """Rows in the shared memory, in parts, each of which is in blocks of columns."""

    parts: list[list[SharedBlock]]
    schema: bytes  # an Arrow schema


class SharedMemory:
    """Memory that only the server writes and query processes read; each column of the hot rows is stored in it once.

    What was put there stays until the part is gone. Thread-safe.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("tailrace-hot", os.MFD_CLOEXEC)
        self._lock = threading.Lock()
        self._end = 0
        self._closed = False
        self._blocks: dict[int, dict[str | None, SharedBlock]] = {}  # by the id of a part, and column; None for all

    def put(self, rows: Rows) -> SharedRows:
        """Store the rows, if needed, and return their place, which is valid while the caller references them."""
        if isinstance(rows, pa.Table):
            parts = [self._stored(rows, rows, [None])]
        else:
            parts = [self._stored(part, part.rows, _names_stored(rows, part)) for part in rows.parts]
        return SharedRows(parts, bytes(rows.schema.serialize()))

    def close(self) -> None:
        """Free the memory; nothing can be stored any more."""
        self._closed = True
        os.close(self.descriptor)

    def _stored(self, part: HotTable | pa.Table, rows: pa.Table, names: Sequence[str | None]) -> list[SharedBlock]:
        with self._lock:
            blocks = self._blocks.get(id(part))
            if blocks is None:
                blocks = self._blocks[id(part)] = {}
                weakref.finalize(part, self._forget, id(part)).atexit = False
            for name in names:
                if name not in blocks:
                    table = rows if name is None else pa.table({name: encode(rows[name])})
                    blocks[name] = self._written(serialized(table))
            return [blocks[name] for name in names]

    def _written(self, stream: pa.Buffer) -> SharedBlock:
        window_end = self._end - self._end % WINDOW_BYTES + WINDOW_BYTES
        if self._end + stream.size > window_end:  # a block is in one window, or begins one
            self._end = window_end
        block = SharedBlock(self._end, stream.size)
        self._end += -(-block.size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        os.ftruncate(self.descriptor, -(-self._end // WINDOW_BYTES) * WINDOW_BYTES)
        view = memoryview(stream)
        at = block.offset
        while view:
            count = os.pwrite(self.descriptor, view, at)
            view, at = view[count:], at + count
        return block

    def _forget(self, part: int) -> None:
        # Called wherever Python frees an object, perhaps in a thread that holds the lock: it must not acquire it.
        if self._closed:
            return
        for block in self._blocks.pop(part, {}).values():
            with mmap.mmap(self.descriptor, block.size, prot=mmap.PROT_WRITE, offset=block.offset) as memory:
                memory.madvise(mmap.MADV_REMOVE)


def _names_stored(rows: HotRows, part: HotTable) -> Sequence[str | None]:
    """Return the columns of a part that are stored each on its own; None for all of them together."""
    return [None] if part.rows.num_rows < SMALL_ROWS else rows.columns_of(part) or [TIME]


class SharedReader:
    """The same memory in a query process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._windows: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()  # by their offset
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()  # by offset, which is used once

    def get(self, shared: SharedRows) -> pa.Table:
        """Return the rows without copying them."""
        schema = as_marked(pa.ipc.read_schema(pa.py_buffer(shared.schema)))
        return assembled([self._part(blocks) for blocks in shared.parts], schema)

    def _part(self, blocks: list[SharedBlock]) -> pa.Table:
        tables = [self._table(block) for block in blocks]
        if len(tables) == 1:
            return tables[0]
        return pa.table({name: table[name] for table in tables for name in table.column_names})

    def _table(self, block: SharedBlock) -> pa.Table:
        table = self._tables.get(block.offset)
        if table is None:
            table = self._tables[block.offset] = deserialized(self._buffer(block))
            if len(self._tables) > REMEMBERED_BLOCKS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(block.offset)
        return table

    def _buffer(self, block: SharedBlock) -> pa.Buffer:
        within = block.offset % WINDOW_BYTES
        start = block.offset - within
        window = self._windows.get(start)
        if window is None or within + block.size > len(window):
            size = max(WINDOW_BYTES, block.size)  # a block that is larger begins its window
            window = self._windows[start] = mmap.mmap(self._descriptor, size, prot=mmap.PROT_READ, offset=start)
        return pa.py_buffer(window).slice(within, block.size)
