"""What a monitor reads of a query's result: numbers by group and column, or events."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from tailrace.monitors.evaluation import MatchedEvent, Point
from tailrace.monitors.template_functions import as_text
from tailrace.query.answers import cells
from tailrace.query.apl_result import AplTable
from tailrace.query.arrow_json import is_json

TIME = "_time"
_KEYS = frozenset({"string", "boolean"})  # types of columns that name a group where the groups are not known


def points(table: AplTable) -> tuple[Point, ...]:
    """Return the numbers of a table; its groups are those of its summarize, but for the bins of time."""
    bins = table.buckets.field if table.buckets is not None else ""
    names = [name for name in table.groups if name != bins]
    if not names and table.aggregated:
        names = [field.name for field in table.fields if field.type in _KEYS]
    values = dict(zip((field.name for field in table.fields), cells.columns(table), strict=True))
    labels = [
        tuple((name, as_text(_plain(cell))) for name, cell in zip(names, row, strict=True))
        for row in _rows([values[name] for name in names], table.rows.num_rows)
    ]
    keys = [", ".join(f"{name}={value}" for name, value in each) for each in labels]
    times = _times(table, bins) if bins in values else [None] * table.rows.num_rows
    points: list[Point] = []
    for field, column in zip(table.fields, table.rows.schema, strict=True):
        if field.name in names or field.name == bins:
            continue
        numbers = _numbers(table.rows[field.name], column, field.type)
        for key, label, time, value in zip(keys, labels, times, numbers, strict=True):
            if value is not None:
                points.append(Point(key, field.name, value, time, label))
    return tuple(points)


def shifted(points: Sequence[Point], by_ns: int) -> tuple[Point, ...]:
    """Return the same numbers with their bins that much later."""
    return tuple(
        point if point.time_ns is None else msgspec.structs.replace(point, time_ns=point.time_ns + by_ns)
        for point in points
    )


def matches(table: AplTable) -> tuple[MatchedEvent, ...]:
    """Return the events of a table, oldest first; what is null is left out."""
    names = [field.name for field in table.fields]
    has_time = any(field.name == TIME and field.type == "datetime" for field in table.fields)
    times = _times(table, TIME) if has_time else [None] * table.rows.num_rows
    rows = _rows(list(cells.columns(table)), table.rows.num_rows)
    events = [
        MatchedEvent({name: _plain(cell) for name, cell in zip(names, row, strict=True) if cell is not None}, time)
        for row, time in zip(rows, times, strict=True)
    ]
    events.reverse()  # results have the newest first
    return tuple(sorted(events, key=lambda event: event.time_ns or 0))


def _rows(columns: Sequence[Sequence[Any]], count: int) -> Sequence[Sequence[Any]]:
    return list(zip(*columns, strict=True)) if columns else [()] * count


def _times(table: AplTable, name: str) -> list[int | None]:
    values = table.rows[name]
    if not pa.types.is_timestamp(values.type):
        return [None] * len(values)
    return [None if us is None else us * 1000 for us in values.cast(pa.int64()).to_pylist()]


def _numbers(values: pa.ChunkedArray, column: pa.Field, shown_type: str) -> list[float | None]:
    if is_json(column):
        # As floats at once: Python refuses integers of very many digits.
        return [_number(None if text is None else json.loads(text, parse_int=float)) for text in values.to_pylist()]
    if shown_type in ("integer", "float", "timespan"):
        return [_number(value) for value in values.to_pylist()]
    return [None] * len(values)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if number - number == 0 else None  # neither infinite nor not a number


def _plain(cell: Any) -> Any:
    if not isinstance(cell, msgspec.Raw):
        return cell
    try:
        return msgspec.json.decode(cell)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a number of very many digits, or nested very deep
        return bytes(cell).decode(errors="replace")
