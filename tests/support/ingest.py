"""An ingest service over a log, a lake and a store of keys of its own, in the process of the test."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from tailrace.access import Access, Grant, Sessions
from tailrace.api.field_store import FieldStore
from tailrace.events.idempotency import IdempotencySettings
from tailrace.ingest import IdempotencyKeys, LogIngestService, Lookups
from tailrace.lake import Lake, table_root
from tailrace.log import LocalLog, Log, LogSettings, Subscription
from tailrace.parsing import Limits
from tailrace.protocols.http import Protocol
from tailrace.protocols.registry import PROTOCOLS
from tailrace.query import DuckDB, QueryLimits, run_sql, to_ndjson
from tailrace.server.metrics import Metrics
from tailrace.storage.database import Database
from tailrace.tail import TailLimits, Tails

ROOT_TOKEN = "xapt-root"
BACKLOG_BYTES = 2**30


class Parts(Struct, frozen=True):
    """An open service and what it is built over."""

    service: LogIngestService
    lake: Lake
    database: Database
    access: Access
    owner: Grant
    engine: DuckDB
    metrics: Metrics
    fields: FieldStore
    log: Log

    def rows(self, dataset: str, without: str = "_time, _sysTime") -> list[dict[str, Any]]:
        """Return the events of a dataset, without their times and nulls."""
        result = run_sql(
            self.lake, self.engine, f'SELECT * EXCLUDE ({without}) FROM "{dataset}"', check=lambda dataset: None
        )
        events = (json.loads(line) for line in b"".join(to_ndjson(result)).splitlines())
        return [{name: value for name, value in event.items() if value is not None} for event in events]


OpenLog = Callable[[Path, Subscription], Log]


def open_local_log(directory: Path, subscription: Subscription) -> Log:
    """Open the log that a server has, on a disk however full."""
    return LocalLog.open(directory, LogSettings(min_free_bytes=0), subscription=subscription)


@asynccontextmanager
async def open_service(
    directory: Path,
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    database_url: str = "",
    open_log: OpenLog = open_local_log,
) -> AsyncIterator[Parts]:
    """Open a service on an empty directory, over the log that `open_log` opens."""
    database = Database.open(database_url or directory / "tailrace.db")
    access = Access(database, kinds=[protocol.key for protocol in protocols if protocol.key])
    access.bootstrap(ROOT_TOKEN)
    lake = Lake.open(directory / "lake")
    access.set_dataset_owners(lake.organisation)
    keys = IdempotencyKeys.open(directory / "idempotency.keys", IdempotencySettings(), now_ns=time.time_ns())
    lake.subscription.precede(keys.observe, keys.flush)
    log = open_log(directory / "log", lake.subscription)
    engine = DuckDB(table_root(directory / "lake"), directory / "temporary", QueryLimits())
    metrics = Metrics()
    fields = FieldStore(database)
    lookups = Lookups(lambda: engine)
    with ThreadPoolExecutor(2) as threads:
        service = LogIngestService(
            loop=asyncio.get_running_loop(),
            log=log,
            lake=lake,
            access=access,
            sessions=Sessions.open(directory / "sessions.key"),
            limits=Limits(),
            counters=metrics,
            max_backlog_bytes=BACKLOG_BYTES,
            executor=threads,
            lookups=lookups,
            tails=Tails(TailLimits(), lambda limits: engine),
            keys=keys,
            add_map_fields=fields.declare_map_fields,
        )
        service.open()
        try:
            yield Parts(service, lake, database, access, access.authenticate(ROOT_TOKEN), engine, metrics, fields, log)
        finally:
            service.close()
            lookups.close()
            await asyncio.to_thread(lake.close)
            log.close()
            engine.close()
            database.close()
