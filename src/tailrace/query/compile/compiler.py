"""The state of one compilation: names, time, datasets and remarks; and the way from a tree to its relation."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.events import DatasetNotFound, DatasetUnavailable, Forbidden
from tailrace.lake.snapshot import Snapshot
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError, suggestion
from tailrace.query.apl.parser import parse, parse_expression
from tailrace.query.compile import operators
from tailrace.query.compile.aggregations import AGGREGATIONS
from tailrace.query.compile.dataset import SYSTEM_TIME, TIME, Dataset
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.relation import (
    Column,
    Columns,
    Emitter,
    Empty,
    Ids,
    Relation,
    RenderedQuery,
    references,
)
from tailrace.query.compile.scan import Scan
from tailrace.query.fields import FieldReader
from tailrace.query.functions import FUNCTIONS, Context, Facts, call
from tailrace.query.functions.rounding import bin_auto_ns
from tailrace.query.functions.udf import from_json
from tailrace.query.values import (
    DATETIME,
    DYNAMIC,
    NULL,
    STRING,
    TIMESPAN,
    TYPE_NAMES,
    Type,
    Value,
    as_text,
    datetime_literal,
    dynamic_literal,
    literal,
    null,
    timespan_literal,
)
from tailrace.query.wildcards import wildcard

MAX_OPERATORS = 250  # in one pipe
MAX_DATASETS_READ = 500  # in all of a query
MAX_LET_NODES = 5_000
UNAVAILABLE = "dataset unavailable"

US = 1_000  # nanoseconds

T = TypeVar("T")

Evaluate = Callable[["Compiler", RenderedQuery], pa.Table]
"""The answer to a query that a compiler has made."""


class View(Struct, frozen=True):
    """A named query that is a source like a dataset.

    `reads` are the datasets that who defined it might read then, which it shows to everybody who may read the view;
    None where that is not known, and then whoever asks must be allowed to read them.
    """

    apl: str
    reads: tuple[str, ...] | None = None


Views = Callable[[str], View | None]
"""The view of a name that may be read, None where there is none."""


def no_views(name: str) -> View | None:
    """Of nobody."""
    return None


class Asked(Struct, frozen=True, kw_only=True):
    """What a compilation is to know of the request, times in nanoseconds since 1970."""

    now_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    max_bin_auto_groups: int = 100
    variables: Mapping[str, str | int | float | bool | None] = {}
    virtual_fields: Mapping[str, Sequence[tuple[str, str]]] = {}
    map_fields: Mapping[str, Sequence[str]] = {}
    view: Views = no_views
    notes: Callable[[str], Mapping[str, Mapping[str, str]]] = lambda dataset: {}
    facts: Facts = Facts()
    check: Callable[[], None] = lambda: None  # raises where the query is to stop
    partial: bool = False  # whether a pattern leaves out, with a remark, datasets that cannot be used


class Aggregated(Struct, frozen=True):
    """How a column of groups came to be."""

    name: str
    fields: tuple[str, ...] = ()
    args: tuple[Any, ...] = ()


class Remark(Struct, frozen=True):
    priority: str
    code: str
    text: str


class _Table(Struct, frozen=True, eq=False):
    query: tree.Query
    visible: int  # how many lets it may use


class Compiler:
    """Compiles one program.

    `snapshot(name)` and `names()` are the datasets that may be read; `evaluate` asks the engine for what has one value
    before any row is read, without it only literals are known. `granted(name)` is a dataset that a view shows to who
    may read the view; without it a view shows what `snapshot` lets be read.
    """

    def __init__(
        self,
        asked: Asked,
        snapshot: Callable[[str], Snapshot],
        names: Callable[[], Sequence[str]],
        evaluate: "Evaluate | None" = None,
        granted: Callable[[str], Snapshot] | None = None,
    ) -> None:
        self.asked = asked
        self._granted = granted
        self._in_view = False
        self.ids = Ids()
        self.datasets: list[Dataset] = []
        self.inline: dict[str, pa.Table] = {}  # rows written into the query
        self.remarks: dict[str, tuple[Remark, int]] = {}
        self.left_out: list[DatasetUnavailable] = []  # why datasets that a pattern fits are not read
        self.aggregated: dict[str, Aggregated] = {}  # by identifier
        self.groups: tuple[str, ...] = ()
        self.bins: dict[str, int] = {}  # sizes, by identifier
        self.matched: str | None = None  # the identifier of the number of rows that were aggregated
        self.is_strict = False  # whether values of different types are refused beside each other
        self.filtered = False  # whether rows were dropped by a condition
        self._snapshot: Callable[[str], Snapshot] = functools.cache(snapshot)
        self._names = names
        self._evaluate = evaluate
        self._compiling_virtual = 0
        self._lets: list[tuple[str, Value | tree.Expression | _Table]] = []
        self._declared: set[str] = set()
        self._visible = 0
        self._tables_open = 0
        self._inner = 0
        for name, value in asked.variables.items():
            self._lets.append((name, literal(value)))
        self._visible = len(self._lets)

    # Names

    def declare(self, let: tree.Let) -> None:
        """Raise AplError."""
        if let.name in self._declared or (self._let(let.name) is not None and let.name not in self.asked.variables):
            raise AplError(f"{let.name!r} is declared twice", let.at, kind="name")
        self._declared.add(let.name)
        given = let.name in self.asked.variables
        if let.type is not None:
            self._lets = [(name, bound) for name, bound in self._lets if name != let.name]
            self._lets.append((let.name, self._parameter(let, TYPE_NAMES[let.type], given=given)))
            self._visible = len(self._lets)
            return
        if given:
            return  # the request's value takes the place of the query's own
        assert let.value is not None
        bound: Value | tree.Expression | _Table
        if isinstance(let.value, tree.Query):
            bound = _Table(let.value, len(self._lets))
        elif isinstance(let.value, tree.Name) and self._lets_table(let.value.name):
            bound = _Table(_table_query(let.value), len(self._lets))
        elif isinstance(let.value, tree.Name) and self._let(let.value.name) is None:
            bound = _Table(_table_query(let.value), len(self._lets))  # a dataset
        else:
            empty, read = Empty(), len(self.datasets)
            expressions = Expressions(self, empty)
            found = expressions.value(let.value)
            if _is_larger(found.sql, MAX_LET_NODES):
                raise AplError(f"{let.name!r} stands for too long an expression", let.at, kind="limit")
            bound = found
            if expressions.relation is not empty:  # a sub-query, which is compiled where it is used
                del self.datasets[read:]
                bound = let.value
        self._lets.append((let.name, bound))
        self._visible = len(self._lets)

    def _parameter(self, let: tree.Let, kind: Type, *, given: bool) -> Value:
        """Return the value of a parameter: the request's, as the type that the query declares, or else the default."""
        if given:
            found = literal(self.asked.variables[let.name])
        elif let.value is None or isinstance(let.value, tree.Query):
            raise AplError(f"the request gives no value for {let.name!r}, which has no default", let.at)
        else:
            found = Expressions(self, Empty()).constant(let.value, f"the default of {let.name!r}")
        if found.type is NULL:
            return null(kind)
        made = self.settled(_converted(found, kind, self.context(Columns(Empty()))), Empty())
        if made.constant is None and found.constant is not None:
            raise AplError(f"{let.name!r} is a {kind.value}, which {found.constant!r} is not", let.at, kind="type")
        return made

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
        found = self._evaluate(self, query)["value"]
        return _constant(value.type, found[0] if len(found) else None)

    def evaluated(self, query: RenderedQuery) -> pa.Table | None:
        """Return the answer to a query over rows of this one; None where the engine cannot be asked."""
        return None if self._evaluate is None else self._evaluate(self, query)

    def _let(self, name: str) -> "Value | tree.Expression | _Table | None":
        for known, value in self._lets[: self._visible]:
            if known == name:
                return value
        return None

    def _lets_table(self, name: str) -> bool:
        return isinstance(self._let(name), _Table)

    def scalar(self, name: str) -> "Value | tree.Expression | None":
        """Return what a `let` or a variable of the request means."""
        found = self._let(name)
        return None if isinstance(found, _Table) else found

    def is_table(self, name: str) -> bool:
        """Whether a name is that of a tabular `let` or of a dataset."""
        found = self._let(name)
        if found is not None:
            return isinstance(found, _Table)
        return name in self._names() or self.asked.view(name) is not None

    def refuse_function(self, node: tree.Call) -> None:
        """Raise AplError for the name of no function."""
        name = node.name
        if name in AGGREGATIONS:
            raise AplError(f"{name}() is an aggregation; it stands in summarize or make-series", node.at, kind="name")
        raise AplError(
            f"unknown function {name!r}{suggestion(name, [*FUNCTIONS, *AGGREGATIONS])}", node.at, kind="name"
        )

    @property
    def in_virtual(self) -> bool:
        """Whether the expression of a virtual field is being compiled."""
        return self._compiling_virtual > 0

    # Remarks

    def warn(self, code: str, text: str, priority: str = "warn") -> None:
        remark, count = self.remarks.get(text, (Remark(priority, code, text), 0))
        self.remarks[text] = (remark, count + 1)

    # Time

    def context(self, columns: Columns, *, with_range: bool = False) -> Context:
        start, end = self.range_ns() if with_range else (self.asked.start_ns, self.asked.end_ns)
        bin_ns = self.bin_auto_ns() if with_range else None
        return Context(
            now_ns=self.asked.now_ns,
            start_ns=start,
            end_ns=end,
            max_bin_auto_groups=self.asked.max_bin_auto_groups,
            bin_auto_ns=bin_ns,
            columns=columns,
            prices=self.asked.facts.prices,
            metadata=self._metadata,
            geo=self.asked.facts.places is not None,
        )

    def _metadata(self, field: str, dataset: str | None) -> Mapping[str, str] | None:
        """Return the type of a stored field and what users say of it; None where there is no such field."""
        snapshots = [each.snapshot for each in self.datasets if dataset in (None, each.name)]
        if dataset is not None and not snapshots:
            if self._compiling_virtual:
                raise AplError(tree.VIRTUAL_ALONE)
            snapshots = [self._snapshot(dataset)]
        for snapshot in snapshots:
            types = {"datetime"} if field in (TIME, SYSTEM_TIME) else FieldReader(snapshot.fields).types(field)
            if types:
                shown = "|".join(sorted({"float" if kind == "number" else kind for kind in types}))
                return {"type": shown, **self.asked.notes(snapshot.dataset).get(field, {})}
        return None

    def range_ns(self) -> tuple[int, int]:
        """Return the time that the query covers: what it and the request say, else what the data has."""
        starts, ends = [], []
        for dataset in self.datasets:
            scan, (low, high) = dataset.scanned, extent_us(dataset.snapshot)
            start = scan.start_us if scan.start_us is not None else low
            end = scan.end_us if scan.asked_end or high is None else min(scan.end_us or high + 1, high + 1)
            if start is not None:
                starts.append(start)
            if end is not None:
                ends.append(end)
        now_us = self.asked.now_ns // US
        first = min(starts, default=now_us)
        return first * US, max(max(ends, default=now_us), first) * US

    def bin_auto_ns(self) -> int:
        """Return the size of the bins of bin_auto()."""
        start, end = self.range_ns()
        most = self.asked.max_bin_auto_groups
        return bin_auto_ns(Context(self.asked.now_ns, start, end, max_bin_auto_groups=most))

    # Groups

    @property
    def is_outermost(self) -> bool:
        """Whether what is being compiled is the query itself, not one inside of it."""
        return self._inner == 0

    def inner(self, compiled: Callable[[], T]) -> T:
        """Compiles a query inside of the query."""
        self._inner += 1
        try:
            return compiled()
        finally:
            self._inner -= 1

    def note_aggregate(self, column: Column, name: str, fields: tuple[str, ...], args: tuple[Any, ...]) -> None:
        """How a column came to be, for the answer."""
        self.aggregated[column.id] = Aggregated(name, fields, args)

    def note_groups(self, names: tuple[str, ...]) -> None:
        """Note the names of the groups of the last operator that made some."""
        if self.is_outermost:
            self.groups = names

    # Tables

    def program(self, program: tree.Program) -> Relation:
        """Raise AplError, DatasetNotFound, Forbidden."""
        self.is_strict = program.is_strict
        for let in program.lets:
            self.declare(let)
        return self.query(program.query)

    def query(self, query: tree.Query) -> Relation:
        if len(query.operators) > MAX_OPERATORS:
            raise AplError(
                f"the query has {len(query.operators)} operators in one pipe, the limit is {MAX_OPERATORS}",
                query.at,
                kind="limit",
            )
        relation = self.source(query.source)
        for operator in query.operators:
            try:
                relation = operators.apply(self, relation, operator)
            except AplError as error:
                if error.at is None:
                    error.at = operator.at
                raise
        return relation

    def subquery(self, query: tree.Query) -> Relation:
        """Return a query inside of the query."""
        return self.inner(lambda: self.query(query))

    def source(self, source: tree.Source) -> Relation:
        source = self.resolved(source)
        if isinstance(source, tree.Query):
            return self.query(source)
        if isinstance(source, tree.Table):
            found = self.tables(source.pattern)
            if len(found) == 1:
                return found[0][1]
            return operators.united(self, found, None)
        return operators.from_source(self, source)

    def resolved(self, source: tree.Source) -> tree.Source:
        """Return the source with `table(name)` as the table of that name."""
        if not isinstance(source, tree.TableCall):
            return source
        name = Expressions(self, Empty()).constant(source.named, "the name of table()").constant
        if not isinstance(name, str):
            raise AplError("table() takes the name of a dataset as a string", source.at, kind="type")
        return tree.Table(source.at, tree.Pattern(source.at, (name,)))

    def tables(self, pattern: tree.Pattern) -> list[tuple[str, Relation]]:
        """Return what a name or a pattern means, each with its name. Raise DatasetNotFound, DatasetUnavailable."""
        if pattern.is_name:
            return [(pattern.text, self.table(pattern.text, pattern.at))]
        fitting = [name for name in self._names() if fits(pattern, name)]
        if not fitting:
            raise AplError(f"no dataset fits {pattern.text!r}", pattern.at, kind="name")
        found: list[tuple[str, Relation]] = []
        for name in fitting:
            try:
                found.append((name, self.dataset(name, pattern.at)))
            except DatasetUnavailable as error:
                if not self.asked.partial:
                    raise
                text = f"the answer is without {name!r}, which {pattern.text!r} fits: {error.message}"
                self.left_out.append(error)
                self.warn(operators.message_code(UNAVAILABLE), text)
        if not found:
            raise self.left_out[-1]
        return found

    def table(self, name: str, at: int) -> Relation:
        found = self._let(name)
        if isinstance(found, _Table):
            before, self._visible = self._visible, found.visible
            self._count_table(at)
            try:
                return self.query(found.query)
            finally:
                self._visible = before
        if found is not None:
            raise AplError(f"{name!r} is a value, not a table", at, kind="type")
        try:
            return self.dataset(name, at)
        except (DatasetNotFound, Forbidden):
            view = self.asked.view(name)
            if view is None:
                raise
        return self._view(name, view, at)

    def _view(self, name: str, view: View, at: int) -> Relation:
        """Return the rows of a view, whose text sees nothing of the query around it. Raise AplError at the view's
        name.
        """
        if self._compiling_virtual:
            raise AplError(tree.VIRTUAL_ALONE, at)
        if self._in_view:
            raise AplError(f"a view reads datasets, not another view such as {name!r}", at, kind="name")
        self._count_table(at)
        before = (self._lets, self._declared, self._visible, self._snapshot, self._names, self.is_strict, self.asked)
        self._lets, self._declared, self._visible, self._in_view = [], set(), 0, True
        self.asked = msgspec.structs.replace(self.asked, variables={})
        if view.reads is not None and self._granted is not None:
            self._snapshot, self._names = self._as_defined(view.reads, self._granted), lambda: view.reads or ()
        try:
            return self.program(parse(view.apl))
        except AplError as error:
            raise AplError(f"view {name!r}: {error.located(view.apl).message}", at, kind=error.kind) from error
        finally:
            self._lets, self._declared, self._visible, self._snapshot, self._names, self.is_strict, self.asked = before
            self._in_view = False

    def _as_defined(self, reads: Sequence[str], granted: Callable[[str], Snapshot]) -> Callable[[str], Snapshot]:
        shown = {name.casefold(): name for name in reads}
        checked = self._snapshot

        @functools.cache
        def snapshot(name: str) -> Snapshot:
            there = name if name in reads else shown.get(name.casefold())
            return checked(name) if there is None else granted(there)

        return snapshot

    def _count_table(self, at: int) -> None:
        self._tables_open += 1
        if self._tables_open > MAX_DATASETS_READ:
            raise AplError(f"the query reads more than {MAX_DATASETS_READ} tables, the limit", at, kind="limit")

    def dataset(self, name: str, at: int) -> Dataset:
        if self._compiling_virtual:
            # It would read what whoever queries may read, and be computed beside the rows that it is a field of.
            raise AplError(tree.VIRTUAL_ALONE, at)
        self._count_table(at)
        snapshot = self._snapshot(name)
        dataset = Dataset(
            snapshot,
            self.ids,
            hot_name=f"hot_{len(self.datasets)}",
            scan=Scan(
                None if self.asked.start_ns is None else -(-self.asked.start_ns // US),
                (self.asked.now_ns // US) + 1 if self.asked.end_ns is None else -(-self.asked.end_ns // US),
                asked_end=self.asked.end_ns is not None,
            ),
            virtual=self.asked.virtual_fields.get(snapshot.dataset, ()),
            compile_virtual=self._virtual,
            maps=self.asked.map_fields.get(snapshot.dataset, ()),
        )
        self.datasets.append(dataset)
        return dataset

    def _virtual(self, dataset: Dataset, text: str) -> Value:
        """Return the value of a virtual field, null with a remark where its expression is invalid."""
        try:
            self._compiling_virtual += 1
            expressions = Expressions(self, dataset)
            expression = parse_expression(text)
            value = expressions.value(expression)
            if expressions.relation is not dataset:
                raise AplError(tree.VIRTUAL_ALONE, expression.at)
            return value
        except AplError as error:
            self.warn(
                "virtual_field_finalize_error", f"a virtual field of {dataset.name!r} is left out: {error.message}"
            )
            return literal(None)
        finally:
            self._compiling_virtual -= 1

    def inline_table(self, rows: pa.Table) -> str:
        name = f"inline_{len(self.inline)}"
        self.inline[name] = rows
        return name


def _converted(value: Value, kind: Type, context: Context) -> Value:
    """Return a literal as another type."""
    if value.type is kind:
        return value
    if kind is STRING:
        return as_text(value)
    return call(f"to{kind.value}", [value], context)


def _constant(kind: Type, cell: Any) -> Value:
    """Return a cell of an answer as a literal."""
    if cell is None or cell.as_py() is None:
        return null(kind)
    if kind is DATETIME:
        return datetime_literal(cell.cast(pa.int64()).as_py())
    if kind is TIMESPAN:
        return timespan_literal(cell.as_py())
    return dynamic_literal(from_json(cell.as_py())) if kind is DYNAMIC else literal(cell.as_py())


def _table_query(name: tree.Name) -> tree.Query:
    return tree.Query(name.at, tree.Table(name.at, tree.Pattern(name.at, (name.name,))))


def fits(pattern: tree.Pattern, name: str) -> bool:
    """Whether a name is one of the pattern's."""
    return wildcard(pattern.parts).fullmatch(name) is not None


def _is_larger(node: exp.Expr, limit: int) -> bool:
    stack: list[Any] = [node]
    count = 0
    while stack:
        each = stack.pop()
        if isinstance(each, exp.Expr):
            count += 1
            if count > limit:
                return True
            stack.extend(each.args.values())
        elif isinstance(each, list):
            stack.extend(each)
    return False


def extent_us(snapshot: Snapshot) -> tuple[int | None, int | None]:
    """Return the first and the last time of a dataset's events."""
    lows = [file.min_time_us for file in snapshot.files]
    highs = [file.max_time_us for file in snapshot.files]
    for part in snapshot.hot:
        if part.num_rows:
            bounds = pc.min_max(part[TIME].cast(pa.int64()))
            lows.append(bounds["min"].as_py())
            highs.append(bounds["max"].as_py())
    return min(lows, default=None), max(highs, default=None)
