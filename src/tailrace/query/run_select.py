"""Running one SELECT over datasets and views."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.events import DatasetNotFound, DatasetUnavailable
from tailrace.lake.snapshot import Snapshot, SnapshotSource
from tailrace.query import sql
from tailrace.query.apl.tree import Pattern, Program, Query, Table
from tailrace.query.apl_request import AplRequest
from tailrace.query.datasets import Check, ReadableDatasets
from tailrace.query.engines.engine import Engine
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.results import Result
from tailrace.query.run import rows_of

ALL_TIME_NS = 2**62  # an end that no event comes after


def run_sql(
    source: SnapshotSource,
    engine: Engine,
    text: str,
    *,
    check: Check,
    views: AplRequest | None = None,
    view_names: Callable[[], Sequence[str]] = tuple,
    check_organisation: Check | None = None,
    interrupt: Interrupt | None = None,
    schema_only: bool = False,
    most_rows: int | None = None,
) -> Result:
    """Run one SELECT over datasets, every event acknowledged before included; or tell of one, or of the datasets.

    `check(dataset)` raises Forbidden for a dataset that may not be read. A view is looked up and run as `views` says,
    whose query does not count, with `check_organisation` as in `run_apl`; its rows are within the engine's limit of
    rows. `view_names()` are those of all views that may be read, in order. With `schema_only` the answer has no rows,
    with `most_rows` the first so many.

    Raise QueryInvalid, QueryFailed, DatasetNotFound, Forbidden, Overloaded.
    """
    started = time.perf_counter()
    interrupt = interrupt or Interrupt()
    datasets = ReadableDatasets(
        source, check, timeout_s=lambda: interrupt.left_s(engine.limits.timeout_s), go_on=interrupt.check
    )

    def snapshots() -> Iterator[Snapshot]:
        for name in datasets.names():
            with suppress(DatasetNotFound, DatasetUnavailable):  # dropped meanwhile, or without readable files
                yield datasets.snapshot(name)

    def view(name: str) -> pa.Table | None:
        catalog = sql.catalog_rows(name, datasets.names, view_names, snapshots)
        if catalog is not None:
            return catalog
        if views is None or views.view(name) is None:
            return None
        program = Program(0, (), Query(0, Table(0, Pattern(0, (name,)))))
        rows = msgspec.structs.replace(views, apl=name, program=program, end_ns=ALL_TIME_NS)
        return rows_of(source, engine, rows, check=check, check_organisation=check_organisation, interrupt=interrupt)

    interrupt.check()
    question = sql.parse(text)
    interrupt.check()
    select = question.select
    if question.kind == "columns" or (schema_only and question.kind == "rows"):
        assert isinstance(select, exp.Query)
        select = select.limit(0, copy=False)
    plan = sql.plan(select, datasets.snapshot, view)
    table = engine.run(plan, interrupt, is_explained=question.kind == "plan", most_rows=most_rows)
    if question.kind == "columns":
        table = sql.described(table)
    if schema_only:
        table = table.slice(0, 0)
    return Result(table, (time.perf_counter() - started) * 1000)
