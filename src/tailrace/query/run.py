"""An APL query from request to answer: what is asked, what comes back, and the way between."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from msgspec import Struct

from tailrace.lake import Lake
from tailrace.query.apl import tree
from tailrace.query.engines.duckdb import DuckDB, Interrupt

DEFAULT_ROWS = 1_000  # of a raw-event answer, where neither query nor request says how many
MAX_ROWS = 50_000  # of any answer table (Axiom's hard maximum)
MAX_BIN_AUTO_GROUPS = 10_000  # that a request may ask for
DEFAULT_BIN_AUTO_GROUPS = 100

Variable = str | int | float | bool | None


class Order(Struct, frozen=True):
    """One key of an order."""

    field: str
    desc: bool


class AplRequest(Struct, frozen=True, kw_only=True):
    """A query as a client asks it. Times are Unix nanoseconds, the range is half open: [start, end)."""

    apl: str
    program: tree.Program | None = None  # the query as a tree, in place of `apl`, which is then only shown
    start_ns: int | None = None
    end_ns: int | None = None  # None: up to and including now, with a message that says so
    default_limit: int | None = None  # rows, where the query itself has no limit
    default_order: tuple[Order, ...] = ()  # where the query itself has none
    max_bin_auto_groups: int = DEFAULT_BIN_AUTO_GROUPS
    variables: Mapping[str, Variable] = {}  # read like leading `let`s
    cursor: str = ""  # rows after this one, in the order of the answer
    include_cursor: bool = False  # and that row too
    include_cursor_field: bool = False  # a last column `_cursor` in a raw-event answer
    totals: bool = True  # a table `_totals` where a time bin is among the groups
    virtual_fields: Mapping[str, Sequence[tuple[str, str]]] = {}  # by dataset: name and APL expression
    now_ns: int | None = None  # the instant of `now()`; None: the present


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


class Range(Struct, frozen=True):
    """The time that an answer covers, in Unix nanoseconds, end exclusive."""

    field: str
    start_ns: int
    end_ns: int


class Buckets(Struct, frozen=True):
    """The bins of a group: their size, in nanoseconds where the field is a time."""

    field: str
    size: int | float


class AplTable(Struct, frozen=True, eq=False):
    """One table of an answer.

    `rows` has a column for each of `fields`, in order and under the same names (which are distinct): bool, int64,
    double, string, timestamp[us, UTC]; a timespan is an int64 (the unit is `tailrace.query.values`'); anything else is
    JSON text, marked as `tailrace.query.results.is_json` tells.
    """

    name: str  # "0", or "_totals"
    fields: tuple[AplField, ...]
    rows: pa.Table
    sources: tuple[str, ...] = ()  # names of the datasets it was read from
    order: tuple[Order, ...] = ()
    groups: tuple[str, ...] = ()
    range: Range | None = None
    buckets: Buckets | None = None
    aggregated: bool = False  # rows are groups, not events


class Message(Struct, frozen=True):
    """A remark on a query: priority is one of trace, debug, info, warn, error, fatal."""

    priority: str
    code: str
    msg: str
    count: int = 1


class AplStatus(Struct, frozen=True):
    """What it took. Times are Unix nanoseconds, None where no row was read."""

    elapsed_us: int
    rows_examined: int  # inside the time range, in what was read
    rows_matched: int  # of these, after the filters and before any limit
    blocks_examined: int = 0  # files and in-memory parts within reach
    blocks_matched: int = 0  # of these, read
    blocks_skipped: int = 0  # passed over by time, statistics or missing columns
    num_groups: int = 0
    min_time_ns: int | None = None
    max_time_ns: int | None = None
    min_cursor: str = ""
    max_cursor: str = ""
    messages: tuple[Message, ...] = ()


class AplResult(Struct, frozen=True, eq=False):
    """The answer: table "0", then `_totals` if there is one. `cursors` has a row's cursor for each row of table "0"
    where the answer is raw events and the request asked for cursors."""

    tables: tuple[AplTable, ...]
    status: AplStatus
    datasets: tuple[str, ...]
    cursors: tuple[str, ...] = ()


def run_apl(
    lake: Lake,
    engine: DuckDB,
    request: AplRequest,
    *,
    check: Callable[[str], None],
    interrupt: Interrupt | None = None,
) -> AplResult:
    """Run one APL query, every event acknowledged before included.

    `check(dataset)` raises Forbidden for a dataset that may not be read; patterns (`union logs*`) pass over such
    datasets. Raises AplError (400, with line and column), QueryFailed (a limit, which it names), DatasetNotFound,
    Forbidden, Overloaded.
    """
    raise NotImplementedError
