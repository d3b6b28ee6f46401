"""The aggregations of summarize and make-series, as data: name, parameters, documentation, and how each is built."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from tailrace.query.apl.errors import AplError
from tailrace.query.compile.aggregation_builders import (
    DEFAULT_SET,
    MAX_ELEMENTS,
    AggregationCall,
    _any,
    _avg,
    _count,
    _dcount,
    _extreme,
    _histogram,
    _list,
    _merged,
    _percentile,
    _percentiles,
    _phrases,
    _rate,
    _set,
    _spotlight,
    _spread,
    _sum,
    _topk,
)
from tailrace.query.values import (
    Value,
)


class AggregationFunction(Struct, frozen=True, eq=False):
    name: str
    signature: str
    shown_as: str  # in the closed list that clients know
    least: int  # arguments
    most: int | None
    build: Callable[[AggregationCall], Value]
    doc: str
    example: str
    result: Any
    predicate: int | None = None  # which argument is the predicate
    note: str = ""


def _arguments_refused(call: AggregationCall) -> Value:
    raise AplError(f"{call.name}() cannot be part of a larger expression", kind="type")


DATA = 'datatable (s: string, x: long) ["a", 1, "a", 3, "b", 8]'


def _table() -> Mapping[str, AggregationFunction]:  # long: a table of data
    functions: dict[str, AggregationFunction] = {}

    def add(
        signature: str,
        shown_as: str,
        arity: tuple[int, int | None],
        build: Callable[[AggregationCall], Value],
        doc: str,
        result: Any,
        example: str = "",
        *,
        predicate: int | None = None,
        note: str = "",
    ) -> None:
        name = signature.partition("(")[0]
        query = f"{DATA} | summarize {example or signature}"
        functions[name] = AggregationFunction(
            name, signature, shown_as, *arity, build, doc, query, result, predicate, note
        )

    # fmt: off
    add("any(value)", "computed", (1, 1), _any,
        "A value of the group, always the same one of the same rows; null where there is none.", "a", "any(s)")
    add("arg_max(value, field, …)", "argmax", (1, None), _arguments_refused,
        "The fields, or with `*` all of them, of the row with the largest value, and that value.", 8,
        "arg_max(x, s)")
    add("arg_min(value, field, …)", "argmin", (1, None), _arguments_refused,
        "The fields, or with `*` all of them, of the row with the smallest value, and that value.", 1,
        "arg_min(x, s)")
    add("avg(value)", "avg", (1, 1), _avg, "The mean of the numbers; null where there is none.", 4.0, "avg(x)")
    add("avgif(value, predicate)", "avgif", (2, 2), _avg,
        "The mean of the numbers of the rows for which the predicate holds.", 2.0, 'avgif(x, s == "a")',
        predicate=1)
    add("bag_merge(value)", "computed", (1, 1), _merged,
        "One dictionary of those of all rows, in which of equal keys that of the last row counts, in the order of the "
        "rows where the query sorts them; null where there is none.", {"b": 8, "a": 3}, "bag_merge(pack(s, x))")
    add("count()", "count", (0, 0), _count, "The number of rows.", 3)
    add("countif(predicate)", "countif", (1, 1), _count, "The number of rows for which the predicate holds.", 2,
        'countif(s == "a")', predicate=0)
    add("dcount(value[, accuracy])", "distinct", (1, 2), _dcount,
        "The number of distinct values, nulls not counted.", 2, "dcount(s)",
        note="It is exact; the accuracy is accepted and has no effect.")
    add("dcountif(value, predicate[, accuracy])", "distinctif", (2, 3), _dcount,
        "The number of distinct values of the rows for which the predicate holds.", 1, "dcountif(s, x < 4)",
        predicate=1, note="It is exact; the accuracy is accepted and has no effect.")
    add("histogram(value, bins)", "histogram", (2, 2), _histogram,
        "How the numbers spread over this many bins of one width between the smallest and the largest number of all "
        "groups: an array of `{from, to, count}`.",
        [{"from": 1.0, "to": 4.5, "count": 2}, {"from": 4.5, "to": 8.0, "count": 1}], "histogram(x, 2)",
        note="After by, `histogram(value, size)` is `bin(value, size)`.")
    add("histogramif(value, bins, predicate)", "histogramif", (3, 3), _histogram,
        "The histogram of the rows for which the predicate holds.",
        [{"from": 1.0, "to": 2.0, "count": 1}, {"from": 2.0, "to": 3.0, "count": 1}],
        'histogramif(x, 2, s == "a")', predicate=2)
    add("make_list(value[, size])", "makelist", (1, 2), _list,
        "An array of all values but nulls, in the order of the rows where the query sorts them.", [1, 3, 8],
        "make_list(x)")
    add("make_list_if(value, predicate[, size])", "makelistif", (2, 3), _list,
        "An array of the values of the rows for which the predicate holds.", [1, 3], 'make_list_if(x, s == "a")',
        predicate=1)
    add("make_set(value[, size])", "makeset", (1, 2), _set(DEFAULT_SET),
        "An array of the distinct values, sorted; at most 128 unless the size says otherwise.", ["a", "b"],
        "make_set(s)")
    add("make_set_if(value, predicate[, size])", "makesetif", (2, 3), _set(MAX_ELEMENTS),
        "An array of the distinct values of the rows for which the predicate holds, sorted.", ["b"],
        "make_set_if(s, x > 4)", predicate=1)
    add("max(value)", "max", (1, 1), _extreme("max"), "The largest value; null where there is none.", 8, "max(x)",
        note="Of a field of several types the largest number, or where there is no number the largest string, or "
             "else boolean.")
    add("maxif(value, predicate)", "maxif", (2, 2), _extreme("max"),
        "The largest value of the rows for which the predicate holds.", 3, 'maxif(x, s == "a")', predicate=1)
    add("min(value)", "min", (1, 1), _extreme("min"), "The smallest value; null where there is none.", 1, "min(x)",
        note="Of a field of several types the smallest number, or where there is no number the smallest string, or "
             "else boolean.")
    add("minif(value, predicate)", "minif", (2, 2), _extreme("min"),
        "The smallest value of the rows for which the predicate holds.", 8, 'minif(x, s == "b")', predicate=1)
    add("percentile(value, percent)", "percentiles", (2, 2), _percentile,
        "The value below or at which the given percentage of the values lies.", 3, "percentile(x, 50)",
        note="It is exact, by nearest rank: one of the values. Several percents give a column each, "
             "`percentile_x_50`, `percentile_x_95`, ….")
    add("percentileif(value, percent, predicate)", "percentilesif", (3, 3), _percentile,
        "The percentile of the rows for which the predicate holds.", 1, 'percentileif(x, 50, s == "a")',
        predicate=2)
    add("percentiles_array(value, percent, …)", "percentiles", (2, None), _percentiles,
        "An array of percentiles, in the order of the arguments, which may also be one array.", [1, 8],
        "percentiles_array(x, 10, 99)")
    add("percentiles_arrayif(value, percents, predicate)", "percentilesif", (3, 3), _percentiles,
        "An array of the percentiles of the rows for which the predicate holds.", [1, 3],
        'percentiles_arrayif(x, dynamic([10, 99]), s == "a")', predicate=2)
    add("phrases(text[, count])", "computed", (1, 2), _phrases,
        "An array of the phrases, of up to five words, that are most frequent in the texts.", ["a", "b"],
        "phrases(s)")
    add("rate(value[, interval])", "rate", (1, 2), _rate,
        "The sum of the numbers divided by the seconds of the group's time bin, or else of the query's range; with an "
        "interval the sum in as long as that.",
        None, "rate(x)")
    add("spotlight(predicate, field, …)", "spotlight", (2, None), _spotlight,
        "How the fields, or with `*` all, differ between the rows for which the predicate holds and the others: an "
        "array, the largest difference first.", None, 'spotlight(s == "a", x)', predicate=0)
    add("stdev(value)", "stdev", (1, 1), _spread("stddev_samp"), "The standard deviation of a sample.",
        3.605551275463989, "stdev(x)")
    add("stdevif(value, predicate)", "stdevif", (2, 2), _spread("stddev_samp"),
        "The standard deviation of the rows for which the predicate holds.", 1.4142135623730951,
        'stdevif(x, s == "a")', predicate=1)
    add("sum(value)", "sum", (1, 1), _sum, "The sum of the numbers, 0 where there is none.", 12, "sum(x)")
    add("sumif(value, predicate)", "sumif", (2, 2), _sum,
        "The sum of the numbers of the rows for which the predicate holds, 0 where there is none.", 4,
        'sumif(x, s == "a")', predicate=1)
    add("topk(value, count)", "topk", (2, 2), _topk,
        "The most frequent values: an array of `{key, count, error}`, the most frequent first, ties by key.",
        [{"key": "a", "count": 2, "error": 0}], "topk(s, 1)", note="It is exact, so the error is always 0.")
    add("topkif(value, count, predicate)", "topkif", (3, 3), _topk,
        "The most frequent values of the rows for which the predicate holds.",
        [{"key": "b", "count": 1, "error": 0}], "topkif(s, 1, x > 4)", predicate=2)
    add("variance(value)", "variance", (1, 1), _spread("var_samp"), "The variance of a sample.", 13.0,
        "variance(x)")
    add("varianceif(value, predicate)", "varianceif", (2, 2), _spread("var_samp"),
        "The variance of the rows for which the predicate holds.", 2.0, 'varianceif(x, s == "a")', predicate=1)
    # fmt: on
    return MappingProxyType(functions)


AGGREGATIONS: Mapping[str, AggregationFunction] = _table()
"""By name."""


def check_arguments(aggregation: AggregationFunction, count: int) -> None:
    """Raise AplError for a wrong number of arguments."""
    least, most = aggregation.least, aggregation.most
    if count < least or (most is not None and count > most):
        expected = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        noun = "argument" if expected == "1" else "arguments"
        raise AplError(
            f"{aggregation.name}() takes {expected} {noun}, not {count}: {aggregation.signature}", kind="type"
        )
