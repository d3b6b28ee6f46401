"""DuckDB in the server's process: runs a plan within limits, and can be interrupted."""

import difflib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.events import Overloaded, QueryFailed, QueryInvalid
from tailrace.query.sql import DIALECT, Plan

JSON_FIELD = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
"""Marks a text column whose values are JSON, as Arrow's canonical extension types do."""

_UNKNOWN_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]*)" not found')


class QueryLimits(Struct, frozen=True):
    timeout_s: float = 30.0
    memory_bytes: int = 2 * 1024**3  # of all queries together
    max_rows: int = 1_000_000  # of an answer
    threads: int = 0  # 0: as many as there are cores
    concurrency: int = 4  # queries that run at once


class Interrupt:
    """Lets another thread stop a query, before or while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self.reason: str | None = None

    def stop(self, reason: str) -> None:
        """Stop the query; it raises QueryFailed with this reason."""
        with self._lock:
            self.reason = self.reason or reason
            if self._connection is not None:
                self._connection.interrupt()

    @contextmanager
    def watching(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with self._lock:
            if self.reason is not None:
                raise QueryFailed(self.reason)
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None


class DuckDB:
    """One in-memory DuckDB that may read the lake's directory and nothing else. Thread-safe."""

    def __init__(self, lake_root: Path, temporary: Path, limits: QueryLimits) -> None:
        self.limits = limits
        self._slots = threading.BoundedSemaphore(limits.concurrency)
        self._instance = duckdb.connect(":memory:")
        settings: dict[str, str | int | bool | list[str]] = {
            "python_enable_replacements": False,
            "TimeZone": "UTC",
            "memory_limit": f"{limits.memory_bytes}B",
            "temp_directory": str(temporary),
            "allowed_directories": [f"{lake_root.resolve()}/"],
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_external_access": False,
        }
        if limits.threads:
            settings["threads"] = limits.threads
        for name, value in settings.items():
            self._instance.execute(f"SET {name} = $value", {"value": value})
        self._instance.execute("SET lock_configuration = true")

    def close(self) -> None:
        self._instance.close()

    def run(self, plan: Plan, interrupt: Interrupt | None = None) -> pa.Table:
        """The answer as an Arrow table; a VARIANT column comes as JSON text.

        Raises QueryInvalid where DuckDB refuses the query, QueryFailed at a limit, Overloaded when no slot is free in
        time.
        """
        interrupt = interrupt or Interrupt()
        limits = self.limits
        started = time.monotonic()
        if not self._slots.acquire(timeout=limits.timeout_s):
            raise Overloaded(
                f"{limits.concurrency} queries are running already, the limit query_concurrency", retry_after_s=5
            )
        timer = threading.Timer(
            max(0.0, limits.timeout_s - (time.monotonic() - started)),
            interrupt.stop,
            [f"the query ran longer than query_timeout_s = {limits.timeout_s:g} s"],
        )
        timer.daemon = True
        timer.start()
        try:
            with self._instance.cursor() as connection, interrupt.watching(connection):
                return _answer(connection, plan, limits.max_rows)
        except duckdb.InterruptException as error:
            raise QueryFailed(interrupt.reason or "the query was interrupted") from error
        except duckdb.OutOfMemoryException as error:
            raise QueryFailed(f"the query needs more than query_memory_bytes = {limits.memory_bytes}") from error
        except duckdb.Error as error:
            raise QueryInvalid(f"SQL: {_message(error, plan)}") from error
        finally:
            timer.cancel()
            self._slots.release()


def _answer(connection: duckdb.DuckDBPyConnection, plan: Plan, max_rows: int) -> pa.Table:
    for source in plan.sources:
        connection.register(source.name, source.rows)
    relation = connection.sql(plan.query.sql(DIALECT))
    names, types = _distinct(relation.columns), [str(kind) for kind in relation.types]
    columns = [exp.to_identifier(f"c{number}") for number in range(len(names))]
    cells: list[exp.Expr] = []
    for column, name, kind in zip(columns, names, types, strict=True):
        cell: exp.Expr = exp.Column(this=column.copy())
        cells.append(exp.alias_(exp.cast(cell, "JSON") if kind == "VARIANT" else cell, name, quoted=True))
    answer = exp.TableAlias(this=exp.to_identifier("answer"), columns=columns)
    outer = exp.select(*cells).from_(exp.Subquery(this=plan.query.copy(), alias=answer)).limit(max_rows + 1)
    table = connection.sql(outer.sql(DIALECT)).to_arrow_table()
    if table.num_rows > max_rows:
        raise QueryFailed(f"the answer has more rows than query_max_rows = {max_rows}; add a LIMIT or aggregate")
    json = {name for name, kind in zip(names, types, strict=True) if kind in ("JSON", "VARIANT")}
    fields = [field.with_metadata(JSON_FIELD) if field.name in json else field for field in table.schema]
    return table.cast(pa.schema(fields)) if json else table


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


def _message(error: duckdb.Error, plan: Plan) -> str:
    """DuckDB's message in terms of the query that was sent."""
    text = str(error).split("\n\nLINE ")[0].strip()
    unknown = _UNKNOWN_COLUMN.search(text)
    if unknown is None:
        return text
    near = difflib.get_close_matches(unknown["name"], plan.fields, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no event of {', '.join(plan.datasets) or 'these rows'} has a field {unknown['name']!r} so far{hint}"
