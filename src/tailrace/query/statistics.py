"""The statistics of a query: rows examined and matched, files read and skipped."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp

from tailrace.lake.snapshot import DataFile
from tailrace.query import sources
from tailrace.query.apl_result import AplStatus, AplTable, QueryMessage
from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.relation import Emitter, Layer, Reading
from tailrace.query.compile.scan import Scan, extent_us
from tailrace.query.compiled import CompiledQuery
from tailrace.query.engines.engine import Session
from tailrace.query.row_groups import RowRange
from tailrace.query.sources import has_row_numbers
from tailrace.query.spread.ask import Ask

IMPLICIT_END = "implicit end time of now applied"
LOWER_BOUND = "rowsMatched is a lower bound, as no more events were read than the answer needs"


def status_of(compiled: CompiledQuery, ask: Ask, table: AplTable) -> AplStatus:
    """Return the status of a query whose result is `table`."""
    page, read = compiled.page, compiled.read_range
    if page is None or read is None:
        return _status(compiled, ask, table, Reading())
    total: int | None = None
    if read.partly and compiled.compiler.notes.filtered:
        compiled.compiler.warn(message_code(LOWER_BOUND), LOWER_BOUND, priority="info")
    elif read.partly and page.after is None:
        total = _rows_in_range(ask.session, page.scan, page.scan.scanned)
    return _status(compiled, ask, table, Reading({page.scan.hot_name: read.scan}), total)


def _status(
    compiled: CompiledQuery, ask: Ask, table: AplTable, reading: Reading, total: int | None = None
) -> AplStatus:
    """Return the status of what `reading` says was read; `total` is the number of rows of an unfiltered query of which
    that is only a part.
    """
    compiler = compiled.compiler
    scans = [(dataset, dataset.scan_of(reading)) for dataset in compiler.datasets]
    examined = sum(_rows_in_range(ask.session, dataset, scan) for dataset, scan in scans)
    files = sum(len(dataset.snapshot.files) for dataset in compiler.datasets)
    read_files = sum(len(scan.files_of(dataset.snapshot)) for dataset, scan in scans)
    hot = sum(len(dataset.snapshot.hot) for dataset in compiler.datasets)
    matched = compiled.matched
    if not compiler.notes.filtered and matched is None:
        matched = examined if total is None else total
    elif matched is None:
        matched = _matched_by_answer(compiled, table.rows.num_rows)
    if matched is None:
        matched = _count_matched(compiled, ask, reading)
    times = [extent_us(dataset.snapshot) for dataset in compiler.datasets]
    if compiled.request.end_ns is None and any(not dataset.scanned.has_explicit_end for dataset in compiler.datasets):
        compiler.warn(message_code(IMPLICIT_END), IMPLICIT_END)
    messages = tuple(
        QueryMessage(remark.priority, remark.code, remark.text, count)
        for remark, count in compiler.notes.remarks.values()
    )
    min_cursor, max_cursor = _cursor_range(compiled)
    return AplStatus(
        1,
        examined,
        matched,
        blocks_examined=files + hot,
        blocks_matched=read_files + hot,
        blocks_skipped=files - read_files,
        num_groups=table.rows.num_rows if table.aggregated else 0,
        min_time_ns=min((low * 1000 for low, _ in times if low is not None), default=None),
        max_time_ns=max((high * 1000 for _, high in times if high is not None), default=None),
        min_cursor=min_cursor,
        max_cursor=max_cursor,
        messages=messages,
        is_partial=bool(compiler.notes.left_out),
    )


def _cursor_range(compiled: CompiledQuery) -> tuple[str, str]:
    """Return the cursors of the first and the last row, the lower one first; where there is no row, the cursor that was
    given, as the end of its pages.
    """
    cursors = compiled.row_cursors
    if not cursors:
        return compiled.request.cursor, compiled.request.cursor
    first, last = cursors.text(0), cursors.text(-1)
    return min(first, last), max(first, last)


def _matched_by_answer(compiled: CompiledQuery, rows: int) -> int | None:
    """Return the rows of what was read that the filters let through, where the answer or finding its page told."""
    page, read, cursors = compiled.page, compiled.read_range, compiled.row_cursors
    if page is None:
        return rows if rows < compiled.limit and _is_uncut(compiled) else None
    if read is None or cursors is None:
        return None
    if read.rows is not None:
        return read.rows + (cursors.count_at(page.after.time_us) if page.after is not None else 0)
    return rows if rows < page.limit else None


def _is_uncut(compiled: CompiledQuery) -> bool:
    """Whether the rows are all events that the filters let through, if the answer's own limit did not cut them."""
    below = compiled.relation
    while isinstance(below, Layer) and below.events and below.limit.count is None:
        below = below.parent
    return below.events and not isinstance(below, Layer)


def _count_matched(compiled: CompiledQuery, ask: Ask, reading: Reading) -> int:
    """Return the rows that the filters let through, before any limit."""
    relation = below = compiled.relation
    while isinstance(below, Layer):
        if below.limit.count is not None or not below.events:
            relation = below.parent
        below = below.parent
    answer = ask.aggregates(relation, {"n": exp.Count(this=exp.Star())}, reading)
    count: int = answer["n"][0].as_py()
    return count


def _rows_in_range(session: Session, dataset: Dataset, scan: Scan) -> int:
    """Return the number of rows within the range in what was read; no more rows are looked at than have to be."""
    count = 0
    cut: list[DataFile] = []
    ranges: dict[str, tuple[RowRange, ...]] = {}
    for file in scan.files_of(dataset.snapshot):
        if scan.is_within(file):
            count += file.rows
            continue
        groups = dataset.row_groups.of(file, {}) if dataset.row_groups is not None and has_row_numbers(file) else None
        if groups is not None:
            is_within, is_beyond = scan.places(groups)
            count += int(groups.rows[is_within].sum())
            ranges[file.name] = groups.ranges(~(is_within | is_beyond))
        if groups is None or ranges[file.name]:
            cut.append(file)
    for part in dataset.snapshot.hot:
        if scan.is_within(part):
            count += part.rows.num_rows
        elif scan.may_have(part):
            count += _count_between(part.rows[TIME], scan.start_us, scan.end_us)
    return count + _count_rows(session, dataset, cut, scan, ranges) if cut else count


def _count_rows(
    session: Session,
    dataset: Dataset,
    files: Sequence[DataFile],
    scan: Scan,
    ranges: Mapping[str, tuple[RowRange, ...]],
) -> int:
    """Return the rows of these files, or of ranges of them, that are in the range of a scan."""
    out = Emitter()
    rows = out.table(sources.rows(files, None, {TIME: sources.SYSTEM_TYPES[TIME]}, ranges=ranges))
    total = exp.Alias(this=exp.Count(this=exp.Star()), alias=exp.to_identifier("n"))
    select = exp.Select(expressions=[total], from_=exp.From(this=rows))
    bounds = dataset.bounds(scan)
    if bounds is not None:
        select.set("where", exp.Where(this=bounds))
    count: int = session.table(out.finished(select).sql)["n"][0].as_py()
    return count


def _count_between(times: pa.ChunkedArray, start_us: int | None, end_us: int | None) -> int:
    values = times.cast(pa.int64())
    kept = pa.scalar(True)
    if start_us is not None:
        kept = pc.greater_equal(values, start_us)
    if end_us is not None:
        before = pc.less(values, end_us)
        kept = before if start_us is None else pc.and_(kept, before)
    elif start_us is None:
        return len(values)
    return int(pc.sum(kept).as_py() or 0)
