"""How the columns of a data file are encoded: each by what a sample of its rows says of its values."""

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

SAMPLE_ROWS = 8_192
SAMPLE_PARTS = 16  # spread over the rows, so that what comes in bursts is seen
TEXT_DICTIONARY_SHARE = 1 / 2  # of a row group's values that are distinct, up to which a dictionary is the smaller
NUMBER_DICTIONARY_SHARE = 1 / 8  # likewise of numbers, which are small without one
# Not BYTE_STREAM_SPLIT for doubles: the vectorized reader of Spark up to 4.1 refuses it.
DELTA = "DELTA_BINARY_PACKED"


class Encodings(Struct, frozen=True):
    """Which columns of a file have dictionaries, and which differences; the others are plain."""

    dictionary: tuple[str, ...] = ()
    delta: tuple[str, ...] = ()

    def options(self, columns: Iterable[str]) -> dict[str, Any]:
        """Return those of some columns as arguments of pyarrow's writer."""
        names = set(columns)
        return {
            "use_dictionary": [name for name in self.dictionary if name in names],
            "column_encoding": {name: DELTA for name in self.delta if name in names},
        }


def sample_of(rows: pa.Table) -> pa.Table:
    """Return about `SAMPLE_ROWS` of the rows, in parts from all over them, without copying any."""
    if rows.num_rows <= SAMPLE_ROWS:
        return rows
    part_rows = SAMPLE_ROWS // SAMPLE_PARTS
    last_start = rows.num_rows - part_rows
    starts = [last_start * part // (SAMPLE_PARTS - 1) for part in range(SAMPLE_PARTS)]
    return pa.concat_tables([rows.slice(start, part_rows) for start in starts])


def encodings_of(sample: pa.Table, group_rows: int) -> Encodings:
    """Return the encodings of a file whose row groups have so many rows, of which a sample is given.

    Whole numbers and times of many values are stored as differences. Text has a dictionary where that is the smaller.
    """
    dictionary: list[str] = []
    delta: list[str] = []
    for name in sample.column_names:
        column = sample[name]
        kind = column.type
        if pa.types.is_boolean(kind):
            continue
        share = NUMBER_DICTIONARY_SHARE if pa.types.is_primitive(kind) else TEXT_DICTIONARY_SHARE
        values = len(column) - column.null_count
        rows = max(1, round(values / max(1, len(column)) * group_rows))
        if pa.types.is_dictionary(kind) or expected_distinct(values, _distinct(column), rows) <= share * rows:
            dictionary.append(name)
        elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
            delta.append(name)
    return Encodings(tuple(dictionary), tuple(delta))


def expected_distinct(drawn: int, distinct: int, values: int) -> float:
    """Return how many distinct values there are likely to be among `values` where `drawn` of them had `distinct`.

    As if each value were as frequent as any other; of values that are not there are fewer.
    """
    if distinct >= drawn:
        return values
    # drawn values of n equally frequent ones have n * (1 - exp(-drawn / n)) distinct ones, which rises with n.
    low, high = float(distinct), float(drawn) ** 2
    for _ in range(60):
        middle = (low + high) / 2
        if _distinct_among(middle, drawn) < distinct:
            low = middle
        else:
            high = middle
    return _distinct_among(high, values)


def _distinct_among(all_values: float, drawn: int) -> float:
    return -all_values * math.expm1(-drawn / all_values)


def _distinct(column: pa.ChunkedArray) -> int:
    count: int = pc.count_distinct(column, mode="only_valid").as_py()
    return count
