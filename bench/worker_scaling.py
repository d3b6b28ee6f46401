"""`python -m bench.worker_scaling`: single events with 1 to 31 workers on up to 32 cores, by a simulation.

Clients elsewhere keep a number of connections to each worker, each with one request in flight. A worker's event loop
takes requests in one after the other; its log writes and flushes what has come meanwhile, then the event loop answers.
All flushes go to one disk. The main process reads what became durable, group by group, of one worker after the other.
Each process has a core of its own. Costs are those that `bench.single` and `bench.workers` measured; a seed gives the
same again.
"""

import argparse
import heapq
import random
from itertools import count

from msgspec import Struct
from rich.console import Console
from rich.table import Table

US = 1e-6
CORES = (2, 4, 8, 16, 32)


class Costs(Struct, frozen=True):
    """Seconds of CPU, and of the disk."""

    receive_s: float = 47 * US  # a request in the event loop's process, until its event is queued for the log
    answer_s: float = 13 * US  # and to answer it
    group_s: float = 50 * US  # a group in the log's thread, which has the interpreter meanwhile
    frame_s: float = 3 * US  # a batch in it
    flush_s: float = 140 * US  # of the disk, a group
    read_group_s: float = 60 * US  # of the main process, to be woken and to read a group
    read_s: float = 12 * US  # of the main process, an event until it is in memory, and its share of a commit


class Scaling(Struct, frozen=True):
    """What was answered, and how busy what all workers share was, from 0 to 1."""

    per_second: float
    main_busy: float
    disk_busy: float


class _Worker(Struct):
    """A process that takes events in. What is free is so from a time on."""

    loop_s: float = 0.0
    queued: int = 0  # batches for the log
    is_flushing: bool = False


def simulate(workers: int, connections: int, seconds: float, seed: int, costs: Costs = Costs()) -> Scaling:
    """Return what so many workers do, each with so many connections; more than the main process reads is refused."""
    rng = random.Random(seed)
    order = count()
    events: list[tuple[float, int, int, str, int]] = []  # time, order, worker, what, batches
    states = [_Worker() for _ in range(workers)]
    disk_s = main_s = disk_used_s = main_used_s = 0.0
    answered = 0

    def put(at_s: float, worker: int, what: str, batches: int = 0) -> None:
        heapq.heappush(events, (at_s, next(order), worker, what, batches))

    def flush(worker: int, at_s: float) -> None:
        nonlocal disk_s, disk_used_s
        state = states[worker]
        batches, state.queued, state.is_flushing = state.queued, 0, True
        written_s = max(at_s, state.loop_s) + costs.group_s + batches * costs.frame_s
        state.loop_s = written_s  # the interpreter is one
        disk_s = max(disk_s, written_s) + costs.flush_s
        disk_used_s += costs.flush_s
        put(disk_s, worker, "durable", batches)

    for worker in range(workers):
        for _ in range(connections):
            put(rng.uniform(0, 1e-3), worker, "request")
    now_s = 0.0
    while now_s < seconds:
        now_s, _, worker, what, batches = heapq.heappop(events)
        state = states[worker]
        if what == "request":
            state.loop_s = max(now_s, state.loop_s) + costs.receive_s * rng.uniform(0.7, 1.3)
            put(state.loop_s, worker, "queued")
        elif what == "queued":
            state.queued += 1
            if not state.is_flushing:
                flush(worker, now_s)
        else:
            main_s = max(main_s, now_s) + costs.read_group_s + batches * costs.read_s
            main_used_s += costs.read_group_s + batches * costs.read_s
            # Who is behind has no memory for more: requests wait until it has caught up.
            waits_s = max(0.0, main_s - now_s - 0.1)
            for _ in range(batches):
                state.loop_s = max(now_s, state.loop_s) + costs.answer_s
                put(state.loop_s + waits_s, worker, "request")
            answered += batches
            state.is_flushing = False
            if state.queued:
                flush(worker, now_s)
    return Scaling(answered / now_s, min(1.0, main_used_s / now_s), min(1.0, disk_used_s / now_s))


def main() -> None:
    """Print rates, and how busy what is shared is, by cores and connections."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker_scaling", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 128], help="to each worker")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    table = Table(title="single events a second, simulated")
    for heading in ("cores", "workers", "connections each", "a second", "main process busy", "disk busy"):
        table.add_column(heading, justify="right")
    for connections in options.connections:
        for cores in CORES:
            done = simulate(cores - 1, connections, options.seconds, options.seed)
            cells = (cores, cores - 1, connections, f"{done.per_second:,.0f}")
            table.add_row(*map(str, cells), f"{done.main_busy:.0%}", f"{done.disk_busy:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
