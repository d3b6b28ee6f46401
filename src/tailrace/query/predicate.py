"""One APL condition over events that are not in a table yet, as a live tail has them."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.lake.snapshot import FieldsView, HotTable, Snapshot
from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse_expression
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.relation import Emitter, reference
from tailrace.query.compile.request import CompileRequest
from tailrace.query.engines.engine import Engine, rendered
from tailrace.query.functions import ReferenceData
from tailrace.query.values import MAX_DATETIME_US, MIN_DATETIME_US

COLUMNS = ("_time", "_sysTime", "_rest")
_LATER_NS = 3_600_000_000_000
_ANY_FIELD = FieldsView(rest_overflow=True)  # every field of an event may be in its `_rest`, and is
_TIMESTAMP = pa.timestamp("us", "UTC")
_NOW = pa.array([datetime(2000, 1, 1, tzinfo=UTC)], _TIMESTAMP)
_SAMPLE = HotTable(
    pa.table({"_time": _NOW, "_sysTime": _NOW, "_rest": pa.array(["{}"], pa.string())}),
    MIN_DATETIME_US,
    MAX_DATETIME_US,
    frozenset(COLUMNS),
)
"""It stands for rows of any time."""


class Predicate:
    """A condition in APL, compiled once: again only where it asks for `now()`, which is when it is asked.

    Virtual fields (name and expression, by dataset) are those of the moment it was made. Thread-safe. Raises AplError.
    """

    def __init__(
        self,
        dataset: str,
        text: str,
        virtual_fields: Mapping[str, Sequence[tuple[str, str]]],
        reference_data: ReferenceData,
    ) -> None:
        self._dataset = dataset
        self._text = text
        self._virtual_fields = virtual_fields
        self._reference_data = reference_data
        try:
            self._tree = parse_expression(text)
            now_ns = time.time_ns()
            self._hot_name, self._sql = self._compiled(now_ns)
            self._asks_for_now = self._compiled(now_ns + _LATER_NS)[1] != self._sql
        except AplError as error:
            raise error.located(text) from error
        except RecursionError as error:
            raise AplError("the condition is nested too deeply", kind="limit") from error

    def matching(self, engine: Engine, rows: pa.Table) -> pa.Table:
        """Return the rows that it holds for, in their order; `rows` has COLUMNS, the event whole as JSON text in
        `_rest`.

        Raise QueryFailed at a limit of the engine.
        """
        sql = self._compiled(time.time_ns())[1] if self._asks_for_now else self._sql
        with engine.session() as session:
            session.register(self._hot_name, rows)
            return session.table(sql).rename_columns(list(COLUMNS))

    def _compiled(self, now_ns: int) -> tuple[str, str]:
        """Return the name by which the rows must be known, and the SQL."""
        compile_request = CompileRequest(
            now_ns=now_ns,
            end_ns=(MAX_DATETIME_US + 1) * 1000,
            virtual_fields=self._virtual_fields,
            reference_data=self._reference_data,
        )
        snapshot = Snapshot(self._dataset, (), (_SAMPLE,), _ANY_FIELD)
        at = self._tree.at
        source = tree.Table(at, tree.Pattern(at, (self._dataset,)))
        compiler = ProgramCompiler(compile_request, lambda name: snapshot, lambda: [self._dataset])
        relation = compiler.query(tree.Query(at, source, (tree.Where(at, self._tree),)))
        scan = relation.scan
        if not isinstance(scan, Dataset) or len(compiler.datasets) > 1 or compiler.inline:
            raise AplError("the condition of a tail looks at the event alone: it has no sub-query", at, kind="type")
        rest = scan.rest
        assert rest is not None  # the sample has one
        names = [scan.event_time.id, scan.system_time.id, rest.id]
        out = Emitter()
        rows = out.table(relation.emit(set(names), out))
        cells: list[exp.Expr] = [reference(name) for name in names]
        query = out.finished(exp.Select(expressions=cells, from_=exp.From(this=rows)))
        return scan.hot_name, rendered(query.sql)
