"""An APL query as a client asks it."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from tailrace.query.apl import tree
from tailrace.query.compile.request import Views, no_views

MAX_BIN_AUTO_GROUPS = 10_000  # that a request may ask for
DEFAULT_BIN_AUTO_GROUPS = 100

Variable = str | int | float | bool | None


class FieldOrder(Struct, frozen=True):
    """One key of an order."""

    field: str
    desc: bool = False


class AplRequest(Struct, frozen=True, kw_only=True):
    """A query as a client asks it. Times are Unix nanoseconds, the range is half open: [start, end)."""

    apl: str
    program: tree.Program | None = None  # the query as a tree, in place of `apl`, which is then only shown
    start_ns: int | None = None
    end_ns: int | None = None  # None: up to and including now, with a message that says so
    default_limit: int | None = None  # rows, where the query itself has no limit
    most_rows: int | None = None  # of each table, whatever the query says
    default_order: tuple[FieldOrder, ...] = ()  # where the query itself has none
    max_bin_auto_groups: int = DEFAULT_BIN_AUTO_GROUPS
    variables: Mapping[str, Variable] = {}  # read like leading `let`s
    cursor: str = ""  # rows after this one, in the order of the answer
    include_cursor: bool = False  # and that row too
    include_cursor_field: bool = False  # a last column `_cursor` in a raw-event answer
    totals: bool = True  # a table `_totals` where a time bin is among the groups
    virtual_fields: Mapping[str, Sequence[tuple[str, str]]] = {}  # by dataset: name and APL expression
    map_fields: Mapping[str, Sequence[str]] = {}  # by dataset: fields whose objects are one column each
    answers_of: str = ""  # whose earlier answers may be given again; "": nobody's, and this one is not kept
    now_ns: int | None = None  # the instant of `now()`; None: the present
    view: Views = no_views
    notes: Callable[[str], Mapping[str, Mapping[str, str]]] = lambda dataset: {}
    """What users say of a dataset's fields, by field: its `unit` and its `description`, where there is one."""
