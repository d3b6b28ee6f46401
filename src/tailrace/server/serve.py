"""`serve`: opens a server's stores, builds it, runs it until a signal, and stops it in good order."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import uvloop

from tailrace.events import TailraceError
from tailrace.query import ReferenceData, Spawner
from tailrace.server import logs
from tailrace.server.banner import print_banner, say
from tailrace.server.build import Server, build
from tailrace.server.data_directory import locked, remove_address, write_address
from tailrace.server.engines import fork_spawner, reference_data_of
from tailrace.server.http import raise_descriptor_limit
from tailrace.server.listener import listening
from tailrace.server.metrics import Metrics
from tailrace.server.settings import Settings
from tailrace.server.stores import close_stores, open_stores, replay

DEMO_DATASET = "demo"
GC_NEW_OBJECTS = 50_000  # container objects made, less those freed, that start a collection of the young ones
GC_YOUNG_COLLECTIONS = 20  # that start one of the middle-aged
GC_MIDDLE_COLLECTIONS = 100  # that start one of all

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run a server until SIGTERM or SIGINT, then stop gracefully and end the process with exit code 0.

    Raise SystemExit with a message (exit code 1) when another server works on the data directory, when the port is
    taken, or when the directory cannot be used; ConfigError when a file that a setting names cannot be.
    """
    _spare_the_collector()
    reference_data = reference_data_of(settings)
    # Before there are threads, which a fork would not take along, and before any file is open.
    spawner = fork_spawner()
    data = settings.server.data.absolute()
    with locked(data), listening(settings.server.host, settings.server.port) as listener:
        logs.configure(settings.server.log_level, settings.server.log_format)
        uvloop.run(_serve(settings, reference_data, data, listener, spawner))
    _end()


async def _serve(
    settings: Settings, reference_data: ReferenceData, data: Path, listener: socket.socket, spawner: Spawner | None
) -> None:
    stopping = asyncio.Event()
    descriptors = raise_descriptor_limit()
    _heed_signals(stopping)
    metrics = Metrics()
    stores = open_stores(settings, data, metrics.flushes)
    server = build(
        settings, stores, reference_data, spawner, listener, stopping=stopping, metrics=metrics, descriptors=descriptors
    )
    write_address(data, server.url)
    serving = asyncio.create_task(server.http.serve())
    await _run(server, serving, stopping)
    await _stop(server, serving)


async def _run(server: Server, serving: asyncio.Task[None], stopping: asyncio.Event) -> None:
    """Start a server that answers already, and return once it is to stop, or serves no more."""
    starting = asyncio.create_task(_start(server))
    signalled = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stopping.is_set():
        starting.result()
        server.stores.reserve.keep()
        server.runner.start()
        gc.collect()
        gc.freeze()
        print_banner(server.url, server.stores.owner_token, DEMO_DATASET)
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)


async def _start(server: Server) -> None:
    """Replay the log, make the dataset of a first start, and let events through."""
    lake = server.stores.lake
    await asyncio.to_thread(replay, server.stores.log, lake, server.settings.lake.shred_backlog_bytes)
    if server.stores.is_first_start:
        try:
            await asyncio.to_thread(lake.create, DEMO_DATASET, description="A place to try things out.")
        except TailraceError as error:
            logger.error("the dataset %s is not made: %s", DEMO_DATASET, error)
    server.service.open()


async def _stop(server: Server, serving: asyncio.Task[None]) -> None:
    """Answer what is in flight, commit what is in memory, close everything."""
    say("Stopping: answering what is in flight, committing what is in memory")
    queries, grace_s = server.queries, server.settings.server.shutdown_grace_s
    queries.tails.close()
    server.http.stop()  # type: ignore[no-untyped-call]
    _, unanswered = await asyncio.wait({serving}, timeout=grace_s)
    server.service.close()
    await server.runner.stop()
    for interrupt in list(queries.running):
        interrupt.stop("the server is shutting down")
    queries.threads.shutdown(wait=False, cancel_futures=True)
    queries.lookups.close()
    await asyncio.to_thread(close_stores, server.stores)
    remove_address(server.stores.data)
    say("Stopped")
    if unanswered:
        logger.warning("requests were still in flight after %g s (shutdown_grace_s)", grace_s)
        # Connections that hang would hold up an orderly end of the HTTP server's threads; all is on disk by now.
        _end()
    serving.result()


def _heed_signals(stopping: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT stop the server, and SIGHUP where it says that the terminal is gone.

    Without a terminal there is nothing that SIGHUP could mean.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        return

    def ignore() -> None:
        logger.info("SIGHUP is ignored: settings are read at the start; SIGTERM stops the server")

    def leave() -> None:
        logger.info("SIGHUP: the terminal is gone, the server stops")
        stopping.set()

    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    loop.add_signal_handler(signal.SIGHUP, leave if has_terminal else ignore)


def _spare_the_collector() -> None:
    """Take what lives as long as the server from Python's cyclic garbage collector.

    With its default thresholds it took 40 % of the event loop's time under small requests, and paused it for 0.1 s at
    a time, walking over modules and waiting batches, none of which can be garbage.
    """
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, GC_YOUNG_COLLECTIONS, GC_MIDDLE_COLLECTIONS)
    gc.enable()


def _end() -> NoReturn:
    """End the process once everything is closed and on disk.

    The interpreter's own end would wait for threads of queries that were asked to stop, and DuckDB's binding would
    print a list of what it finds alive then.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # of a terminal that is gone
            stream.flush()
    os._exit(0)
