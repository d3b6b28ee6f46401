"""The nodes of a fleet: a row each in the database, with a lease of its own."""

import uuid
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from sqlalchemy import case, delete, select, update

from tailrace.fleet.clocks import DatabaseNow
from tailrace.fleet.leases import MS
from tailrace.storage.database import Database
from tailrace.storage.tables import nodes as table

FORGOTTEN_MS = 24 * 3600 * MS  # after which the row of a node that is gone is deleted


class NodeRole(StrEnum):
    """What a node does of the server's work."""

    ALL = "all"  # everything, alone
    INGEST = "ingest"  # takes events in
    LAKE = "lake"  # keeps tables and hot rows
    QUERY = "query"  # runs queries


class FleetNode(Struct, frozen=True):
    """A live node."""

    name: str
    role: NodeRole
    url: str  # where other nodes reach it over HTTP
    flight_url: str  # the same by Arrow Flight; empty where it has no tables
    is_ready: bool  # it does what its role says: it neither starts nor stops
    is_settled: bool  # it has been ready for the time of a lease


class NodeReplaced(Exception):
    """Another process has joined under the name of this node."""


class Nodes:
    """The nodes in a database, as one of them sees them. Thread-safe.

    Each method raises StorageUnavailable where the database does not answer.
    """

    def __init__(
        self, database: Database, *, name: str, role: NodeRole, url: str, flight_url: str = "", lease_s: float
    ) -> None:
        self._database = database
        self._name = name
        self._row = {"role": role.value, "url": url, "flight_url": flight_url}
        self._lease_ms = round(lease_s * MS)
        self._session = uuid.uuid4().hex

    def join(self) -> None:
        """Add this node, not ready yet; a former process under its name is told so at its next renewal."""
        row = {**self._row, "session": self._session, "is_ready": False, "ready_since_ms": 0}
        end = DatabaseNow() + self._lease_ms
        with self._database.changing() as connection:
            connection.execute(delete(table).where(table.c.expires_ms < DatabaseNow() - FORGOTTEN_MS))
            updated = connection.execute(update(table).where(table.c.name == self._name).values(**row, expires_ms=end))
            if not updated.rowcount:
                connection.execute(table.insert().values(name=self._name, **row, expires_ms=end))

    def renew(self, *, is_ready: bool) -> None:
        """Begin the time of this node anew. Raise NodeReplaced."""
        now = DatabaseNow()
        since = case((table.c.is_ready.is_(True), table.c.ready_since_ms), else_=now) if is_ready else 0
        with self._database.updating() as connection:
            updated = connection.execute(
                update(table)
                .where(table.c.name == self._name, table.c.session == self._session)
                .values(is_ready=is_ready, ready_since_ms=since, expires_ms=now + self._lease_ms)
            )
        if not updated.rowcount:
            raise NodeReplaced(f"another process runs as the node {self._name}")

    def leave(self) -> None:
        """Remove this node, unless another process has joined under its name."""
        with self._database.updating() as connection:
            connection.execute(delete(table).where(table.c.name == self._name, table.c.session == self._session))

    def live(self) -> Mapping[str, FleetNode]:
        """Return the nodes whose time has not run out, by name."""
        now = DatabaseNow()
        is_settled = case((table.c.ready_since_ms + self._lease_ms <= now, table.c.is_ready), else_=False)
        columns = (table.c.name, table.c.role, table.c.url, table.c.flight_url, table.c.is_ready, is_settled)
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).where(table.c.expires_ms > now).order_by(table.c.name))
            return {
                name: FleetNode(name, NodeRole(role), url, flight_url, bool(ready), bool(settled))
                for name, role, url, flight_url, ready, settled in rows
            }
