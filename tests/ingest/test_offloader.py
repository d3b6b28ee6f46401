"""Where work on a body is done, by its size and by what it needs."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.ingest.offloader import EXACT_BYTES, OFFLOAD_BYTES, Offloader
from tailrace.parsing import ExactWayNeeded


def parsed(size: int, *, is_plain: bool) -> list[tuple[bool, str]]:
    """Return how a body was parsed: each time, whether in bulk, and in which thread."""
    calls: list[tuple[bool, str]] = []

    def parse(in_bulk: bool) -> str:
        calls.append((in_bulk, threading.current_thread().name.rpartition("_")[0] or "loop"))
        if in_bulk and not is_plain:
            raise ExactWayNeeded
        return "parsed"

    async def run() -> None:
        with ThreadPoolExecutor(1, "bulk") as threads:
            assert await Offloader(asyncio.get_running_loop(), threads).parse(parse, size) == "parsed"

    asyncio.run(run())
    return calls


@pytest.mark.parametrize(
    ("size", "plain", "other"),
    [
        (EXACT_BYTES, [(False, "loop")], [(False, "loop")]),
        (EXACT_BYTES + 1, [(True, "loop")], [(True, "loop"), (False, "tailrace-exact")]),
        (OFFLOAD_BYTES - 1, [(True, "loop")], [(True, "loop"), (False, "tailrace-exact")]),
        (OFFLOAD_BYTES, [(True, "bulk")], [(True, "bulk"), (False, "tailrace-exact-large")]),
    ],
)
def test_a_body_is_parsed_where_it_holds_up_nobody(
    size: int, plain: list[tuple[bool, str]], other: list[tuple[bool, str]]
) -> None:
    assert parsed(size, is_plain=True) == plain
    assert parsed(size, is_plain=False) == other


def test_other_work_is_done_in_a_thread_where_it_is_much() -> None:
    async def run() -> list[str]:
        with ThreadPoolExecutor(1, "bulk") as threads:
            offloader = Offloader(asyncio.get_running_loop(), threads)
            sizes = (OFFLOAD_BYTES - 1, OFFLOAD_BYTES)
            return [await offloader.run(lambda: threading.current_thread().name, size) for size in sizes]

    assert asyncio.run(run()) == ["MainThread", "bulk_0"]
