"""Construction of a node: its parts on top of its open stores, connected to one another and not yet running."""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from tailrace.backup.running import Backups
from tailrace.fleet.flight.credentials import Credentials
from tailrace.fleet.flight.tails import RemoteTails
from tailrace.fleet.nodes import FleetNode
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.service import LogIngestService
from tailrace.ingest.worker_service import WorkerIngestService
from tailrace.monitors import Runner
from tailrace.processes import Spawner
from tailrace.query import Engine, QueryLimits, ReferenceData
from tailrace.server.app import ServerApplication
from tailrace.server.asgi import Application
from tailrace.server.build import (
    PARSE_THREADS,
    api_services,
    application_of,
    backups_of,
    connection_ports,
    ingest_service,
    queries_of,
    runner_of,
)
from tailrace.server.fleet.application import NodeApplication
from tailrace.server.fleet.certificates import NodeCertificates
from tailrace.server.fleet.figures import node_figures, node_health
from tailrace.server.fleet.forwarding import Forwarder
from tailrace.server.fleet.gate import NodeGate
from tailrace.server.fleet.identity import name_of, node_name, node_url
from tailrace.server.fleet.known_datasets import ToldDatasets
from tailrace.server.fleet.leading import LeaderParts
from tailrace.server.fleet.parts import NodeServer
from tailrace.server.fleet.proof import ForwardingProof
from tailrace.server.fleet.recorders import NodeRecorders
from tailrace.server.fleet.routes import NodeRoutes
from tailrace.server.fleet.stores import NodeStores, open_node_stores
from tailrace.server.http import HttpServer, max_connections
from tailrace.server.listener import LISTEN_BACKLOG, url_of
from tailrace.server.metrics import Metrics
from tailrace.server.parts import Queries, RequestParts
from tailrace.server.recorder import Recorder, Refusals
from tailrace.server.settings import Settings
from tailrace.server.streams.listeners import StreamContext, StreamListeners, port_connections
from tailrace.server.streams.sockets import DoorSocket
from tailrace.server.tls import Certificate
from tailrace.tail import Tails

WAIT_S = 5.0  # that a request waits for a node that could answer it, as while another becomes the leader


class _NodeParts:
    """Makes the parts of a node, which need one another."""

    def __init__(
        self,
        settings: Settings,
        reference_data: ReferenceData,
        spawner: Spawner | None,
        *,
        stopping: asyncio.Event,
        metrics: Metrics,
        certificates: NodeCertificates | None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.stopping = stopping
        self.refusals = Refusals()
        self._recorders = NodeRecorders(settings.server, metrics, self.refusals)
        self._certificates = certificates
        self._reference_data = reference_data
        self._spawner = spawner
        self._loop = asyncio.get_running_loop()
        self._node: NodeServer | None = None

    def leadership(self) -> LeaderParts:
        """Return what the node does while it leads."""
        assert self._node is not None
        return self._node.leadership

    def build(
        self,
        stores: NodeStores,
        listener: socket.socket,
        doors: Sequence[DoorSocket],
        certificate: Certificate | None,
        credentials: Credentials,
        max_open_files: int,
    ) -> NodeServer:
        """Return the parts of the node, connected."""
        settings, metrics = self.settings, self.metrics
        queries = queries_of(settings, stores, self._reference_data, self._spawner, RemoteTails(stores.remote.tail))
        parts = RequestParts.of(settings, stores.access)
        hold = AnswerHold(stores.lake, max_wait_s=settings.lake.uncommitted_wait_s, is_stopping=self.stopping.is_set)
        proof = ForwardingProof(settings.fleet.fleet_secret, stores.membership.name)
        known = credentials.certificates
        forwarder = Forwarder(proof, partial(_is_live, stores), b"" if known is None else known.issuers)
        service, full, application, leadership = self._applications(stores, parts, queries, hold, forwarder)
        ports = connection_ports(settings, doors)
        most = port_connections(settings.streams, max_open_files, ports)
        context = StreamContext(
            service, settings.streams, metrics, hold, full.record, settings.request_body.body_timeout_s, most
        )
        gate = NodeGate(application, proof)
        http = HttpServer(
            gate,
            listener,
            backlog=LISTEN_BACKLOG,
            connections=max_connections(max_open_files, ports * most),
            files=None if certificate is None else certificate.files,
        )
        url = url_of(settings.server.host, listener, is_tls=certificate is not None)
        streams = StreamListeners(doors, context)
        self._node = NodeServer(
            settings=settings,
            stores=stores,
            queries=queries,
            service=service,
            application=application,
            gate=gate,
            recorder=self._recorders,
            leadership=leadership,
            forwarder=forwarder,
            http=http,
            streams=streams,
            hold=hold,
            metrics=metrics,
            certificates=self._certificates,
            url=url,
        )
        return self._node

    def _applications(
        self, stores: NodeStores, parts: RequestParts, queries: Queries, hold: AnswerHold, forwarder: Forwarder
    ) -> tuple[LogIngestService, Recorder, NodeApplication, LeaderParts]:
        """Return the service of the full application, that, the node's over it, and what makes the leader's."""
        # Tails have what lake nodes read of the logs: what is appended here is no part of it twice.
        silent = replace(queries, tails=Tails(self.settings.tail, _no_engine))
        make_service = partial(ingest_service, self.settings, stores, silent, self.metrics)
        make_runner = partial(runner_of, self.settings, stores, queries)
        # The same whenever the node begins to lead: a backup under way goes on.
        backups = backups_of(stores, partial(_dataset_names, stores))
        make_application = partial(self._full, stores, parts, queries, hold, backups)
        service = make_service()
        full = make_application(service, make_runner())
        application = NodeApplication(
            self._recorders.make(self._fast(stores, parts, hold)),
            full,
            routes=NodeRoutes(stores.membership, parts.router),
            forwarder=forwarder,
            look=partial(asyncio.to_thread, stores.membership.look),
            wait_s=WAIT_S,
        )
        leadership = LeaderParts(
            loop=self._loop,
            make_service=make_service,
            make_runner=make_runner,
            make_application=make_application,
            use=application.lead,
        )
        return service, full, application, leadership

    def _fast(self, stores: NodeStores, parts: RequestParts, hold: AnswerHold) -> Application:
        """Return the application that stores events which need nothing but the node's log."""
        settings = self.settings
        service = WorkerIngestService(
            loop=self._loop,
            log=stores.log,
            datasets=ToldDatasets(stores.lake),
            access=stores.access,
            limits=settings.parsing,
            counters=self.metrics,
            pressure=stores.lake,
            max_backlog_bytes=settings.lake.shred_backlog_bytes,
            executor=ThreadPoolExecutor(PARSE_THREADS, "tailrace-parse"),
        )
        stores.cleaning.released = lambda position: self._loop.call_soon_threadsafe(service.released, position)
        return ServerApplication(
            service=service,
            options=settings.protocols,
            metrics=self.metrics,
            api=_nothing,
            is_worker=True,
            router=parts.router,
            request_backlog=parts.requests,
            response_backlog=parts.responses,
            hold=hold,
            is_idempotent=settings.idempotency.window_s > 0,
        )

    def _full(
        self,
        stores: NodeStores,
        parts: RequestParts,
        queries: Queries,
        hold: AnswerHold,
        backups: Backups,
        service: LogIngestService,
        runner: Runner,
    ) -> Recorder:
        """Return the application that answers everything."""

        def node() -> NodeServer:
            assert self._node is not None
            return self._node

        services = api_services(
            self.settings,
            stores,
            queries,
            service,
            runner,
            health=lambda: node_health(node(), self.stopping),
            metrics=lambda: node_figures(node(), self.stopping),
            refusals=self.refusals,
            backups=backups,
        )
        return self._recorders.make(application_of(self.settings, parts, service, services, self.metrics, hold))


def build_node(
    settings: Settings,
    data: Path,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    listener: socket.socket,
    *,
    stopping: asyncio.Event,
    metrics: Metrics,
    max_open_files: int,
    doors: Sequence[DoorSocket] = (),
    certificate: Certificate | None = None,
) -> NodeServer:
    """Open the stores of a node, and build it on the running event loop; see `tailrace.server.build.build`."""
    url = node_url(settings, listener, is_tls=certificate is not None)
    host = name_of(url) if settings.fleet.role == "lake" else ""
    certificates = NodeCertificates(settings.fleet, host) if settings.fleet.fleet_tls_certificate else None
    credentials = Credentials(settings.fleet.fleet_secret, None if certificates is None else certificates.open())
    if (known := credentials.certificates) is not None:
        metrics.fleet_certificate_not_after_s = known.not_after_s
    parts = _NodeParts(settings, reference_data, spawner, stopping=stopping, metrics=metrics, certificates=certificates)
    stores = open_node_stores(
        settings,
        data,
        metrics.flushes,
        name=node_name(settings, data),
        url=url,
        credentials=credentials,
        leadership=parts.leadership,
    )
    return parts.build(stores, listener, doors, certificate, credentials, max_open_files)


def _is_live(stores: NodeStores, node: FleetNode) -> bool:
    known = stores.membership.fleet.nodes.get(node.name)
    return known is not None and known.url == node.url


def _dataset_names(stores: NodeStores) -> Sequence[str]:
    """Return the names of all datasets, those included of which no node has told this one."""
    return sorted({*stores.lake.names(), *stores.catalog.names(lambda name: False)})


def _no_engine(limits: QueryLimits) -> Engine:
    raise AssertionError("nobody reads these tails")


async def _nothing(*_: object) -> None:
    raise AssertionError("what is not sent to a route of a protocol is passed on before")
