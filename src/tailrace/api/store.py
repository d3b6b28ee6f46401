"""What users keep beside their events, in an SQL store: virtual fields, and the queries they saved by running them."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from msgspec import Struct
from sqlalchemy import (
    JSON,
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

from tailrace.events import BadRequest, Conflict, NotFound
from tailrace.storage.database import changing, open_engine

FILE_NAME = "saved.db"
MAX_HISTORY = 10_000  # saved queries; the oldest give way
MAX_VIRTUAL_FIELDS = 1_000  # of one dataset
MAX_NAME_LENGTH = 200  # characters of a virtual field's name

_metadata = MetaData()
_history = Table(
    "query_history",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("dataset", String(128), nullable=False),
    Column("who", String(64), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("query", JSON, nullable=False),
)
_virtual_fields = Table(
    "virtual_fields",
    _metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("dataset", String(128), nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("expression", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("type", String(64), nullable=False),
    Column("unit", String(64), nullable=False),
    UniqueConstraint("dataset", "name"),
)


class SavedQuery(Struct, frozen=True, rename="camel"):
    """A query as it was sent, with the kind that the client gave it."""

    id: str
    kind: str
    dataset: str  # that it was sent to; "" where the query itself names them
    who: str  # id of the user
    created: str  # RFC 3339, UTC
    query: dict[str, Any]


class VirtualField(Struct, frozen=True):
    """A field of a dataset that an APL expression makes."""

    id: str
    dataset: str
    name: str
    expression: str
    description: str
    type: str
    unit: str


class Store:
    """The open store. Thread-safe; what it returns of virtual fields is cached, for every query asks for them."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._by_dataset: dict[str, list[tuple[str, str]]] | None = None
        self._changes = 0

    @classmethod
    def open(cls, path_or_url: Path | str, clock: Callable[[], float] = time.time) -> Self:
        """Open the store, made if missing: a path is an SQLite file, a string an SQLAlchemy URL."""
        engine = open_engine(path_or_url)
        _metadata.create_all(engine)
        return cls(engine, clock)

    def close(self) -> None:
        """Close the connections to the store."""
        self._engine.dispose()

    # History

    def save_query(self, kind: str, query: Mapping[str, Any], *, dataset: str, who: str) -> str:
        """Keep a query and return its id; of more than MAX_HISTORY the oldest give way."""
        query_id = str(uuid.uuid4())
        created = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with changing(self._engine) as connection:
            connection.execute(
                insert(_history).values(
                    id=query_id, kind=kind, dataset=dataset, who=who, created_at=created, query=dict(query)
                )
            )
            count = connection.scalar(select(func.count()).select_from(_history)) or 0
            if count > MAX_HISTORY:
                oldest = select(_history.c.number).order_by(_history.c.number).limit(count - MAX_HISTORY)
                connection.execute(delete(_history).where(_history.c.number.in_(oldest)))
        return query_id

    def saved_query(self, query_id: str, *, who: str) -> SavedQuery:
        """A query that the user saved; raises NotFound."""
        mine = (_history.c.id == query_id) & (_history.c.who == who)
        with self._engine.connect() as connection:
            row = connection.execute(select(_history).where(mine)).first()
        if row is None:
            raise NotFound(f"saved query {query_id!r} not found")
        return SavedQuery(row.id, row.kind, row.dataset, row.who, row.created_at, row.query)

    # Virtual fields

    def virtual_fields(self, dataset: str) -> list[VirtualField]:
        """Those of a dataset, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(_virtual_fields).where(_virtual_fields.c.dataset == dataset).order_by(_virtual_fields.c.number)
            )
            return [_virtual_field(row) for row in rows]

    def virtual_field(self, field_id: str) -> VirtualField:
        """One of them; raises NotFound."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_virtual_fields).where(_virtual_fields.c.id == field_id)).first()
        if row is None:
            raise NotFound(f"virtual field {field_id!r} not found")
        return _virtual_field(row)

    def create_virtual_field(self, field: VirtualField) -> VirtualField:
        """Keep a new one, whose id is made here. Raises BadRequest, or Conflict where the name is taken."""
        made = VirtualField(
            str(uuid.uuid4()), field.dataset, field.name, field.expression, field.description, field.type, field.unit
        )
        with self._changing() as connection:
            mine = _virtual_fields.c.dataset == field.dataset
            count = connection.scalar(select(func.count()).select_from(_virtual_fields).where(mine)) or 0
            if count >= MAX_VIRTUAL_FIELDS:
                raise BadRequest(f"dataset {field.dataset!r} has {count} virtual fields, which is the limit")
            _check_free(connection, made)
            connection.execute(insert(_virtual_fields).values(**_values(made)))
        return made

    def update_virtual_field(
        self, field: VirtualField, check: Callable[[VirtualField], None] = lambda before: None
    ) -> VirtualField:
        """Put one in place of that of the same id. Raises NotFound, or Conflict where the name is taken.

        `check` gets the one that goes, and raises where it may not.
        """
        with self._changing() as connection:
            there = _virtual_fields.c.id == field.id
            row = connection.execute(select(_virtual_fields).where(there)).first()
            if row is None:
                raise NotFound(f"virtual field {field.id!r} not found")
            check(_virtual_field(row))
            _check_free(connection, field)
            connection.execute(update(_virtual_fields).where(there).values(**_values(field)))
        return field

    def delete_virtual_field(self, field_id: str) -> None:
        """Raises NotFound."""
        with self._changing() as connection:
            if not connection.execute(delete(_virtual_fields).where(_virtual_fields.c.id == field_id)).rowcount:
                raise NotFound(f"virtual field {field_id!r} not found")

    def drop_dataset(self, dataset: str) -> None:
        """Forget the virtual fields of a dataset that is gone; where it has none, nothing is written."""
        if not self.virtual_fields(dataset):
            return
        with self._changing() as connection:
            connection.execute(delete(_virtual_fields).where(_virtual_fields.c.dataset == dataset))

    def expressions(self) -> Mapping[str, list[tuple[str, str]]]:
        """Names and expressions of all virtual fields, by dataset."""
        found = self._by_dataset
        if found is not None:
            return found
        changes = self._changes
        found = {}
        with self._engine.connect() as connection:
            for row in connection.execute(select(_virtual_fields).order_by(_virtual_fields.c.number)):
                found.setdefault(row.dataset, []).append((row.name, row.expression))
        with self._lock:
            # A change since the read is not in what was read: then it must not be kept.
            if changes == self._changes:
                self._by_dataset = found
        return found

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with changing(self._engine) as connection:
            yield connection
        with self._lock:
            self._changes += 1
            self._by_dataset = None


def _check_free(connection: Connection, field: VirtualField) -> None:
    same = (
        (_virtual_fields.c.dataset == field.dataset)
        & (_virtual_fields.c.name == field.name)
        & (_virtual_fields.c.id != field.id)
    )
    if connection.execute(select(_virtual_fields.c.id).where(same)).first() is not None:
        raise Conflict(f"dataset {field.dataset!r} has a virtual field {field.name!r} already")


def _values(field: VirtualField) -> dict[str, str]:
    return {name: getattr(field, name) for name in field.__struct_fields__}


def _virtual_field(row: Row[Any]) -> VirtualField:
    return VirtualField(row.id, row.dataset, row.name, row.expression, row.description, row.type, row.unit)
