"""Columns of JSON texts in Arrow tables, marked as Arrow's canonical extension type does."""

import pyarrow as pa

JSON_FIELD = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
"""The metadata of a text column whose values are JSON."""


def is_json(field: pa.Field) -> bool:
    """Whether the values of a column are JSON texts."""
    return (field.metadata or {}).get(b"ARROW:extension:name") == b"arrow.json"
