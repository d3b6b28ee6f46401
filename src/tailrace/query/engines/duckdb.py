"""The engine in this process: DuckDB, within limits, and interruptible."""

import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp

from tailrace.events import DatasetUnavailable, Overloaded, QueryFailed, TailraceError
from tailrace.lake.snapshot import TableRoot
from tailrace.query import functions
from tailrace.query.answer_cache import AnswerCache
from tailrace.query.arrow_json import JSON_FIELD
from tailrace.query.engines import sql_policy
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
from tailrace.query.row_groups import RowGroupCache
from tailrace.query.settings import QueryLimits
from tailrace.query.sources import HotRows
from tailrace.query.values import REFUSAL
from tailrace.storage.faults import disk_full, is_full

logger = logging.getLogger(__name__)

REMEMBERED_QUERIES = 1000
warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy", UserWarning)

_PARQUET_ERROR = re.compile(
    "parquet|TProtocol|corrupt|out of buffer|know what type|prefetch registered|decompress", re.IGNORECASE
)


class DuckDB(Engine):
    """One in-memory DuckDB that may read what is beneath `tables` and nothing else. Thread-safe."""

    def __init__(
        self,
        tables: TableRoot,
        temporary: Path,
        limits: QueryLimits,
        reference_data: functions.ReferenceData = functions.ReferenceData(),
    ) -> None:
        self.limits = limits
        self.reference_data = reference_data
        self.row_groups = RowGroupCache(limits.metadata_cache_bytes)
        self.answers = AnswerCache(limits.answer_cache_bytes)
        self._slots = threading.BoundedSemaphore(limits.concurrency)
        self._lock = threading.Lock()
        self._settings: dict[str, str | int | bool | list[str]] = {
            "python_enable_replacements": False,
            "TimeZone": "UTC",
            "parquet_metadata_cache": True,  # a file of a table never changes
            "memory_limit": f"{limits.memory_bytes}B",
            "temp_directory": str(temporary),
            "allowed_directories": [tables.location],
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_external_access": False,
        }
        if limits.threads:
            self._settings["threads"] = limits.threads
        self._tables = tables
        self._instance = self._opened()
        self._checked: set[tuple[str, int]] = set()
        self._watch = QueryWatch(limits.timeout_s)

    def _opened(self) -> duckdb.DuckDBPyConnection:
        instance = duckdb.connect(":memory:")
        for name, value in self._settings.items():
            # Global, as a setting of this connection alone is none of the cursors that run the queries.
            instance.execute(f"SET GLOBAL {name} = $value", {"value": value})
        instance.execute("SET lock_configuration = true")
        self._functions = sql_policy.functions(instance)
        # After that, as clients' SQL may call only DuckDB's own functions.
        database = self.reference_data.geo_database
        functions.register(instance, [] if database is None else [functions.with_database(database)])
        return instance

    def close(self) -> None:
        self._watch.close()
        self._instance.close()

    def answer(self, statement: Statement, hot: Mapping[str, Rows], interrupt: Interrupt) -> pa.Table:
        with self._connected(interrupt, _refused) as connection:
            for name, rows in hot.items():
                connection.register(name, as_table(rows))
            return self._answer(connection, statement)

    @contextmanager
    def session(self, interrupt: Interrupt | None = None) -> Iterator[Session]:
        interrupt = interrupt or Interrupt()
        with self._connected(interrupt, _compiled_refused) as connection:
            yield DuckDBSession(connection, interrupt, self.limits)

    @contextmanager
    def _connected(
        self, interrupt: Interrupt, refused: Callable[[duckdb.Error], TailraceError]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a watched connection in a free slot; raise DuckDB's errors as TailraceError."""
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
                with instance.cursor() as connection, self._watch.over(connection.interrupt, interrupt, deadline_s):
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
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise OutOfMemory(self.limits) from error
        except (duckdb.FatalException, duckdb.InternalException) as error:
            logger.exception("DuckDB failed and is opened anew")
            with self._lock:
                # After such an error a DuckDB instance is unusable.
                if self._instance is instance:
                    self._instance = self._opened()
            raise QueryFailed("DuckDB met an error of its own, which the server's log has") from error
        except duckdb.Error as error:
            raise self._file_fault(error) or refused(error) from error
        except pa.ArrowException as error:
            raise QueryFailed(f"the answer cannot be given: {error}") from error

    def _file_fault(self, error: duckdb.Error) -> TailraceError | None:
        """Return the refusal for an error that comes of a file, not of the query: without its path and DuckDB's
        words.
        """
        text = str(error)
        is_temporary = str(self._settings["temp_directory"]) in text
        dataset = self._tables.dataset_in(text)
        # The Parquet reader raises errors of other classes than DuckDB's.
        is_parquet = type(error) is duckdb.Error and _PARQUET_ERROR.search(text) is not None
        if not (is_temporary or dataset or is_parquet or isinstance(error, duckdb.IOException)):
            return None
        logger.exception("DuckDB cannot read or write a file")
        if is_temporary:
            if is_full(error):
                return disk_full()
            return QueryFailed("the query found no room for its temporary files; see the server's log")
        owner = f"dataset {dataset!r}" if dataset else "a dataset that the query reads"
        return DatasetUnavailable(f"a file of {owner} cannot be read; the server's log has more")

    def _answer(self, connection: duckdb.DuckDBPyConnection, statement: Statement) -> pa.Table:
        max_rows = self.limits.max_rows
        text = statement.text
        self._check(connection, f"FROM (\n{text}\n)", list(statement.sources))
        # Not materialized, so that predicates and projections are pushed down to the files.
        ctes = ", ".join(f"{name} AS NOT MATERIALIZED ({select})" for name, select in statement.sources.items())
        sources = f"WITH {ctes} " if ctes else ""
        if statement.is_explained:
            return self._explained(connection, f"{sources}FROM (\n{text}\n) LIMIT {max_rows + 1}")
        most_rows = max_rows + 1 if statement.most_rows is None else min(statement.most_rows, max_rows + 1)
        relation = connection.sql(f"{sources}FROM (\n{text}\n) LIMIT {most_rows}")
        columns, types = relation.columns, [str(kind) for kind in relation.types]
        if len(statement.names) == len(columns):
            columns = [name or column for name, column in zip(statement.names, columns, strict=True)]
        if any(_holds_json(kind) for kind in types):
            cells = (f"to_json(#{n})" if _holds_json(kind) else f"#{n}" for n, kind in enumerate(types, 1))
            relation = relation.project(", ".join(cells))
        table = relation.to_arrow_table()
        if table.num_rows > max_rows:
            raise QueryFailed(f"the answer has more rows than query_max_rows = {max_rows}; add a LIMIT or aggregate")
        check_bytes(table, self.limits)
        fields = [
            pa.field(name, kind.type, metadata=JSON_FIELD if shown == "JSON" or _holds_json(shown) else None)
            for name, kind, shown in zip(_distinct(columns), table.schema, types, strict=True)
        ]
        return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))

    def _explained(self, connection: duckdb.DuckDBPyConnection, text: str) -> pa.Table:
        """Return DuckDB's plan of a query that was checked, in which files are named beneath the tables' root."""
        explained: pa.Table = connection.execute(f"EXPLAIN {text}").to_arrow_table()
        plans = pc.replace_substring(explained["explain_value"], self._tables.location, "")
        return explained.set_column(1, "explain_value", plans)

    def _check(self, connection: duckdb.DuckDBPyConnection, text: str, sources: list[str]) -> None:
        if (text, len(sources)) in self._checked:
            return
        sql_policy.check(connection, text, sources=sources, functions=self._functions)
        if len(self._checked) >= REMEMBERED_QUERIES:
            self._checked.clear()
        self._checked.add((text, len(sources)))


def _refused(error: duckdb.Error) -> TailraceError:
    _, refused, reason = str(error).partition(REFUSAL)
    if refused:
        return QueryFailed(reason.strip())
    return SqlRefused(_first_line(error))


def _compiled_refused(error: duckdb.Error) -> TailraceError:
    """Return what is compiled is right, so that this is a value that is too large, a query too deep, or an error of
    ours.
    """
    _, refused, reason = str(error).partition(REFUSAL)
    if refused:
        return QueryFailed(reason.strip())
    logger.exception("DuckDB refuses a compiled query")
    return QueryFailed(f"the query cannot be run: {_first_line(error)}")


class DuckDBSession(Session):
    """One connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, interrupt: Interrupt, limits: QueryLimits) -> None:
        self._connection = connection
        self._interrupt = interrupt
        self._limits = limits
        self.max_cells = limits.max_cells

    def register(self, name: str, rows: Rows) -> None:
        self._connection.register(name, as_table(rows))

    def table(self, query: exp.Expr | str) -> pa.Table:
        table = self.whole(query if isinstance(query, str) else rendered(query))
        most = self._limits.max_rows
        if table.num_rows > most:
            raise QueryFailed(f"the answer has more rows than query_max_rows = {most}; limit or aggregate it")
        check_bytes(table, self._limits)
        return table

    def whole(self, text: str) -> pa.Table:
        self._interrupt.check()
        # Not as a relation, which binds a query twice: that costs more than the copy of an answer's rows.
        return self._connection.execute(text).to_arrow_table()


def as_table(rows: Rows) -> pa.Table:
    """Return the rows as one table."""
    return rows.table() if isinstance(rows, HotRows) else rows


def check_bytes(table: pa.Table, limits: QueryLimits) -> None:
    """Raise QueryFailed for a result that is too large."""
    if table.nbytes > limits.max_bytes:
        raise QueryFailed(
            f"the answer has more bytes than query_max_bytes = {limits.max_bytes}; "
            "name fewer columns or take fewer rows"
        )


def _holds_json(kind: str) -> bool:
    """Return whether a type is a VARIANT, or contains a VARIANT or JSON, which Arrow would not mark as JSON."""
    return kind != "JSON" and ("VARIANT" in kind or "JSON" in kind)


def _distinct(names: list[str]) -> list[str]:
    """Return distinct column names, as a JSON object needs: the second `a` becomes `a_1`."""
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
