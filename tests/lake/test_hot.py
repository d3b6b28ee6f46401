"""Hot rows: small parts become one, and what a snapshot knows of a part."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from support.events import batch
from support.lakes import numbers

from tailrace.lake import HotTable, Lake
from tailrace.lake.hot import MERGED_BYTES, MERGED_PARTS, MERGED_ROWS, HotPart, mergeable, merged
from tailrace.lake.table import DatasetTable
from tailrace.log import FIRST_WRITER


def part(position: int, rows: int = 1, raw_bytes: int = 10) -> HotPart:
    times = pa.array([datetime(2026, 1, 1, 0, 0, position % 60, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC"))
    table = HotTable.of(pa.table({"_time": times, "n": [position] * rows}))
    return HotPart(table, {FIRST_WRITER: position}, raw_bytes, float(position))


def test_a_part_knows_its_times_and_which_columns_have_a_value() -> None:
    times = pa.array([3, 1, 2], pa.timestamp("us", "UTC"))

    table = HotTable.of(pa.table({"_time": times, "a": [None, 1, None], "b": pa.nulls(3, pa.string())}))

    assert (table.min_time_us, table.max_time_us, table.columns) == (1, 3, frozenset({"_time", "a"}))


def test_parts_of_one_row_become_few_however_many_there_are() -> None:
    parts: list[HotPart] = []
    copied = most = 0
    for position in range(1, 3001):
        parts.append(part(position))
        while last := mergeable(parts):
            copied += sum(each.rows.num_rows for each in last)
            parts[-len(last) :] = [merged(last)]
        most = max(most, len(parts))

    assert most <= 5 * MERGED_PARTS
    assert copied <= 5 * 3000
    assert [n for each in parts for n in each.rows["n"].to_pylist()] == list(range(1, 3001))
    assert all(each.rows["n"].num_chunks == 1 for each in parts)


def test_a_merged_part_has_the_last_position_the_first_age_and_all_bytes() -> None:
    one = merged([part(3), part(4, raw_bytes=5), part(5)])

    assert (one.positions, one.since_s, one.raw_bytes, one.rows.num_rows) == ({FIRST_WRITER: 5}, 3.0, 25, 3)


@pytest.mark.parametrize("large", [part(1, rows=MERGED_ROWS), part(1, raw_bytes=MERGED_BYTES)], ids=["rows", "bytes"])
def test_large_parts_are_left_as_they_are(large: HotPart) -> None:
    assert not mergeable([large] * 2 * MERGED_PARTS)
    assert len(mergeable([large, *[part(2)] * MERGED_PARTS])) == MERGED_PARTS


def test_events_that_come_one_by_one_leave_few_parts(lake: Lake) -> None:
    for position in range(1, 101):
        lake.accept(position, batch([{"n": position}]))
        lake.snapshot("d")

    lake.accept(101, batch([{"n": 101}]))
    snapshot = lake.snapshot("d")

    assert numbers(snapshot) == list(range(1, 102))
    assert len(snapshot.hot) < 4 * MERGED_PARTS


def test_what_a_failed_commit_may_have_written_is_merged_with_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told from the rest by its position, once the table turns out to have it."""
    lake.accept(1, batch([{"n": 1}]))
    lake.snapshot("d")
    commit = DatasetTable.commit

    def fail_once_written(*arguments: Any) -> None:
        commit(*arguments)
        raise OSError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(DatasetTable, "commit", fail_once_written)
        lake.commit_now("d")
    assert lake.commit_failures == 1
    for position in range(2, 2 + 2 * MERGED_PARTS):
        lake.accept(position, batch([{"n": position}]))
        assert numbers(lake.snapshot("d")) == list(range(1, position + 1))

    lake.commit_now("d")

    assert numbers(lake.snapshot("d")) == list(range(1, 2 + 2 * MERGED_PARTS))
