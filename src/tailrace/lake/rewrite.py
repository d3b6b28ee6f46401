"""Rewriting Parquet files: files of a day merged into one in the order of time, or a file without some rows."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tailrace.lake.fields import TIME
from tailrace.lake.parquet import COMPRESSION, COMPRESSION_LEVEL, ROW_GROUP_ROWS, NewFile, new_file
from tailrace.lake.snapshot import DataFile, RowNumbers
from tailrace.lake.table_storage import TableStorage

READ_ROWS = 16_384  # decoded at a time, of each file that is being read
ROW_GROUP_BYTES = 64 * 1024 * 1024  # as Parquet's footers count them, before compression

Pace = Callable[[int], None]
"""Called with the bytes written since the last call; may wait, and may raise to stop the writing."""


def merged(
    storage: TableStorage, files: Sequence[DataFile], pace: Pace, without: Mapping[str, RowNumbers] | None = None
) -> NewFile | None:
    """One new file of a table with the rows of files of one day, sorted by `_time`, flushed; None where no row is left.

    `without` has the rows that are left out of a file, by its name. Rows of equal time stay in the order of the files.
    What is held in memory is a row group and a few rows of each file, not the files. When this raises there is no new
    file.
    """
    without = without or {}
    sources = [_Source(storage, file.name, without.get(file.name)) for file in files]
    counts = [len(source.times) for source in sources]
    times = np.concatenate([source.times for source in sources])
    if not len(times):
        return None
    order = np.argsort(times, kind="stable")
    source_of = np.repeat(np.arange(len(sources), dtype=np.int32), counts)[order]
    low, high = int(times[order[0]]), int(times[order[-1]])
    del times, order
    schema = pa.unify_schemas([source.schema for source in sources])
    group_rows = _rows_of_a_group(sources)
    metadata: list[pq.FileMetaData] = []
    try:
        with storage.new_data_files() as new, new.begin(files[0].day) as file:
            with pq.ParquetWriter(
                file,
                schema,
                compression=COMPRESSION,
                compression_level=COMPRESSION_LEVEL,
                store_schema=False,
                metadata_collector=metadata,
            ) as writer:
                written = 0
                for start in range(0, len(source_of), group_rows):
                    rows = _next_rows(sources, source_of[start : start + group_rows], schema)
                    writer.write_table(rows, row_group_size=group_rows)
                    del rows
                    pace(file.tell() - written)
                    written = file.tell()
            return new_file(storage, new.name(file), file.tell(), metadata[0], low, high)
    finally:
        for source in sources:
            source.close()


def times_us(storage: TableStorage, name: str) -> npt.NDArray[np.int64]:
    """Return the time of each row of a file, in order."""
    with storage.parquet(name) as file:
        return _times(file)


class _Source:
    """A file that is read from its beginning, without the rows to be left out."""

    def __init__(self, storage: TableStorage, name: str, without: RowNumbers | None) -> None:
        self._storage = storage
        self._name = name
        with storage.parquet(name) as file:
            times = _times(file)
            schema = file.schema_arrow
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            self.bytes: int = sum(group.total_byte_size for group in groups)
            self.rows = len(times)
        self.schema = pa.schema([pa.field(field.name, field.type) for field in schema])
        self._sorted = bool(np.all(times[1:] >= times[:-1]))
        self._is_left: npt.NDArray[np.bool_] | None = None
        if without is not None:
            self._is_left = np.ones(len(times), np.bool_)
            self._is_left[without] = False
            times = times[self._is_left]
        self.times = times if self._sorted else np.sort(times, kind="stable")
        self._batches = self._read()
        self._waiting: list[pa.RecordBatch] = []

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows, in one or several parts."""
        while rows:
            part = self._waiting.pop() if self._waiting else next(self._batches)
            if part.num_rows > rows:
                self._waiting.append(part.slice(rows))
                part = part.slice(0, rows)
            rows -= part.num_rows
            yield part

    def close(self) -> None:
        self._batches.close()

    def _read(self) -> Generator[pa.RecordBatch, None, None]:
        # Open from its first row to its last only: not all files of a day are open at once.
        with self._storage.parquet(self._name) as file:
            if self._sorted:
                first = 0
                for batch in file.iter_batches(READ_ROWS, use_threads=False):
                    is_left = None if self._is_left is None else self._is_left[first : first + batch.num_rows]
                    first += batch.num_rows
                    yield batch if is_left is None else batch.filter(pa.array(is_left))
            else:
                whole = file.read(use_threads=False)
                if self._is_left is not None:
                    whole = whole.filter(pa.array(self._is_left))
                yield from whole.take(pc.sort_indices(whole[TIME])).to_batches()


def _next_rows(sources: Sequence[_Source], source_of: npt.NDArray[np.int32], schema: pa.Schema) -> pa.Table:
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
    grouped = np.argsort(source_of, kind="stable")
    position = np.empty(len(grouped), np.int64)
    position[grouped] = np.arange(len(grouped))
    return rows.take(pa.array(position))


def _rows_of_a_group(sources: Sequence[_Source]) -> int:
    bytes_of_a_row = sum(source.bytes for source in sources) // sum(source.rows for source in sources) + 1
    return min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // bytes_of_a_row + 1)


def _times(file: pq.ParquetFile) -> npt.NDArray[np.int64]:
    # By its own name: a column such as `_time.x` would come with it.
    times: npt.NDArray[np.int64] = file.read([TIME], use_threads=False)[TIME].cast(pa.int64()).to_numpy()
    return times
