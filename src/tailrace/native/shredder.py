"""The shredder in C: lines of JSON to Arrow columns by path and type."""

import ctypes
import functools
import secrets
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.native.library import load

TYPES = ("boolean", "integer", "float", "string", "array", "null", "map", "number")  # as the kinds of shred.c
ARROW_TYPES = (pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.string())
MAX_NODES = 32_768  # keys in their objects that are remembered, before those without a column are forgotten
MAX_KEY_BYTES = 16 * 1024 * 1024  # of those keys
MAX_OFFERED = 1_000  # most that one call of `unplaced` returns
REST = -1  # number of the column of what has no column

_OK, _NO_MEMORY = 0, 1
_NULL = TYPES.index("null")
_NOTHING = np.zeros(0, np.uint8)
_SLOT = np.dtype(
    [
        ("bytes", "u8"),
        ("since", "u8"),
        ("count", "u4"),
        ("batch", "u4"),
        ("recent", "u4"),
        ("path", "u4"),
        ("column", "i4"),
        ("output", "i4"),
        ("kind", "u1"),
        ("told", "u1"),
        ("offered", "u1"),
        ("next", "u4"),
    ],
    align=True,
)


class _Result(ctypes.Structure):
    """What a shredder of shred.c begins with."""

    _fields_ = [
        ("rows", ctypes.c_int64),
        ("bytes", ctypes.c_int64),
        ("refused_count", ctypes.c_int64),
        ("column_count", ctypes.c_int64),
        ("slot_count", ctypes.c_int64),
        ("untold_count", ctypes.c_int64),
        ("total", ctypes.c_int64),
        ("refused", ctypes.c_void_p),
        ("columns", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("untold", ctypes.c_void_p),
    ]


class PathValues(Struct, frozen=True):
    """Values of one type at one path."""

    path: str
    keys: tuple[str, ...]  # of the first nesting seen
    type: str  # one of TYPES
    count: int


class ReadLines(Struct, frozen=True):
    """What a read took."""

    rows: int  # fewer than there are where the tables are full: the rest is read once these columns are made
    bytes: int
    refused: list[int]  # rows that have no values here


class NativeShredder:
    """Shreds the events of one dataset. Not thread-safe."""

    def __init__(self, *, max_nodes: int = MAX_NODES, max_key_bytes: int = MAX_KEY_BYTES) -> None:
        """Raise RuntimeError where the native library is missing."""
        self._library = _functions()
        self._powers = _powers_of_five()
        seeds = (ctypes.c_uint64 * 3)(*(secrets.randbits(64) for _ in range(3)))
        powers = self._powers.ctypes.data
        self._handle: int | None = self._library.tailrace_shred_new(seeds, powers, max_nodes, max_key_bytes)
        if not self._handle:
            raise MemoryError("no memory for a shredder")
        self._result = _Result.from_address(self._handle)
        self._text = _NOTHING  # what was read
        self._columns = 0
        self._untold: list[int] = []

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._library.tailrace_shred_free(handle)

    def read(self, events: bytes | memoryview, count: int) -> ReadLines:
        """Read `count` lines of JSON, each an object with a newline after it; count their values by path and type.

        Raise ValueError for another number of lines.
        """
        text = np.frombuffer(events, np.uint8)
        self._text = _NOTHING
        self._check(self._library.tailrace_shred_read(self._handle, text.ctypes.data, len(text), count))
        result = self._result
        if (result.rows == count) != (result.bytes == len(text)):
            raise ValueError(f"{len(text)} bytes are not {count} lines")
        self._text = text
        refused = _array(result.refused, result.refused_count, np.dtype("u4")).tolist()
        return ReadLines(result.rows, result.bytes, refused)

    def unplaced(self, least: int) -> list[PathValues]:
        """Return what has no column and at least so many recent values, the most frequent first, then the first seen.

        Each is returned once, to be placed then or never; at most MAX_OFFERED at a time.
        """
        slots = self._slots()
        found = np.flatnonzero(
            (slots["column"] < 0)
            & (slots["recent"] >= max(least, 1))
            & (slots["offered"] == 0)
            & (slots["kind"] != _NULL)
        )
        counts = slots["recent"][found].astype(np.int64)
        found = found[np.lexsort((slots["since"][found], -counts))][:MAX_OFFERED]
        slots["offered"][found] = 1
        return [self._values_of(slot, int(slots["recent"][slot])) for slot in found.tolist()]

    def place(self, path: str, value_type: str) -> int:
        """Give a column to values of a type at a path from now on; return its number."""
        raw, number = path.encode(), self._columns
        kind = TYPES.index(value_type)
        self._check(self._library.tailrace_shred_place(self._handle, raw, len(raw), kind, number))
        self._columns += 1
        return number

    def columns(self) -> tuple[dict[int, pa.Array], pa.Array | None]:
        """Return the columns that have a value in what was read, by number, and `_rest` where any row has one."""
        self._check(self._library.tailrace_shred_plan(self._handle))
        result = self._result
        out = pa.allocate_buffer(result.total)
        text, self._text = self._text, _NOTHING
        address = text.ctypes.data
        self._check(self._library.tailrace_shred_fill(self._handle, address, len(text), out.address, out.size))
        self._untold = _array(result.untold, result.untold_count, np.dtype("u4")).tolist()
        columns = {}
        rest = None
        for number, kind, nulls, *places, size, _ in _array(
            result.columns, result.column_count, np.dtype("8i8")
        ).tolist():
            column = _column(out, kind, result.rows, nulls, places, size)
            if number == REST:
                rest = column
            else:
                columns[number] = column
        return columns, rest

    def new_rest(self, most: int) -> tuple[list[PathValues], bool]:
        """Return the paths and types that `_rest` got and that were not told before, at most so many; whether more."""
        told, self._untold = self._untold[:most], self._untold[most:]
        slots = self._slots()
        slots["told"][told] = 1
        return [self._values_of(slot, int(slots["count"][slot])) for slot in told], bool(self._untold)

    def halve(self) -> None:
        """Halve the recent counts."""
        self._slots()["recent"] //= 2

    def _slots(self) -> NDArray[Any]:
        return _array(self._result.slots, self._result.slot_count, _SLOT)

    def _values_of(self, slot: int, count: int) -> PathValues:
        size = self._library.tailrace_shred_keys(self._handle, slot, None, 0)
        buffer = ctypes.create_string_buffer(size)
        self._library.tailrace_shred_keys(self._handle, slot, buffer, size)
        raw, keys, at = buffer.raw, [], 0
        while at < size:
            end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
            keys.append(raw[at + 4 : end].decode(errors="replace"))
            at = end
        keys.reverse()
        return PathValues(".".join(keys), tuple(keys), TYPES[self._slots()["kind"][slot]], count)

    def _check(self, status: int) -> None:
        if status == _NO_MEMORY:
            raise MemoryError("no memory to shred")
        if status != _OK:
            raise ValueError(
                "events must be lines, each with a newline after it, and are read before there are columns"
            )


def _column(out: pa.Buffer, kind: int, rows: int, nulls: int, places: list[int], size: int) -> pa.Array:
    validity_at, offsets_at, data_at = places
    buffers = [None if validity_at < 0 else out.slice(validity_at, (rows + 7) // 8)]
    if offsets_at >= 0:
        buffers.append(out.slice(offsets_at, 4 * (rows + 1)))
    buffers.append(out.slice(data_at, size))
    return pa.Array.from_buffers(ARROW_TYPES[kind], rows, buffers, nulls)


def _array(address: int | None, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the memory there as an array, valid until the shredder is called again."""
    if not address or not count:
        return np.zeros(0, dtype)
    memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(memory), dtype)


@functools.cache
def _functions() -> ctypes.CDLL:
    library = load()
    if library is None:
        raise RuntimeError("the native library is missing")
    handle, size = ctypes.c_void_p, ctypes.c_uint64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "new": (handle, [handle, handle, ctypes.c_uint32, size]),
        "free": (None, [handle]),
        "read": (ctypes.c_int, [handle, handle, size, ctypes.c_uint32]),
        "plan": (ctypes.c_int, [handle]),
        "fill": (ctypes.c_int, [handle, handle, size, handle, size]),
        "place": (ctypes.c_int, [handle, ctypes.c_char_p, size, ctypes.c_uint32, ctypes.c_int32]),
        "keys": (size, [handle, ctypes.c_uint32, handle, size]),
    }
    for name, (restype, argtypes) in signatures.items():
        function = getattr(library, f"tailrace_shred_{name}")
        function.restype, function.argtypes = restype, argtypes
    return library


@functools.cache
def _powers_of_five() -> NDArray[np.uint64]:
    """Return 5^q for q from -342 to 308, each as the 128 bits from its first one on, high word first.

    Rounded up from 5^-27 to 5^-1, cut off otherwise, as Lemire's algorithm has it.
    """
    words = []
    for exponent in range(-342, 309):
        power = 5 ** abs(exponent)
        bits = power.bit_length()
        if exponent < 0:
            power = (1 << bits + 127) // power + (exponent >= -27)
        else:
            power = power << 128 - bits if bits <= 128 else power >> bits - 128
        words += [power >> 64, power & (1 << 64) - 1]
    return np.array(words, np.uint64)
