"""Scanning of JSON bodies by scan.c: whether one is strict JSON, where its events stand, which need a closer look."""

import ctypes
import struct
import threading
from array import array
from collections.abc import Callable
from functools import cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.native.library import load

# As scan.c has them.
IS_RESERVED, IS_DEEP, HAS_LONG_NAME, HAS_LONG_STRING = 1, 2, 4, 8
HAS_SURROGATE, IS_NOT_UTF8, IS_LARGE, SPANS_LINES = 16, 32, 64, 128
ROW_START, ROW_END, ROW_FLAGS, ROW_VALUES = range(4)
HEAD_FLAGS, HEAD_LINE_BYTES, HEAD_IS_LINES, HEAD_CELLS = range(4)
MAX_NAMES = 64
MAX_NAME_BYTES = 255
_NO_COLUMN = 255
_BAD_CALL = -2

_KEPT_CELLS = 8192  # of each thread, for small bodies
_LEAST_EVENT_BYTES = 64  # for which there is room at once
_LOCKED_BYTES = 16 * 1024  # a body up to this is scanned sooner than the interpreter lock is had again


class Names(Struct, frozen=True):
    """The top-level names to look for."""

    columns: tuple[bytes, ...]  # whose values' places are told: at most as many as there is room for, no longer ones
    reserved: tuple[bytes, ...] = ()


class Bounds(Struct, frozen=True):
    """What an event may have without being flagged; sizes are those of the text as written, without quote marks."""

    max_depth: int
    max_name_bytes: int
    max_string_bytes: int
    max_event_bytes: int


class Scanned(Struct, frozen=True, eq=False, gc=False):
    """The events of a body. Of a small one `cells` are overwritten by the thread's next scan."""

    count: int
    flags: int  # of any of them
    line_bytes: int  # of all as lines, no more where events span lines
    is_lines: bool  # whether each event is a line already, with nothing between them but newlines
    width: int  # cells of an event
    cells: memoryview  # int64, of `count` events from HEAD_CELLS on; fewer where there is no room for more

    def rows(self) -> NDArray[np.int64]:
        """Return start, end, flags, and start and end of the value of each column, 0 where it is missing, by event."""
        end = HEAD_CELLS + self.count * self.width
        return np.frombuffer(self.cells[HEAD_CELLS:end], dtype=np.int64).reshape(self.count, self.width)


class Scanner:
    """Scans bodies for the same names, bounds and number of events."""

    def __init__(self, functions: "_Functions", names: Names, bounds: Bounds, *, max_events: int) -> None:
        self._functions = functions
        self._max_events = max_events
        self._width = ROW_VALUES + 2 * len(names.columns)
        self._kept_events = (_KEPT_CELLS - HEAD_CELLS) // self._width
        entries = [(name, column) for column, name in enumerate(names.columns)]
        entries += [(name, _NO_COLUMN) for name in names.reserved]
        entries.sort(key=lambda entry: len(entry[0]))
        limits = struct.pack(
            "=4q", bounds.max_depth, bounds.max_name_bytes, bounds.max_string_bytes, bounds.max_event_bytes
        )
        self._rules = limits + b"".join(bytes((len(name), column)) + name for name, column in entries)

    def scan(self, body: bytes, *, start: int = 0, is_array: bool) -> Scanned | None:
        """Return the events of a body from `start` on: one array of objects, or objects with white space or nothing
        between them. None where it is no strict JSON, or nested deeper than is looked at.

        Of more than `max_events` the count is right, and nothing else is told.
        """
        events = len(body) // _LEAST_EVENT_BYTES + 1
        if events <= self._kept_events:
            cells, address, size = _kept.view, _kept.address, _KEPT_CELLS
        else:
            cells, address, size = _cells(HEAD_CELLS + events * self._width)
        count = self._call(body, start, is_array, address, size)
        if count * self._width > size - HEAD_CELLS and count <= self._max_events:
            cells, address, size = _cells(HEAD_CELLS + count * self._width)
            count = self._call(body, start, is_array, address, size)
        if count < 0:
            return None
        return Scanned(count, cells[HEAD_FLAGS], cells[HEAD_LINE_BYTES], cells[HEAD_IS_LINES] != 0, self._width, cells)

    def lines(self, body: bytes, scanned: Scanned) -> bytes:
        """Return the events of a body as NDJSON: their bytes, and of those that span lines all but the white space."""
        lines = np.empty(scanned.line_bytes, dtype=np.uint8)
        written: int = self._functions.lines(
            body,
            len(body),
            np.frombuffer(scanned.cells, dtype=np.int64).ctypes.data,
            len(scanned.cells),
            scanned.width,
            scanned.count,
            lines.ctypes.data,
            len(lines),
        )
        if written < 0:
            raise ValueError("the events are not those of the body")
        return lines[:written].tobytes()

    def _call(self, body: bytes, start: int, is_array: bool, address: int, size: int) -> int:
        scan = self._functions.scan_locked if len(body) <= _LOCKED_BYTES else self._functions.scan
        count: int = scan(body, len(body), start, is_array, self._rules, len(self._rules), address, size)
        if count == _BAD_CALL:
            raise ValueError("these are no names to look for")
        return count


def prefixed(lines: bytes, count: int, prefix: bytes) -> memoryview | None:
    """Return `count` lines, each an object, with the members of `prefix` as their first ones; None where there is no
    shared object.

    A prefix is an object without its last brace, and not empty. White space between a line's begin and its first member
    is left out. What are no objects is not looked for; raise ValueError for more lines.
    """
    functions = _functions()
    if functions is None:
        return None
    out = np.empty(len(lines) + count * len(prefix), dtype=np.uint8)
    written = functions.prefixed(lines, len(lines), prefix, len(prefix), out.ctypes.data, len(out))
    if written < 0:
        raise ValueError(f"{len(lines)} bytes are more than {count} lines")
    return out[:written].data


def scanner(names: Names, bounds: Bounds, *, max_events: int) -> Scanner | None:
    """Return a scanner; None where there is no shared object, or where the names are more than can be looked for."""
    functions = _functions()
    many = len(names.columns) + len(names.reserved) > MAX_NAMES
    if functions is None or many or any(len(name) > MAX_NAME_BYTES for name in (*names.columns, *names.reserved)):
        return None
    return Scanner(functions, names, bounds, max_events=max_events)


class _Functions(Struct, frozen=True):
    scan: Callable[..., int]
    scan_locked: Callable[..., int]  # which keeps the interpreter lock
    lines: Callable[..., int]
    prefixed: Callable[..., int]


@cache
def _functions() -> _Functions | None:
    library = load()
    if library is None:
        return None
    locking = ctypes.PyDLL(library._name, handle=library._handle)
    for function in (library.tailrace_scan, locking.tailrace_scan):
        function.restype = ctypes.c_int64
        function.argtypes = _SCAN_ARGUMENTS
    lines = library.tailrace_scan_lines
    lines.restype = ctypes.c_int64
    lines.argtypes = _LINES_ARGUMENTS
    prefixing = library.tailrace_scan_prefixed
    prefixing.restype = ctypes.c_int64
    prefixing.argtypes = _PREFIXED_ARGUMENTS
    return _Functions(library.tailrace_scan, locking.tailrace_scan, lines, prefixing)


_INT = ctypes.c_int64
_SCAN_ARGUMENTS = (ctypes.c_char_p, _INT, _INT, _INT, ctypes.c_char_p, _INT, ctypes.c_void_p, _INT)
_LINES_ARGUMENTS = (ctypes.c_char_p, _INT, ctypes.c_void_p, _INT, _INT, _INT, ctypes.c_void_p, _INT)
_PREFIXED_ARGUMENTS = (ctypes.c_char_p, _INT, ctypes.c_char_p, _INT, ctypes.c_void_p, _INT)


class _Kept(threading.local):
    """The cells that each thread keeps for small bodies."""

    def __init__(self) -> None:
        cells = array("q", bytes(8 * _KEPT_CELLS))
        self.view = memoryview(cells)
        self.address = cells.buffer_info()[0]


_kept = _Kept()


def _cells(count: int) -> tuple[memoryview, int, int]:
    cells = np.empty(count, dtype=np.int64)
    return cells.data, cells.ctypes.data, count
