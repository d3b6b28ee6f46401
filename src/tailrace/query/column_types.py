"""The types of an answer's columns: as answers name them, and in Arrow."""

from collections.abc import Iterable

import pyarrow as pa

from tailrace.query.arrow_json import JSON_FIELD
from tailrace.query.compile.relation import RelationColumn
from tailrace.query.values import Type

_TEXTS = {
    Type.BOOL: "boolean", Type.LONG: "integer", Type.REAL: "float", Type.STRING: "string", Type.DATETIME: "datetime",
    Type.TIMESPAN: "timespan",
}  # fmt: skip
_STORED = {"number": "integer"}  # beyond 64 bits
_JSON_STARTS = {"[": "array", "{": "map", '"': "string", "t": "boolean", "f": "boolean"}


def type_text(column: RelationColumn, values: pa.ChunkedArray) -> str:
    """Return the type that answers show: of a dynamic what its values are."""
    kind = column.value.type
    if kind in _TEXTS:
        return _TEXTS[kind]
    if column.types:
        return "|".join(sorted({_STORED.get(name, name) for name in column.types}))
    return json_types(values.to_pylist())


def json_types(texts: Iterable[str | None]) -> str:
    """Return what a list of JSON texts holds, such as `integer|string`; `unknown` where there is nothing."""
    kinds = set()
    for text in texts:
        if text is None or text == "null":
            continue
        kind = _JSON_STARTS.get(text.lstrip()[:1])
        kinds.add(kind or ("float" if set(text) & set(".eEnN") else "integer"))
    return "|".join(sorted(kinds)) or "unknown"


def arrow_field(name: str, column: RelationColumn) -> pa.Field:
    """Return a column of an answer as Arrow has it: what has no type there is JSON text, marked as such."""
    kind = column.value.type
    return pa.field(name, _ARROW.get(kind, pa.string()), metadata=JSON_FIELD if kind not in _ARROW else None)


_ARROW = {
    Type.BOOL: pa.bool_(), Type.LONG: pa.int64(), Type.REAL: pa.float64(), Type.STRING: pa.string(),
    Type.DATETIME: pa.timestamp("us", "UTC"), Type.TIMESPAN: pa.int64(),
}  # fmt: skip
