"""What tests of a fleet do to its leases: time passes by the database's clock, and by that of a node."""

from sqlalchemy import update

from tailrace.fleet.clocks import LocalClock
from tailrace.storage.database import Database
from tailrace.storage.tables import leases, nodes


class SetClock(LocalClock):
    """The clocks of a machine, which a test sets."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.wall_s = 2e9
        super().__init__(lambda: self.monotonic_s, lambda: self.wall_s)

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.monotonic_s += seconds
        self.wall_s += seconds


def let_pass(database: Database, seconds: float) -> None:
    """Let time go by for all leases of a database."""
    ms = round(seconds * 1000)
    with database.changing() as connection:
        connection.execute(update(leases).values(expires_ms=leases.c.expires_ms - ms))
        connection.execute(
            update(nodes).values(expires_ms=nodes.c.expires_ms - ms, ready_since_ms=nodes.c.ready_since_ms - ms)
        )
