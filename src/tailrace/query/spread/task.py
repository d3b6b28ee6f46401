"""What a Dask worker runs: one part of a query, in the engine of its process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pyarrow as pa
from distributed import Worker, get_worker
from msgspec import Struct

from tailrace import __version__
from tailrace.events import TailraceError
from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.arrow_stream import serialized
from tailrace.query.engines.engine import Engine
from tailrace.query.engines.interrupt import Interrupt

LOOK_EVERY_S = 0.05  # at whether a part is still wanted


class PartFailed(Struct, frozen=True):
    """Why a part has no answer, where it would have none elsewhere either."""

    kind: str  # name of a class of errors; "" where the query is to run on the node that asked
    message: str


def resource_name() -> str:
    """Return the name of the resource that workers of these versions have, so that no other is given a part."""
    return f"tailrace {__version__}, duckdb {version('duckdb')}"


class PartRunner:
    """Runs the parts that a worker is given."""

    def __init__(self, engine: Engine, tables: TableRoot) -> None:
        self.engine = engine
        self.tables = tables

    def run(self, worker: Worker, key: str, tables: TableRoot, text: str, timeout_s: float) -> pa.Buffer | PartFailed:
        """Return the answer to a part as an Arrow stream."""
        if tables.place != self.tables.place:
            message = (
                f"the Dask worker {worker.address} reads tables beneath {self.tables.place}, and this server's are "
                f"beneath {tables.place}"
            )
            return PartFailed("", message)
        interrupt = Interrupt(timeout_s)
        try:
            with self._watched(worker, key, interrupt), self.engine.session(interrupt) as session:
                table = session.whole(tables.moved(text, self.tables))
        except TailraceError as error:
            if error.retryable:
                raise RuntimeError(f"on the Dask worker {worker.address}: {error.message}") from None
            return PartFailed(type(error).__name__, error.message)
        return serialized(table)

    @contextmanager
    def _watched(self, worker: Worker, key: str, interrupt: Interrupt) -> Iterator[None]:
        """Stop what runs within once nobody waits for the task any more."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(LOOK_EVERY_S):
                task = worker.state.tasks.get(key)
                if task is None or task.state == "cancelled":
                    interrupt.stop("the query was cancelled")
                    return

        thread = threading.Thread(target=watch, name="tailrace-part-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


_runner: PartRunner | None = None


def use(runner: PartRunner | None) -> None:
    """Let the tasks of this process run in a runner."""
    global _runner
    _runner = runner


def size_of(answer: bytes | PartFailed) -> int:
    """Return the bytes of an answer."""
    return len(answer) if isinstance(answer, bytes) else 0


def run_part(tables: TableRoot, text: str, timeout_s: float) -> bytes | PartFailed:
    """Return the answer to a part of a query, whose tables are in this place, as an Arrow stream.

    Raise RuntimeError where it may have one on another worker.
    """
    worker = get_worker()
    if _runner is None:
        raise RuntimeError(f"the Dask worker {worker.address} was not started by `tailrace worker`")
    answer = _runner.run(worker, str(worker.get_current_task()), tables, text, timeout_s)
    return answer if isinstance(answer, PartFailed) else answer.to_pybytes()
