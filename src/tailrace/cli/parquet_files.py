"""Parquet files made of lines of JSON, whose columns are known once the last line is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 50_000  # rows
TIMES = ("_time", "_sysTime")
EXACT = 2**53  # whole numbers up to this are exact as doubles
INT64 = range(-(2**63), 2**63)
LARGE = "large integer"  # a column with whole numbers that no double is
JSON_TEXT = "json"  # a column of several types, of lists or of objects

UNWRITABLE = (pa.ArrowException, msgspec.MsgspecError)  # of a value that no column takes

_KINDS = {bool: "boolean", int: "integer", float: "float", str: "string"}
_TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    LARGE: pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    JSON_TEXT: pa.string(),
}
_WIDER = {frozenset({"integer", "float"}): "float", frozenset({"integer", LARGE}): LARGE}


@contextmanager
def spooled_parquet(file: BinaryIO, spool: Path) -> Iterator[Callable[[list[bytes]], None]]:
    """Yield what takes lines, which are kept in a file of their own until their columns are known, and then written.

    A field whose values are of one type is a column of it, of whole numbers and others one of doubles where those are
    exact, of all else one of JSON text; times are timestamps in UTC.
    """
    kinds: dict[str, str] = {}
    try:
        with spool.open("w+b") as kept:

            def write(lines: list[bytes]) -> None:
                for line in lines:
                    for name, value in msgspec.json.decode(line).items():
                        kinds[name] = _joined(kinds.get(name), value)
                kept.write(b"".join(lines))

            yield write
            kept.seek(0)
            _write(kept, file, kinds)
    finally:
        spool.unlink(missing_ok=True)


def _joined(known: str | None, value: Any) -> str:
    """Return the kind of a column that has values of a kind, and one more value."""
    kind = _KINDS.get(type(value), JSON_TEXT)
    if kind == "integer" and abs(value) > EXACT:
        kind = LARGE if value in INT64 else JSON_TEXT
    if known is None or known == kind:
        return kind
    return _WIDER.get(frozenset({known, kind}), JSON_TEXT)


def _write(lines: BinaryIO, file: BinaryIO, kinds: dict[str, str]) -> None:
    times = [name for name in TIMES if kinds.get(name) == "string"]
    schema = pa.schema(
        [(name, pa.timestamp("us", "UTC") if name in times else _TYPES[kind]) for name, kind in kinds.items()]
    )
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for line in lines:
            rows.append(msgspec.json.decode(line))
            if len(rows) == ROW_GROUP:
                writer.write_table(_table(rows, schema, kinds))
                rows.clear()
        writer.write_table(_table(rows, schema, kinds))


def _table(rows: list[dict[str, Any]], schema: pa.Schema, kinds: dict[str, str]) -> pa.Table:
    return pa.Table.from_arrays([_column(rows, field, kinds[field.name]) for field in schema], schema=schema)


def _column(rows: list[dict[str, Any]], field: pa.Field, kind: str) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if pa.types.is_timestamp(field.type):
        return pa.array(values, pa.string()).cast(field.type)
    if kind == JSON_TEXT:
        return pa.array(
            [None if value is None else msgspec.json.encode(value).decode() for value in values], field.type
        )
    return pa.array(values, field.type)
