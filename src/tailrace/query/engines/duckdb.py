"""DuckDB in the server's process: runs a plan within limits, and can be interrupted."""

import difflib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import SqlglotError

from tailrace.events import DatasetUnavailable, Overloaded, QueryFailed, QueryInvalid, TailraceError
from tailrace.query import functions
from tailrace.query.engines import fence
from tailrace.query.sql import DIALECT, Plan
from tailrace.query.values import REFUSAL
from tailrace.storage.faults import disk_full, is_full

logger = logging.getLogger("tailrace.query")

WATCH_EVERY_S = 0.02
REMEMBERED_QUERIES = 1000

JSON_FIELD = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
"""Marks a text column whose values are JSON, as Arrow's canonical extension types do."""

_PARQUET_ERROR = re.compile(
    "parquet|TProtocol|corrupt|out of buffer|know what type|prefetch registered|decompress", re.IGNORECASE
)
_UNKNOWN_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]*)" not found')


class QueryLimits(Struct, frozen=True):
    timeout_s: float = 30.0
    memory_bytes: int = 2 * 1024**3  # of all queries together
    max_rows: int = 1_000_000  # of an answer
    max_cells: int = 20_000_000  # fields by rows of an answer in APL
    threads: int = 0  # 0: as many as there are cores
    concurrency: int = 4  # queries that run at once


class Interrupt:
    """Lets another thread stop one query, before or while it runs; its time runs from when this is made.

    Without `timeout_s` each run of the engine has the engine's time for itself.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.reason: str | None = None
        self.timeout_s = timeout_s
        self.deadline_s = None if timeout_s is None else time.monotonic() + timeout_s  # monotonic

    def left_s(self, timeout_s: float) -> float:
        """Return the time that is left to the query, of `timeout_s` where it has none of its own."""
        return timeout_s if self.deadline_s is None else max(self.deadline_s - time.monotonic(), 0)

    def stop(self, reason: str) -> None:
        """Stop the query; it raises QueryFailed with this reason."""
        self.reason = self.reason or reason

    def expire(self, timeout_s: float) -> None:
        """Stop the query because its time is over."""
        self.stop(f"the query ran longer than query_timeout_s = {timeout_s:g} s")

    def check(self) -> None:
        """Raise QueryFailed where the query was stopped or its time is over."""
        if self.deadline_s is not None and self.timeout_s is not None and time.monotonic() >= self.deadline_s:
            self.expire(self.timeout_s)
        if self.reason is not None:
            raise QueryFailed(self.reason)


class _Running(Struct, eq=False):
    connection: duckdb.DuckDBPyConnection
    interrupt: Interrupt
    deadline_s: float  # monotonic


class _Watch:
    """One thread that interrupts queries that were stopped or whose time is over."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._running: list[_Running] = []
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="tailrace-query-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def over(self, connection: duckdb.DuckDBPyConnection, interrupt: Interrupt, deadline_s: float) -> Iterator[None]:
        """Watch over whatever the connection runs meanwhile."""
        running = _Running(connection, interrupt, deadline_s)
        with self._changed:
            self._running.append(running)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(running)

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now_s = time.monotonic()
                for running in self._running:
                    if now_s >= running.deadline_s:
                        running.interrupt.expire(self._timeout_s)
                    if running.interrupt.reason is not None:
                        # Again and again: an interrupt between two calls of DuckDB is lost.
                        running.connection.interrupt()
                self._changed.wait(WATCH_EVERY_S if self._running else None)


class DuckDB:
    """One in-memory DuckDB that may read the lake's directory and nothing else. Thread-safe."""

    def __init__(
        self, lake_root: Path, temporary: Path, limits: QueryLimits, facts: functions.Facts = functions.Facts()
    ) -> None:
        self.limits = limits
        self.facts = facts
        self._slots = threading.BoundedSemaphore(limits.concurrency)
        self._lock = threading.Lock()
        self._settings: dict[str, str | int | bool | list[str]] = {
            "python_enable_replacements": False,
            "TimeZone": "UTC",
            "parquet_metadata_cache": True,  # a file of the lake never changes
            "memory_limit": f"{limits.memory_bytes}B",
            "temp_directory": str(temporary),
            "allowed_directories": [f"{lake_root.resolve()}/"],
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_external_access": False,
        }
        if limits.threads:
            self._settings["threads"] = limits.threads
        self._of_the_lake = re.compile(re.escape(f"{lake_root.resolve()}/") + "(?P<dataset>[^/]+)/")
        self._instance = self._opened()
        self._passed: set[tuple[str, int]] = set()
        self._watch = _Watch(limits.timeout_s)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        instance = duckdb.connect(":memory:")
        for name, value in self._settings.items():
            instance.execute(f"SET {name} = $value", {"value": value})
        instance.execute("SET lock_configuration = true")
        self._functions = fence.functions(instance)
        # After that: people's SQL calls what DuckDB itself has.
        places = self.facts.places
        functions.register(instance, [] if places is None else [functions.with_database(places)])
        return instance

    def close(self) -> None:
        self._watch.close()
        self._instance.close()

    def run(self, plan: Plan, interrupt: Interrupt | None = None) -> pa.Table:
        """The answer as an Arrow table; a VARIANT column comes as JSON text.

        Raises QueryInvalid where the query reads or calls what it may not, or DuckDB refuses it; QueryFailed at a
        limit; Overloaded when no slot is free in time.
        """

        def refused(error: duckdb.Error) -> TailraceError:
            return QueryInvalid(f"SQL: {_message(error, plan)}")

        with self._connected(interrupt, refused) as connection:
            return self._answer(connection, plan)

    @contextmanager
    def session(self, interrupt: Interrupt | None = None) -> Iterator["Session"]:
        """Several compiled queries in a row, as one towards the limits.

        Raises QueryFailed at a limit or where DuckDB fails; Overloaded when no slot is free in time.
        """
        interrupt = interrupt or Interrupt()
        with self._connected(interrupt, _compiled_refused) as connection:
            yield Session(connection, interrupt, self.limits.max_rows, self.limits.max_cells)

    @contextmanager
    def _connected(
        self, interrupt: Interrupt | None, refused: Callable[[duckdb.Error], TailraceError]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with a slot of its own, watched over; DuckDB's errors become ours."""
        interrupt = interrupt or Interrupt()
        limits = self.limits
        left_s = interrupt.left_s(limits.timeout_s)
        deadline_s = time.monotonic() + left_s
        if not self._slots.acquire(timeout=left_s):
            raise Overloaded(
                f"{limits.concurrency} queries are running already, the limit query_concurrency", retry_after_s=5
            )
        try:
            interrupt.check()
            with self._errors(interrupt, refused):
                instance = self._instance
                with instance.cursor() as connection, self._watch.over(connection, interrupt, deadline_s):
                    yield connection
        finally:
            self._slots.release()

    @contextmanager
    def _errors(self, interrupt: Interrupt, refused: Callable[[duckdb.Error], TailraceError]) -> Iterator[None]:
        instance = self._instance
        try:
            yield
        except duckdb.InterruptException as error:
            raise QueryFailed(interrupt.reason or "the query was interrupted") from error
        except duckdb.OutOfMemoryException as error:
            raise QueryFailed(f"the query needs more than query_memory_bytes = {self.limits.memory_bytes}") from error
        except (duckdb.FatalException, duckdb.InternalException) as error:
            logger.exception("DuckDB failed and is opened anew")
            with self._lock:
                # After such an error an instance answers nothing any more.
                if self._instance is instance:
                    self._instance = self._opened()
            raise QueryFailed("DuckDB met an error of its own, which the server's log has") from error
        except duckdb.Error as error:
            raise self._file_fault(error) or refused(error) from error
        except pa.ArrowException as error:
            raise QueryFailed(f"the answer cannot be given: {error}") from error

    def _file_fault(self, error: duckdb.Error) -> TailraceError | None:
        """The refusal for an error that comes of a file, not of the query: without its path and DuckDB's words."""
        text = str(error)
        is_temporary = str(self._settings["temp_directory"]) in text
        of_the_lake = self._of_the_lake.search(text)
        # The reader of Parquet raises errors that are of none of DuckDB's own classes.
        is_parquet = type(error) is duckdb.Error and _PARQUET_ERROR.search(text) is not None
        if not (is_temporary or of_the_lake or is_parquet or isinstance(error, duckdb.IOException)):
            return None
        logger.exception("DuckDB cannot read or write a file")
        if is_temporary:
            if is_full(error):
                return disk_full()
            return QueryFailed("the query found no room for its temporary files; see the server's log")
        whose = f"dataset {of_the_lake['dataset']!r}" if of_the_lake else "a dataset that the query reads"
        return DatasetUnavailable(f"a file of {whose} cannot be read; the server's log has more")

    def _answer(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> pa.Table:
        max_rows = self.limits.max_rows
        text = rendered(plan.query)
        self._check(connection, f"FROM (\n{text}\n)", [source.name for source in plan.sources])
        for source in plan.sources:
            if source.hot is not None:
                connection.register(source.hot_name, source.hot)
        # Not materialized, so that conditions and columns reach down to the files.
        ctes = ", ".join(f"{each.name} AS NOT MATERIALIZED ({rendered(each.select)})" for each in plan.sources)
        sources = f"WITH {ctes} " if ctes else ""
        relation = connection.sql(f"{sources}FROM (\n{text}\n) LIMIT {max_rows + 1}")
        columns, types = relation.columns, [str(kind) for kind in relation.types]
        if len(plan.names) == len(columns):
            columns = [given or own for given, own in zip(plan.names, columns, strict=True)]
        if any(_holds_json(kind) for kind in types):
            cells = (f"to_json(#{n})" if _holds_json(kind) else f"#{n}" for n, kind in enumerate(types, 1))
            relation = relation.project(", ".join(cells))
        table = relation.to_arrow_table()
        if table.num_rows > max_rows:
            raise QueryFailed(f"the answer has more rows than query_max_rows = {max_rows}; add a LIMIT or aggregate")
        fields = [
            pa.field(name, kind.type, metadata=JSON_FIELD if shown == "JSON" or _holds_json(shown) else None)
            for name, kind, shown in zip(_distinct(columns), table.schema, types, strict=True)
        ]
        return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))

    def _check(self, connection: duckdb.DuckDBPyConnection, text: str, sources: list[str]) -> None:
        if (text, len(sources)) in self._passed:
            return
        fence.check(connection, text, sources=sources, functions=self._functions)
        if len(self._passed) >= REMEMBERED_QUERIES:
            self._passed.clear()
        self._passed.add((text, len(sources)))


def _compiled_refused(error: duckdb.Error) -> TailraceError:
    """What is compiled is right, so that this is a value that is too large, a query too deep, or an error of ours."""
    _, refused, reason = str(error).partition(REFUSAL)
    if refused:
        return QueryFailed(reason.strip())
    logger.exception("DuckDB refuses a compiled query")
    return QueryFailed(f"the query cannot be run: {_first_line(error)}")


class Session:
    """One connection of the engine, for compiled queries."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, interrupt: Interrupt, max_rows: int, max_cells: int
    ) -> None:
        self._connection = connection
        self._interrupt = interrupt
        self._max_rows = max_rows
        self.max_cells = max_cells

    def register(self, name: str, rows: pa.Table) -> None:
        """Make rows known under a name."""
        self._connection.register(name, rows)

    def table(self, query: exp.Expr | str) -> pa.Table:
        """The answer to a query, or to one that was rendered; JSON columns are texts.

        Raises QueryFailed past the limit of rows.
        """
        text = query if isinstance(query, str) else rendered(query)
        self._interrupt.check()
        table = self._connection.sql(text).to_arrow_table()
        if table.num_rows > self._max_rows:
            raise QueryFailed(f"the answer has more rows than query_max_rows = {self._max_rows}; limit or aggregate it")
        return table

    def integers(self, query: exp.Expr) -> npt.NDArray[np.int64]:
        """The one column of an answer of integers without nulls, of any number of rows."""
        column = self._connection.sql(rendered(query)).to_arrow_table().column(0)
        found: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        return found


def rendered(query: exp.Expr) -> str:
    """The SQL of a tree, which may be changed. Raises QueryInvalid where it is too deep."""
    try:
        return query.sql(DIALECT, comments=False, copy=False)
    except (SqlglotError, RecursionError) as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error


def _holds_json(kind: str) -> bool:
    """Whether a type is a VARIANT, or has a VARIANT or JSON inside, which Arrow would not show as JSON."""
    return kind != "JSON" and ("VARIANT" in kind or "JSON" in kind)


def _distinct(names: list[str]) -> list[str]:
    """Column names made distinct, as in a JSON object they must be: the second `a` becomes `a_1`."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        result.append(candidate)
    return result


def _first_line(error: duckdb.Error) -> str:
    return str(error).split("\n\nLINE ")[0].strip()


def _message(error: duckdb.Error, plan: Plan) -> str:
    """DuckDB's message in terms of the query that was sent."""
    text = _first_line(error)
    unknown = _UNKNOWN_COLUMN.search(text)
    if unknown is None:
        return text
    near = difflib.get_close_matches(unknown["name"], plan.fields, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no event of {', '.join(plan.datasets) or 'these rows'} has a field {unknown['name']!r} so far{hint}"
