"""Missing elements of series filled in: those that are null, no number, or equal to a placeholder."""

import itertools
from typing import Any

from tailrace.query.functions.series.elements import Cell, as_series, dynamic_or_null
from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import BOOL, DYNAMIC, literal

FUNCTIONS, _add = table("series")


def _with_gaps(values: Any, missing: Any) -> list[Cell]:
    if missing is None:
        return as_series(values)
    return [None if each is not None and each == missing else each for each in as_series(values)]


def _filled_forward(series: list[Cell]) -> list[Cell]:
    last: Cell = None
    filled = []
    for each in series:
        last = each if each is not None else last
        filled.append(last)
    return filled


@udf("apl_series_fill_const", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_const(values: Any, constant: Any, missing: Any) -> list[Any]:
    return [constant if each is None else each for each in _with_gaps(values, missing)]


@udf("apl_series_fill_forward", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_forward(values: Any, missing: Any) -> list[Cell]:
    return _filled_forward(_with_gaps(values, missing))


@udf("apl_series_fill_backward", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_backward(values: Any, missing: Any) -> list[Cell]:
    return _filled_forward(_with_gaps(values, missing)[::-1])[::-1]


@udf("apl_series_fill_linear", [DYNAMIC, DYNAMIC, BOOL, DYNAMIC], DYNAMIC, nulls=True)
def _fill_linear(values: Any, missing: Any, edges: bool | None, constant: Any) -> list[Any]:
    series = _with_gaps(values, missing)
    if None not in series:
        return series
    known = [n for n, each in enumerate(series) if each is not None]
    if not known:
        return [constant] * len(series)
    filled: list[Any] = list(series)
    first, last = known[0], known[-1]
    if last - first >= len(known):
        for a, b in itertools.pairwise(known):
            for n in range(a + 1, b):
                share = (n - a) / (b - a)
                filled[n] = float(filled[a]) * (1 - share) + float(filled[b]) * share
    if edges is not False:
        filled[:first] = [filled[first]] * first
        filled[last + 1 :] = [filled[last]] * (len(filled) - last - 1)
    return filled


# fmt: off
_add("series_fill_backward", "series:dynamic, missing:value?", DYNAMIC,
     lambda c, values, missing: _fill_backward(values, dynamic_or_null(missing)),
     "Missing elements, which are null or equal to a placeholder, as the next one that is there.",
     "print series_fill_backward(dynamic([null, 2, null]))", [2, 2, None])
_add("series_fill_const", "series:dynamic, constant:value, missing:value?", DYNAMIC,
     lambda c, values, constant, missing: _fill_const(values, constant, dynamic_or_null(missing)),
     "Missing elements, which are null or equal to a placeholder, as a constant.",
     "print series_fill_const(dynamic([1, null]), 0)", [1, 0])
_add("series_fill_forward", "series:dynamic, missing:value?", DYNAMIC,
     lambda c, values, missing: _fill_forward(values, dynamic_or_null(missing)),
     "Missing elements, which are null or equal to a placeholder, as the last one that was there.",
     "print series_fill_forward(dynamic([null, 2, null]))", [None, 2, 2])
_add("series_fill_linear", "series:dynamic, missing:value?, fill_edges:bool?, constant:value?", DYNAMIC,
     lambda c, values, missing, edges, constant: _fill_linear(
         values, dynamic_or_null(missing), edges or literal(True), dynamic_or_null(constant)
     ),
     "Missing elements on the straight line between their neighbours; at the edges, unless told not to, as the nearest "
     "one.", "print series_fill_linear(dynamic([1, null, 3]))", [1, 2.0, 3])
# fmt: on
