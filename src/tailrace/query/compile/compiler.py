"""What every part of a compilation works with: identifiers, time, datasets, names, and the notes for the answer."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Self

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.dataset import SYSTEM_TIME, TIME, Dataset
from tailrace.query.compile.notes import AggregateNote, AnswerNotes
from tailrace.query.compile.relation import Columns, Emitter, Ids, Relation, RelationColumn, RenderedQuery, references
from tailrace.query.compile.request import CompileRequest
from tailrace.query.compile.scan import extent_us
from tailrace.query.compile.scope import Scope, TabularLet
from tailrace.query.fields import FieldReader
from tailrace.query.functions import Context
from tailrace.query.functions.rounding import bin_auto_ns
from tailrace.query.functions.udf import from_json
from tailrace.query.values import (
    DATETIME,
    DYNAMIC,
    TIMESPAN,
    Type,
    Value,
    datetime_literal,
    dynamic_literal,
    literal,
    null,
    timespan_literal,
)

US = 1_000  # nanoseconds

Evaluate = Callable[["Compiler", RenderedQuery], pa.Table]
"""The answer to a query that a compiler has made."""


class Compiler:
    """Compiles at one place of a query.

    Those of one query share all but their scope. Operators and expressions are handed one; how it compiles the queries
    inside of them, `ProgramCompiler` says.
    """

    def __init__(self, request: CompileRequest, scope: Scope, evaluate: Evaluate | None) -> None:
        self.request = request
        self.scope = scope
        self.ids = Ids()
        self.datasets: list[Dataset] = []
        self.inline: dict[str, pa.Table] = {}  # rows written into the query
        self.notes = AnswerNotes()
        self._evaluate = evaluate

    def scoped(self, **changes: Any) -> Self:
        """Return the compiler of a place where these fields of the scope differ."""
        other = copy.copy(self)
        other.scope = replace(self.scope, **changes)
        return other

    # Queries inside of the query

    def source(self, source: tree.Source) -> Relation:
        """Return the rows of a source. Raise AplError, DatasetNotFound, DatasetUnavailable, Forbidden."""
        raise NotImplementedError

    def tables(self, pattern: tree.Pattern) -> list[tuple[str, Relation]]:
        """Return what a name or a pattern means, each with its name. Raise as `source` does."""
        raise NotImplementedError

    def resolved(self, source: tree.Source) -> tree.Source:
        """Return the source with `table(name)` as the table of that name."""
        raise NotImplementedError

    def inner(self) -> Self:
        """Return the compiler of a query inside of the query."""
        return self.scoped(is_inner=True)

    def subquery(self, query: tree.Query) -> Relation:
        """Return the rows of a query inside of the query."""
        return self.inner().source(query)

    # Names

    def scalar(self, name: str) -> Value | tree.Expression | None:
        """Return what a `let` or a variable of the request means."""
        bound = self.scope.lets.get(name)
        return None if isinstance(bound, TabularLet) else bound

    def is_table(self, name: str) -> bool:
        """Whether a name is that of a tabular `let`, of a dataset or of a view."""
        bound = self.scope.lets.get(name)
        if bound is not None:
            return isinstance(bound, TabularLet)
        return name in self.scope.datasets() or self.request.view(name) is not None

    # Values

    def settled(self, value: Value, relation: Relation) -> Value:
        """Return the literal that a value of a single row is, where the engine can be asked; else the value as it
        is.
        """
        if value.is_constant or self._evaluate is None:
            return value
        out = Emitter()
        source = out.table(relation.emit(references([value.sql]), out))
        cell = exp.Alias(this=value.sql, alias=exp.to_identifier("value"))
        query = out.finished(exp.Select(expressions=[cell], from_=exp.From(this=source)))
        cells = self._evaluate(self, query)["value"]
        return _constant(value.type, cells[0] if len(cells) else None)

    def evaluated(self, query: RenderedQuery) -> pa.Table | None:
        """Return the answer to a query over rows of this one; None where the engine cannot be asked."""
        return None if self._evaluate is None else self._evaluate(self, query)

    # Time and metadata

    def context(self, columns: Columns, *, with_range: bool = False) -> Context:
        start, end = self.range_ns() if with_range else (self.request.start_ns, self.request.end_ns)
        bin_ns = self.bin_auto_ns() if with_range else None
        return Context(
            now_ns=self.request.now_ns,
            start_ns=start,
            end_ns=end,
            max_bin_auto_groups=self.request.max_bin_auto_groups,
            bin_auto_ns=bin_ns,
            columns=columns,
            prices=self.request.reference_data.model_prices,
            metadata=self._metadata,
            geo=self.request.reference_data.geo_database is not None,
        )

    def _metadata(self, field: str, dataset: str | None) -> Mapping[str, str] | None:
        """Return the type of a stored field and what users say of it; None where there is no such field."""
        snapshots = [known.snapshot for known in self.datasets if dataset in (None, known.name)]
        if dataset is not None and not snapshots:
            if self.scope.in_virtual:
                raise AplError(tree.VIRTUAL_ALONE)
            snapshots = [self.scope.snapshot(dataset)]
        for snapshot in snapshots:
            types = {"datetime"} if field in (TIME, SYSTEM_TIME) else FieldReader(snapshot.fields).types(field)
            if types:
                text = "|".join(sorted({"float" if kind == "number" else kind for kind in types}))
                text = "timespan" if snapshot.is_timespan(field, types) else text
                return {"type": text, **self.request.notes(snapshot.dataset).get(field, {})}
        return None

    def range_ns(self) -> tuple[int, int]:
        """Return the time that the query covers: what it and the request say, else what the data has."""
        starts, ends = [], []
        for dataset in self.datasets:
            scan, (low, high) = dataset.scanned, extent_us(dataset.snapshot)
            start = scan.start_us if scan.start_us is not None else low
            end = scan.end_us if scan.has_explicit_end or high is None else min(scan.end_us or high + 1, high + 1)
            if start is not None:
                starts.append(start)
            if end is not None:
                ends.append(end)
        now_us = self.request.now_ns // US
        first = min(starts, default=now_us)
        return first * US, max(max(ends, default=now_us), first) * US

    def bin_auto_ns(self) -> int:
        """Return the size of the bins of bin_auto()."""
        start, end = self.range_ns()
        most = self.request.max_bin_auto_groups
        return bin_auto_ns(Context(self.request.now_ns, start, end, max_bin_auto_groups=most))

    # Notes for the answer

    @property
    def is_outermost(self) -> bool:
        """Whether what is being compiled is the query itself, not one inside of it."""
        return not self.scope.is_inner

    def warn(self, code: str, text: str, priority: str = "warn") -> None:
        """Make a remark."""
        self.notes.warn(code, text, priority)

    def note_aggregate(self, column: RelationColumn, note: AggregateNote) -> None:
        """Note how a column came to be."""
        self.notes.aggregated[column.id] = note

    def note_groups(self, names: tuple[str, ...]) -> None:
        """Note the names of the groups of the last operator that made some."""
        if self.is_outermost:
            self.notes.groups = names

    def inline_table(self, rows: pa.Table) -> str:
        """Return the name by which the engine is to know rows."""
        name = f"inline_{len(self.inline)}"
        self.inline[name] = rows
        return name


def _constant(kind: Type, cell: Any) -> Value:
    """Return a cell of an answer as a literal."""
    if cell is None or cell.as_py() is None:
        return null(kind)
    if kind is DATETIME:
        return datetime_literal(cell.cast(pa.int64()).as_py())
    if kind is TIMESPAN:
        return timespan_literal(cell.as_py())
    return dynamic_literal(from_json(cell.as_py())) if kind is DYNAMIC else literal(cell.as_py())
