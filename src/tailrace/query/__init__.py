"""Queries over the lake: SQL now, compiled languages on the same engine."""

import time
from collections.abc import Callable

from tailrace.lake import Lake, Snapshot
from tailrace.query import sql
from tailrace.query.engines.duckdb import DuckDB, Interrupt, QueryLimits
from tailrace.query.functions import Facts, read_facts
from tailrace.query.lookup import State, Stored, current_states, stored_values
from tailrace.query.results import Result, to_arrow, to_csv, to_json, to_ndjson, to_parquet
from tailrace.query.run import AplRequest, AplResult, run_apl
from tailrace.query.sources import readable

__all__ = [
    "AplRequest",
    "AplResult",
    "DuckDB",
    "Facts",
    "Interrupt",
    "QueryLimits",
    "Result",
    "State",
    "Stored",
    "current_states",
    "read_facts",
    "run_apl",
    "run_sql",
    "stored_values",
    "to_arrow",
    "to_csv",
    "to_json",
    "to_ndjson",
    "to_parquet",
]


def run_sql(
    lake: Lake,
    engine: DuckDB,
    text: str,
    *,
    check: Callable[[str], None],
    interrupt: Interrupt | None = None,
) -> Result:
    """Run one SELECT over datasets, every event acknowledged before included.

    `check(dataset)` raises Forbidden for a dataset that may not be read. Raises QueryInvalid, QueryFailed,
    DatasetNotFound, Forbidden, Overloaded.
    """
    started = time.perf_counter()
    interrupt = interrupt or Interrupt()

    def snapshot(name: str) -> Snapshot:
        return lake.snapshot(readable(lake, name, check), timeout_s=interrupt.left_s(engine.limits.timeout_s))

    interrupt.check()
    statement = sql.parse(text)
    interrupt.check()
    plan = sql.plan(statement, snapshot)
    table = engine.run(plan, interrupt)
    return Result(table, (time.perf_counter() - started) * 1000)
