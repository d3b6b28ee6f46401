"""Pages of raw events: which rows of a dataset an answer needs, found by their times before anything else is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.relation import Emitter, Key, Layer, Relation, identifier, reference
from tailrace.query.cursors import Cursor
from tailrace.query.values import datetime_literal

Run = Callable[[exp.Query], pa.Table]


class Page(Struct, frozen=True, eq=False):
    """A query whose rows are events of one dataset in the order of time, and the part of them to answer with."""

    relation: Relation
    scan: Dataset
    cut: Layer | None  # what limits the rows within the query
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
    def narrowed(self, run: Run) -> Iterator[None]:
        """While this lasts the query reads no more than it needs for its page; `run` asks the engine."""
        scan, cut, after = self.scan, self.cut, self.after
        before = (scan.start_us, scan.end_us, scan.asked_end)
        kept = (cut.cut_by, cut.offset) if cut is not None else None
        try:
            self._narrow(run)
            if after is not None:
                if self.descending:
                    scan.narrow(None, after.time_us + 1)
                else:
                    scan.narrow(after.time_us, None)
                scan.after = self._condition(after)
            if cut is not None:
                cut.cut_by, cut.offset = self.keys, self.skipped
            yield
        finally:
            scan.start_us, scan.end_us, scan.asked_end = before
            scan.after = None
            if cut is not None and kept is not None:
                cut.cut_by, cut.offset = kept

    def _narrow(self, run: Run) -> None:
        """Leaves out what lies beyond the last row of the page."""
        scan, after = self.scan, self.after
        start_us, end_us, asked_end = scan.start_us, scan.end_us, scan.asked_end
        if self.cut is not None:
            self.cut.cut_by = self.keys[:1]
        if after is not None:  # of those beside the place itself it is not known yet how many are needed
            scan.narrow(None, after.time_us) if self.descending else scan.narrow(after.time_us + 1, None)
        if not self.is_filtered:
            self._narrow_by_files()
        last_us = self._last(run)
        scan.start_us, scan.end_us, scan.asked_end = start_us, end_us, asked_end
        if last_us is not None:
            scan.narrow(last_us, None) if self.descending else scan.narrow(None, last_us + 1)

    def _narrow_by_files(self) -> None:
        """Leaves out the files beyond those that have enough rows."""
        scan = self.scan
        if scan.snapshot.current_by:
            return
        whole = [file for file in scan.read_files if scan.is_within(file)]
        rows = 0
        if self.descending:
            for file in sorted(whole, key=lambda file: -file.min_time_us):
                rows += file.rows
                if rows >= self.limit:
                    scan.narrow(file.min_time_us, None)
                    return
        else:
            for file in sorted(whole, key=lambda file: file.max_time_us):
                rows += file.rows
                if rows >= self.limit:
                    scan.narrow(None, file.max_time_us + 1)
                    return

    def _last(self, run: Run) -> int | None:
        """The time of the last row of the page; None where there are not that many rows."""
        time = self.scan.event_time.id
        out = Emitter()
        order = exp.Order(expressions=[self.keys[0].ordered()])
        rows = exp.Select(
            expressions=[reference(time)], from_=exp.From(this=out.table(self.relation.emit({time}, out)))
        )
        rows.set("order", order)
        rows.set("limit", exp.Limit(expression=exp.Literal.number(self.limit)))
        extreme = (exp.Min if self.descending else exp.Max)(this=reference(time))
        select = exp.Select(
            expressions=[_named(extreme, "last"), _named(exp.Count(this=exp.Star()), "rows")],
            from_=exp.From(this=out.table(rows)),
        )
        found = run(out.finished(select))
        if found["rows"][0].as_py() < self.limit:
            return None
        last: int = found["last"].cast(pa.int64())[0].as_py()
        return last

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


def page_of(
    relation: Relation, order: tuple[Key, ...], limit: int, *, after: Cursor | None, inclusive: bool
) -> Page | None:
    """The page that a query answers with; None where its rows are not events of one dataset in the order of time."""
    layers = []
    below = relation
    while isinstance(below, Layer):
        layers.append(below)
        below = below.parent
    scan = below
    if not relation.events or not isinstance(scan, Dataset) or not _is_by_time(order, scan):
        return None
    cut: Layer | None = None
    filtered = False
    for layer in layers:
        if layer.group is not None or layer.always or layer.offset:
            return None
        if layer.limit is not None:
            # What filters or limits the rows that a limit leaves would have to see the same ones on each page.
            if cut is not None or filtered:
                return None
            if not _is_by_time(layer.cut_by, scan) or layer.cut_by[0].descending is not order[0].descending:
                return None
            cut = layer
        elif layer.scan is None and layer.parent.scan is not None:  # a random part of the rows
            return None
        filtered = filtered or bool(layer.where)
    if cut is not None and cut.limit is not None:
        limit = min(limit, cut.limit)
    if limit < 1:
        return None
    return Page(relation, scan, cut, order[0].descending, limit, filtered, after, inclusive)


def _is_by_time(order: tuple[Key, ...], scan: Dataset) -> bool:
    return (
        bool(order)
        and isinstance(order[0].value.sql, exp.Column)
        and identifier(order[0].value.sql) == scan.event_time.id
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
    return exp.Cast(this=exp.Literal.number(number), to=exp.DataType.build("UBIGINT", dialect="duckdb"))
