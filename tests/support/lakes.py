"""What tests of a lake share: settings by which it commits when asked to, and what is in it."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from support.events import Flat, typed
from tailrace.lake import FieldsView, LakeSettings, Snapshot
from tailrace.lake.leaves import leaves

NEVER = LakeSettings(commit_age_s=1e9)


def numbers(snapshot: Snapshot) -> list[int]:
    """Return the values of `n`, of committed and hot rows."""
    parts: list[pa.Table] = [pq.ParquetFile(file.location).read() for file in snapshot.files]
    return sorted(n for part in (*parts, *(part.rows for part in snapshot.hot)) for n in part["n"].to_pylist())


def failing_with(error: Exception) -> Callable[..., Any]:
    """Return a function that raises an error, whatever it is called with."""

    def fail(*_: object) -> None:
        raise error

    return fail


def flat_rows(table: pa.Table, view: FieldsView) -> list[Flat]:
    """Return the events of a table, rebuilt from its columns and its rest."""
    columns = {column.name: column for column in view.columns}
    rows = []
    for row in table.to_pylist():
        event: Flat = {}
        for name, value in row.items():
            if name in columns and value is not None:
                column = columns[name]
                event[column.path] = typed(json.loads(value) if column.type == "array" else value)
        for path, leaf in leaves((row.get("_rest") or "{}").encode()).items():
            assert path not in event, f"{path} is both in a column and in the rest"
            event[path] = typed(json.loads(leaf.raw))
        rows.append(event)
    return rows
