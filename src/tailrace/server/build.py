"""Construction of a server: its parts on top of the open stores, connected to one another and not yet running."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tailrace import api
from tailrace.api.concurrency_limiter import ConcurrencyLimiter
from tailrace.api.services import Monitoring, ServerHealth
from tailrace.api.stored_monitors import MonitorSources
from tailrace.backup.running import Backups, BackupSources
from tailrace.console.application import Console
from tailrace.console.assets import Assets
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.service import LogIngestService
from tailrace.monitors import NotificationSender, Runner
from tailrace.processes import Spawner
from tailrace.query import ReferenceData
from tailrace.server.app import ServerApplication
from tailrace.server.asgi import Application
from tailrace.server.engines import lookup_engine, query_engine, spreader_of, warm_up
from tailrace.server.figures import server_figures
from tailrace.server.forwarded import Proxies
from tailrace.server.grpc_listeners import grpc_ports
from tailrace.server.http import HttpServer, max_connections
from tailrace.server.layout import BACKUPS_DIRECTORY, KEYS_FILE, SESSIONS_FILE, WORKER_LOGS_DIRECTORY
from tailrace.server.listener import LISTEN_BACKLOG, url_of
from tailrace.server.metrics import Metrics
from tailrace.server.parts import Queries, RequestParts, Server
from tailrace.server.readiness import health
from tailrace.server.recorder import Recorder, Refusals
from tailrace.server.settings import Settings
from tailrace.server.single_sign_on import single_sign_on
from tailrace.server.stores import CommonStores, Stores
from tailrace.server.streams.listeners import StreamContext, StreamListeners, port_connections
from tailrace.server.streams.sockets import DoorSocket
from tailrace.server.tls import Certificate
from tailrace.server.workers.pool import WorkerPool, WorkerSockets
from tailrace.server.workers.shared import SharedState
from tailrace.storage.files import read_bytes
from tailrace.tail import Tails, TailSource

PARSE_THREADS = 2
QUERY_THREADS_PER_SLOT = 4


def build(
    settings: Settings,
    stores: Stores,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    listener: socket.socket,
    *,
    stopping: asyncio.Event,
    metrics: Metrics,
    max_open_files: int,
    doors: Sequence[DoorSocket] = (),
    workers: WorkerSockets | None = None,
    certificate: Certificate | None = None,
) -> Server:
    """Build a server on the running event loop.

    `spawner` forks the processes that run queries; where it is None, queries run in the server's own process.
    `stopping` is set when the server is to stop; `max_open_files` is the process's limit; `doors` are the open sockets
    of the doors that are no HTTP, `workers` the sockets of the processes that take events in, where there are any, and
    `certificate` that of the server's port, where it is for TLS.
    """
    queries = queries_of(settings, stores, reference_data, spawner)
    service = ingest_service(settings, stores, queries, metrics)
    runner = runner_of(settings, stores, queries)
    refusals = Refusals()
    hold = AnswerHold(stores.lake, max_wait_s=settings.lake.uncommitted_wait_s, is_stopping=stopping.is_set)
    services = api_services(
        settings,
        stores,
        queries,
        service,
        runner,
        health=lambda: health(server, stopping),
        metrics=lambda: server_figures(server, stopping),
        refusals=refusals,
        backups=backups_of(stores, stores.own_lake.names),
    )
    recorder = Recorder(
        application_of(settings, RequestParts.of(settings, stores.access), service, services, metrics, hold),
        metrics=metrics,
        refusals=refusals,
        proxies=Proxies(settings.server.trusted_proxies),
        request_log=settings.server.request_log,
    )
    ports = connection_ports(settings, doors)
    most = port_connections(settings.streams, max_open_files, ports)
    context = StreamContext(
        service, settings.streams, metrics, hold, recorder.record, settings.request_body.body_timeout_s, most
    )
    streams = StreamListeners(doors, context)
    url = url_of(settings.server.host, listener, is_tls=certificate is not None)
    files = None if certificate is None else certificate.files
    connections = max_connections(max_open_files, ports * most)
    pool: WorkerPool | None = None
    if workers is not None and spawner is not None:
        pool = _worker_pool(settings, stores, spawner, workers, connections, recorder, queries.tails)
        pool.files = files
    http = pool or HttpServer(recorder, listener, backlog=LISTEN_BACKLOG, connections=connections, files=files)
    server = Server(settings, stores, queries, service, runner, http, pool, streams, hold, metrics, recorder, url)
    return server


def runner_of(settings: Settings, stores: CommonStores, queries: Queries) -> Runner:
    """Return what runs monitors, not started yet."""
    return Runner(
        stores.monitors,
        MonitorSources(stores.documents, stores.fields, stores.lake, queries.engine, queries.running),
        NotificationSender(settings.monitors.delivery),
        concurrency=settings.monitors.concurrency,
    )


def _worker_pool(
    settings: Settings,
    stores: Stores,
    spawner: Spawner,
    sockets: WorkerSockets,
    connections: int,
    recorder: Recorder,
    tails: Tails,
) -> WorkerPool:
    pool = WorkerPool(
        settings=settings,
        data=stores.data,
        logs={name: stores.data / WORKER_LOGS_DIRECTORY / name for name in stores.workers},
        spawner=spawner,
        sockets=sockets,
        connections=connections,
        lake=stores.own_lake,
        shared=SharedState.make(len(stores.workers)),
        recorder=recorder,
        tails=tails,
    )
    stores.database.revision = pool.shared.access
    return pool


def connection_ports(settings: Settings, doors: Sequence[DoorSocket]) -> int:
    """Return on how many ports connections are taken that are no HTTP."""
    return sum(door.transport != "udp" for door in doors) + grpc_ports(settings)


def queries_of(
    settings: Settings,
    stores: CommonStores,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    source: TailSource | None = None,
) -> Queries:
    """Return what runs queries; its processes start in the background.

    Live tails have what is published to them, and what comes from a `source`.
    """
    limits = settings.query
    catalog, data = stores.catalog, stores.data
    make_engine = partial(query_engine, settings, catalog, data, reference_data, spawner)
    engine = make_engine(limits)
    engine.spreader = spreader_of(settings, catalog.tables)
    warm_up(engine)
    # More threads than concurrent queries: a query that waits in the queue holds one too.
    threads = ThreadPoolExecutor(QUERY_THREADS_PER_SLOT * limits.concurrency, "tailrace-query")
    limiter = ConcurrencyLimiter(limits.concurrency_per_token, running=limits.concurrency, waiting=limits.queue)
    tails = Tails(settings.tail, make_engine, source)
    return Queries(
        engine, threads, set(), limiter, tails, Lookups(lambda: lookup_engine(settings, catalog, data, reference_data))
    )


def ingest_service(settings: Settings, stores: CommonStores, queries: Queries, metrics: Metrics) -> LogIngestService:
    """Return a service that takes everything, and is not open yet."""
    return LogIngestService(
        loop=asyncio.get_running_loop(),
        log=stores.log,
        lake=stores.lake,
        access=stores.access,
        sessions=stores.sessions,
        limits=settings.parsing,
        counters=metrics,
        max_backlog_bytes=settings.lake.shred_backlog_bytes,
        executor=ThreadPoolExecutor(PARSE_THREADS, "tailrace-parse"),
        lookups=queries.lookups,
        tails=queries.tails,
        keys=stores.keys,
        add_map_fields=stores.fields.declare_map_fields,
    )


def api_services(
    settings: Settings,
    stores: CommonStores,
    queries: Queries,
    service: LogIngestService,
    runner: Runner,
    *,
    health: Callable[[], Awaitable[ServerHealth]],
    metrics: Callable[[], Awaitable[bytes]],
    refusals: Refusals,
    backups: Backups,
) -> api.Services:
    """Return what the API works with."""
    return api.Services(
        access=stores.access,
        lake=stores.lake,
        engine=queries.engine,
        query_threads=queries.threads,
        running=queries.running,
        health=health,
        metrics=metrics,
        closed=lambda: service.closed,
        documents=stores.documents,
        fields=stores.fields,
        saved_queries=stores.saved_queries,
        query_limiter=queries.query_limiter,
        tails=queries.tails,
        monitoring=Monitoring(stores.monitors, runner.changed, runner.deliver),
        backups=backups,
        record=service.record,
        refusals=refusals.latest,
        console=settings.console,
        provider=single_sign_on(settings),
    )


def backups_of(stores: CommonStores, names: Callable[[], Sequence[str]]) -> Backups:
    """Return the backups of all datasets, of which `names` returns the names."""

    def small_files() -> dict[str, bytes]:
        # Not the owner's token: whoever may make a backup would have it, and with it everything else.
        found = {KEYS_FILE: stores.keys.content(), SESSIONS_FILE: read_bytes(stores.data / SESSIONS_FILE)}
        return {name: content for name, content in found.items() if content is not None}

    return Backups(BackupSources(stores.lake, names, stores.database, stores.data / BACKUPS_DIRECTORY, small_files))


def application_of(
    settings: Settings,
    parts: RequestParts,
    service: LogIngestService,
    services: api.Services,
    metrics: Metrics,
    hold: AnswerHold,
) -> Application:
    """Return the application that answers everything."""
    return ServerApplication(
        service=service,
        options=settings.protocols,
        metrics=metrics,
        api=api.build(services),
        router=parts.router,
        request_backlog=parts.requests,
        response_backlog=parts.responses,
        hold=hold,
        is_idempotent=settings.idempotency.window_s > 0,
        console=Console(Assets()) if settings.console.enabled else None,
    )
