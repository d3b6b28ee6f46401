"""Asking an engine for the rows of a query: as one query, or as parts that a spreader runs."""

from collections.abc import Callable, Collection, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.relation import (
    Derived,
    Emitter,
    Layer,
    Reading,
    Relation,
    RenderedQuery,
    RowLimit,
    references,
)
from tailrace.query.engines.engine import Session
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import Spreader, SpreadUnavailable
from tailrace.query.spread.cuts import CutFinder, Stage, aggregates_beneath, leaves
from tailrace.query.spread.running import StageRunner, read_with, register_rows
from tailrace.query.values import null_node, number_node

NOT_SPREAD = "the query reads more than spread_bytes, and ran on this node alone"
PARTLY_SPREAD = "a part of the query that reads more than spread_bytes ran on this node alone"

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
        reading = self._with_aggregates(relation, reading)
        finder = CutFinder(reading, self._compiler.ids, self._compiler.notes.matched)
        stages = finder.stages(relation, first)
        if not self._is_large(reading, stages, finder):
            return self.run(render(reading))
        # Rendering tells what is needed of what stands for relations.
        render(read_with(reading, (stage.stand_ins for stage in stages)))
        if any(stage.shuffle is not None for stage in stages):
            render(read_with(reading, (stage.merged for stage in stages)))
        stand_ins = self._spread(stages, reading)
        return self.run(render(reading if stand_ins is None else read_with(reading, stand_ins)))

    def aggregates(
        self,
        relation: Relation,
        cells: Mapping[str, exp.Expr],
        reading: Reading,
        keys: Mapping[str, exp.Expr] = {},
    ) -> pa.Table:
        """Return aggregates of the rows of a relation, in groups by keys, by name."""
        if self._spreader is not None:
            reading = self._with_aggregates(relation, reading)
            finder = CutFinder(reading, self._compiler.ids)
            groups = Layer(relation)  # which only names them
            stage = finder.stage_of_aggregates(relation, groups, dict(keys), dict(cells))
            stages = [] if stage is None else [stage]
            if self._is_large(reading, stages, finder):
                stand_ins = self._spread(stages, reading)
                if stand_ins is not None:
                    reading = read_with(reading, stand_ins)
            made = reading.stand_ins.get(groups)
            if made is not None:
                out = Emitter()
                return self.run(out.finished(made.emit({*keys, *cells}, out)))
        return self.run(aggregate_query(relation, cells, reading, keys))

    # Parts

    def _with_aggregates(self, relation: Relation, reading: Reading) -> Reading:
        """Return a reading that knows the aggregates of rows of which values beneath a relation are made, as the bins
        of a histogram are, where much is read.
        """
        assert self._spreader is not None
        found = [value for value in aggregates_beneath(relation) if value not in reading.values]
        if not found or _bytes_read(self._compiler, reading) <= self._spreader.spread_bytes:
            return reading
        by_rows: dict[Relation, dict[Derived, exp.Expr]] = {}
        for value in reversed(found):  # as those of a relation may be made of those beneath it
            assert value.aggregate is not None
            rows, node = value.aggregate
            by_rows.setdefault(rows, {})[value] = node
        for rows, nodes in by_rows.items():
            # Those that are defined beside what they are aggregates of are no part of it.
            own = rows.defines.values() if isinstance(rows, Layer) else ()
            beside: dict[Derived, exp.Expr] = {value: null_node("DOUBLE") for value in found if value in own}
            cells = {f"v{n}": node for n, node in enumerate(nodes.values())}
            answer = self.aggregates(rows, cells, replace(reading, values={**beside, **reading.values}))
            numbers = dict(zip(nodes, (answer[name][0].as_py() for name in cells), strict=True))
            known = {value: null_node("DOUBLE") if n is None else number_node(n) for value, n in numbers.items()}
            reading = replace(reading, values={**reading.values, **known})
        return reading

    def _is_large(self, reading: Reading, stages: Sequence[Stage], finder: CutFinder) -> bool:
        """Return whether what is cut off reads enough; say in the answer where something large is not cut."""
        assert self._spreader is not None
        most = self._spreader.spread_bytes
        is_large = sum(cut.bytes for stage in stages for cut in stage.cuts) > most
        cut = (
            {leaf.hot_name for stage in stages for one in stage.cuts for leaf in leaves(one.source)} if is_large else ()
        )
        if finder.reasons and _bytes_read(self._compiler, reading, but=cut) > most:
            self._warn(PARTLY_SPREAD if is_large else NOT_SPREAD, finder.reasons[0])
        return is_large

    def _warn(self, what: str, reason: str) -> None:
        self._compiler.warn(message_code(what), f"{what}: {reason}", priority="info")

    def _spread(self, stages: Sequence[Stage], reading: Reading) -> list[Mapping[Relation, Relation]] | None:
        """Run stages; return what then stands for relations, or None where that cannot be done, and say so in the
        answer.
        """
        assert self._spreader is not None
        runner = StageRunner(self._compiler, self.session, self._interrupt, self._spreader, reading)
        try:
            return runner.run(stages)
        except SpreadUnavailable as error:
            self._warn(NOT_SPREAD, str(error))
            return None


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


def _bytes_read(compiler: Compiler, reading: Reading, *, but: Collection[str] = ()) -> int:
    """Return the size of the files of all datasets, but of some by the names of their hot rows."""
    return sum(
        file.bytes
        for dataset in compiler.datasets
        if dataset.hot_name not in but
        for file in dataset.scan_of(reading).files_of(dataset.snapshot)
    )
