"""The elements of series: of one, of two side by side, and of many rows at once.

Of many rows, the elements of all series are in one list, which functions in C go through. It is for series of numbers
alone; whatever else there is raises, and rows are then computed one by one.
"""

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

from tailrace.query.functions.udf import is_number
from tailrace.query.values import DYNAMIC, Value, as_dynamic, null

Number = int | float
Cell = Number | None
_NUMBER_OR_NULL_TYPES = frozenset({int, float, type(None)})
_NUMBER_TYPES = frozenset({int, float})


def as_series(value: Any) -> list[Cell]:
    """Return an array with null for what is no number in it. Raise TypeError for anything else."""
    if not isinstance(value, list):
        raise TypeError("a series is an array")
    if _NUMBER_OR_NULL_TYPES.issuperset(map(type, value)):
        return value
    return [each if is_number(each) else None for each in value]


def numbers_of(value: Any) -> list[Number]:
    """Return the numbers of a series without what is missing."""
    return [each for each in as_series(value) if each is not None]


def pairs_of(left: Any, right: Any) -> Any:
    """Return the elements side by side; a single number stands for as many as the other side has."""
    if is_number(right):
        return [(a, right) for a in as_series(left)]
    if is_number(left):
        return [(left, b) for b in as_series(right)]
    return itertools.zip_longest(as_series(left), as_series(right))


def flatten(rows: list[Any]) -> tuple[list[Number], list[int]]:
    """Return the elements of all series, and how many each has."""
    if set(map(type, rows)) != {list}:
        raise TypeError("a series is an array")
    elements = [*itertools.chain.from_iterable(rows)]
    if not _NUMBER_TYPES.issuperset(map(type, elements)):
        raise TypeError("an element is no number")
    return elements, [*map(len, rows)]


def _portions(elements: list[Any], sizes: list[int]) -> Iterator[Iterator[Any]]:
    """Return the elements of each series, to be read before the next is asked for."""
    return map(itertools.islice, itertools.repeat(iter(elements)), sizes)


def split_rows(elements: list[Any], sizes: list[int]) -> list[list[Any]]:
    """Return the elements of each series as a list of their own."""
    return [*map(list, _portions(elements, sizes))]


def row_sums(elements: list[Any], sizes: list[int]) -> list[float]:
    """Return the sum of each series."""
    return [*map(math.fsum, _portions(elements, sizes))]


def repeat_by_row(values: Iterable[Number], sizes: list[int]) -> Iterator[Number]:
    """Return each value as often as its series has elements."""
    return itertools.chain.from_iterable(map(itertools.repeat, values, sizes))


class LengthsDiffer(ValueError):
    """Series of numbers side by side are of several lengths."""


def flatten_pairs(left: list[Any], right: list[Any]) -> tuple[Iterable[Number], Iterable[Number], list[int]]:
    """Return the elements of the series on both sides, and how many each has; a number stands for a series of
    itself.
    """
    if _NUMBER_TYPES.issuperset(map(type, right)):
        elements, sizes = flatten(left)
        return elements, repeat_by_row(right, sizes), sizes
    if _NUMBER_TYPES.issuperset(map(type, left)):
        elements, sizes = flatten(right)
        return repeat_by_row(left, sizes), elements, sizes
    (lefts, sizes), (rights, others) = flatten(left), flatten(right)
    if sizes != others:
        raise LengthsDiffer
    return lefts, rights, sizes


def are_identical(values: list[Any]) -> bool:
    """Whether all rows have the same object, as those of a constant have."""
    return all(map(operator.is_, values, itertools.repeat(values[0])))


def only_value(values: list[Any]) -> Any:
    """Return what all rows have; raise TypeError where they differ."""
    if not are_identical(values):
        raise TypeError("the rows differ")
    return values[0]


def dynamic_or_null(value: Value | None) -> Value:
    """Return an optional argument as a dynamic."""
    return as_dynamic(value) if value is not None else null(DYNAMIC)
