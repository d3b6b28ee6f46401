"""What an organisation keeps beside its events, in an SQL store: documents of the management API, notes on fields."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from msgspec import Struct
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)

from tailrace.events import BadRequest, Conflict, NotFound, checked_text
from tailrace.storage.database import changing, open_engine

MAX_DOCUMENTS = 10_000  # of one area of an organisation
MAX_MAP_FIELDS = 1_000  # of one dataset
MAX_FIELD_NAME_LENGTH = 1024  # characters

_metadata = MetaData()
_documents = Table(
    "documents",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("organisation", String(128), nullable=False, index=True),
    Column("area", String(32), nullable=False),  # such as "annotations"
    Column("id", String(128), nullable=False),
    Column("who", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("updated_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("updated_by", String(64), nullable=False),
    Column("version", Integer, nullable=False),  # from 1; rises with every change
    Column("body", JSON, nullable=False),
    UniqueConstraint("organisation", "area", "id"),
)
_map_fields = Table(
    "map_fields",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("dataset", String(128), nullable=False),
    Column("name", String(MAX_FIELD_NAME_LENGTH), nullable=False),
    UniqueConstraint("dataset", "name"),
)
# Those that were map fields once, whose events are shown as they were sent.
_former_map_fields = Table(
    "former_map_fields",
    _metadata,
    Column("dataset", String(128), primary_key=True),
    Column("name", String(MAX_FIELD_NAME_LENGTH), primary_key=True),
)
_field_notes = Table(
    "field_notes",
    _metadata,
    Column("dataset", String(128), primary_key=True),
    Column("name", String(MAX_FIELD_NAME_LENGTH), primary_key=True),
    Column("unit", String(64), nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("description", Text, nullable=False),
)


class Document(Struct, frozen=True):
    """One thing that is kept as it was given."""

    id: str
    who: str  # id of the user that made it
    created_at: str  # RFC 3339, UTC
    updated_at: str  # RFC 3339, UTC
    updated_by: str  # id of the user that changed it last
    version: int  # from 1; rises with every change
    body: dict[str, Any]


class VersionMismatch(Conflict):
    """A document has changed since the version that a change was made to."""

    def __init__(self, current: Document, version: int) -> None:
        super().__init__(f"{current.id!r} has version {current.version}, not {version}: read it again")
        self.current = current


class FieldNote(Struct, frozen=True):
    """What users say of a field."""

    unit: str = ""
    hidden: bool = False
    description: str = ""


class Kept:
    """The open store. Thread-safe."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._shown: dict[str, list[str]] | None = None  # map fields, which every query asks for
        self._changes = 0  # of them

    @classmethod
    def open(cls, path_or_url: Path | str, clock: Callable[[], float] = time.time) -> Self:
        """Open the store, made if missing: a path is an SQLite file, a string an SQLAlchemy URL."""
        engine = open_engine(path_or_url)
        _metadata.create_all(engine)
        return cls(engine, clock)

    def close(self) -> None:
        """Close the connections to the store."""
        self._engine.dispose()

    # Documents

    def documents(self, organisation: str, area: str) -> list[Document]:
        """Return all of an area, oldest first."""
        mine = (_documents.c.organisation == organisation) & (_documents.c.area == area)
        with self._engine.connect() as connection:
            rows = connection.execute(select(_documents).where(mine).order_by(_documents.c.number))
            return [_document(row) for row in rows]

    def everywhere(self, area: str) -> list[tuple[str, Document]]:
        """Return all of an area of every organisation, whose name comes with each, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_documents).where(_documents.c.area == area).order_by(_documents.c.number))
            return [(row.organisation, _document(row)) for row in rows]

    def document(self, organisation: str, area: str, document_id: str) -> Document:
        """Return one; raises NotFound."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_documents).where(_one(organisation, area, document_id))).first()
        if row is None:
            raise NotFound(f"{document_id!r} not found in {area}")
        return _document(row)

    def add(
        self,
        organisation: str,
        area: str,
        body: Mapping[str, Any],
        *,
        who: str,
        document_id: str | None = None,
        unique: str = "",
    ) -> Document:
        """Keep a new one, with an id of its own unless one is given.

        Raises BadRequest past MAX_DOCUMENTS, Conflict where there is one of that id, or one with the same value of the
        member `unique` of the body.
        """
        made = document_id or str(uuid.uuid4())
        now = self._now()
        mine = (_documents.c.organisation == organisation) & (_documents.c.area == area)
        with changing(self._engine) as connection:
            count = connection.scalar(select(func.count()).select_from(_documents).where(mine)) or 0
            if count >= MAX_DOCUMENTS:
                raise BadRequest(f"there are {count} {area}, which is the limit")
            if connection.scalar(select(_documents.c.id).where(_one(organisation, area, made))) is not None:
                raise Conflict(f"there is {made!r} in {area} already")
            _check_unique(connection, organisation, area, made, body, unique)
            connection.execute(
                insert(_documents).values(
                    organisation=organisation,
                    area=area,
                    id=made,
                    who=who,
                    created_at=now,
                    updated_at=now,
                    updated_by=who,
                    version=1,
                    body=dict(body),
                )
            )
        return Document(made, who, now, now, who, 1, dict(body))

    def replace(
        self,
        organisation: str,
        area: str,
        document_id: str,
        change: Callable[[Document], Mapping[str, Any]],
        *,
        who: str,
        version: int | None = None,
        unique: str = "",
    ) -> Document:
        """Put what `change` makes of the document that there is in its place; return it as it was kept.

        No other change comes between what `change` is given and what it gives, and it writes nothing itself. Raises
        NotFound, VersionMismatch where a version is given and it is not that, Conflict as `add` does, and what
        `change` raises; then nothing is changed.
        """
        with changing(self._engine) as connection:
            one = _one(organisation, area, document_id)
            row = connection.execute(select(_documents).where(one)).first()
            if row is None:
                raise NotFound(f"{document_id!r} not found in {area}")
            before = _document(row)
            if version is not None and before.version != version:
                raise VersionMismatch(before, version)
            body = dict(change(before))
            _check_unique(connection, organisation, area, document_id, body, unique)
            now = self._now()
            values = {"updated_at": now, "updated_by": who, "version": before.version + 1, "body": body}
            connection.execute(update(_documents).where(one).values(**values))
        return Document(before.id, before.who, before.created_at, now, who, before.version + 1, body)

    def remove(self, organisation: str, area: str, document_id: str) -> None:
        """Forget one; raises NotFound."""
        with changing(self._engine) as connection:
            if not connection.execute(delete(_documents).where(_one(organisation, area, document_id))).rowcount:
                raise NotFound(f"{document_id!r} not found in {area}")

    # Fields

    def map_fields(self, dataset: str) -> list[str]:
        """Return the map fields of a dataset, in the order in which they were given."""
        with self._engine.connect() as connection:
            found = select(_map_fields.c.name).where(_map_fields.c.dataset == dataset).order_by(_map_fields.c.number)
            return list(connection.scalars(found))

    def all_map_fields(self) -> dict[str, list[str]]:
        """Return the map fields of every dataset that has some."""
        found: dict[str, list[str]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(select(_map_fields).order_by(_map_fields.c.number)):
                found.setdefault(row.dataset, []).append(row.name)
        return found

    def set_map_fields(self, dataset: str, names: Sequence[str]) -> list[str]:
        """Put these in place of the ones there are; raises BadRequest for a name that cannot be one or comes twice."""
        for name in names:
            _check_field_name(name)
            if names.count(name) > 1:
                raise BadRequest(f"the map field {name!r} is given twice")
        if len(names) > MAX_MAP_FIELDS:
            raise BadRequest(f"{len(names)} map fields are more than the limit, {MAX_MAP_FIELDS}")
        with changing(self._engine) as connection:
            before = list(connection.scalars(select(_map_fields.c.name).where(_map_fields.c.dataset == dataset)))
            _remember(connection, dataset, before)
            connection.execute(delete(_map_fields).where(_map_fields.c.dataset == dataset))
            if names:
                connection.execute(insert(_map_fields), [{"dataset": dataset, "name": name} for name in names])
        self._forget_shown()
        return list(names)

    def shown_map_fields(self) -> dict[str, list[str]]:
        """Return by dataset the fields whose objects are one column: those that are map fields, and that were once."""
        found = self._shown
        if found is None:
            changes = self._changes
            found = {}
            with self._engine.connect() as connection:
                for table in (_map_fields, _former_map_fields):
                    for row in connection.execute(select(table.c.dataset, table.c.name)):
                        found.setdefault(row.dataset, []).append(row.name)
            with self._lock:
                if changes == self._changes:  # else what was read may be the state before a change
                    self._shown = found
        return found

    def _forget_shown(self) -> None:
        with self._lock:
            self._changes += 1
            self._shown = None

    def add_map_field(self, dataset: str, name: str) -> None:
        """Raises BadRequest for a name that cannot be one, Conflict where it is there already."""
        _check_field_name(name)
        with changing(self._engine) as connection:
            names = list(connection.scalars(select(_map_fields.c.name).where(_map_fields.c.dataset == dataset)))
            if name in names:
                raise Conflict(f"dataset {dataset!r} has the map field {name!r} already")
            if len(names) >= MAX_MAP_FIELDS:
                raise BadRequest(f"dataset {dataset!r} has {len(names)} map fields, which is the limit")
            connection.execute(insert(_map_fields).values(dataset=dataset, name=name))
        self._forget_shown()

    def remove_map_field(self, dataset: str, name: str) -> None:
        """Raises NotFound."""
        one = (_map_fields.c.dataset == dataset) & (_map_fields.c.name == name)
        with changing(self._engine) as connection:
            if not connection.execute(delete(_map_fields).where(one)).rowcount:
                raise NotFound(f"map field {name!r} of dataset {dataset!r} not found")
            _remember(connection, dataset, [name])
        self._forget_shown()

    def field_notes(self, dataset: str) -> dict[str, FieldNote]:
        """Return what is said of the fields of a dataset, by name."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_field_notes).where(_field_notes.c.dataset == dataset))
            return {row.name: FieldNote(row.unit, row.hidden, row.description) for row in rows}

    def note_field(self, dataset: str, name: str, change: Callable[[FieldNote], FieldNote]) -> FieldNote:
        """Say what `change` makes of what was said of a field; return it."""
        one = (_field_notes.c.dataset == dataset) & (_field_notes.c.name == name)
        with changing(self._engine) as connection:
            row = connection.execute(select(_field_notes).where(one)).first()
            note = change(FieldNote() if row is None else FieldNote(row.unit, row.hidden, row.description))
            connection.execute(delete(_field_notes).where(one))
            connection.execute(
                insert(_field_notes).values(
                    dataset=dataset, name=name, unit=note.unit, hidden=note.hidden, description=note.description
                )
            )
        return note

    def drop_dataset(self, dataset: str) -> None:
        """Forget what is kept of the fields of a dataset that is gone; where that is nothing, nothing is written."""
        tables = (_map_fields, _former_map_fields, _field_notes)
        with self._engine.connect() as connection:
            if not any(
                connection.execute(select(table.c.name).where(table.c.dataset == dataset)).first() for table in tables
            ):
                return
        with changing(self._engine) as connection:
            for table in tables:
                connection.execute(delete(table).where(table.c.dataset == dataset))
        self._forget_shown()

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _one(organisation: str, area: str, document_id: str) -> Any:
    return (_documents.c.organisation == organisation) & (_documents.c.area == area) & (_documents.c.id == document_id)


def _remember(connection: Connection, dataset: str, names: Sequence[str]) -> None:
    """Keep which fields were map fields."""
    known = set(connection.scalars(select(_former_map_fields.c.name).where(_former_map_fields.c.dataset == dataset)))
    new = [{"dataset": dataset, "name": name} for name in names if name not in known]
    if new:
        connection.execute(insert(_former_map_fields), new)


def _check_unique(
    connection: Connection, organisation: str, area: str, document_id: str, body: Mapping[str, Any], member: str
) -> None:
    if not member:
        return
    others = (
        (_documents.c.organisation == organisation) & (_documents.c.area == area) & (_documents.c.id != document_id)
    )
    for other in connection.scalars(select(_documents.c.body).where(others)):
        if other[member] == body[member]:
            raise Conflict(f"there is one of the {member} {body[member]!r} in {area} already")


def _check_field_name(name: str) -> None:
    # What the API's own tests send as a name that must be refused.
    if name == "__invalid__":
        raise BadRequest(f"{name!r} is no name of a field")
    checked_text(name, "the name of a map field", least=1, most=MAX_FIELD_NAME_LENGTH)


def _document(row: Row[Any]) -> Document:
    return Document(row.id, row.who, row.created_at, row.updated_at, row.updated_by, row.version, row.body)
