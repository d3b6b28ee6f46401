"""The engines of a server: for queries, and for look-ups of the ingest service; and their reference data."""

import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tailrace.config import ConfigError
from tailrace.ingest.deduplicator import MAX_REMEMBERED
from tailrace.ingest.lookups import THREADS as LOOKUP_THREADS
from tailrace.lake import Catalog
from tailrace.lake.snapshot import TableRoot
from tailrace.processes import Spawner
from tailrace.query import (
    DuckDB,
    Engine,
    HoldingEngine,
    QueryLimits,
    QueryProcesses,
    ReferenceData,
    UnusableFile,
    read_reference_data,
)
from tailrace.query.engines.spreader import Spreader
from tailrace.server.layout import TEMPORARY_DIRECTORY
from tailrace.server.settings import Settings

if TYPE_CHECKING:
    from tailrace.storage.file_cache import FileCache

LOOKUP_MEMORY_BYTES = 512 * 1024 * 1024


def reference_data_of(settings: Settings) -> ReferenceData:
    """Return the reference data in the files of the settings.

    Raise ConfigError for files that cannot be used, with a line for each.
    """
    model_prices = geo_database = ReferenceData()
    wrong = []
    try:
        model_prices = read_reference_data(replace(settings.reference, geo_database=""))
    except UnusableFile as error:
        wrong.append(f"setting model_prices: {error}")
    try:
        geo_database = read_reference_data(replace(settings.reference, model_prices=""))
    except UnusableFile as error:
        wrong.append(f"setting geo_database: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return replace(model_prices, geo_database=geo_database.geo_database)


def fork_spawner() -> Spawner | None:
    """Fork the spawner of query processes, on Linux; before there are threads, and before any file is open."""
    return Spawner.forked() if sys.platform == "linux" else None


def query_engine(
    settings: Settings,
    catalog: Catalog,
    data: Path,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    limits: QueryLimits,
) -> Engine:
    """Return an engine for queries; with a spawner it runs them in processes."""
    temporary = data / TEMPORARY_DIRECTORY
    engine = engine_over(catalog.tables, temporary, settings, reference_data, spawner, limits)
    return with_files(engine, catalog.tables, catalog.cache)


def engine_over(
    tables: TableRoot,
    temporary: Path,
    settings: Settings,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    limits: QueryLimits,
) -> Engine:
    """Return an engine over files that are always there."""
    if spawner is None:
        return DuckDB(tables, temporary, limits, reference_data)
    return QueryProcesses(spawner, tables, temporary, limits, reference_data, settings.reference)


def check_dask(settings: Settings) -> None:
    """Raise ConfigError where the settings name a Dask scheduler that cannot be used."""
    if not settings.spread.dask:
        return
    if find_spec("distributed") is None:
        raise ConfigError("setting dask needs the package distributed: pip install tailrace[dask] has it")


def spreader_of(settings: Settings, tables: TableRoot) -> Spreader | None:
    """Return what runs parts of large queries on other nodes; None without one."""
    if not settings.spread.dask:
        return None
    # Only here, as it is an extra.
    from tailrace.query.spread.dask_spreader import DaskSpreader

    return DaskSpreader(settings.spread, tables, settings.query)


def with_files(engine: Engine, tables: TableRoot, cache: "FileCache | None") -> Engine:
    """Return an engine for which the files that a query names are there."""
    return engine if cache is None else HoldingEngine(engine, tables, cache)


def warm_up(engine: Engine) -> None:
    """Start an engine's processes in the background."""
    threading.Thread(target=engine.warm_up, name="tailrace-query-start", daemon=True).start()


def lookup_engine(settings: Settings, catalog: Catalog, data: Path, reference_data: ReferenceData) -> Engine:
    """Return an engine for look-ups of the ingest service."""
    # How much a query of a person may read and answer does not bound them: an id left out would be stored again.
    limits = QueryLimits(
        timeout_s=settings.query.timeout_s,
        memory_bytes=min(LOOKUP_MEMORY_BYTES, settings.query.memory_bytes),
        max_rows=MAX_REMEMBERED,
        threads=settings.query.threads,
        concurrency=LOOKUP_THREADS,
    )
    engine = DuckDB(catalog.tables, data / TEMPORARY_DIRECTORY, limits, reference_data)
    return with_files(engine, catalog.tables, catalog.cache)
