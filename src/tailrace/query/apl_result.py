"""The answer to an APL query: its tables with their fields, and its status."""

import pyarrow as pa
from msgspec import Struct

from tailrace.query.apl_request import FieldOrder

CURSOR = "_cursor"  # the column of a row's cursor
DEFAULT_ROWS = 1_000  # of a raw-event answer, where neither query nor request says how many
MAX_ROWS = 50_000  # of any answer table (Axiom's hard maximum)


class Aggregate(Struct, frozen=True):
    """How an aggregate column came to be: name from the clients' closed list, e.g. `topk` of `["ip"]` with `[1]`."""

    name: str
    fields: tuple[str, ...] = ()
    args: tuple[object, ...] = ()


class AplField(Struct, frozen=True):
    """A column of an answer. `type` is one of datetime, string, integer, float, boolean, array, map, timespan, unknown,
    or several of them joined by `|`."""

    name: str
    type: str
    agg: Aggregate | None = None


class TimeRange(Struct, frozen=True):
    """The time that an answer covers, in Unix nanoseconds, end exclusive."""

    field: str
    start_ns: int
    end_ns: int


class BinSize(Struct, frozen=True):
    """The bins of a group: their size, in nanoseconds where the field is a time."""

    field: str
    size: int | float


class AplTable(Struct, frozen=True, eq=False):
    """One table of an answer.

    `rows` has a column for each of `fields`, in order and under the same names (which are distinct): bool, int64,
    double, string, timestamp[us, UTC]; a timespan is an int64 (the unit is `tailrace.query.values`'); anything else is
    JSON text, marked as `tailrace.query.arrow_json.is_json` tells.
    """

    name: str  # "0", or "_totals"
    fields: tuple[AplField, ...]
    rows: pa.Table
    sources: tuple[str, ...] = ()  # names of the datasets it was read from
    order: tuple[FieldOrder, ...] = ()
    groups: tuple[str, ...] = ()
    range: TimeRange | None = None
    buckets: BinSize | None = None
    aggregated: bool = False  # rows are groups, not events


class QueryMessage(Struct, frozen=True):
    """A remark on a query: priority is one of trace, debug, info, warn, error, fatal."""

    priority: str
    code: str
    msg: str
    count: int = 1


class AplStatus(Struct, frozen=True):
    """What it took. Times are Unix nanoseconds, None where no row was read."""

    elapsed_us: int
    rows_examined: int  # inside the time range, in what was read
    rows_matched: int  # after the filters and before any limit; of what was read, where a message says so
    blocks_examined: int = 0  # files and in-memory parts within reach
    blocks_matched: int = 0  # of these, read
    blocks_skipped: int = 0  # passed over by time, statistics or missing columns
    num_groups: int = 0
    min_time_ns: int | None = None
    max_time_ns: int | None = None
    min_cursor: str = ""
    max_cursor: str = ""
    messages: tuple[QueryMessage, ...] = ()
    is_cached: bool = False  # whether it is an answer that was given before, over the same events
    is_partial: bool = False  # whether datasets that cannot be used are left out, as messages tell


class AplResult(Struct, frozen=True, eq=False):
    """The answer: table "0", then `_totals` if there is one."""

    tables: tuple[AplTable, ...]
    status: AplStatus
    datasets: tuple[str, ...]
