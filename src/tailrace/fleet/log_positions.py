"""How far the events of each shard are in their tables, as the lake nodes tell it: what of the logs may be deleted."""

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from tailrace.fleet.leases import locked_leases, upsert_into
from tailrace.fleet.shards import SHARDS, lease_name
from tailrace.log import Positions, furthest
from tailrace.storage.database import Database
from tailrace.storage.tables import log_positions


class LogPositions:
    """The positions of all shards, in the database. Thread-safe.

    Each method raises StorageUnavailable where the database does not answer.
    """

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self._node = node

    def publish(self, told: Mapping[int, tuple[int, Positions]]) -> set[int]:
        """Tell of shards up to where everything of theirs is in their tables, each with the fence of its lease.

        Nothing is told of a shard that another node has taken meanwhile, as that one may have datasets of which this
        node does not know. Return the shards that are not that. What was told before stays true.
        """
        held = [(lease_name(shard), fence) for shard, (fence, _) in told.items()]
        if not held:
            return set()
        with self._database.updating() as connection:
            own = locked_leases(connection, self._node, held)
            told_before = select(log_positions.c.shard, log_positions.c.positions).where(log_positions.c.shard.in_(own))
            known: dict[str, Positions] = {row.shard: row.positions for row in connection.execute(told_before)}
            kept = {shard for shard in told if lease_name(shard) in own}
            rows = []
            for shard in sorted(kept):
                name, (_, positions) = lease_name(shard), told[shard]
                if (new := furthest([known.get(name, {}), positions])) != known.get(name):
                    rows.append({"shard": name, "positions": new})
            if rows:
                insert = upsert_into(connection, log_positions)
                changed = {"positions": insert.excluded.positions}
                connection.execute(insert.on_conflict_do_update(index_elements=["shard"], set_=changed), rows)
            return kept

    def released(self) -> Positions:
        """Return the positions in the writers' logs up to which every shard has everything in its tables.

        Nothing is released until each shard was told of.
        """
        with self._database.reading() as connection:
            told = list(connection.scalars(select(log_positions.c.positions)))
        return lowest(told) if len(told) == SHARDS else {}

    def highest(self, writer: str) -> int:
        """Return the highest position in a writer's log that any shard was told to have."""
        with self._database.reading() as connection:
            told = list(connection.scalars(select(log_positions.c.positions)))
        return furthest(told).get(writer, 0)


def lowest(several: Iterable[Positions]) -> dict[str, int]:
    """Return the lowest position in each writer's log, of those that all have."""
    found: dict[str, int] | None = None
    for positions in several:
        if found is None:
            found = dict(positions)
        else:
            found = {writer: min(found[writer], positions[writer]) for writer in found.keys() & positions.keys()}
    return found or {}
