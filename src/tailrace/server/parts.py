"""The parts of a server, as they are built and then run."""

from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from tailrace.api.concurrency_limiter import ConcurrencyLimiter
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.service import LogIngestService
from tailrace.monitors import Runner
from tailrace.query import Engine, Interrupt
from tailrace.server.http import HttpServer
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import Recorder
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
