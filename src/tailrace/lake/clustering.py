"""The order of rows in data files: by a few columns of few values, the clustering, and then by `_time`.

Row groups then have one value of each of these columns and a range of times: a query of some of the values reads some
of the groups.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from tailrace.lake.fields import REST, SYSTEM_TIME, TIME
from tailrace.lake.settings import MAX_CLUSTER_COLUMNS
from tailrace.lake.snapshot import US_PER_DAY

MAX_VALUES = 64  # of a column in a sample, null included
MAX_NULL_SHARE = 0.5  # rows without the field would be one cluster, whatever else they hold
MAX_VALUE_BYTES = 64  # longer texts are not in the statistics of a file
MAX_CLUSTERS = 128  # in a sample
MAX_EVEN_CLUSTERS = 16.0  # as many clusters of equal size as are as uneven as those of a sample
LEAST_GAIN = 0.01  # of bits told for a bit of disorder, below which a column is not worth its place
LEAST_SAMPLE_ROWS = 1_000  # fewer say too little to choose by
GROUP_ROWS = 30_000  # most rows of a row group
LEAST_GROUP_ROWS = 4_096  # of a cluster that has row groups of its own
ROWS_PER_COLUMN = 500  # least of a group, for each column: a footer has an entry for each column of each group
MOST_GROUP_ROWS = 122_880

Codes = npt.NDArray[np.int32]


class RowOrder(Struct, frozen=True, eq=False):
    """The order in which rows are written."""

    indices: npt.NDArray[np.int64] | None  # None where they are in it already
    starts: npt.NDArray[np.int64]  # of the clusters of each day, in that order


def row_order(rows: pa.Table, times_us: npt.NDArray[np.int64], clustering: Sequence[str]) -> RowOrder:
    """Return the order of rows by day, the columns of the clustering, and time; of equal ones as they are.

    Nulls come first.
    """
    days = times_us // US_PER_DAY
    codes = [_codes(rows[name]) for name in clustering if name in rows.column_names]
    keys: list[npt.NDArray[np.int64] | Codes] = [days, *codes]
    if len(times_us) and days.min() == days.max():
        keys = [*codes]
    indices: npt.NDArray[np.int64] | None = None
    is_by_time = bool(np.all(times_us[1:] >= times_us[:-1]))
    if codes or not is_by_time:
        sorted_by = keys if is_by_time else [*keys, times_us]
        indices = np.lexsort(sorted_by[::-1])
        if np.array_equal(indices, np.arange(len(indices))):
            indices = None
        else:
            keys = [key[indices] for key in keys]
    return RowOrder(indices, _starts(keys, len(times_us)))


def _starts(keys: Iterable[npt.NDArray[np.int64] | Codes], rows: int) -> npt.NDArray[np.int64]:
    is_start = np.zeros(rows, np.bool_)
    is_start[:1] = True
    for key in keys:
        is_start[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(is_start)


def _codes(column: pa.ChunkedArray) -> Codes:
    """Return for each value its rank among the distinct ones, -1 for null."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # of no chunk
        return np.empty(0, np.int32)
    ranks = np.full(len(encoded.dictionary) + 1, -1, np.int32)
    ranks[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    codes: Codes = ranks[encoded.indices.cast(pa.int64()).fill_null(len(encoded.dictionary)).to_numpy()]
    return codes


def group_rows_of(columns: int) -> int:
    """Return the most rows of a row group of a file with so many columns."""
    return min(MOST_GROUP_ROWS, max(GROUP_ROWS, ROWS_PER_COLUMN * columns))


def group_lengths(clusters: Iterable[int], most: int) -> list[int]:
    """Return the rows of each row group, for clusters of so many rows.

    A cluster has groups of its own, unless it is small: then it shares one with its small neighbours.
    """
    least = min(LEAST_GROUP_ROWS, most)
    lengths: list[int] = []
    small = 0
    for rows in clusters:
        if small and (rows >= least or small + rows > most):
            lengths.append(small)
            small = 0
        if rows < least:
            small += rows
            continue
        groups = -(-rows // most)
        lengths += [rows * (group + 1) // groups - rows * group // groups for group in range(groups)]
    return [*lengths, small] if small else lengths


def fits(clustering: Sequence[str], sample: pa.Table) -> bool:
    """Return whether columns still have few values in a sample, as when they were chosen or nearly so."""
    codes = [_codes(sample[name]) for name in clustering if name in sample.column_names]
    return bool(codes) and len(np.unique(np.stack(codes), axis=1).T) <= 2 * MAX_CLUSTERS


def choose(sample: pa.Table, most: int = MAX_CLUSTER_COLUMNS) -> tuple[str, ...]:
    """Return the columns by which rows are clustered, from a sample of them; none where it has no such columns.

    First comes the column of few values that, for the disorder it costs, tells most about all columns of few values:
    row groups of one value of it have one value of those too. Then the next that tells most about what is left, as
    long as the clusters are few.
    """
    if sample.num_rows < LEAST_SAMPLE_ROWS:
        return ()
    candidates = {name: _codes(sample[name]) + 1 for name in sample.column_names if _is_candidate(name, sample[name])}
    chosen: list[str] = []
    clusters = np.zeros(sample.num_rows, np.int64)
    while len(chosen) < most:
        best, best_gain, best_clusters = "", 0.0, clusters
        for name, codes in candidates.items():
            if name in chosen:
                continue
            finer = _joint(clusters, codes)
            cost = _entropy(finer) - _entropy(clusters)
            if not cost or finer.max() >= MAX_CLUSTERS or 2 ** _entropy(finer) > MAX_EVEN_CLUSTERS:
                continue
            told = sum(
                _entropy(_joint(clusters, other))
                - _entropy(clusters)
                - _entropy(_joint(finer, other))
                + _entropy(finer)
                for other in candidates.values()
            )
            gain = told / (1 + cost)
            if gain > best_gain + LEAST_GAIN:
                best, best_gain, best_clusters = name, gain, finer
        if not best:
            break
        chosen.append(best)
        clusters = best_clusters
    return tuple(chosen)


def _is_candidate(name: str, column: pa.ChunkedArray) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if name in (TIME, SYSTEM_TIME, REST) or not (is_text or pa.types.is_boolean(kind) or pa.types.is_integer(kind)):
        return False
    if column.null_count > MAX_NULL_SHARE * len(column):
        return False
    values = pc.unique(column)
    if not 2 <= len(values) <= MAX_VALUES:
        return False
    texts = values.to_pylist()
    # Arrays are text too, which no query compares as a whole.
    return not is_text or not any(text and (text[0] == "[" or len(text.encode()) > MAX_VALUE_BYTES) for text in texts)


def _joint(left: npt.NDArray[np.int64], right: Codes) -> npt.NDArray[np.int64]:
    """Return numbers, from 0, of the pairs of two columns of numbers."""
    pairs = left * (int(right.max()) + 1) + right
    present = np.bincount(pairs) > 0
    numbers: npt.NDArray[np.int64] = (np.cumsum(present) - 1)[pairs]
    return numbers


def _entropy(numbers: npt.NDArray[np.int64]) -> float:
    counts = np.bincount(numbers)
    shares = counts[counts > 0] / len(numbers)
    return float(-(shares * np.log2(shares)).sum())
