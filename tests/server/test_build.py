"""A server built over its stores, and whether it is ready."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tailrace.api.services import ServerHealth
from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey
from tailrace.query import ReferenceData
from tailrace.server.build import build
from tailrace.server.listener import listening
from tailrace.server.metrics import Metrics
from tailrace.server.readiness import health
from tailrace.server.settings import SCHEMA
from tailrace.server.stores import Stores, close_stores, open_stores, replay

HOST = "127.0.0.1"


def append(stores: Stores, number: int) -> None:
    """Append an event with an idempotency key to the log, and wait until it is durable."""
    appended = threading.Event()
    line, now_ns = b'{"n":%d}\n' % number, time.time_ns()
    batch = Batch("d", line, np.array([now_ns]), 1, now_ns, keys=(BatchKey(number.to_bytes(16), bytes(16), 1),))
    stores.log.append(batch, lambda *_: appended.set())
    assert appended.wait(30)


def knows(stores: Stores, number: int) -> bool:
    """Return whether the idempotency key of an event is known."""
    return stores.keys.find(number.to_bytes(16), time.time_ns()) is not None


def test_a_server_is_ready_once_its_log_is_replayed_and_no_more_once_it_is_to_stop(tmp_path: Path) -> None:
    settings = SCHEMA.build({"data": tmp_path, "log_min_free_bytes": 1})

    async def run() -> None:
        stopping, metrics = asyncio.Event(), Metrics()
        stores = open_stores(settings, tmp_path, metrics.flushes)
        with listening(HOST, 0) as listener:
            url = f"http://{HOST}:{listener.getsockname()[1]}"
            server = build(
                settings,
                stores,
                ReferenceData(),
                None,
                listener,
                stopping=stopping,
                metrics=metrics,
                max_open_files=1024,
            )
            assert server.url == url
            full = replace(server, settings=SCHEMA.build({"data": tmp_path, "log_min_free_bytes": 2**62}))
            assert await health(server, stopping) == ServerHealth("the server is starting: the log is being replayed")
            server.service.open()
            assert await health(server, stopping) == ServerHealth()
            assert "(log_min_free_bytes) are free" in (await health(full, stopping)).reason
            stopping.set()
            assert await health(server, stopping) == ServerHealth("the server is shutting down")
            server.queries.lookups.close()
            await asyncio.to_thread(close_stores, stores)

    asyncio.run(run())


def test_what_the_log_has_is_in_the_lake_after_a_replay_and_in_its_tables_after_a_stop(tmp_path: Path) -> None:
    settings = SCHEMA.build({"data": tmp_path, "log_min_free_bytes": 1})
    first = open_stores(settings, tmp_path, Metrics().flushes)
    replay(first, 2**30)
    first.lake.create("d")
    first.keys.begin()
    append(first, 1)
    # As after a kill: nothing is committed.
    first.own_lake.close(commit=False)
    first.log.close()
    first.database.close()

    metrics = Metrics()
    second = open_stores(settings, tmp_path, metrics.flushes)
    assert (first.is_first_start, second.is_first_start) == (True, False)
    assert second.own_lake.lag().events == 0
    replay(second, 2**30)
    assert second.own_lake.lag().events == 1
    assert knows(second, 1)
    append(second, 2)
    assert sum(metrics.flushes.counts) == 1
    close_stores(second)

    third = open_stores(settings, tmp_path, Metrics().flushes)
    replay(third, 2**30)
    assert third.own_lake.lag().events == 0
    assert third.own_lake.snapshot("d").received.events == 2
    assert (knows(third, 1), knows(third, 2), knows(third, 3)) == (True, True, False)
    close_stores(third)
