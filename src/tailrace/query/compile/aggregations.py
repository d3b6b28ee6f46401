"""The aggregations of summarize and make-series, as data: name, parameters, documentation, and how each is built."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.query.apl.errors import AplError
from tailrace.query.compile.relation import Key
from tailrace.query.functions import reports
from tailrace.query.functions.array import merged
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    NS_PER_S,
    NULL,
    NUMBERS,
    REAL,
    STRING,
    TIMESPAN,
    Value,
    as_dynamic,
    as_number,
    as_predicate,
    as_real,
    as_text,
    bind,
    canonical,
    case,
    cast,
    coalesce,
    dictionary,
    extreme_of,
    fn,
    from_numbers,
    infix,
    is_not_null,
    is_null,
    list_filter,
    list_transform,
    literal,
    not_,
    number_node,
    order_keys,
    pack_struct,
    parts_of,
    text_node,
    try_cast,
    unpack_struct,
)

MAX_ELEMENTS = 1_048_576  # of make_list and make_set
DEFAULT_SET = 128
DEFAULT_PHRASES = 10
MAX_TOP = 10_000
MAX_BINS = 1_000  # of a histogram


def _no_literal(index: int, what: str) -> Value:
    raise AplError(f"{what} must be a literal", kind="type")


class Call(Struct, frozen=True, eq=False):
    """An aggregation as it is called in one place."""

    name: str
    arguments: tuple[Value, ...]  # without the predicate
    names: tuple[str, ...]  # what they are called, "" for what is no plain field
    settle: Callable[[int, str], Value] = _no_literal
    """An argument as a literal, where it has one value before any row is read. Raises AplError."""
    predicate: exp.Expr | None = None
    order: tuple[Key, ...] = ()  # of the rows, where the query settled it
    seconds: exp.Expr | None = None  # that a group covers
    extremes: Callable[[exp.Expr, exp.Expr | None], tuple[exp.Expr, exp.Expr]] | None = None
    """The least and the greatest of a number over the rows of all groups, or those of a predicate."""

    def constant(self, index: int, what: str) -> Any:
        value = self.arguments[index]
        if not value.is_constant:
            value = self.settle(index, f"{what} of {self.name}()")
        return value.constant

    def whole(self, index: int, what: str, *, most: int) -> int:
        found = self.constant(index, what)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= most:
            raise AplError(f"{what} of {self.name}() must be a whole number of 1 to {most}", kind="type")
        return found

    def aggregate(self, function: str, *arguments: exp.Expr, distinct: bool = False) -> exp.Expr:
        """Return a SQL aggregate over the rows of the predicate."""
        given = [exp.Distinct(expressions=list(arguments))] if distinct else list(arguments)
        return self.filtered(exp.Anonymous(this=function, expressions=given))

    def filtered(self, made: exp.Expr, condition: exp.Expr | None = None) -> exp.Expr:
        conditions = [each for each in (self.predicate, condition) if each is not None]
        if not conditions:
            return made
        both = conditions[0] if len(conditions) == 1 else infix(exp.And, *conditions)
        return exp.Filter(this=made, expression=exp.Where(this=both))

    def collected(self, value: exp.Expr) -> exp.Expr:
        """`list(value)` without nulls, in the order of the rows where there is one."""
        item: exp.Expr = value
        if self.order:
            item = exp.Order(this=value, expressions=[key.ordered() for key in self.order])
        return self.filtered(exp.Anonymous(this="list", expressions=[item]), is_not_null(value))


class Aggregation(Struct, frozen=True, eq=False):
    name: str
    signature: str
    shown_as: str  # in the closed list that clients know
    least: int  # arguments
    most: int | None
    build: Callable[[Call], Value]
    doc: str
    example: str
    result: Any
    predicate: int | None = None  # which argument is the predicate
    note: str = ""


def _count(call: Call) -> Value:
    return Value(LONG, call.filtered(exp.Count(this=exp.Star())))


def _dcount(call: Call) -> Value:
    value = canonical(call.arguments[0])
    parts = value.parts
    if parts is None or parts.incomplete:
        return Value(LONG, call.aggregate("count", value.sql, distinct=True))
    counts = [call.aggregate("count", part, distinct=True) for part in parts.expressions()]
    return Value(LONG, functools.reduce(functools.partial(infix, exp.Add), counts, number_node(0)))


def _sum(call: Call) -> Value:
    value = call.arguments[0]
    if value.type is TIMESPAN:
        return Value(TIMESPAN, coalesce(try_cast(call.aggregate("sum", value.sql), "BIGINT"), number_node(0)))
    number = as_number(value)
    if number.type is LONG:
        return Value(LONG, _whole_sum(call, number.sql))
    if number.type is REAL:
        return Value(REAL, coalesce(call.aggregate("sum", number.sql), number_node(0.0)))
    whole, other = _parts(number)
    only_whole = infix(exp.EQ, call.aggregate("count", other), number_node(0))
    total = infix(exp.Add, call.aggregate("sum", other), coalesce(call.aggregate("sum", whole), number_node(0)))
    return from_numbers(case((only_whole, _whole_sum(call, whole))), total)


def _whole_sum(call: Call, whole: exp.Expr) -> exp.Expr:
    return try_cast(coalesce(call.aggregate("sum", whole), number_node(0)), "BIGINT")


def _parts(number: Value) -> tuple[exp.Expr, exp.Expr]:
    """Return the whole and the other numbers of a DYNAMIC that has both."""
    parts = parts_of(number)
    assert parts.whole is not None
    assert parts.real is not None
    return parts.whole, parts.real


def _avg(call: Call) -> Value:
    value = call.arguments[0]
    if value.type is TIMESPAN:
        return Value(TIMESPAN, try_cast(fn("trunc", call.aggregate("avg", value.sql)), "BIGINT"))
    if value.type is DATETIME:
        mean = fn("trunc", call.aggregate("avg", fn("epoch_us", value.sql)))
        return Value(DATETIME, fn("make_timestamptz", try_cast(mean, "BIGINT")))
    number = as_number(value)
    if number.type is not DYNAMIC:
        return Value(REAL, call.aggregate("avg", number.sql))
    whole, other = _parts(number)
    only_whole = infix(exp.EQ, call.aggregate("count", other), number_node(0))
    mean = call.aggregate("avg", as_real(number).sql)
    return Value(REAL, case((only_whole, call.aggregate("avg", whole)), otherwise=mean))


def _extreme(function: str) -> Callable[[Call], Value]:
    def build(call: Call) -> Value:
        value = call.arguments[0]
        if value.type is DYNAMIC:
            extremes = parts_of(value).map(lambda part: call.aggregate(function, part))
            return extreme_of(extremes, largest=function == "max")
        return Value(value.type, call.aggregate(function, value.sql))

    return build


def _spread(function: str) -> Callable[[Call], Value]:
    def build(call: Call) -> Value:
        # Of numbers whose squares are beyond a double there is no spread, and DuckDB would refuse the query.
        number = as_real(call.arguments[0]).sql
        usable = bind([number], lambda v: case((exp.LT(this=fn("abs", v), expression=_SQUARABLE), v)))
        largest = call.aggregate("max", fn("abs", number))
        spread = call.aggregate(function, usable)
        return Value(REAL, case((exp.LT(this=largest, expression=_SQUARABLE), spread)))

    return build


_SQUARABLE = number_node(1e150)


def _quantile(call: Call, share: float) -> Value:
    value = call.arguments[0]
    if value.type not in (*NUMBERS, DATETIME, TIMESPAN):
        value = as_number(value)
    if value.type is not DYNAMIC:
        return Value(value.type, call.aggregate("quantile_disc", value.sql, number_node(share)))
    # Both are of the same row's number, as both are in the order of the numbers.
    doubles, wholes = (call.aggregate("quantile_disc", key.sql, number_node(share)) for key in order_keys(value))
    whole = case((infix(exp.EQ, fn("trunc", doubles), doubles), try_cast(wholes, "BIGINT")))
    return from_numbers(whole, case((is_null(whole), doubles)))


def _percentile(call: Call) -> Value:
    return _quantile(call, _share(call, call.constant(1, "the percentile")))


def _share(call: Call, percent: Any) -> float:
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
        raise AplError(f"a percentile of {call.name}() must be a number of 0 to 100", kind="type")
    return float(percent) / 100


def _percentiles(call: Call) -> Value:
    percents: list[Any] = []
    for index in range(1, len(call.arguments)):
        given = call.constant(index, "a percentile")
        percents += given if isinstance(given, list) else [given]
    if not percents:
        raise AplError(f"{call.name}() takes at least one percentile", kind="type")
    found = [as_dynamic(_quantile(call, _share(call, percent))).sql for percent in percents]
    return Value(DYNAMIC, fn("json_array", *found))


def _histogram(call: Call) -> Value:
    """Return this many bins of one width between the extremes of all rows, so that the groups of a query have the
    same.
    """
    bins = call.whole(1, "the number of bins", most=MAX_BINS)
    value = call.arguments[0]
    is_span = value.type is TIMESPAN
    number = as_real(Value(LONG, value.sql) if is_span else value).sql
    finite = bind([number], lambda v: case((fn("isfinite", v), v)))
    assert call.extremes is not None
    low, high = call.extremes(finite, call.predicate)
    width = infix(exp.Div, infix(exp.Sub, high, low), number_node(float(bins)))

    def place(v: exp.Expr, w: exp.Expr) -> exp.Expr:
        # The largest number belongs to the last bin; where all are the same there is only one.
        numbered = cast(fn("floor", infix(exp.Div, infix(exp.Sub, v, low), w)), "BIGINT")
        inside = fn("least", numbered, number_node(bins - 1))
        return case((infix(exp.GT, w, number_node(0)), inside), otherwise=case((is_not_null(v), number_node(0))))

    counts = call.aggregate("histogram", bind([finite, width], place))
    edges = [exp.Anonymous(this="any_value", expressions=[each_]) for each_ in (low, width)]

    def shown(table: exp.Expr, first: exp.Expr, step: exp.Expr) -> exp.Expr:
        def edge(n: exp.Expr) -> Value:
            at = infix(exp.Add, first, infix(exp.Mul, n, step))
            return Value(TIMESPAN, try_cast(fn("round", at), "BIGINT")) if is_span else Value(REAL, at)

        def bucket(n: exp.Expr) -> exp.Expr:
            found = fn("list_extract", fn("map_extract", table, n), number_node(1))
            count = Value(LONG, cast(coalesce(found, number_node(0)), "BIGINT"))
            following = infix(exp.Add, n, number_node(1))
            return dictionary([("from", edge(n)), ("to", edge(following)), ("count", count)]).sql

        last = case((infix(exp.GT, step, number_node(0)), number_node(bins)), otherwise=number_node(1))
        numbers = fn("range", number_node(0), last)
        there = infix(exp.GT, fn("cardinality", table), number_node(0))
        return case((there, fn("to_json", list_transform(numbers, bucket))))

    return Value(DYNAMIC, coalesce(bind([counts, *edges], shown), cast(text_node("[]"), "JSON")))


def _shown(items: exp.Expr) -> exp.Expr:
    """Return a list of JSON values as one, `[]` where there is none."""
    return coalesce(fn("to_json", items), cast(text_node("[]"), "JSON"))


def _list(call: Call) -> Value:
    most = call.whole(1, "the size", most=MAX_ELEMENTS) if len(call.arguments) > 1 else MAX_ELEMENTS
    items = call.collected(as_dynamic(call.arguments[0]).sql)
    return Value(DYNAMIC, _shown(_first(items, most)))


def _merged(call: Call) -> Value:
    return merged(Value(DYNAMIC, _shown(call.collected(as_dynamic(call.arguments[0]).sql))))


def _set(default: int) -> Callable[[Call], Value]:
    def build(call: Call) -> Value:
        most = call.whole(1, "the size", most=MAX_ELEMENTS) if len(call.arguments) > 1 else default
        value = call.arguments[0]
        if value.type is DYNAMIC:
            distinct = call.aggregate("list", canonical(value).sql, distinct=True)
            present = list_filter(distinct, is_not_null)
            keyed = fn("list_sort", list_transform(present, lambda v: pack_struct([*_keys(v), v])))
            last = len(_keys(exp.null()))
            return Value(DYNAMIC, _shown(list_transform(_first(keyed, most), lambda entry: unpack_struct(entry, last))))
        # The values are sorted as what they are, not as texts.
        distinct = call.aggregate("list", value.sql, distinct=True)
        present = fn("list_sort", list_filter(distinct, is_not_null))
        kind = value.type
        return Value(DYNAMIC, _shown(list_transform(_first(present, most), lambda v: as_dynamic(Value(kind, v)).sql)))

    return build


def _keys(value: exp.Expr) -> list[exp.Expr]:
    """Return what a JSON value is sorted by."""
    return [key.sql for key in order_keys(Value(DYNAMIC, value))]


def _first(items: exp.Expr, count: int) -> exp.Expr:
    return fn("list_slice", items, number_node(1), number_node(count))


def _topk(call: Call) -> Value:
    """Return the most frequent values, each with its exact count; of two as frequent the smaller first."""
    most = call.whole(1, "the number of values", most=MAX_TOP)
    value = canonical(call.arguments[0])
    counts = call.filtered(fn("histogram", value.sql), is_not_null(value.sql))

    def turned(entry: exp.Expr) -> exp.Expr:
        count = cast(fn("struct_extract", entry, text_node("value")), "BIGINT")
        key = fn("struct_extract", entry, text_node("key"))
        keys = _keys(key) if value.type is DYNAMIC else []
        return pack_struct([exp.Neg(this=count), *keys, key])

    last = 1 + (len(_keys(exp.null())) if value.type is DYNAMIC else 0)

    def shown(entry: exp.Expr) -> exp.Expr:
        key = Value(value.type, unpack_struct(entry, last))
        count = Value(LONG, exp.Neg(this=unpack_struct(entry, 0)))
        return dictionary([("key", key), ("count", count), ("error", literal(0))]).sql

    best = _first(fn("list_sort", list_transform(fn("map_entries", counts), turned)), most)
    return Value(DYNAMIC, _shown(list_transform(best, shown)))


def _any(call: Call) -> Value:
    value = call.arguments[0]
    if value.type is not DYNAMIC:
        return Value(value.type, call.aggregate("min", value.sql))
    return Value(DYNAMIC, cast(call.aggregate("min", cast(canonical(value).sql, "VARCHAR")), "JSON"))


def _rate(call: Call) -> Value:
    number = as_real(call.arguments[0]).sql
    if call.seconds is None:
        raise AplError("rate() needs a time range: by the request, or by `where _time …`", kind="type")
    rate = infix(exp.Div, coalesce(call.aggregate("sum", number), number_node(0.0)), call.seconds)
    if len(call.arguments) == 1:
        return Value(REAL, rate)
    unit = call.settle(1, "the interval of rate()")
    if unit.type is not TIMESPAN or not isinstance(unit.constant, int) or unit.constant <= 0:
        raise AplError("the interval of rate() must be a timespan above 0 such as 1m", kind="type")
    return Value(REAL, infix(exp.Mul, rate, number_node(unit.constant / NS_PER_S)))


def _phrases(call: Call) -> Value:
    most = call.whole(1, "the number of phrases", most=MAX_TOP) if len(call.arguments) > 1 else DEFAULT_PHRASES
    text = as_text(call.arguments[0]).sql
    counts = call.filtered(fn("histogram", text), is_not_null(text))
    return reports.phrases(Value(DYNAMIC, fn("to_json", counts)), literal(most))


def _spotlight(call: Call) -> Value:
    """For each field how its values are spread among the rows of the predicate and among the others."""
    if not call.arguments:
        raise AplError("spotlight() takes a predicate and at least one field", kind="type")
    assert call.predicate is not None
    selected = call.predicate
    others = not_(coalesce(selected, exp.false()))
    parts: list[exp.Expr] = []
    for name, value in zip(call.names, call.arguments, strict=True):
        is_number = value.type in (*NUMBERS, TIMESPAN)
        key = as_text(value).sql
        pair = [
            _only(fn("histogram", key), infix(exp.And, rows, is_not_null(key))) for rows in (selected, others)
        ]  # fmt: skip
        parts.append(
            fn("json_object", text_node("field"), text_node(name), text_node("numeric"),
               exp.true() if is_number else exp.false(), text_node("selected"), fn("to_json", pair[0]),
               text_node("baseline"), fn("to_json", pair[1]))
        )  # fmt: skip
    totals = [_only(exp.Count(this=exp.Star()), rows) for rows in (selected, others)]
    counts = [Value(LONG, total) for total in totals]
    return reports.spotlight(Value(DYNAMIC, fn("json_array", *parts)), *counts)


def _only(made: exp.Expr, condition: exp.Expr) -> exp.Expr:
    return exp.Filter(this=made, expression=exp.Where(this=condition))


def _arguments_refused(call: Call) -> Value:
    raise AplError(f"{call.name}() cannot be part of a larger expression", kind="type")


DATA = 'datatable (s: string, x: long) ["a", 1, "a", 3, "b", 8]'


def _table() -> Mapping[str, Aggregation]:
    made: dict[str, Aggregation] = {}

    def add(
        signature: str,
        shown_as: str,
        arity: tuple[int, int | None],
        build: Callable[[Call], Value],
        doc: str,
        result: Any,
        example: str = "",
        *,
        predicate: int | None = None,
        note: str = "",
    ) -> None:
        name = signature.partition("(")[0]
        query = f"{DATA} | summarize {example or signature}"
        made[name] = Aggregation(name, signature, shown_as, *arity, build, doc, query, result, predicate, note)

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
    return MappingProxyType(made)


AGGREGATIONS: Mapping[str, Aggregation] = _table()
"""By name."""

ARGUMENT_OF_EXTREME = ("arg_max", "arg_min")


def check_arguments(aggregation: Aggregation, count: int) -> None:
    """Raise AplError for a wrong number of arguments."""
    least, most = aggregation.least, aggregation.most
    if count < least or (most is not None and count > most):
        wanted = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        noun = "argument" if wanted == "1" else "arguments"
        raise AplError(f"{aggregation.name}() takes {wanted} {noun}, not {count}: {aggregation.signature}", kind="type")


def predicate_of(value: Value) -> exp.Expr:
    if value.type not in (BOOL, DYNAMIC, NULL):
        raise AplError(f"the predicate is expected to be a condition, this is a {value.type.value}", kind="type")
    return as_predicate(value)


def seconds_of(ns: int) -> exp.Expr:
    return number_node(max(ns, 1) / NS_PER_S)


def sortable(value: Value) -> bool:
    if value.type is DYNAMIC:
        return value.parts is not None and value.parts.is_number
    return value.type in (LONG, REAL, STRING, DATETIME, TIMESPAN, BOOL)
