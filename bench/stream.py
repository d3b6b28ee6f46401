"""What a load of large bodies costs a server from the socket to the commit, and what it does to its event loop."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from msgspec import Struct

from bench import load, servers
from bench.generators import Generator
from bench.observed import Observed

CONNECTIONS = 4
SETTLE_S = 0.5  # in which a started server comes to rest, and is looked at
DELAY_AIM_MS = 5.0  # that 99 of 100 looks at the clock are not later than
LEAST_SHARE = 0.01  # of the CPU time, below which a thread is not told by itself
ELSE = "else"


class Streamed(Struct, frozen=True):
    """One load of one generator, from the first byte to the end of the server, which commits what is left."""

    generator: str
    cpu_ms_per_mb: float
    split: dict[str, float]  # of that, by thread
    delay_p99_ms: float  # of the event loop while bodies are sent
    delay_max_ms: float
    peak_mb: float
    bytes_per_event: float  # of the table's files
    sent_bytes_per_event: float


def measure(generator: Generator, bodies: Sequence[bytes], directory: Path) -> Streamed:
    """Return what a load costs: sent, answered, and committed by an orderly stop."""
    used, began, ended = _served(generator, bodies, directory / "loaded", directory / "loaded.json")
    before = [cpu_s for at, cpu_s in used.snapshots if at <= began][-1]
    megabytes = sum(map(len, bodies)) / 1e6
    split = {name: (seconds - before.get(name, 0.0)) * 1e3 / megabytes for name, seconds in used.cpu_s.items()}
    total = sum(split.values())
    told = {name: cost for name, cost in split.items() if cost >= LEAST_SHARE * total}
    told[ELSE] = total - sum(told.values())
    delays = sorted(delay for at, delay in used.delays if began <= at <= ended)
    events = sum(body.count(b"\n") for body in bodies)
    files = pa.table(DeltaTable(directory / "loaded" / "lake" / generator.dataset).get_add_actions(flatten=True))
    stored = pc.sum(files["num_records"]).as_py()
    if events != stored:
        raise RuntimeError(f"{events} events were acknowledged, {stored} are in the table")
    return Streamed(
        generator.name,
        total,
        dict(sorted(told.items(), key=lambda each: -each[1])),
        delays[int(0.99 * len(delays))] * 1e3,
        delays[-1] * 1e3,
        used.peak_bytes / 1e6,
        pc.sum(files["size_bytes"]).as_py() / events,
        megabytes * 1e6 / events,
    )


def best(rounds: Sequence[Streamed]) -> Streamed:
    """Return the round that cost the least."""
    return min(rounds, key=lambda each: each.cpu_ms_per_mb)


def _served(generator: Generator, bodies: Sequence[bytes], data: Path, report: Path) -> tuple[Observed, float, float]:
    """Return what a server did of a load, and when its first byte was sent and its last answer came."""
    with servers.tailrace(data, observed=report) as server:
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, body) for body in bodies]
        time.sleep(SETTLE_S)
        began = time.time()
        load.run_once(server.address, requests, connections=CONNECTIONS)
        ended = time.time()
        server.stop()
    return msgspec.json.decode(report.read_bytes(), type=Observed), began, ended
