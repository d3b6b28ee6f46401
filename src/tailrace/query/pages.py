"""Pages of raw events: which rows of a dataset an answer needs, found by their times before anything else is read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.compile.combine import LAST_TIMES, Found, United, tallied, tally
from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.relation import Emitter, Key, Layer, Relation, identifier, reference
from tailrace.query.cursors import Cursor
from tailrace.query.values import cast, datetime_literal, fn

WIDEN = 4  # times as many rows are looked at where there were not enough for a page

Run = Callable[[exp.Query], pa.Table]


class ReadRange(Struct, frozen=True):
    """What was read to find a page: the range of time, and how many rows of it passed the filters, where known."""

    start_us: int | None
    end_us: int | None  # exclusive
    rows: int | None
    partly: bool = False  # whether there are rows beyond it that may belong to the query, but not to the page


class Page(Struct, frozen=True, eq=False):
    """A query whose rows are events of one dataset in the order of time, and the part of them to answer with."""

    relation: Relation
    scan: Dataset
    limit_layer: Layer | None  # what limits the rows within the query
    descending: bool
    limit: int  # rows of the answer
    is_filtered: bool
    after: Cursor | None = None
    inclusive: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """The total order."""
        columns = (self.scan.event_time, self.scan.system_time, self.scan.row_hash)
        return tuple(
            Key(TIME if column is self.scan.event_time else "", column.value, self.descending, not self.descending)
            for column in columns
        )

    @property
    def skipped(self) -> int:
        """How many rows that are equal to the place `after` were answered before."""
        after = self.after
        if after is None or after.descending is not self.descending:
            return 0
        return after.number - 1 if self.inclusive else after.number

    @contextmanager
    def narrowed(self, run: Run) -> Iterator[ReadRange]:
        """While this lasts the query reads no more than it needs for its page; `run` asks the engine."""
        scan, limit_layer, after = self.scan, self.limit_layer, self.after
        before = (scan.start_us, scan.end_us, scan.asked_end)
        kept = (limit_layer.cut_by, limit_layer.limit, limit_layer.offset) if limit_layer is not None else None
        try:
            read = self._narrow(run)
            if after is not None:
                if self.descending:
                    scan.narrow(None, after.time_us + 1)
                else:
                    scan.narrow(after.time_us, None)
                scan.after = self._condition(after)
            if limit_layer is not None:
                limit_layer.cut_by, limit_layer.offset = self.keys, self.skipped
            yield read
        finally:
            scan.start_us, scan.end_us, scan.asked_end = before
            scan.after = None
            if limit_layer is not None and kept is not None:
                limit_layer.cut_by, limit_layer.limit, limit_layer.offset = kept

    @contextmanager
    def within(self, read: ReadRange) -> Iterator[None]:
        """While this lasts the dataset is what was read of it."""
        scan = self.scan
        before = (scan.start_us, scan.end_us)
        scan.start_us, scan.end_us = read.start_us, read.end_us
        try:
            yield
        finally:
            scan.start_us, scan.end_us = before

    def _narrow(self, run: Run) -> ReadRange:
        """Leaves out what lies beyond the last row of the page, which is looked for in ever more files."""
        scan, after = self.scan, self.after
        start_us, end_us, asked_end = scan.start_us, scan.end_us, scan.asked_end
        if after is None and _rows_at_most(scan) <= self.limit:
            return ReadRange(start_us, end_us, None)
        last_us = rows = None
        partly = False
        steps = list(self._steps())
        for step, bound_us in enumerate(steps):
            scan.start_us, scan.end_us, scan.asked_end = start_us, end_us, asked_end
            if bound_us is not None:
                self._narrow_to(bound_us)
            if after is not None:
                scan.narrow(None, after.time_us + 1) if self.descending else scan.narrow(after.time_us, None)
            read_start_us, read_end_us = scan.start_us, scan.end_us
            if bound_us is None and step > 0:
                rows = None
                break  # so few rows were found so far that looking at all times first is not worth it
            if after is not None:  # of those beside the place itself it is not known yet how many are needed
                scan.narrow(None, after.time_us) if self.descending else scan.narrow(after.time_us + 1, None)
            last_us, rows = self._last(run)
            if last_us is not None:
                partly = bound_us is not None
                break
        scan.start_us, scan.end_us, scan.asked_end = start_us, end_us, asked_end
        if last_us is not None:
            self._narrow_to(last_us)
        return ReadRange(read_start_us, read_end_us, rows, partly)

    def _narrow_to(self, last_us: int) -> None:
        """Leaves out what comes after this time in the order of the page."""
        if self.descending:
            self.scan.narrow(last_us, None)
        else:
            self.scan.narrow(None, last_us + 1)

    def _steps(self) -> Iterator[int | None]:
        """Yield times that leave out fewer and fewer files beyond the page; the last is None, which leaves out none."""
        scan, after = self.scan, self.after
        if not scan.snapshot.primary_key:
            files = list(scan.read_files)
            if self.descending:
                files.sort(key=lambda file: -file.min_time_us)
                files = [file for file in files if after is None or file.min_time_us <= after.time_us]
                edges = [file.min_time_us for file in files]
                ends = [file.max_time_us for file in files]
                beyond = list(accumulate(reversed(ends), max))[::-1]  # the nearest time of a file and those after it
            else:
                files.sort(key=lambda file: file.max_time_us)
                files = [file for file in files if after is None or file.max_time_us >= after.time_us]
                edges = [file.max_time_us for file in files]
                ends = [file.min_time_us for file in files]
                beyond = list(accumulate(reversed(ends), min))[::-1]
            rows = 0
            wanted = self.limit
            for number, file in enumerate(files[:-1]):
                rows += file.rows
                edge, nearest = edges[number], beyond[number + 1]
                if rows >= wanted and (nearest < edge if self.descending else nearest > edge):
                    yield edge
                    wanted = rows * WIDEN
        yield None

    def _last(self, run: Run) -> tuple[int | None, int]:
        """Return the time of the last row of the page, None where there are not that many rows; and how many there
        are.
        """
        time = self.scan.event_time.id
        out = Emitter()
        if self.limit_layer is not None:
            kept = self.limit_layer.limit
            self.limit_layer.limit, self.limit_layer.cut_by, self.limit_layer.offset = None, (), 0
        rows = out.table(self.relation.emit({time}, out))
        if self.limit_layer is not None:
            self.limit_layer.limit = kept
        count = exp.Literal.number(self.limit)
        if self.descending:
            last = fn("list_min", fn("max", reference(time), count))
        else:
            last = fn("list_max", fn("min", reference(time), count))
        cells = [_named(last, "last"), _named(exp.Count(this=exp.Star()), "rows")]
        found = run(out.finished(exp.Select(expressions=cells, from_=exp.From(this=rows))))
        there: int = found["rows"][0].as_py()
        if there < self.limit:
            return None, there
        last_us: int = found["last"].cast(pa.int64())[0].as_py()
        return last_us, there

    def _condition(self, after: Cursor) -> exp.Expr:
        """Rows at a place or beyond it, in terms of the dataset's own columns."""
        beyond = exp.LT if self.descending else exp.GT
        # From the other direction it is not known how many equal rows there are: none of them, or all.
        others = after.descending is not self.descending and not self.inclusive
        last = beyond if others else exp.LTE if self.descending else exp.GTE
        time, system_time = (self.scan.definition(each) for each in (self.scan.event_time, self.scan.system_time))
        row_hash = self.scan.definition(self.scan.row_hash)
        last_key = last(this=row_hash, expression=_ubigint(after.hash))
        inner = _either(beyond, system_time, _time(after.system_time_us), last_key)
        return _either(beyond, time, _time(after.time_us), inner)


class UnitedPage(Struct, frozen=True, eq=False):
    """A query whose rows are events of several datasets in the order of time: its first rows are its answer."""

    relation: Relation
    union: United
    scans: tuple[Dataset, ...]  # one of each member of the union
    limit_layer: Layer | None  # what limits the rows within the query
    descending: bool
    limit: int  # rows of the answer
    is_filtered: bool  # above the union

    @contextmanager
    def narrowed(self, run: Run) -> Iterator[int]:
        """While this lasts the query reads no more than its answer needs. Gives the number of all rows that there are.

        `run` asks the engine.
        """
        found = self._found(run)
        rows = sum(each.rows for each in found.values())
        times = np.concatenate([each.last_us for each in found.values()] or [np.zeros(0, np.int64)])
        before = [(scan.start_us, scan.end_us, scan.asked_end) for scan in self.scans]
        there = set(found)
        if rows > self.limit:
            nth = len(times) - self.limit if self.descending else self.limit - 1
            last_us = int(np.partition(times, nth)[nth])
            for scan in self.scans:
                scan.narrow(last_us, None) if self.descending else scan.narrow(None, last_us + 1)
            there = {
                n
                for n, each in found.items()
                if np.any(each.last_us >= last_us if self.descending else each.last_us <= last_us)
            }
        try:
            with self.union.reading(there):
                yield rows
        finally:
            for scan, (start_us, end_us, asked_end) in zip(self.scans, before, strict=True):
                scan.start_us, scan.end_us, scan.asked_end = start_us, end_us, asked_end

    def _found(self, run: Run) -> Mapping[int, Found]:
        known = self.union.found
        if known is not None and self.descending and not self.is_filtered and self.limit <= LAST_TIMES:
            return known
        kept = self.limit_layer.limit if self.limit_layer is not None else None
        by = self.limit_layer.cut_by if self.limit_layer is not None else ()
        if self.limit_layer is not None:
            self.limit_layer.limit, self.limit_layer.cut_by = None, ()
        try:
            return tallied(run(tally(self.relation, self.union.number, self.limit, descending=self.descending)))
        finally:
            if self.limit_layer is not None:
                self.limit_layer.limit, self.limit_layer.cut_by = kept, by


def page_of(
    relation: Relation, order: tuple[Key, ...], limit: int, *, after: Cursor | None, inclusive: bool
) -> Page | None:
    """Return the page that a query answers with; None where its rows are not events of one dataset in the order of
    time.
    """
    layers, scan = _layers_of(relation)
    if not relation.events or not isinstance(scan, Dataset) or not _is_by_time(order, scan):
        return None
    found = _limit_layer_of(layers, order, scan.event_time.id)
    if found is None:
        return None
    limit_layer, filtered = found
    if limit_layer is not None and limit_layer.limit is not None:
        limit = min(limit, limit_layer.limit)
    if limit < 1:
        return None
    return Page(relation, scan, limit_layer, order[0].descending, limit, filtered, after, inclusive)


def united_page_of(relation: Relation, order: tuple[Key, ...], limit: int) -> UnitedPage | None:
    """Return the same of events of several datasets; None also where all of them may be in the answer."""
    layers, union = _layers_of(relation)
    if not relation.events or not isinstance(union, United) or union.time is None:
        return None
    if not _is_by(order, union.time.id):
        return None
    found = _limit_layer_of(layers, order, union.time.id)
    if found is None or any(map(_is_random, layers)):
        return None
    scans: list[Dataset] = []
    for member, time in zip(union.members, union.of_members(union.time.value.sql), strict=True):
        own, scan = _layers_of(member)
        if not isinstance(scan, Dataset) or not isinstance(time, exp.Column) or identifier(time) != scan.event_time.id:
            return None
        if any(layer.limit is not None or _is_other(layer) or _is_random(layer) for layer in own):
            return None
        scans.append(scan)
    limit_layer, filtered = found
    if limit_layer is not None and limit_layer.limit is not None:
        limit = min(limit, limit_layer.limit)
    if limit < 1 or sum(map(_rows_at_most, scans)) <= limit:
        return None
    return UnitedPage(relation, union, tuple(scans), limit_layer, order[0].descending, limit, filtered)


def _rows_at_most(scan: Dataset) -> int:
    in_files = sum(file.rows for file in scan.read_files)
    hot: int = sum(part.num_rows for part in scan.snapshot.hot)
    return in_files + hot


def _layers_of(relation: Relation) -> tuple[list[Layer], Relation]:
    """Return the layers of a relation, the last first, and what they read."""
    layers = []
    while isinstance(relation, Layer):
        layers.append(relation)
        relation = relation.parent
    return layers, relation


def _limit_layer_of(layers: Sequence[Layer], order: tuple[Key, ...], time: str) -> tuple[Layer | None, bool] | None:
    """Return what limits the rows, and whether they are filtered; None where the rows are no page in the order of
    time.
    """
    limit_layer: Layer | None = None
    filtered = False
    for layer in layers:
        if _is_other(layer):
            return None
        if layer.limit is not None:
            # What filters or limits the rows that a limit leaves would have to see the same ones on each page.
            if limit_layer is not None or filtered:
                return None
            if not _is_by(layer.cut_by, time) or layer.cut_by[0].descending is not order[0].descending:
                return None
            limit_layer = layer
        elif layer.scan is None and layer.parent.scan is not None:  # a random part of the rows
            return None
        filtered = filtered or bool(layer.where)
    return limit_layer, filtered


def _is_other(layer: Layer) -> bool:
    """Whether its rows are others than those that it reads."""
    return layer.group is not None or bool(layer.always) or bool(layer.offset)


def _is_random(layer: Layer) -> bool:
    """Whether it has other rows each time they are read."""
    nodes = [*layer.where, *(node for node in layer.defines.values() if isinstance(node, exp.Expr))]
    return any(call.this == "random" for node in nodes for call in node.find_all(exp.Anonymous))


def _is_by_time(order: tuple[Key, ...], scan: Dataset) -> bool:
    return _is_by(order, scan.event_time.id)


def _is_by(order: tuple[Key, ...], time: str) -> bool:
    return (
        bool(order)
        and isinstance(order[0].value.sql, exp.Column)
        and identifier(order[0].value.sql) == time
        and not any(key.name for key in order[1:])
    )


def _named(node: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=node, alias=exp.to_identifier(name))


def _either(beyond: type[exp.Binary], key: exp.Expr, value: exp.Expr, inner: exp.Expr) -> exp.Expr:
    """Beyond by this key, or level with it and beyond by the next."""
    level = exp.And(this=exp.EQ(this=key, expression=value), expression=exp.Paren(this=inner))
    return exp.Or(this=beyond(this=key, expression=value), expression=exp.Paren(this=level))


def _time(us: int) -> exp.Expr:
    return datetime_literal(us).sql


def _ubigint(number: int) -> exp.Expr:
    return cast(exp.Literal.number(number), "UBIGINT")
