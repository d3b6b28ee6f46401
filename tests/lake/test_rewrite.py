"""Files written anew: a stable sort of the rows of several, without those that are left out."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.lake import DataFile
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.rewrite import merged


@settings(max_examples=rounds(60), deadline=None)
@given(
    parts=st.lists(
        st.lists(
            st.tuples(st.integers(0, 50), st.integers() | st.none(), st.sampled_from(["a", "b", None])),
            min_size=1,
            max_size=20,
        ),
        min_size=1,
        max_size=6,
    ),
    clustering=st.sampled_from([(), ("level",), ("only.1", "level"), ("absent", "level")]),
    left_out=st.sets(st.integers(0, 5)),
)
def test_merging_is_a_stable_sort(
    parts: list[list[tuple[int, int | None, str | None]]],
    clustering: tuple[str, ...],
    left_out: set[int],
    tmp_path_factory: Any,
) -> None:
    directory = tmp_path_factory.mktemp("merge")
    (directory / "in").mkdir()
    files: list[DataFile] = []
    rows: list[dict[str, Any]] = []
    without: dict[str, Any] = {}
    for number, part in enumerate(parts):
        only = f"only.{number % 2}"
        lines: list[dict[str, Any]] = [
            {"_time": t, "v": str(v), only: None if v is None else v % 7, "level": level, "id": f"{number}/{row}"}
            for row, (t, v, level) in enumerate(part)
        ]
        if number % 3 == 1:  # the others are not sorted
            lines.sort(key=lambda line: order(line, clustering))
        elif number % 3 == 2:
            lines.sort(key=lambda line: order(line, ()))
        kinds = {"_time": pa.timestamp("us", "UTC"), "v": pa.string(), only: pa.int64()}
        schema = pa.schema({**kinds, "level": pa.string(), "id": pa.string()})
        path = directory / "in" / f"{number}.parquet"
        pq.write_table(pa.Table.from_pylist(lines, schema), path, row_group_size=7)
        lows = [t for t, _, _ in part]
        size = path.stat().st_size
        name = f"in/{path.name}"
        files.append(DataFile(name, str(path), size, len(part), min(lows), max(lows), frozenset(kinds)))
        if number in left_out:
            without[name] = np.arange(0, len(lines), 2)
            lines = lines[1::2]
        rows += lines

    new = merged(LocalTable(directory), files, lambda written: None, without, clustering)

    assert sorted(path.name for path in (directory / "_tailrace").iterdir()) == []
    if new is None:
        assert rows == []
        return
    expected = sorted(rows, key=lambda line: order(line, clustering))
    found = pq.ParquetFile(new[1].location).read()
    assert found["id"].to_pylist() == [line["id"] for line in expected]
    assert found["v"].to_pylist() == [line["v"] for line in expected]
    assert found["_time"].cast(pa.int64()).to_pylist() == [line["_time"] for line in expected]
    times: list[int] = [line["_time"] for line in expected]
    assert (new[1].rows, new[1].min_time_us, new[1].max_time_us) == (len(expected), min(times), max(times))


def order(line: dict[str, Any], clustering: tuple[str, ...]) -> tuple[Any, ...]:
    values = [line.get(name) for name in clustering]
    return (*((value is not None, value) for value in values), line["_time"])


@pytest.mark.parametrize("is_small", [True, False])
def test_a_file_in_another_order_is_sorted_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    monkeypatch.setattr("tailrace.lake.merge_sources.READ_ROWS", 64)
    monkeypatch.setattr("tailrace.lake.merge_sources.SORT_BYTES", 1 << 30 if is_small else 4096)
    times = np.arange(2_000)
    table = pa.table(
        {
            "_time": pa.array(times, pa.timestamp("us", "UTC")),
            "level": np.array(["info", "warn"])[times % 2],
            "n": times,
        }
    )
    pq.write_table(table, tmp_path / "old.parquet")
    old = DataFile("old.parquet", "", 1, 2_000, 0, 1_999, frozenset())
    paced: list[int] = []

    new = merged(LocalTable(tmp_path), [old], paced.append, clustering=("level",))

    assert new is not None
    assert pq.ParquetFile(new[1].location).read()["n"].to_pylist() == [*range(0, 2_000, 2), *range(1, 2_000, 2)]
    assert (len(paced) > 5) is not is_small
    assert list((tmp_path / "_tailrace").iterdir()) == []


def test_a_changed_byte_is_found_when_files_are_merged(tmp_path: Path) -> None:
    times = np.arange(5_000)
    table = pa.table({"_time": pa.array(times, pa.timestamp("us", "UTC")), "n": np.random.default_rng(1).random(5_000)})
    storage = LocalTable(tmp_path)
    [(_, file)] = write_files(storage, in_order(table))
    path = Path(file.location)
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as read:
        chunk = read.metadata.row_group(0).column(1)
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        merged(storage, [file], lambda written: None)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_many_row_groups_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.lake.rewrite.group_rows_of", lambda columns: 100)
    monkeypatch.setattr("tailrace.lake.merge_sources.READ_ROWS", 7)
    generator = np.random.default_rng(5)
    files = []
    for number in range(5):
        times = np.sort(generator.integers(0, 1000, 300))
        path = tmp_path / f"{number}.parquet"
        table = pa.table({"_time": pa.array(times, pa.timestamp("us", "UTC")), "n": np.arange(300) + 1000 * number})
        pq.write_table(table, path, row_group_size=64)
        files.append(DataFile(path.name, str(path), 1, 300, int(times[0]), int(times[-1]), frozenset()))

    new = merged(LocalTable(tmp_path), files, lambda written: None, {files[2].name: np.arange(0, 300, 2)})

    assert new is not None
    opened = pq.ParquetFile(new[1].location)
    assert opened.num_row_groups == 14
    times = opened.read()["_time"].cast(pa.int64()).to_numpy()
    assert bool(np.all(np.diff(times) >= 0))
    kept = {1000 * number + n for number in range(5) for n in range(300) if number != 2 or n % 2}
    assert sorted(opened.read()["n"].to_pylist()) == sorted(kept)


@pytest.mark.quirk("duckdb", "2.0.1")
def test_duckdb_passes_over_the_checksums_of_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"n": np.arange(1_000, dtype=np.float64)})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(0)
    content[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= 1
    path.write_bytes(content)

    found = duckdb.from_parquet(str(path)).to_arrow_table()

    assert found.num_rows == 1_000
    assert not found.equals(table)
