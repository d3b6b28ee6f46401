"""Running the parts of a query and putting their answers together: on this node, or in buckets on the workers."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.events.sizes import MIB
from tailrace.lake.snapshot import DataFile
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.relation import Reading, Relation, RenderedQuery, identifier, reference, references
from tailrace.query.engines.engine import Session, rendered
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.spreader import BucketQuery, DividedRows, RunningParts, Spreader
from tailrace.query.spread.buckets import bucket_count, divided, united
from tailrace.query.spread.cuts import Cut, Gathered, Shuffle, Stage, reading_of

PARTS_A_PLACE = 2  # where a part can run, so that none waits long for the last one
PART_BYTES = 512 * MIB  # of files, of a part that answers rows to be divided
BUCKET_BYTES = 64 * MIB
MAX_ROW_PARTS = 256  # of such rows, where there are not that many places
MAX_PIECES = 8192  # each of which, a bucket's rows of one part, is a task


class RunningCut(Struct, eq=False):
    """A cut whose parts are running."""

    cut: Cut
    name: str  # by which the query of a bucket reads its rows
    keys: Sequence[exp.Expr] = ()  # by which these can be divided
    joins_null: bool = True  # whether those with a null key belong together
    parts: range = range(0)  # the numbers of its parts
    own: pa.Table = pa.table({})  # what is computed of the rows in memory
    types: Mapping[str, str] = {}  # DuckDB's, by column


class StageRunner:
    """Runs the stages of one query."""

    def __init__(
        self, compiler: Compiler, session: Session, interrupt: Interrupt, spreader: Spreader, reading: Reading
    ) -> None:
        self._compiler = compiler
        self._session = session
        self._interrupt = interrupt
        self._spreader = spreader
        self._reading = reading
        self._width = 0

    def run(self, stages: Sequence[Stage]) -> list[Mapping[Relation, Relation]]:
        """Return what stands for relations once the parts have answered. Raise SpreadUnavailable, and what a part
        raises.
        """
        self._width = self._spreader.width()
        texts: list[str] = []
        begun: list[tuple[Stage, list[RunningCut]]] = []
        for stage in stages:
            if stage.shuffle is not None:  # rendering it tells what is needed of the rows
                stage.shuffle.above.part(read_with(self._reading, [stage.stand_ins]))
            cuts = [self._begin(stage, n, f"rows_{len(begun)}_{n}", texts) for n in range(len(stage.cuts))]
            begun.append((stage, cuts))
        with self._spreader.started(texts, self._interrupt) as running:
            for _, cuts in begun:
                for cut in cuts:
                    self._run_own(cut)
            return self._finish(begun, running)

    def _begin(self, stage: Stage, number: int, name: str, texts: list[str]) -> RunningCut:
        """Add the parts of a cut to others."""
        cut, shuffle = stage.cuts[number], stage.shuffle
        running = RunningCut(cut, name)
        count = self._width * PARTS_A_PLACE
        if shuffle is not None:
            running.keys, running.joins_null = shuffle.keys[number], shuffle.joins_null
            cut.gathered.needed |= references(running.keys)
            if cut.groups is None:
                count = max(count, min(cut.bytes // PART_BYTES, MAX_ROW_PARTS))
        first = len(texts)
        for share in shared_out(list(cut.files()), count):
            texts.append(rendered(self._part(running, reading_of(cut, self._reading, share, hot=False)).sql))
        running.parts = range(first, len(texts))
        return running

    def _part(self, running: RunningCut, reading: Reading) -> RenderedQuery:
        part = running.cut.part(reading)
        if not running.keys:
            return part
        columns = [] if running.joins_null else [reference(name) for name in sorted(running.cut.gathered.needed)]
        return divided(part, running.keys, columns)

    def _run_own(self, running: RunningCut) -> None:
        """Compute of the rows in memory what parts do of theirs."""
        query = self._part(running, reading_of(running.cut, self._reading, (), hot=True))
        register_rows(self._compiler, query, self._session)
        text = rendered(query.sql)
        running.types = self._types(text)
        running.own = self._session.whole(text)

    def _types(self, text: str) -> dict[str, str]:
        described = self._session.whole(f"DESCRIBE {text}")
        return dict(zip(described["column_name"].to_pylist(), described["column_type"].to_pylist(), strict=True))

    def _finish(
        self, begun: Sequence[tuple[Stage, list[RunningCut]]], running: RunningParts
    ) -> list[Mapping[Relation, Relation]]:
        sizes = running.sizes()
        stand_ins: list[Mapping[Relation, Relation]] = []
        gathered: list[RunningCut] = []
        shuffles: list[Shuffle] = []
        queries: list[BucketQuery] = []
        for stage, cuts in begun:
            size_bytes = sum(cut.own.nbytes + sum(sizes[part] for part in cut.parts) for cut in cuts)
            if stage.shuffle is not None and size_bytes > self._spreader.gather_bytes and _are_alike(cuts):
                shuffles.append(stage.shuffle)
                queries.append(self._bucket_query(stage, stage.shuffle, cuts, size_bytes))
                stand_ins.append(stage.merged)
            else:
                gathered += cuts
                stand_ins.append(stage.stand_ins)
        answers = iter(running.tables([part for cut in gathered for part in cut.parts]))
        for cut in gathered:
            fill(cut.cut.gathered, [*(next(answers) for _ in cut.parts), cut.own], cut.types)
        for shuffle, query, tables in zip(shuffles, queries, running.of_buckets(queries), strict=True):
            for rows in query.rows:
                self._session.register(rows.name, rows.own.slice(0, 0))
            fill(shuffle.above.gathered, _with_total(tables, shuffle.total), self._types(query.text))
        return stand_ins

    def _bucket_query(self, stage: Stage, shuffle: Shuffle, cuts: Sequence[RunningCut], size_bytes: int) -> BucketQuery:
        for cut in cuts:
            cut.cut.gathered.fill(cut.name, cut.own.slice(0, 0), cut.types)
        text = rendered(shuffle.above.part(read_with(self._reading, [stage.stand_ins])).sql)
        wanted = max(self._width, size_bytes // BUCKET_BYTES)
        count = bucket_count(wanted, MAX_PIECES // max(sum(len(cut.parts) for cut in cuts), 1))
        return BucketQuery(text, count, [DividedRows(cut.name, cut.parts, cut.own) for cut in cuts])


def _are_alike(cuts: Sequence[RunningCut]) -> bool:
    """Return whether the keys of all cuts have the same types, so that equal ones have the same hash."""
    if len(cuts) == 1:
        return True
    kinds = [[cut.types[identifier(key)] for key in cut.keys] for cut in cuts]
    return all(kind == kinds[0] for kind in kinds)


def _with_total(tables: Sequence[pa.Table], name: str | None) -> list[pa.Table]:
    """Return what buckets answered with the sum of a column that is the same in all rows of a bucket."""
    if name is None or name not in tables[0].column_names:
        return list(tables)
    place, kind = tables[0].column_names.index(name), tables[0].schema.field(name)
    total = sum(table[name][0].as_py() for table in tables if table.num_rows)
    return [table.set_column(place, kind, pa.array([total] * table.num_rows, kind.type)) for table in tables]


def read_with(reading: Reading, stand_ins: Iterable[Mapping[Relation, Relation]]) -> Reading:
    """Return a reading in which what these name stands for relations."""
    return replace(reading, stand_ins={relation: other for one in stand_ins for relation, other in one.items()})


def fill(gathered: Gathered, tables: Sequence[pa.Table], types: Mapping[str, str]) -> None:
    """Let a relation have the rows of tables, one after the other."""
    rows = united(tables).combine_chunks()
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


def register_rows(compiler: Compiler, query: RenderedQuery, session: Session) -> None:
    """Tell a session of the rows that a query reads beside files."""
    for dataset in compiler.datasets:
        columns = query.hot_columns.get(dataset.hot_name)
        hot = dataset.hot_rows(columns) if columns is not None else None
        if hot is not None:
            session.register(dataset.hot_name, hot)
    for name, rows in (*compiler.inline.items(), *query.known.items()):
        session.register(name, rows)
