"""The parts of a server, as they are built and then run."""

from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from tailrace.access import Access
from tailrace.api.concurrency_limiter import ConcurrencyLimiter
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.service import LogIngestService
from tailrace.monitors import Runner
from tailrace.protocols.router import Router
from tailrace.query import Engine, Interrupt
from tailrace.server.http import HttpServer
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import Recorder
from tailrace.server.request_body import RequestBacklog
from tailrace.server.response_body import ResponseBacklog
from tailrace.server.routing import router_of
from tailrace.server.settings import Settings
from tailrace.server.stores import Stores
from tailrace.server.streams.listeners import StreamListeners
from tailrace.server.workers.pool import WorkerPool
from tailrace.tail import Tails


class Queries(Struct, frozen=True, eq=False):
    """The parts that run queries."""

    engine: Engine
    threads: ThreadPoolExecutor
    running: set[Interrupt]  # of the running queries
    query_limiter: ConcurrencyLimiter
    tails: Tails
    lookups: Lookups


class RequestParts(Struct, frozen=True, eq=False):
    """What the applications of one process share: which protocol a request is for, and how much is under way."""

    router: Router
    requests: RequestBacklog
    responses: ResponseBacklog

    @classmethod
    def of(cls, settings: Settings, access: Access) -> "RequestParts":
        """Return those that the settings are for."""
        return cls(
            router_of(settings, access), RequestBacklog(settings.request_body), ResponseBacklog(settings.response_body)
        )


class Server(Struct, frozen=True, eq=False):
    """The parts of a server."""

    settings: Settings
    stores: Stores
    queries: Queries
    service: LogIngestService
    runner: Runner  # of monitors
    http: HttpServer | WorkerPool
    workers: WorkerPool | None  # the same, where there are any
    streams: StreamListeners
    hold: AnswerHold
    metrics: Metrics
    recorder: Recorder
    url: str
