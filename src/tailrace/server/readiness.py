"""Readiness: whether the server can take events and answer queries, and why not."""

import asyncio
import os
from pathlib import Path

from tailrace.api.services import ServerHealth
from tailrace.lake import Lake
from tailrace.query import Engine
from tailrace.server.layout import LOG_DIRECTORY
from tailrace.server.parts import Server
from tailrace.storage.faults import reason_of

PROBE_FILE = "probe"
FAULTS_LISTED = 3  # of datasets; the others are a number


async def health(server: Server, stopping: asyncio.Event) -> ServerHealth:
    """Return whether the server, its workers, its log's disk, its tables and its query engine work."""
    service, stores, engine = server.service, server.stores, server.queries.engine
    if stopping.is_set():
        return ServerHealth("the server is shutting down")
    if service.closed is not None:
        return ServerHealth(service.closed.message)
    if fault := stores.own_lake.failure or stores.log.fault or (server.workers.fault if server.workers else ""):
        return ServerHealth(fault)
    min_free_bytes = server.settings.log.min_free_bytes
    # Where the log is in an object store, the disk is for what else is written.
    disk = ("data directory", stores.data) if stores.log_url else ("log", stores.data / LOG_DIRECTORY)
    return await asyncio.to_thread(_examine, *disk, min_free_bytes, stores.own_lake, engine)


def _examine(kind: str, directory: Path, min_free_bytes: int, lake: Lake, engine: Engine) -> ServerHealth:
    """Check the disk, the tables and the query engine, which may block."""
    reason = disk_fault(kind, directory, min_free_bytes) or summary(lake.faults()) or engine.fault()
    damage = lake.damage()
    listed = list(damage.values())[:FAULTS_LISTED]
    more = len(damage) - len(listed)
    return ServerHealth(reason, (*listed, f"{more} more datasets have damaged files") if more else tuple(listed))


def summary(faults: dict[str, str]) -> str:
    """Return the first faults in full, the others as a number."""
    listed = list(faults.values())[:FAULTS_LISTED]
    more = len(faults) - len(listed)
    return "; ".join(listed) + (f"; and {more} more datasets" if more else "")


def disk_fault(kind: str, directory: Path, min_free_bytes: int) -> str:
    """Return why the disk of a directory cannot be written, empty when it can."""
    probe = directory / PROBE_FILE
    try:
        file_system = os.statvfs(directory)
        if file_system.f_bavail * file_system.f_frsize < min_free_bytes:
            return f"less than {min_free_bytes} bytes (log_min_free_bytes) are free on the disk of the {kind}"
        probe.write_bytes(b"ok")
        probe.unlink()
    except OSError as error:
        return f"the {kind} cannot be written: {reason_of(error)}"
    return ""
