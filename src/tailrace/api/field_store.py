"""Metadata of the fields of datasets: virtual fields, map fields, notes on a field."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tailrace.events import BadRequest, Conflict, NotFound, checked_text
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import field_notes, former_map_fields, map_fields, virtual_fields

MAX_VIRTUAL_FIELDS = 1_000  # of one dataset
MAX_MAP_FIELDS = 1_000  # of one dataset
MAX_MAP_FIELD_NAME_LENGTH = 1024  # characters


class VirtualField(Struct, frozen=True):
    """A field of a dataset that an APL expression computes."""

    id: str
    dataset: str
    name: str
    expression: str
    description: str
    type: str
    unit: str


class FieldNote(Struct, frozen=True):
    """The unit, visibility and description that users gave to a field."""

    unit: str = ""
    hidden: bool = False
    description: str = ""


class FieldStore:
    """The metadata of fields in a database. Thread-safe; what every query reads is cached."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expressions: Mapping[str, list[tuple[str, str]]] | None = None
        self._shown_map_fields: Mapping[str, list[str]] | None = None
        self._invalidation = Invalidation(database, self._clear)

    # Virtual fields

    def virtual_fields(self, dataset: str) -> list[VirtualField]:
        """Return the virtual fields of a dataset, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(virtual_fields).where(virtual_fields.c.dataset == dataset).order_by(virtual_fields.c.number)
            )
            return [_virtual_field(row) for row in rows]

    def virtual_field(self, field_id: str) -> VirtualField:
        """Return a virtual field; raise NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(select(virtual_fields).where(virtual_fields.c.id == field_id)).first()
        if row is None:
            raise NotFound(f"virtual field {field_id!r} not found")
        return _virtual_field(row)

    def create_virtual_field(self, field: VirtualField) -> VirtualField:
        """Create a virtual field with a new id. Raise BadRequest, or Conflict where the name is taken."""
        new = VirtualField(
            str(uuid.uuid4()), field.dataset, field.name, field.expression, field.description, field.type, field.unit
        )
        with self._invalidation.changing() as connection:
            mine = virtual_fields.c.dataset == field.dataset
            count = connection.scalar(select(func.count()).select_from(virtual_fields).where(mine)) or 0
            if count >= MAX_VIRTUAL_FIELDS:
                raise BadRequest(f"dataset {field.dataset!r} has {count} virtual fields, which is the limit")
            _require_free(connection, new)
            connection.execute(insert(virtual_fields).values(**_values(new)))
        return new

    def update_virtual_field(
        self, field: VirtualField, check: Callable[[VirtualField], None] = lambda before: None
    ) -> VirtualField:
        """Replace the virtual field of the same id. Raise NotFound, or Conflict where the name is taken.

        `check` is called with the old one, and raises where it may not be replaced.
        """
        with self._invalidation.changing() as connection:
            is_field = virtual_fields.c.id == field.id
            row = connection.execute(select(virtual_fields).where(is_field)).first()
            if row is None:
                raise NotFound(f"virtual field {field.id!r} not found")
            check(_virtual_field(row))
            _require_free(connection, field)
            connection.execute(update(virtual_fields).where(is_field).values(**_values(field)))
        return field

    def delete_virtual_field(self, field_id: str) -> None:
        """Delete a virtual field; raise NotFound."""
        with self._invalidation.changing() as connection:
            if not connection.execute(delete(virtual_fields).where(virtual_fields.c.id == field_id)).rowcount:
                raise NotFound(f"virtual field {field_id!r} not found")

    def expressions(self) -> Mapping[str, list[tuple[str, str]]]:
        """Return the names and expressions of all virtual fields, by dataset."""
        self._invalidation.check()
        cached = self._expressions
        return cached if cached is not None else self._invalidation.read(_expressions, self._put_expressions)

    # Map fields

    def map_fields(self, dataset: str) -> list[str]:
        """Return the map fields of a dataset, in the order in which they were given."""
        with self._database.reading() as connection:
            names = select(map_fields.c.name).where(map_fields.c.dataset == dataset).order_by(map_fields.c.number)
            return list(connection.scalars(names))

    def all_map_fields(self) -> dict[str, list[str]]:
        """Return the map fields of every dataset that has some."""
        names: dict[str, list[str]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(select(map_fields).order_by(map_fields.c.number)):
                names.setdefault(row.dataset, []).append(row.name)
        return names

    def set_map_fields(self, dataset: str, names: Sequence[str]) -> list[str]:
        """Replace the map fields of a dataset; raise BadRequest for an invalid or repeated name."""
        for name in names:
            _check_field_name(name)
            if names.count(name) > 1:
                raise BadRequest(f"the map field {name!r} is given twice")
        if len(names) > MAX_MAP_FIELDS:
            raise BadRequest(f"{len(names)} map fields are more than the limit, {MAX_MAP_FIELDS}")
        with self._invalidation.changing() as connection:
            before = list(connection.scalars(select(map_fields.c.name).where(map_fields.c.dataset == dataset)))
            _add_former(connection, dataset, before)
            connection.execute(delete(map_fields).where(map_fields.c.dataset == dataset))
            if names:
                connection.execute(insert(map_fields), [{"dataset": dataset, "name": name} for name in names])
        return list(names)

    def shown_map_fields(self) -> Mapping[str, list[str]]:
        """Return, by dataset, the fields whose objects are one column: present and former map fields."""
        self._invalidation.check()
        cached = self._shown_map_fields
        return cached if cached is not None else self._invalidation.read(_shown_map_fields, self._put_shown_map_fields)

    def add_map_field(self, dataset: str, name: str) -> None:
        """Add a map field. Raise BadRequest for an invalid name, Conflict where it exists."""
        _check_field_name(name)
        with self._invalidation.changing() as connection:
            names = list(connection.scalars(select(map_fields.c.name).where(map_fields.c.dataset == dataset)))
            if name in names:
                raise Conflict(f"dataset {dataset!r} has the map field {name!r} already")
            if len(names) >= MAX_MAP_FIELDS:
                raise BadRequest(f"dataset {dataset!r} has {len(names)} map fields, which is the limit")
            connection.execute(insert(map_fields).values(dataset=dataset, name=name))

    def declare_map_fields(self, dataset: str, names: Sequence[str]) -> None:
        """Add the map fields that a dataset does not have, as many as the limit allows. Raise BadRequest."""
        for name in names:
            _check_field_name(name)
        with self._invalidation.changing() as connection:
            present = list(connection.scalars(select(map_fields.c.name).where(map_fields.c.dataset == dataset)))
            new = [name for name in names if name not in present][: MAX_MAP_FIELDS - len(present)]
            if new:
                connection.execute(insert(map_fields), [{"dataset": dataset, "name": name} for name in new])

    def delete_map_field(self, dataset: str, name: str) -> None:
        """Delete a map field; raise NotFound."""
        one = (map_fields.c.dataset == dataset) & (map_fields.c.name == name)
        with self._invalidation.changing() as connection:
            if not connection.execute(delete(map_fields).where(one)).rowcount:
                raise NotFound(f"map field {name!r} of dataset {dataset!r} not found")
            _add_former(connection, dataset, [name])

    # Notes

    def field_notes(self, dataset: str) -> dict[str, FieldNote]:
        """Return the notes on fields of a dataset, by the name of the field."""
        with self._database.reading() as connection:
            rows = connection.execute(select(field_notes).where(field_notes.c.dataset == dataset))
            return {row.name: FieldNote(row.unit, row.hidden, row.description) for row in rows}

    def note_field(self, dataset: str, name: str, change: Callable[[FieldNote], FieldNote]) -> FieldNote:
        """Replace the note on a field with what `change` returns; return it."""
        one = (field_notes.c.dataset == dataset) & (field_notes.c.name == name)
        with self._database.changing() as connection:
            row = connection.execute(select(field_notes).where(one)).first()
            note = change(FieldNote() if row is None else FieldNote(row.unit, row.hidden, row.description))
            connection.execute(delete(field_notes).where(one))
            connection.execute(
                insert(field_notes).values(
                    dataset=dataset, name=name, unit=note.unit, hidden=note.hidden, description=note.description
                )
            )
        return note

    # Whole datasets

    def drop_dataset(self, dataset: str) -> None:
        """Delete all metadata of a dataset's fields; write nothing where there is none.

        Raise DiskFull, StorageUnavailable.
        """
        tables = (virtual_fields, map_fields, former_map_fields, field_notes)
        with self._database.reading() as connection:
            if not any(
                connection.execute(select(table.c.name).where(table.c.dataset == dataset)).first() for table in tables
            ):
                return
        with self._invalidation.changing() as connection:
            for table in tables:
                connection.execute(delete(table).where(table.c.dataset == dataset))

    def _put_expressions(self, expressions: Mapping[str, list[tuple[str, str]]]) -> None:
        self._expressions = expressions

    def _put_shown_map_fields(self, names: Mapping[str, list[str]]) -> None:
        self._shown_map_fields = names

    def _clear(self) -> None:
        self._expressions = self._shown_map_fields = None


def _expressions(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    expressions: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(select(virtual_fields).order_by(virtual_fields.c.number)):
        expressions.setdefault(row.dataset, []).append((row.name, row.expression))
    return expressions


def _shown_map_fields(connection: Connection) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for table in (map_fields, former_map_fields):
        for row in connection.execute(select(table.c.dataset, table.c.name).order_by(table.c.number)):
            names.setdefault(row.dataset, []).append(row.name)
    return names


def _require_free(connection: Connection, field: VirtualField) -> None:
    same = (
        (virtual_fields.c.dataset == field.dataset)
        & (virtual_fields.c.name == field.name)
        & (virtual_fields.c.id != field.id)
    )
    if connection.execute(select(virtual_fields.c.id).where(same)).first() is not None:
        raise Conflict(f"dataset {field.dataset!r} has a virtual field {field.name!r} already")


def _values(field: VirtualField) -> dict[str, str]:
    return {name: getattr(field, name) for name in field.__struct_fields__}


def _virtual_field(row: Row[Any]) -> VirtualField:
    return VirtualField(row.id, row.dataset, row.name, row.expression, row.description, row.type, row.unit)


def _add_former(connection: Connection, dataset: str, names: Sequence[str]) -> None:
    """Record the names as former map fields."""
    known = set(connection.scalars(select(former_map_fields.c.name).where(former_map_fields.c.dataset == dataset)))
    new = [{"dataset": dataset, "name": name} for name in names if name not in known]
    if new:
        connection.execute(insert(former_map_fields), new)


def _check_field_name(name: str) -> None:
    # The invalid name that the tests of Axiom's clients send.
    if name == "__invalid__":
        raise BadRequest(f"{name!r} is no name of a field")
    checked_text(name, "the name of a map field", least=1, most=MAX_MAP_FIELD_NAME_LENGTH)
