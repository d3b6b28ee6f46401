"""A lake with an engine over it, and short ways to ask."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.events import batch

from tailrace.lake import Lake, LakeSettings
from tailrace.query import DuckDB, QueryLimits, Result, run_sql, to_ndjson

Rows = list[dict[str, Any]]


class Desk:
    """Puts events into datasets, and asks in SQL."""

    def __init__(self, root: Path, limits: QueryLimits) -> None:
        self.root = root
        self.lake = Lake.open(root / "lake", LakeSettings())
        self.engine = DuckDB(root / "lake", root / "temporary", limits)
        self.position = 0

    def put(self, dataset: str, *events: dict[str, Any]) -> None:
        if not self.lake.has(dataset):
            self.lake.create(dataset)
        self.position += 1
        self.lake.accept(self.position, batch(events, dataset))

    def run(self, sql: str, check: Callable[[str], None] = lambda dataset: None, **more: Any) -> Result:
        return run_sql(self.lake, self.engine, sql, check=check, **more)

    def ask(self, sql: str) -> Rows:
        return [json.loads(line) for line in to_ndjson(self.run(sql)).splitlines()]

    def column(self, sql: str) -> list[Any]:
        return [next(iter(row.values())) for row in self.ask(sql)]

    def close(self) -> None:
        self.lake.close()
        self.engine.close()
