"""A mark in shared memory: how far a log is durable, for another process that reads it."""

import mmap
import struct

import google_crc32c
from msgspec import Struct

_RECORD = struct.Struct("<Qqqq")  # number of the record, position, first position, end
_CRC = struct.Struct("<I")
_SLOT_BYTES = 64
SLOTS = 2
MARK_BYTES = _SLOT_BYTES * SLOTS


class Extent(Struct, frozen=True):
    """What of a log's segments is durable."""

    position: int = 0  # the highest durable one
    first_position: int = 0  # of the segment that is written to, whose name it is
    end_bytes: int = 0  # where the last durable frame of that segment ends


class DurableMark:
    """The extent of one log. One thread writes it; any thread of a process with the same memory reads it.

    It is written before an append is answered, so who reads it after the answer finds the append in it. A record goes
    over the older of two, with a checksum, so that one of them is whole at any time.
    """

    def __init__(self, memory: mmap.mmap | None = None, start: int = 0) -> None:
        """Take `MARK_BYTES` of memory from a byte on, which are zero or a mark's; or make some, for one process."""
        self._memory = memory if memory is not None else mmap.mmap(-1, MARK_BYTES)
        self._start = start

    def write(self, extent: Extent) -> None:
        """Replace the extent."""
        newest, _ = self._newest()
        self._put(newest + 1, extent)

    def _put(self, number: int, extent: Extent) -> None:
        record = _RECORD.pack(number, extent.position, extent.first_position, extent.end_bytes)
        start = self._start + number % SLOTS * _SLOT_BYTES
        whole = record + _CRC.pack(google_crc32c.value(record))
        self._memory[start : start + len(whole)] = whole

    def read(self) -> Extent:
        """Return the newest whole extent."""
        return self._newest()[1]

    def _newest(self) -> tuple[int, Extent]:
        while True:
            slots = self._memory[self._start : self._start + MARK_BYTES]
            if not any(slots):
                return 0, Extent()
            found = []
            for start in range(0, len(slots), _SLOT_BYTES):
                record = slots[start : start + _RECORD.size]
                (crc,) = _CRC.unpack_from(slots, start + _RECORD.size)
                if crc == google_crc32c.value(record):
                    number, *fields = _RECORD.unpack(record)
                    found.append((number, Extent(*fields)))
            if found:
                return max(found, key=lambda each: each[0])
