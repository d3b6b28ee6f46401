"""Rewriting Parquet files: files of a day merged into one, in the order of the clustering, or one without some rows."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.lake.clustering import group_lengths, group_rows_of
from tailrace.lake.encoding import encodings_of
from tailrace.lake.fields import TIME
from tailrace.lake.merge_sources import Cluster, MergeSource, sources_of
from tailrace.lake.parquet import NewFile, new_file, writer
from tailrace.lake.snapshot import DataFile, RowNumbers
from tailrace.lake.table_storage import TableStorage

ROW_GROUP_BYTES = 64 * 1024 * 1024  # as Parquet's footers count them, before compression
SAMPLED_FILES = 8
SAMPLED_PARTS = 8  # of all of them together
SAMPLED_PART_ROWS = 1_024

Pace = Callable[[int], None]
"""Called with the bytes written since the last call; may wait, and may raise to stop the writing."""


def merged(
    storage: TableStorage,
    files: Sequence[DataFile],
    pace: Pace,
    without: Mapping[str, RowNumbers] | None = None,
    clustering: Sequence[str] = (),
) -> NewFile | None:
    """One new file of a table with the rows of files of one day, flushed; None where no row is left.

    Its rows are in the order of the columns of the clustering, and then of `_time`; equal ones stay in the order of the
    files. `without` has the rows that are left out of a file, by its name. What is held in memory is a row group, a few
    rows of each file, and the time of each row. A file in another order is sorted first, in parts on the disk. When
    this raises there is no new file.
    """
    without = without or {}
    with ExitStack() as stack:
        scratch = stack.enter_context(storage.sort_directory())
        sources = sources_of(
            [(file.name, without.get(file.name)) for file in files], storage.parquet, scratch, clustering, pace
        )
        for source in sources:
            stack.callback(source.close)
        clusters = sorted({cluster for source in sources for cluster in source.clusters})
        if not clusters:
            return None
        schema = pa.unify_schemas([source.schema for source in sources])
        group_rows = _rows_of_a_group(sources, len(schema))
        encodings = encodings_of(sample_of_files(storage, [file.name for file in files]), group_rows)
        rows_of = [sum(source.clusters.get(cluster, 0) for source in sources) for cluster in clusters]
        lengths = group_lengths(rows_of, group_rows)
        metadata: list[pq.FileMetaData] = []
        new = stack.enter_context(storage.new_data_files())
        with new.begin(files[0].day) as file:
            with writer(file, schema, encodings, metadata, sum(lengths) // len(lengths)) as written:
                reported = 0
                for source_of in _divided(_source_of_rows(sources, clusters), lengths):
                    written.write_table(_next_rows(sources, source_of, schema), row_group_size=len(source_of))
                    pace(file.tell() - reported)
                    reported = file.tell()
            low = min(int(source.times.min()) for source in sources if len(source.times))
            high = max(int(source.times.max()) for source in sources if len(source.times))
            return new_file(storage, new.name(file), file.tell(), metadata[0], low, high)


def sample_of_files(storage: TableStorage, names: Sequence[str]) -> pa.Table:
    """Return some rows of some files, from all over each."""
    parts = []
    step = -(-len(names) // SAMPLED_FILES)
    sampled = names[::step]
    parts_of_each = -(-SAMPLED_PARTS // len(sampled))
    for name in sampled:
        with storage.parquet(name) as file:
            groups = file.num_row_groups
            for group in range(0, groups, -(-groups // parts_of_each)):
                rows = next(file.iter_batches(SAMPLED_PART_ROWS, row_groups=[group], use_threads=False))
                parts.append(pa.Table.from_batches([rows]))
    return pa.concat_tables(parts, promote_options="default")


def times_us(storage: TableStorage, name: str) -> npt.NDArray[np.int64]:
    """Return the time of each row of a file, in its order."""
    with storage.parquet(name) as file:
        # By its own name: a column such as `_time.x` would come with it.
        times: npt.NDArray[np.int64] = file.read([TIME], use_threads=False)[TIME].cast(pa.int64()).to_numpy()
    return times


def _source_of_rows(sources: Sequence[MergeSource], clusters: Sequence[Cluster]) -> Iterator[npt.NDArray[np.int32]]:
    """Yield for each cluster the number of the source that each of its rows comes from."""
    starts = [0] * len(sources)
    for cluster in clusters:
        counts = [source.clusters.get(cluster, 0) for source in sources]
        times = [
            source.times[start : start + count] for source, start, count in zip(sources, starts, counts, strict=True)
        ]
        numbers = np.repeat(np.arange(len(sources), dtype=np.int32), counts)
        starts = [start + count for start, count in zip(starts, counts, strict=True)]
        yield numbers if np.count_nonzero(counts) == 1 else numbers[np.argsort(np.concatenate(times), kind="stable")]


def _divided(
    arrays: Iterator[npt.NDArray[np.int32]], lengths: Sequence[int]
) -> Generator[npt.NDArray[np.int32], None, None]:
    """Yield the values of arrays in arrays of other lengths."""
    left = np.empty(0, np.int32)
    for length in lengths:
        parts = [left]
        size = len(left)
        while size < length:
            parts.append(next(arrays))
            size += len(parts[-1])
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        left = whole[length:]
        yield whole[:length]


def _next_rows(sources: Sequence[MergeSource], source_of: npt.NDArray[np.int32], schema: pa.Schema) -> pa.Table:
    """Return the next rows of the merged file, of which each comes from the front of the source that is named for
    it.
    """
    counts = np.bincount(source_of, minlength=len(sources))
    parts = [
        pa.Table.from_batches([part])
        for source, count in zip(sources, counts.tolist(), strict=True)
        for part in source.take(count)
    ]
    rows = pa.concat_tables([schema.empty_table(), *parts], promote_options="default")
    if np.count_nonzero(counts) == 1:
        return rows
    grouped = np.argsort(source_of, kind="stable")
    position = np.empty(len(grouped), np.int64)
    position[grouped] = np.arange(len(grouped))
    return rows.take(pa.array(position))


def _rows_of_a_group(sources: Sequence[MergeSource], columns: int) -> int:
    bytes_of_a_row = sum(source.bytes for source in sources) // max(1, sum(source.rows for source in sources)) + 1
    return min(group_rows_of(columns), ROW_GROUP_BYTES // bytes_of_a_row + 1)
