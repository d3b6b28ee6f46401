"""What is shredded but not yet committed: Arrow tables in memory, with the log positions they stand for."""

import pyarrow as pa
from msgspec import Struct

from tailrace.lake.snapshot import Received


class HotPart(Struct, frozen=True, eq=False):
    """The rows of one shredding."""

    rows: pa.Table
    position: int  # of the last batch in it
    raw_bytes: int  # NDJSON bytes it came from
    since_s: float  # monotonic seconds when the oldest of its batches was accepted

    @property
    def received(self) -> Received:
        """What was received for these rows."""
        return Received(self.rows.num_rows, self.raw_bytes)


def joined(parts: list[HotPart]) -> pa.Table:
    """All rows of the parts, in order, with the columns of all of them."""
    return pa.concat_tables([part.rows for part in parts], promote_options="default")
