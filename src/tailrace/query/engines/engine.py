"""What every engine is: runs compiled queries within limits, and each can be stopped."""

import difflib
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import SqlglotError

from tailrace.events import QueryFailed, QueryInvalid
from tailrace.query.functions import ReferenceData
from tailrace.query.settings import QueryLimits
from tailrace.query.sources import HotRows
from tailrace.query.sql import DIALECT, Plan

WATCH_EVERY_S = 0.02

_UNKNOWN_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]*)" not found')


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


class Statement(Struct, frozen=True):
    """A plan as text: the SELECT of each source by its name, and the query over those names."""

    text: str
    sources: dict[str, str]
    names: tuple[str, ...]  # of the answer's columns, as a plan has them


class SqlRefused(QueryInvalid):
    """DuckDB refuses people's SQL; the message is its own."""


class OutOfMemory(QueryFailed):
    """The query needs more memory than there is for it."""

    def __init__(self, limits: QueryLimits) -> None:
        super().__init__(f"the query needs more than query_memory_bytes = {limits.memory_bytes}")


Rows: TypeAlias = pa.Table | HotRows


class Session(ABC):
    """Several compiled queries in a row, over rows that they share."""

    max_cells: int

    @abstractmethod
    def register(self, name: str, rows: Rows) -> None:
        """Make rows known under a name."""

    @abstractmethod
    def table(self, query: exp.Expr | str) -> pa.Table:
        """Return the answer to a query, or to one that was rendered; JSON columns are texts.

        Raise QueryFailed past the limit of rows.
        """

    @abstractmethod
    def whole(self, text: str) -> pa.Table:
        """Return the answer to a query, of any number of rows."""

    def integers(self, query: exp.Expr) -> npt.NDArray[np.int64]:
        """Return the one column of an answer of integers without nulls, of any number of rows."""
        found: npt.NDArray[np.int64] = self.whole(rendered(query)).column(0).cast(pa.int64()).to_numpy()
        return found


class Engine(ABC):
    """Runs queries over files of tables and rows that it is given. Thread-safe."""

    limits: QueryLimits
    reference_data: ReferenceData

    def run(self, plan: Plan, interrupt: Interrupt | None = None) -> pa.Table:
        """Return the answer as an Arrow table; a VARIANT column comes as JSON text.

        Raise QueryInvalid where the query reads or calls what it may not, or DuckDB refuses it; QueryFailed at a
        limit; Overloaded when no slot is free in time.
        """
        hot = {source.hot_name: source.hot for source in plan.sources if source.hot is not None}
        sources = {source.name: rendered(source.select) for source in plan.sources}
        try:
            return self.answer(Statement(rendered(plan.query), sources, plan.names), hot, interrupt or Interrupt())
        except SqlRefused as error:
            raise QueryInvalid(f"SQL: {_message(error.message, plan)}") from error

    @abstractmethod
    def answer(self, statement: Statement, hot: Mapping[str, Rows], interrupt: Interrupt) -> pa.Table:
        """Return what `run` returns. Raise SqlRefused where DuckDB refuses the statement."""

    @abstractmethod
    def session(self, interrupt: Interrupt | None = None) -> AbstractContextManager[Session]:
        """Run several compiled queries in a row, as one towards the limits.

        Raise QueryFailed at a limit or where DuckDB fails; Overloaded when no slot is free in time.
        """

    def fault(self) -> str:
        """Return why no query can be run at the moment, empty while one can. May block."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Stop what the engine has running."""


class _Running(Struct, eq=False):
    stop: Callable[[], None]
    interrupt: Interrupt
    deadline_s: float  # monotonic


class Watch:
    """One thread that interrupts queries that were stopped or whose time is over."""

    def __init__(self, timeout_s: float, look: Callable[[], None] = lambda: None) -> None:
        self._timeout_s = timeout_s
        self._look = look  # called over and over while something runs
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
    def over(self, stop: Callable[[], None], interrupt: Interrupt, deadline_s: float) -> Iterator[None]:
        """Call `stop()`, over and over, once what runs meanwhile is to end."""
        running = _Running(stop, interrupt, deadline_s)
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
                        running.stop()
                if self._running:
                    self._look()
                self._changed.wait(WATCH_EVERY_S if self._running else None)


def rendered(query: exp.Expr) -> str:
    """Return the SQL of a tree, which may be changed. Raise QueryInvalid where it is too deep."""
    try:
        return query.sql(DIALECT, comments=False, copy=False)
    except (SqlglotError, RecursionError) as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error


def _message(text: str, plan: Plan) -> str:
    """DuckDB's message in terms of the query that was sent."""
    unknown = _UNKNOWN_COLUMN.search(text)
    if unknown is None:
        return text
    near = difflib.get_close_matches(unknown["name"], plan.fields, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no event of {', '.join(plan.datasets) or 'these rows'} has a field {unknown['name']!r} so far{hint}"
