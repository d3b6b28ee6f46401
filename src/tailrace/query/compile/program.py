"""Compiles a parsed program to a relation: resolves `let` names, sources, datasets and views."""

import functools
from collections.abc import Callable, Sequence

from tailrace.events import DatasetNotFound, DatasetUnavailable, Forbidden
from tailrace.lake.snapshot import Snapshot
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse, parse_expression
from tailrace.query.compile import operators
from tailrace.query.compile.compiler import US, Compiler, Evaluate
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.expression_size import is_larger
from tailrace.query.compile.expressions import Expressions
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.relation import Columns, Empty, Relation
from tailrace.query.compile.request import CompileRequest, ViewSource
from tailrace.query.compile.scan import Scan
from tailrace.query.compile.scope import Lets, Scope, TabularLet
from tailrace.query.compile.union import united
from tailrace.query.functions import Context, call
from tailrace.query.values import NULL, STRING, TYPE_NAMES, Type, Value, as_text, literal, null
from tailrace.query.wildcards import wildcard

MAX_OPERATORS = 250  # in one pipe
MAX_DATASETS_READ = 500  # in all of a query
MAX_LET_NODES = 5_000
UNAVAILABLE = "dataset unavailable"


class ProgramCompiler(Compiler):
    """Compiles one program.

    `snapshot(name)` and `names()` are the datasets that may be read; `evaluate` asks the engine for what has one value
    before any row is read, without it only literals are known. `view_snapshot(name)` is a dataset that a view shows to
    who may read the view; without it a view shows what `snapshot` lets be read.
    """

    def __init__(
        self,
        request: CompileRequest,
        snapshot: Callable[[str], Snapshot],
        names: Callable[[], Sequence[str]],
        evaluate: Evaluate | None = None,
        view_snapshot: Callable[[str], Snapshot] | None = None,
    ) -> None:
        lets = {name: literal(value) for name, value in request.variables.items()}
        super().__init__(request, Scope(functools.cache(snapshot), names, request.variables, lets), evaluate)
        self._view_snapshot = view_snapshot
        self._tables_opened: list[str] = []

    def program(self, program: tree.Program) -> Relation:
        """Raise AplError, DatasetNotFound, DatasetUnavailable, Forbidden."""
        compiler = self.scoped(is_strict=program.is_strict)
        for let in program.lets:
            compiler = compiler.scoped(lets=compiler._lets_with(let), declared=compiler.scope.declared | {let.name})
        return compiler.query(program.query)

    # Names

    def _lets_with(self, let: tree.Let) -> Lets:
        """Return the names after a `let`. Raise AplError."""
        scope = self.scope
        if let.name in scope.declared:
            raise AplError(f"{let.name!r} is declared twice", let.at, kind="name")
        given = let.name in scope.variables
        if let.type is not None:
            return {**scope.lets, let.name: self._parameter(let, TYPE_NAMES[let.type], given=given)}
        if given:
            return scope.lets  # the request's value takes the place of the query's own
        assert let.value is not None
        return {**scope.lets, let.name: self._let_value(let, let.value)}

    def _let_value(self, let: tree.Let, value: tree.Expression | tree.Query) -> Value | tree.Expression | TabularLet:
        """Return what the name of a `let` means from then on."""
        lets = self.scope.lets
        if isinstance(value, tree.Query):
            return TabularLet(value, lets)
        if isinstance(value, tree.Name):
            known = lets.get(value.name)
            if known is None or isinstance(known, TabularLet):  # a dataset, or another table
                return TabularLet(_table_query(value), lets)
        empty, read = Empty(), len(self.datasets)
        expressions = Expressions(self, empty)
        compiled = expressions.value(value)
        if is_larger(compiled.sql, MAX_LET_NODES):
            raise AplError(f"{let.name!r} stands for too long an expression", let.at, kind="limit")
        if expressions.relation is empty:
            return compiled
        del self.datasets[read:]  # of a sub-query, which is compiled where it is used
        return value

    def _parameter(self, let: tree.Let, kind: Type, *, given: bool) -> Value:
        """Return the value of a parameter: the request's, as the type that the query declares, or else the default."""
        if given:
            given_value = literal(self.scope.variables[let.name])
        elif let.value is None or isinstance(let.value, tree.Query):
            raise AplError(f"the request gives no value for {let.name!r}, which has no default", let.at)
        else:
            given_value = Expressions(self, Empty()).constant(let.value, f"the default of {let.name!r}")
        if given_value.type is NULL:
            return null(kind)
        value = self.settled(_converted(given_value, kind, self.context(Columns(Empty()))), Empty())
        if value.constant is None and given_value.constant is not None:
            raise AplError(
                f"{let.name!r} is a {kind.value}, which {given_value.constant!r} is not", let.at, kind="type"
            )
        return value

    # Tables

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

    def source(self, source: tree.Source) -> Relation:
        source = self.resolved(source)
        if isinstance(source, tree.Query):
            return self.query(source)
        if isinstance(source, tree.Table):
            members = self.tables(source.pattern)
            return members[0][1] if len(members) == 1 else united(self, members, None)
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
        fitting = [name for name in self.scope.datasets() if matches(pattern, name)]
        if not fitting:
            raise AplError(f"no dataset fits {pattern.text!r}", pattern.at, kind="name")
        members: list[tuple[str, Relation]] = []
        for name in fitting:
            try:
                members.append((name, self.dataset(name, pattern.at)))
            except DatasetUnavailable as error:
                if not self.request.skip_unavailable:
                    raise
                text = f"the answer is without {name!r}, which {pattern.text!r} fits: {error.message}"
                self.notes.left_out.append(error)
                self.warn(message_code(UNAVAILABLE), text)
        if not members:
            raise self.notes.left_out[-1]
        return members

    def table(self, name: str, at: int) -> Relation:
        """Return the rows of a tabular `let`, a dataset or a view, looked up in this order."""
        bound = self.scope.lets.get(name)
        if isinstance(bound, TabularLet):
            self._count_table(name, at)
            return self.scoped(lets=bound.lets).query(bound.query)
        if bound is not None:
            raise AplError(f"{name!r} is a value, not a table", at, kind="type")
        try:
            return self.dataset(name, at)
        except (DatasetNotFound, Forbidden):
            view = self.request.view(name)
            if view is None:
                raise
        return self._view(name, view, at)

    def _view(self, name: str, view: ViewSource, at: int) -> Relation:
        """Return the rows of a view, whose text sees nothing of the query around it. Raise AplError at the view's
        name.
        """
        if self.scope.in_virtual:
            raise AplError(tree.VIRTUAL_ALONE, at)
        if self.scope.in_view:
            raise AplError(f"a view reads datasets, not another view such as {name!r}", at, kind="name")
        self._count_table(name, at)
        compiler = self.scoped(lets={}, declared=frozenset(), variables={}, in_view=True)
        if view.reads is not None and self._view_snapshot is not None:
            reads = view.reads
            compiler = compiler.scoped(
                snapshot=self._view_snapshot_reader(reads, self._view_snapshot), datasets=lambda: reads
            )
        try:
            return compiler.program(parse(view.apl))
        except AplError as error:
            raise AplError(f"view {name!r}: {error.located(view.apl).message}", at, kind=error.kind) from error

    def _view_snapshot_reader(
        self, reads: Sequence[str], view_snapshot: Callable[[str], Snapshot]
    ) -> Callable[[str], Snapshot]:
        """Return the look-up of datasets in a view: those of `reads` without a check of the reader's rights.

        All others are looked up as outside of the view.
        """
        by_folded_name = {name.casefold(): name for name in reads}
        readable_snapshot = self.scope.snapshot

        @functools.cache
        def snapshot(name: str) -> Snapshot:
            dataset = name if name in reads else by_folded_name.get(name.casefold())
            return readable_snapshot(name) if dataset is None else view_snapshot(dataset)

        return snapshot

    def _count_table(self, name: str, at: int) -> None:
        self._tables_opened.append(name)
        if len(self._tables_opened) > MAX_DATASETS_READ:
            raise AplError(f"the query reads more than {MAX_DATASETS_READ} tables, the limit", at, kind="limit")

    def dataset(self, name: str, at: int) -> Dataset:
        """Return the rows of a dataset within the range of the request."""
        if self.scope.in_virtual:
            # It would read what whoever queries may read, and be computed beside the rows that it is a field of.
            raise AplError(tree.VIRTUAL_ALONE, at)
        self._count_table(name, at)
        snapshot, request = self.scope.snapshot(name), self.request
        dataset = Dataset(
            snapshot,
            self.ids,
            hot_name=f"hot_{len(self.datasets)}",
            # Events have whole microseconds: the first at or after a time is at that time rounded up.
            scan=Scan(
                None if request.start_ns is None else -(-request.start_ns // US),
                (request.now_ns // US) + 1 if request.end_ns is None else -(-request.end_ns // US),
                has_explicit_end=request.end_ns is not None,
            ),
            virtual=request.virtual_fields.get(snapshot.dataset, ()),
            compile_virtual=self._virtual,
            maps=request.map_fields.get(snapshot.dataset, ()),
            row_groups=request.row_groups,
        )
        self.datasets.append(dataset)
        return dataset

    def _virtual(self, dataset: Dataset, text: str) -> Value:
        """Return the value of a virtual field, null with a remark where its expression is invalid."""
        try:
            expressions = Expressions(self.scoped(in_virtual=True), dataset)
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


def _converted(value: Value, kind: Type, context: Context) -> Value:
    """Return a literal as another type."""
    if value.type is kind:
        return value
    if kind is STRING:
        return as_text(value)
    return call(f"to{kind.value}", [value], context)


def _table_query(name: tree.Name) -> tree.Query:
    return tree.Query(name.at, tree.Table(name.at, tree.Pattern(name.at, (name.name,))))


def matches(pattern: tree.Pattern, name: str) -> bool:
    """Whether a pattern matches a name."""
    return wildcard(pattern.parts).fullmatch(name) is not None
