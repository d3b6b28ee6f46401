"""Processes as Linux tells of them."""

import os
import signal
from pathlib import Path

from support.waiting import wait_until

# A process or a thread may end before its file is opened, or between that and the reading.
GONE = (FileNotFoundError, ProcessLookupError)


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except GONE:
        return False


def stop(pid: int) -> None:
    """Have a process stand still, and return once each of its threads does."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(_is_stopped(each) for each in Path(f"/proc/{pid}/task").glob("*/stat")))


def _is_stopped(stat: Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "T"
    except GONE:
        return True


def cpu_ticks(pid: int) -> int:
    """Return the CPU time that a process has taken, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def descendants(pid: int) -> set[int]:
    """Return the processes that a process made, and theirs."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                some = [int(child) for child in children.read_text().split()]
            except GONE:
                continue
            found.update(some)
            waiting += some
    return found
