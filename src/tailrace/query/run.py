"""Running an APL query: parse, compile, execute; or compile it only."""

import time
from collections.abc import Callable, Sequence

import msgspec
import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.lake.snapshot import Snapshot, SnapshotSource
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse
from tailrace.query.apl_request import MAX_BIN_AUTO_GROUPS, AplRequest
from tailrace.query.apl_result import AplResult
from tailrace.query.column_types import arrow_field
from tailrace.query.compile.columns import distinct_name, everything
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.relation import Emitter, RenderedQuery, nothing, reference
from tailrace.query.compile.request import CompileRequest
from tailrace.query.compiled import CompiledQuery
from tailrace.query.datasets import Check, ReadableDatasets
from tailrace.query.engines.cached_session import cached_session
from tailrace.query.engines.engine import Engine, rendered
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.spread.ask import Ask
from tailrace.query.spread.running import register_rows
from tailrace.query.statistics import status_of


def run_apl(
    source: SnapshotSource,
    engine: Engine,
    request: AplRequest,
    *,
    check: Check,
    check_organisation: Check | None = None,
    interrupt: Interrupt | None = None,
) -> AplResult:
    """Run one APL query over all events that were acknowledged before.

    `check(dataset)` is called for each dataset that the query names; it raises Forbidden where the grant may not read
    it, DatasetNotFound where it is another organisation's. Patterns (`union logs*`) skip such datasets, and, with a
    message, those that cannot be used.

    `check_organisation(dataset)` takes its place for the datasets that a view was defined to read, for which the reader
    of the view needs no right; it raises only for a dataset of another organisation. Without it, a view reads what
    `check` allows.

    Raise AplError (400, with line and column), QueryFailed (a limit, which it names), DatasetNotFound,
    DatasetUnavailable, Forbidden, Overloaded.
    """
    started = time.perf_counter_ns()
    interrupt = interrupt or Interrupt()
    new_compiler = _compiler_factory(
        source, engine, request, check, check_organisation, interrupt, skip_unavailable=True
    )
    try:
        interrupt.check()
        program = request.program or parse(request.apl, check=interrupt.check)
        compiled = CompiledQuery(new_compiler(), program, request)
        totals = _totals(program, new_compiler, request) if request.totals else None
        with cached_session(engine, interrupt, request.answers_of) as session:
            ask = Ask(compiled.compiler, session, interrupt, engine.spreader)
            tables = [compiled.run(ask)]
            if totals is not None and compiled.has_bins:
                beside = Ask(totals.compiler, session, interrupt, engine.spreader)
                tables.append(msgspec.structs.replace(totals.run(beside), name="_totals"))
            status = status_of(compiled, ask, tables[0])
            status = msgspec.structs.replace(status, is_cached=session.is_cached)
    except AplError as error:
        raise error.located(request.apl) from error
    except RecursionError as error:
        raise AplError("the query is nested too deeply", kind="limit") from error
    elapsed_us = max((time.perf_counter_ns() - started) // 1000, 1)
    return AplResult(tuple(tables), msgspec.structs.replace(status, elapsed_us=elapsed_us), compiled.datasets)


def _compiler_factory(
    source: SnapshotSource,
    engine: Engine,
    request: AplRequest,
    check: Check,
    check_organisation: Check | None,
    interrupt: Interrupt,
    *,
    skip_unavailable: bool = False,
) -> Callable[[], ProgramCompiler]:
    """Return a function that makes compilers for a request, which share snapshots and evaluated constants.

    With `skip_unavailable` a pattern skips, with a message, the datasets that cannot be used.
    """
    now_ns = time.time_ns() if request.now_ns is None else request.now_ns
    compile_request = CompileRequest(
        now_ns=now_ns,
        start_ns=request.start_ns,
        end_ns=request.end_ns,
        max_bin_auto_groups=max(1, min(request.max_bin_auto_groups, MAX_BIN_AUTO_GROUPS)),
        variables=request.variables,
        virtual_fields=request.virtual_fields,
        map_fields=request.map_fields,
        view=request.view,
        notes=request.notes,
        reference_data=engine.reference_data,
        row_groups=engine.row_groups,
        check=interrupt.check,
        skip_unavailable=skip_unavailable,
    )

    datasets = ReadableDatasets(
        source,
        check,
        timeout_s=lambda: interrupt.left_s(engine.limits.timeout_s),
        check_organisation=check_organisation,
        go_on=interrupt.check,
    )
    results: dict[str, pa.Table] = {}

    def evaluate(compiler: Compiler, query: RenderedQuery) -> pa.Table:
        text = rendered(query.sql)
        if text not in results:
            with cached_session(engine, interrupt, request.answers_of) as session:
                register_rows(compiler, query, session)
                results[text] = session.table(query.sql)
        return results[text]

    def new_compiler() -> ProgramCompiler:
        return ProgramCompiler(compile_request, datasets.snapshot, datasets.names, evaluate, datasets.view_snapshot)

    return new_compiler


def sql_of(
    request: AplRequest,
    snapshot: Callable[[str], Snapshot],
    names: Callable[[], Sequence[str]] = lambda: (),
    view_snapshot: Callable[[str], Snapshot] | None = None,
) -> str:
    """Return the SQL of a query without its totals, and without running it. Raise AplError."""
    return rendered(_compiled_only(request, snapshot, names, view_snapshot).select().sql)


def datasets_of(
    request: AplRequest, snapshot: Callable[[str], Snapshot], names: Callable[[], Sequence[str]] = lambda: ()
) -> tuple[str, ...]:
    """Return the datasets that a query reads, without running it. Raise AplError, and what `snapshot` raises."""
    return _compiled_only(request, snapshot, names).datasets


def rows_of(
    source: SnapshotSource,
    engine: Engine,
    request: AplRequest,
    *,
    check: Check,
    check_organisation: Check | None = None,
    interrupt: Interrupt | None = None,
) -> pa.Table:
    """Return all rows of a query, as a source of another one: its columns by name, JSON as marked text.

    Fields without columns are included unless they are too many. Raise as `run_apl` does, and QueryFailed past the
    engine's limit of rows.
    """
    interrupt = interrupt or Interrupt()
    compiler = _compiler_factory(source, engine, request, check, check_organisation, interrupt)()
    relation = compiler.program(request.program or parse(request.apl, check=interrupt.check))
    columns = everything(compiler, relation)
    taken: set[str] = set()
    names = [distinct_name(column.name, taken) for column in columns]
    out = Emitter()
    rows = out.table(relation.emit({column.id for column in columns}, out))
    cells: list[exp.Expr] = [reference(name) for name in dict.fromkeys(column.id for column in columns)]
    query = out.finished(exp.Select(expressions=cells or [nothing()], from_=exp.From(this=rows)))
    with engine.session(interrupt) as session:
        register_rows(compiler, query, session)
        table = session.table(query.sql)
    kinds = [arrow_field(name, column) for name, column in zip(names, columns, strict=True)]
    return pa.Table.from_arrays([table[column.id] for column in columns], schema=pa.schema(kinds))


def _compiled_only(
    request: AplRequest,
    snapshot: Callable[[str], Snapshot],
    names: Callable[[], Sequence[str]],
    view_snapshot: Callable[[str], Snapshot] | None = None,
) -> CompiledQuery:
    compile_request = CompileRequest(
        now_ns=request.now_ns or time.time_ns(), start_ns=request.start_ns, end_ns=request.end_ns, view=request.view
    )
    program = request.program or parse(request.apl)
    compiler = ProgramCompiler(compile_request, snapshot, names, view_snapshot=view_snapshot)
    return CompiledQuery(compiler, program, request)


def _totals(
    program: tree.Program, new_compiler: Callable[[], ProgramCompiler], request: AplRequest
) -> CompiledQuery | None:
    """Return the query of the totals: the same groups without bins of time; None where it has no such bins."""
    operators = list(program.query.operators)
    while operators and isinstance(operators[-1], (tree.Order, tree.Take, tree.Top)):
        operators.pop()
    if not operators or not isinstance(operators[-1], tree.Summarize):
        return None
    last = operators[-1]
    others = tuple(group for group in last.by if not _is_bin(group.value))
    if len(others) == len(last.by) or (not others and not last.values):
        return None
    operators[-1] = tree.Summarize(last.at, last.values, others)
    query = tree.Query(program.query.at, program.query.source, tuple(operators))
    try:
        return CompiledQuery(new_compiler(), msgspec.structs.replace(program, query=query), request)
    except AplError:
        return None  # an aggregation that needs the bins, such as a rate without a range, has no total


def _is_bin(node: tree.Expression) -> bool:
    return isinstance(node, tree.Call) and node.name in ("bin", "bin_auto")
