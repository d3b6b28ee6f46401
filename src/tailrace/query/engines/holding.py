"""An engine over files that are not always there: those that a query names are held while it runs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.events import DatasetUnavailable, TailraceError
from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.engine import Engine, Rows, Session, Statement, rendered
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.row_groups import RowGroupCache
from tailrace.storage.faults import reason_of


class HeldFiles(Protocol):
    """Files beneath the root of the tables, which are at their paths while they are held. Thread-safe."""

    def hold(self, names: Collection[str], check: Callable[[], None]) -> AbstractContextManager[None]:
        """Have files there; `check` is called while they are waited for, and raises to give up."""

    def missing(self, names: Collection[str]) -> bool:
        """Return whether one of them is not there, though it is held."""


class HoldingEngine(Engine):
    """Runs queries by another engine, with the files that they name; to wait for those takes no place in it."""

    def __init__(self, engine: Engine, tables: TableRoot, files: HeldFiles) -> None:
        self.limits = engine.limits
        self.reference_data = engine.reference_data
        self.answers = engine.answers
        self.row_groups = RowGroupCache(engine.limits.metadata_cache_bytes, self._holding)
        self._engine = engine
        self._tables = tables
        self._files = files

    def answer(self, statement: Statement, hot: Mapping[str, Rows], interrupt: Interrupt) -> pa.Table:
        names = self._tables.names_in(statement.text).union(*map(self._tables.names_in, statement.sources.values()))
        with self._held(names, interrupt.check):
            try:
                return self._engine.answer(statement, hot, interrupt)
            except TailraceError:
                # Somebody may have deleted files, which is allowed at any moment.
                if not self._files.missing(names):
                    raise
        with self._held(names, interrupt.check):
            return self._engine.answer(statement, hot, interrupt)

    @contextmanager
    def session(self, interrupt: Interrupt | None = None) -> Iterator[Session]:
        interrupt = interrupt or Interrupt()
        with self._engine.session(interrupt) as session:
            yield HoldingSession(session, self, interrupt)

    def held_for(self, text: str, interrupt: Interrupt) -> AbstractContextManager[None]:
        """Have the files there that a query names."""
        return self._held(self._tables.names_in(text), interrupt.check)

    def warm_up(self) -> None:
        self._engine.warm_up()

    def fault(self) -> str:
        return self._engine.fault()

    def close(self) -> None:
        self._engine.close()

    def _holding(self, location: str) -> AbstractContextManager[None]:
        return self._held({location.removeprefix(self._tables.location)}, lambda: None)

    @contextmanager
    def _held(self, names: Collection[str], check: Callable[[], None]) -> Iterator[None]:
        if not names:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._files.hold(names, check))
            except FileNotFoundError as error:
                raise DatasetUnavailable("a file of this time is missing in the object store") from error
            except OSError as error:
                raise DatasetUnavailable(f"files of this time cannot be read: {reason_of(error)}") from error
            yield


class HoldingSession(Session):
    """A session whose queries have their files."""

    def __init__(self, session: Session, engine: HoldingEngine, interrupt: Interrupt) -> None:
        self._session = session
        self._engine = engine
        self._interrupt = interrupt
        self.max_cells = session.max_cells

    def register(self, name: str, rows: Rows) -> None:
        self._session.register(name, rows)

    def table(self, query: exp.Expr | str) -> pa.Table:
        text = query if isinstance(query, str) else rendered(query)
        # An error ends the engine's session, so that nothing is tried again here.
        with self._engine.held_for(text, self._interrupt):
            return self._session.table(text)

    def whole(self, text: str) -> pa.Table:
        with self._engine.held_for(text, self._interrupt):
            return self._session.whole(text)
