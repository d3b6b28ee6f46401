"""Hot rows: shredded but not yet committed, as Arrow tables in memory with their log positions."""

import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import Received


class HotPart(Struct, frozen=True, eq=False):
    """The rows of one shredding."""

    rows: pa.Table
    position: int  # of the last batch in it
    raw_bytes: int  # of the NDJSON
    since_s: float  # monotonic seconds when the oldest of its batches was accepted

    @property
    def received(self) -> Received:
        """The events and bytes received for these rows."""
        return Received(self.rows.num_rows, self.raw_bytes)


def joined(parts: list[HotPart]) -> pa.Table:
    """Return all rows of the parts, in order, with the columns of all of them."""
    return pa.concat_tables([part.rows for part in parts], promote_options="default")
