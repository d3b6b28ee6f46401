"""How the columns of a data file are encoded: each by what a sample of its rows says of its values."""

import math
from collections.abc import Iterable, Mapping
from functools import cache
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
FILTER_SHARE = 1 / 192  # of a row group before compression that Bloom filters may take: 2 to 3 % of what is written
FALSE_POSITIVES = 0.1  # at most, of the row groups that are read in vain for a value that they do not have
LEAST_FILTER_ROWS = 4_096  # in a row group that has filters
ID_BYTES = range(8, 97)  # mean length of texts that are looked up whole; in longer ones is searched


class Encodings(Struct, frozen=True):
    """Which columns of a file have dictionaries, and which differences; the others are plain."""

    dictionary: tuple[str, ...] = ()
    delta: tuple[str, ...] = ()
    ids: Mapping[str, float] = {}  # columns of ids, with the share of rows that have one, nearly each another
    row_bytes: float = 0.0  # before compression

    def options(self, columns: Iterable[str], group_rows: int) -> dict[str, Any]:
        """Return those of some columns as arguments of pyarrow's writer, for row groups of about so many rows."""
        names = set(columns)
        filters = {name: values for name, values in self.filters(group_rows).items() if name in names}
        return {
            "bloom_filter_options": {name: {"ndv": n, "fpp": FALSE_POSITIVES} for name, n in filters.items()},
            "use_dictionary": [name for name in self.dictionary if name in names],
            "column_encoding": {name: DELTA for name in self.delta if name in names},
        }

    def filters(self, group_rows: int) -> dict[str, int]:
        """Return the columns that have a Bloom filter in each row group, with the values that it is made for: those of
        ids, the most frequent first, as far as their filters are small beside the rows.
        """
        filters: dict[str, int] = {}
        left = FILTER_SHARE * self.row_bytes * group_rows if group_rows >= LEAST_FILTER_ROWS else 0
        for name, share in sorted(self.ids.items(), key=lambda each: -each[1]):
            values = max(1, round(share * group_rows))
            if filter_bytes(values) <= left:
                left -= filter_bytes(values)
                filters[name] = values
        return filters


def filter_bytes(values: int) -> int:
    """Return the size of a Bloom filter of Parquet, which is a power of two."""
    size = -values / math.log(1 - FALSE_POSITIVES ** (1 / 8))
    return int(2 ** math.ceil(math.log2(max(size, 32))))


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

    Whole numbers and times of many values are stored as differences. Text has a dictionary where that is the smaller,
    and a short text without one, of one word, is an id.
    """
    dictionary: list[str] = []
    delta: list[str] = []
    ids: dict[str, float] = {}
    for name in sample.column_names:
        column = sample[name]
        kind = column.type
        if pa.types.is_boolean(kind):
            continue
        share = NUMBER_DICTIONARY_SHARE if pa.types.is_primitive(kind) else TEXT_DICTIONARY_SHARE
        values = len(column) - column.null_count
        rows = max(1, round(values / max(1, len(column)) * group_rows))
        if pa.types.is_dictionary(kind) or _distinct(column) <= most_distinct(values, rows, share):
            dictionary.append(name)
        elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
            delta.append(name)
        elif kind == pa.string() and values and _are_ids(column, values):
            ids[name] = values / len(column)
    return Encodings(tuple(dictionary), tuple(delta), ids, sample.nbytes / max(1, sample.num_rows))


def _are_ids(column: pa.ChunkedArray, values: int) -> bool:
    """Return whether texts, so many of which are there, are of the length of ids, and most without a blank."""
    if pc.sum(pc.binary_length(column)).as_py() // values not in ID_BYTES:
        return False
    of_words: int = pc.sum(pc.match_substring(column, " ")).as_py()
    return of_words <= values / 2


def most_distinct(drawn: int, values: int, share: float) -> float:
    """Return how many distinct values there are likely to be among `drawn` of `values` where `share` of all of them
    are distinct; less than `drawn`, and -1 where none is drawn.

    As if each value were as frequent as any other; of values that are not there are fewer.
    """
    # drawn values of n equally frequent ones have n * (1 - exp(-drawn / n)) distinct ones.
    all_values = values / _values_each(share)
    return min(-all_values * math.expm1(-drawn / all_values), drawn - 1)


@cache
def _values_each(share: float) -> float:
    """Return how many values there are of each of n equally frequent ones where `share` of them are distinct."""
    low, high = 0.0, 1 / share
    for _ in range(60):
        middle = (low + high) / 2
        if -math.expm1(-middle) > share * middle:
            low = middle
        else:
            high = middle
    return high


def _distinct(column: pa.ChunkedArray) -> int:
    count: int = pc.count_distinct(column, mode="only_valid").as_py()
    return count
