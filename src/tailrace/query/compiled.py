"""A query compiled: its SELECT, the page of rows that it reads, and the table that it answers."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl_request import AplRequest, FieldOrder
from tailrace.query.apl_result import CURSOR, DEFAULT_ROWS, MAX_ROWS, Aggregate, AplField, AplTable, BinSize, TimeRange
from tailrace.query.column_types import arrow_field, type_text
from tailrace.query.compile.columns import distinct_name
from tailrace.query.compile.dataset import TIME
from tailrace.query.compile.metadata_answer import answer_from_metadata
from tailrace.query.compile.program import ProgramCompiler
from tailrace.query.compile.relation import (
    Emitter,
    Key,
    Reading,
    RenderedQuery,
    RowLimit,
    identifier,
    reference,
    references,
)
from tailrace.query.cursors import RowCursors, decode
from tailrace.query.pages import Page, ReadRange, page_of, united_page_of
from tailrace.query.rest_columns import add_rest_columns
from tailrace.query.spread.ask import Ask


class CompiledQuery:
    """A query over the datasets as a compiler sees them, and once it was run what its answer says of them."""

    def __init__(self, compiler: ProgramCompiler, program: tree.Program, request: AplRequest) -> None:
        self.compiler = compiler
        self.request = request
        self.relation = compiler.program(program)
        self.columns = self.relation.listed()
        self.rest = self.relation.rest if self.relation.events else None
        self.limit = self._limit()
        self.order = self._order()
        self.matched: int | None = None  # rows that the filters let through, where the answer told
        self.row_cursors: RowCursors | None = None
        self.read_range: ReadRange | None = None
        after = decode(request.cursor) if request.cursor else None
        self.page = page_of(self.relation, self.order, self.limit, after=after, inclusive=request.include_cursor)
        if after is not None and self.page is None:
            raise AplError("a cursor leads through the events of one dataset in the order of _time, not through this")
        self.united = united_page_of(self.relation, self.order, self.limit) if self.page is None else None

    def _limit(self) -> int:
        most = min(self.request.most_rows or MAX_ROWS, MAX_ROWS)
        if self.relation.limited:
            return most
        return min(self.request.default_limit or (DEFAULT_ROWS if self.relation.events else MAX_ROWS), most)

    def _order(self) -> tuple[Key, ...]:
        default = self.request.default_order
        if not default or self.relation.settled:
            return self.relation.order
        return tuple(self._keys_of(default))

    def _keys_of(self, order: Sequence[FieldOrder]) -> Iterator[Key]:
        for key in order:
            column = self.relation.find(key.field)
            if column is not None:
                yield Key(key.field, column.value, key.desc, not key.desc)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that the query reads."""
        return tuple(dict.fromkeys(dataset.name for dataset in self.compiler.datasets))

    @property
    def has_bins(self) -> bool:
        """Whether bins of time are among the groups."""
        return any(column.id in self.compiler.notes.bins for column in self.columns)

    def select(self, reading: Reading | None = None) -> RenderedQuery:
        """Return the SELECT of the columns to show, and of those that are only for us."""
        shown = dict.fromkeys(column.id for column in self.columns)
        hidden = self._hidden()
        out = Emitter(reading or Reading())
        order = self.order if self.page is None else self._page_keys(self.page)
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
        if self.page is not None and self.page.limit_layer is None:
            select.set("offset", exp.Offset(expression=exp.Literal.number(self.page.skipped)))
        return out.finished(select)

    def _hidden(self) -> list[str]:
        """Return the identifiers of columns that are for us alone."""
        hidden = [self.rest.id] if self.rest is not None else []
        if self.compiler.notes.matched is not None and self.relation.has(self.compiler.notes.matched):
            hidden.append(self.compiler.notes.matched)
        return hidden

    def _page_keys(self, page: Page) -> tuple[Key, ...]:
        return page.keys if self.read_range is None else self.read_range.keys

    def run(self, ask: Ask) -> AplTable:
        """Return the answer as a table."""
        answer = self._answer(ask)
        matched = self.compiler.notes.matched
        if matched is not None and matched in answer.column_names and answer.num_rows:
            self.matched = answer[matched][0].as_py() or 0
        names: set[str] = set()
        fields: list[AplField] = []
        arrays: list[pa.ChunkedArray] = []
        for column in self.columns:
            values = answer[column.id]
            noted = self.compiler.notes.aggregated.get(column.id)
            agg = Aggregate(noted.name, noted.fields, noted.args) if noted is not None else None
            fields.append(AplField(distinct_name(column.name, names), type_text(column, values), agg))
            arrays.append(values)
        kinds = [arrow_field(field.name, column) for field, column in zip(fields, self.columns, strict=True)]
        if self.rest is not None:
            add_rest_columns(self.relation, answer[self.rest.id], names, fields, arrays, kinds, ask.max_cells)
        if self.row_cursors is not None and self.request.include_cursor_field:
            fields.append(AplField(distinct_name(CURSOR, names), "string"))
            arrays.append(pa.chunked_array([pa.array(self.row_cursors.texts(), pa.string())]))
            kinds.append(pa.field(fields[-1].name, pa.string()))
        rows = pa.Table.from_arrays(arrays, schema=pa.schema(kinds))
        return AplTable(
            "0",
            tuple(fields),
            rows,
            sources=self.datasets,
            order=tuple(FieldOrder(key.name, key.descending) for key in self.order if key.name in names),
            groups=tuple(name for name in self.compiler.notes.groups if name in names),
            range=self._time_range(),
            buckets=self._bin_size(),
            aggregated=not self.relation.events,
        )

    def _answer(self, ask: Ask) -> pa.Table:
        page = self.page
        if self.united is not None:
            reading, self.matched = self.united.read(ask)
            return self._asked(ask, reading)
        if page is None:
            known = self._answer_from_metadata()
            return self._asked(ask, Reading()) if known is None else known
        self.read_range = page.read(ask)
        answer = self._asked(ask, self.read_range.reading)
        times, system_times, *hashes = (answer[identifier(key.value.sql)] for key in self.read_range.keys)
        self.row_cursors = RowCursors(
            times,
            system_times,
            hashes[0] if hashes else None,
            descending=page.descending,
            after=page.after,
            skipped=page.skipped,
        )
        return answer

    def _asked(self, ask: Ask, reading: Reading) -> pa.Table:
        order, count = self.order, self.limit
        if self.page is not None:
            order = self._page_keys(self.page)
            count += self.page.skipped if self.page.limit_layer is None else 0
        keys = tuple(key for key in order if self.relation.has(identifier(key.value.sql)))
        return ask.rows(self.relation, RowLimit(count, keys), reading, self.select)

    def _answer_from_metadata(self) -> pa.Table | None:
        needed = dict.fromkeys((*(column.id for column in self.columns), *self._hidden()))
        keys = [key for key in self.order if self.relation.has(identifier(key.value.sql))]
        needed |= dict.fromkeys(references([key.value.sql for key in keys]))
        return answer_from_metadata(self.relation, needed, keys, self.limit)

    def _time_range(self) -> TimeRange | None:
        compiler = self.compiler
        if not compiler.datasets:
            return None
        start, end = compiler.range_ns()
        sizes = [compiler.notes.bins[column.id] for column in self.columns if column.id in compiler.notes.bins]
        if sizes:
            size = sizes[0]
            start, end = start // size * size, -(-end // size) * size
        return TimeRange(TIME, start, end)

    def _bin_size(self) -> BinSize | None:
        for column in self.columns:
            if column.id in self.compiler.notes.bins:
                return BinSize(column.name, self.compiler.notes.bins[column.id])
        return None
