"""`serve`: opens the parts on a data directory, replays the log, answers HTTP, and stops in good order."""

import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from tailrace import __version__, api
from tailrace.access import Access, Sessions
from tailrace.access.tokens import new_secret
from tailrace.api.field_store import FieldStore
from tailrace.api.monitors import StoredSources
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.api.services import Health, Monitoring
from tailrace.api.turns import Turns
from tailrace.config import ConfigError, Settings
from tailrace.events import TailraceError
from tailrace.ingest.lookups import THREADS as LOOKUP_THREADS
from tailrace.ingest.lookups import Lookups
from tailrace.ingest.service import LogIngestService
from tailrace.lake import Lake, LakeSettings, UpkeepSettings
from tailrace.log import FileCalls, LocalLog, Log, LogVersionError
from tailrace.monitors import Mail, MonitorStore, Outgoing, Runner, Sender
from tailrace.parsing import Limits
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import Router
from tailrace.query import (
    DuckDB,
    Engine,
    Facts,
    Interrupt,
    QueryLimits,
    QueryProcesses,
    Spawner,
    UnusableFile,
    read_facts,
)
from tailrace.server import app, logs
from tailrace.server.forwarded import Proxies
from tailrace.server.http import HttpServer, max_connections, raise_descriptor_limit
from tailrace.server.metrics import Gauges, Latency, Metrics, exposition
from tailrace.server.receiving import Receiving
from tailrace.server.recorder import Recorder, Refusals
from tailrace.server.sending import Sending
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import Database
from tailrace.storage.documents import DocumentStore
from tailrace.storage.faults import reason_of
from tailrace.storage.files import make_directories, read_bytes, replace_durably
from tailrace.storage.legacy import ImportRefused, import_legacy
from tailrace.storage.migrations import UpgradeFailed
from tailrace.storage.reserve import Reserve
from tailrace.tail import TailLimits, Tails

DEMO_DATASET = "demo"
LISTEN_BACKLOG = 1024
PARSE_THREADS = 2
QUERY_THREADS_PER_SLOT = 4
GC_NEW_OBJECTS = 50_000  # container objects made, less those freed, that start a collection of the young ones
GC_YOUNG_COLLECTIONS = 20  # that start one of the middle-aged
GC_MIDDLE_COLLECTIONS = 100  # that start one of all
OWNER_TOKEN_FILE = "owner-token"
SESSIONS_FILE = "sessions.key"
SERVER_FILE = "server.json"
ROOT_TOKEN = re.compile(rb"xapt-[!-~]+")
LOCK_FILE = "lock"
RESERVE_FILE = "reserve"
TEMPORARY_DIRECTORY = "temporary"
PROBE_FILE = "probe"
LOOKUP_MEMORY_BYTES = 512 * 1024 * 1024
SNAPSHOT_TIMEOUTS = 4  # a query waits for its turn and runs, each for one at most, on the files that it began with
FAULTS_TOLD = 3  # of datasets, in full in the answer about readiness

logger = logging.getLogger("tailrace.server")


def facts_of(settings: Settings) -> Facts:
    """The facts of the files that settings name. Raises ConfigError for files that cannot be used, a line for each."""
    prices = places = Facts()
    wrong = []
    try:
        prices = read_facts(prices=settings.model_prices)
    except UnusableFile as error:
        wrong.append(f"setting model_prices: {error}")
    try:
        places = read_facts(places=settings.geo_database)
    except UnusableFile as error:
        wrong.append(f"setting geo_database: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return replace(prices, places=places.places)


def serve(settings: Settings) -> None:
    """Runs a server until SIGTERM or SIGINT, then stops gracefully and ends the process with exit code 0.

    Raises SystemExit with a message (exit code 1) when another server works on the data directory, when the port is
    taken, or when the directory cannot be used; ConfigError when a file that a setting names cannot be.
    """
    _spare_the_collector()
    facts = facts_of(settings)
    # Before there are threads, which a fork would not take along, and before any file is open.
    spawner = Spawner.forked() if sys.platform == "linux" else None
    data = settings.data.absolute()
    try:
        make_directories(data)
    except OSError as error:
        _refuse(f"the data directory {data} cannot be made: {error.strerror}")
    with _locked(data), _listening(settings.host, settings.port) as listener:
        logs.configure(settings.log_level, settings.log_format)
        uvloop.run(_serve(settings, facts, data, listener, spawner))
    _end()


def _end() -> NoReturn:
    """Ends the process once everything is closed and on disk.

    The interpreter's own end would wait for threads of queries that were told to stop, and DuckDB's binding would
    print a list of what it finds alive then.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # of a terminal that is gone
            stream.flush()
    os._exit(0)


async def _serve(
    settings: Settings, facts: Facts, data: Path, listener: socket.socket, spawner: Spawner | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    descriptors = raise_descriptor_limit()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _heed_hangups(loop, stop)

    reserve = Reserve(data / RESERVE_FILE)
    with _opening(data / RESERVE_FILE):
        reserve.release()
    database = _open_database(settings.database_url, data)
    access = Access(database, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])
    documents = DocumentStore(database)
    fields = FieldStore(database)
    monitor_store = MonitorStore(database)
    with _opening(data / SESSIONS_FILE):
        sessions = Sessions.open(data / SESSIONS_FILE)
    with _opening(data / OWNER_TOKEN_FILE):
        token = _owners_token(access, data / OWNER_TOKEN_FILE, settings.root_token)
    first_start = not (data / "lake").exists()
    metrics = Metrics()
    with _opening(data):
        lake = Lake.open(
            data / "lake",
            LakeSettings(
                commit_bytes=settings.commit_bytes,
                commit_age_s=settings.commit_age_s,
                columns_per_dataset=settings.columns_per_dataset,
                column_density=settings.column_density,
                max_datasets=settings.max_datasets,
                upkeep=_upkeep(settings),
            ),
            reserve=reserve,
        )
        access.datasets_belong(lake.organisation)
        log: Log = LocalLog.open(
            data / "log",
            segment_bytes=settings.log_segment_bytes,
            min_free_bytes=settings.log_min_free_bytes,
            max_queued_bytes=settings.log_max_queued_bytes,
            subscription=lake.subscription,
            calls=FileCalls(fdatasync=_timed(os.fdatasync, metrics.flushes)),
        )
    _remove(data / TEMPORARY_DIRECTORY)
    make_engine = partial(_engine, settings, data, facts, spawner)
    engine = make_engine(_query_limits(settings))
    if isinstance(engine, QueryProcesses):
        threading.Thread(target=engine.warm_up, name="tailrace-query-start", daemon=True).start()
    # More threads than queries run at once: those that wait for their turn hold one too.
    query_threads = ThreadPoolExecutor(QUERY_THREADS_PER_SLOT * settings.query_concurrency, "tailrace-query")
    running: set[Interrupt] = set()
    tails = Tails(
        TailLimits(
            readers=settings.tail_readers,
            readers_per_token=settings.tail_readers_per_token,
            queue_bytes=settings.tail_queue_bytes,
            heartbeat_s=settings.tail_heartbeat_s,
        ),
        make_engine,
    )
    lookups = Lookups(lambda: _lookup_engine(settings, data, facts))
    parsers = ThreadPoolExecutor(PARSE_THREADS, "tailrace-parse")
    service = LogIngestService(
        loop=loop,
        log=log,
        lake=lake,
        access=access,
        sessions=sessions,
        limits=_limits(settings),
        counters=metrics,
        max_backlog_bytes=settings.shred_backlog_bytes,
        executor=parsers,
        lookups=lookups,
        tails=tails,
    )

    async def health() -> Health:
        if stop.is_set():
            return Health("the server is shutting down")
        if service.closed is not None:
            return Health(service.closed.message)
        if lake.failure or log.fault:
            return Health(lake.failure or log.fault)
        return await asyncio.to_thread(_health, data / "log", settings.log_min_free_bytes, lake, engine)

    runner = Runner(
        monitor_store,
        StoredSources(documents, fields, lake, engine, running),
        Sender(_outgoing(settings)),
        concurrency=settings.monitor_concurrency,
    )
    refusals = Refusals()
    turns = Turns(
        settings.query_concurrency_per_token, running=settings.query_concurrency, waiting=settings.query_queue
    )
    services = api.Services(
        access=access,
        lake=lake,
        engine=engine,
        query_threads=query_threads,
        running=running,
        health=health,
        metrics=lambda: exposition(metrics, _gauges(data, log, lake, turns, runner)),
        closed=lambda: service.closed,
        documents=documents,
        fields=fields,
        saved_queries=SavedQueryStore(database),
        turns=turns,
        tails=tails,
        monitoring=Monitoring(monitor_store, runner.changed),
        record=service.record,
        refusals=refusals.latest,
    )
    router = Router(
        PROTOCOLS,
        api_paths=[route.path for route in api.ROUTES],
        hosts=_hosts(settings),
        protocol_of=access.protocol_of,
    )
    application = app.build(
        service=service,
        options=settings.sections,
        metrics=metrics,
        api=api.build(services),
        router=router,
        max_wire_bytes=settings.max_wire_bytes,
        receiving=Receiving(timeout_s=settings.body_timeout_s, max_bytes=settings.receive_backlog_bytes),
        sending=Sending(timeout_s=settings.answer_timeout_s, max_bytes=settings.answer_backlog_bytes),
    )
    recorder = Recorder(
        application,
        metrics=metrics,
        refusals=refusals,
        proxies=Proxies(settings.trusted_proxies),
        request_log=settings.request_log,
    )
    url = _url(settings.host, listener)
    _write_address(data / SERVER_FILE, url)
    http = HttpServer(recorder, listener, backlog=LISTEN_BACKLOG, connections=max_connections(descriptors))
    serving = asyncio.create_task(http.serve())
    starting = asyncio.create_task(_start(log, lake, settings.shred_backlog_bytes, first_start, service))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stop.is_set():
        starting.result()
        reserve.keep()
        runner.start()
        gc.collect()
        gc.freeze()
        _print_banner(url, token)
        await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)

    _say("Stopping: answering what is in flight, committing what is in memory")
    tails.close()
    http.stop()  # type: ignore[no-untyped-call]
    _, unanswered = await asyncio.wait({serving}, timeout=settings.shutdown_grace_s)
    service.close()
    await runner.stop()
    for interrupt in list(running):
        interrupt.stop("the server is shutting down")
    query_threads.shutdown(wait=False, cancel_futures=True)
    lookups.close()
    await asyncio.to_thread(_close, lake, log, database)
    (data / SERVER_FILE).unlink(missing_ok=True)
    _say("Stopped")
    if unanswered:
        logger.warning("requests were still in flight after %g s (shutdown_grace_s)", settings.shutdown_grace_s)
        # Connections that hang would hold up an orderly end of the HTTP server's threads; all is on disk by now.
        _end()
    serving.result()


def _heed_hangups(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """SIGHUP stops a server whose terminal is gone; without a terminal there is nothing that it could mean."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        return

    def ignore() -> None:
        logger.info("SIGHUP is ignored: settings are read at the start; SIGTERM stops the server")

    def leave() -> None:
        logger.info("SIGHUP: the terminal is gone, the server stops")
        stop.set()

    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    loop.add_signal_handler(signal.SIGHUP, leave if has_terminal else ignore)


def _say(text: str) -> None:
    """Print a line, unless the terminal is gone: then the server stops in good order all the same."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Refuse to start, in a line, where a part of the data directory cannot be used."""
    try:
        yield
    except (LogVersionError, ImportRefused, ValueError) as error:  # which say all themselves
        _refuse(str(error))
    except OSError as error:
        if not error.filename:
            logger.exception("%s cannot be opened", path)
            _refuse(f"{path} cannot be opened: {error}")
        advice = f": it is to belong to the user of the server, who is {_user()}" if error.errno == EACCES else ""
        _refuse(f"{error.filename} cannot be opened: {error.strerror}{advice}")
    except (SQLAlchemyError, UpgradeFailed, TailraceError) as error:
        reason = reason_of(error.__cause__ or error, str(error).splitlines()[0])
        _refuse(f"{path} cannot be opened: {reason}; restore it from a backup, or move it away to begin anew")


def _open_database(url: str, data: Path) -> Database:
    if not url:
        with _opening(data / DATABASE_FILE):
            import_legacy(data)
            return Database.open(data / DATABASE_FILE)
    try:
        import_legacy(data, url)
        return Database.open(url)
    except ModuleNotFoundError as error:
        _refuse(f"setting database_url needs the package {error.name}: pip install tailrace[postgres] has psycopg")
    except ImportRefused as error:
        _refuse(str(error))
    except (SQLAlchemyError, UpgradeFailed, OSError, TailraceError) as error:
        cause = error.__cause__ if isinstance(error, TailraceError) and error.__cause__ else error
        reason = str(cause).splitlines()[0]
        _refuse(f"the database cannot be opened: {reason} (setting database_url)")


def _user() -> str:
    """The user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _remove(directory: Path) -> None:
    """Remove what queries spilled to disk before a kill; where that cannot be, they tell of it once they spill.

    Engines make the directory anew.
    """
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.unlink(missing_ok=True)  # where it is no directory


async def _start(log: Log, lake: Lake, max_backlog_bytes: int, first_start: bool, service: LogIngestService) -> None:
    await asyncio.to_thread(_replay, log, lake, max_backlog_bytes)
    if first_start:
        try:
            await asyncio.to_thread(lake.create, DEMO_DATASET, description="A place to try things out.")
        except TailraceError as error:
            logger.error("the dataset %s is not made: %s", DEMO_DATASET, error)
    service.open()


def _spare_the_collector() -> None:
    """Keeps Python's cyclic garbage collector off what lives as long as the server.

    With its default thresholds it took 40 % of the event loop's time under small requests, and paused it for 0.1 s at
    a time, walking over modules and waiting batches, none of which can be garbage.
    """
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, GC_YOUNG_COLLECTIONS, GC_MIDDLE_COLLECTIONS)
    gc.enable()


def _replay(log: Log, lake: Lake, max_backlog_bytes: int) -> None:
    """Hands the lake what the log holds; it passes over what its tables have already."""
    for position, batch in log.read(lake.committed_position() + 1):
        lake.wait_for_capacity(max_backlog_bytes)
        lake.accept(position, batch)
    lake.replayed(log.read)


def _close(lake: Lake, log: Log, database: Database) -> None:
    # The lake first: committing releases segments of the log.
    try:
        lake.close()
    finally:
        log.close()
        database.close()


def _query_limits(settings: Settings) -> QueryLimits:
    return QueryLimits(
        timeout_s=settings.query_timeout_s,
        memory_bytes=settings.query_memory_bytes,
        max_bytes=settings.query_max_bytes,
        max_rows=settings.query_max_rows,
        max_cells=settings.query_max_cells,
        threads=settings.query_threads,
        concurrency=settings.query_concurrency,
    )


def _engine(settings: Settings, data: Path, facts: Facts, spawner: Spawner | None, limits: QueryLimits) -> Engine:
    """An engine for what people ask."""
    if spawner is None:
        return DuckDB(data / "lake", data / TEMPORARY_DIRECTORY, limits, facts)
    return QueryProcesses(
        spawner,
        data / "lake",
        data / TEMPORARY_DIRECTORY,
        limits,
        facts,
        model_prices=settings.model_prices,
        geo_database=settings.geo_database,
    )


def _lookup_engine(settings: Settings, data: Path, facts: Facts) -> DuckDB:
    limits = QueryLimits(
        timeout_s=settings.query_timeout_s,
        memory_bytes=min(LOOKUP_MEMORY_BYTES, settings.query_memory_bytes),
        threads=settings.query_threads,
        concurrency=LOOKUP_THREADS,
    )
    return DuckDB(data / "lake", data / TEMPORARY_DIRECTORY, limits, facts)


def _timed(call: Callable[[int], None], latency: Latency) -> Callable[[int], None]:
    """A call on a file descriptor whose duration is counted."""

    def timed(descriptor: int) -> None:
        began_s = time.perf_counter()
        try:
            call(descriptor)
        finally:
            latency.observe(time.perf_counter() - began_s)

    return timed


def _gauges(data: Path, log: Log, lake: Lake, turns: Turns, runner: Runner) -> Gauges:
    damage = list(log.damage)
    lag = lake.lag()
    return Gauges(
        free_disk_bytes=shutil.disk_usage(data).free,
        uncommitted_events=lag.events,
        uncommitted_age_s=lag.age_s,
        running_queries=turns.running,
        waiting_queries=turns.waiting,
        log_bytes=log.size_bytes,
        log_damage=len(damage),
        log_missing_positions=sum(one.missing_positions for one in damage),
        unavailable_datasets=len(lake.unavailable()),
        backlog_bytes=lake.backlog_bytes,
        commits=lake.commits,
        commit_failures=lake.commit_failures,
        shred_failures=lake.shred_failures,
        set_aside=lake.set_aside,
        damaged_files=lake.damaged_files(),
        upkeep=lake.upkeep,
        monitor_runs=runner.runs,
        notifications=runner.messages,
    )


def _upkeep(settings: Settings) -> UpkeepSettings:
    return UpkeepSettings(
        compact_files=settings.compact_files,
        compact_bytes=settings.compact_bytes,
        compact_bytes_per_s=settings.compact_bytes_per_s,
        verify_bytes_per_s=settings.verify_bytes_per_s,
        keep_removed_s=max(settings.keep_removed_s, SNAPSHOT_TIMEOUTS * settings.query_timeout_s),
        every_s=settings.upkeep_every_s,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_events=settings.max_events,
        max_event_bytes=settings.max_event_bytes,
        max_string_bytes=settings.max_string_bytes,
        max_name_bytes=settings.max_name_bytes,
        max_depth=settings.max_depth,
    )


def _outgoing(settings: Settings) -> Outgoing:
    return Outgoing(
        private=settings.outgoing_private,
        timeout_s=settings.outgoing_timeout_s,
        mail=Mail(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            user=settings.smtp_user,
            password=settings.smtp_password,
            sender=settings.smtp_from,
        ),
    )


def _hosts(settings: Settings) -> dict[str, str]:
    """Host name to protocol, as the operator has it."""
    return {host: name for name, section in settings.sections.items() for host in section.hosts}


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Holds the data directory for this process alone."""
    try:
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _refuse(f"the data directory {data} cannot be written: {error.strerror}")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _refuse(f"another server is running on the data directory {data}")
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        _refuse(f"the address {host} is not known: {error.strerror}")
    with socket.socket(family, kind, protocol) as listener:
        # Without this a restart would be refused while connections of the last run linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(LISTEN_BACKLOG)
        except OSError as error:
            where = f"cannot listen on {host} port {port}: {error.strerror}"
            _refuse(f"{where}; give another by --host and --port (TAILRACE_HOST, TAILRACE_PORT)")
        yield listener


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _Token(Struct, frozen=True):
    """What is told of the owner's token at a start."""

    told: str  # in the banner
    shell: str  # what stands for it in a command line


def _owners_token(access: Access, file: Path, given: str) -> _Token:
    """See to it that the owner has a token, kept in a file for the commands on this machine unless it was given."""
    if given:
        access.bootstrap(given)
        if _kept_token(file) not in ("", given):
            file.unlink()  # of the one before, which has ceased to work
        return _Token("the one given as root_token; for the lines below: export TAILRACE_TOKEN=…", "$TAILRACE_TOKEN")
    kept = _Token(f"kept in {file}", f"$(cat {shlex.quote(str(file))})")
    if access.has_owner():
        if _kept_token(file):
            return kept
        logger.warning("%s holds no token: set root_token (TAILRACE_ROOT_TOKEN) to have a new one", file)
        return replace(kept, told=f"not kept: {file} is missing or damaged; set root_token to have a new one")
    # In the file first: of what is in the database alone, as a hash, nobody would know the secret.
    secret = _kept_token(file) or new_secret("personal")
    replace_durably(file, secret.encode() + b"\n")
    access.bootstrap(secret)
    return replace(kept, told=f"{secret} (shown this once, kept in {file})")


def _kept_token(file: Path) -> str:
    """The token in a file, empty where there is none that could be one."""
    text = (read_bytes(file) or b"").strip()
    return text.decode() if ROOT_TOKEN.fullmatch(text) else ""


def _write_address(file: Path, url: str) -> None:
    """Tell the commands on this machine where the server is; it runs without that too, such as on a full disk."""
    try:
        replace_durably(file, json.dumps({"url": url, "pid": os.getpid()}).encode() + b"\n")
    except OSError as error:
        logger.error("%s cannot be written (%s): commands need --url", file, error)
        file.unlink(missing_ok=True)  # of a server before this one


def _health(log_directory: Path, min_free_bytes: int, lake: Lake, engine: Engine) -> Health:
    """What is wrong with the disk, the tables and the queries. Asks them: may block."""
    reason = _disk_fault(log_directory, min_free_bytes) or _summary(lake.faults()) or engine.fault()
    damage = lake.damage()
    told = list(damage.values())[:FAULTS_TOLD]
    more = len(damage) - len(told)
    return Health(reason, (*told, f"{more} more datasets have damaged files") if more else tuple(told))


def _summary(faults: dict[str, str]) -> str:
    """The first faults in full, the others as a number."""
    told = list(faults.values())[:FAULTS_TOLD]
    more = len(faults) - len(told)
    return "; ".join(told) + (f"; and {more} more datasets" if more else "")


def _disk_fault(directory: Path, min_free_bytes: int) -> str:
    """Why the log's disk cannot be written, empty when it can."""
    probe = directory / PROBE_FILE
    try:
        found = os.statvfs(directory)
        if found.f_bavail * found.f_frsize < min_free_bytes:
            return f"less than {min_free_bytes} bytes (log_min_free_bytes) are free on the disk of the log"
        probe.write_bytes(b"ok")
        probe.unlink()
    except OSError as error:
        return f"the log cannot be written: {reason_of(error)}"
    return ""


def _print_banner(url: str, token: _Token) -> None:
    authorization = f'-H "Authorization: Bearer {token.shell}"'
    event = '[{"message":"hello","level":"info"}]'
    query = f'{{"apl":"{DEMO_DATASET} | limit 10"}}'
    lines = [
        f"Tailrace {__version__} is ready at {url}",
        f"Token:  {token.told}",
        f"Ingest: curl -sS {url}/v1/datasets/{DEMO_DATASET}/ingest {authorization} "
        f"-H 'Content-Type: application/json' -d '{event}'",
        f"Query:  curl -sS {url}/v1/datasets/_apl {authorization} -H 'Accept: application/x-ndjson' -d '{query}'",
    ]
    _say("\n".join(lines))


def _refuse(reason: str) -> NoReturn:
    raise SystemExit(f"tailrace: {reason}")
