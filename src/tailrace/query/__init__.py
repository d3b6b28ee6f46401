"""Queries: APL and SQL compiled for DuckDB, the engine processes that run them, and the formats of results."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.query.apl_request import AplRequest
    from tailrace.query.apl_result import AplResult
    from tailrace.query.engines.duckdb import DuckDB
    from tailrace.query.engines.engine import Engine
    from tailrace.query.engines.holding import HoldingEngine
    from tailrace.query.engines.interrupt import Interrupt
    from tailrace.query.engines.processes import QueryProcesses
    from tailrace.query.functions import ReferenceData, UnusableFile, read_reference_data
    from tailrace.query.lookup import CurrentState, StoredValue, current_states, stored_values
    from tailrace.query.results import Result, to_arrow, to_csv, to_json, to_ndjson, to_parquet
    from tailrace.query.run import run_apl
    from tailrace.query.run_select import run_sql
    from tailrace.query.settings import QueryLimits, ReferenceFiles
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = [
    "AplRequest",
    "AplResult",
    "CurrentState",
    "DuckDB",
    "Engine",
    "HoldingEngine",
    "Interrupt",
    "QueryLimits",
    "QueryProcesses",
    "ReferenceData",
    "ReferenceFiles",
    "Result",
    "StoredValue",
    "UnusableFile",
    "current_states",
    "read_reference_data",
    "run_apl",
    "run_sql",
    "stored_values",
    "to_arrow",
    "to_csv",
    "to_json",
    "to_ndjson",
    "to_parquet",
]
