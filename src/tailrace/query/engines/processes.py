"""The engine in processes: a query that takes too much memory or crashes its process affects no other."""

import itertools
import logging
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pyarrow as pa
import sqlglot.expressions as exp

from tailrace import events
from tailrace.events import Overloaded, QueryFailed, QueryProcessEnded, TailraceError
from tailrace.lake.snapshot import TableRoot
from tailrace.processes import Spawner
from tailrace.query.answer_cache import AnswerCache
from tailrace.query.engines.channel import (
    AnswerQuery,
    AnswerStatement,
    BeginSession,
    Channel,
    ChannelMessage,
    Done,
    EndSession,
    Failed,
    ProcessSetup,
    RegisterRows,
)
from tailrace.query.engines.engine import (
    Engine,
    OutOfMemory,
    Rows,
    Session,
    SqlRefused,
    Statement,
    rendered,
)
from tailrace.query.engines.interrupt import Interrupt, QueryWatch
from tailrace.query.engines.shared_memory import SharedMemory
from tailrace.query.functions import ReferenceData
from tailrace.query.row_groups import RowGroupCache
from tailrace.query.settings import QueryLimits, ReferenceFiles

RETRY_AFTER_S = 5
TARGET = "tailrace.query.engines.worker:start"  # what a query process runs
REUSE_SHARE = 8  # a process with more than this share of its limit between queries is replaced
MAX_TIMEOUT_S = 86_400.0  # of the processes' own limit; the time of a query is watched here
# How a process ends, 0 being by itself, where a library finds no memory within the process's limit.
ENDS_OF_MEMORY = (0, signal.SIGABRT, signal.SIGSEGV)

logger = logging.getLogger(__name__)

_NUMBERS = itertools.count()  # of the processes of all engines


class QueryProcess:
    """A query process and its channel."""

    def __init__(self, spawner: Spawner, setup: ProcessSetup, shared: SharedMemory) -> None:
        self._spawner = spawner
        self.temporary = Path(setup.temporary)
        self.pid, connection = spawner.fork(TARGET, msgspec.msgpack.encode(setup), [shared.descriptor])
        self.channel = Channel(connection)
        self.killed = False
        self.exhausted = False
        self.first_bytes = 0

    def wait(self) -> None:
        """Wait until it is ready. Raise EOFError."""
        self.channel.receive()
        self.first_bytes = self.resident_bytes()

    def kill(self) -> None:
        if not self.killed:
            self.killed = True
            with suppress(OSError):  # the spawner has ended, and its children with it
                self._spawner.kill(self.pid)

    def resident_bytes(self) -> int:
        """Return the size of its own memory; 0 once it has ended."""
        try:
            with open(f"/proc/{self.pid}/statm") as file:
                _, resident, shared, *_ = file.read().split()
        except OSError:
            return 0
        return (int(resident) - int(shared)) * resource.getpagesize()

    @property
    def more_bytes(self) -> int:
        """The growth of its memory since it was ready."""
        return self.resident_bytes() - self.first_bytes


class QueryProcesses(Engine):
    """Runs each query in a process of its own, which later queries reuse."""

    def __init__(
        self,
        spawner: Spawner,
        tables: TableRoot,
        temporary: Path,
        limits: QueryLimits,
        reference_data: ReferenceData = ReferenceData(),
        reference_files: ReferenceFiles = ReferenceFiles(),
    ) -> None:
        self.limits = limits
        self.reference_data = reference_data
        self.row_groups = RowGroupCache(limits.metadata_cache_bytes)
        self.answers = AnswerCache(limits.answer_cache_bytes)
        self._spawner = spawner
        self._temporary = temporary
        process_limits = msgspec.structs.replace(limits, timeout_s=MAX_TIMEOUT_S, concurrency=1)
        self._setup = ProcessSetup(tables, "", process_limits, reference_files)
        self._shared = SharedMemory()
        self._slots = threading.BoundedSemaphore(limits.concurrency)
        self._lock = threading.Lock()
        self._idle: list[QueryProcess] = []
        self._busy: set[QueryProcess] = set()
        self._closed = False
        self._trying = threading.Lock()
        self._start_error = ""  # why the last process could not be started
        self._watch = QueryWatch(limits.timeout_s, self._bound_memory)

    def warm_up(self) -> None:
        """Start a process, so that the first query need not wait for it."""
        with self._trying:
            self._make_ready()

    def _make_ready(self) -> None:
        process = self._start()
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        self._discard(process)

    def fault(self) -> str:
        """Return why no query process can be started, empty if one can; try it if none is ready."""
        with self._lock:
            if self._closed or (self._busy and not self._start_error):
                return ""
            idle = list(self._idle)
        if any(process.resident_bytes() for process in idle):
            return ""
        if not self._trying.acquire(blocking=False):  # as another caller does so already
            return self._start_error
        try:
            self._make_ready()
        except events.DatasetUnavailable as error:
            return error.message
        finally:
            self._trying.release()
        return ""

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            processes = [*self._idle, *self._busy]
            self._idle.clear()
        for process in processes:
            process.kill()
        self._watch.close()
        self._shared.close()

    # Running

    def answer(self, statement: Statement, hot: Mapping[str, Rows], interrupt: Interrupt) -> pa.Table:
        with self._process(interrupt) as process:
            shared = {name: self._shared.put(rows) for name, rows in hot.items()}
            return self._table(process, AnswerStatement(statement, shared))

    @contextmanager
    def session(self, interrupt: Interrupt | None = None) -> Iterator[Session]:
        interrupt = interrupt or Interrupt()
        with self._process(interrupt) as process:
            self._exchange(process, BeginSession())
            session = ProcessSession(self, process, interrupt)
            try:
                yield session
            finally:
                if not session.is_over:
                    with suppress(OSError):  # it has ended, as is found below
                        process.channel.send(EndSession())

    @contextmanager
    def _process(self, interrupt: Interrupt) -> Iterator[QueryProcess]:
        """Yield a watched process in a free slot; raise its end as a TailraceError."""
        left_s = interrupt.left_s(self.limits.timeout_s)
        deadline_s = time.monotonic() + left_s
        if not self._slots.acquire(timeout=left_s):
            raise Overloaded(
                f"{self.limits.concurrency} queries are running already, the limit query_concurrency",
                retry_after_s=RETRY_AFTER_S,
            )
        try:
            interrupt.check()
            process = self._acquire()
            try:
                with self._watch.over(process.kill, interrupt, deadline_s):
                    yield process
            except (EOFError, ConnectionError) as error:
                end = self._error_of_end(process) if interrupt.reason is None else QueryFailed(interrupt.reason)
                process.kill()
                raise end from error
            finally:
                self._release(process)
        finally:
            self._slots.release()

    def _table(self, process: QueryProcess, message: ChannelMessage) -> pa.Table:
        table = self._exchange(process, message)
        if table is None:
            raise EOFError("no table came")
        return table

    def _exchange(self, process: QueryProcess, message: ChannelMessage) -> pa.Table | None:
        process.channel.send(message)
        reply, table = process.channel.receive()
        if isinstance(reply, Failed):
            process.exhausted = reply.kind == OutOfMemory.__name__
            raise self._error(reply)
        if not isinstance(reply, Done):
            raise EOFError("the reply is none")
        return table

    def _error_of_end(self, process: QueryProcess) -> TailraceError:
        """Return the error of a query whose process has ended."""
        if process.killed:  # by the watch over the total memory
            return OutOfMemory(self.limits)
        try:
            number = self._spawner.ended_by(process.pid)
        except OSError:
            logger.exception("how a query process ended is not known")
            number = int(signal.SIGKILL)
        if number in ENDS_OF_MEMORY:
            return OutOfMemory(self.limits)
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        logger.error("query process %d was ended from outside, by %s", process.pid, name)
        return QueryProcessEnded(
            f"the process of the query was ended from outside, by {name}, as the system does where it runs out of "
            "memory: try again later",
            retry_after_s=RETRY_AFTER_S,
        )

    def _error(self, reply: Failed) -> TailraceError:
        if reply.kind == OutOfMemory.__name__:
            return OutOfMemory(self.limits)
        if reply.kind == SqlRefused.__name__:
            return SqlRefused(reply.message)
        kind = getattr(events, reply.kind, None) if reply.kind else None
        return (kind or TailraceError)(reply.message, retry_after_s=reply.retry_after_s)

    # Processes

    def _acquire(self) -> QueryProcess:
        with self._lock:
            process = self._idle.pop() if self._idle else None
            if process is not None:
                self._busy.add(process)
        if process is None or not process.resident_bytes():
            if process is not None:  # it ended while it was idle
                self._discard(process)
            process = self._start()
            with self._lock:
                self._busy.add(process)
        return process

    def _start(self) -> QueryProcess:
        temporary = self._temporary / f"queries-{next(_NUMBERS)}"
        try:
            self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)  # DuckDB creates the last directory only
            process = QueryProcess(
                self._spawner, msgspec.structs.replace(self._setup, temporary=str(temporary)), self._shared
            )
            process.wait()
        except (EOFError, OSError) as error:
            if not self._start_error:  # logged once
                logger.exception("no query process can be started")
            self._start_error = "no query process can be started; see the server's log"
            raise events.DatasetUnavailable(self._start_error) from error
        self._start_error = ""
        return process

    def _release(self, process: QueryProcess) -> None:
        reusable_bytes = self.limits.memory_bytes // REUSE_SHARE
        good = not process.killed and not process.exhausted and process.more_bytes < reusable_bytes
        with self._lock:
            self._busy.discard(process)
            if good and not self._closed and process.resident_bytes():
                self._idle.append(process)
                return
        self._discard(process)

    def _discard(self, process: QueryProcess) -> None:
        process.kill()
        process.channel.close()
        with self._lock:
            self._busy.discard(process)
        shutil.rmtree(process.temporary, ignore_errors=True)

    def _bound_memory(self) -> None:
        """Kill the process with the most memory if all together exceed the limit."""
        with self._lock:
            if len(self._busy) < 2:
                return  # the process's own limit is enough
            sizes = {process: process.more_bytes for process in self._busy}
        if sum(sizes.values()) > self.limits.memory_bytes:
            max(sizes, key=lambda process: sizes[process]).kill()


class ProcessSession(Session):
    def __init__(self, engine: QueryProcesses, process: QueryProcess, interrupt: Interrupt) -> None:
        self._engine = engine
        self._process = process
        self._interrupt = interrupt
        self._held: list[Rows] = []  # keeps their shared memory allocated
        self.max_cells = engine.limits.max_cells
        self.is_over = False

    def register(self, name: str, rows: Rows) -> None:
        self._held.append(rows)
        self._process.channel.send(RegisterRows(name, self._engine._shared.put(rows)))

    def table(self, query: exp.Expr | str) -> pa.Table:
        return self._exchange(query if isinstance(query, str) else rendered(query), is_whole=False)

    def whole(self, text: str) -> pa.Table:
        return self._exchange(text, is_whole=True)

    def _exchange(self, text: str, *, is_whole: bool) -> pa.Table:
        self._interrupt.check()
        try:
            return self._engine._table(self._process, AnswerQuery(text, is_whole))
        except BaseException:
            self.is_over = True  # an error ends it in the process, too
            raise
