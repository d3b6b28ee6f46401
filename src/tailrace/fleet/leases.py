"""Leases in the database: a name belongs to one node for a time, with a fence that rises at every change of hands."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from sqlalchemy import Connection, Table, and_, case, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from tailrace.fleet.clocks import ClockReading, DatabaseNow, LocalClock
from tailrace.storage.database import Database
from tailrace.storage.tables import leases as table

BELIEVED_SHARE = 0.8  # of a lease's time, from before its renewal was sent: clocks differ in how fast they run
MS = 1000


class Lease(Struct, frozen=True):
    """A lease that this node was given."""

    name: str
    fence: int  # higher than that of every node that had it before
    sent: ClockReading  # before the database was asked for it


class LeaseHolder(Struct, frozen=True):
    """Who has a lease by the database."""

    node: str
    fence: int
    is_live: bool  # it has not lapsed, nor was it given up


class Leases:
    """The leases of a database, as one node sees them. Thread-safe.

    Each method raises StorageUnavailable where the database does not answer.
    """

    def __init__(self, database: Database, node: str, *, lease_s: float, clock: LocalClock | None = None) -> None:
        self._database = database
        self._node = node
        self._lease_ms = round(lease_s * MS)
        self._believed_s = lease_s * BELIEVED_SHARE
        self._clock = clock or LocalClock()

    def take(self, names: Iterable[str]) -> dict[str, Lease]:
        """Take those of the names that are free, or lapsed, or were a former process's of this node; return them."""
        wanted = sorted(set(names))  # in one order, as two nodes that lock rows in different ones wait for each other
        if not wanted:
            return {}
        sent = self._clock.read()
        with self._database.updating() as connection:
            insert = upsert_into(connection, table).values(
                [{"name": name, "node": self._node, "fence": 1, "expires_ms": self._end()} for name in wanted]
            )
            statement = insert.on_conflict_do_update(
                index_elements=[table.c.name],
                set_={"node": self._node, "fence": table.c.fence + 1, "expires_ms": self._end()},
                where=or_(table.c.expires_ms <= DatabaseNow(), table.c.node == self._node),
            ).returning(table.c.name, table.c.fence)
            return {name: Lease(name, fence, sent) for name, fence in connection.execute(statement)}

    def renew(self, leases: Iterable[Lease]) -> dict[str, Lease]:
        """Begin their time anew; return those that are still this node's, also where they had lapsed meanwhile."""
        held = [(lease.name, lease.fence) for lease in leases]
        if not held:
            return {}
        sent = self._clock.read()
        with self._database.updating() as connection:
            own = locked_leases(connection, self._node, held)
            if own:
                connection.execute(update(table).where(table.c.name.in_(own)).values(expires_ms=self._end()))
        return {name: Lease(name, fence, sent) for name, fence in own.items()}

    def release(self, leases: Iterable[Lease]) -> None:
        """Give leases up, so that another node may take them at once; the fences stay."""
        held = [(lease.name, lease.fence) for lease in leases]
        if not held:
            return
        with self._database.updating() as connection:
            own = locked_leases(connection, self._node, held)
            if own:
                connection.execute(update(table).where(table.c.name.in_(own)).values(expires_ms=0))

    def is_believed(self, lease: Lease) -> bool:
        """Return whether no other node can have a lease yet, however late its last renewal arrived."""
        return self._clock.elapsed_s(lease.sent) < self._believed_s

    def holders(self) -> Mapping[str, LeaseHolder]:
        """Return who has each lease, or had it last, by its name."""
        is_live = case((table.c.expires_ms > DatabaseNow(), True), else_=False)
        with self._database.reading() as connection:
            rows = connection.execute(select(table.c.name, table.c.node, table.c.fence, is_live))
            return {name: LeaseHolder(node, fence, bool(live)) for name, node, fence, live in rows}

    def _end(self) -> DatabaseNow:
        """Return when a lease ends that begins now."""
        return DatabaseNow() + self._lease_ms  # type: ignore[return-value]


def locked_leases(connection: Connection, node: str, held: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return those of some leases, by name and fence, that are still a node's, locked until the transaction ends."""
    rows = connection.execute(
        select(table.c.name, table.c.fence)
        .where(and_(table.c.node == node, tuple_(table.c.name, table.c.fence).in_(held)))
        .order_by(table.c.name)
        .with_for_update()
    )
    return {row.name: row.fence for row in rows}


def upsert_into(connection: Connection, into: Table) -> "postgresql.Insert | sqlite.Insert":
    """Return an insertion into a table that may say what becomes of a row that is there."""
    return postgresql.insert(into) if connection.dialect.name == "postgresql" else sqlite.insert(into)
