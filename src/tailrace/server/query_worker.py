"""`worker`: a Dask worker that runs parts of the queries of servers with the same settings."""

import tempfile
from pathlib import Path

from tailrace.config import ConfigError
from tailrace.lake import limit_heaps
from tailrace.server import logs
from tailrace.server.engines import check_dask, engine_over, fork_spawner, reference_data_of, with_files
from tailrace.server.settings import Settings
from tailrace.server.table_store import tables_to_read


def run_worker(settings: Settings) -> None:
    """Run parts of queries until SIGTERM or SIGINT, each in a process within the limits of queries.

    Raise ConfigError where no scheduler is named, or a file that a setting names cannot be used.
    """
    address = settings.spread.dask
    if not address:
        raise ConfigError("setting dask is empty: a worker needs the address of a Dask scheduler, tcp://host:8786")
    check_dask(settings)
    limit_heaps()
    reference_data = reference_data_of(settings)
    spawner = fork_spawner()  # before there are threads, which a fork does not copy
    logs.configure(settings.server.log_level, settings.server.log_format)
    # Only here, as it is an extra.
    from tailrace.query.spread.dask_worker import work

    tables, cache = tables_to_read(settings, settings.server.data.absolute())
    # Not in the data directory, which is the server's and may be that of many workers; they may share its cache.
    with tempfile.TemporaryDirectory(prefix="tailrace-worker-") as directory:
        temporary = Path(directory)
        engine = engine_over(tables, temporary / "queries", settings, reference_data, spawner, settings.query)
        engine = with_files(engine, tables, cache)
        try:
            work(address, engine, tables, temporary / "dask")
        finally:
            engine.close()
            if cache is not None:
                cache.close()
