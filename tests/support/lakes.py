"""What tests of a lake share: settings by which it commits when asked to, and what is in it."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.lake import LakeSettings, Snapshot

NEVER = LakeSettings(commit_age_s=1e9)


def numbers(snapshot: Snapshot) -> list[int]:
    """Return the values of `n`, of committed and hot rows."""
    parts: list[pa.Table] = [pq.ParquetFile(file.location).read() for file in snapshot.files]
    return sorted(n for part in (*parts, *(part.rows for part in snapshot.hot)) for n in part["n"].to_pylist())


def failing_with(error: Exception) -> Callable[..., Any]:
    """Return a function that raises an error, whatever it is called with."""

    def fail(*_: object) -> None:
        raise error

    return fail
