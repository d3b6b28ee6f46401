"""What a compilation is to know of the request: time, variables, fields that users define, and views."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from tailrace.query.functions import ReferenceData
from tailrace.query.row_groups import RowGroupCache


class ViewSource(Struct, frozen=True):
    """A named query that is a source like a dataset.

    `reads` are the datasets that who defined it might read then, which it shows to everybody who may read the view;
    None where that is not known, and then whoever asks must be allowed to read them.
    """

    apl: str
    reads: tuple[str, ...] | None = None


Views = Callable[[str], ViewSource | None]
"""The view of a name that may be read, None where there is none."""


def no_views(name: str) -> ViewSource | None:
    """Return None: nobody has a view."""
    return None


class CompileRequest(Struct, frozen=True, kw_only=True):
    """Times are in nanoseconds since 1970."""

    now_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    max_bin_auto_groups: int = 100
    variables: Mapping[str, str | int | float | bool | None] = {}
    virtual_fields: Mapping[str, Sequence[tuple[str, str]]] = {}
    map_fields: Mapping[str, Sequence[str]] = {}
    view: Views = no_views
    notes: Callable[[str], Mapping[str, Mapping[str, str]]] = lambda dataset: {}
    reference_data: ReferenceData = ReferenceData()
    row_groups: RowGroupCache | None = None  # None: files are read whatever their footers say
    check: Callable[[], None] = lambda: None  # raises where the query is to stop
    skip_unavailable: bool = False  # whether a pattern leaves out, with a remark, datasets that cannot be used
