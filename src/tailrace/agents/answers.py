"""Answers to agents: small by default, and saying how to get what they leave out."""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

DEFAULT_ROWS = 50
MAX_ROWS = 1000
MAX_CHARACTERS = 30_000  # of the rows of one answer, as JSON: about 10,000 tokens
MAX_CELL_CHARACTERS = 500

Row = Sequence[Any]


class AnswerTable(Struct, frozen=True):
    """Rows of a query's answer."""

    columns: Sequence[str]
    rows: Sequence[Row]
    is_cut: bool = False  # whether the query had more rows than were asked for


def shown(table: AnswerTable, how_to_get_more: str, more_notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return a table as the answer of a tool, with notes on what is left out of it, and further ones."""
    rows: list[list[Any]] = []
    notes: list[str] = []
    size = cut_cells = 0
    for row in table.rows:
        cells = [short(value) for value in row]
        size += len(json.dumps(cells, ensure_ascii=False))
        if size > MAX_CHARACTERS and rows:
            break
        rows.append(cells)
        cut_cells += sum(cell is not value for cell, value in zip(cells, row, strict=True))
    if len(rows) < len(table.rows):
        notes.append(
            f"only the first {len(rows)} of {len(table.rows)} rows fit into {MAX_CHARACTERS} characters: "
            "project fewer fields, or summarize"
        )
    elif table.is_cut:
        notes.append(f"there are more than these {len(rows)} rows: {how_to_get_more}")
    if cut_cells:
        notes.append(
            f"{cut_cells} values are cut to {MAX_CELL_CHARACTERS} characters: query their parts by substring()"
        )
    return {"columns": list(table.columns), "rows": rows, "notes": [*notes, *more_notes]}


def short(value: Any) -> Any:
    """Return a value, or the beginning of a long one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= MAX_CELL_CHARACTERS else text[:MAX_CELL_CHARACTERS] + "…"
