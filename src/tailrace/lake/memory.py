"""Memory that is free, given back to the system: what batches and rows leave behind is in the way of the next ones."""

import ctypes
import os

import pyarrow as pa

HEAPS = 2  # of glibc, which has up to eight for each core
_M_ARENA_MAX = -8  # of malloc.h


def release_memory() -> None:
    """Give back what Arrow and the C library hold without using it, as far as they can tell.

    The C library keeps what many threads have freed in their own heaps. Takes milliseconds, without the interpreter
    lock.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(_C, "malloc_trim", None)  # of glibc; others have none
    if trim is not None:
        trim(ctypes.c_size_t(0))


def limit_heaps() -> None:
    """Have the threads of this process share a few heaps of the C library's, as each keeps some of what was freed in
    it. To be called before there are threads; whoever sets MALLOC_ARENA_MAX chooses otherwise.
    """
    mallopt = getattr(_C, "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, HEAPS)


_C = ctypes.CDLL(None)
