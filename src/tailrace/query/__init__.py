"""Queries over the lake: SQL now, compiled languages on the same engine."""

import difflib
import time
from collections.abc import Callable

from tailrace.events import DatasetNotFound, Forbidden
from tailrace.lake import Lake, Snapshot
from tailrace.query import sql
from tailrace.query.engines.duckdb import DuckDB, Interrupt, QueryLimits
from tailrace.query.lookup import State, Stored, current_states, stored_values
from tailrace.query.results import Result, to_arrow, to_csv, to_json, to_ndjson

__all__ = [
    "DuckDB",
    "Interrupt",
    "QueryLimits",
    "Result",
    "State",
    "Stored",
    "current_states",
    "run_sql",
    "stored_values",
    "to_arrow",
    "to_csv",
    "to_json",
    "to_ndjson",
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

    def snapshot(name: str) -> Snapshot:
        return lake.snapshot(_readable(lake, name, check), timeout_s=engine.limits.timeout_s)

    plan = sql.plan(sql.parse(text), snapshot)
    table = engine.run(plan, interrupt)
    return Result(table, (time.perf_counter() - started) * 1000)


def _readable(lake: Lake, name: str, check: Callable[[str], None]) -> str:
    """The dataset that a name means, which is the same or the only one that differs in case.

    Raises Forbidden for a dataset that may not be read, DatasetNotFound with a suggestion among those that may.
    """
    if lake.has(name):
        check(name)
        return name

    def may_read(dataset: str) -> bool:
        try:
            check(dataset)
        except Forbidden:
            return False
        return True

    known = [info.name for info in lake.datasets() if may_read(info.name)]
    folded = [each for each in known if each.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    check(name)  # so that nobody learns which datasets there are beside their own
    near = difflib.get_close_matches(name, known, 1)
    raise DatasetNotFound(f"dataset {name!r} not found" + (f"; did you mean {near[0]!r}?" if near else ""))
