"""OTLP requests in protobuf to events in JSON, by otlp.c."""

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.native.library import load

# As otlp.c has them.
SIGNALS = ("traces", "logs", "metrics")
EVENTS, ITEM, METRIC = range(3)  # kinds of parts
CONVENTION, OF_RESOURCE, DATASET = 1, 2, 4  # what a name is
MAX_NAME_BYTES = 63
_BAD_CALL = 4

_LOCKED_BYTES = 4 * 1024  # a body up to this is read sooner than the interpreter lock is had again


class OtlpLimits(Struct, frozen=True):
    """What a request may have; of a larger one nothing is made."""

    max_events: int
    max_groups: int  # resources, scopes and metrics
    max_bytes: int  # of JSON, with a byte behind each event


class OtlpPart(Struct, frozen=True, gc=False):
    """Events one after another, or a message that is left to its reader."""

    kind: int  # EVENTS, ITEM (a span, a log record or a point) or METRIC
    count: int
    text: bytes  # events, with commas between them; of a message what each of its events has from around it
    raw: bytes  # of a message, in protobuf
    dataset: str  # that its resource names


class OtlpReader:
    """Reads requests, with the same names of attributes."""

    def __init__(self, functions: "_OtlpFunctions", names: Mapping[str, int]) -> None:
        self._functions = functions
        self._names = _packed(names)
        self._powers = _powers_of_ten()

    def read(self, body: bytes, signal: str, limits: OtlpLimits) -> list[OtlpPart] | None:
        """Return the parts of a request; None where it is no plain one, or is larger than the limits."""
        result = _OtlpResult()
        is_short = len(body) <= _LOCKED_BYTES
        status = (self._functions.read_locked if is_short else self._functions.read)(
            body,
            len(body),
            SIGNALS.index(signal),
            self._names,
            len(self._names),
            self._powers.ctypes.data,
            limits.max_events,
            limits.max_groups,
            limits.max_bytes + 1,
            ctypes.byref(result),
        )
        if status:
            if status == _BAD_CALL:
                raise ValueError("these are no names of attributes")
            return None
        try:
            return _parts(body, result)
        finally:
            self._functions.free(ctypes.byref(result))


def otlp_reader(names: Mapping[str, int]) -> OtlpReader | None:
    """Return a reader that knows what these names of attributes are; None where there is no shared object.

    Raise ValueError for a name of more than MAX_NAME_BYTES.
    """
    functions = _functions()
    return None if functions is None else OtlpReader(functions, names)


class _OtlpResult(ctypes.Structure):
    _fields_ = [
        ("text", ctypes.c_void_p),
        ("parts", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("count", ctypes.c_int64),
    ]


_PART = np.dtype("7i8")


def _parts(body: bytes, result: _OtlpResult) -> list[OtlpPart]:
    if not result.count:
        return []
    rows = np.frombuffer(ctypes.string_at(result.parts, result.count * _PART.itemsize), _PART).tolist()
    parts = []
    start = 0
    for kind, count, end, raw_start, raw_end, dataset_start, dataset_end in rows:
        size = end - start - (kind == EVENTS)  # without the last comma
        text = ctypes.string_at(result.text + start, size) if size else b""
        dataset = body[dataset_start:dataset_end].decode()
        parts.append(OtlpPart(kind, count, text, body[raw_start:raw_end], dataset))
        start = end
    return parts


def _packed(names: Mapping[str, int]) -> bytes:
    """Return names as otlp.c has them: by length where they begin and how many they are, then they, sorted."""
    lengths: list[list[bytes]] = [[] for _ in range(MAX_NAME_BYTES + 1)]
    for name, kind in names.items():
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"the name {name} has more than {MAX_NAME_BYTES} bytes")
        lengths[len(name.encode())].append(name.encode() + bytes((kind,)))
    head = []
    offset = 16 * len(lengths)
    for entries in lengths:
        entries.sort()
        head += [offset, len(entries)]
        offset += sum(map(len, entries))
    return np.array(head, np.int64).tobytes() + b"".join(entry for entries in lengths for entry in entries)


@cache
def _powers_of_ten() -> NDArray[np.uint64]:
    """Return 10^q for q from -292 to 324, each as the 128 bits from its first one on, rounded up, high word first."""
    words = []
    for exponent in range(-292, 325):
        power = 5 ** abs(exponent)
        bits = power.bit_length()
        if exponent < 0:
            power = (1 << bits + 127) // power + 1
        elif bits <= 128:
            power <<= 128 - bits
        else:
            power = (power >> bits - 128) + 1
        words += [power >> 64, power & (1 << 64) - 1]
    return np.array(words, np.uint64)


class _OtlpFunctions(Struct, frozen=True):
    read: Callable[..., int]
    read_locked: Callable[..., int]  # which keeps the interpreter lock
    free: Callable[..., None]


@cache
def _functions() -> _OtlpFunctions | None:
    library = load()
    if library is None:
        return None
    locking = ctypes.PyDLL(library._name, handle=library._handle)
    integer, address = ctypes.c_int64, ctypes.c_void_p
    arguments: list[Any] = [ctypes.c_char_p, integer, integer, ctypes.c_char_p, integer, address]
    for function in (library.tailrace_otlp_read, locking.tailrace_otlp_read):
        function.restype = integer
        function.argtypes = [*arguments, integer, integer, integer, address]
    free = locking.tailrace_otlp_free
    free.restype, free.argtypes = None, [address]
    return _OtlpFunctions(library.tailrace_otlp_read, locking.tailrace_otlp_read, free)
