"""`python -m bench.single`: what a request with one event costs, in µs of CPU, by thread and by stage.

The server runs in this process on a new data directory, its client in another one. Beside it stand empty handlers of
the HTTP server, one for each of its interfaces, which read the body and answer. Stages are timed by themselves, in the
event loop's thread, without a socket. Other work on the machine adds up to half: compare figures of one run.
"""

import argparse
import asyncio
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench import load, servers
from bench.generators import GENERATORS, Generator
from tailrace.events import Batch, ParsedBatch
from tailrace.log import frames
from tailrace.parsing import Limits, TimeRule, parse_json
from tailrace.query import ReferenceData
from tailrace.server.asgi import Message, Scope
from tailrace.server.build import build
from tailrace.server.listener import listening
from tailrace.server.metrics import Metrics
from tailrace.server.parts import Server
from tailrace.server.serve import tune_garbage_collector
from tailrace.server.settings import SCHEMA
from tailrace.server.stores import Stores, close_stores, open_stores, replay

SEED = 1
HOST = "127.0.0.1"
CONNECTIONS = (16, 128)
DISTINCT_EVENTS = 2000  # that requests repeat
WARM_UP_S = 0.5
SECONDS = 2.0
ROUNDS = 5  # of which the best counts
REPEATS = 2000  # of a stage in a round
EVENT_LOOP = "event loop"
RUST = "HTTP server's own"
HANDLERS = ("asgi", "rsgi")

Costs = dict[str, float]  # µs by name
Stage = Callable[[], object]


def main() -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.single", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where data is written")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    options = parser.parse_args()
    console = Console()
    empty: dict[str, Costs] = {}
    for handler in HANDLERS:
        with servers.empty(handler) as (address, pid):
            empty[f"empty handler, {handler.upper()}"] = {
                str(connections): _empty_cost(address, pid, GENERATORS[0], connections)
                for connections in options.connections
            }
    tune_garbage_collector()
    with servers.directory_in(options.directory) as directory:
        by_thread, stages = uvloop.run(_measure(directory, GENERATORS[0], options.connections))
    names = sorted({name for costs in by_thread.values() for name in costs}, key=lambda name: name != EVENT_LOOP)
    table = Table(title="µs of CPU a request with one event")
    table.add_column("thread")
    for connections in options.connections:
        table.add_column(f"{connections} connections", justify="right")
    for name in names:
        table.add_row(name, *(f"{by_thread[each].get(name, 0.0):.1f}" for each in options.connections))
    table.add_row("in all", *(f"{sum(by_thread[each].values()):.1f}" for each in options.connections), end_section=True)
    for name, costs in empty.items():
        table.add_row(name, *(f"{costs[str(each)]:.1f}" for each in options.connections))
    console.print(table)
    table = Table(title="µs of CPU a request, by stage, one at a time")
    table.add_column("stage")
    table.add_column("µs", justify="right")
    for name, cost in stages.items():
        table.add_row(name, f"{cost:.1f}")
    console.print(table)


def _empty_cost(address: tuple[str, int], pid: int, generator: Generator, connections: int) -> float:
    requests = [
        load.http_request("POST", "/", f"{address[0]}:{address[1]}", {"Authorization": "Bearer token"}, event)
        for event in islice(generator.events(SEED), DISTINCT_EVENTS)
    ]
    load.run(address, requests, connections=connections, seconds=WARM_UP_S)
    before = _process_cpu_s(pid)
    done = load.run(address, requests, connections=connections, seconds=SECONDS)
    done.check()
    return (_process_cpu_s(pid) - before) * 1e6 / done.requests


async def _measure(data: Path, generator: Generator, connections: list[int]) -> tuple[dict[int, Costs], Costs]:
    """Return the cost of a request by thread, for each number of connections, and by stage."""
    settings = SCHEMA.build({"data": data})
    metrics = Metrics()
    stores = open_stores(settings, data, metrics.flushes)
    with listening(HOST, 0) as listener:
        address: tuple[str, int] = listener.getsockname()
        server = build(
            settings,
            stores,
            ReferenceData(),
            None,
            listener,
            stopping=asyncio.Event(),
            metrics=metrics,
            max_open_files=1024,
        )
        serving = asyncio.create_task(server.http.serve())
        await asyncio.to_thread(replay, stores, settings.lake.shred_backlog_bytes)
        await asyncio.to_thread(stores.lake.create, generator.dataset)
        server.service.open()
        token = (data / "owner-token").read_text().strip()
        by_thread = {count: await _load(address, generator, token, count) for count in connections}
        stages = await _stages(server, stores, generator, token)
        server.http.stop()
        await serving
    server.service.close()
    server.queries.lookups.close()
    await asyncio.to_thread(close_stores, stores)
    return by_thread, stages


async def _load(address: tuple[str, int], generator: Generator, token: str, connections: int) -> Costs:
    """Return the cost of a request by thread, while a client in another process sends them."""
    path = f"/v1/datasets/{generator.dataset}/ingest?timestamp-field={generator.time_field}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    requests = [
        load.http_request("POST", path, f"{address[0]}:{address[1]}", headers, event)
        for event in islice(generator.events(SEED), DISTINCT_EVENTS)
    ]
    send = partial(load.run, address, requests, connections=connections)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        await asyncio.to_thread(pool.apply, send, (), {"seconds": WARM_UP_S})
        before, before_s = _thread_cpu_s(), time.process_time()
        done: load.Load = await asyncio.to_thread(pool.apply, send, (), {"seconds": SECONDS})
        spent_s = time.process_time() - before_s
        after = _thread_cpu_s()
    done.check()
    threads = {name: (seconds - before.get(name, 0.0)) * 1e6 / done.requests for name, seconds in after.items()}
    costs = {name: cost for name, cost in threads.items() if cost >= 0.1}
    costs[RUST] = spent_s * 1e6 / done.requests - sum(threads.values())
    return costs


def _thread_cpu_s() -> dict[str, float]:
    """Return the CPU time of each thread that Python knows, by its name without a number."""
    used: Counter[str] = Counter()
    for thread in threading.enumerate():
        name = EVENT_LOOP if thread is threading.main_thread() else thread.name.partition("_")[0].partition(" ")[0]
        assert thread.ident is not None
        used[name] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))  # type: ignore[assignment]
    return dict(used)


async def _stages(server: Server, stores: Stores, generator: Generator, token: str) -> Costs:
    """Return the cost of each stage of a request, and of all of them in the event loop without the HTTP server."""
    body = next(generator.events(SEED))
    times = TimeRule(field=generator.time_field)
    parsed = parse_json(body, times=times, limits=Limits(), received_ns=1, lines=True)
    batch = Batch(generator.dataset, parsed.events, parsed.times, 1, 1)
    payload = frames.prepare(batch)
    return {
        "application, without the HTTP server": await _application_cost(server, generator, token, body),
        "of it, the credential": _cost(lambda: stores.access.authenticate(token)),
        "of it, the dataset": _cost(lambda: server.service.check_dataset(generator.dataset)),
        "of it, parsing": _cost(lambda: _parse(body, times)),
        "of it, the frame without its position": _cost(lambda: frames.prepare(batch)),
        "log thread: the frame": _cost(lambda: frames.encode(payload, 1)),
    }


def _parse(body: bytes, times: TimeRule) -> ParsedBatch:
    return parse_json(body, times=times, limits=Limits(), received_ns=1, lines=True)


def _cost(stage: Stage) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(REPEATS):
            stage()
        best = min(best, time.thread_time() - began_s)
    return best * 1e6 / REPEATS


async def _application_cost(server: Server, generator: Generator, token: str, body: bytes) -> float:
    """Return the cost of a request in the event loop's thread, 128 at a time, each answered once it is durable."""
    best = float("inf")
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(REPEATS // 128):
            await asyncio.gather(*(_request(server, generator, token, body) for _ in range(128)))
        best = min(best, time.thread_time() - began_s)
    return best * 1e6 / (REPEATS // 128 * 128)


def _request(server: Server, generator: Generator, token: str, body: bytes) -> Awaitable[None]:
    path = f"/v1/datasets/{generator.dataset}/ingest"
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"timestamp-field=" + generator.time_field.encode(),
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"content-length", b"%d" % len(body)),
            (b"authorization", b"Bearer " + token.encode()),
            (b"content-type", b"application/x-ndjson"),
        ],
        "client": (HOST, 1),
        "scheme": "http",
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"a request was answered with {message['status']}")

    target: Any = server.http.target
    answered: Awaitable[None] = target(scope, receive, send)
    return answered


def _process_cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds (Linux)."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
