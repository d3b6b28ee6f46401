"""Deleting by APL: which rows of each file of a dataset a query lets through."""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.events import Conflict
from tailrace.lake.snapshot import DataFile, FieldsView, RowNumbers, Snapshot, SnapshotSource
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse
from tailrace.query.apl_request import AplRequest
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.relation import Emitter, Reading, Relation, reference
from tailrace.query.compile.request import CompileRequest
from tailrace.query.datasets import Check, ReadableDatasets
from tailrace.query.engines.engine import Engine
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.sources import ROW_NUMBER, has_row_numbers
from tailrace.query.spread.running import register_rows

CONDITIONS = (tree.Where, tree.Search)
ROW_BY_ROW = (*CONDITIONS, tree.Extend, tree.Parse, tree.ParseKv)


class RowsMatched:
    """The rows of a dataset's files that a query matches: a filter for the lake's deletion.

    The query is a dataset's name and operators that take row by row, one of them a condition. Conditions may have
    sub-queries; `check(dataset)` raises Forbidden for those that may not be read. `now()` is the moment this was made.
    Raises AplError where the query is another.
    """

    def __init__(
        self,
        source: SnapshotSource,
        engine: Engine,
        request: AplRequest,
        *,
        check: Check,
        interrupt: Interrupt,
    ) -> None:
        self._source = source
        self._engine = engine
        self._request = request
        self._check = check
        self._interrupt = interrupt
        self._now_ns = time.time_ns() if request.now_ns is None else request.now_ns
        with _located(request.apl):
            self._program = request.program or parse(request.apl)
            self.dataset = _dataset_of(self._program)

    def compiled(self) -> tuple[Compiler, Relation, Dataset]:
        """Return the query over the dataset as it is now. Raise what compiling raises."""
        request = self._request
        timeout_s = self._engine.limits.timeout_s
        others = ReadableDatasets(self._source, self._check, timeout_s=lambda: timeout_s, go_on=self._interrupt.check)

        def snapshot(name: str) -> Snapshot:
            return self._source.snapshot(name, timeout_s=timeout_s) if name == self.dataset else others.snapshot(name)

        compile_request = CompileRequest(
            now_ns=self._now_ns,
            start_ns=request.start_ns,
            end_ns=request.end_ns,
            variables=request.variables,
            virtual_fields=request.virtual_fields,
            map_fields=request.map_fields,
            reference_data=self._engine.reference_data,
        )
        with _located(request.apl):
            compiler = ProgramCompiler(compile_request, snapshot, others.names)
            relation = compiler.program(self._program)
        scan = relation.scan
        if not isinstance(scan, Dataset):
            raise AplError("the rows to delete are not those of a dataset", kind="type")
        if any(dataset is not scan and dataset.name == self.dataset for dataset in compiler.datasets):
            self._check(self.dataset)  # it is read, too
        if scan.snapshot.primary_key:
            raise Conflict(
                f"dataset {self.dataset!r} holds the current state of each {scan.snapshot.primary_key}, which every "
                "event for it builds on; events cannot be deleted from it one by one"
            )
        return compiler, relation, scan

    def __call__(self, file: DataFile, view: FieldsView) -> RowNumbers:
        """Return the numbers of the rows of one file, in no order. Raise QueryFailed at a limit of queries."""
        compiler, relation, scan = self._over_files
        if not scan.scanned.may_have(file):
            return np.empty(0, np.int64)
        if not has_row_numbers(file):
            raise Conflict(f"dataset {self.dataset!r} has a field {ROW_NUMBER}, and then rows cannot be told by number")
        number = scan.row_number.id
        out = Emitter(Reading({scan.hot_name: replace(scan.scanned, files=(file,), hot=False)}))
        source = out.table(relation.emit({number}, out))
        query = out.finished(exp.Select(expressions=[reference(number)], from_=exp.From(this=source)))
        with self._engine.session(self._interrupt) as session:
            register_rows(compiler, query, session)
            return session.integers(query.sql)

    @functools.cached_property
    def _over_files(self) -> tuple[Compiler, Relation, Dataset]:
        # At the first file, when every event accepted before is in one, and all their columns are known.
        return self.compiled()


def _dataset_of(program: tree.Program) -> str:
    query = program.query
    source = query.source
    if not isinstance(source, tree.Table) or not source.pattern.is_name:
        raise AplError("a deletion starts with the name of one dataset", query.at, kind="type")
    name = source.pattern.text
    if any(let.name == name for let in program.lets):
        raise AplError(f"a deletion starts with the name of a dataset, {name!r} is a let", source.at, kind="type")
    for operator in query.operators:
        if not isinstance(operator, ROW_BY_ROW):
            raise AplError(
                "a deletion takes the operators where, search, extend, parse and parse-kv only",
                operator.at,
                kind="type",
            )
    if not any(isinstance(operator, CONDITIONS) for operator in query.operators):
        raise AplError("a deletion has a where; `| where true` deletes every event of the range", query.at, kind="type")
    return name


@contextmanager
def _located(text: str) -> Iterator[None]:
    """Give an AplError of the block its line and column."""
    try:
        yield
    except AplError as error:
        raise error.located(text) from error
    except RecursionError as error:
        raise AplError("the query is nested too deeply", kind="limit") from error
