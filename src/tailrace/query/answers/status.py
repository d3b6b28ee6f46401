"""The `status` block of an answer: what it took, in true figures."""

from msgspec import UNSET, Struct, UnsetType

from tailrace.events.times import rfc3339
from tailrace.query.apl_result import AplStatus, QueryMessage

NO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time, where no row was read
CACHE_MISS, CACHED_RESULTS = 1, 4  # bits of `cacheStatus`


class Status(Struct, frozen=True, rename="camel"):
    """The members that Axiom's clients know, and no other."""

    elapsed_time: int  # microseconds
    blocks_examined: int
    blocks_cached: int
    blocks_matched: int
    blocks_skipped: int
    rows_examined: int
    rows_matched: int
    num_groups: int
    is_partial: bool
    is_estimate: bool
    cache_status: int
    min_block_time: str
    max_block_time: str
    messages: tuple[QueryMessage, ...]
    min_cursor: str | UnsetType = UNSET
    max_cursor: str | UnsetType = UNSET


def to_status(status: AplStatus) -> Status:
    """Return a query's status as clients read it."""
    return Status(
        elapsed_time=max(status.elapsed_us, 1),  # clients take 0 for a missing value
        blocks_examined=status.blocks_examined,
        blocks_cached=0,
        blocks_matched=status.blocks_matched,
        blocks_skipped=status.blocks_skipped,
        rows_examined=status.rows_examined,
        rows_matched=status.rows_matched,
        num_groups=status.num_groups,
        is_partial=status.is_partial,
        is_estimate=False,
        cache_status=CACHED_RESULTS if status.is_cached else CACHE_MISS,
        min_block_time=_time(status.min_time_ns),
        max_block_time=_time(status.max_time_ns),
        messages=status.messages,
        min_cursor=status.min_cursor or UNSET,
        max_cursor=status.max_cursor or UNSET,
    )


def _time(time_ns: int | None) -> str:
    return NO_TIME if time_ns is None else rfc3339(time_ns)
