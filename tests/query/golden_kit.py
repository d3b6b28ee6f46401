"""Golden files: queries in APL, each with the table that it gives, as plain text.

A file is a list of cases. A case is comment lines (`# …`), the query, a line `----`, and the table: a line of names and
a line a row, columns two or more spaces apart. A cell is JSON, or a text as it is where nothing else could be meant.
In place of a table `error: …` says which error comes, `(no rows)` that there is none.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tailrace.events import Batch
from tailrace.query.apl.times import datetime_ns
from tailrace.query.apl_result import AplTable
from tailrace.query.arrow_json import is_json
from tailrace.query.values import timespan_text

DIRECTORY = Path(__file__).parent / "golden"
RECEIVED_NS = 1_790_000_000_000_000_000

_PLAIN = re.compile(r"[^\s\"\[{](?:\S| (?! ))*")


class Case(msgspec.Struct, frozen=True):
    file: str
    title: str
    query: str
    expected: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.title}"


def cases(path: Path) -> Iterator[Case]:
    """All cases of a file."""
    for block in re.split(r"\n(?=#)", path.read_text().strip()):
        head, _, expected = block.partition("\n----\n")
        lines = head.splitlines()
        title = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
        query = "\n".join(line for line in lines if not line.startswith("#"))
        yield Case(path.stem, title, query, expected.strip())


def all_cases() -> list[Case]:
    return [case for path in sorted(DIRECTORY.glob("*.test")) for case in cases(path)]


def datasets() -> dict[str, list[bytes]]:
    """Return events by dataset, a line of JSON each."""
    return {path.stem: path.read_bytes().splitlines() for path in sorted((DIRECTORY / "data").glob("*.ndjson"))}


def as_batch(dataset: str, lines: list[bytes]) -> Batch:
    times = []
    events = []
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        times.append(datetime_ns(event.pop("_time")))
        events.append(json.dumps(event, ensure_ascii=False).encode() + b"\n")
    return Batch(dataset, b"".join(events), np.array(times, np.int64), len(events), RECEIVED_NS)


def shown(table: AplTable) -> str:
    """Return the table as a golden file has it."""
    names = [cell(field.name) for field in table.fields]
    columns = [
        _cells(table.rows[n], field.type, is_json=is_json(table.rows.schema.field(n)))
        for n, field in enumerate(table.fields)
    ]
    rows = [names, *(list(row) for row in zip(*columns, strict=True))] if columns else []
    if not columns or len(rows) == 1:
        return "  ".join(names) + "\n(no rows)"
    widths = [max(len(row[n]) for row in rows) for n in range(len(names))]
    lines = ["  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _cells(values: pa.ChunkedArray, kind: str, *, is_json: bool) -> list[str]:
    if is_json:
        found = [None if text is None else json.loads(text) for text in values.to_pylist()]
        return [cell(v) if isinstance(v, str) else json.dumps(v, ensure_ascii=False, sort_keys=True) for v in found]
    if pa.types.is_timestamp(values.type):
        texts = [None if v is None else v.isoformat().replace("+00:00", "Z") for v in values.to_pylist()]
        return ["null" if text is None else text for text in texts]
    if kind == "timespan":
        return ["null" if ns is None else timespan_text(ns) for ns in values.to_pylist()]
    return [cell(value) for value in values.to_pylist()]


def cell(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and not _reads_as_json(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return text == "(no rows)" or text.startswith(("#", "----"))
    return True
