"""Positions in the logs of several writers."""

from collections.abc import Iterable, Mapping

FIRST_WRITER = ""  # the server's own process; tables and files name its position without a writer

Positions = Mapping[str, int]
"""How far something has come in each writer's log, by writer: the last position, 0 for a writer that is missing."""


def covers(positions: Positions, others: Positions) -> bool:
    """Return whether positions are as far as others in the log of every writer."""
    return all(positions.get(writer, 0) >= position for writer, position in others.items())


def same(positions: Positions, others: Positions) -> bool:
    """Return whether positions are others, a writer that is missing being at 0."""
    return covers(positions, others) and covers(others, positions)


def furthest(several: Iterable[Positions]) -> dict[str, int]:
    """Return the highest position in each writer's log."""
    found: dict[str, int] = {}
    for positions in several:
        for writer, position in positions.items():
            found[writer] = max(found.get(writer, 0), position)
    return found
