"""Functions of series, which are arrays of numbers; what is no number in one counts as missing and gives null."""

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tailrace.query.functions.table import table
from tailrace.query.functions.udf import is_number, udf
from tailrace.query.values import BOOL, DYNAMIC, REAL, Value, as_dynamic, literal, null

FUNCTIONS, _add = table("series")

Number = int | float
Cell = Number | None


_NUMBER_OR_NULL = frozenset({int, float, type(None)})
_NUMBER = frozenset({int, float})


def _series(value: Any) -> list[Cell]:
    if not isinstance(value, list):
        raise TypeError("a series is an array")
    if _NUMBER_OR_NULL.issuperset(map(type, value)):
        return value
    return [each if is_number(each) else None for each in value]


def _numbers(value: Any) -> list[Number]:
    return [each for each in _series(value) if each is not None]


# Many rows at once: the elements of all series in one list, which functions in C go through. It is for series of
# numbers alone; whatever else there is raises, and rows are then computed one by one.


def _flat(rows: list[Any]) -> tuple[list[Number], list[int]]:
    """Return the elements of all series, and how many each has."""
    if set(map(type, rows)) != {list}:
        raise TypeError("a series is an array")
    elements = [*itertools.chain.from_iterable(rows)]
    if not _NUMBER.issuperset(map(type, elements)):
        raise TypeError("an element is no number")
    return elements, [*map(len, rows)]


def _portions(elements: list[Any], sizes: list[int]) -> Iterator[Iterator[Any]]:
    """Return the elements of each series, to be read before the next is asked for."""
    return map(itertools.islice, itertools.repeat(iter(elements)), sizes)


def _cut(elements: list[Any], sizes: list[int]) -> list[list[Any]]:
    return [*map(list, _portions(elements, sizes))]


def _sums(elements: list[Any], sizes: list[int]) -> list[float]:
    return [*map(math.fsum, _portions(elements, sizes))]


def _repeated(values: Iterable[Number], sizes: list[int]) -> Iterator[Number]:
    return itertools.chain.from_iterable(map(itertools.repeat, values, sizes))


class _LengthsDiffer(ValueError):
    """Series of numbers side by side are of several lengths."""


def _flat_pairs(left: list[Any], right: list[Any]) -> tuple[Iterable[Number], Iterable[Number], list[int]]:
    """Return the elements of the series on both sides, and how many each has; a number stands for a series of
    itself.
    """
    if _NUMBER.issuperset(map(type, right)):
        elements, sizes = _flat(left)
        return elements, _repeated(right, sizes), sizes
    if _NUMBER.issuperset(map(type, left)):
        elements, sizes = _flat(right)
        return _repeated(left, sizes), elements, sizes
    (lefts, sizes), (rights, others) = _flat(left), _flat(right)
    if sizes != others:
        raise _LengthsDiffer
    return lefts, rights, sizes


def _each(function: Callable[[Any], Any], values: list[Cell]) -> list[Any]:
    made: list[Any] = []
    for value in values:
        try:
            made.append(None if value is None else function(value))
        except (ValueError, ArithmeticError):
            made.append(None)
    return made


def _elementwise(name: str, function: Callable[[Any], Any]) -> Callable[..., Value]:
    def rows(series: list[Any]) -> list[Any]:
        elements, sizes = _flat(series)
        return _cut([*map(function, elements)], sizes)

    @udf(f"apl_{name}", [DYNAMIC], DYNAMIC, rows=rows)
    def made(values: Any) -> list[Any]:
        return _each(function, _series(values))

    return lambda context, values: made(values)


def _paired(left: Any, right: Any) -> Any:
    """Elements side by side; a single number stands for as many as the other side has."""
    if is_number(right):
        return [(a, right) for a in _series(left)]
    if is_number(left):
        return [(left, b) for b in _series(right)]
    return itertools.zip_longest(_series(left), _series(right))


def _both(function: Callable[[Any, Any], Any], left: Any, right: Any) -> list[Any]:
    made: list[Any] = []
    for a, b in _paired(left, right):
        try:
            made.append(None if a is None or b is None else function(a, b))
        except (ValueError, ArithmeticError):
            made.append(None)
    return made


def _both_rows(function: Callable[[Any, Any], Any]) -> Callable[[list[Any], list[Any]], list[Any]]:
    def rows(left: list[Any], right: list[Any]) -> list[Any]:
        try:
            lefts, rights, sizes = _flat_pairs(left, right)
        except _LengthsDiffer:
            made = [[*map(function, a, b)] for a, b in zip(left, right, strict=True)]
            sizes = [*map(max, map(len, left), map(len, right))]
            return [each + [None] * (size - len(each)) for each, size in zip(made, sizes, strict=True)]
        return _cut([*map(function, lefts, rights)], sizes)

    return rows


def _binary(name: str, function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    @udf(f"apl_{name}", [DYNAMIC, DYNAMIC], DYNAMIC, rows=_both_rows(function))
    def made(left: Any, right: Any) -> list[Any]:
        return _both(function, left, right)

    return lambda context, left, right: made(left, right)


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Value]:
    """Of one series its extreme element, of two those of each pair."""
    pairs = _binary(name, function)

    @udf(f"apl_{name}_element", [DYNAMIC], DYNAMIC)
    def element(values: Any) -> Any:
        return function(_numbers(values))

    return lambda context, left, right: element(left) if right is None else pairs(context, left, right)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _quotient(left: Number, right: Number) -> float | None:
    return left / right if right else None


def _quotients_rows(left: list[Any], right: list[Any]) -> list[Any]:
    try:
        lefts, rights, sizes = _flat_pairs(left, right)
    except _LengthsDiffer:
        return [[*map(_quotient, a, b)] for a, b in zip(left, right, strict=True)]
    return _cut([*map(_quotient, lefts, rights)], sizes)


@udf("apl_series_divide", [DYNAMIC, DYNAMIC], DYNAMIC, rows=_quotients_rows)
def _divide(left: Any, right: Any) -> list[Any]:
    size = min(len(each) for each in (left, right) if isinstance(each, list))
    return _both(_quotient, left, right)[:size]


def _dot_products(left: list[Any], right: list[Any]) -> list[Any]:
    lefts, rights, sizes = _flat_pairs(left, right)
    return _sums([*map(operator.mul, lefts, rights)], sizes)


@udf("apl_series_dot_product", [DYNAMIC, DYNAMIC], REAL, rows=_dot_products)
def _dot_product(left: Any, right: Any) -> float:
    return math.fsum(a * b for a, b in _complete(left, right))


def _complete(left: Any, right: Any) -> list[tuple[Number, Number]]:
    """Return the pairs that have both sides."""
    return [(a, b) for a, b in _paired(left, right) if a is not None and b is not None]


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
    means = map(operator.truediv, _sums(elements, sizes), sizes)
    return [*map(operator.sub, elements, _repeated(means, sizes))]


def _pearson_correlations(left: list[Any], right: list[Any]) -> list[Any]:
    lefts, rights, sizes = _flat_pairs(left, right)
    a = _deviations([*lefts], sizes)
    if _are_one(right) and len(set(sizes)) == 1:
        b = _deviations([*itertools.islice(rights, sizes[0])], sizes[:1]) * len(sizes)
        spread_b = _sums([*map(operator.mul, b[: sizes[0]], b)], sizes[:1]) * len(sizes)
    else:
        b = _deviations([*rights], sizes)
        spread_b = _sums([*map(operator.mul, b, b)], sizes)
    spread_a, both = _sums([*map(operator.mul, a, a)], sizes), _sums([*map(operator.mul, a, b)], sizes)
    return [*map(operator.truediv, both, map(math.sqrt, map(operator.mul, spread_a, spread_b)))]


def _are_one(values: list[Any]) -> bool:
    """Whether all rows have the same object, as those of a constant have."""
    return all(map(operator.is_, values, itertools.repeat(values[0])))


@udf("apl_series_pearson_correlation", [DYNAMIC, DYNAMIC], REAL, rows=_pearson_correlations)
def _pearson_correlation(left: Any, right: Any) -> float:
    pairs = _complete(left, right)
    [found] = _pearson_correlations([[a for a, _ in pairs]], [[b for _, b in pairs]])
    return float(found)


@udf("apl_series_sum", [DYNAMIC], REAL)
def _sum(values: Any) -> float:
    return math.fsum(_numbers(values))


@udf("apl_series_magnitude", [DYNAMIC], REAL)
def _magnitude(values: Any) -> float:
    return math.hypot(*_numbers(values))


_NO_STATISTICS = (None,) * 7


def _statistics(value: Any) -> tuple[Any, ...]:
    series = _series(value)
    if series and None not in series:
        return _statistics_rows([series])[0]
    there = [(number, n) for n, number in enumerate(series) if number is not None]
    if not there:
        return _NO_STATISTICS
    least, at_least, greatest, at_greatest, *others = _statistics_rows([[number for number, _ in there]])[0]
    return (least, there[at_least][1], greatest, there[at_greatest][1], *others)


def _statistics_rows(series: list[Any]) -> list[tuple[Any, ...]]:
    elements, sizes = _flat(series)
    if 0 in sizes:
        raise ValueError("an empty series has no mean")
    means = [*map(operator.truediv, _sums(elements, sizes), sizes)]
    deviations = [*map(operator.sub, elements, _repeated(means, sizes))]
    squares = _sums([*map(operator.mul, deviations, deviations)], sizes)
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


# Filling. A missing element is null, what is no number, or equal to the placeholder.


def _gaps(values: Any, missing: Any) -> list[Cell]:
    if missing is None:
        return _series(values)
    return [None if each is not None and each == missing else each for each in _series(values)]


def _filled_forward(series: list[Cell]) -> list[Cell]:
    last: Cell = None
    made = []
    for each in series:
        last = each if each is not None else last
        made.append(last)
    return made


@udf("apl_series_fill_const", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_const(values: Any, constant: Any, missing: Any) -> list[Any]:
    return [constant if each is None else each for each in _gaps(values, missing)]


@udf("apl_series_fill_forward", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_forward(values: Any, missing: Any) -> list[Cell]:
    return _filled_forward(_gaps(values, missing))


@udf("apl_series_fill_backward", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fill_backward(values: Any, missing: Any) -> list[Cell]:
    return _filled_forward(_gaps(values, missing)[::-1])[::-1]


@udf("apl_series_fill_linear", [DYNAMIC, DYNAMIC, BOOL, DYNAMIC], DYNAMIC, nulls=True)
def _fill_linear(values: Any, missing: Any, edges: bool | None, constant: Any) -> list[Any]:
    series = _gaps(values, missing)
    if None not in series:
        return series
    known = [n for n, each in enumerate(series) if each is not None]
    if not known:
        return [constant] * len(series)
    made: list[Any] = list(series)
    first, last = known[0], known[-1]
    if last - first >= len(known):
        for a, b in itertools.pairwise(known):
            for n in range(a + 1, b):
                share = (n - a) / (b - a)
                made[n] = float(made[a]) * (1 - share) + float(made[b]) * share
    if edges is not False:
        made[:first] = [made[first]] * first
        made[last + 1 :] = [made[last]] * (len(made) - last - 1)
    return made


# Signals


def _by_length(rows: list[list[Any]]) -> Iterator[tuple[list[int], np.ndarray[Any, Any]]]:
    """Yield the numbers of the rows of one length, and these as a matrix; what is missing is 0."""
    places: dict[int, list[int]] = {}
    for n, row in enumerate(rows):
        places.setdefault(len(row), []).append(n)
    for size, numbers in places.items():
        chosen = rows if len(numbers) == len(rows) else [rows[n] for n in numbers]
        elements = [*itertools.chain.from_iterable(chosen)]
        if None in elements:
            elements = [each or 0.0 for each in elements]
        yield numbers, np.array(elements, dtype=float).reshape(len(numbers), size)


def _transforms(
    transform: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]], real: list[Any], imaginary: list[Any]
) -> list[Any]:
    rows = [*map(_series, real)]
    others: list[list[Cell]] = []
    if any(isinstance(each, list) for each in imaginary):
        others = [_series(each) if isinstance(each, list) else [] for each in imaginary]
        sizes = [max(len(a), len(b)) for a, b in zip(rows, others, strict=True)]
        rows = [row + [0.0] * (size - len(row)) for row, size in zip(rows, sizes, strict=True)]
        others = [row + [0.0] * (size - len(row)) for row, size in zip(others, sizes, strict=True)]
    made: list[Any] = [None] * len(rows)
    for numbers, matrix in _by_length(rows):
        if not matrix.shape[1]:
            parts: Iterable[Any] = ([[], []] for _ in numbers)
        else:
            if others:
                [(_, imaginaries)] = _by_length([others[n] for n in numbers])
                matrix = matrix + 1j * imaginaries
            found = transform(matrix)
            parts = map(list, zip(found.real.tolist(), found.imag.tolist(), strict=True))
        for n, each in zip(numbers, parts, strict=True):
            made[n] = each
    return made


def _fft_rows(real: list[Any], imaginary: list[Any]) -> list[Any]:
    return _transforms(np.fft.fft, real, imaginary)


def _ifft_rows(real: list[Any], imaginary: list[Any]) -> list[Any]:
    return _transforms(np.fft.ifft, real, imaginary)


@udf("apl_series_fft", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True, rows=_fft_rows)
def _fft(real: Any, imaginary: Any) -> Any:
    return _fft_rows([real], [imaginary])[0]


@udf("apl_series_ifft", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True, rows=_ifft_rows)
def _ifft(real: Any, imaginary: Any) -> Any:
    return _ifft_rows([real], [imaginary])[0]


def _only(values: list[Any]) -> Any:
    """Return what all rows have; raise TypeError where they differ."""
    if not _are_one(values):
        raise TypeError("the rows differ")
    return values[0]


def _fir_rows(values: list[Any], coefficients: list[Any], normalize: list[bool], center: list[bool]) -> list[list[Any]]:
    rows = [*map(_series, values)]
    weights = np.array(_numbers(_only(coefficients)), dtype=float)
    if not len(weights):
        return [[] for _ in rows]
    total = weights.sum()
    if _only(normalize) and total:
        weights = weights / total
    start = (len(weights) - 1) // 2 if _only(center) else 0
    made: list[list[Any]] = [[] for _ in rows]
    for numbers, matrix in _by_length(rows):
        size = matrix.shape[1]
        filtered = np.zeros_like(matrix)
        with np.errstate(all="ignore"):
            for n, weight in reversed([*enumerate(weights[: size + start].tolist())]):
                shift = n - start
                if shift >= 0:
                    filtered[:, shift:] += weight * matrix[:, : size - shift]
                else:
                    filtered[:, :shift] += weight * matrix[:, -shift:]
        for n, row in zip(numbers, filtered.tolist(), strict=True):
            made[n] = row
    return made


@udf("apl_series_fir", [DYNAMIC, DYNAMIC, BOOL, BOOL], DYNAMIC, rows=_fir_rows)
def _fir(values: Any, coefficients: Any, normalize: bool, center: bool) -> list[Any]:
    return _fir_rows([values], [coefficients], [normalize], [center])[0]


_FEW_ROWS = 16  # below which a loop in Python is as fast as one over columns


def _iir_rows(values: list[Any], numerators: list[Any], denominators: list[Any]) -> list[list[Any]]:
    rows = [*map(_series, values)]
    ahead, back = _numbers(_only(numerators)), _numbers(_only(denominators))
    made: list[list[Any]] = [[] for _ in rows]
    for numbers, matrix in _by_length(rows):
        if len(numbers) < _FEW_ROWS:
            found = [_recursive(row, ahead, back) for row in matrix.tolist()]
        else:
            with np.errstate(all="ignore"):
                columns = _recursive([*matrix.T], ahead, back)
            found = np.array(columns).T.tolist() if columns else [[] for _ in numbers]
        for n, row in zip(numbers, found, strict=True):
            made[n] = row
    return made


def _recursive(series: list[Any], ahead: list[Number], back: list[Number]) -> list[Any]:
    """Return a filter over the elements of one series, or over the columns of many of one length."""
    made: list[Any] = []
    for n in range(len(series)):
        total: Any = 0.0
        for k, weight in enumerate(ahead[: n + 1]):
            total = total + weight * series[n - k]
        fed_back: Any = 0.0
        for k, weight in enumerate(back[1 : n + 1], 1):
            fed_back = fed_back + weight * made[n - k]
        if not back[0]:
            raise ZeroDivisionError("the first denominator is 0")
        made.append((total - fed_back) / back[0])
    return made


@udf("apl_series_iir", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC, rows=_iir_rows)
def _iir(values: Any, numerators: Any, denominators: Any) -> list[Any]:
    return _iir_rows([values], [numerators], [denominators])[0]


def _missing(value: Value | None) -> Value:
    return as_dynamic(value) if value is not None else null(DYNAMIC)


# fmt: off
_UNARY: tuple[tuple[str, Callable[[Any], Any], str, str, list[Any]], ...] = (
    ("abs", abs, "The absolute values.", "[-1, 2.5]", [1, 2.5]),
    ("acos", math.acos, "The angles in radians whose cosines these are.", "[1]", [0.0]),
    ("asin", math.asin, "The angles in radians whose sines these are.", "[0]", [0.0]),
    ("atan", math.atan, "The angles in radians whose tangents these are.", "[0]", [0.0]),
    ("ceiling", math.ceil, "The least whole numbers that are not below.", "[1.2, 2]", [2, 2]),
    ("cos", math.cos, "The cosines of angles in radians.", "[0]", [1.0]),
    ("exp", math.exp, "e to these powers.", "[0]", [1.0]),
    ("floor", math.floor, "The greatest whole numbers that are not above.", "[1.2, -1.2]", [1, -2]),
    ("log", math.log, "The natural logarithms; null of what is not above 0.", "[1, 0]", [0.0, None]),
    ("sign", lambda x: (x > 0) - (x < 0), "-1, 0 or 1.", "[-3, 0, 0.5]", [-1, 0, 1]),
    ("sin", math.sin, "The sines of angles in radians.", "[0]", [0.0]),
    ("tan", math.tan, "The tangents of angles in radians.", "[0]", [0.0]),
)
for _name, _function, _doc, _example, _result in _UNARY:
    _add(f"series_{_name}", "series:dynamic", DYNAMIC, _elementwise(f"series_{_name}", _function), _doc,
         f"print series_{_name}(dynamic({_example}))", _result)
_ARITHMETIC: tuple[tuple[str, Callable[[Any, Any], Any], str, list[Any]], ...] = (
    ("add", operator.add, "The sums, element by element; null where one series has no more.", [11, 22, None]),
    ("multiply", operator.mul, "The products, element by element; null where one series has no more.", [10, 40, None]),
    ("subtract", operator.sub, "The differences, element by element; null where one series has no more.",
     [-9, -18, None]),
)
for _name, _pairwise, _doc, _result in _ARITHMETIC:
    _add(f"series_{_name}", "left:value, right:value", DYNAMIC, _binary(f"series_{_name}", _pairwise), _doc,
         f"print series_{_name}(dynamic([1, 2, 3]), dynamic([10, 20]))", _result)
_add("series_divide", "left:value, right:value", DYNAMIC, lambda c, left, right: _divide(left, right),
     "The quotients, element by element, as many as the shorter series has.",
     "print series_divide(dynamic([10, 20, 30]), dynamic([4, 0]))", [2.5, None],
     note="A quotient by 0 is infinite in Axiom; JSON has no infinity, so it is null.")
_add("series_pow", "series:value, exponent:value", DYNAMIC, _binary("series_pow", _power),
     "The elements to the power of a number, or of another series.", "print series_pow(dynamic([2, 3]), 2)", [4.0, 9.0])
_COMPARISONS: tuple[tuple[str, Callable[[Any, Any], Any], str, list[Any]], ...] = (
    ("equals", operator.eq, "equal to", [False, True, False]),
    ("not_equals", operator.ne, "different from", [True, False, True]),
    ("greater", operator.gt, "above", [False, False, True]),
    ("greater_equals", operator.ge, "above or equal to", [False, True, True]),
    ("less", operator.lt, "below", [True, False, False]),
    ("less_equals", operator.le, "below or equal to", [True, True, False]),
)
for _name, _pairwise, _doc, _result in _COMPARISONS:
    _add(f"series_{_name}", "left:value, right:value", DYNAMIC, _binary(f"series_{_name}", _pairwise),
         f"Whether the elements are {_doc} a number, or the elements of another series.",
         f"print series_{_name}(dynamic([1, 2, 3]), 2)", _result)
_add("series_max", "left:value, right:value?", DYNAMIC, _extreme("series_max", max),
     "The greater elements of two series; of one its greatest.", "print series_max(dynamic([1, 5]), dynamic([3, 2]))",
     [3, 5])
_add("series_min", "left:value, right:value?", DYNAMIC, _extreme("series_min", min),
     "The lesser elements of two series; of one its least.", "print series_min(dynamic([1, 5]), dynamic([3, 2]))",
     [1, 2])
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
_add("series_fill_backward", "series:dynamic, missing:value?", DYNAMIC,
     lambda c, values, missing: _fill_backward(values, _missing(missing)),
     "Missing elements, which are null or equal to a placeholder, as the next one that is there.",
     "print series_fill_backward(dynamic([null, 2, null]))", [2, 2, None])
_add("series_fill_const", "series:dynamic, constant:value, missing:value?", DYNAMIC,
     lambda c, values, constant, missing: _fill_const(values, constant, _missing(missing)),
     "Missing elements, which are null or equal to a placeholder, as a constant.",
     "print series_fill_const(dynamic([1, null]), 0)", [1, 0])
_add("series_fill_forward", "series:dynamic, missing:value?", DYNAMIC,
     lambda c, values, missing: _fill_forward(values, _missing(missing)),
     "Missing elements, which are null or equal to a placeholder, as the last one that was there.",
     "print series_fill_forward(dynamic([null, 2, null]))", [None, 2, 2])
_add("series_fill_linear", "series:dynamic, missing:value?, fill_edges:bool?, constant:value?", DYNAMIC,
     lambda c, values, missing, edges, constant: _fill_linear(
         values, _missing(missing), edges or literal(True), _missing(constant)
     ),
     "Missing elements on the straight line between their neighbours; at the edges, unless told not to, as the nearest "
     "one.", "print series_fill_linear(dynamic([1, null, 3]))", [1, 2.0, 3])
_add("series_fft", "real:dynamic, imaginary:dynamic?", DYNAMIC,
     lambda c, real, imaginary: _fft(real, _missing(imaginary)),
     "The Fourier transform, as an array of its real and its imaginary parts.",
     "print series_fft(dynamic([1, 1, 1, 1]))", [[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
     note="Kusto gives two columns.")
_add("series_ifft", "real:dynamic, imaginary:dynamic?", DYNAMIC,
     lambda c, real, imaginary: _ifft(real, _missing(imaginary)),
     "The inverse Fourier transform, as an array of its real and its imaginary parts.",
     "print series_ifft(dynamic([4, 0, 0, 0]))", [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]],
     note="Kusto gives two columns.")
_add("series_fir", "series:dynamic, filter:dynamic, normalize:bool?, center:bool?", DYNAMIC,
     lambda c, values, weights, normalize, center: _fir(
         values, weights, normalize or literal(True), center or literal(False)
     ),
     "The series under a filter of finite impulse response, whose weights are made to sum up to 1 unless told not to.",
     "print series_fir(dynamic([2, 4, 6]), dynamic([1, 1]))", [1.0, 3.0, 5.0])
_add("series_iir", "series:dynamic, numerators:dynamic, denominators:dynamic", DYNAMIC,
     lambda c, values, numerators, denominators: _iir(values, numerators, denominators),
     "The series under a filter of infinite impulse response.",
     "print series_iir(dynamic([1, 1, 1]), dynamic([1]), dynamic([1, -1]))", [1.0, 2.0, 3.0])
# fmt: on
