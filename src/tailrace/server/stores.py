"""The stores of a server: database, lake and log; opened, replayed and closed."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from tailrace.access import Access, Sessions
from tailrace.api.field_store import FieldStore
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.events import TailraceError
from tailrace.ingest.idempotency_keys import IdempotencyKeys
from tailrace.lake import Catalog, DatasetStore, Lake, LakeSettings
from tailrace.log import FIRST_WRITER, LocalLog, Log
from tailrace.monitors import MonitorStore
from tailrace.protocols.registry import PROTOCOLS
from tailrace.server.data_directory import opening, refuse, remove_temporary
from tailrace.server.layout import (
    KEYS_FILE,
    OWNER_TOKEN_FILE,
    RESERVE_FILE,
    SESSIONS_FILE,
    WORKER_LOGS_DIRECTORY,
)
from tailrace.server.log_opening import open_log, open_worker_logs, remember_stop, worker_names
from tailrace.server.metrics import Latency
from tailrace.server.owner_token import OwnerToken, ensure_owner_token
from tailrace.server.settings import Settings
from tailrace.server.table_store import has_tables, open_catalog
from tailrace.storage.database import FILE_NAME as DATABASE_FILE
from tailrace.storage.database import Database
from tailrace.storage.documents import DocumentStore
from tailrace.storage.legacy import ImportRefused, import_legacy
from tailrace.storage.migrations import UpgradeFailed
from tailrace.storage.reserve import Reserve

SNAPSHOT_TIMEOUTS = 4  # a query waits for its turn and runs, each for one at most, on the files that it began with


class CommonStores(Struct, frozen=True, eq=False, kw_only=True):
    """The open stores of a server, whatever its role."""

    data: Path
    database: Database
    access: Access
    sessions: Sessions
    owner_token: OwnerToken
    documents: DocumentStore
    fields: FieldStore
    saved_queries: SavedQueryStore
    monitors: MonitorStore
    catalog: Catalog
    lake: DatasetStore  # of all datasets
    log: Log
    keys: IdempotencyKeys


class Stores(CommonStores, frozen=True, eq=False, kw_only=True):
    """The open stores of a server that does everything alone."""

    is_first_start: bool  # on this directory
    reserve: Reserve
    own_lake: Lake  # the same as `lake`
    log_url: str  # of an object store; empty for the directory in the data directory
    worker_logs: Mapping[str, LocalLog]  # by writer; those that workers append to are closed after the replay
    workers: Sequence[str]  # the writers whose logs those are


def open_stores(settings: Settings, data: Path, flushes: Latency) -> Stores:
    """Open the stores of a data directory; raise SystemExit where one cannot be used.

    The log's flushes, or its puts into an object store, are timed in `flushes`. It is not replayed yet.
    """
    reserve = Reserve(data / RESERVE_FILE)
    with opening(data / RESERVE_FILE):
        reserve.release()
    database = open_database(settings.server.database_url, data)
    access = Access(database, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])
    with opening(data / SESSIONS_FILE):
        sessions = Sessions.open(data / SESSIONS_FILE)
    with opening(data / OWNER_TOKEN_FILE):
        owner_token = ensure_owner_token(access, data / OWNER_TOKEN_FILE, settings.server.root_token)
    is_first_start = not has_tables(settings, data)
    with opening(data):
        lake = Lake.open(open_catalog(settings, data), lake_settings(settings), reserve=reserve)
        access.set_dataset_owners(lake.organisation)
        keys = IdempotencyKeys.open(data / KEYS_FILE, settings.idempotency, now_ns=time.time_ns())
        lake.subscription.precede(keys.observe, keys.flush)
        log = open_log(settings, data, lake.subscription, flushes)
        workers = worker_names(settings)
        worker_logs = open_worker_logs(settings.log, data / WORKER_LOGS_DIRECTORY, workers, lake)
    remove_temporary(data)
    return Stores(
        data=data,
        is_first_start=is_first_start,
        reserve=reserve,
        database=database,
        access=access,
        sessions=sessions,
        owner_token=owner_token,
        documents=DocumentStore(database),
        fields=FieldStore(database),
        saved_queries=SavedQueryStore(database),
        monitors=MonitorStore(database),
        catalog=lake.catalog,
        lake=lake,
        own_lake=lake,
        log=log,
        log_url=settings.server.log,
        worker_logs=worker_logs,
        workers=workers,
        keys=keys,
    )


def replay(stores: Stores, max_backlog_bytes: int) -> dict[str, int]:
    """Give the lake the batches in the logs; it skips those that its tables have already. The keys of all are kept.

    Return the positions of the workers' logs up to which that was done.
    """
    lake, keys = stores.own_lake, stores.keys
    first = lake.committed_position() + 1
    for position, batch in stores.log.read(min(first, keys.replay_from) if keys.is_used else first):
        keys.observe([(position, batch)])
        if position < first:
            continue
        lake.wait_for_capacity(max_backlog_bytes)
        lake.accept(position, batch)
    for writer, log in stores.worker_logs.items():
        for position, batch in log.read(lake.committed_position(writer) + 1):
            lake.wait_for_capacity(max_backlog_bytes)
            lake.accept(position, batch, writer)
    lake.replayed({FIRST_WRITER: stores.log.read, **{writer: log.read for writer, log in stores.worker_logs.items()}})
    positions = {}
    for writer in stores.workers:
        stores.worker_logs[writer].close()
        positions[writer] = stores.worker_logs[writer].durable_position
    return positions


def close_stores(stores: Stores) -> None:
    """Commit what is in memory, and close what is open."""
    # The lake first: committing releases segments of the log.
    try:
        stores.own_lake.close()
    finally:
        stores.log.close()
        remember_stop(stores.data, stores.log, stores.own_lake.committed_position())
        for writer, log in stores.worker_logs.items():
            if writer not in stores.workers:
                log.close()
        stores.database.close()


def open_database(url: str, data: Path) -> Database:
    """Open the database at a URL, or without one in the data directory; raise SystemExit where it cannot be used."""
    if not url:
        with opening(data / DATABASE_FILE):
            import_legacy(data)
            return Database.open(data / DATABASE_FILE)
    try:
        import_legacy(data, url)
        return Database.open(url)
    except ModuleNotFoundError as error:
        refuse(f"setting database_url needs the package {error.name}: pip install tailrace[postgres] has psycopg")
    except ImportRefused as error:
        refuse(str(error))
    except (SQLAlchemyError, UpgradeFailed, OSError, TailraceError) as error:
        cause = error.__cause__ if isinstance(error, TailraceError) and error.__cause__ else error
        reason = str(cause).splitlines()[0]
        refuse(f"the database cannot be opened: {reason} (setting database_url)")


def lake_settings(settings: Settings) -> LakeSettings:
    """Return the settings of the lake, in which a file stays for as long as a query may read it."""
    snapshot_s = SNAPSHOT_TIMEOUTS * settings.query.timeout_s
    kept_s = max(settings.lake.maintenance.keep_removed_s, snapshot_s)
    return replace(settings.lake, maintenance=replace(settings.lake.maintenance, keep_removed_s=kept_s))
