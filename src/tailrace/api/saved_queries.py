"""Queries that were saved as they were run."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import delete, func, insert, select

from tailrace.events import NotFound
from tailrace.storage.database import Database
from tailrace.storage.tables import query_history, timestamp

MAX_HISTORY = 10_000  # saved queries; beyond it the oldest are deleted


class SavedQuery(Struct, frozen=True, rename="camel"):
    """A query as it was sent, with its kind as the client named it."""

    id: str
    kind: str
    dataset: str  # in the path of the request; "" where the query names its datasets
    who: str  # id of the user
    created: str  # RFC 3339, UTC
    query: dict[str, Any]


class SavedQueryStore:
    """The saved queries of a database. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def save(self, kind: str, query: Mapping[str, Any], *, dataset: str, who: str) -> str:
        """Save a query and return its id; delete the oldest beyond MAX_HISTORY."""
        query_id = str(uuid.uuid4())
        created = timestamp(self._clock())
        with self._database.changing() as connection:
            connection.execute(
                insert(query_history).values(
                    id=query_id, kind=kind, dataset=dataset, who=who, created_at=created, query=dict(query)
                )
            )
            count = connection.scalar(select(func.count()).select_from(query_history)) or 0
            if count > MAX_HISTORY:
                oldest = select(query_history.c.number).order_by(query_history.c.number).limit(count - MAX_HISTORY)
                connection.execute(delete(query_history).where(query_history.c.number.in_(oldest)))
        return query_id

    def get(self, query_id: str, *, who: str) -> SavedQuery:
        """Return a saved query of a user; raise NotFound."""
        mine = (query_history.c.id == query_id) & (query_history.c.who == who)
        with self._database.reading() as connection:
            row = connection.execute(select(query_history).where(mine)).first()
        if row is None:
            raise NotFound(f"saved query {query_id!r} not found")
        return SavedQuery(row.id, row.kind, row.dataset, row.who, row.created_at, row.query)
