"""Fixtures: an engine over an empty lake, and a bare DuckDB with the functions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from query.functions.kit import NOW_NS, connected, shown

from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import DuckDB, QueryLimits
from tailrace.query.apl_request import AplRequest
from tailrace.query.run import run_apl

Ask = Callable[[str], Any]


@pytest.fixture(scope="package")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Yield the first cell of a query's answer, as JSON-able Python."""
    root: Path = tmp_path_factory.mktemp("functions")
    lake = Lake.open(root / "lake", LakeSettings())
    engine = DuckDB(table_root(root / "lake"), root / "temporary", QueryLimits())

    def answer(apl: str) -> Any:
        result = run_apl(lake, engine, AplRequest(apl=apl, now_ns=NOW_NS), check=lambda dataset: None)
        return shown(result.tables[0], 0)

    yield answer
    lake.close()
    engine.close()


@pytest.fixture(scope="package")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    instance = connected()
    yield instance
    instance.close()
