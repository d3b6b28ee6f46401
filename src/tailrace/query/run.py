"""An APL query from request to answer: what is asked, what comes back, and the way between."""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.events import QueryFailed
from tailrace.lake import Lake, Snapshot
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse
from tailrace.query.compile.columns import distinct_name, everything
from tailrace.query.compile.compiler import Asked, Compiler, Views, extent_us, no_views
from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.operators import message_code
from tailrace.query.compile.relation import (
    Column,
    Emitter,
    Key,
    Layer,
    Relation,
    identifier,
    nothing,
    reference,
    references,
)
from tailrace.query.cursors import Places, decode
from tailrace.query.engines.duckdb import JSON_FIELD
from tailrace.query.engines.engine import Engine, Interrupt, Session, rendered
from tailrace.query.pages import Read, page_of, united_page_of
from tailrace.query.sources import readable, readable_names
from tailrace.query.values import Type

CURSOR = "_cursor"  # the column of a row's cursor
DEFAULT_ROWS = 1_000  # of a raw-event answer, where neither query nor request says how many
MAX_ROWS = 50_000  # of any answer table (Axiom's hard maximum)
MAX_BIN_AUTO_GROUPS = 10_000  # that a request may ask for
DEFAULT_BIN_AUTO_GROUPS = 100
IMPLICIT_END = "implicit end time of now applied"
LOWER_BOUND = "rowsMatched is a lower bound, as no more events were read than the answer needs"

Variable = str | int | float | bool | None


class Order(Struct, frozen=True):
    """One key of an order."""

    field: str
    desc: bool = False


class AplRequest(Struct, frozen=True, kw_only=True):
    """A query as a client asks it. Times are Unix nanoseconds, the range is half open: [start, end)."""

    apl: str
    program: tree.Program | None = None  # the query as a tree, in place of `apl`, which is then only shown
    start_ns: int | None = None
    end_ns: int | None = None  # None: up to and including now, with a message that says so
    default_limit: int | None = None  # rows, where the query itself has no limit
    default_order: tuple[Order, ...] = ()  # where the query itself has none
    max_bin_auto_groups: int = DEFAULT_BIN_AUTO_GROUPS
    variables: Mapping[str, Variable] = {}  # read like leading `let`s
    cursor: str = ""  # rows after this one, in the order of the answer
    include_cursor: bool = False  # and that row too
    include_cursor_field: bool = False  # a last column `_cursor` in a raw-event answer
    totals: bool = True  # a table `_totals` where a time bin is among the groups
    virtual_fields: Mapping[str, Sequence[tuple[str, str]]] = {}  # by dataset: name and APL expression
    map_fields: Mapping[str, Sequence[str]] = {}  # by dataset: fields whose objects are one column each
    now_ns: int | None = None  # the instant of `now()`; None: the present
    view: Views = no_views
    notes: Callable[[str], Mapping[str, Mapping[str, str]]] = lambda dataset: {}
    """What users say of a dataset's fields, by field: its `unit` and its `description`, where there is one."""


class Aggregate(Struct, frozen=True):
    """How an aggregate column came to be: name from the clients' closed list, e.g. `topk` of `["ip"]` with `[1]`."""

    name: str
    fields: tuple[str, ...] = ()
    args: tuple[object, ...] = ()


class AplField(Struct, frozen=True):
    """A column of an answer. `type` is one of datetime, string, integer, float, boolean, array, map, timespan, unknown,
    or several of them joined by `|`."""

    name: str
    type: str
    agg: Aggregate | None = None


class Range(Struct, frozen=True):
    """The time that an answer covers, in Unix nanoseconds, end exclusive."""

    field: str
    start_ns: int
    end_ns: int


class Buckets(Struct, frozen=True):
    """The bins of a group: their size, in nanoseconds where the field is a time."""

    field: str
    size: int | float


class AplTable(Struct, frozen=True, eq=False):
    """One table of an answer.

    `rows` has a column for each of `fields`, in order and under the same names (which are distinct): bool, int64,
    double, string, timestamp[us, UTC]; a timespan is an int64 (the unit is `tailrace.query.values`'); anything else is
    JSON text, marked as `tailrace.query.results.is_json` tells.
    """

    name: str  # "0", or "_totals"
    fields: tuple[AplField, ...]
    rows: pa.Table
    sources: tuple[str, ...] = ()  # names of the datasets it was read from
    order: tuple[Order, ...] = ()
    groups: tuple[str, ...] = ()
    range: Range | None = None
    buckets: Buckets | None = None
    aggregated: bool = False  # rows are groups, not events


class Message(Struct, frozen=True):
    """A remark on a query: priority is one of trace, debug, info, warn, error, fatal."""

    priority: str
    code: str
    msg: str
    count: int = 1


class AplStatus(Struct, frozen=True):
    """What it took. Times are Unix nanoseconds, None where no row was read."""

    elapsed_us: int
    rows_examined: int  # inside the time range, in what was read
    rows_matched: int  # after the filters and before any limit; of what was read, where a message says so
    blocks_examined: int = 0  # files and in-memory parts within reach
    blocks_matched: int = 0  # of these, read
    blocks_skipped: int = 0  # passed over by time, statistics or missing columns
    num_groups: int = 0
    min_time_ns: int | None = None
    max_time_ns: int | None = None
    min_cursor: str = ""
    max_cursor: str = ""
    messages: tuple[Message, ...] = ()
    is_partial: bool = False  # whether datasets that cannot be used are left out, as messages tell


class AplResult(Struct, frozen=True, eq=False):
    """The answer: table "0", then `_totals` if there is one."""

    tables: tuple[AplTable, ...]
    status: AplStatus
    datasets: tuple[str, ...]


def run_apl(
    lake: Lake,
    engine: Engine,
    request: AplRequest,
    *,
    check: Callable[[str], None],
    own: Callable[[str], None] | None = None,
    interrupt: Interrupt | None = None,
) -> AplResult:
    """Run one APL query, every event acknowledged before included.

    `check(dataset)` raises Forbidden for a dataset that may not be read; patterns (`union logs*`) pass over such
    datasets, and, with a message, over those that cannot be used. `own(dataset)` raises for one that no view may show,
    being another organisation's; without it a view shows what `check` lets be read. Raise AplError (400, with line and
    column), QueryFailed (a limit, which it names), DatasetNotFound, DatasetUnavailable, Forbidden, Overloaded.
    """
    started = time.perf_counter_ns()
    interrupt = interrupt or Interrupt()
    compiler = _compiler(lake, engine, request, check, own, interrupt, partial=True)
    try:
        interrupt.check()
        program = request.program or parse(request.apl, check=interrupt.check)
        compiled = _Compiled(compiler(), program, request)
        totals = _totals(program, compiler, request) if request.totals else None
        with engine.session(interrupt) as session:
            tables = [compiled.run(session)]
            if totals is not None and compiled.has_bins:
                tables.append(msgspec.structs.replace(totals.run(session), name="_totals"))
            status = compiled.status(session, tables[0])
    except AplError as error:
        raise error.located(request.apl) from error
    except RecursionError as error:
        raise AplError("the query is nested too deeply", kind="limit") from error
    elapsed_us = max((time.perf_counter_ns() - started) // 1000, 1)
    datasets = tuple(dict.fromkeys(dataset.name for dataset in compiled.compiler.datasets))
    return AplResult(tuple(tables), msgspec.structs.replace(status, elapsed_us=elapsed_us), datasets)


def _compiler(
    lake: Lake,
    engine: Engine,
    request: AplRequest,
    check: Callable[[str], None],
    own: Callable[[str], None] | None,
    interrupt: Interrupt,
    *,
    partial: bool = False,
) -> Callable[[], Compiler]:
    """Return what makes compilers of a request, which share what they have looked up."""
    now_ns = time.time_ns() if request.now_ns is None else request.now_ns
    asked = Asked(
        now_ns=now_ns,
        start_ns=request.start_ns,
        end_ns=request.end_ns,
        max_bin_auto_groups=max(1, min(request.max_bin_auto_groups, MAX_BIN_AUTO_GROUPS)),
        variables=request.variables,
        virtual_fields=request.virtual_fields,
        map_fields=request.map_fields,
        view=request.view,
        notes=request.notes,
        facts=engine.facts,
        check=interrupt.check,
        partial=partial,
    )

    @functools.cache
    def snapshot(name: str) -> Snapshot:
        return lake.snapshot(readable(lake, name, check), timeout_s=interrupt.left_s(engine.limits.timeout_s))

    def granted(name: str) -> Snapshot:
        assert own is not None
        own(name)
        return lake.snapshot(name, timeout_s=interrupt.left_s(engine.limits.timeout_s))

    @functools.cache
    def names() -> tuple[str, ...]:
        return tuple(readable_names(lake, check))

    settled: dict[str, pa.Table] = {}

    def evaluate(compiler: Compiler, query: exp.Query) -> pa.Table:
        text = rendered(query)
        if text not in settled:
            with engine.session(interrupt) as session:
                make_known(compiler, session)
                settled[text] = session.table(query)
        return settled[text]

    def made() -> Compiler:
        return Compiler(asked, snapshot, names, evaluate, None if own is None else granted)

    return made


def sql_of(
    request: AplRequest,
    snapshot: Callable[[str], Snapshot],
    names: Callable[[], Sequence[str]] = lambda: (),
    granted: Callable[[str], Snapshot] | None = None,
) -> str:
    """Return the SQL that answers a query, which is not run; without its totals. Raise AplError."""
    return rendered(_not_run(request, snapshot, names, granted).query())


def datasets_of(
    request: AplRequest, snapshot: Callable[[str], Snapshot], names: Callable[[], Sequence[str]] = lambda: ()
) -> tuple[str, ...]:
    """Return the datasets that a query reads, which is not run. Raise AplError, and what `snapshot` raises."""
    found = _not_run(request, snapshot, names).compiler.datasets
    return tuple(dict.fromkeys(dataset.name for dataset in found))


def rows_of(
    lake: Lake,
    engine: Engine,
    request: AplRequest,
    *,
    check: Callable[[str], None],
    own: Callable[[str], None] | None = None,
    interrupt: Interrupt | None = None,
) -> pa.Table:
    """All rows of a query, as a source of another: its columns under their names, JSON as text that says so.

    Fields without columns are among them as long as they are not too many. Raises as `run_apl` does, and QueryFailed
    past the engine's limit of rows.
    """
    interrupt = interrupt or Interrupt()
    compiler = _compiler(lake, engine, request, check, own, interrupt)()
    relation = compiler.program(request.program or parse(request.apl, check=interrupt.check))
    columns = everything(compiler, relation)
    taken: set[str] = set()
    names = [distinct_name(column.name, taken) for column in columns]
    out = Emitter()
    source = out.table(relation.emit({column.id for column in columns}, out))
    cells: list[exp.Expr] = [reference(each) for each in dict.fromkeys(column.id for column in columns)]
    query = out.finished(exp.Select(expressions=cells or [nothing()], from_=exp.From(this=source)))
    with engine.session(interrupt) as session:
        make_known(compiler, session)
        table = session.table(query)
    kinds = [_arrow_field(name, column) for name, column in zip(names, columns, strict=True)]
    return pa.Table.from_arrays([table[column.id] for column in columns], schema=pa.schema(kinds))


def _not_run(
    request: AplRequest,
    snapshot: Callable[[str], Snapshot],
    names: Callable[[], Sequence[str]],
    granted: Callable[[str], Snapshot] | None = None,
) -> "_Compiled":
    asked = Asked(
        now_ns=request.now_ns or time.time_ns(), start_ns=request.start_ns, end_ns=request.end_ns, view=request.view
    )
    program = request.program or parse(request.apl)
    return _Compiled(Compiler(asked, snapshot, names, granted=granted), program, request)


def _totals(program: tree.Program, compiler: Callable[[], Compiler], request: AplRequest) -> "_Compiled | None":
    """Return the same groups over all time, where the query ends with a summarize by bins of time."""
    operators = list(program.query.operators)
    while operators and isinstance(operators[-1], (tree.Order, tree.Take, tree.Top)):
        operators.pop()
    if not operators or not isinstance(operators[-1], tree.Summarize):
        return None
    last = operators[-1]
    others = tuple(each for each in last.by if not _is_bin(each.value))
    if len(others) == len(last.by) or (not others and not last.values):
        return None
    operators[-1] = tree.Summarize(last.at, last.values, others)
    query = tree.Query(program.query.at, program.query.source, tuple(operators))
    try:
        return _Compiled(compiler(), msgspec.structs.replace(program, query=query), request)
    except AplError:
        return None  # what means something only by its bins, such as a rate without a range, has no total


def _is_bin(node: tree.Expression) -> bool:
    return isinstance(node, tree.Call) and node.name in ("bin", "bin_auto")


class _Compiled:
    """A query compiled, and what its answer says of it."""

    def __init__(self, compiler: Compiler, program: tree.Program, request: AplRequest) -> None:
        self.compiler = compiler
        self.request = request
        self.relation = compiler.program(program)
        self.columns = self.relation.listed()
        self.rest = self.relation.rest if self.relation.events else None
        self.matched: int | None = None
        self.limit = self._limit()
        relation = self.relation
        if request.default_order and not relation.settled:
            self.order = tuple(self._requested(request.default_order))
        else:
            self.order = relation.order
        after = decode(request.cursor) if request.cursor else None
        self.places: Places | None = None
        self.read: Read | None = None
        self.page = page_of(relation, self.order, self.limit, after=after, inclusive=request.include_cursor)
        if after is not None and self.page is None:
            raise AplError("a cursor leads through the events of one dataset in the order of _time, not through this")
        self.united = united_page_of(relation, self.order, self.limit) if self.page is None else None

    def _requested(self, order: Sequence[Order]) -> Iterator[Key]:
        for each in order:
            column = self.relation.find(each.field)
            if column is not None:
                yield Key(each.field, column.value, each.desc, not each.desc)

    def _limit(self) -> int:
        if self.relation.limited:
            return MAX_ROWS
        default = self.request.default_limit
        if self.relation.events:
            return min(default or DEFAULT_ROWS, MAX_ROWS)
        return min(default or MAX_ROWS, MAX_ROWS)

    @property
    def has_bins(self) -> bool:
        return any(column.id in self.compiler.bins for column in self.columns)

    # Running

    def query(self) -> exp.Query:
        """Return the SELECT of the columns to show, and of those that are only for us."""
        shown = dict.fromkeys(column.id for column in self.columns)
        hidden = [self.rest.id] if self.rest is not None else []
        if self.compiler.matched is not None and self.relation.has(self.compiler.matched):
            hidden.append(self.compiler.matched)
        out = Emitter()
        order = self.order if self.page is None else self.page.keys
        if self.page is not None:
            hidden += [identifier(key.value.sql) for key in order if identifier(key.value.sql) not in shown]
        keys = [key for key in order if self.relation.has(identifier(key.value.sql))]
        needed = {*shown, *hidden} | references([key.value.sql for key in keys])
        source = out.table(self.relation.emit(needed, out))
        cells: list[exp.Expr] = [reference(name) for name in (*shown, *hidden)]
        if not cells:
            cells = [exp.Alias(this=exp.Literal.number(1), alias=exp.to_identifier("c0"))]
        select = exp.Select(expressions=cells, from_=exp.From(this=source))
        if keys:
            select.set("order", exp.Order(expressions=[key.ordered() for key in keys]))
        select.set("limit", exp.Limit(expression=exp.Literal.number(self.limit)))
        if self.page is not None and self.page.cut is None:
            select.set("offset", exp.Offset(expression=exp.Literal.number(self.page.skipped)))
        return out.finished(select)

    def run(self, session: Session) -> AplTable:
        answer = self._answer(session)
        matched = self.compiler.matched
        if matched is not None and matched in answer.column_names and answer.num_rows:
            self.matched = answer[matched][0].as_py() or 0
        names: set[str] = set()
        fields: list[AplField] = []
        arrays: list[pa.ChunkedArray] = []
        for column in self.columns:
            values = answer[column.id]
            noted = self.compiler.aggregated.get(column.id)
            agg = Aggregate(noted.name, noted.fields, noted.args) if noted is not None else None
            fields.append(AplField(distinct_name(column.name, names), type_text(column, values), agg))
            arrays.append(values)
        kinds = [_arrow_field(field.name, column) for field, column in zip(fields, self.columns, strict=True)]
        if self.rest is not None:
            _add_rest(self.relation, answer[self.rest.id], names, fields, arrays, kinds, session.max_cells)
        if self.places is not None and self.request.include_cursor_field:
            fields.append(AplField(distinct_name(CURSOR, names), "string"))
            arrays.append(pa.chunked_array([pa.array(self.places.texts(), pa.string())]))
            kinds.append(pa.field(fields[-1].name, pa.string()))
        rows = pa.Table.from_arrays(arrays, schema=pa.schema(kinds))
        return AplTable(
            "0",
            tuple(fields),
            rows,
            sources=tuple(dict.fromkeys(dataset.name for dataset in self.compiler.datasets)),
            order=tuple(Order(key.name, key.descending) for key in self.order if key.name in names),
            groups=tuple(name for name in self.compiler.groups if name in names),
            range=self._range(),
            buckets=self._buckets(),
            aggregated=not self.relation.events,
        )

    def _answer(self, session: Session) -> pa.Table:
        page = self.page
        if self.united is not None:
            with self.united.narrowed(lambda query: self._asked(session, query)) as self.matched:
                return self._asked(session, self.query())
        if page is None:
            return self._asked(session, self.query())
        with page.narrowed(lambda query: self._asked(session, query)) as self.read:
            answer = self._asked(session, self.query())
        keys = [answer[identifier(key.value.sql)] for key in page.keys]
        self.places = Places(*keys, descending=page.descending, after=page.after, skipped=page.skipped)
        return answer

    def _asked(self, session: Session, query: exp.Query) -> pa.Table:
        make_known(self.compiler, session)
        return session.table(query)

    def _range(self) -> Range | None:
        compiler = self.compiler
        if not compiler.datasets:
            return None
        start, end = compiler.range_ns()
        sizes = [compiler.bins[column.id] for column in self.columns if column.id in compiler.bins]
        if sizes:
            size = sizes[0]
            start, end = start // size * size, -(-end // size) * size
        return Range(TIME, start, end)

    def _buckets(self) -> Buckets | None:
        for column in self.columns:
            if column.id in self.compiler.bins:
                return Buckets(column.name, self.compiler.bins[column.id])
        return None

    # Figures

    def status(self, session: Session, table: AplTable) -> AplStatus:
        page, read = self.page, self.read
        if page is None or read is None:
            return self._status(session, table)
        total: int | None = None
        if read.partly and self.compiler.filtered:
            self.compiler.warn(message_code(LOWER_BOUND), LOWER_BOUND, priority="info")
        elif read.partly and page.after is None:
            total = _rows_in_range(session, page.scan)
        with page.within(read):
            return self._status(session, table, total)

    def _status(self, session: Session, table: AplTable, total: int | None = None) -> AplStatus:
        """`total` is the number of rows of an unfiltered query of which only a part was read."""
        compiler = self.compiler
        examined = sum(_rows_in_range(session, dataset) for dataset in compiler.datasets)
        files = sum(len(dataset.snapshot.files) for dataset in compiler.datasets)
        read = sum(len(dataset.read_files) for dataset in compiler.datasets)
        hot = sum(len(dataset.snapshot.hot) for dataset in compiler.datasets)
        matched = self.matched
        if not compiler.filtered and matched is None:
            matched = examined if total is None else total
        elif matched is None:
            matched = self._matched_by_answer(table.rows.num_rows)
        if matched is None:
            matched = self._counted(session)
        times = [extent_us(dataset.snapshot) for dataset in compiler.datasets]
        if request_lacks_end(self.request, compiler):
            compiler.warn(message_code(IMPLICIT_END), IMPLICIT_END)
        messages = tuple(
            Message(remark.priority, remark.code, remark.text, count) for remark, count in compiler.remarks.values()
        )
        cursors = sorted(self._cursors())
        return AplStatus(
            1,
            examined,
            matched,
            blocks_examined=files + hot,
            blocks_matched=read + hot,
            blocks_skipped=files - read,
            num_groups=table.rows.num_rows if table.aggregated else 0,
            min_time_ns=min((low * 1000 for low, _ in times if low is not None), default=None),
            max_time_ns=max((high * 1000 for _, high in times if high is not None), default=None),
            min_cursor=cursors[0],
            max_cursor=cursors[-1],
            messages=messages,
            is_partial=bool(compiler.left_out),
        )

    def _cursors(self) -> Sequence[str]:
        """Of the first and the last row; the cursor that was given where there is no row, as the end of its pages."""
        if not self.places:
            return (self.request.cursor,)
        return (self.places.text(0), self.places.text(-1))

    def _matched_by_answer(self, rows: int) -> int | None:
        """Return the rows of what was read that the filters let through, where the answer or finding its page told."""
        page, read = self.page, self.read
        if page is None:
            return rows if rows < self.limit and self._is_uncut() else None
        if read is None or self.places is None:
            return None
        if read.rows is not None:
            return read.rows + (self.places.count_at(page.after.time_us) if page.after is not None else 0)
        return rows if rows < page.limit else None

    def _is_uncut(self) -> bool:
        """Whether the rows are all events that the filters let through, if the answer's own limit did not cut them."""
        below = self.relation
        while isinstance(below, Layer) and below.events and below.limit is None:
            below = below.parent
        return below.events and not isinstance(below, Layer)

    def _counted(self, session: Session) -> int:
        """Return the rows that the filters let through, before any limit."""
        relation = below = self.relation
        while isinstance(below, Layer):
            if below.limit is not None or not below.events:
                relation = below.parent
            below = below.parent
        out = Emitter()
        source = out.table(relation.emit(set(), out))
        total = exp.Alias(this=exp.Count(this=exp.Star()), alias=exp.to_identifier("n"))
        counted = session.table(out.finished(exp.Select(expressions=[total], from_=exp.From(this=source))))
        found: int = counted["n"][0].as_py()
        return found


def make_known(compiler: Compiler, session: Session) -> None:
    """Tell a session of the rows in memory that a query reads, once it is a tree."""
    for dataset in compiler.datasets:
        hot = dataset.hot_table()
        if hot is not None:
            session.register(dataset.hot_name, hot)
    for name, rows in compiler.inline.items():
        session.register(name, rows)


def request_lacks_end(request: AplRequest, compiler: Compiler) -> bool:
    return request.end_ns is None and any(not dataset.asked_end for dataset in compiler.datasets)


def _rows_in_range(session: Session, dataset: Dataset) -> int:
    """Rows inside the range, in what was read; files that lie in it whole are not opened for that."""
    whole = sum(file.rows for file in dataset.read_files if dataset.is_within(file))
    partly = [file for file in dataset.read_files if not dataset.is_within(file)]
    for part in dataset.snapshot.hot:
        whole += _count_between(part[TIME], dataset.start_us, dataset.end_us)
    if partly:
        whole += dataset.count_rows(session.table, partly)
    return whole


def _count_between(times: pa.ChunkedArray, start_us: int | None, end_us: int | None) -> int:
    values = times.cast(pa.int64())
    kept = pa.scalar(True)
    if start_us is not None:
        kept = pc.greater_equal(values, start_us)
    if end_us is not None:
        before = pc.less(values, end_us)
        kept = before if start_us is None else pc.and_(kept, before)
    elif start_us is None:
        return len(values)
    return int(pc.sum(kept).as_py() or 0)


# Types


_TEXTS = {
    Type.BOOL: "boolean", Type.LONG: "integer", Type.REAL: "float", Type.STRING: "string", Type.DATETIME: "datetime",
    Type.TIMESPAN: "timespan",
}  # fmt: skip
_STORED = {"number": "integer"}  # beyond 64 bits
_JSON_STARTS = {"[": "array", "{": "map", '"': "string", "t": "boolean", "f": "boolean"}


def type_text(column: Column, values: pa.ChunkedArray) -> str:
    """Return the type that answers show: of a dynamic what its values are."""
    kind = column.value.type
    if kind in _TEXTS:
        return _TEXTS[kind]
    if column.types:
        return "|".join(sorted({_STORED.get(each, each) for each in column.types}))
    return json_types(values.to_pylist())


def json_types(texts: Iterable[str | None]) -> str:
    """Return what a list of JSON texts holds, such as `integer|string`; `unknown` where there is nothing."""
    found = set()
    for text in texts:
        if text is None or text == "null":
            continue
        kind = _JSON_STARTS.get(text.lstrip()[:1])
        found.add(kind or ("float" if set(text) & set(".eEnN") else "integer"))
    return "|".join(sorted(found)) or "unknown"


def _arrow_field(name: str, column: Column) -> pa.Field:
    kind = column.value.type
    return pa.field(name, _ARROW.get(kind, pa.string()), metadata=JSON_FIELD if kind not in _ARROW else None)


_ARROW = {
    Type.BOOL: pa.bool_(), Type.LONG: pa.int64(), Type.REAL: pa.float64(), Type.STRING: pa.string(),
    Type.DATETIME: pa.timestamp("us", "UTC"), Type.TIMESPAN: pa.int64(),
}  # fmt: skip


def _add_rest(
    relation: Relation,
    rests: pa.ChunkedArray,
    names: set[str],
    fields: list[AplField],
    arrays: list[pa.ChunkedArray],
    kinds: list[pa.Field],
    max_cells: int,
) -> None:
    """Fields without columns that these rows have, each in its place by name.

    Raise QueryFailed where the answer would have more than `max_cells` values: a row each of names of its own make
    a table whose size is the square of theirs.
    """
    found: dict[str, dict[int, str]] = {}  # by path, and by row
    count = len(rests)
    for row, text in enumerate(rests.to_pylist()):
        for path, value in _leaves(text) if text else ():
            cells = found.get(path)
            if cells is None:
                if path in names or relation.hides(path):
                    continue
                cells = found[path] = {}
                if (len(fields) + len(found)) * count > max_cells:
                    raise QueryFailed(
                        f"the answer has more values (fields by rows) than query_max_cells = {max_cells}; "
                        "project the fields that you need, or take fewer rows"
                    )
            cells[row] = value
    old = list(zip(fields, arrays, kinds, strict=True))
    merged: list[tuple[AplField, pa.ChunkedArray, pa.Field]] = []
    placed = 0
    for path in sorted(found, key=str.encode):
        while placed < len(old) and (relation.reordered or old[placed][0].name.encode() <= path.encode()):
            merged.append(old[placed])
            placed += 1
        merged.append(_rest_column(path, found[path], count))
        names.add(path)
    merged += old[placed:]
    for whole, part in zip((fields, arrays, kinds), zip(*merged, strict=True), strict=True):
        whole[:] = part


def _rest_column(path: str, cells: dict[int, str], count: int) -> tuple[AplField, pa.ChunkedArray, pa.Field]:
    """Return a field of `count` rows, of which these have a value."""
    kind = json_types(cells.values())
    field = pa.field(path, pa.string(), metadata=None if kind == "string" else JSON_FIELD)
    texts: list[str | None] = [None] * count
    for row, text in cells.items():
        texts[row] = msgspec.json.decode(text, type=str) if kind == "string" else text
    return AplField(path, kind), pa.chunked_array([pa.array(texts, pa.string())]), field


def _leaves(text: str | msgspec.Raw, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths of a JSON object and the JSON text of each value, whose numbers keep all their digits."""
    for key, raw in _MEMBERS.decode(text).items():
        value = bytes(raw)
        path = f"{prefix}{key}"
        if value.startswith(b"{") and value != b"{}":
            yield from _leaves(raw, f"{path}.")
        elif value != b"null":
            yield path, value.decode()


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
