"""Rows in memory as an engine reads them fastest: texts of few values as dictionaries, which it groups and compares by
their numbers.
"""

import threading
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import pyarrow as pa

from tailrace.lake.snapshot import HotTable

NUMBER = pa.int16()
MAX_VALUES = 2**15 - 1  # that NUMBER has room for
MIN_ROWS = 1024  # of fewer nothing is gained
MIN_ROWS_A_VALUE = 4  # with fewer a dictionary costs more than it saves

_lock = threading.Lock()
_encoded: WeakKeyDictionary[HotTable, dict[str, pa.ChunkedArray]] = WeakKeyDictionary()


def encode(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as a dictionary if it is one of texts of few values, else as it is."""
    rows = len(values)
    if values.type != pa.string() or rows < MIN_ROWS:
        return values
    if len(values.slice(0, MIN_ROWS).unique()) > MIN_ROWS // MIN_ROWS_A_VALUE:
        return values
    numbered = values.combine_chunks().dictionary_encode()
    if len(numbered.dictionary) > min(MAX_VALUES, rows // MIN_ROWS_A_VALUE):
        return values
    return pa.chunked_array([pa.DictionaryArray.from_arrays(numbered.indices.cast(NUMBER), numbered.dictionary)])


def encoded(part: HotTable, names: Sequence[str]) -> pa.Table:
    """Return columns of a part, encoded, which is done once for each."""
    with _lock:
        known = _encoded.setdefault(part, {})
    for name in names:
        if name not in known:
            known[name] = encode(part.rows[name])
    return pa.table([known[name] for name in names], names=list(names)) if names else part.rows.select([])


def assembled(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return the rows of all parts with exactly the columns of a schema, which are null where a part lacks them.

    A column is a dictionary where it is one in every large part that has it.
    """
    columns = [_column(parts, field) for field in schema]
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _column(parts: Sequence[pa.Table], field: pa.Field) -> pa.ChunkedArray:
    found = [part[field.name] if field.name in part.column_names else None for part in parts]
    kinds = {each.type for each in found if each is not None and len(each) >= MIN_ROWS}
    kind = kinds.pop() if len(kinds) == 1 else field.type
    chunks: list[pa.Array] = []
    for part, values in zip(parts, found, strict=True):
        if values is None:
            chunks.append(pa.nulls(part.num_rows, kind))
        elif values.type == kind:
            chunks.extend(values.chunks)
        else:
            chunks.extend(chunk.cast(kind) for chunk in values.chunks)
    return pa.chunked_array(chunks, kind)
