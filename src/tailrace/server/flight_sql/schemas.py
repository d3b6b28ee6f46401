"""The columns of what Flight SQL tells of a server, as `FlightSql.proto` has them."""

import pyarrow as pa

_TEXT, _INTEGER = pa.string(), pa.int32()


def _columns(*fields: str | tuple[str, pa.DataType]) -> pa.Schema:
    """Return a schema: texts by name, others with their type; a name with `!` is of a column without nulls."""
    named = [(field, _TEXT) if isinstance(field, str) else field for field in fields]
    return pa.schema([pa.field(name.rstrip("!"), kind, nullable=not name.endswith("!")) for name, kind in named])


CATALOGS = _columns("catalog_name!")
DB_SCHEMAS = _columns("catalog_name", "db_schema_name!")
TABLES = _columns("catalog_name", "db_schema_name", "table_name!", "table_type!")
TABLES_WITH_SCHEMA = TABLES.append(pa.field("table_schema", pa.binary(), nullable=False))
TABLE_TYPES = _columns("table_type!")
PRIMARY_KEYS = _columns(
    "catalog_name", "db_schema_name", "table_name!", "column_name!", "key_name", ("key_sequence!", _INTEGER)
)
FOREIGN_KEYS = _columns(
    "pk_catalog_name",
    "pk_db_schema_name",
    "pk_table_name!",
    "pk_column_name!",
    "fk_catalog_name",
    "fk_db_schema_name",
    "fk_table_name!",
    "fk_column_name!",
    ("key_sequence!", _INTEGER),
    "fk_key_name",
    "pk_key_name",
    ("update_rule!", pa.uint8()),
    ("delete_rule!", pa.uint8()),
)
XDBC_TYPES = _columns(
    "type_name!",
    ("data_type!", _INTEGER),
    ("column_size", _INTEGER),
    "literal_prefix",
    "literal_suffix",
    ("create_params", pa.list_(pa.field("item", _TEXT, nullable=False))),
    ("nullable!", _INTEGER),
    ("case_sensitive!", pa.bool_()),
    ("searchable!", _INTEGER),
    ("unsigned_attribute", pa.bool_()),
    ("fixed_prec_scale!", pa.bool_()),
    ("auto_increment", pa.bool_()),
    "local_type_name",
    ("minimum_scale", _INTEGER),
    ("maximum_scale", _INTEGER),
    ("sql_data_type!", _INTEGER),
    ("datetime_subcode", _INTEGER),
    ("num_prec_radix", _INTEGER),
    ("interval_precision", _INTEGER),
)
SQL_INFO_VALUE = pa.dense_union(
    [
        pa.field("string_value", _TEXT),
        pa.field("bool_value", pa.bool_()),
        pa.field("bigint_value", pa.int64()),
        pa.field("int32_bitmask", _INTEGER),
        pa.field("string_list", pa.list_(pa.field("string_data", _TEXT))),
        pa.field("int32_to_int32_list_map", pa.map_(_INTEGER, pa.list_(pa.field("$data$", _INTEGER)))),
    ]
)
SQL_INFO = _columns(("info_name!", pa.uint32()), ("value", SQL_INFO_VALUE))
