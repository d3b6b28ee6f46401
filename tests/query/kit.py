"""A lake with an engine over it, and short ways to ask."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from support.events import batch

from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import DuckDB, QueryLimits, Result, run_sql, to_ndjson
from tailrace.query.apl_request import AplRequest
from tailrace.query.apl_result import AplResult
from tailrace.query.run import run_apl

Rows = list[dict[str, Any]]


class Desk:
    """Puts events into datasets, and asks in SQL."""

    def __init__(self, root: Path, limits: QueryLimits) -> None:
        self.root = root
        self.lake = Lake.open(root / "lake", LakeSettings())
        self.engine = DuckDB(table_root(root / "lake"), root / "temporary", limits)
        self.position = 0

    def put(self, dataset: str, *events: dict[str, Any]) -> None:
        if not self.lake.has(dataset):
            self.lake.create(dataset)
        self.position += 1
        self.lake.accept(self.position, batch(events, dataset))

    def run(self, sql: str, check: Callable[[str], None] = lambda dataset: None, **more: Any) -> Result:
        return run_sql(self.lake, self.engine, sql, check=check, **more)

    def ask(self, sql: str) -> Rows:
        return [json.loads(line) for line in b"".join(to_ndjson(self.run(sql))).splitlines()]

    def column(self, sql: str) -> list[Any]:
        return [next(iter(row.values())) for row in self.ask(sql)]

    def close(self) -> None:
        self.lake.close()
        self.engine.close()


T0_NS = 1_772_704_800_000_000_000


def put_at(desk: Desk, *events: dict[str, Any]) -> None:
    """Put events, each of which has its `at` in milliseconds after T0_NS, into `logs`."""
    times = np.array([T0_NS + event["at"] * 1_000_000 for event in events], np.int64)
    whole = batch([{name: value for name, value in event.items() if name != "at"} for event in events], "logs")
    if not desk.lake.has("logs"):
        desk.lake.create("logs")
    desk.position += 1
    desk.lake.accept(desk.position, msgspec.structs.replace(whole, times=times))


def ask_apl(desk: Desk, apl: str, **more: Any) -> AplResult:
    """Return the result of a query that may read everything."""
    return run_apl(desk.lake, desk.engine, AplRequest(apl=apl, **more), check=lambda dataset: None)


def column_of(result: AplResult, name: str) -> list[Any]:
    """Return the values of a column of the first table."""
    values: list[Any] = result.tables[0].rows[name].to_pylist()
    return values
