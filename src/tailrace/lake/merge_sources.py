"""What a merge reads: rows in the order of the clustering, a few at a time, of files or of their parts sorted first."""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from tailrace.lake.clustering import row_order
from tailrace.lake.fields import TIME
from tailrace.lake.snapshot import RowNumbers

READ_ROWS = 16_384  # most that are decoded at a time, of each source
READ_BYTES = 32 * 1024 * 1024  # about the most that is decoded at a time, of all sources together
SORT_BYTES = 32 * 1024 * 1024  # of rows in another order that are sorted at a time
MAX_CLUSTERS = 10_000  # of a file, beyond which it is taken for one in another order

Cluster = tuple[tuple[bool, bool | int | str | None], ...]
"""The value of each column of the clustering, each behind whether it is one: nulls come first."""

Open = Callable[[], pq.ParquetFile]


class Contents(Struct, frozen=True, eq=False):
    """What is known of a file before its rows are read."""

    schema: pa.Schema
    bytes: int  # before compression
    times: npt.NDArray[np.int64]  # of the rows that are left
    clusters: dict[Cluster, int] | None  # the rows of each, in order; None where the rows are in another order


class MergeSource:
    """Rows in order, which are read once, from the first to the last; without those to be left out."""

    def __init__(self, open_file: Open, contents: Contents, is_left: npt.NDArray[np.bool_] | None) -> None:
        assert contents.clusters is not None
        self.schema = contents.schema
        self.bytes = contents.bytes
        self.times = contents.times
        self.clusters = contents.clusters
        self.rows = len(contents.times) if is_left is None else len(is_left)
        self.read_rows = READ_ROWS
        self._open = open_file
        self._is_left = is_left
        self._batches = self._read()
        self._waiting: pa.RecordBatch | None = None

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows, in one or several parts."""
        while rows:
            part = self._waiting or next(self._batches)
            self._waiting = part.slice(rows) if part.num_rows > rows else None
            part = part.slice(0, rows)
            rows -= part.num_rows
            yield part

    def close(self) -> None:
        """Close the file."""
        self._batches.close()

    def _read(self) -> Generator[pa.RecordBatch, None, None]:
        # Open from its first row to its last only: not all files of a day are open at once.
        with self._open() as file:
            first = 0
            for batch in file.iter_batches(self.read_rows, use_threads=False):
                left = None if self._is_left is None else self._is_left[first : first + batch.num_rows]
                first += batch.num_rows
                yield batch if left is None else batch.filter(pa.array(left))


def sources_of(
    files: Sequence[tuple[str, RowNumbers | None]],
    open_file: Callable[..., pq.ParquetFile],
    scratch: Path,
    clustering: Sequence[str],
    pace: Callable[[int], None],
) -> list[MergeSource]:
    """Return the sources of files, each given with the rows that are left out of it, in the order of the files.

    A file in another order becomes several, which are sorted in the directory `scratch`.
    """
    sources: list[MergeSource] = []
    for name, without in files:
        opened = _opening(open_file, name)
        contents, is_left = _contents(opened, without, clustering)
        if contents.clusters is not None:
            sources.append(MergeSource(opened, contents, is_left))
            continue
        for path in _sorted_parts(opened, is_left, clustering, scratch / str(len(sources)), pace):
            of_part = _opening(pq.ParquetFile, path)
            sources.append(MergeSource(of_part, _contents(of_part, None, clustering)[0], None))
    bytes_of_a_row = sum(source.bytes for source in sources) // max(1, sum(source.rows for source in sources)) + 1
    read_rows = max(64, min(READ_ROWS, READ_BYTES // bytes_of_a_row // max(1, len(sources))))
    for source in sources:
        source.read_rows = read_rows
    return sources


def _opening(open_file: Callable[..., pq.ParquetFile], name: str | Path) -> Open:
    return lambda: open_file(name)


def _contents(
    open_file: Open, without: RowNumbers | None, clustering: Sequence[str]
) -> tuple[Contents, npt.NDArray[np.bool_] | None]:
    """Return what is known of a file, and which of its rows are left, None for all of them."""
    with open_file() as file:
        is_left: npt.NDArray[np.bool_] | None = None
        if without is not None:
            is_left = np.ones(file.metadata.num_rows, np.bool_)
            is_left[without] = False
        schema = pa.schema([pa.field(field.name, field.type) for field in file.schema_arrow])
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups))
        names = [TIME, *(name for name in clustering if name in schema.names)]
        times: list[npt.NDArray[np.int64]] = []
        runs: list[tuple[Cluster, int]] = []
        is_in_order = True
        first = 0
        for batch in file.iter_batches(READ_ROWS, columns=names, use_threads=False):
            if is_left is not None:
                first, batch = first + batch.num_rows, batch.filter(pa.array(is_left[first : first + batch.num_rows]))
            times.append(batch[TIME].cast(pa.int64()).to_numpy())
            if is_in_order:
                _extend(runs, batch, clustering)
                is_in_order = len(runs) <= MAX_CLUSTERS
    whole = np.concatenate(times) if times else np.empty(0, np.int64)
    clusters = _clusters(runs, whole) if is_in_order else None
    return Contents(schema, size, whole, clusters), is_left


def _extend(runs: list[tuple[Cluster, int]], batch: pa.RecordBatch, clustering: Sequence[str]) -> None:
    """Append the runs of rows of one cluster that a batch has, the first to the last run where that goes on."""
    if not batch.num_rows:
        return
    columns = [pc.dictionary_encode(batch[name]) if name in batch.schema.names else None for name in clustering]
    is_start = np.zeros(batch.num_rows, np.bool_)
    is_start[0] = True
    codes = [None if each is None else each.indices.fill_null(-1).to_numpy() for each in columns]
    for each in codes:
        if each is not None:
            is_start[1:] |= each[1:] != each[:-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=batch.num_rows).tolist()
    if len(runs) + len(starts) > 2 * MAX_CLUSTERS:
        starts = starts[: MAX_CLUSTERS + 1]  # which are too many by themselves
    values = [
        [None] * len(starts) if column is None else column.take(pa.array(starts)).to_pylist() for column in columns
    ]
    for number, length in enumerate(lengths[: len(starts)]):
        cluster = tuple((column[number] is not None, column[number]) for column in values)
        if runs and runs[-1][0] == cluster:
            runs[-1] = cluster, runs[-1][1] + length
        else:
            runs.append((cluster, length))


def _clusters(runs: Sequence[tuple[Cluster, int]], times: npt.NDArray[np.int64]) -> dict[Cluster, int] | None:
    """Return the rows of each cluster, None where clusters or times within one are not in order."""
    clusters = [cluster for cluster, _ in runs]
    if any(after <= before for before, after in pairwise(clusters)):
        return None
    falls = times[1:] < times[:-1]
    falls[np.cumsum(np.array([length for _, length in runs], np.int64))[:-1] - 1] = False
    return None if falls.any() else dict(runs)


def _sorted_parts(
    open_file: Open,
    is_left: npt.NDArray[np.bool_] | None,
    clustering: Sequence[str],
    scratch: Path,
    pace: Callable[[int], None],
) -> Iterator[Path]:
    """Write the rows of a file that are left as several, each in order; yield the files, whose names begin alike."""
    for number, rows in enumerate(_portions(open_file, is_left)):
        order = row_order(rows, rows[TIME].cast(pa.int64()).to_numpy(), clustering)
        path = scratch.with_name(f"{scratch.name}-{number}")
        pq.write_table(
            rows if order.indices is None else rows.take(pa.array(order.indices)),
            path,
            compression="lz4",
            row_group_size=READ_ROWS,
            store_schema=False,
            write_page_checksum=True,
        )
        del rows
        pace(path.stat().st_size)
        yield path


def _portions(open_file: Open, is_left: npt.NDArray[np.bool_] | None) -> Iterator[pa.Table]:
    """Yield the rows of a file that are left, about `SORT_BYTES` at a time."""
    with open_file() as file:
        batches: list[pa.RecordBatch] = []
        size = first = 0
        for batch in file.iter_batches(READ_ROWS, use_threads=False):
            if is_left is not None:
                first, batch = first + batch.num_rows, batch.filter(pa.array(is_left[first : first + batch.num_rows]))
            batches.append(batch)
            size += batch.nbytes
            if size >= SORT_BYTES:
                yield pa.Table.from_batches(batches)
                batches, size = [], 0
        if sum(batch.num_rows for batch in batches):
            yield pa.Table.from_batches(batches)
