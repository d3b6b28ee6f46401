"""`python -m bench.observed REPORT serve …`: a server that writes down, as it ends, what its threads used and how late
its event loop was.

It is the server and nothing else, but for a task in its loop that looks at the clock every few milliseconds.
"""

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from bench.servers import peak_bytes
from tailrace.cli import main

EVERY_S = 0.005
LOOKS_A_SNAPSHOT = 20
EVENT_LOOP = "event loop"
LAST_COMMIT = "last commit"  # which the loop's own executor does as the server ends
OTHERS = "HTTP server, libraries"  # threads that Python does not know


class Observed(Struct, frozen=True):
    """What a server did until its end."""

    cpu_s: dict[str, float]  # by thread, without the numbers of equal ones
    snapshots: list[tuple[float, dict[str, float]]]  # the same at earlier times
    delays: list[tuple[float, float]]  # when the loop looked at the clock, and how late that was, both in seconds
    peak_bytes: int  # of the server's own process


_ended_cpu_s: Counter[str] = Counter()


def _name_of(thread: threading.Thread) -> str:
    if thread is threading.main_thread():
        return EVENT_LOOP
    name = thread.name.partition("_")[0].partition(" ")[0]
    return LAST_COMMIT if name == "uvloop" else name


def _count_ended_threads() -> None:
    """Have each thread add its CPU time as it ends: later nobody can ask for it."""
    begin: Any = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def counted(self: threading.Thread) -> None:
        try:
            begin(self)
        finally:
            _ended_cpu_s[_name_of(self)] += time.thread_time()  # type: ignore[assignment]

    threading.Thread._bootstrap_inner = counted  # type: ignore[attr-defined]


def _cpu_s() -> dict[str, float]:
    used = Counter(_ended_cpu_s)
    for thread in threading.enumerate():
        assert thread.ident is not None
        used[_name_of(thread)] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))  # type: ignore[assignment]
    used[OTHERS] = time.process_time() - sum(used.values())  # type: ignore[assignment]
    return dict(used)


async def _look(delays: list[tuple[float, float]], snapshots: list[tuple[float, dict[str, float]]]) -> None:
    while True:
        for _ in range(LOOKS_A_SNAPSHOT):
            due_s = time.monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            delays.append((time.time(), time.monotonic() - due_s))
        snapshots.append((time.time(), _cpu_s()))


async def _with(looking: Coroutine[Any, Any, Any], server: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(looking)
    try:
        await server
    finally:
        task.cancel()


def run(report: Path, arguments: list[str]) -> None:
    """Run the command line with these arguments, as `tailrace` does."""
    _count_ended_threads()
    run_loop = uvloop.run

    def run_observed(server: Coroutine[Any, Any, Any]) -> None:
        delays: list[tuple[float, float]] = []
        snapshots: list[tuple[float, dict[str, float]]] = []
        run_loop(_with(_look(delays, snapshots), server))
        report.write_bytes(msgspec.json.encode(Observed(_cpu_s(), snapshots, delays, peak_bytes(os.getpid()))))

    uvloop.run = run_observed  # type: ignore[assignment]
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
