"""Sums, statistics and correlations of series."""

import itertools
import math
import operator
from typing import Any

from tailrace.query.functions.series.elements import (
    Number,
    are_identical,
    as_series,
    flatten,
    flatten_pairs,
    numbers_of,
    pairs_of,
    repeat_by_row,
    row_sums,
)
from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, REAL

FUNCTIONS, _add = table("series")


def _dot_products(left: list[Any], right: list[Any]) -> list[Any]:
    lefts, rights, sizes = flatten_pairs(left, right)
    return row_sums([*map(operator.mul, lefts, rights)], sizes)


@udf("apl_series_dot_product", [DYNAMIC, DYNAMIC], REAL, rows=_dot_products)
def _dot_product(left: Any, right: Any) -> float:
    return math.fsum(a * b for a, b in _complete(left, right))


def _complete(left: Any, right: Any) -> list[tuple[Number, Number]]:
    """Return the pairs that have both sides."""
    return [(a, b) for a, b in pairs_of(left, right) if a is not None and b is not None]


def _cosine_similarities(left: list[Any], right: list[Any]) -> list[Any]:
    products = _dot_products(left, right)
    if not (set(map(type, left)) == set(map(type, right)) == {list}):
        raise TypeError("a number stands for as many as the other side has")
    return [product / (math.hypot(*a) * math.hypot(*b)) for product, a, b in zip(products, left, right, strict=True)]


@udf("apl_series_cosine_similarity", [DYNAMIC, DYNAMIC], REAL, rows=_cosine_similarities)
def _cosine_similarity(left: Any, right: Any) -> float:
    pairs = _complete(left, right)
    lengths = math.hypot(*(a for a, _ in pairs)) * math.hypot(*(b for _, b in pairs))
    return math.fsum(a * b for a, b in pairs) / lengths


def _deviations(elements: list[Number], sizes: list[int]) -> list[Number]:
    """Return what the elements differ by from the mean of their series."""
    means = map(operator.truediv, row_sums(elements, sizes), sizes)
    return [*map(operator.sub, elements, repeat_by_row(means, sizes))]


def _pearson_correlations(left: list[Any], right: list[Any]) -> list[Any]:
    lefts, rights, sizes = flatten_pairs(left, right)
    a = _deviations([*lefts], sizes)
    if are_identical(right) and len(set(sizes)) == 1:
        b = _deviations([*itertools.islice(rights, sizes[0])], sizes[:1]) * len(sizes)
        spread_b = row_sums([*map(operator.mul, b[: sizes[0]], b)], sizes[:1]) * len(sizes)
    else:
        b = _deviations([*rights], sizes)
        spread_b = row_sums([*map(operator.mul, b, b)], sizes)
    spread_a, both = row_sums([*map(operator.mul, a, a)], sizes), row_sums([*map(operator.mul, a, b)], sizes)
    return [*map(operator.truediv, both, map(math.sqrt, map(operator.mul, spread_a, spread_b)))]


@udf("apl_series_pearson_correlation", [DYNAMIC, DYNAMIC], REAL, rows=_pearson_correlations)
def _pearson_correlation(left: Any, right: Any) -> float:
    pairs = _complete(left, right)
    [correlation] = _pearson_correlations([[a for a, _ in pairs]], [[b for _, b in pairs]])
    return float(correlation)


@udf("apl_series_sum", [DYNAMIC], REAL)
def _sum(values: Any) -> float:
    return math.fsum(numbers_of(values))


@udf("apl_series_magnitude", [DYNAMIC], REAL)
def _magnitude(values: Any) -> float:
    return math.hypot(*numbers_of(values))


_NO_STATISTICS = (None,) * 7


def _statistics(value: Any) -> tuple[Any, ...]:
    series = as_series(value)
    if series and None not in series:
        return _statistics_rows([series])[0]
    there = [(number, n) for n, number in enumerate(series) if number is not None]
    if not there:
        return _NO_STATISTICS
    least, at_least, greatest, at_greatest, *others = _statistics_rows([[number for number, _ in there]])[0]
    return (least, there[at_least][1], greatest, there[at_greatest][1], *others)


def _statistics_rows(series: list[Any]) -> list[tuple[Any, ...]]:
    elements, sizes = flatten(series)
    if 0 in sizes:
        raise ValueError("an empty series has no mean")
    means = [*map(operator.truediv, row_sums(elements, sizes), sizes)]
    deviations = [*map(operator.sub, elements, repeat_by_row(means, sizes))]
    squares = row_sums([*map(operator.mul, deviations, deviations)], sizes)
    variances = [total / (size - 1) if size > 1 else 0.0 for total, size in zip(squares, sizes, strict=True)]
    least, greatest = [*map(min, series)], [*map(max, series)]
    return [
        *zip(
            least,
            map(list.index, series, least),
            greatest,
            map(list.index, series, greatest),
            means,
            variances,
            map(math.sqrt, variances),
            strict=True,
        )
    ]


@udf("apl_series_stats", [DYNAMIC], DYNAMIC, rows=_statistics_rows)
def _stats(values: Any) -> tuple[Any, ...]:
    return _statistics(values)


def _named_statistics(found: tuple[Any, ...]) -> dict[str, Any]:
    least, at_least, greatest, at_greatest, mean, variance, deviation = found
    return {
        "min": least,
        "min_idx": at_least,
        "max": greatest,
        "max_idx": at_greatest,
        "avg": mean,
        "variance": variance,
        "stdev": deviation,
    }


@udf("apl_series_stats_dynamic", [DYNAMIC], DYNAMIC,
     rows=lambda series: [*map(_named_statistics, _statistics_rows(series))])  # fmt: skip
def _stats_dynamic(values: Any) -> dict[str, Any]:
    return _named_statistics(_statistics(values))


# fmt: off
_add("series_dot_product", "left:value, right:value", REAL, lambda c, left, right: _dot_product(left, right),
     "The sum of the products of two series.", "print series_dot_product(dynamic([1, 2]), dynamic([3, 4]))", 11.0)
_add("series_cosine_similarity", "left:dynamic, right:dynamic", REAL,
     lambda c, left, right: _cosine_similarity(left, right),
     "The cosine of the angle between two series as vectors; null where one has no length.",
     "print series_cosine_similarity(dynamic([1, 0]), dynamic([0, 1]))", 0.0)
_add("series_pearson_correlation", "left:dynamic, right:dynamic", REAL,
     lambda c, left, right: _pearson_correlation(left, right),
     "Pearson's coefficient of correlation; null where a series does not vary.",
     "print series_pearson_correlation(dynamic([1, 2, 3]), dynamic([2, 4, 6]))", 1.0)
_add("series_sum", "series:dynamic", REAL, lambda c, values: _sum(values), "The sum; 0 of an empty series.",
     "print series_sum(dynamic([1, 2, 3]))", 6.0)
_add("series_magnitude", "series:dynamic", REAL, lambda c, values: _magnitude(values),
     "The length of the series as a vector.", "print series_magnitude(dynamic([3, 4]))", 5.0)
_add("series_stats", "series:dynamic", DYNAMIC, lambda c, values: _stats(values),
     "An array of minimum, its index, maximum, its index, average, sample variance and standard deviation.",
     "print series_stats(dynamic([1, 2, 3]))", [1, 0, 3, 2, 2.0, 1.0, 1.0])
_add("series_stats_dynamic", "series:dynamic", DYNAMIC, lambda c, values: _stats_dynamic(values),
     "A dictionary of min, min_idx, max, max_idx, avg, variance and stdev.",
     "print series_stats_dynamic(dynamic([1, 2, 3]))",
     {"min": 1, "min_idx": 0, "max": 3, "max_idx": 2, "avg": 2.0, "variance": 1.0, "stdev": 1.0})
# fmt: on
