"""Damage to data files: found by the hash in their name, told, and never read as other data."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from support.events import FIRST_TIME_NS, batch
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import DatasetUnavailable
from tailrace.lake import DataFile, FieldsView, Lake, LakeSettings, MaintenanceSettings
from tailrace.lake.hashes import CHANGED, MISSING, damage, is_hashed

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9))
FLIPS = 150
DAY_MS = 86_400_000


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path / "lake", BY_HAND)
    lake.create("d")
    for n in range(1, 4):
        lake.accept(n, batch([{"n": 2 * n}, {"n": 2 * n + 1}], first_ns=FIRST_TIME_NS + n * 10**9))
        lake.commit_now("d")
    yield lake
    lake.close(commit=False)


def files(lake: Lake) -> list[DataFile]:
    return list(lake.snapshot("d").files)


def verify(lake: Lake, *, now_ms: int = DAY_MS) -> None:
    lake._state.datasets["d"].maintenance.verify(2**40, lambda read: None, now_ms)


def flip(location: str, bit: int) -> None:
    path = Path(location)
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def is_odd(file: DataFile, fields: FieldsView) -> np.ndarray:
    return np.flatnonzero(np.array(pq.ParquetFile(file.location).read()["n"].to_pylist()) % 2)


def test_any_bit_that_is_flipped_is_found(lake: Lake) -> None:
    file = files(lake)[0]
    chance = random.Random(20261129)
    assert damage(Path(file.location), file.bytes) == ""
    for bit in chance.sample(range(8 * file.bytes), rounds(FLIPS)):
        flip(file.location, bit)
        assert damage(Path(file.location), file.bytes) == CHANGED, bit
        flip(file.location, bit)
    assert damage(Path(file.location), file.bytes, of_disk=True) == ""


def test_what_is_short_or_not_there_is_damaged(lake: Lake) -> None:
    file = files(lake)[0]
    path = Path(file.location)
    path.write_bytes(path.read_bytes()[:-1])
    assert damage(Path(file.location), file.bytes) == f"it has {file.bytes - 1} bytes, but {file.bytes} were written"
    path.unlink()
    assert damage(Path(file.location), file.bytes) == MISSING


def test_files_of_commits_compactions_and_deletions_have_their_hash(lake: Lake) -> None:
    assert all(is_hashed(file.location) for file in files(lake))
    lake.compact("d")
    [merged] = files(lake)
    assert is_hashed(merged.location)
    assert damage(Path(merged.location), merged.bytes) == ""
    lake.delete_where("d", is_odd)
    [left] = files(lake)
    assert is_hashed(left.location)
    assert damage(Path(left.location), left.bytes) == ""
    assert sorted(pl.read_delta(str(lake.root / "d"))["n"].to_list()) == [2, 4, 6]


def test_a_damaged_file_is_known_until_it_is_put_back_and_over_a_restart(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    file = files(lake)[1]
    flip(file.location, 1000)
    verify(lake)

    assert [each.damage for each in files(lake)] == ["", CHANGED, ""]
    assert lake.damaged_files() == 1
    assert lake.damage() == {"d": f"dataset 'd' has damaged files, and queries that need them are refused: {file.name}"}
    assert f"{file.location} is damaged" in caplog.text
    lake.close(commit=False)
    again = Lake.open(lake.root, BY_HAND)
    assert [bool(each.damage) for each in files(again)] == [False, True, False]

    flip(file.location, 1000)
    verify(again)
    assert [each.damage for each in files(again)] == ["", "", ""]
    assert (again.damaged_files(), again.damage()) == (0, {})
    again.close()


def test_compaction_leaves_a_damaged_file_and_says_so(lake: Lake) -> None:
    damaged = files(lake)[1]
    flip(damaged.location, 1000)

    lake.compact("d")

    assert sorted(each.damage for each in files(lake)) == ["", CHANGED]
    assert damaged.location in [each.location for each in files(lake)]
    assert sum(each.rows for each in files(lake)) == 6


def test_a_deletion_does_not_write_damage_anew(lake: Lake) -> None:
    flip(files(lake)[1].location, 8 * 6)  # read all the same: within the data of its first page, or not at all

    before = [each.location for each in files(lake)]
    with pytest.raises(DatasetUnavailable):
        lake.delete_where("d", lambda file, fields: np.array([0]))

    assert [each.location for each in files(lake)] == before
    assert lake.damaged_files() == 1


def test_a_damaged_file_goes_when_all_of_it_is_trimmed(lake: Lake) -> None:
    flip(files(lake)[0].location, 1000)
    verify(lake)
    assert lake.damaged_files() == 1

    assert lake.trim("d", FIRST_TIME_NS + 2 * 10**9) == 2

    assert lake.damaged_files() == 0


def test_each_file_has_its_turn_once_a_day(lake: Lake) -> None:
    verify(lake)
    assert lake.maintenance.files_verified == 3
    verify(lake, now_ms=2 * DAY_MS - 1)
    assert lake.maintenance.files_verified == 3
    verify(lake, now_ms=2 * DAY_MS)
    assert lake.maintenance.files_verified == 6


def test_the_background_finds_damage(lake: Lake) -> None:
    flip(files(lake)[2].location, 1000)
    lake.close(commit=False)

    again = Lake.open(lake.root, LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=0.01)))
    wait_until(lambda: again.damaged_files() == 1)
    again.close()


def test_a_round_reads_as_much_as_it_may_and_later_ones_make_up_for_more(lake: Lake) -> None:
    size = files(lake)[0].bytes
    thread = lake._maintenance_thread
    thread._settings = MaintenanceSettings(every_s=1, verify_bytes_per_s=size // 2)

    verified = []
    for _ in range(4):
        thread._verify()
        verified.append(lake.maintenance.files_verified)
    assert verified == [1, 1, 2, 2]
