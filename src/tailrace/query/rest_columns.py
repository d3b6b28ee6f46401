"""Fields that have no column of their own, as columns of an answer of raw events."""

from collections.abc import Iterator

import msgspec
import pyarrow as pa

from tailrace.events import QueryFailed
from tailrace.query.apl_result import AplField
from tailrace.query.arrow_json import JSON_FIELD
from tailrace.query.column_types import json_types
from tailrace.query.compile.relation import Relation


def add_rest_columns(
    relation: Relation,
    rests: pa.ChunkedArray,
    names: set[str],
    fields: list[AplField],
    arrays: list[pa.ChunkedArray],
    kinds: list[pa.Field],
    max_cells: int,
) -> None:
    """Return fields without columns that these rows have, each in its place by name.

    Raise QueryFailed where the answer would have more than `max_cells` values: a row each of names of its own make
    a table whose size is the square of theirs.
    """
    by_path: dict[str, dict[int, str]] = {}  # and by row
    count = len(rests)
    for row, text in enumerate(rests.to_pylist()):
        for path, value in _leaves(text) if text else ():
            cells = by_path.get(path)
            if cells is None:
                if path in names or relation.hides(path):
                    continue
                cells = by_path[path] = {}
                if (len(fields) + len(by_path)) * count > max_cells:
                    raise QueryFailed(
                        f"the answer has more values (fields by rows) than query_max_cells = {max_cells}; "
                        "project the fields that you need, or take fewer rows"
                    )
            cells[row] = value
    old = list(zip(fields, arrays, kinds, strict=True))
    merged: list[tuple[AplField, pa.ChunkedArray, pa.Field]] = []
    placed = 0
    for path in sorted(by_path, key=str.encode):
        while placed < len(old) and (relation.reordered or old[placed][0].name.encode() <= path.encode()):
            merged.append(old[placed])
            placed += 1
        merged.append(_rest_column(path, by_path[path], count))
        names.add(path)
    merged += old[placed:]
    for whole, part in zip((fields, arrays, kinds), zip(*merged, strict=True), strict=True):
        whole[:] = part


def _rest_column(path: str, cells: dict[int, str], count: int) -> tuple[AplField, pa.ChunkedArray, pa.Field]:
    """Return a field of `count` rows, of which these have a value."""
    kind = json_types(cells.values())
    field = pa.field(path, pa.string(), metadata=None if kind == "string" else JSON_FIELD)
    texts: list[str | None] = [None] * count
    for row, text in cells.items():
        texts[row] = msgspec.json.decode(text, type=str) if kind == "string" else text
    return AplField(path, kind), pa.chunked_array([pa.array(texts, pa.string())]), field


def _leaves(text: str | msgspec.Raw, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths of a JSON object and the JSON text of each value, whose numbers keep all their digits."""
    for key, raw in _MEMBERS.decode(text).items():
        value = bytes(raw)
        path = f"{prefix}{key}"
        if value.startswith(b"{") and value != b"{}":
            yield from _leaves(raw, f"{path}.")
        elif value != b"null":
            yield path, value.decode()


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
