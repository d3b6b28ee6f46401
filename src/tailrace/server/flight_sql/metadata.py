"""What Flight SQL tells of a server: its catalog, schema, datasets and views, and what it can do."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tailrace.events import BadRequest
from tailrace.protocols.doors.otlp_status import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE
from tailrace.query.arrow_json import JSON_FIELD
from tailrace.query.sql.catalog import CATALOG, SCHEMA
from tailrace.server.flight_sql import schemas
from tailrace.server.flight_sql.caller import DEADLINE_EXCEEDED, Caller, CallRefused
from tailrace.server.flight_sql.ipc_stream import schema_bytes
from tailrace.server.flight_sql.messages import FlightCommand, text_in
from tailrace.server.flight_sql.sql_info import sql_info

TABLE, VIEW = "TABLE", "VIEW"  # types of tables
LIST_TABLES = "SELECT table_name, table_type FROM information_schema.tables ORDER BY ALL"
LIST_COLUMNS = (
    "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY table_name, ordinal_position"
)
_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "TIMESTAMP WITH TIME ZONE": _TIME,
}  # of a dataset's fields; JSON is marked text
FEW_TABLES = 4  # of which each is asked for its columns; of more those of all datasets are

# The refusals of a table that cannot be read; others are of all.
_UNTOLD = (INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, DEADLINE_EXCEEDED, UNAVAILABLE)

SCHEMAS: Mapping[str, pa.Schema] = {
    "CommandGetCatalogs": schemas.CATALOGS,
    "CommandGetDbSchemas": schemas.DB_SCHEMAS,
    "CommandGetTables": schemas.TABLES,
    "CommandGetTableTypes": schemas.TABLE_TYPES,
    "CommandGetSqlInfo": schemas.SQL_INFO,
    "CommandGetXdbcTypeInfo": schemas.XDBC_TYPES,
    "CommandGetPrimaryKeys": schemas.PRIMARY_KEYS,
    "CommandGetExportedKeys": schemas.FOREIGN_KEYS,
    "CommandGetImportedKeys": schemas.FOREIGN_KEYS,
    "CommandGetCrossReference": schemas.FOREIGN_KEYS,
}


def schema_of(command: FlightCommand) -> pa.Schema | None:
    """Return the columns of what a command asks for, None where it asks for nothing that is told here."""
    if command.name == "CommandGetTables" and command.message.include_schema:
        return schemas.TABLES_WITH_SCHEMA
    return SCHEMAS.get(command.name)


async def answer(command: FlightCommand, caller: Caller) -> pa.Table:
    """Return what a command asks for, of those that have a `schema_of`. Raise CallRefused, BadRequest."""
    schema = schema_of(command)
    assert schema is not None
    asked = command.message
    if command.name == "CommandGetTables":
        return await _tables(asked, schema, caller)
    await caller.check_token()
    match command.name:
        case "CommandGetCatalogs":
            return _table(schema, [(CATALOG,)])
        case "CommandGetDbSchemas":
            return _table(schema, [(CATALOG, SCHEMA)] if _is_of_schema(asked) else [])
        case "CommandGetTableTypes":
            return _table(schema, [(TABLE,), (VIEW,)])
        case "CommandGetSqlInfo":
            return sql_info(asked.info)
        case _:  # there are no keys, and of types nothing is told
            return schema.empty_table()


async def _tables(asked: Any, schema: pa.Schema, caller: Caller) -> pa.Table:
    found = await caller.table(LIST_TABLES)
    rows = [(name, VIEW if kind == VIEW else TABLE) for name, kind in _rows(found)]
    kinds = {text_in(kind, "a type of tables") for kind in asked.table_types} or {TABLE, VIEW}
    names = [name for name, _ in rows] if _is_of_schema(asked) else []
    if asked.HasField("table_name_filter_pattern"):
        names = _matching(names, asked.table_name_filter_pattern)
    named = set(names)
    rows = [row for row in rows if row[0] in named and row[1] in kinds]
    if not asked.include_schema:
        return _table(schema, [(CATALOG, SCHEMA, *row) for row in rows])
    known: dict[str, pa.Schema] = {}
    if len(rows) > FEW_TABLES:
        table = await caller.table(LIST_COLUMNS)
        known = await asyncio.to_thread(_dataset_schemas, table)
    told = []
    for name, kind in rows:
        is_asked = kind == VIEW or len(rows) <= FEW_TABLES
        fields = await _table_schema(name, caller) if is_asked else known.get(name, pa.schema([]))
        told.append((CATALOG, SCHEMA, name, kind, schema_bytes(fields)))
    return _table(schema, told)


def _dataset_schemas(columns: pa.Table) -> dict[str, pa.Schema]:
    """Return the columns of all datasets whose files can be read."""
    fields: dict[str, list[pa.Field]] = {}
    for dataset, name, kind in _rows(columns):
        is_json = kind not in _TYPES
        field = pa.field(name, pa.string() if is_json else _TYPES[kind], metadata=JSON_FIELD if is_json else None)
        fields.setdefault(dataset, []).append(field)
    return {dataset: pa.schema(named) for dataset, named in fields.items()}


async def _table_schema(name: str, caller: Caller) -> pa.Schema:
    """Return the columns of a dataset or a view, none of one that cannot be read."""
    quoted = name.replace('"', '""')
    try:
        return await caller.schema(f'SELECT * FROM "{quoted}"')
    except CallRefused as refused:
        if refused.code not in _UNTOLD:
            raise
        return pa.schema([])


def _is_of_schema(asked: Any) -> bool:
    """Whether the one schema is among those that are asked for."""
    if asked.HasField("catalog") and asked.catalog != CATALOG.encode():
        return False
    pattern = asked.db_schema_filter_pattern
    return not asked.HasField("db_schema_filter_pattern") or bool(_matching([SCHEMA], pattern))


def _matching(names: Sequence[str], pattern: bytes) -> list[str]:
    """Return the names that a pattern with `%` and `_` matches."""
    array = pa.array(names, pa.string())
    try:
        matches = pc.match_like(array, text_in(pattern, "a pattern"))
    except pa.ArrowInvalid as error:
        raise BadRequest(f"a pattern cannot be used: {error}") from None
    return array.filter(matches).to_pylist()  # type: ignore[no-any-return]


def _rows(table: pa.Table) -> Iterable[tuple[str, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _table(schema: pa.Schema, rows: Sequence[tuple[str | bytes, ...]]) -> pa.Table:
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
