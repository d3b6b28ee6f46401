"""The shared object: loaded once, or the reason why there is none."""

import ctypes
import functools
import os
from pathlib import Path

ABI = 3  # as TAILRACE_NATIVE_ABI of native.h
FILE = Path(__file__).with_name("_native.so")  # by this name on every platform
VARIABLE = "TAILRACE_NATIVE"  # `off`: as if there were no shared object, to diagnose and to test the exact way


def load() -> ctypes.CDLL | None:
    """Return the shared object, the same in each call, or None where it cannot be used."""
    found = _found()
    return None if isinstance(found, str) else found


def why_missing() -> str | None:
    """Return why the shared object cannot be used; None where it can."""
    found = _found()
    return found if isinstance(found, str) else None


@functools.cache
def _found() -> ctypes.CDLL | str:
    if os.environ.get(VARIABLE) == "off":
        return f"{VARIABLE} is off"
    return opened(FILE)


def opened(path: Path) -> ctypes.CDLL | str:
    """Return a shared object of this version, or why it is none."""
    try:
        library = ctypes.CDLL(str(path))
        abi = library.tailrace_native_abi()
    except OSError as error:  # not there, not for this machine, on a disk that forbids to run what is on it
        return str(error)
    except AttributeError:
        return f"{path} is not Tailrace's"
    if abi != ABI:
        return f"{path} is of another version: its interface is {abi}, this one {ABI}"
    return library
