"""What pyarrow imports at its first use, imported before that: in a thread of the lake it could fail.

An import opens files. Where no file descriptor is left it raises OSError, and not only where the module is missing.
"""

from datetime import UTC, datetime

import pyarrow as pa


def preload() -> None:
    """Have pyarrow look for numpy.ma, zoneinfo, and pandas, which is not installed with the server."""
    times = pa.chunked_array([pa.array([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))])
    times[0].as_py()
    pa.array(times.cast(pa.int64()).to_numpy())
