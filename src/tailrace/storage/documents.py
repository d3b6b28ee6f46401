"""Documents: the JSON objects that an organisation stores beside its events, such as dashboards and monitors."""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage.database import Database
from tailrace.storage.tables import documents, timestamp

MAX_DOCUMENTS = 10_000  # of one area of an organisation

WithinTransaction = Callable[[Connection], None]


class Document(Struct, frozen=True):
    """A stored document."""

    id: str
    created_by: str  # id of the user
    created_at: str  # RFC 3339, UTC
    updated_at: str  # RFC 3339, UTC
    updated_by: str  # id of the user that made the last change
    version: int  # from 1; rises with every change
    body: dict[str, Any]  # as it was given


class VersionMismatch(Conflict):
    """A document has changed since the version that a change was based on."""

    def __init__(self, current: Document, version: int) -> None:
        super().__init__(f"{current.id!r} has version {current.version}, not {version}: read it again")
        self.current = current


class DocumentStore:
    """The documents of a database, by organisation, area (such as "annotations") and id. Thread-safe.

    What `also` writes is committed in the same transaction as the change of a document, or not at all.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def list_in(self, organisation: str, area: str) -> list[Document]:
        """Return all of an area, oldest first."""
        mine = (documents.c.organisation == organisation) & (documents.c.area == area)
        with self._database.reading() as connection:
            rows = connection.execute(select(documents).where(mine).order_by(documents.c.number))
            return [_document(row) for row in rows]

    def list_everywhere(self, area: str) -> list[tuple[str, Document]]:
        """Return all of an area, each with its organisation, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(documents).where(documents.c.area == area).order_by(documents.c.number))
            return [(row.organisation, _document(row)) for row in rows]

    def get(self, organisation: str, area: str, document_id: str) -> Document:
        """Return one; raise NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(select(documents).where(_is_document(organisation, area, document_id))).first()
        if row is None:
            raise NotFound(f"{document_id!r} not found in {area}")
        return _document(row)

    def add(
        self,
        organisation: str,
        area: str,
        body: Mapping[str, Any],
        *,
        user_id: str,
        document_id: str | None = None,
        unique: str = "",
        also: WithinTransaction | None = None,
    ) -> Document:
        """Add a new one, with an id of its own unless one is given.

        Raise BadRequest past MAX_DOCUMENTS, Conflict where there is one of that id, or one with the same value of the
        member `unique` of the body.
        """
        new_id = document_id or str(uuid.uuid4())
        now = timestamp(self._clock())
        mine = (documents.c.organisation == organisation) & (documents.c.area == area)
        with self._database.changing() as connection:
            count = connection.scalar(select(func.count()).select_from(documents).where(mine)) or 0
            if count >= MAX_DOCUMENTS:
                raise BadRequest(f"there are {count} {area}, which is the limit")
            if connection.scalar(select(documents.c.id).where(_is_document(organisation, area, new_id))) is not None:
                raise Conflict(f"there is {new_id!r} in {area} already")
            _require_unique(connection, organisation, area, new_id, body, unique)
            connection.execute(
                insert(documents).values(
                    organisation=organisation,
                    area=area,
                    id=new_id,
                    who=user_id,
                    created_at=now,
                    updated_at=now,
                    updated_by=user_id,
                    version=1,
                    body=dict(body),
                )
            )
            if also is not None:
                also(connection)
        return Document(new_id, user_id, now, now, user_id, 1, dict(body))

    def replace(
        self,
        organisation: str,
        area: str,
        document_id: str,
        change: Callable[[Document], Mapping[str, Any]],
        *,
        user_id: str,
        version: int | None = None,
        unique: str = "",
        also: WithinTransaction | None = None,
    ) -> Document:
        """Put what `change` makes of the document that there is in its place; return that.

        No other change comes between what `change` is given and what it gives, and it writes nothing itself. Raises
        NotFound, VersionMismatch where a version is given and it is not that, Conflict as `add` does, and what
        `change` raises; then nothing is changed.
        """
        with self._database.changing() as connection:
            is_document = _is_document(organisation, area, document_id)
            row = connection.execute(select(documents).where(is_document)).first()
            if row is None:
                raise NotFound(f"{document_id!r} not found in {area}")
            before = _document(row)
            if version is not None and before.version != version:
                raise VersionMismatch(before, version)
            body = dict(change(before))
            _require_unique(connection, organisation, area, document_id, body, unique)
            now = timestamp(self._clock())
            values = {"updated_at": now, "updated_by": user_id, "version": before.version + 1, "body": body}
            connection.execute(update(documents).where(is_document).values(**values))
            if also is not None:
                also(connection)
        return Document(before.id, before.created_by, before.created_at, now, user_id, before.version + 1, body)

    def delete(self, organisation: str, area: str, document_id: str, *, also: WithinTransaction | None = None) -> None:
        """Delete one; raise NotFound."""
        is_document = _is_document(organisation, area, document_id)
        with self._database.changing() as connection:
            if not connection.execute(delete(documents).where(is_document)).rowcount:
                raise NotFound(f"{document_id!r} not found in {area}")
            if also is not None:
                also(connection)


def _is_document(organisation: str, area: str, document_id: str) -> ColumnElement[bool]:
    return (documents.c.organisation == organisation) & (documents.c.area == area) & (documents.c.id == document_id)


def _require_unique(
    connection: Connection, organisation: str, area: str, document_id: str, body: Mapping[str, Any], member: str
) -> None:
    if not member:
        return
    others = (documents.c.organisation == organisation) & (documents.c.area == area) & (documents.c.id != document_id)
    for other in connection.scalars(select(documents.c.body).where(others)):
        if other[member] == body[member]:
            raise Conflict(f"there is one of the {member} {body[member]!r} in {area} already")


def _document(row: Row[Any]) -> Document:
    return Document(row.id, row.who, row.created_at, row.updated_at, row.updated_by, row.version, row.body)
