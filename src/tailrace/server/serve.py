"""`serve`: opens a server's stores, builds it, runs it until a signal, and stops it gracefully."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop
from msgspec import Struct

from tailrace.api.sessions import SIGN_IN_PATH
from tailrace.events import DiskFull, StorageUnavailable, TailraceError
from tailrace.lake import limit_heaps
from tailrace.native import why_missing
from tailrace.processes import Spawner
from tailrace.protocols.registry import STREAM_DOORS
from tailrace.query import ReferenceData
from tailrace.server import logs
from tailrace.server.banner import print_banner, say
from tailrace.server.build import build, connection_ports
from tailrace.server.data_directory import check_restored, locked, refuse, remove_address, write_address
from tailrace.server.engines import check_dask, fork_spawner, reference_data_of
from tailrace.server.fleet.identity import check_settings
from tailrace.server.grpc_listeners import GrpcListeners, grpc_listeners
from tailrace.server.http import raise_descriptor_limit
from tailrace.server.layout import RELAY_SOCKET, TLS_DIRECTORY
from tailrace.server.listener import listening_alike
from tailrace.server.metrics import Metrics
from tailrace.server.parts import Server
from tailrace.server.reloading import Reloader
from tailrace.server.settings import Settings
from tailrace.server.stores import close_stores, open_stores, replay
from tailrace.server.streams.listeners import port_connections
from tailrace.server.streams.sockets import DoorSocket, door_sockets
from tailrace.server.tls import CertificateFiles
from tailrace.server.workers.pool import WorkerSockets
from tailrace.server.workers.relay import relay_socket

DEMO_DATASET = "demo"
GC_NEW_OBJECTS = 50_000  # allocations of containers less deallocations, which start a young collection
GC_YOUNG_COLLECTIONS = 20  # which start a middle one
GC_MIDDLE_COLLECTIONS = 100  # which start a full one

logger = logging.getLogger(__name__)


class _Opened(Struct, frozen=True, eq=False):
    """The sockets of a server, and its certificate."""

    listeners: Sequence[socket.socket]
    doors: Sequence[DoorSocket]
    workers: WorkerSockets | None  # where there are any
    files: CertificateFiles | None  # of the certificate, where the port is for TLS

    def remove_copies(self) -> None:
        """Remove the copies of the certificate, and of its key, which outlive no server that ends by itself."""
        if self.files is not None:
            self.files.close()


def serve(settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
    """Run a server until SIGTERM or SIGINT, then stop gracefully and end the process with exit code 0.

    `reread` reads the settings again, for SIGHUP; it may raise ConfigError.

    Raise SystemExit with a message (exit code 1) when another server works on the data directory, when the port is
    taken, or when the directory cannot be used; ConfigError when a file that a setting names cannot be.
    """
    tune_garbage_collector()
    limit_heaps()
    reference_data = reference_data_of(settings)
    check_dask(settings)
    # Before there are threads, which a fork does not copy, and before any file is open.
    spawner = fork_spawner()
    data = settings.server.data.absolute()
    workers = settings.server.workers
    if settings.fleet.role != "all":
        check_settings(settings)
    if workers > 1 and spawner is None:
        refuse("setting workers: more than one process to take events in is for Linux only")
    with (
        locked(data) as lock,
        listening_alike(settings.server.host, settings.server.port, workers) as listeners,
        door_sockets(STREAM_DOORS, settings) as doors,
        relay_socket(data, RELAY_SOCKET) if workers > 1 else contextlib.nullcontext() as relay,
    ):
        check_restored(data)
        logs.configure(settings.server.log_level, settings.server.log_format)
        if reason := why_missing():
            logger.warning("the native library is not used, so taking events in is slow: %s", reason)
        opened = _Opened(
            listeners,
            doors,
            None if relay is None else WorkerSockets(listeners, relay, lock),
            CertificateFiles(settings.tls, data / TLS_DIRECTORY) if settings.tls.certificate else None,
        )
        try:
            uvloop.run(_serve(settings, reference_data, data, spawner, opened, reread))
        finally:
            opened.remove_copies()
    _exit()


async def _serve(
    settings: Settings,
    reference_data: ReferenceData,
    data: Path,
    spawner: Spawner | None,
    opened: "_Opened",
    reread: Callable[[], Settings] | None,
) -> None:
    stopping, hangup = asyncio.Event(), asyncio.Event()
    max_open_files = raise_descriptor_limit()
    _handle_signals(stopping, hangup)
    metrics = Metrics()
    certificate = None if opened.files is None else opened.files.open()
    metrics.certificate_not_after_s = None if certificate is None else certificate.not_after_s
    most = port_connections(settings.streams, max_open_files, connection_ports(settings, opened.doors))
    grpc = grpc_listeners(settings, most, certificate)
    reloader = partial(Reloader, asked=hangup, files=opened.files, doors=opened.doors, grpc=grpc, reread=reread)
    if settings.fleet.role != "all":
        # Only here: what nodes need of libraries, most servers never do.
        from tailrace.server.fleet.serve import serve_node

        await serve_node(
            settings,
            data,
            reference_data,
            spawner,
            opened.listeners[0],
            grpc,
            stopping=stopping,
            metrics=metrics,
            max_open_files=max_open_files,
            doors=opened.doors,
            certificate=certificate,
            reloader=reloader,
        )
        opened.remove_copies()
        _exit()
    server = build(
        settings,
        open_stores(settings, data, metrics.flushes),
        reference_data,
        spawner,
        opened.listeners[0],
        stopping=stopping,
        metrics=metrics,
        max_open_files=max_open_files,
        doors=opened.doors,
        workers=opened.workers,
        certificate=certificate,
    )
    reloading = asyncio.create_task(reloader(server).run())
    write_address(data, server.url, [*grpc.shown, *server.streams.shown])
    serving = asyncio.create_task(server.http.serve())
    await _run(server, serving, grpc, stopping)
    reloading.cancel()
    if not await _stop(server, serving, grpc):
        opened.remove_copies()
        # Hanging connections would keep the HTTP server's threads from ending; everything is on disk by now.
        _exit()
    serving.result()


async def _run(server: Server, serving: asyncio.Task[None], grpc: GrpcListeners, stopping: asyncio.Event) -> None:
    """Start the parts of a server that listens already, and return once it is to stop or has failed."""
    starting = asyncio.create_task(_start(server))
    signalled = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stopping.is_set():
        starting.result()
        server.stores.reserve.keep()
        await grpc.start(server.recorder)
        await server.streams.start()
        server.runner.start()
        gc.collect()
        gc.freeze()
        print_banner(
            server.url,
            server.stores.owner_token,
            DEMO_DATASET,
            [*grpc.shown, *server.streams.shown],
            console=await asyncio.to_thread(_console_link, server),
        )
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)


async def _start(server: Server) -> None:
    """Replay the log, create the dataset of a first start, and accept events."""
    stores, lake = server.stores, server.stores.own_lake
    positions = await asyncio.to_thread(replay, stores, server.settings.lake.shred_backlog_bytes)
    if stores.is_first_start:
        try:
            await asyncio.to_thread(lake.create, DEMO_DATASET, description="A place to try things out.")
        except TailraceError as error:
            logger.error("the dataset %s is not made: %s", DEMO_DATASET, error)
    if server.workers is not None:
        await server.workers.open(positions)
    server.service.open()


def _console_link(server: Server) -> str:
    """Return a link that signs a browser in as the owner; nothing where there is no console, or no such token."""
    if not server.settings.console.enabled:
        return ""
    try:
        code = server.stores.access.browser_sessions.create_owners_code()
    except (DiskFull, StorageUnavailable) as error:
        logger.warning("there is no link to the console: %s", error)
        return ""
    return "" if code is None else f"{server.url}{SIGN_IN_PATH}{code.secret}"


async def _stop(server: Server, serving: asyncio.Task[None], grpc: GrpcListeners) -> bool:
    """Answer the requests in flight, commit the rows in memory, close everything; return whether all were answered."""
    say("Stopping: answering what is in flight, committing what is in memory")
    queries, grace_s = server.queries, server.settings.server.shutdown_grace_s
    queries.tails.close()
    server.http.stop()
    (_, unanswered), *_ = await asyncio.gather(
        asyncio.wait({serving}, timeout=grace_s), grpc.stop(grace_s), server.streams.stop(grace_s)
    )
    server.service.close()
    await server.runner.stop()
    for interrupt in list(queries.running):
        interrupt.stop("the server is shutting down")
    queries.threads.shutdown(wait=False, cancel_futures=True)
    if queries.engine.spreader is not None:
        await asyncio.to_thread(queries.engine.spreader.close)
    queries.lookups.close()
    if server.workers is not None:
        await asyncio.to_thread(server.workers.close)
    await asyncio.to_thread(close_stores, server.stores)
    remove_address(server.stores.data)
    say("Stopped")
    if unanswered:
        logger.warning("requests were still in flight after %g s (shutdown_grace_s)", grace_s)
    return not unanswered


def _handle_signals(stopping: asyncio.Event, hangup: asyncio.Event) -> None:
    """Stop the server at SIGTERM and SIGINT, and at SIGHUP where its terminal was closed.

    Without a terminal SIGHUP reloads.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        return

    def stop() -> None:
        logger.info("SIGHUP: the terminal is gone, the server stops")
        stopping.set()

    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    loop.add_signal_handler(signal.SIGHUP, stop if has_terminal else hangup.set)


def tune_garbage_collector() -> None:
    """Exclude what lives as long as the server from Python's cyclic garbage collector, and let it run less often.

    With its default thresholds it took 40 % of the event loop's time under small requests, and paused it for 0.1 s at
    a time, walking over modules and queued batches, none of which can be garbage.
    """
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, GC_YOUNG_COLLECTIONS, GC_MIDDLE_COLLECTIONS)
    gc.enable()


def _exit() -> NoReturn:
    """Exit the process once everything is closed and on disk.

    A regular exit would wait for threads of queries that were interrupted, and DuckDB's binding would print a list of
    the objects that are alive then.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # of a closed terminal
            stream.flush()
    os._exit(0)
