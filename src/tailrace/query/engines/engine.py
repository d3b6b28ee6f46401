"""The interface of engines, which run compiled queries within limits; each query can be stopped."""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import SqlglotError

from tailrace.events import QueryFailed, QueryInvalid
from tailrace.query.answer_cache import AnswerCache
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import Spreader
from tailrace.query.functions import ReferenceData
from tailrace.query.row_groups import RowGroupCache
from tailrace.query.settings import QueryLimits
from tailrace.query.sources import HotRows
from tailrace.query.sql import DIALECT, Plan

_UNKNOWN_COLUMN = re.compile(r'Referenced column "(?P<name>[^"]*)" not found')


class Statement(Struct, frozen=True):
    """A plan as text: the SELECT of each source by its name, and the query over those names."""

    text: str
    sources: dict[str, str]
    names: tuple[str, ...]  # of the columns of the result
    is_explained: bool = False  # how it would run is the answer
    most_rows: int | None = None  # of the answer, which has no others; None: as many as there may be


class SqlRefused(QueryInvalid):
    """DuckDB refuses a client's SQL; the message is DuckDB's."""


class OutOfMemory(QueryFailed):
    """The query needs more memory than its limit."""

    def __init__(self, limits: QueryLimits) -> None:
        super().__init__(f"the query needs more than query_memory_bytes = {limits.memory_bytes}")


Rows: TypeAlias = pa.Table | HotRows


class Session(ABC):
    """Several compiled queries, one after the other, over the same registered rows."""

    max_cells: int

    @property
    def is_cached(self) -> bool:
        """Whether all answers until now were known, so that the engine was not asked."""
        return False

    @abstractmethod
    def register(self, name: str, rows: Rows) -> None:
        """Register rows under a name."""

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
        numbers: npt.NDArray[np.int64] = self.whole(rendered(query)).column(0).cast(pa.int64()).to_numpy()
        return numbers


class Engine(ABC):
    """Runs queries over files of tables and registered rows. Thread-safe."""

    limits: QueryLimits
    reference_data: ReferenceData
    row_groups: RowGroupCache
    answers: AnswerCache
    spreader: Spreader | None = None  # what runs parts of large queries elsewhere

    def run(
        self,
        plan: Plan,
        interrupt: Interrupt | None = None,
        *,
        is_explained: bool = False,
        most_rows: int | None = None,
    ) -> pa.Table:
        """Return the answer as an Arrow table, or its first `most_rows`; a VARIANT column comes as JSON text.

        With `is_explained` it is how the query would run, in a table with the name of each part and its text.

        Raise QueryInvalid where the query reads or calls what it may not, or DuckDB refuses it; QueryFailed at a limit;
        Overloaded when no slot is free in time.
        """
        hot = {source.hot_name: source.hot for source in plan.sources if source.hot is not None}
        sources = {source.name: rendered(source.select) for source in plan.sources}
        try:
            statement = Statement(rendered(plan.query), sources, plan.names, is_explained, most_rows)
            return self.answer(statement, hot, interrupt or Interrupt())
        except SqlRefused as error:
            raise QueryInvalid(f"SQL: {_message(error.message, plan)}") from error

    @abstractmethod
    def answer(self, statement: Statement, hot: Mapping[str, Rows], interrupt: Interrupt) -> pa.Table:
        """Return what `run` returns. Raise SqlRefused where DuckDB refuses the statement."""

    @abstractmethod
    def session(self, interrupt: Interrupt | None = None) -> AbstractContextManager[Session]:
        """Run several compiled queries, which count as one for the limits.

        Raise QueryFailed at a limit or where DuckDB fails; Overloaded when no slot is free in time.
        """

    def warm_up(self) -> None:
        """Get ready for the first query, where that takes time."""
        return

    def fault(self) -> str:
        """Return why queries cannot be run now, empty if they can. May block."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Stop the running queries."""


def rendered(query: exp.Expr) -> str:
    """Return the SQL of a tree, which may be changed. Raise QueryInvalid where it is too deep."""
    try:
        return query.sql(DIALECT, comments=False, copy=False)
    except (SqlglotError, RecursionError) as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error


def _message(text: str, plan: Plan) -> str:
    """Return DuckDB's message in the terms of the query that was sent."""
    unknown = _UNKNOWN_COLUMN.search(text)
    if unknown is None:
        return text
    near = difflib.get_close_matches(unknown["name"], plan.fields, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no event of {', '.join(plan.datasets) or 'these rows'} has a field {unknown['name']!r} so far{hint}"
