"""What a table knows of the versions that it wrote, and how it learns of those of others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from support.events import FIRST_TIME_NS, batch

from tailrace.lake import Lake, LakeSettings, MaintenanceSettings
from tailrace.lake import table as table_module
from tailrace.lake.deltalog import version_name
from tailrace.lake.table import DatasetTable

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9))
DAY_NS = 86_400 * 10**9


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    yield lake
    lake.close(commit=False)


def commit(lake: Lake, position: int, **more: object) -> None:
    events: list[dict[str, Any]] = [{"n": position, **more}, {"n": -position}]
    lake.accept(position, batch(events, first_ns=FIRST_TIME_NS + position % 2 * DAY_NS))
    lake.commit_now("d")


def table_of(lake: Lake) -> DatasetTable:
    return lake._state.datasets["d"].table


def append_as_another(lake: Lake, n: int) -> None:
    rows = pl.read_delta(str(lake.root / "d")).head(1).with_columns(n=pl.lit(n, pl.Int64))
    write_deltalake(str(lake.root / "d"), rows.to_arrow(), mode="append")


def test_what_is_known_of_versions_that_were_written_is_what_reading_them_says(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "CHECKPOINT_VERSIONS", 3)
    table = table_of(lake)

    def check() -> None:
        read = DatasetTable.open_read_only(table.storage)
        assert (table.version, table.positions, table.received) == (read.version, read.positions, read.received)
        assert {file.name: file for file in table.files} == {file.name: file for file in read.files}
        assert table.fields() == read.fields()
        assert table._current.columns == read._current.columns
        assert table._current.configuration == read._current.configuration
        assert table._current.metadata == read._current.metadata

    for position in range(1, 6):
        commit(lake, position, **{f"column{position}": "é", "shared": 1.5})
        check()
    lake.compact("d")
    check()
    lake.trim("d", FIRST_TIME_NS + DAY_NS)
    check()
    commit(lake, 6, late=True)
    check()


def test_nothing_is_read_of_a_table_that_only_this_process_writes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(lake, 1)

    def fail(*_: object) -> None:
        raise AssertionError("it was read")

    with monkeypatch.context() as patched:
        patched.setattr(table_module, "DeltaReader", fail)
        commit(lake, 2)
        lake.compact("d")

    assert lake.commit_failures == 0
    assert sum(file.rows for file in lake.snapshot("d").files) == 4


def test_versions_of_others_are_read_before_the_next_is_written(lake: Lake) -> None:
    commit(lake, 1)
    append_as_another(lake, 100)
    commit(lake, 2)

    assert lake.commit_failures == 0
    assert sum(file.rows for file in lake.snapshot("d").files) == 5
    assert table_of(lake).version == DeltaTable(lake.root / "d").version() == 3


def test_versions_of_others_are_found_where_the_next_one_is_gone_again(lake: Lake) -> None:
    commit(lake, 1)
    append_as_another(lake, 100)
    append_as_another(lake, 101)
    DeltaTable(lake.root / "d").create_checkpoint()
    for version in range(3):  # which the checkpoint makes needless
        (lake.root / "d" / version_name(version)).unlink()
    assert not (lake.root / "d" / version_name(table_of(lake).version + 1)).exists()

    commit(lake, 2)

    assert lake.commit_failures == 0
    assert sum(file.rows for file in lake.snapshot("d").files) == 6
    assert table_of(lake).version == 4
