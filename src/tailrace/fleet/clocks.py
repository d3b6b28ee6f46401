"""Clocks of a fleet: the database's, by which leases end, and a node's own, by which it believes in them for less."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class DatabaseNow(FunctionElement[int]):
    """The time by the database's clock, in milliseconds since 1970, as an expression of SQL.

    It is the time of the moment, not of the transaction, which may have waited for another.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(DatabaseNow, "postgresql")
def _postgresql_now(element: DatabaseNow, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(DatabaseNow, "sqlite")
def _sqlite_now(element: DatabaseNow, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


class ClockReading(Struct, frozen=True):
    """A moment by the clocks of this machine, in seconds."""

    monotonic_s: float
    wall_s: float


class LocalClock:
    """The clocks of this machine, of which the one counts that shows more time gone by.

    The monotonic one stands still while a machine is suspended, the other may be set back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def read(self) -> ClockReading:
        """Return what the clocks show now."""
        return ClockReading(self._monotonic(), self._wall())

    def elapsed_s(self, since: ClockReading) -> float:
        """Return how long ago a moment was, at most."""
        return max(self._monotonic() - since.monotonic_s, self._wall() - since.wall_s)
