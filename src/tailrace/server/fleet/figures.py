"""Whether a node is ready for what its role is, and what it measures."""

import asyncio

from tailrace.api.services import ServerHealth
from tailrace.fleet.nodes import NodeRole
from tailrace.lake import SharedLake
from tailrace.query import Engine
from tailrace.server.figures import gauges
from tailrace.server.fleet.parts import NodeServer
from tailrace.server.metrics import exposition
from tailrace.server.readiness import FAULTS_LISTED, disk_fault, summary


async def node_health(node: NodeServer, stopping: asyncio.Event) -> ServerHealth:
    """Return whether a node has its part in the fleet, and its log, its tables and its engine work."""
    stores, own_lake = node.stores, _own_lake(node)
    if stopping.is_set():
        return ServerHealth("the server is shutting down")
    if not node.application.is_open:
        return ServerHealth("the node is starting")
    if fault := stores.membership.fault or stores.log.fault:
        return ServerHealth(fault)
    if own_lake is not None and (fault := own_lake.failure or own_lake.log_fault):
        return ServerHealth(fault)
    engine = None if stores.membership.role is NodeRole.INGEST else node.queries.engine
    if reason := await asyncio.to_thread(_fault, node, own_lake, engine):
        return ServerHealth(reason)
    damage = list(own_lake.damage().values()) if own_lake is not None else []
    more = len(damage) - FAULTS_LISTED
    listed = damage[:FAULTS_LISTED]
    return ServerHealth("", (*listed, f"{more} more datasets have damaged files") if more > 0 else tuple(listed))


def _own_lake(node: NodeServer) -> SharedLake | None:
    own = node.stores.own
    return None if own is None else own.lake


def _fault(node: NodeServer, own_lake: SharedLake | None, engine: Engine | None) -> str:
    """Check the disk, the tables and the engine, which may block."""
    return (
        disk_fault("data directory", node.stores.data, node.settings.log.min_free_bytes)
        or (summary(own_lake.faults()) if own_lake is not None else "")
        or (engine.fault() if engine is not None else "")
    )


async def node_figures(node: NodeServer, stopping: asyncio.Event) -> bytes:
    """Return what a node counts and measures, as Prometheus reads it."""
    is_ready = not (await node_health(node, stopping)).reason
    lake = _own_lake(node)
    damage = [*node.stores.log.damage, *(lake.log_damage if lake is not None else ())]
    return exposition(node.metrics, gauges(node, lake, node.leadership, damage, is_ready=is_ready))
