"""The parts of a node, as they are built and then run."""

from msgspec import Struct

from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.service import LogIngestService
from tailrace.server.fleet.application import NodeApplication
from tailrace.server.fleet.certificates import NodeCertificates
from tailrace.server.fleet.forwarding import Forwarder
from tailrace.server.fleet.gate import NodeGate
from tailrace.server.fleet.leading import LeaderParts
from tailrace.server.fleet.recorders import NodeRecorders
from tailrace.server.fleet.stores import NodeStores
from tailrace.server.http import HttpServer
from tailrace.server.metrics import Metrics
from tailrace.server.parts import Queries
from tailrace.server.settings import Settings
from tailrace.server.streams.listeners import StreamListeners


class NodeServer(Struct, frozen=True, eq=False, kw_only=True):
    """The parts of a node."""

    settings: Settings
    stores: NodeStores
    queries: Queries
    service: LogIngestService  # of the doors for streams, and of the API
    application: NodeApplication
    gate: NodeGate  # before it
    recorder: NodeRecorders
    leadership: LeaderParts
    forwarder: Forwarder
    http: HttpServer
    streams: StreamListeners
    hold: AnswerHold
    metrics: Metrics
    certificates: NodeCertificates | None  # for other nodes, where they speak TLS
    workers: None = None  # a node is one process
    url: str
