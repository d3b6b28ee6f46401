"""Where work on a body is done, by its size and by what it needs."""

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tailrace.events import TooLarge
from tailrace.ingest import offloader
from tailrace.ingest.offloader import DECODED_AT_ONCE_BYTES, LARGE_BYTES, OBJECTS_AT_ONCE, OFFLOAD_BYTES, Offloader
from tailrace.parsing import ExactWayNeeded

T = TypeVar("T")


def offloaded(work: Callable[[Offloader], Awaitable[T]]) -> T:
    """Return what some work gives with an Offloader on a loop."""

    async def run() -> T:
        with ThreadPoolExecutor(1, "bulk") as threads:
            return await work(Offloader(asyncio.get_running_loop(), threads))

    return asyncio.run(run())


def thread_name() -> str:
    """Return the name of the thread, of the event loop's "loop"."""
    return threading.current_thread().name.rpartition("_")[0] or "loop"


def parsed(body: bytes, *, is_plain: bool) -> list[tuple[bool, str]]:
    """Return how a body was parsed: each time, whether in bulk, and in which thread."""
    calls: list[tuple[bool, str]] = []

    def parse(in_bulk: bool) -> str:
        calls.append((in_bulk, thread_name()))
        if in_bulk and not is_plain:
            raise ExactWayNeeded
        return "parsed"

    assert offloaded(lambda offloader: offloader.parse(parse, body)) == "parsed"
    return calls


@pytest.mark.parametrize(
    ("body", "bulk", "exact"),
    [
        (b" ", "loop", "tailrace-exact"),
        (b" " * (OFFLOAD_BYTES - 1), "loop", "tailrace-exact"),
        (b"{" * OBJECTS_AT_ONCE, "loop", "tailrace-exact"),
        (b"{" * (OBJECTS_AT_ONCE + 1), "bulk", "tailrace-exact"),
        (b" " * OFFLOAD_BYTES, "bulk", "tailrace-exact-large"),
    ],
    ids=["smallest", "small", "few objects", "many objects", "large"],
)
def test_a_body_is_parsed_where_it_holds_up_nobody(body: bytes, bulk: str, exact: str) -> None:
    assert parsed(body, is_plain=True) == [(True, bulk)]
    assert parsed(body, is_plain=False) == [(True, bulk), (False, exact)]


@pytest.mark.parametrize(
    ("size", "thread"),
    [
        (OFFLOAD_BYTES - 1, "loop"),
        (OFFLOAD_BYTES, "tailrace-work"),
        (LARGE_BYTES - 1, "tailrace-work"),
        (LARGE_BYTES, "tailrace-work-large"),
    ],
)
def test_other_work_is_done_in_a_thread_where_it_is_much(size: int, thread: str) -> None:
    assert offloaded(lambda offloader: offloader.run(thread_name, size)) == thread


@pytest.mark.parametrize(
    ("wire_bytes", "decoded_bytes", "codings", "decoded_in"),
    [
        (100, OFFLOAD_BYTES, 1, ["loop"]),
        (100, OFFLOAD_BYTES + 1, 1, ["loop", "bulk"]),
        (100, OFFLOAD_BYTES, 2, ["bulk"]),
        (DECODED_AT_ONCE_BYTES + 1, OFFLOAD_BYTES, 1, ["bulk"]),
    ],
    ids=["little", "a bomb", "twice", "much"],
)
def test_a_body_is_decoded_where_it_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, wire_bytes: int, decoded_bytes: int, codings: int, decoded_in: list[str]
) -> None:
    names: list[str] = []

    def decode(wire: bytes, encoding: str, max_bytes: int) -> bytes:
        names.append(thread_name())
        if decoded_bytes > max_bytes:
            raise TooLarge("too large")
        return b"decoded"

    monkeypatch.setattr(offloader, "decode_body", decode)
    encoding = ", ".join(["gzip"] * codings)
    assert offloaded(lambda offloader: offloader.decode(b" " * wire_bytes, encoding, 2 * OFFLOAD_BYTES)) == b"decoded"
    assert names == decoded_in


@pytest.mark.parametrize("max_bytes", [1000, 2 * OFFLOAD_BYTES])
def test_a_body_is_decoded_up_to_its_limit(max_bytes: int) -> None:
    most = gzip.compress(b"x" * max_bytes)
    assert offloaded(lambda offloader: offloader.decode(most, "gzip", max_bytes)) == b"x" * max_bytes

    more = gzip.compress(b"x" * (max_bytes + 1))
    with pytest.raises(TooLarge, match=f"max_body_bytes = {max_bytes} "):
        offloaded(lambda offloader: offloader.decode(more, "gzip", max_bytes))
