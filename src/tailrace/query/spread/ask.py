"""Asking an engine for the rows of a query: as one query, or as parts that a spreader runs."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.relation import (
    Emitter,
    Reading,
    Relation,
    RenderedQuery,
    RowLimit,
    references,
)
from tailrace.query.engines.engine import Session, rendered
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import Spreader, SpreadUnavailable
from tailrace.query.spread.cuts import Cut, CutFinder, Gathered, MergedGroups, reading_of

PARTS_A_PLACE = 2  # where a part can run, so that none waits long for the last one
NOT_SPREAD = "the query reads more than spread_bytes, and ran on this node alone"

Render = Callable[[Reading], RenderedQuery]


class Ask:
    """Asks a session the queries of one compiler."""

    def __init__(
        self, compiler: Compiler, session: Session, interrupt: Interrupt, spreader: Spreader | None = None
    ) -> None:
        self._compiler = compiler
        self.session = session
        self.max_cells = session.max_cells
        self._interrupt = interrupt
        self._spreader = spreader

    def run(self, query: RenderedQuery) -> pa.Table:
        """Return the answer to a query, asked as one."""
        register_rows(self._compiler, query, self.session)
        return self.session.table(query.sql)

    def rows(self, relation: Relation, first: RowLimit, reading: Reading, render: Render) -> pa.Table:
        """Return the answer to the query that `render` makes of a reading: the `first` rows of a relation."""
        if self._spreader is None:
            return self.run(render(reading))
        finder = CutFinder(reading)
        cuts = finder.cuts(relation, first)
        if not self._is_large(relation, reading, cuts, finder):
            return self.run(render(reading))
        stand_ins = {cut.replaced: cut.stand_in for cut in cuts}
        whole = replace(reading, stand_ins=stand_ins)
        render(whole)  # which tells what is needed
        if not self._gather(cuts, reading):
            return self.run(render(reading))
        return self.run(render(whole))

    def aggregates(
        self,
        relation: Relation,
        cells: Mapping[str, exp.Expr],
        reading: Reading,
        keys: Mapping[str, exp.Expr] = {},
    ) -> pa.Table:
        """Return aggregates of the rows of a relation, in groups by keys, by name."""
        if self._spreader is not None:
            finder = CutFinder(reading)
            cut = None
            if finder.is_by_row(relation):
                cut = finder.cut_of_groups(relation, relation, dict(keys), dict(cells))
            cuts = [] if cut is None else [cut]
            if self._is_large(relation, reading, cuts, finder) and cut is not None and cut.groups is not None:
                merged = MergedGroups(cut.groups, cut.gathered)
                if self._gather(cuts, reading):
                    out = Emitter()
                    return self.run(out.finished(merged.emit({*keys, *cells}, out)))
        return self.run(aggregate_query(relation, cells, reading, keys))

    # Parts

    def _is_large(self, relation: Relation, reading: Reading, cuts: Sequence[Cut], finder: CutFinder) -> bool:
        """Return whether what is cut off reads enough; say in the answer where a large query is not cut."""
        assert self._spreader is not None
        cut_bytes = sum(cut.bytes for cut in cuts)
        if cut_bytes > self._spreader.spread_bytes:
            return True
        if finder.reasons and _bytes_read(self._compiler, reading) > self._spreader.spread_bytes:
            self._warn(finder.reasons[0])
        return False

    def _warn(self, reason: str) -> None:
        self._compiler.warn(message_code(NOT_SPREAD), f"{NOT_SPREAD}: {reason}", priority="info")

    def _gather(self, cuts: Sequence[Cut], reading: Reading) -> bool:
        """Run the parts of cuts; return whether that could be done, and say in the answer where it could not."""
        assert self._spreader is not None
        try:
            self._run_parts(cuts, reading, self._spreader)
        except SpreadUnavailable as error:
            self._warn(str(error))
            return False
        return True

    def _run_parts(self, cuts: Sequence[Cut], reading: Reading, spreader: Spreader) -> None:
        count = spreader.width() * PARTS_A_PLACE
        texts: list[list[str]] = []
        for cut in cuts:
            shares = shared_out(list(cut.files()), count)
            texts.append([rendered(cut.part(reading_of(cut, reading, share, hot=False)).sql) for share in shares])
        with ExitStack() as stack:
            running = stack.enter_context(spreader.started([text for one in texts for text in one], self._interrupt))
            local = [self._local(cut, reading) for cut in cuts]
            tables = running.tables()
        for cut, own, (here, types) in zip(cuts, texts, local, strict=True):
            answers, tables = tables[: len(own)], tables[len(own) :]
            fill(cut.gathered, [*answers, here], types)

    def _local(self, cut: Cut, reading: Reading) -> tuple[pa.Table, Mapping[str, str]]:
        """Return what is computed of the rows in memory, and the types of the columns, the same of every part."""
        query = cut.part(reading_of(cut, reading, (), hot=True))
        register_rows(self._compiler, query, self.session)
        text = rendered(query.sql)
        described = self.session.whole(f"DESCRIBE {text}")
        types = dict(zip(described["column_name"].to_pylist(), described["column_type"].to_pylist(), strict=True))
        return self.session.whole(text), types


def fill(gathered: Gathered, tables: Sequence[pa.Table], types: Mapping[str, str]) -> None:
    """Let a relation have the rows of tables, one after the other."""
    kinds = tables[0].schema
    alike = [
        pa.table(
            [table[name].cast(kind.type) for name, kind in zip(kinds.names, kinds, strict=True)], names=kinds.names
        )
        for table in tables
    ]
    rows = pa.concat_tables(alike).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    digest = hashlib.blake2b(sink.getvalue(), digest_size=12).hexdigest()
    gathered.fill(f"gathered_{digest}", rows, types)


def shared_out(files: Sequence[tuple[Dataset, DataFile]], count: int) -> list[list[tuple[Dataset, DataFile]]]:
    """Return the files in at most so many shares of about as many bytes, in their order."""
    total = sum(file.bytes for _, file in files)
    shares: list[list[tuple[Dataset, DataFile]]] = []
    before, last = 0, -1
    for dataset, file in files:
        number = before * count // max(total, 1)
        if number > last:
            shares.append([])
        last = number
        shares[-1].append((dataset, file))
        before += file.bytes
    return shares


def aggregate_query(
    relation: Relation, cells: Mapping[str, exp.Expr], reading: Reading, keys: Mapping[str, exp.Expr] = {}
) -> RenderedQuery:
    """Return the query for aggregates of the rows of a relation, in groups by keys."""
    out = Emitter(reading)
    rows = out.table(relation.emit(references([*cells.values(), *keys.values()]), out))
    named = {**keys, **cells}
    select = exp.Select(
        expressions=[exp.Alias(this=node, alias=exp.to_identifier(name)) for name, node in named.items()],
        from_=exp.From(this=rows),
    )
    if keys:
        select.set("group", exp.Group(expressions=list(keys.values())))
    return out.finished(select)


def register_rows(compiler: Compiler, query: RenderedQuery, session: Session) -> None:
    """Tell a session of the rows that a query reads beside files."""
    for dataset in compiler.datasets:
        columns = query.hot_columns.get(dataset.hot_name)
        hot = dataset.hot_rows(columns) if columns is not None else None
        if hot is not None:
            session.register(dataset.hot_name, hot)
    for name, rows in (*compiler.inline.items(), *query.known.items()):
        session.register(name, rows)


def _bytes_read(compiler: Compiler, reading: Reading) -> int:
    return sum(
        file.bytes for dataset in compiler.datasets for file in dataset.scan_of(reading).files_of(dataset.snapshot)
    )
