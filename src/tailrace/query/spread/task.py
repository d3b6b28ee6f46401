"""What a Dask worker runs: one part of a query, or what it asks of one bucket of rows, in the engine of its process."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import pyarrow as pa
from distributed import Worker, get_worker
from msgspec import Struct

from tailrace import __version__
from tailrace.events import TailraceError
from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.arrow_stream import deserialized, serialized
from tailrace.query.engines.engine import Engine
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.spread.buckets import rows_of_bucket, united

LOOK_EVERY_S = 0.05  # at whether a part is still wanted


class PartFailed(Struct, frozen=True):
    """Why a part has no answer, where it would have none elsewhere either."""

    kind: str  # name of a class of errors; "" where the query is to run on the node that asked
    message: str


class BucketRows(Struct, frozen=True):
    """Where rows of a bucket come from."""

    name: str  # by which the query reads them
    parts: int
    own: bytes  # of the node that asked, as an Arrow stream


def resource_name() -> str:
    """Return the name of the resource that workers of these versions have, so that no other is given a part."""
    return f"tailrace {__version__}, duckdb {version('duckdb')}"


class PartRunner:
    """Runs the parts that a worker is given."""

    def __init__(self, engine: Engine, tables: TableRoot) -> None:
        self.engine = engine
        self.tables = tables

    def run(
        self,
        worker: Worker,
        key: str,
        tables: TableRoot,
        text: str,
        timeout_s: float,
        rows: Mapping[str, pa.Table] = {},
    ) -> pa.Buffer | PartFailed:
        """Return the answer to a part, which reads files and these rows, as an Arrow stream."""
        if tables.place != self.tables.place:
            message = (
                f"the Dask worker {worker.address} reads tables beneath {self.tables.place}, and this server's are "
                f"beneath {tables.place}"
            )
            return PartFailed("", message)
        interrupt = Interrupt(timeout_s)
        try:
            with self._watched(worker, key, interrupt), self.engine.session(interrupt) as session:
                for name, table in rows.items():
                    session.register(name, table)
                answer = session.whole(tables.moved(text, self.tables))
        except TailraceError as error:
            if error.retryable:
                raise RuntimeError(f"on the Dask worker {worker.address}: {error.message}") from None
            return PartFailed(type(error).__name__, error.message)
        return self.refusal("a part of it answers", answer.nbytes) or serialized(answer)

    def refusal(self, what: str, size_bytes: int) -> PartFailed | None:
        """Return why there is no answer of, or over, so many bytes; None where there may be."""
        most = self.engine.limits.max_bytes
        return PartFailed("", f"{what} more bytes than query_max_bytes = {most}") if size_bytes > most else None

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


def size_of(answer: bytes | PartFailed) -> int | PartFailed:
    """Return the bytes of an answer, or why there is none."""
    return len(answer) if isinstance(answer, bytes) else answer


def run_part(tables: TableRoot, text: str, timeout_s: float) -> bytes | PartFailed:
    """Return the answer to a part of a query, whose tables are in this place, as an Arrow stream.

    Raise RuntimeError where it may have one on another worker.
    """
    worker = get_worker()
    answer = _running(worker).run(worker, str(worker.get_current_task()), tables, text, timeout_s)
    return answer if isinstance(answer, PartFailed) else answer.to_pybytes()


def bucket_of(answer: bytes | PartFailed, number: int, buckets: int) -> bytes | PartFailed:
    """Return the rows of one of so many buckets of the answer to a part."""
    if isinstance(answer, PartFailed):
        return answer
    chosen: bytes = serialized(rows_of_bucket(deserialized(pa.py_buffer(answer)), number, buckets)).to_pybytes()
    return chosen


def run_bucket(
    tables: TableRoot, text: str, timeout_s: float, rows: tuple[BucketRows, ...], *buckets: bytes | PartFailed
) -> bytes | PartFailed:
    """Return the answer to a query over one bucket of the rows of parts, as `run_part` does."""
    worker = get_worker()
    runner = _running(worker)
    streams: list[bytes] = []
    for bucket in buckets:
        if isinstance(bucket, PartFailed):
            return bucket
        streams.append(bucket)
    size_bytes = sum(map(len, streams)) + sum(len(one.own) for one in rows)
    refused = runner.refusal("a bucket of the rows that it divides by keys has", size_bytes)
    if refused is not None:
        return refused
    registered: dict[str, pa.Table] = {}
    for one in rows:
        given, streams = [*streams[: one.parts], one.own], streams[one.parts :]
        registered[one.name] = united([deserialized(pa.py_buffer(stream)) for stream in given])
    answer = runner.run(worker, str(worker.get_current_task()), tables, text, timeout_s, registered)
    return answer if isinstance(answer, PartFailed) else answer.to_pybytes()


def _running(worker: Worker) -> PartRunner:
    if _runner is None:
        raise RuntimeError(f"the Dask worker {worker.address} was not started by `tailrace worker`")
    return _runner
