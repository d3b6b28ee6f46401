"""Running one SELECT over datasets and views."""

import time
from collections.abc import Callable

import msgspec
import pyarrow as pa

from tailrace.lake import Lake, Snapshot
from tailrace.query import sql
from tailrace.query.apl.tree import Pattern, Program, Query, Table
from tailrace.query.apl_request import AplRequest
from tailrace.query.engines.engine import Engine, Interrupt
from tailrace.query.results import Result
from tailrace.query.run import rows_of
from tailrace.query.sources import readable

ALL_TIME_NS = 2**62  # an end that no event comes after


def run_sql(
    lake: Lake,
    engine: Engine,
    text: str,
    *,
    check: Callable[[str], None],
    views: AplRequest | None = None,
    own: Callable[[str], None] | None = None,
    interrupt: Interrupt | None = None,
) -> Result:
    """Run one SELECT over datasets, every event acknowledged before included.

    `check(dataset)` raises Forbidden for a dataset that may not be read. A view is looked up and run as `views` says,
    whose query does not count, with `own` as in `run_apl`; its rows are within the engine's limit of rows. Raises
    QueryInvalid, QueryFailed, DatasetNotFound, Forbidden, Overloaded.
    """
    started = time.perf_counter()
    interrupt = interrupt or Interrupt()

    def snapshot(name: str) -> Snapshot:
        return lake.snapshot(readable(lake, name, check), timeout_s=interrupt.left_s(engine.limits.timeout_s))

    def view(name: str) -> pa.Table | None:
        if views is None or views.view(name) is None:
            return None
        source = Table(0, Pattern(0, (name,)))
        program = Program(0, (), Query(0, source))
        asked = msgspec.structs.replace(views, apl=name, program=program, end_ns=ALL_TIME_NS)
        return rows_of(lake, engine, asked, check=check, own=own, interrupt=interrupt)

    interrupt.check()
    statement = sql.parse(text)
    interrupt.check()
    plan = sql.plan(statement, snapshot, view)
    table = engine.run(plan, interrupt)
    return Result(table, (time.perf_counter() - started) * 1000)
