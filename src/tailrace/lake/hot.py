"""Hot rows: shredded but not yet committed, as Arrow tables in memory with their log positions."""

from collections.abc import Sequence

import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import HotTable, Received
from tailrace.log import Positions

MERGED_PARTS = 8  # of about the same size that become one
MERGED_ROWS = 16_384  # in a part that is merged no more
MERGED_BYTES = 8 * 1024 * 1024  # of NDJSON, likewise


class HotPart(Struct, frozen=True, eq=False):
    """The rows of one shredding, or of several that followed each other."""

    table: HotTable
    positions: Positions  # of the last batches in it and before it, by writer
    raw_bytes: int  # of the NDJSON
    since_s: float  # monotonic seconds when the oldest of its batches was accepted

    @property
    def rows(self) -> pa.Table:
        """The rows alone."""
        return self.table.rows

    @property
    def received(self) -> Received:
        """The events and bytes received for these rows."""
        return Received(self.rows.num_rows, self.raw_bytes)


def mergeable(parts: Sequence[HotPart]) -> Sequence[HotPart]:
    """Return the parts at the end that should be one, as a query pays for each part; empty where none should.

    They are of about the same size, so that a row is copied a few times only.
    """
    start = len(parts)
    while start and not _is_large(parts[start - 1]) and _size(parts[start - 1]) <= _size(parts[-1]):
        start -= 1
    return parts[start:] if len(parts) - start >= MERGED_PARTS else ()


def _is_large(part: HotPart) -> bool:
    return part.rows.num_rows >= MERGED_ROWS or part.raw_bytes >= MERGED_BYTES


def _size(part: HotPart) -> int:
    """Return the logarithm of its rows to the base MERGED_PARTS."""
    rows: int = part.rows.num_rows
    return (rows.bit_length() - 1) // (MERGED_PARTS.bit_length() - 1)


def merged(parts: Sequence[HotPart]) -> HotPart:
    """Return the rows of parts that follow each other as one part."""
    rows = joined(list(parts)).combine_chunks()
    raw_bytes = sum(part.raw_bytes for part in parts)
    return HotPart(HotTable.of(rows), parts[-1].positions, raw_bytes, parts[0].since_s)


def first_parts(parts: list[HotPart], commit_bytes: int) -> list[HotPart]:
    """Return the parts of the next commit: about so many bytes of NDJSON, or all where little more would be left."""
    if sum(part.raw_bytes for part in parts) <= commit_bytes * 3 // 2:
        return parts
    size = 0
    for number, part in enumerate(parts, 1):
        size += part.raw_bytes
        if size >= commit_bytes:
            return parts[:number]
    return parts


def joined(parts: list[HotPart]) -> pa.Table:
    """Return all rows of the parts, in order, with the columns of all of them."""
    return pa.concat_tables([part.rows for part in parts], promote_options="default")
