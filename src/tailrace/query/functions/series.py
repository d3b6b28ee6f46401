"""Functions of series, which are arrays of numbers; what is no number in one counts as missing and gives null."""

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tailrace.query.functions.table import table
from tailrace.query.functions.udf import is_number, udf
from tailrace.query.values import BOOL, DYNAMIC, REAL, Value, as_dynamic, literal, null

FUNCTIONS, _add = table("series")

Number = int | float
Cell = Number | None


def _series(value: Any) -> list[Cell]:
    if not isinstance(value, list):
        raise TypeError("a series is an array")
    return [each if is_number(each) else None for each in value]


def _numbers(value: Any) -> list[Number]:
    return [each for each in _series(value) if each is not None]


def _clean(value: Any) -> Any:
    """What JSON can hold: a number that is not finite is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _each(function: Callable[[Any], Any], values: list[Cell]) -> list[Any]:
    made: list[Any] = []
    for value in values:
        try:
            made.append(None if value is None else _clean(function(value)))
        except (ValueError, ArithmeticError):
            made.append(None)
    return made


def _elementwise(name: str, function: Callable[[Any], Any]) -> Callable[..., Value]:
    @udf(f"apl_{name}", [DYNAMIC], DYNAMIC)
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
            made.append(None if a is None or b is None else _clean(function(a, b)))
        except (ValueError, ArithmeticError):
            made.append(None)
    return made


def _binary(name: str, function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    @udf(f"apl_{name}", [DYNAMIC, DYNAMIC], DYNAMIC)
    def made(left: Any, right: Any) -> list[Any]:
        return _both(function, left, right)

    return lambda context, left, right: made(left, right)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


@udf("apl_series_divide", [DYNAMIC, DYNAMIC], DYNAMIC)
def _divide(left: Any, right: Any) -> list[Any]:
    size = min(len(each) for each in (left, right) if isinstance(each, list))
    return _both(operator.truediv, left, right)[:size]


@udf("apl_series_dot_product", [DYNAMIC, DYNAMIC], REAL)
def _dot_product(left: Any, right: Any) -> float:
    return math.fsum(a * b for a, b in _complete(left, right))


def _complete(left: Any, right: Any) -> list[tuple[Number, Number]]:
    """The pairs that have both sides."""
    return [(a, b) for a, b in _paired(left, right) if a is not None and b is not None]


@udf("apl_series_cosine_similarity", [DYNAMIC, DYNAMIC], REAL)
def _cosine_similarity(left: Any, right: Any) -> float:
    pairs = _complete(left, right)
    lengths = math.hypot(*(a for a, _ in pairs)) * math.hypot(*(b for _, b in pairs))
    return math.fsum(a * b for a, b in pairs) / lengths


@udf("apl_series_pearson_correlation", [DYNAMIC, DYNAMIC], REAL)
def _pearson_correlation(left: Any, right: Any) -> float:
    pairs = _complete(left, right)
    mean_a = math.fsum(a for a, _ in pairs) / len(pairs)
    mean_b = math.fsum(b for _, b in pairs) / len(pairs)
    both = math.fsum((a - mean_a) * (b - mean_b) for a, b in pairs)
    spread = math.fsum((a - mean_a) ** 2 for a, _ in pairs) * math.fsum((b - mean_b) ** 2 for _, b in pairs)
    return both / math.sqrt(spread)


@udf("apl_series_sum", [DYNAMIC], REAL)
def _sum(values: Any) -> float:
    return math.fsum(_numbers(values))


@udf("apl_series_magnitude", [DYNAMIC], REAL)
def _magnitude(values: Any) -> float:
    return math.hypot(*_numbers(values))


_STATISTICS = ("min", "min_idx", "max", "max_idx", "avg", "variance", "stdev")


def _statistics(value: Any) -> list[Any]:
    series = _series(value)
    there = [(number, n) for n, number in enumerate(series) if number is not None]
    if not there:
        return [None] * len(_STATISTICS)
    least, at_least = min(there)
    greatest, at_greatest = max(there, key=lambda each: (each[0], -each[1]))
    mean = math.fsum(number for number, _ in there) / len(there)
    variance = math.fsum((number - mean) ** 2 for number, _ in there) / (len(there) - 1) if len(there) > 1 else 0.0
    found = [least, at_least, greatest, at_greatest, mean, variance, math.sqrt(variance)]
    return [_clean(each) for each in found]


@udf("apl_series_stats", [DYNAMIC], DYNAMIC)
def _stats(values: Any) -> list[Any]:
    return _statistics(values)


@udf("apl_series_stats_dynamic", [DYNAMIC], DYNAMIC)
def _stats_dynamic(values: Any) -> dict[str, Any]:
    return dict(zip(_STATISTICS, _statistics(values), strict=True))


# Filling. A missing element is null, what is no number, or equal to the placeholder.


def _gaps(values: Any, missing: Any) -> list[Cell]:
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
    known = [n for n, each in enumerate(series) if each is not None]
    if not known:
        return [constant] * len(series)
    made: list[Any] = list(series)
    for a, b in itertools.pairwise(known):
        for n in range(a + 1, b):
            share = (n - a) / (b - a)
            made[n] = _clean(float(made[a]) * (1 - share) + float(made[b]) * share)
    if edges is not False:
        made[: known[0]] = [made[known[0]]] * known[0]
        made[known[-1] + 1 :] = [made[known[-1]]] * (len(made) - known[-1] - 1)
    return made


# Signals


def _parts(values: np.ndarray[Any, Any]) -> list[list[Cell]]:
    return [[_clean(float(each)) for each in part] for part in (values.real, values.imag)]


def _complex(real: Any, imaginary: Any) -> np.ndarray[Any, Any]:
    first = [each or 0.0 for each in _series(real)]
    second = [each or 0.0 for each in _series(imaginary)] if isinstance(imaginary, list) else []
    size = max(len(first), len(second))
    padded = [part + [0.0] * (size - len(part)) for part in (first, second)]
    return np.array(padded[0], dtype=float) + 1j * np.array(padded[1], dtype=float)


@udf("apl_series_fft", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _fft(real: Any, imaginary: Any) -> list[list[Cell]]:
    values = _complex(real, imaginary)
    return _parts(np.fft.fft(values)) if len(values) else [[], []]


@udf("apl_series_ifft", [DYNAMIC, DYNAMIC], DYNAMIC, nulls=True)
def _ifft(real: Any, imaginary: Any) -> list[list[Cell]]:
    values = _complex(real, imaginary)
    return _parts(np.fft.ifft(values)) if len(values) else [[], []]


@udf("apl_series_fir", [DYNAMIC, DYNAMIC, BOOL, BOOL], DYNAMIC)
def _fir(values: Any, coefficients: Any, normalize: bool, center: bool) -> list[Any]:
    series = np.array([each or 0.0 for each in _series(values)], dtype=float)
    weights = np.array(_numbers(coefficients), dtype=float)
    if not len(series) or not len(weights):
        return []
    total = weights.sum()
    if normalize and total:
        weights = weights / total
    # The convolution has the filter's length less one more elements than the series.
    full = np.convolve(series, weights)
    start = (len(weights) - 1) // 2 if center else 0
    return [_clean(float(each)) for each in full[start : start + len(series)]]


@udf("apl_series_iir", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC)
def _iir(values: Any, numerators: Any, denominators: Any) -> list[Any]:
    series = [float(each or 0.0) for each in _series(values)]
    ahead, back = _numbers(numerators), _numbers(denominators)
    made: list[float] = []
    for n in range(len(series)):
        total = sum(weight * series[n - k] for k, weight in enumerate(ahead[: n + 1]))
        total -= sum(weight * made[n - k] for k, weight in enumerate(back[1 : n + 1], 1))
        made.append(total / back[0])
    return [_clean(each) for each in made]


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
_add("series_max", "left:value, right:value", DYNAMIC, _binary("series_max", max),
     "The greater elements of two series.", "print series_max(dynamic([1, 5]), dynamic([3, 2]))", [3, 5])
_add("series_min", "left:value, right:value", DYNAMIC, _binary("series_min", min),
     "The lesser elements of two series.", "print series_min(dynamic([1, 5]), dynamic([3, 2]))", [1, 2])
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
