"""What is compiled: passes over bytes in C, which ctypes calls without the interpreter lock; whether they are there.

`hatch_build.py` makes one shared object of the C files here, which is part of the wheel.
"""

from tailrace.native.library import load, why_missing

__all__ = ["load", "why_missing"]
