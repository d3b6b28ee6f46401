"""Memory that is free goes back to the system."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.events import batch

from tailrace.lake import Lake
from tailrace.lake.memory import HEAPS, release_memory


def resident_bytes() -> int:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot")
def test_what_lies_free_between_what_is_in_use_is_given_back() -> None:
    buffers = [b"x" * 100_000 for _ in range(600)]
    left = buffers[::20]
    buffers.clear()
    before = resident_bytes()

    release_memory()

    assert before - resident_bytes() > 30_000_000
    assert len(left) == 30


HEAPS_OF_THREADS = """
import ctypes, sys, threading
from tailrace.lake.memory import limit_heaps

limit_heaps()
C = ctypes.CDLL(None)
C.fopen.restype = C.malloc.restype = ctypes.c_void_p
together = threading.Barrier(12)

def allocate():
    together.wait()
    for _ in range(100):
        C.malloc(ctypes.c_size_t(1000))
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
opened = C.fopen(sys.argv[1].encode(), b"w")
C.malloc_info(0, ctypes.c_void_p(opened))
C.fclose(ctypes.c_void_p(opened))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library does not tell")
@pytest.mark.parametrize(("set_by_user", "most"), [({}, HEAPS), ({"MALLOC_ARENA_MAX": "4"}, 4)])
def test_threads_share_a_few_heaps(tmp_path: Path, set_by_user: dict[str, str], most: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    command = [sys.executable, "-c", HEAPS_OF_THREADS, str(tmp_path / "heaps.xml")]

    subprocess.run(command, check=True, env={**environment, **set_by_user})

    assert len(re.findall("<heap nr=", (tmp_path / "heaps.xml").read_text())) == most


def test_a_large_commit_gives_memory_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[None] = []
    monkeypatch.setattr("tailrace.lake.committing.release_memory", lambda: released.append(None))

    lake.accept(1, batch([{"n": 1}]))
    lake.commit_now("d")
    assert released == []

    monkeypatch.setattr("tailrace.lake.committing.RELEASE_BYTES", 1)
    lake.accept(2, batch([{"n": 2}]))
    lake.commit_now("d")
    assert len(released) == 1
