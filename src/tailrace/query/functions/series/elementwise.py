"""Functions of the elements of series, one by one or in pairs."""

import math
import operator
from collections.abc import Callable
from typing import Any

from tailrace.query.functions.series.elements import (
    Cell,
    LengthsDiffer,
    Number,
    as_series,
    flatten,
    flatten_pairs,
    numbers_of,
    pairs_of,
    split_rows,
)
from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, Value

FUNCTIONS, _add = table("series")


def _map_elements(function: Callable[[Any], Any], values: list[Cell]) -> list[Any]:
    results: list[Any] = []
    for value in values:
        try:
            results.append(None if value is None else function(value))
        except (ValueError, ArithmeticError):
            results.append(None)
    return results


def _elementwise(name: str, function: Callable[[Any], Any]) -> Callable[..., Value]:
    def rows(series: list[Any]) -> list[Any]:
        elements, sizes = flatten(series)
        return split_rows([*map(function, elements)], sizes)

    @udf(f"apl_{name}", [DYNAMIC], DYNAMIC, rows=rows)
    def over_elements(values: Any) -> list[Any]:
        return _map_elements(function, as_series(values))

    return lambda context, values: over_elements(values)


def _map_pairs(function: Callable[[Any, Any], Any], left: Any, right: Any) -> list[Any]:
    results: list[Any] = []
    for a, b in pairs_of(left, right):
        try:
            results.append(None if a is None or b is None else function(a, b))
        except (ValueError, ArithmeticError):
            results.append(None)
    return results


def _map_pairs_of_rows(function: Callable[[Any, Any], Any]) -> Callable[[list[Any], list[Any]], list[Any]]:
    def rows(left: list[Any], right: list[Any]) -> list[Any]:
        try:
            lefts, rights, sizes = flatten_pairs(left, right)
        except LengthsDiffer:
            results = [[*map(function, a, b)] for a, b in zip(left, right, strict=True)]
            sizes = [*map(max, map(len, left), map(len, right))]
            return [each + [None] * (size - len(each)) for each, size in zip(results, sizes, strict=True)]
        return split_rows([*map(function, lefts, rights)], sizes)

    return rows


def _pairwise_function(name: str, function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    @udf(f"apl_{name}", [DYNAMIC, DYNAMIC], DYNAMIC, rows=_map_pairs_of_rows(function))
    def over_pairs(left: Any, right: Any) -> list[Any]:
        return _map_pairs(function, left, right)

    return lambda context, left, right: over_pairs(left, right)


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Value]:
    """Of one series its extreme element, of two those of each pair."""
    pairs = _pairwise_function(name, function)

    @udf(f"apl_{name}_element", [DYNAMIC], DYNAMIC)
    def element(values: Any) -> Any:
        return function(numbers_of(values))

    return lambda context, left, right: element(left) if right is None else pairs(context, left, right)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _quotient(left: Number, right: Number) -> float | None:
    return left / right if right else None


def _quotients_rows(left: list[Any], right: list[Any]) -> list[Any]:
    try:
        lefts, rights, sizes = flatten_pairs(left, right)
    except LengthsDiffer:
        return [[*map(_quotient, a, b)] for a, b in zip(left, right, strict=True)]
    return split_rows([*map(_quotient, lefts, rights)], sizes)


@udf("apl_series_divide", [DYNAMIC, DYNAMIC], DYNAMIC, rows=_quotients_rows)
def _divide(left: Any, right: Any) -> list[Any]:
    size = min(len(each) for each in (left, right) if isinstance(each, list))
    return _map_pairs(_quotient, left, right)[:size]


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
    _add(f"series_{_name}", "left:value, right:value", DYNAMIC, _pairwise_function(f"series_{_name}", _pairwise), _doc,
         f"print series_{_name}(dynamic([1, 2, 3]), dynamic([10, 20]))", _result)
_add("series_divide", "left:value, right:value", DYNAMIC, lambda c, left, right: _divide(left, right),
     "The quotients, element by element, as many as the shorter series has.",
     "print series_divide(dynamic([10, 20, 30]), dynamic([4, 0]))", [2.5, None],
     note="A quotient by 0 is infinite in Axiom; JSON has no infinity, so it is null.")
_add("series_pow", "series:value, exponent:value", DYNAMIC, _pairwise_function("series_pow", _power),
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
    _add(f"series_{_name}", "left:value, right:value", DYNAMIC, _pairwise_function(f"series_{_name}", _pairwise),
         f"Whether the elements are {_doc} a number, or the elements of another series.",
         f"print series_{_name}(dynamic([1, 2, 3]), 2)", _result)
_add("series_max", "left:value, right:value?", DYNAMIC, _extreme("series_max", max),
     "The greater elements of two series; of one its greatest.", "print series_max(dynamic([1, 5]), dynamic([3, 2]))",
     [3, 5])
_add("series_min", "left:value, right:value?", DYNAMIC, _extreme("series_min", min),
     "The lesser elements of two series; of one its least.", "print series_min(dynamic([1, 5]), dynamic([3, 2]))",
     [1, 2])
# fmt: on
