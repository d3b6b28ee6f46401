"""Memory that is free goes back to the system."""

import ctypes
import re
from pathlib import Path

import pytest
from support.events import batch

from tailrace.lake import Lake
from tailrace.lake.memory import release_memory


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


def test_a_large_commit_gives_memory_back(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[None] = []
    monkeypatch.setattr("tailrace.lake.committing.release_memory", lambda: released.append(None))

    lake.accept(1, batch([{"n": 1}]))
    lake.commit_now("d")
    assert released == []

    monkeypatch.setattr("tailrace.lake.committing.RELEASE_BYTES", 1)
    lake.accept(2, batch([{"n": 2}]))
    lake.commit_now("d")
    assert len(released) == 2  # of the rows as they came, once they are copied in order, and at the end
