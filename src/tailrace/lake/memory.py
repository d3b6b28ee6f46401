"""Memory that is free, given back to the system: what batches and rows leave behind is in the way of the next ones."""

import ctypes

import pyarrow as pa


def release_memory() -> None:
    """Give back what Arrow and the C library hold without using it, as far as they can tell.

    The C library keeps what many threads have freed in their own heaps. Takes milliseconds, without the interpreter
    lock.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(_C, "malloc_trim", None)  # of glibc; others have none
    if trim is not None:
        trim(ctypes.c_size_t(0))


_C = ctypes.CDLL(None)
