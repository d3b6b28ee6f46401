"""Series as signals: Fourier transforms, and filters of finite and infinite impulse response."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tailrace.query.functions.series.elements import Cell, Number, as_series, dynamic_or_null, numbers_of, only_value
from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import BOOL, DYNAMIC, literal

FUNCTIONS, _add = table("series")


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
    rows = [*map(as_series, real)]
    others: list[list[Cell]] = []
    if any(isinstance(each, list) for each in imaginary):
        others = [as_series(each) if isinstance(each, list) else [] for each in imaginary]
        sizes = [max(len(a), len(b)) for a, b in zip(rows, others, strict=True)]
        rows = [row + [0.0] * (size - len(row)) for row, size in zip(rows, sizes, strict=True)]
        others = [row + [0.0] * (size - len(row)) for row, size in zip(others, sizes, strict=True)]
    results: list[Any] = [None] * len(rows)
    for numbers, matrix in _by_length(rows):
        if not matrix.shape[1]:
            parts: Iterable[Any] = ([[], []] for _ in numbers)
        else:
            if others:
                [(_, imaginaries)] = _by_length([others[n] for n in numbers])
                matrix = matrix + 1j * imaginaries
            transformed = transform(matrix)
            parts = map(list, zip(transformed.real.tolist(), transformed.imag.tolist(), strict=True))
        for n, each in zip(numbers, parts, strict=True):
            results[n] = each
    return results


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


def _fir_rows(values: list[Any], coefficients: list[Any], normalize: list[bool], center: list[bool]) -> list[list[Any]]:
    rows = [*map(as_series, values)]
    weights = np.array(numbers_of(only_value(coefficients)), dtype=float)
    if not len(weights):
        return [[] for _ in rows]
    total = weights.sum()
    if only_value(normalize) and total:
        weights = weights / total
    start = (len(weights) - 1) // 2 if only_value(center) else 0
    results: list[list[Any]] = [[] for _ in rows]
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
            results[n] = row
    return results


@udf("apl_series_fir", [DYNAMIC, DYNAMIC, BOOL, BOOL], DYNAMIC, rows=_fir_rows)
def _fir(values: Any, coefficients: Any, normalize: bool, center: bool) -> list[Any]:
    return _fir_rows([values], [coefficients], [normalize], [center])[0]


_FEW_ROWS = 16  # below which a loop in Python is as fast as one over columns


def _iir_rows(values: list[Any], numerators: list[Any], denominators: list[Any]) -> list[list[Any]]:
    rows = [*map(as_series, values)]
    ahead, back = numbers_of(only_value(numerators)), numbers_of(only_value(denominators))
    results: list[list[Any]] = [[] for _ in rows]
    for numbers, matrix in _by_length(rows):
        if len(numbers) < _FEW_ROWS:
            filtered = [_recursive(row, ahead, back) for row in matrix.tolist()]
        else:
            with np.errstate(all="ignore"):
                columns = _recursive([*matrix.T], ahead, back)
            filtered = np.array(columns).T.tolist() if columns else [[] for _ in numbers]
        for n, row in zip(numbers, filtered, strict=True):
            results[n] = row
    return results


def _recursive(series: list[Any], ahead: list[Number], back: list[Number]) -> list[Any]:
    """Return a filter over the elements of one series, or over the columns of many of one length."""
    filtered: list[Any] = []
    for n in range(len(series)):
        total: Any = 0.0
        for k, weight in enumerate(ahead[: n + 1]):
            total = total + weight * series[n - k]
        fed_back: Any = 0.0
        for k, weight in enumerate(back[1 : n + 1], 1):
            fed_back = fed_back + weight * filtered[n - k]
        if not back[0]:
            raise ZeroDivisionError("the first denominator is 0")
        filtered.append((total - fed_back) / back[0])
    return filtered


@udf("apl_series_iir", [DYNAMIC, DYNAMIC, DYNAMIC], DYNAMIC, rows=_iir_rows)
def _iir(values: Any, numerators: Any, denominators: Any) -> list[Any]:
    return _iir_rows([values], [numerators], [denominators])[0]


# fmt: off
_add("series_fft", "real:dynamic, imaginary:dynamic?", DYNAMIC,
     lambda c, real, imaginary: _fft(real, dynamic_or_null(imaginary)),
     "The Fourier transform, as an array of its real and its imaginary parts.",
     "print series_fft(dynamic([1, 1, 1, 1]))", [[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
     note="Kusto gives two columns.")
_add("series_ifft", "real:dynamic, imaginary:dynamic?", DYNAMIC,
     lambda c, real, imaginary: _ifft(real, dynamic_or_null(imaginary)),
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
