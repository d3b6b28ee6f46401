"""Files written anew: a stable sort of the rows of several, without those that are left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.lake import DataFile
from tailrace.lake.rewrite import merged
from tailrace.lake.table_storage import TableStorage


@settings(max_examples=rounds(50))
@given(
    parts=st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers() | st.none()), min_size=1, max_size=20),
        min_size=1,
        max_size=6,
    )
)
def test_merging_is_a_stable_sort(parts: list[list[tuple[int, int | None]]], tmp_path_factory: Any) -> None:
    directory = tmp_path_factory.mktemp("merge")
    (directory / "in").mkdir()
    files, expected = [], []
    for number, part in enumerate(parts):
        if number % 3:  # of files that are not sorted too
            part = sorted(part, key=lambda each: each[0])
        sevens = pa.array([None if v is None else v % 7 for _, v in part], pa.int64())
        names = {"v": pa.array([str(v) for _, v in part]), f"only.{number % 2}": sevens}
        times = pa.array([t for t, _ in part], pa.timestamp("us", "UTC"))
        path = directory / "in" / f"{number}.parquet"
        pq.write_table(pa.table({"_time": times, **names}), path, row_group_size=7)
        lows = [t for t, _ in part]
        size = path.stat().st_size
        files.append(DataFile(f"in/{path.name}", str(path), size, len(part), min(lows), max(lows), frozenset(names)))
        expected += [(t, str(v)) for t, v in sorted(part, key=lambda each: each[0])]

    new = merged(TableStorage(directory), files, lambda written: None)

    assert new is not None
    found = pq.ParquetFile(new[1].location).read()
    values = zip(found["_time"].cast(pa.int64()).to_pylist(), found["v"].to_pylist(), strict=True)
    assert list(values) == sorted(expected, key=lambda each: each[0])
    assert new[1].rows == len(expected)


def test_many_row_groups_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.lake.rewrite.ROW_GROUP_ROWS", 100)
    monkeypatch.setattr("tailrace.lake.rewrite.READ_ROWS", 7)
    generator = np.random.default_rng(5)
    files = []
    for number in range(5):
        times = np.sort(generator.integers(0, 1000, 300))
        path = tmp_path / f"{number}.parquet"
        table = pa.table({"_time": pa.array(times, pa.timestamp("us", "UTC")), "n": np.arange(300) + 1000 * number})
        pq.write_table(table, path, row_group_size=64)
        files.append(DataFile(path.name, str(path), 1, 300, int(times[0]), int(times[-1]), frozenset()))

    new = merged(TableStorage(tmp_path), files, lambda written: None, {files[2].name: np.arange(0, 300, 2)})

    assert new is not None
    opened = pq.ParquetFile(new[1].location)
    assert opened.num_row_groups == 14
    times = opened.read()["_time"].cast(pa.int64()).to_numpy()
    assert bool(np.all(np.diff(times) >= 0))
    kept = {1000 * number + n for number in range(5) for n in range(300) if number != 2 or n % 2}
    assert sorted(opened.read()["n"].to_pylist()) == sorted(kept)
