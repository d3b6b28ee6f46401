"""Values evaluated by a DuckDB like the server's."""

import json
import math
from datetime import datetime
from typing import Any

import duckdb

from tailrace.query.apl_result import AplTable
from tailrace.query.arrow_json import is_json
from tailrace.query.functions import register
from tailrace.query.values import Value, as_dynamic, timespan_text

NOW_NS = 1_600_000_000_000_000_000


def connected() -> duckdb.DuckDBPyConnection:
    """Return an instance that may do no more than the server's."""
    instance = duckdb.connect(":memory:")
    settings = {
        "python_enable_replacements": False,
        "TimeZone": "UTC",
        "threads": 1,
        "memory_limit": "1GB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "enable_external_access": False,
        "lock_configuration": True,
    }
    for name, setting in settings.items():
        instance.execute(f"SET {name} = $setting", {"setting": setting})
    register(instance)
    return instance


def evaluate(instance: duckdb.DuckDBPyConnection, value: Value, source: str = "") -> Any:
    """Return the value over the one row of a source, as JSON-able Python."""
    cell = f"CAST({as_dynamic(value).sql.sql('duckdb')} AS VARCHAR)"
    [(found,)] = instance.sql(f"SELECT {cell} {source}").fetchall()
    return None if found is None else json.loads(found, parse_constant=refused)


def refused(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def shown(table: AplTable, number: int) -> Any:
    """Return the first row's cell of a column, as JSON-able Python."""
    field = table.fields[number]
    cell = table.rows.column(number)[0].as_py()
    if cell is None:
        return None
    if is_json(table.rows.schema.field(number)):
        return json.loads(cell, parse_constant=refused)
    if field.type == "timespan":
        return timespan_text(cell)
    if isinstance(cell, float) and math.isnan(cell):
        return None  # as answers show it
    if isinstance(cell, datetime):
        return cell.isoformat().replace("+00:00", "Z")
    return cell
