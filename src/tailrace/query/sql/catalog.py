"""What SQL tells of the datasets themselves: the tables of information_schema, and columns with their types."""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from tailrace.lake.snapshot import Snapshot
from tailrace.query.arrow_json import is_json
from tailrace.query.fields import FieldReader

CATALOG, SCHEMA = "tailrace", "main"
INFORMATION_SCHEMA = "information_schema"
TABLES, COLUMNS, SCHEMATA = (f"{INFORMATION_SCHEMA}.{name}" for name in ("tables", "columns", "schemata"))
LIST_TABLES = f"SELECT table_name AS name FROM {TABLES} ORDER BY name"  # what SHOW TABLES means

_TEXT = pa.string()
_TABLES = pa.schema([(name, _TEXT) for name in ("table_catalog", "table_schema", "table_name", "table_type")])
_COLUMNS = pa.schema(
    [
        *((name, _TEXT) for name in ("table_catalog", "table_schema", "table_name", "column_name")),
        ("ordinal_position", pa.int64()),
        *((name, _TEXT) for name in ("column_default", "is_nullable", "data_type")),
    ]
)
_SCHEMATA = pa.schema([(name, _TEXT) for name in ("catalog_name", "schema_name")])
_DESCRIBED = pa.schema([(name, _TEXT) for name in ("column_name", "column_type", "null", "key", "default", "extra")])

_OF_EVERY_DATASET = (("_time", "TIMESTAMP WITH TIME ZONE"), ("_sysTime", "TIMESTAMP WITH TIME ZONE"), ("_rest", "JSON"))
_STORED = {"boolean": "BOOLEAN", "integer": "BIGINT", "float": "DOUBLE", "string": "VARCHAR", "array": "JSON"}
_NAMES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.null(): '"NULL"',
}


def catalog_rows(
    name: str,
    datasets: Callable[[], Sequence[str]],
    views: Callable[[], Sequence[str]],
    snapshots: Callable[[], Iterable[Snapshot]],
) -> pa.Table | None:
    """Return the rows of a table of information_schema by its whole name; None for any other name.

    `snapshots` gives those of the datasets that can be read, which only the columns need.
    """
    match name.lower():
        case "information_schema.tables":
            named = [(name, "BASE TABLE") for name in datasets()] + [(name, "VIEW") for name in views()]
            return _rows(_TABLES, [(CATALOG, SCHEMA, name, kind) for name, kind in sorted(named)])
        case "information_schema.columns":
            return _rows(_COLUMNS, [row for snapshot in snapshots() for row in _columns(snapshot)])
        case "information_schema.schemata":
            return _rows(_SCHEMATA, [(CATALOG, SCHEMA), (CATALOG, INFORMATION_SCHEMA)])
    return None


def _columns(snapshot: Snapshot) -> list[tuple[str | int | None, ...]]:
    """Return the columns that `SELECT *` has, in its order."""
    reader = FieldReader(snapshot.fields)
    named = [*_OF_EVERY_DATASET, *((path, _field_type(reader, path)) for path in reader.paths)]
    return [
        (CATALOG, SCHEMA, snapshot.dataset, name, number, None, "YES", kind)
        for number, (name, kind) in enumerate(named, 1)
    ]


def _field_type(reader: FieldReader, path: str) -> str:
    """Return the type of a field as it is answered: JSON where its values are of several."""
    return "JSON" if reader.is_mixed(path) else _STORED[reader.columns_read(path)[0].type]


def described(answer: pa.Table) -> pa.Table:
    """Return the columns of an answer as DESCRIBE shows them."""
    return _rows(_DESCRIBED, [(field.name, _type_name(field), "YES", None, None, None) for field in answer.schema])


def _type_name(field: pa.Field) -> str:
    kind = field.type
    if is_json(field):
        return "JSON"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{_type_name(kind.value_field)}[]"
    if pa.types.is_struct(kind):
        members = (kind.field(number) for number in range(kind.num_fields))
        return "STRUCT(" + ", ".join(f'"{member.name}" {_type_name(member)}' for member in members) + ")"
    if pa.types.is_interval(kind) or pa.types.is_duration(kind):
        return "INTERVAL"
    if pa.types.is_time(kind):
        return "TIME"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "BLOB"
    return _NAMES.get(kind, "VARCHAR")


def _rows(schema: pa.Schema, rows: Sequence[tuple[str | int | None, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
