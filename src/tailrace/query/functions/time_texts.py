"""Times and timespans, read from texts and written as such."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailrace.events.timestamps import TimeMismatch, by_length, read_iso, timestamp_ns
from tailrace.query.functions.udf import column_udf, udf
from tailrace.query.values import (
    MAX_DATETIME_US,
    MIN_DATETIME_US,
    NS_PER_US,
    STRING,
    TIMESPAN,
    parse_timespan,
    timespan_text,
)

_FEW = 12  # texts; below it the set-up of the vectorised way costs more than it saves
_LONGEST_IN_BULK = 48  # bytes

udf("apl_timespan", [STRING], TIMESPAN)(parse_timespan)
udf("apl_timespan_text", [TIMESPAN], STRING)(timespan_text)


@column_udf("apl_timestamp", ["VARCHAR"], "TIMESTAMPTZ")
def _timestamps(texts: pa.Array) -> pa.Array:
    """Return the times that texts mean, in microseconds; null for what is none or outside of the years 1 to 9999."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts)]
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    us = np.zeros(len(texts), dtype=np.int64)
    done = np.zeros(len(texts), dtype=np.bool_)
    # An array of texts of one length is read in place where it fills its buffer.
    for rows, columns in by_length(data, starts.astype(np.int64), lengths, least=_FEW, longest=_LONGEST_IN_BULK):
        ns, readable = read_iso(columns)
        us[rows] = ns // NS_PER_US
        done[rows] = readable
    left = np.flatnonzero(~done)
    known: dict[str, int | None] = {}
    for row, text in zip(left.tolist(), texts.take(pa.array(left)).to_pylist(), strict=True):
        if text is None:
            continue
        if text not in known:
            known[text] = _timestamp_us(text)
        moment_us = known[text]
        if moment_us is not None:
            us[row] = moment_us
            done[row] = True
    return pa.array(us, pa.int64(), mask=~done).cast(pa.timestamp("us", "UTC"))


def _timestamp_us(text: str) -> int | None:
    try:
        us = timestamp_ns(text) // NS_PER_US
    except TimeMismatch:
        return None
    return us if MIN_DATETIME_US <= us <= MAX_DATETIME_US else None
