"""Pages of raw events: the rows that a result needs are found by their times, before other columns are read."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.relation import (
    Emitter,
    Key,
    Layer,
    Reading,
    Relation,
    RelationColumn,
    RenderedQuery,
    RowLimit,
    identifier,
    reference,
)
from tailrace.query.compile.scan import Scan
from tailrace.query.compile.union import LAST_TIMES, MemberRows, United, tallied, tally_cells
from tailrace.query.cursors import Cursor
from tailrace.query.spread.ask import Ask
from tailrace.query.values import cast, datetime_literal, fn

MAX_ORDERED = 1_000  # rows of a page that are the first in an order; the last of more is found as an aggregate
WIDEN = 4  # times as many rows are read next, where there were not enough for a page

Integers = npt.NDArray[np.int64]


class ReadRange(Struct, frozen=True, eq=False):
    """What was read to find a page, and what must be read for it."""

    scan: Scan  # the range of time that was read
    rows: int | None  # in it that passed the filters, if known
    reading: Reading  # of the query for the page
    keys: tuple[Key, ...]  # by which the rows of the page are in order
    partly: bool = False  # whether the query may have rows beyond the range, which are not on the page


class _Search(Struct, frozen=True, eq=False):
    """What the search for the last row of a page found."""

    scan: Scan  # what was looked at
    last_us: int | None = None  # the time of that row, where there is one
    rows: int | None = None  # that passed the filters, where they were counted
    partly: bool = False  # whether there may be others beyond
    are_alone: bool = False  # whether no two rows, of all that may be on the page or next to it, have the same times


class Page(Struct, frozen=True, eq=False):
    """A page of a query whose rows are events of one dataset in the order of time."""

    relation: Relation
    scan: Dataset
    limit_layer: Layer | None  # the layer that limits the rows within the query
    descending: bool
    limit: int  # rows of the answer
    is_filtered: bool
    after: Cursor | None = None
    inclusive: bool = False

    @property
    def time_keys(self) -> tuple[Key, Key]:
        """The order by times, which is total where no two rows have the same."""
        return self._key(TIME, self.scan.event_time), self._key("", self.scan.system_time)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The total order."""
        return *self.time_keys, self._key("", self.scan.row_hash)

    def _key(self, name: str, column: RelationColumn) -> Key:
        return Key(name, column.value, self.descending, not self.descending)

    @property
    def skipped(self) -> int:
        """The number of rows equal to the cursor `after` that earlier pages had."""
        after = self.after
        if after is None or after.is_alone or after.descending is not self.descending:
            return 0
        return after.number - 1 if self.inclusive else after.number

    def read(self, ask: Ask) -> ReadRange:
        """Return what the query is to read for its page, no more than it needs."""
        search = self._last_row(ask)
        scan, after = self.scan.scanned, self.after
        if search.last_us is not None:
            scan = self._up_to(scan, search.last_us)
        keys = self.time_keys if search.are_alone else self.keys
        if after is not None:
            scan = replace(self._from(scan, after.time_us), condition=self._condition(after))
        limits: dict[Relation, RowLimit] = {}
        if self.limit_layer is not None:
            limits[self.limit_layer] = replace(self.limit_layer.limit, by=keys, offset=self.skipped)
        reading = Reading({self.scan.hot_name: scan}, limits)
        return ReadRange(search.scan, search.rows, reading, keys, search.partly)

    def _last_row(self, ask: Ask) -> _Search:
        """Search for the last row of the page in more and more files."""
        whole, after = self.scan.scanned, self.after
        if after is None and _rows_at_most(self.scan) <= self.limit:
            return _Search(whole)
        looked_at, rows = whole, None
        for step, bound_us in enumerate(self._steps()):
            looked_at = whole if bound_us is None else self._up_to(whole, bound_us)
            if after is not None:
                looked_at = self._from(looked_at, after.time_us)
            if bound_us is None and step > 0:
                return _Search(looked_at)  # of so few rows found so far a look at all times is not worth it
            beside = looked_at
            if after is not None:  # of those beside the place itself it is not known yet how many are needed
                beside = self._from(looked_at, after.time_us - 1 if self.descending else after.time_us + 1)
            found = self._last(ask, beside) if self._is_counted else self._last_in_order(ask, beside)
            rows = found.rows
            if found.last_us is not None:
                return replace(found, scan=looked_at, partly=bound_us is not None)
        return _Search(looked_at, rows=rows)

    def _up_to(self, scan: Scan, last_us: int) -> Scan:
        """Return the scan without the rows after this time in the order of the page."""
        return scan.narrowed(last_us, None) if self.descending else scan.narrowed(None, last_us + 1)

    def _from(self, scan: Scan, first_us: int) -> Scan:
        """Return the scan without the rows before this time in the order of the page."""
        return scan.narrowed(None, first_us + 1) if self.descending else scan.narrowed(first_us, None)

    def _steps(self) -> Iterator[int | None]:
        """Yield times that leave out fewer and fewer files beyond the page; the last is None, which leaves out none."""
        scan, after = self.scan, self.after
        if not scan.snapshot.primary_key:
            files = list(scan.scanned.files_of(scan.snapshot))
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
            enough = self.limit
            for number, file in enumerate(files[:-1]):
                rows += file.rows
                edge, nearest = edges[number], beyond[number + 1]
                if rows >= enough and (nearest < edge if self.descending else nearest > edge):
                    yield edge
                    enough = rows * WIDEN
        yield None

    @property
    def _is_counted(self) -> bool:
        return self.is_filtered or self.after is not None or self.limit > MAX_ORDERED

    def _last(self, ask: Ask, scan: Scan) -> _Search:
        """Return the time of the last row of the page, if there are that many, and how many there are."""
        time = self.scan.event_time.id
        reading = Reading({self.scan.hot_name: scan}, _unlimited(self.limit_layer))
        last = _nth(time, self.limit, descending=self.descending)
        answer = ask.aggregates(self.relation, {"last": last, "rows": exp.Count(this=exp.Star())}, reading)
        count_there: int = answer["rows"][0].as_py()
        if count_there < self.limit:
            return _Search(scan, rows=count_there)
        return _Search(scan, answer["last"].cast(pa.int64())[0].as_py(), count_there)

    def _last_in_order(self, ask: Ask, scan: Scan) -> _Search:
        """As `_last`, for rows that are not filtered: read the first of them in order, and count them only where they
        are too few.
        """
        [times] = self._first_rows(ask, scan, self.time_keys[:1])
        if len(times) < self.limit:
            return _Search(scan, rows=len(times))
        last_us = int(times[self.limit - 1])
        are_alone = not self.scan.snapshot.primary_key
        if are_alone and _has_repeats(times):
            are_alone = not _has_repeats(*self._first_rows(ask, self._up_to(scan, last_us), self.time_keys))
        return _Search(scan, last_us, are_alone=are_alone)

    def _first_rows(self, ask: Ask, scan: Scan, keys: Sequence[Key]) -> list[Integers]:
        """Return these keys of the rows of the page and the next one.

        For rows in the order of one key, and so many of them, DuckDB passes over row groups beyond.
        """
        ids = [identifier(key.value.sql) for key in keys]

        def render(reading: Reading) -> RenderedQuery:
            out = Emitter(reading)
            rows = out.table(self.relation.emit(set(ids), out))
            order = exp.Order(expressions=[key.ordered() for key in keys])
            first = exp.Select(expressions=[reference(name) for name in ids], from_=exp.From(this=rows), order=order)
            return out.finished(first.limit(self.limit + 1, copy=False))

        reading = Reading({self.scan.hot_name: scan}, _unlimited(self.limit_layer))
        answer = ask.rows(self.relation, RowLimit(self.limit + 1, tuple(keys)), reading, render)
        return [answer[name].cast(pa.int64()).to_numpy() for name in ids]

    def _condition(self, after: Cursor) -> exp.Expr:
        """Return the condition for rows at a cursor or after it, over the dataset's own columns."""
        beyond = exp.LT if self.descending else exp.GT
        # In the other direction the number of equal rows is unknown: none of them, or all.
        others = after.descending is not self.descending and not self.inclusive
        last = beyond if others else exp.LTE if self.descending else exp.GTE
        time, system_time = (self.scan.definition(column) for column in (self.scan.event_time, self.scan.system_time))
        if after.is_alone:
            at_or_beyond = exp.LTE if self.descending else exp.GTE
            last = at_or_beyond if self.inclusive else beyond
            at_times = last(this=system_time, expression=_time(after.system_time_us))
            return _either(beyond, time, _time(after.time_us), at_times)
        row_hash = self.scan.definition(self.scan.row_hash)
        last_key = last(this=row_hash, expression=_ubigint(after.hash))
        inner = _either(beyond, system_time, _time(after.system_time_us), last_key)
        return _either(beyond, time, _time(after.time_us), inner)


class UnitedPage(Struct, frozen=True, eq=False):
    """The first page of a query whose rows are events of several datasets in the order of time."""

    relation: Relation
    union: United
    scans: tuple[Dataset, ...]  # one of each member of the union
    limit_layer: Layer | None  # the layer that limits the rows within the query
    descending: bool
    limit: int  # rows of the answer
    is_filtered: bool  # above the union

    def read(self, ask: Ask) -> tuple[Reading, int]:
        """Return what the query is to read for its answer, no more than it needs, and the number of all rows that there
        are.
        """
        tallies = self._tallies(ask)
        rows = sum(member.rows for member in tallies.values())
        times = np.concatenate([member.last_us for member in tallies.values()] or [np.zeros(0, np.int64)])
        scans: dict[str, Scan] = {}
        members = set(tallies)
        if rows > self.limit:
            nth = len(times) - self.limit if self.descending else self.limit - 1
            last_us = int(np.partition(times, nth)[nth])
            start_us, end_us = (last_us, None) if self.descending else (None, last_us + 1)
            scans = {scan.hot_name: scan.scanned.narrowed(start_us, end_us) for scan in self.scans}
            members = {
                n
                for n, member in tallies.items()
                if np.any(member.last_us >= last_us if self.descending else member.last_us <= last_us)
            }
        return Reading(scans, members={self.union: members}), rows

    def _tallies(self, ask: Ask) -> Mapping[int, MemberRows]:
        known = self.union.tallies
        if known is not None and self.descending and not self.is_filtered and self.limit <= LAST_TIMES:
            return known
        reading = Reading(limits=_unlimited(self.limit_layer))
        cells = tally_cells(self.relation, self.limit, descending=self.descending)
        return tallied(ask.aggregates(self.relation, cells, reading, {"n": self.union.number}))


def _nth(time: str, count: int, *, descending: bool) -> exp.Expr:
    """Return the aggregate for the time of the row of this number, from 1, in the order of time."""
    number = exp.Literal.number(count)
    if descending:
        return fn("list_min", fn("max", reference(time), number))
    return fn("list_max", fn("min", reference(time), number))


def _has_repeats(*keys: Integers) -> bool:
    """Return whether two rows, which are in order, are the same by these keys."""
    return bool(np.logical_and.reduce([key[1:] == key[:-1] for key in keys]).any())


def _unlimited(layer: Layer | None) -> dict[Relation, RowLimit]:
    return {} if layer is None else {layer: RowLimit()}


def page_of(
    relation: Relation, order: tuple[Key, ...], limit: int, *, after: Cursor | None, inclusive: bool
) -> Page | None:
    """Return the page that a query answers with; None where its rows are not events of one dataset in the order of
    time.
    """
    layers, scan = _layers_of(relation)
    if not relation.events or not isinstance(scan, Dataset) or not _is_by_time(order, scan):
        return None
    limited = _limit_layer_of(layers, order, scan.event_time.id)
    if limited is None:
        return None
    limit_layer, filtered = limited
    if limit_layer is not None and limit_layer.limit.count is not None:
        limit = min(limit, limit_layer.limit.count)
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
    limited = _limit_layer_of(layers, order, union.time.id)
    if limited is None or any(map(_is_random, layers)):
        return None
    scans: list[Dataset] = []
    for member, time in zip(union.members, union.of_members(union.time.value.sql), strict=True):
        own, scan = _layers_of(member)
        if not isinstance(scan, Dataset) or not isinstance(time, exp.Column) or identifier(time) != scan.event_time.id:
            return None
        if any(layer.limit.count is not None or _is_other(layer) or _is_random(layer) for layer in own):
            return None
        scans.append(scan)
    limit_layer, filtered = limited
    if limit_layer is not None and limit_layer.limit.count is not None:
        limit = min(limit, limit_layer.limit.count)
    if limit < 1 or sum(map(_rows_at_most, scans)) <= limit:
        return None
    return UnitedPage(relation, union, tuple(scans), limit_layer, order[0].descending, limit, filtered)


def _rows_at_most(scan: Dataset) -> int:
    in_files = sum(file.rows for file in scan.scanned.files_of(scan.snapshot))
    hot: int = sum(part.rows.num_rows for part in scan.snapshot.hot)
    return in_files + hot


def _layers_of(relation: Relation) -> tuple[list[Layer], Relation]:
    """Return the layers of a relation, outermost first, and the relation that they read."""
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
        if layer.limit.count is not None:
            # A filter or limit after a limit would need the same rows on each page.
            if limit_layer is not None or filtered:
                return None
            if not _is_by(layer.limit.by, time) or layer.limit.by[0].descending is not order[0].descending:
                return None
            limit_layer = layer
        elif layer.scan is None and layer.parent.scan is not None:  # a sample of the rows
            return None
        filtered = filtered or bool(layer.where)
    return limit_layer, filtered


def _is_other(layer: Layer) -> bool:
    """Return whether the layer changes which rows there are."""
    return layer.group is not None or bool(layer.always) or bool(layer.limit.offset)


def _is_random(layer: Layer) -> bool:
    """Return whether the layer has other rows each time it is read."""
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


def _either(beyond: type[exp.Binary], key: exp.Expr, value: exp.Expr, inner: exp.Expr) -> exp.Expr:
    """Return the condition: after by the first key, or equal by it and after by the next ones."""
    level = exp.And(this=exp.EQ(this=key, expression=value), expression=exp.Paren(this=inner))
    return exp.Or(this=beyond(this=key, expression=value), expression=exp.Paren(this=level))


def _time(us: int) -> exp.Expr:
    return datetime_literal(us).sql


def _ubigint(number: int) -> exp.Expr:
    return cast(exp.Literal.number(number), "UBIGINT")
