"""Fields that protocols declare: of each dataset once, whatever fails meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.lakes import NEVER

from tailrace.events import StorageUnavailable
from tailrace.events.declarations import DeclaredFields
from tailrace.ingest.declarations import Declarations
from tailrace.lake import Lake

FIELDS: DeclaredFields = {"duration": "timespan", "tags": "map"}


def test_what_is_declared_is_not_declared_again_and_what_failed_is(tmp_path: Path) -> None:
    added: list[tuple[str, Sequence[str]]] = []
    runs: list[Callable[[], None]] = []
    failures: list[Exception] = [StorageUnavailable("no database")]

    def add(dataset: str, names: Sequence[str]) -> None:
        added.append((dataset, names))
        if failures:
            raise failures.pop()

    async def run_work(work: Callable[[], None]) -> None:
        runs.append(work)
        await asyncio.to_thread(work)

    async def run() -> None:
        lake = Lake.open(tmp_path, NEVER)
        lake.create("d")
        declarations = Declarations(lake, add, run_work)
        with pytest.raises(StorageUnavailable):
            await declarations.declare("d", FIELDS)
        assert lake.get("d").declared == {}
        await asyncio.gather(*(declarations.declare("d", FIELDS) for _ in range(3)))
        assert lake.get("d").declared == FIELDS
        count = len(runs)
        await declarations.declare("d", FIELDS)
        await declarations.declare("d", {"tags": "map"})
        assert len(runs) == count
        await declarations.declare("d", {**FIELDS, "labels": "map"})
        assert added[-1] == ("d", ["labels"])
        lake.close()

    asyncio.run(run())
