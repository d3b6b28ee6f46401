"""A session whose queries are answered by what is known already, as far as it is; without a place in the engine till
then."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.engines.engine import Engine, Rows, Session, rendered
from tailrace.query.engines.interrupt import Interrupt


@contextmanager
def cached_session(engine: Engine, interrupt: Interrupt, owner: str) -> Iterator[Session]:
    """Yield a session over the answers that `owner` was given; over none where nobody is named.

    Raise what the engine's session raises.
    """
    with ExitStack() as stack:
        yield CachedSession(lambda: stack.enter_context(engine.session(interrupt)), engine, interrupt, owner)


class CachedSession(Session):
    """The session of the engine that `begin` opens is begun when an answer is not known."""

    def __init__(self, begin: Callable[[], Session], engine: Engine, interrupt: Interrupt, owner: str) -> None:
        self._begin = begin
        self._answers = engine.answers if owner and engine.answers.max_bytes else None
        self._interrupt = interrupt
        self._owner = owner
        self._begun: Session | None = None
        self._has_known = False  # whether an answer was known
        self._rows: dict[str, Rows] = {}
        self._untold: set[str] = set()  # the names of rows of which the engine does not know yet
        self.max_cells = engine.limits.max_cells

    @property
    def is_cached(self) -> bool:
        return self._has_known and self._begun is None

    def register(self, name: str, rows: Rows) -> None:
        self._rows[name] = rows
        self._untold.add(name)

    def table(self, query: exp.Expr | str) -> pa.Table:
        self._interrupt.check()
        text = query if isinstance(query, str) else rendered(query)
        if self._answers is None:
            return self._session().table(text)
        rows = {name: rows for name, rows in self._rows.items() if name in text}
        known = self._answers.find(self._owner, text, rows)
        if known is None:
            known = self._session().table(text)
            self._answers.keep(self._owner, text, rows, known)
        else:
            self._has_known = True
        return known

    def whole(self, text: str) -> pa.Table:
        return self._session().whole(text)

    def _session(self) -> Session:
        if self._begun is None:
            self._begun = self._begin()
        for name in self._untold:
            self._begun.register(name, self._rows[name])
        self._untold.clear()
        return self._begun
