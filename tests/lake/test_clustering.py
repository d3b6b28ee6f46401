"""The order of rows in files: by columns of few values that tell most of the others, then by time."""

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import batch
from support.lakes import NEVER, numbers

from tailrace.lake import Lake, LakeSettings, MaintenanceSettings
from tailrace.lake.clustering import GROUP_ROWS, LEAST_GROUP_ROWS, choose, fits, group_lengths, group_rows_of
from tailrace.lake.encoding import SAMPLE_ROWS
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.settings import MAX_CLUSTER_COLUMNS
from tailrace.lake.sidecar import load_clustering
from tailrace.lake.snapshot import US_PER_DAY
from tailrace.lake.table_clustering import TableClustering

RANDOM = np.random.default_rng(3)
LEVELS = np.array(["info", "warn", "error"])


def logs(rows: int) -> pa.Table:
    level = RANDOM.choice(3, rows, p=[0.7, 0.2, 0.1])
    status = np.where(level == 0, RANDOM.choice([200, 201, 204], rows), np.where(level == 1, 404, 500))
    return pa.table(
        {
            "_time": pa.array(np.arange(rows) * 1000, pa.timestamp("us", "UTC")),
            "_sysTime": pa.array(np.arange(rows) // 5000, pa.timestamp("us", "UTC")),
            "trace": RANDOM.integers(0, 1 << 60, rows),
            "host": [f"host-{n}" for n in RANDOM.integers(0, 900, rows)],
            "tags": np.array(["[]", '["a"]', '["b"]'])[level],
            "rare": [True if n % 500 == 0 else None for n in range(rows)],
            "took": level * 1.0,
            "level": LEVELS[level],
            "status": status,
            "n": np.arange(rows),
        }
    )


def test_the_columns_of_few_values_that_tell_most_are_chosen() -> None:
    assert choose(logs(SAMPLE_ROWS)) == ("level", "status")
    assert choose(logs(SAMPLE_ROWS), 1) == ("level",)
    assert choose(logs(SAMPLE_ROWS).drop(["level", "status"])) == ()
    assert choose(logs(100)) == ()  # which are too few to tell


def test_columns_do_not_fit_once_they_have_many_values() -> None:
    rows = logs(SAMPLE_ROWS)

    assert fits(("level", "status"), rows)
    assert not fits(("level", "host"), rows)
    assert not fits(("absent",), rows)


@given(st.lists(st.integers(1, 100_000), max_size=60), st.integers(1, 40_000))
def test_a_row_group_is_of_one_large_cluster_or_of_small_ones(clusters: list[int], most: int) -> None:
    lengths = group_lengths(clusters, most)

    assert sum(lengths) == sum(clusters)
    assert all(0 < length <= most for length in lengths)
    least = min(most, LEAST_GROUP_ROWS)
    stops = set(np.cumsum(lengths).tolist()) | {0}
    large = 0
    for start, rows in zip(np.cumsum([0, *clusters]).tolist(), clusters, strict=False):
        if rows >= least:
            large += -(-rows // most)
            assert {start, start + rows} <= stops
    assert len(lengths) <= 2 * large + 2 * sum(clusters) // most + 1  # no thousands of tiny ones


def test_row_groups_of_a_wide_file_have_more_rows() -> None:
    assert group_rows_of(20) == GROUP_ROWS
    assert GROUP_ROWS < group_rows_of(100) < group_rows_of(1_000) == group_rows_of(10_000)


def test_row_groups_have_one_value_of_each_column_and_a_range_of_times(tmp_path: Path) -> None:
    [(_, file)] = write_files(LocalTable(tmp_path), in_order(logs(100_000), ("level", "status")))

    groups = bounds(file.location)
    assert all(low == high for group in groups for low, high in (group["level"], group["status"]))
    times = {group["level"] + group["status"]: [] for group in groups}  # type: ignore[var-annotated]
    for group in groups:
        times[group["level"] + group["status"]].append(group["_time"])
    for ranges in times.values():
        assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert (file.min_time_us, file.max_time_us) == (0, 99_999_000)


def test_each_day_is_ordered_by_itself(tmp_path: Path) -> None:
    rows = logs(10_000)
    times = RANDOM.permutation(np.arange(10_000) % 5 * US_PER_DAY + np.arange(10_000))
    rows = rows.set_column(0, "_time", pa.array(times, pa.timestamp("us", "UTC")))

    added = write_files(LocalTable(tmp_path), in_order(rows, ("level",)))

    assert [file.day for _, file in added] == [0, 1, 2, 3, 4]
    for _, file in added:
        assert file.rows == 2_000
        assert (file.min_time_us // US_PER_DAY, file.max_time_us // US_PER_DAY) == (file.day, file.day)
        read = pq.ParquetFile(file.location).read()
        order = list(zip(read["level"].to_pylist(), read["_time"].cast(pa.int64()).to_pylist(), strict=True))
        assert order == sorted(order)


def bounds(path: str) -> list[dict[str, tuple[object, object]]]:
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        return [
            {
                group.column(index).path_in_schema: (
                    group.column(index).statistics.min,
                    group.column(index).statistics.max,
                )
                for index in range(group.num_columns)
            }
            for group in groups
        ]


# Of a table


def test_a_large_commit_chooses_and_what_follows_keeps_to_it(tmp_path: Path) -> None:
    storage = LocalTable(tmp_path)
    settings = MaintenanceSettings()
    clustering = TableClustering(storage)

    assert clustering.of(logs(SAMPLE_ROWS - 1), settings) == ()
    assert clustering.of(logs(SAMPLE_ROWS), settings) == ("level", "status")
    assert clustering.of(logs(10), settings) == ("level", "status")
    assert load_clustering(storage) == ("level", "status")
    assert TableClustering(storage).of(logs(10), settings) == ("level", "status")


def test_merging_chooses_again_where_they_fit_no_longer(tmp_path: Path) -> None:
    settings = MaintenanceSettings()
    clustering = TableClustering(LocalTable(tmp_path))
    rows = logs(SAMPLE_ROWS)
    assert clustering.renewed(rows, settings) == ("level", "status")

    grown = rows.set_column(rows.column_names.index("status"), "status", rows["n"])
    assert clustering.renewed(grown, settings) == ("level",)
    assert clustering.renewed(rows.drop(["level", "status"]), settings) == ()


def test_a_setting_names_the_columns(tmp_path: Path) -> None:
    clustering = TableClustering(LocalTable(tmp_path))
    rows = logs(SAMPLE_ROWS)

    assert clustering.of(rows, MaintenanceSettings(cluster_by=("status", "elsewhere"))) == ("status",)
    assert clustering.of(rows, MaintenanceSettings(cluster_by=("elsewhere",))) == ("level", "status")
    assert clustering.of(rows, MaintenanceSettings(cluster_columns=0, cluster_by=("status",))) == ()
    assert clustering.renewed(rows, MaintenanceSettings(cluster_by=("n",))) == ()  # it has too many values
    assert MAX_CLUSTER_COLUMNS == 3


def test_a_damaged_choice_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "_tailrace").mkdir()
    (tmp_path / "_tailrace" / "clustering.json").write_text('{"level":')

    with caplog.at_level(logging.ERROR):
        clustering = TableClustering(LocalTable(tmp_path))

    assert "clustering.json is damaged" in caplog.text
    assert clustering.of(logs(SAMPLE_ROWS), MaintenanceSettings()) == ("level", "status")


def test_a_lake_orders_what_it_commits_and_what_it_merges(tmp_path: Path) -> None:
    settings = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(compact_files=2))
    lake = Lake.open(tmp_path, settings)
    lake.create("d")
    events = [{"n": n, "level": str(LEVELS[n % 3]), "text": f"text {n}"} for n in range(3 * SAMPLE_ROWS)]
    for number in range(3):
        lake.accept(number + 1, batch(events[number * SAMPLE_ROWS : (number + 1) * SAMPLE_ROWS]))
        lake.commit_now("d")
    before = [levels(file.location) for file in lake.snapshot("d").files]
    lake.compact("d")
    [merged] = lake.snapshot("d").files
    lake.close()

    assert len(before) == 3
    assert all(is_sorted(found) for found in before)
    assert is_sorted(levels(merged.location))
    assert [group["level"] for group in bounds(merged.location)] == [("error",) * 2, ("info",) * 2, ("warn",) * 2]
    again = Lake.open(tmp_path, NEVER)
    assert numbers(again.snapshot("d")) == list(range(3 * SAMPLE_ROWS))
    again.close()


def levels(path: str) -> npt.NDArray[np.object_]:
    found: npt.NDArray[np.object_] = pq.ParquetFile(path).read()["level"].to_numpy()
    return found


def is_sorted(values: npt.NDArray[np.object_]) -> bool:
    return bool(np.all(values[1:] >= values[:-1]))
