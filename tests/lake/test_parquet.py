"""Files of a commit: one a day, and on the disk, with their directories, before the table names them."""

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailrace.lake import local_table
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, statistics, write_files
from tailrace.lake.snapshot import US_PER_DAY
from tailrace.storage import files


def rows(days: int) -> pa.Table:
    times = np.arange(days * 2) * (US_PER_DAY // 2)
    return pa.table(
        {
            "_time": pa.array(times, pa.timestamp("us", "UTC")),
            "_sysTime": pa.array(times, pa.timestamp("us", "UTC")),
            "n": pa.array(range(days * 2)),
        }
    )


@pytest.mark.parametrize("days", [1, 40])
def test_every_file_and_directory_is_flushed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    flushed: list[Path] = []
    lock = threading.Lock()

    def flush(path: Path) -> None:
        with lock:
            flushed.append(path)

    monkeypatch.setattr(files, "flush", flush)
    monkeypatch.setattr(local_table, "flush", flush)

    added = write_files(LocalTable(tmp_path), in_order(rows(days)))

    assert len(added) == days
    written = list(tmp_path.rglob("*.parquet"))
    assert len(written) == days
    assert sorted(flushed) == sorted([*written, *(path.parent for path in written), tmp_path])


@pytest.mark.parametrize("clustering", [(), ("kind",)])
def test_each_day_has_its_rows_in_order_and_the_columns_that_have_a_value_in_them(
    tmp_path: Path, clustering: tuple[str, ...]
) -> None:
    day_us = 86_400_000_000
    times = pa.array([day_us + 3, 1, day_us + 1, 2, 0], pa.timestamp("us", "UTC"))
    columns = {"kind": list("abaab"), "all": [0, 1, 2, 3, 4], "late": [5, None, None, None, None],
               "early": [None, None, None, "x", None], "none": pa.nulls(5, pa.int64())}  # fmt: skip
    unordered = pa.concat_tables([pa.table({"_time": times, **columns}).slice(n, m) for n, m in ((0, 3), (3, 2))])

    files = [file for _, file in write_files(LocalTable(tmp_path), in_order(unordered, clustering))]

    assert [file.columns for file in files] == [{"_time", "kind", "all", name} for name in ("early", "late")]
    early, late = (pq.read_table(file.location) for file in files)
    assert early["all"].to_pylist() == ([3, 4, 1] if clustering else [4, 1, 3])
    assert late["all"].to_pylist() == [2, 0]
    assert early["early"].to_pylist() == (["x", None, None] if clustering else [None, None, "x"])


def test_a_flush_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "flush", fail)

    with pytest.raises(OSError, match="No space left"):
        write_files(LocalTable(tmp_path), in_order(rows(5)))
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_bound_that_parquet_does_not_keep_is_no_bound(tmp_path: Path) -> None:
    found: list[pq.FileMetaData] = []
    table = pa.table({"s": ["b", "c", "z" * 5000, "d", None, None], "all": [1, 2, 3, 4, 5, 6]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2, metadata_collector=found)

    counted = statistics(found[0])

    assert counted["minValues"] == {"all": 1}
    assert counted["maxValues"] == {"all": 6}
    assert counted["nullCount"] == {"s": 2, "all": 0}
