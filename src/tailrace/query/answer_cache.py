"""Answers that were given, for who asks the same again of the same rows."""

import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import HotTable
from tailrace.query.sources import HotRows

SHARE = 8  # an answer of more than this share of the cache is not kept
MAX_INLINE_BYTES = 64 * 1024  # of rows that a query brings with it, which are compared by value
ENTRY_BYTES = 1000  # of what is kept of an answer, in addition to its columns and its query
_VOLATILE = re.compile(r"\brandom\(", re.IGNORECASE)

Rows: TypeAlias = pa.Table | HotRows


class RowsRead(Struct, frozen=True, eq=False):
    """What a query reads beside files: parts of the hot rows, which never change, or rows that it brings with it."""

    columns: tuple[str, ...]
    parts: tuple["weakref.ref[HotTable]", ...] = ()
    table: pa.Table | None = None

    def are(self, rows: Rows) -> bool:
        """Return whether rows are these."""
        if isinstance(rows, HotRows):
            if self.columns != tuple(rows.schema.names) or len(self.parts) != len(rows.parts):
                return False
            return all(part() is other for part, other in zip(self.parts, rows.parts, strict=True))
        return self.table is not None and self.table.equals(rows)


class KeptAnswer(Struct, frozen=True, eq=False):
    table: pa.Table
    rows: Mapping[str, RowsRead]  # by name
    bytes: int


class AnswerCache:
    """Answers of the engine by who asked and by SQL, which names every file, moment and rule that it stands for.

    Nobody is given what another one asked for. Thread-safe.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def find(self, owner: str, sql: str, rows: Mapping[str, Rows]) -> pa.Table | None:
        """Return the answer to a query over files and these rows; None where it is not known."""
        key = owner, sql
        with self._lock:
            kept = self._answers.get(key)
            if kept is None or kept.rows.keys() != rows.keys():
                self.misses += 1
                return None
            if not all(read.are(rows[name]) for name, read in kept.rows.items()):
                self.misses += 1
                return None
            self._answers.move_to_end(key)
            self.hits += 1
            return kept.table

    def keep(self, owner: str, sql: str, rows: Mapping[str, Rows], table: pa.Table) -> None:
        """Keep an answer, unless it is too large, or another one each time."""
        if _VOLATILE.search(sql) or not all(map(_is_comparable, rows.values())):
            return
        size = table.nbytes + len(sql) + ENTRY_BYTES + sum(r.nbytes for r in rows.values() if isinstance(r, pa.Table))
        if size > self.max_bytes // SHARE:
            return
        kept = KeptAnswer(table, {name: _read(one) for name, one in rows.items()}, size)
        key = owner, sql
        with self._lock:
            old = self._answers.pop(key, None)
            self.bytes += size - (old.bytes if old is not None else 0)
            self._answers[key] = kept
            while self.bytes > self.max_bytes:
                _, dropped = self._answers.popitem(last=False)
                self.bytes -= dropped.bytes


def _is_comparable(rows: Rows) -> bool:
    return isinstance(rows, HotRows) or rows.nbytes <= MAX_INLINE_BYTES


def _read(rows: Rows) -> RowsRead:
    if isinstance(rows, HotRows):
        return RowsRead(tuple(rows.schema.names), tuple(weakref.ref(part) for part in rows.parts))
    return RowsRead(tuple(rows.column_names), table=rows)
