"""The open stores of a node: the database and the object stores that all nodes share, and its own part of them."""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from tailrace.access import Access, Sessions
from tailrace.api.field_store import FieldStore
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.events import TailraceError
from tailrace.fleet.flight.credentials import Credentials
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.fleet.flight.server import LakeServer
from tailrace.fleet.flight.tails import TailFeeds
from tailrace.fleet.lake_keeper import LakeKeeper
from tailrace.fleet.leases import Leases
from tailrace.fleet.log_positions import LogPositions
from tailrace.fleet.membership import FleetMembership
from tailrace.fleet.nodes import NodeRole, Nodes
from tailrace.ingest.idempotency_keys import IdempotencyKeys
from tailrace.lake import Catalog, SharedLake
from tailrace.lake.unowned import UnownedDatasets
from tailrace.lake.used_positions import highest_position
from tailrace.log import ObjectLog, Subscription, deliver_nothing, objects_of, require_conditional_put
from tailrace.monitors import MonitorStore
from tailrace.protocols.registry import PROTOCOLS
from tailrace.server.data_directory import opening, refuse, remove_temporary
from tailrace.server.fleet.identity import host_of
from tailrace.server.fleet.keeping import Leadership, LogCleaning, NodeKeeper, ReleasedPositions
from tailrace.server.fleet.owners import FleetOwners
from tailrace.server.layout import KEYS_FILE, OWNER_TOKEN_FILE
from tailrace.server.metrics import Latency
from tailrace.server.owner_token import ensure_owner_token
from tailrace.server.settings import Settings
from tailrace.server.stores import CommonStores, lake_settings, open_database
from tailrace.server.table_store import open_catalog
from tailrace.storage.database import Database
from tailrace.storage.documents import DocumentStore
from tailrace.storage.object_store import ObjectStore, open_s3

HOT_ROWS_BYTES = 512 * 1024 * 1024  # of other nodes', which a node keeps for queries


logger = logging.getLogger(__name__)


class OwnLake(Struct, frozen=True, eq=False):
    """The lake of the datasets that a node has, and what serves it to others."""

    lake: SharedLake
    server: LakeServer


class NodeStores(CommonStores, frozen=True, eq=False, kw_only=True):
    """The open stores of a node."""

    remote: RemoteLake  # the same as `lake`
    own: OwnLake | None  # of a lake node
    membership: FleetMembership
    cleaning: LogCleaning


def open_node_stores(
    settings: Settings,
    data: Path,
    puts: Latency,
    *,
    name: str,
    url: str,
    credentials: Credentials,
    leadership: Callable[[], Leadership],
) -> NodeStores:
    """Open the stores of a node of that name, which others reach at a URL; raise SystemExit where one cannot be used.

    The node has not joined yet. Puts into the log are timed in `puts`.
    """
    database = open_database(settings.server.database_url, data)
    access = Access(database, kinds=[protocol.key for protocol in PROTOCOLS if protocol.key])
    with opening(data / OWNER_TOKEN_FILE):
        owner_token = ensure_owner_token(access, data / OWNER_TOKEN_FILE, settings.server.root_token)
    with opening(data):
        catalog = open_catalog(settings, data, _derived(settings, "owner of the tables").hex()[:32])
        keys = IdempotencyKeys.open(data / KEYS_FILE, settings.idempotency, now_ns=time.time_ns())
    logs = _open_logs(settings)
    feeds = TailFeeds()
    positions = LogPositions(database, name)
    keeper = NodeKeeper(leadership) if settings.fleet.role == "lake" else None
    own = None if keeper is None else _open_own(settings, catalog, logs, name, credentials, keeper, feeds, positions)
    membership = _membership(settings, database, name, url, credentials.scheme, own, keeper)
    remote = RemoteLake(
        FleetOwners(membership, keeper),
        credentials,
        catalog,
        own=None if own is None else own.lake,
        changes=None if own is None else own.server.changes,
        feeds=feeds,
        ownerless=UnownedDatasets(catalog, logs, lake_settings(settings)),
        cache_bytes=HOT_ROWS_BYTES,
    )
    access.set_dataset_owners(remote.organisation)
    remove_temporary(data)
    floor = partial(_used_positions, logs, catalog, positions, name)
    subscription, log = _open_log(settings, logs, name, floor, keys, puts)
    return NodeStores(
        data=data,
        database=database,
        access=access,
        sessions=Sessions(_derived(settings, "sessions")),
        owner_token=owner_token,
        documents=DocumentStore(database),
        fields=FieldStore(database),
        saved_queries=SavedQueryStore(database),
        monitors=MonitorStore(database),
        catalog=catalog,
        lake=remote,
        remote=remote,
        own=own,
        membership=membership,
        log=log,
        cleaning=LogCleaning(positions, membership, logs, subscription, None if keeper is None else keeper.lake),
        keys=keys,
    )


def close_node_stores(stores: NodeStores) -> None:
    """Leave the fleet, with everything committed, and close what is open."""
    try:
        stores.membership.leave()
    finally:
        stores.cleaning.close()
        stores.remote.close()
        if stores.own is not None:
            stores.own.server.close()
            stores.own.lake.close()
        stores.log.close()
        try:
            stores.keys.flush()
        except OSError:
            logger.exception("the idempotency keys of the last seconds could not be written")
        stores.database.close()


def _derived(settings: Settings, purpose: str) -> bytes:
    """Return what all nodes make of the fleet's secret for a purpose, which tells nothing of it."""
    return hashlib.sha256(f"tailrace {purpose}\n{settings.fleet.fleet_secret}".encode()).digest()


def _open_logs(settings: Settings) -> ObjectStore:
    try:
        store = open_s3(settings.server.log)
        require_conditional_put(store, settings.log.put_timeout_s)
    except (ValueError, TailraceError) as error:
        refuse(f"the log cannot be opened: {error} (setting log)")
    return store


def _used_positions(logs: ObjectStore, catalog: Catalog, positions: LogPositions, name: str) -> int:
    """Return up to which position a node's log is used up, of which its objects say nothing.

    Where there are none though tables know its positions, as where these were restored, or the log is elsewhere by
    now, a new event would be taken for one that is in its table already, or is released.
    """
    if objects_of(logs, name):
        return 0  # the newest object always stays
    return max(highest_position(catalog, name), positions.highest(name))


def _open_log(
    settings: Settings,
    logs: ObjectStore,
    name: str,
    floor: Callable[[], int],
    keys: IdempotencyKeys,
    puts: Latency,
) -> tuple[Subscription, ObjectLog]:
    try:
        subscription = Subscription(deliver_nothing, floor=floor())
        subscription.precede(keys.observe, keys.flush)
        log = ObjectLog.open(logs, settings.log, writer=name, subscription=subscription, observe_put=puts.observe)
    except (OSError, ValueError, TailraceError) as error:
        refuse(f"the log cannot be opened: {error} (setting log)")
    return subscription, log


def _open_own(
    settings: Settings,
    catalog: Catalog,
    logs: ObjectStore,
    name: str,
    credentials: Credentials,
    keeper: NodeKeeper,
    feeds: TailFeeds,
    positions: LogPositions,
) -> OwnLake:
    lake = SharedLake.open_shared(
        catalog,
        logs,
        lake_settings(settings),
        owns=keeper.owns,
        is_released=ReleasedPositions(positions).has,
        is_gone=keeper.is_gone,
        published=feeds.publish,
    )
    keeper.lake = lake_keeper = LakeKeeper(lake, positions, feeds.forget)
    host, port = settings.server.host, settings.fleet.flight_port
    try:
        server = LakeServer(
            lake,
            node=name,
            host=host,
            port=port,
            credentials=credentials,
            owns=keeper.owns,
            shards=lake_keeper.shards,
            feeds=feeds,
        )
    except OSError as error:
        refuse(f"{error} (setting flight_port)")
    return OwnLake(lake, server)


def _membership(
    settings: Settings,
    database: Database,
    name: str,
    url: str,
    scheme: str,
    own: OwnLake | None,
    keeper: NodeKeeper | None,
) -> FleetMembership:
    role, lease_s = NodeRole(settings.fleet.role), settings.fleet.lease_s
    flight_url = "" if own is None else f"{scheme}://{host_of(url)}:{own.server.port}"
    nodes = Nodes(database, name=name, role=role, url=url, flight_url=flight_url, lease_s=lease_s)
    leases = Leases(database, name, lease_s=lease_s)
    membership = FleetMembership(nodes, leases, name=name, role=role, lease_s=lease_s, keeper=keeper)
    if keeper is not None:
        keeper.membership = membership
    return membership
